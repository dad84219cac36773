"""Tests beside topologies, and `pipeline test`."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from textwrap import dedent, indent

import pytest
from click.testing import CliRunner, Result
from support.packages import only_packages

import engine.cli
from engine.errors import Problem, TopologyError
from engine.run.scenario import matches, run_tests

TOPOLOGY = """
topology: station
params:
  limit: {type: float, default: 30, doc: Alarm above this.}
nodes:
  sensor: {use: sources.thermometer, params: {values: [20]}}
  smoother: {use: models.smoother, in: {reading: sensor.reading}, params: {weight: 1}}
  siren:
    use: models.siren
    params: {limit: "${limit}"}
    in: {reading: {from: smoother.smooth, on_stale: {after: 10s, action: warn}}}
  diary: {use: sinks.diary, in: {alarm: siren.alarm}}
  printer: {use: sources.printer}
  almanac: {use: models.almanac, in: {page: printer.page}}
"""
RAINY = "{day: monday, rain_mm: 0.1, readings: [{celsius: 7}, {celsius: 9, event_time_ns: 5}]}"


@pytest.fixture(autouse=True)
def station(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "station.yaml").write_text(TOPOLOGY)
    monkeypatch.chdir(tmp_path)
    with only_packages("support.weather_station"):
        yield


def write(steps: str, head: str = "nodes: [siren]") -> Path:
    path = Path("station.test.yaml")
    body = f"{dedent(head).strip()}\nsteps:\n{indent(dedent(steps).strip(), '  ')}\n"
    path.write_text(f"topology: station.yaml\ntests:\n  it works:\n{indent(body, '    ')}")
    return path


def problems(steps: str, head: str = "nodes: [siren]") -> list[Problem]:
    (outcome,) = run_tests(write(steps, head))
    assert outcome.passed == (not outcome.problems)
    return outcome.problems


def told(found: list[Problem], path: str = "station.test.yaml") -> list[str]:
    """Return each problem as `code: message`, after showing that its place is where `path` says that it is."""
    for problem in found:
        assert problem.place is not None
        assert problem.place.file == path
    return [f"{problem.code}: {problem.message}" for problem in found]


def place_of(text: str) -> tuple[int, int]:
    """Return line and column at which a text stands in the test file."""
    lines = Path("station.test.yaml").read_text().splitlines()
    (found,) = [(number, line.index(text) + 1) for number, line in enumerate(lines, 1) if text in line]
    return found


def at(problem: Problem) -> tuple[int, int]:
    assert problem.place is not None
    return problem.place.line, problem.place.column


def test_timers_that_are_due_are_made_before_anything_is_compared():
    found = problems("""
        - {at: 1s, send: {smoother.smooth: {celsius: 31}}, expect_nothing: [siren.alarm]}
        - {at: 1999ms, expect_nothing: siren.alarm}
        - {at: 2s, expect: {siren.alarm: {text: "31.000", level: 1, event_time_ns: 2000000000}}}
        - {at: 60s, expect: {siren.alarm: [{level: 2}, {text: 1 so far, level: 0}]}}
    """)
    assert found == []


def test_silence_is_told_and_ends():
    found = problems("""
        - at: 9s
          expect_nothing: [siren.alarm]
        - at: 10s
          expect: {siren.alarm: {text: "reading is silent: warn"}}
        - at: 15s
          send: {smoother.smooth: {celsius: 3}}
          expect: {siren.alarm: {text: reading is back}}
        - at: 26s
          expect: {siren.alarm: {text: "reading is silent: warn", event_time_ns: 25000000000}}
    """)
    assert found == []


def test_without_nodes_all_run_but_those_that_are_played():
    found = problems(
        """
        - send: {sensor.reading: [{celsius: 20}, {celsius: 40}]}
          expect: {smoother.smooth: [{celsius: {near: 20, within: 0.01}}, {celsius: {near: 40, within: 0.01}}]}
        - at: 1
          expect: {siren.alarm: {event_time_ns: 1000000000}}
        """,
        head="",
    )
    assert found == []


def test_parameters_seed_and_start_are_those_of_the_test():
    steps = """
        - send: {sensor.reading: [{celsius: 34}, {celsius: 36}]}
          expect: {smoother.smooth: [{event_time_ns: 100000000000}, {celsius: %s}]}
        - {at: 1, expect: {siren.alarm: {event_time_ns: 101000000000}}}
        - {at: 2, expect_nothing: [siren.alarm]}
    """

    def run(seed: int, celsius: str) -> list[Problem]:
        text = f"set: {{limit: 35}}\nstart: 100s\nseed: {seed}\nnodes: [smoother, siren]"
        return problems(steps % celsius, text)

    (first,) = run(1, "0")
    (second,) = run(2, "0")
    assert first.code == second.code == "test-differs"
    assert first.message != second.message, "the seed decides the smoother's noise"
    noisy = first.message.split("celsius is ")[1].split(",")[0]
    assert run(1, noisy) == []


def test_messages_within_messages_decimals_and_texts_are_written_as_they_read():
    found = problems(
        f"""
        - at: 3s
          send: {{printer.page: {RAINY}}}
          expect:
            almanac.copy:
              rain_mm: 0.10
              day: monday
              note: null
              grown: false
              readings: [{{celsius: 7, event_time_ns: 3000000000}}, {{event_time_ns: 5}}]
        """,
        head="nodes: [almanac]",
    )
    assert found == []


DIFFERENCES = {
    "rain_mm: 0.2": "almanac.copy: rain_mm is Decimal('0.1'), expected 0.2",
    "grown: 0": "almanac.copy: grown is False, expected 0",
    "day: tuesday": "almanac.copy: day is 'monday', expected 'tuesday'",
    "drops: true": "almanac.copy: drops is 0, expected True",
    "readings: []": "expected []",
    "readings: [{celsius: 7}, {celsius: 8}]": "almanac.copy: readings is (",
    "rain_mm: {near: 0.2, within: 0.05}": "almanac.copy: rain_mm is Decimal('0.1'), expected {'near'",
    "day: {near: 1, within: 1}": "almanac.copy: day is 'monday', expected {'near'",
    "day: {near: 1}": "almanac.copy: day is 'monday', expected {'near': 1}",
}


@pytest.mark.parametrize("field", DIFFERENCES)
def test_a_difference_says_what_was_sent_at_the_line_of_the_expectation(field: str):
    (found,) = problems(
        f"""
        - send: {{printer.page: {RAINY}}}
        - expect:
            almanac.copy:
              {field}
        """,
        head="nodes: [almanac]",
    )
    assert (found.code, DIFFERENCES[field] in found.message) == ("test-differs", True), found.message
    line, column = place_of(field)
    assert at(found) == (line, column + field.index(": ") + 2)
    assert found.fix.startswith("the whole message: Page(day='monday'")


def test_numbers_are_compared_within_a_small_part_of_them():
    assert matches(0.1 + 0.2, 0.3)
    assert matches(1e20, 1e20 + 1e9)
    assert not matches(0.3, 0.3001)
    assert matches(5.0, 5)
    assert not matches(1.0, True)
    assert matches(2**200, 2**200)
    assert not matches(2**200, 2**200 + 1)
    assert matches(Decimal("1.50"), 1.5)
    assert not matches(Decimal("NaN"), 1.5)
    assert matches(float("nan"), 1.0) is False
    assert not matches(None, {"near": 0, "within": 1})
    assert matches((1.0, 2.0), [1, 2])
    assert not matches((1.0, 2.0), [1])


FAILURES = {
    "nodes: [sirene]": ("test-unknown-node: no node 'sirene'", "sirene", "did you mean 'siren'?"),
    "nodes: [sensor]": ("test-format: node 'sensor' brings messages from outside", "sensor", "take it out"),
}


@pytest.mark.parametrize("head", FAILURES)
def test_nodes_that_cannot_run(head: str):
    message, word, fix = FAILURES[head]
    (found,) = problems("- {at: 1, expect_nothing: [siren.alarm]}", head)
    assert told([found])[0].startswith(message)
    assert at(found) == place_of(word)
    assert fix in found.fix


STEPS = {
    "send: {smoother.smoth: {celsius: 1}}": (
        "test-unknown-port: no output 'smoother.smoth' to use here",
        "smoother.smoth",
    ),
    "send: {siren.alarm: {text: a}}": ("test-unknown-port: no output 'siren.alarm' to use here", "siren.alarm"),
    "expect: {smoother.smooth: {celsius: 1}}": (
        "test-unknown-port: no output 'smoother.smooth' to use here",
        "smoother.smooth",
    ),
    "expect_nothing: [siren.alarms]": ("test-unknown-port: no output 'siren.alarms' to use here", "siren.alarms"),
    "send: {smoother.smooth: {celcius: 1}}": ("test-unknown-field: Reading has no field 'celcius'", "celcius"),
    "send: {smoother.smooth: {celsius: warm}}": ("test-format: celsius: Expected `float`, got `str`", "warm"),
    "send: {smoother.smooth: {event_time_ns: 1}}": ("test-format: Reading needs the field 'celsius'", "{event_time"),
    "expect: {siren.alarm: {text: a}}": ("test-missing: siren.alarm sent nothing more", "{text: a}"),
}


@pytest.mark.parametrize("step", STEPS)
def test_what_a_step_gets_wrong(step: str):
    (found,) = problems(f"- {step}")
    message, word = STEPS[step]
    assert told([found]) == [message]
    assert at(found) == place_of(word)


def test_the_wrong_side_of_a_test_says_what_to_change():
    assert problems("- send: {siren.alarm: {text: a}}")[0].fix.startswith("its node runs in this test")
    assert "add it to `nodes`" in problems("- expect: {smoother.smooth: {celsius: 1}}")[0].fix


def test_a_field_that_is_not_there_cannot_be_expected():
    (found,) = problems("""
        - {send: {smoother.smooth: {celsius: 31}}}
        - {at: 1, expect: {siren.alarm: {txt: "31"}}}
    """)
    assert told([found]) == ["test-unknown-field: Alarm has no field 'txt'"]
    assert at(found) == place_of("txt")
    assert "did you mean 'text'?" in found.fix


def test_what_was_not_taken_is_unexpected():
    (found,) = problems("""
        - {send: {smoother.smooth: {celsius: 31}}}
        - {at: 5, expect_nothing: [siren.alarm]}
    """)
    assert told([found]) == [
        "test-unexpected: siren.alarm sent Alarm(text='31.000', event_time_ns=1000000000, level=1)"
    ]


def test_a_node_that_fails_ends_the_test_at_that_step():
    found = problems(
        """
        - {at: 1, send: {printer.page: {day: sunday, rain_mm: 0, readings: []}}}
        - {at: 2, expect: {almanac.copy: {day: sunday}}}
        """,
        head="nodes: [almanac]",
    )
    (message,) = told(found)
    assert message.startswith(
        "test-node-failed: node 'almanac' failed in on_page: AssertionError: no readings on sunday"
    )
    assert at(found[0]) == place_of("{at: 1")


def test_a_node_that_cannot_start_fails_its_test(monkeypatch: pytest.MonkeyPatch):
    from support.weather_station.models.siren import Siren

    monkeypatch.setattr(Siren, "start", lambda self: 1 / 0)
    (found,) = problems("- {at: 1, expect_nothing: [siren.alarm]}")
    assert told([found])[0].startswith("test-node-failed: node 'siren' failed in start: ZeroDivisionError")


def test_a_parameter_that_does_not_exist_is_a_problem_of_the_test():
    (found,) = problems("- {at: 1, expect_nothing: [siren.alarm]}", "nodes: [siren]\nset: {limits: 3}")
    assert told([found]) == ["unknown-param: the topology has no param 'limits'"]
    assert at(found) == place_of("{limits")


MALFORMED = {
    "": "1:1 the file holds no value",
    "- a": "1:1 the file needs a mapping, found a list",
    "topology: station.yaml": "1:1 `tests` needs a mapping, found nothing",
    "topology: station.yaml\ntests: {}": "2:8 there is no test in this file",
    "topology: other.yaml\ntests: {a: {steps: [{expect_nothing: []}]}}": "1:11 no file 'other.yaml' beside this one",
    "tests: {a: {steps: [{expect_nothing: []}]}}": "1:1 a test file names its topology",
    "topology: station.yaml\ntest: {}\ntests: {a: {steps: [{send: {}}]}}": "2:1 no key 'test' here",
    "topology: station.yaml\ntests: {a: 1}": "2:12 test 'a' needs a mapping, found a number",
    "topology: station.yaml\ntests: {a: {steps: []}}": "2:20 test 'a' has no steps",
    "topology: station.yaml\ntests: {a: {node: [b], steps: [{send: {}}]}}": "2:13 no key 'node' here",
    "topology: station.yaml\ntests: {a: {nodes: [1], steps: [{send: {}}]}}": "2:21 `nodes` is a list of names",
    "topology: station.yaml\ntests: {a: {set: 1, steps: [{send: {}}]}}": "2:18 `set` needs a mapping",
    "topology: station.yaml\ntests: {a: {seed: x, steps: [{send: {}}]}}": "2:19 `seed` is a whole number",
    "topology: station.yaml\ntests: {a: {steps: [{at: 1s}]}}": "2:21 this step does nothing",
    "topology: station.yaml\ntests: {a: {steps: [at]}}": "2:21 a step needs a mapping",
    "topology: station.yaml\ntests: {a: {steps: [{at: soon, send: {}}]}}": "2:26 needs a number in s",
    "topology: station.yaml\ntests: {a: {steps: [{at: [1], send: {}}]}}": "2:26 needs a time such as 5s",
    "topology: station.yaml\ntests: {a: {steps: [{at: -1, send: {}}]}}": "2:26 -1 is no time",
    "topology: station.yaml\ntests: {a: {steps: [{at: 2, send: {}}, {at: 1, send: {}}]}}": "2:45 this step is earlier",
    "topology: station.yaml\ntests: {a: {steps: [{send: [1]}]}}": "2:28 `send` needs a mapping",
    "topology: station.yaml\ntests: {a: {steps: [{expect: {b.c: [x]}}]}}": "2:37 a message of b.c needs a mapping",
    "topology: station.yaml\ntests: {a: {steps: [{expect_nothing: {b: 1}}]}}": "2:38 `expect_nothing` is a list",
}


@pytest.mark.parametrize("text", MALFORMED)
def test_malformed_files(text: str):
    path = Path("bad.test.yaml")
    path.write_text(text)
    with pytest.raises(TopologyError) as error:
        list(run_tests(path))
    found = [f"{p.place.line}:{p.place.column} {p.message}" for p in error.value.problems if p.place]
    assert any(line.startswith(MALFORMED[text]) for line in found), found
    assert {problem.code for problem in error.value.problems} <= {"test-format", "yaml-empty"}


def test_all_that_is_wrong_with_a_file_is_told_at_once():
    Path("bad.test.yaml").write_text("topology: x.yaml\ntests: {a: {seed: x, steps: [{at: soon}]}, b: 1}")
    with pytest.raises(TopologyError) as error:
        list(run_tests(Path("bad.test.yaml")))
    assert len(error.value.problems) == 5


# --- the command --------------------------------------------------------------------------------------------------


def run(*arguments: str) -> Result:
    return CliRunner().invoke(engine.cli.main, ["test", *arguments])


GOOD = "- {at: 1, expect_nothing: [siren.alarm]}"
BAD = "- {at: 1, expect: {siren.alarm: {text: a}}}"


def test_the_command_runs_what_it_finds_in_folders():
    write(GOOD)
    result = run(".")
    assert result.exit_code == 0, result.output
    assert result.output.splitlines() == ["ok     station.test.yaml: it works", "1 passed, 0 failed"]


def test_a_failure_is_shown_with_its_line_and_ends_with_1():
    write(BAD)
    result = run("station.test.yaml")
    assert result.exit_code == 1
    assert "FAILED station.test.yaml: it works" in result.output
    assert "station.test.yaml:6:" in result.output
    assert "error[test-missing]: siren.alarm sent nothing more" in result.output
    assert result.output.splitlines()[-1] == "0 passed, 1 failed"


def test_json_has_every_outcome():
    write(BAD)
    result = run("--json", "station.test.yaml")
    assert result.exit_code == 1
    (outcome,) = json.loads(result.output)
    assert (outcome["name"], outcome["passed"]) == ("it works", False)
    assert outcome["problems"][0]["code"] == "test-missing"
    assert outcome["problems"][0]["line"] == 6


def test_only_tests_whose_name_contains_the_word_are_run():
    path = write(GOOD)
    path.write_text(path.read_text() + f"  it fails:\n    nodes: [siren]\n    steps:\n      {BAD}\n")
    assert run(".").exit_code == 1
    result = run(".", "-k", "works")
    assert result.exit_code == 0
    assert "1 passed, 0 failed" in result.output


def test_no_test_a_broken_file_or_a_broken_topology_end_with_2():
    assert run(".").exit_code == 2
    write(GOOD)
    result = run(".", "-k", "storm")
    assert result.exit_code == 2
    assert "no test has 'storm' in its name" in result.output
    Path("station.yaml").write_text(TOPOLOGY.replace("models.siren", "models.sirene"))
    result = run(".")
    assert result.exit_code == 2
    assert "error[unknown-type]" in result.output
    Path("station.test.yaml").write_text("a: [")
    assert run(".").exit_code == 2
    assert run("nowhere").exit_code == 2
