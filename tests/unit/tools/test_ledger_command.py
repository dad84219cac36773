"""`pipeline ledger verify`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.scripted_world import mark

from nodes._lib.ledger_file import LedgerDamaged, LedgerFile
from tools.ledger import command


@pytest.fixture
def ledger(tmp_path) -> Path:
    file = LedgerFile(tmp_path / "ledger.sqlite")
    file.adder("marks")(mark(1, 2000.0))
    file.close()
    return file.path


def test_a_whole_ledger_is_told_with_its_end(ledger):
    result = CliRunner().invoke(command, ["verify", str(ledger)])
    assert result.exit_code == 0
    assert "1 rows in 1 commits are as written" in result.output


def test_a_damaged_one_is_an_error(ledger):
    data = bytearray(ledger.read_bytes())
    data[data.index(b"venue mid")] ^= 1
    ledger.write_bytes(bytes(data))
    assert isinstance(CliRunner().invoke(command, ["verify", str(ledger)]).exception, LedgerDamaged)


def test_the_wrong_end_is_an_error(ledger):
    assert isinstance(CliRunner().invoke(command, ["verify", str(ledger), "--head", "00"]).exception, LedgerDamaged)


def test_json_says_whether_all_is_well(ledger):
    whole = json.loads(CliRunner().invoke(command, ["verify", str(ledger), "--json"]).output)
    assert (whole["ok"], whole["rows"]) == (True, 1)
    cut = CliRunner().invoke(command, ["verify", str(ledger), "--json", "--head", "00"], standalone_mode=False)
    assert cut.return_value == 1
    assert json.loads(cut.output)["ok"] is False
    kept = CliRunner().invoke(command, ["verify", str(ledger), "--json", "--head", whole["head"]])
    assert json.loads(kept.output) == whole
