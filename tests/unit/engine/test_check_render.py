"""Problems as text: place, line and caret, remedy, notes; within 100 columns and without secrets."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from engine.errors import Place, Problem
from engine.topology.render_problems import counts, render, summary

TEXT = "topology: greenhouse\nnodes:\n  mean: {use: models.average, params: {half_live_s: 60}}\n"


def problem(line: int = 3, column: int = 40, code: str = "unknown-param", **changes) -> Problem:
    facts = {"message": "no param 'half_live_s'", "fix": "did you mean 'half_life_s'?"} | changes
    return Problem(code, facts.pop("message"), Place("g.yaml", line, column), **facts)


def test_the_line_and_a_caret_under_the_word():
    assert render([problem()], {"g.yaml": TEXT}).splitlines() == [
        "g.yaml:3:40: error[unknown-param]: no param 'half_live_s'",
        "    3 |   mean: {use: models.average, params: {half_live_s: 60}}",
        "      |                                        ^^^^^^^^^^^",
        "    fix: did you mean 'half_life_s'?",
    ]


def test_notes_and_warnings():
    text = render([problem(notes=(("used here", Place("main.yaml", 7, 3)),), severity="warning")], {"g.yaml": TEXT})
    assert "warning[unknown-param]" in text
    assert text.endswith("    note: used here: main.yaml:7:3")


def test_a_problem_without_place_or_file():
    assert render([Problem("x", "no place")]) == "error[x]: no place"
    assert render([problem(line=99)], {"g.yaml": TEXT}).count("\n") == 1
    assert "|" not in render([problem()], {"g.yaml": ""})


def test_long_lines_are_cut_around_the_caret():
    line = "  x: {" + ", ".join(f"key_{n}: {n}" for n in range(60)) + "}"
    column = line.index("key_40") + 1
    shown, caret = render([problem(line=1, column=column)], {"g.yaml": line}).splitlines()[1:3]
    assert len(shown) <= 100
    assert shown[caret.index("^") :].startswith("key_40")


def test_long_messages_are_wrapped():
    text = render([problem(message="word " * 60, fix="do " * 90)], {"g.yaml": TEXT})
    assert max(len(line) for line in text.splitlines()) <= 100


def test_a_secret_in_clear_is_not_printed_again():
    source = "a: {password: hunter2, half: 3}\n"
    column = source.index("hunter2") + 1
    secret = problem(line=1, column=column, code="secret-in-clear", message="a secret")
    other = problem(line=1, column=source.index("half") + 1, message="another")
    text = render([secret, other], {"g.yaml": source})
    assert "hunter2" not in text
    assert "a: {password: ***" in text


def test_what_looks_like_a_key_is_painted_over_on_any_line():
    key = "0x" + "ab" * 32
    text = render([problem(line=1, column=1)], {"g.yaml": f"half: 3  # {key}\n"})
    assert "abab" not in text
    assert "half: 3" in text


def test_colour_changes_nothing_but_colour():
    problems = [problem(), problem(severity="warning")]
    coloured = render(problems, {"g.yaml": TEXT}, colour=True)
    assert "\033[31m" in coloured
    assert re.sub(r"\033\[\d+m", "", coloured) == render(problems, {"g.yaml": TEXT})


def test_counts():
    assert counts([problem(), problem(severity="warning")]) == {"errors": 1, "warnings": 1}
    assert summary([problem(), problem(severity="warning"), problem()]) == "2 errors, 1 warning"
    assert summary([]) == "no problems"


@given(st.text(max_size=300), st.integers(1, 400), st.text(st.characters(codec="ascii"), max_size=300))
def test_any_text_at_any_place(line, column, message):
    render([problem(line=1, column=column, message=message)], {"g.yaml": line})
