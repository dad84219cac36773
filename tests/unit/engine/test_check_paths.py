"""Files that parameters name: sought beside the file in which the value is written, and only where they can be."""

import pytest
from support.packages import only_packages

from engine.topology.check import check
from engine.topology.load import load_topology

TEXT = "topology: t\nnodes:\n  market: {use: sources.tape, params: {file: %s}}\n"


@pytest.fixture(autouse=True)
def sample():
    with only_packages("support.sample_desk"):
        yield


def missing(path, *sets):
    return [problem for problem in check(load_topology([path], list(sets))) if problem.code == "missing-file"]


@pytest.mark.parametrize("value", ["there.csv", "./there.csv", '""', '"${run.dir}/made.csv"'])
def test_nothing_is_said_of_what_is_there_empty_or_made_by_the_run(tmp_path, value):
    (tmp_path / "there.csv").touch()
    (tmp_path / "t.yaml").write_text(TEXT % value)
    assert missing(tmp_path / "t.yaml") == []


def test_a_path_is_sought_beside_the_file_that_holds_it(tmp_path, monkeypatch):
    (tmp_path / "deep").mkdir()
    (tmp_path / "there.csv").touch()
    (tmp_path / "deep" / "t.yaml").write_text(TEXT % "there.csv")
    monkeypatch.chdir(tmp_path)
    (problem,) = missing(tmp_path / "deep" / "t.yaml")
    assert str(tmp_path / "deep" / "there.csv") in problem.message
    # What is set on the command line is relative to where one stands.
    text = (
        "topology: t\nparams: {books: {type: str, default: nowhere.csv}}\n" + (TEXT % '"${books}"').partition("\n")[2]
    )
    (tmp_path / "deep" / "t.yaml").write_text(text)
    assert len(missing(tmp_path / "deep" / "t.yaml")) == 1
    assert missing(tmp_path / "deep" / "t.yaml", "books=there.csv") == []


@pytest.mark.parametrize("value", ["a" * 5000, '"a\\0b"', "t.yaml/below"])
def test_what_cannot_be_a_file_is_missing_too(tmp_path, value):
    (tmp_path / "t.yaml").write_text(TEXT % value)
    assert len(missing(tmp_path / "t.yaml")) == 1


def test_a_near_name_is_offered(tmp_path):
    (tmp_path / "books_2024.csv").touch()
    (tmp_path / "t.yaml").write_text(TEXT % "book_2024.csv")
    (problem,) = missing(tmp_path / "t.yaml")
    assert problem.fix == "did you mean 'books_2024.csv'?"
