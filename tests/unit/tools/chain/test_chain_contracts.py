"""The contracts are the published ones, or there are none."""

from __future__ import annotations

import json

import pytest
from support.chain import contracts

from tools.chain import contracts as source
from tools.chain.contracts import ContractsMissing, cache_file, load


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    contracts()
    kept = json.loads(cache_file().read_bytes())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache_file().parent.mkdir(parents=True)
    return kept


def test_all_are_there_with_abi_and_code():
    found = contracts()
    assert {"UniswapV3Factory", "NonfungiblePositionManager", "SwapRouter", "QuoterV2", "TickLens", "WETH9"} <= set(
        found
    )
    assert all(one.abi and len(one.creation_code) > 1_000 for one in found.values())


def test_without_them_the_error_says_how_to_get_them(empty_cache):
    with pytest.raises(ContractsMissing, match="pipeline chain fetch"):
        load()


def test_a_changed_byte_is_found(empty_cache):
    code = empty_cache["SwapRouter"]["bytecode"]
    empty_cache["SwapRouter"]["bytecode"] = code[:100] + ("0" if code[100] != "0" else "1") + code[101:]
    cache_file().write_text(json.dumps(empty_cache))
    with pytest.raises(ContractsMissing, match="SwapRouter is not the published one"):
        load()


def test_a_torn_file_is_found(empty_cache):
    cache_file().write_text(json.dumps(empty_cache)[:1000])
    with pytest.raises(ContractsMissing, match="is damaged"):
        load()


def test_a_download_that_fails_says_why(empty_cache, monkeypatch):
    monkeypatch.setattr(source, "_pips", lambda: [["false"], ["sh", "-c", "echo no route to the index >&2; exit 1"]])
    with pytest.raises(ContractsMissing, match="no route to the index"):
        source.fetch()
    monkeypatch.setattr(source, "_pips", list)
    with pytest.raises(ContractsMissing, match="neither pip nor uv"):
        source.load_or_fetch()
