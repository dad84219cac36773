"""Strict YAML: what each scalar becomes, where each value stands, and the exact text of each refusal."""

import time

import pytest
from support.loading import Project, yaml_lines

from engine.errors import Place
from engine.topology.report import Report
from engine.topology.tree import Map, plain
from engine.topology.yaml_tree import MAX_BYTES, decode, read_tree


def tree(text):
    report = Report()
    result = read_tree(text, "f", report)
    assert not report.problems
    assert isinstance(result, Map)
    return result


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("false", False),
        ("True", "True"),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("off", "off"),
        ("null", None),
        ("~", None),
        ("", None),
        ("0", 0),
        ("-17", -17),
        ("+5", 5),
        ("017", "017"),
        ("0o17", "0o17"),
        ("0x17", "0x17"),
        ("0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2", "0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2"),
        ("1_000", "1_000"),
        ("12:30:45", "12:30:45"),
        ("2024-01-05", "2024-01-05"),
        ("2024-01-05T00:00:00Z", "2024-01-05T00:00:00Z"),
        ("1e-3", 1e-3),
        ("1E6", 1e6),
        (".5", 0.5),
        ("5.", 5.0),
        ("-2.5e+3", -2500.0),
        ("1.2.3", "1.2.3"),
        ("'-'", "-"),
        ("'5'", "5"),
        ('"true"', "true"),
        ("115792089237316195423570985008687907853269984665640564039457584007913129639935", 2**256 - 1),
    ],
)
def test_scalars(text, value):
    result = plain(tree(f"a: {text}"))["a"]
    assert result == value
    assert type(result) is type(value)


def test_places_of_keys_and_values():
    root = tree("a: 1\nbcd:\n  - x\n  - {é: 'y', z: 2}\n")
    assert root.keys["bcd"] == Place("f", 2, 1)
    inner = root.entries["bcd"].items[1]
    assert inner.place == Place("f", 4, 5)
    assert inner.keys["z"] == Place("f", 4, 14)
    assert inner.entries["z"].place == Place("f", 4, 17)


def test_an_alias_keeps_both_places():
    root = tree("a: &x 5\nb: *x\n")
    assert root.entries["b"].place == Place("f", 1, 4)
    assert root.entries["b"].used == (Place("f", 2, 4),)


def test_windows_files_read_like_others():
    report = Report()
    text = decode(b"\xef\xbb\xbfa: 1\r\nb: x\r\n", "f", report)
    assert text is not None
    root = read_tree(text, "f", report)
    assert isinstance(root, Map)
    assert plain(root) == {"a": 1, "b": "x"}
    assert root.keys["a"] == Place("f", 1, 1)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a: 1\nb: 2\na: 3\n", ["3:1 yaml-duplicate-key: key 'a' is written twice in one mapping"]),
        ("a: {x: 1, x: 2}", ["1:11 yaml-duplicate-key: key 'x' is written twice in one mapping"]),
        ("a: &m {x: 1}\nb: {<<: *m}", ["2:5 yaml-merge-key: merge keys (`<<`) are refused"]),
        ("a: !!python/object/apply:os.system [x]", ["1:4 yaml-tag: tag '!!python/object/apply:os.system' is refused"]),
        ("a: !!str 5", ["1:4 yaml-tag: tag '!!str' is refused"]),
        ("a: ! 5", ["1:4 yaml-tag: tag '!' is refused"]),
        ("a: !env X\nb: !x {}", ["1:4 yaml-tag: tag '!env' is refused", "2:4 yaml-tag: tag '!x' is refused"]),
        ("a: .inf", ["1:4 yaml-number: '.inf' is not a number that can be used"]),
        ("a: -.INF", ["1:4 yaml-number: '-.INF' is not a number that can be used"]),
        ("a: .nan", ["1:4 yaml-number: '.nan' is not a number that can be used"]),
        ("a: 1e999", ["1:4 yaml-number: '1e999' is not a number that can be used"]),
        ("a: *b", ["1:4 yaml-alias: alias *b stands for nothing that is complete at this point"]),
        ("a: &a [*a]", ["1:8 yaml-alias: alias *a stands for nothing that is complete at this point"]),
        ("--- \na: 1\n---\nb: 1", ["3:1 yaml-documents: a second document begins here"]),
        ("", ["1:1 yaml-empty: the file holds no value"]),
        ("# nothing\n", ["1:1 yaml-empty: the file holds no value"]),
        ("? [a]\n: 1", ["1:3 yaml-key: a key must be text, not a list or mapping"]),
        ("a: &x b\n*x : 1", ["2:1 yaml-key: a key must be text, not an alias"]),
        ("'': 1", ["1:1 yaml-key: a key is empty"]),
        ("a:\n\tb: 1", ["2:1 yaml-syntax: a tab or another character cannot stand here"]),
        ("a: b: c", ["1:5 yaml-syntax: a `:` stands where no new key can begin"]),
        ("a: 1\nb: [1, 2\nc: 3", ["3:2 yaml-syntax: a list or mapping in brackets is not closed"]),
        ("a: 'x", ["1:6 yaml-syntax: the text ends within quotes"]),
        ("- a\nb: 1", ["2:1 yaml-syntax: a list item is expected here"]),
        ('a: "\\q"', ["1:5 yaml-syntax: an unknown escape follows a backslash"]),
        ("a: x\0y", ["1:5 yaml-syntax: a control character stands here"]),
        ("é: 1\né: \x07", ["2:4 yaml-syntax: a control character stands here"]),
        ("a: " + "[" * 20_000, ["1:1003 yaml-depth: values are nested deeper than 64"]),
        ("a: " + "{a: " * 65, ["1:256 yaml-depth: values are nested deeper than 64"]),
        ("a: \udcff", ["1:1 yaml-encoding: the text holds bytes that are not UTF-8"]),
    ],
)
def test_refusals(text, lines):
    assert yaml_lines(text) == lines


def test_many_mistakes_are_told_at_once():
    assert [line.split(" ")[1] for line in yaml_lines("a: !x 1\na: 2\nb: .inf\n<<: {}\n'': 1")] == [
        "yaml-tag:",
        "yaml-duplicate-key:",
        "yaml-number:",
        "yaml-merge-key:",
        "yaml-key:",
    ]


def test_what_a_bracket_opened_is_named():
    report = Report()
    read_tree("a: 1\nb: [1, 2\nc: 3", "f", report)
    assert report.problems[0].notes == (("what is being read begins here", Place("f", 2, 4)),)


def test_an_alias_bomb_is_refused_quickly():
    text = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9)
    )
    started = time.perf_counter()
    assert yaml_lines(text) == ["5:8 yaml-alias-limit: aliases add more than 10,000 values"]
    assert time.perf_counter() - started < 0.5


def test_aliases_cannot_nest_past_the_depth_limit():
    deep = "a: &a " + "[" * 40 + "]" * 40 + "\nb: " + "[" * 40 + "*a" + "]" * 40
    assert yaml_lines(deep) == ["2:44 yaml-depth: values are nested deeper than 64"]


def test_a_file_that_is_no_mapping(tmp_path):
    project = Project(tmp_path)
    project.write("t.yaml", "- a\n- b\n")
    assert project.lines() == ["t.yaml:1:1 wrong-kind: a topology is a mapping, and this is a list"]


def test_bytes_that_are_no_text(tmp_path):
    project = Project(tmp_path)
    project.write("t.yaml", b"topology: t\nabout: \xff\n")
    assert project.lines() == ["t.yaml:2:8 yaml-encoding: byte 0xff is not UTF-8"]
    project.write("t.yaml", b"#" * (MAX_BYTES + 1))
    assert project.lines() == ["t.yaml:1:1 yaml-size: the file is larger than 1 MiB"]
    project.write("t.yaml", "topology: t".encode("utf-16"))
    assert project.lines() == ["t.yaml:1:1 yaml-encoding: byte 0xff is not UTF-8"]


def test_problems_past_the_limit_are_not_listed(tmp_path):
    project = Project(tmp_path)
    project.write("t.yaml", "topology: t\n" + "".join(f"k{i}: 1\n" for i in range(1000)))
    lines = project.lines()
    assert len(lines) == 201
    assert "too-many-problems: further problems are not listed" in " ".join(lines)


def test_a_bare_reference_in_brackets_is_explained():
    report = Report()
    read_tree("a: {b: ${c}}", "f", report)
    (problem,) = report.problems
    assert problem.message == "a list or mapping in brackets is not closed"
    assert problem.fix == 'inside {} or [] put quotes around a reference: "${name}"'


def test_the_number_of_values_is_bounded():
    started = time.perf_counter()
    assert yaml_lines("[" + "1," * 400_000 + "]") == ["1:100002 yaml-size: the file holds more than 50,000 values"]
    assert time.perf_counter() - started < 5
