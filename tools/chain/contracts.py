"""The published contracts: where their code comes from, and that it is the code we mean.

They are not part of this project. `fetch` takes them out of a package on PyPI, checks every creation code against the
digests below and keeps the few it needs in the user's cache folder. docs/chain.md names their licences.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from eth_hash.auto import keccak

from engine.errors import PipelineError

PACKAGE = "web3-ethereum-defi==1.2"
_WHEEL_SHA256 = "906579bfdb25d9aaa906543ce55a9d62e21a545e196e0230cb467c8b4406869d"
_TIMEOUT_S = 300


class _Source(NamedTuple):
    path: str
    digest: str
    """keccak-256 of the creation code; that of the pool is what pool addresses are computed from."""


_SOURCES = {
    "UniswapV3Factory": _Source(
        "uniswap_v3/UniswapV3Factory.json", "a9cb11ffa1b1bf9a9a2b70b66f6a22db3e8328b37ec44e6ce602749081efdb6d"
    ),
    "UniswapV3Pool": _Source(
        "uniswap_v3/UniswapV3Pool.json", "e34f199b19b2b4f47f68442619d555527d244f78a3297ea89325f843f87b8b54"
    ),
    "NonfungiblePositionManager": _Source(
        "uniswap_v3/NonfungiblePositionManager.json", "6d4a795ab08d4b4737c563d58af66cd9c1fe56a4ff3258fec16fd7c5eeade093"
    ),
    "SwapRouter": _Source(
        "uniswap_v3/SwapRouter.json", "4ab2bb678b8aa5c9267d00ec2ac6e6603909f2a6c9e8c59daaaf5f4af1ba6710"
    ),
    "QuoterV2": _Source("uniswap_v3/QuoterV2.json", "807900529037b0db5b299ed312e4b1820210b5e9922b6c4fcd4c23de67ee5f1a"),
    "TickLens": _Source("uniswap_v3/TickLens.json", "5aa22b1e9d3b0b48f5b5c7d92204903de53b1820bae045c6b55f2c31cf3e558c"),
    "WETH9": _Source("aave_v3/WETH9.json", "f5c8047ab68a239b35bf7730b5d58a4b63ab4a780882c6657bab74bc95df863d"),
    "ERC20": _Source("ERC20MockDecimals.json", "04d9ea3d7be602998b3e04d77cdbfdeac9bc0c84935c479a9f641a66ad634f41"),
}


class ContractsMissing(PipelineError):
    """The contracts are not in the cache, or could not be fetched."""


class Artifact(NamedTuple):
    """One contract: its ABI and its creation code, without constructor arguments."""

    name: str
    abi: list[dict[str, Any]]
    creation_code: bytes


def cache_file() -> Path:
    """Return where the contracts are kept: under XDG_CACHE_HOME, by default ~/.cache."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "asymmetric-lp" / f"contracts-{PACKAGE.replace('==', '-')}.json"


def load() -> dict[str, Artifact]:
    """Return the contracts by name; raise ContractsMissing when they were not fetched or are not the expected ones."""
    path = cache_file()
    try:
        page = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise ContractsMissing(f"no contracts in {path}; `pipeline chain fetch` gets them from PyPI") from error
    except ValueError as error:
        raise ContractsMissing(f"{path} is damaged ({error}); delete it and do `pipeline chain fetch`") from error
    return {name: _artifact(name, page.get(name, {}), str(path)) for name in _SOURCES}


def load_or_fetch() -> dict[str, Artifact]:
    """Return the contracts, fetched first when they are not in the cache."""
    if not cache_file().exists():
        fetch()
    return load()


def fetch() -> Path:
    """Download the package that holds the contracts (34 MB), check them, keep them; return the file.

    Raises ContractsMissing when the download fails or when a creation code has another digest.
    """
    with tempfile.TemporaryDirectory(prefix="contracts-") as folder:
        wheel = _download(Path(folder))
        with zipfile.ZipFile(wheel) as archive:
            found = {name: json.loads(archive.read(f"eth_defi/abi/{source.path}")) for name, source in _SOURCES.items()}
    page = {name: {"abi": one["abi"], "bytecode": one["bytecode"]} for name, one in found.items()}
    for name, one in page.items():
        if isinstance(one["bytecode"], dict):
            one["bytecode"] = one["bytecode"]["object"]
        _artifact(name, one, PACKAGE)
    path = cache_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    # Several may fetch at once: each writes a file of its own, and the last rename wins.
    with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".part", delete=False) as part:
        json.dump(page, part)
    os.replace(part.name, path)
    return path


def _artifact(name: str, page: Mapping[str, Any], where: str) -> Artifact:
    code = bytes.fromhex(str(page.get("bytecode", "")).removeprefix("0x"))
    if keccak(code).hex() != _SOURCES[name].digest:
        raise ContractsMissing(
            f"{where}: the code of {name} is not the published one (keccak-256 {keccak(code).hex()}, "
            f"expected {_SOURCES[name].digest}); delete the file and do `pipeline chain fetch`"
        )
    return Artifact(name, page["abi"], code)


def _download(folder: Path) -> Path:
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{PACKAGE} --hash=sha256:{_WHEEL_SHA256}\n")
    said = "there is neither pip nor uv"
    for pip in _pips():
        command = [*pip, "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-input"]
        command += ["--only-binary", ":all:", "--dest", str(folder), "--requirement", str(requirements)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise ContractsMissing(f"downloading {PACKAGE} took more than {_TIMEOUT_S} s; try again") from error
        if wheels := list(folder.glob("*.whl")):
            return wheels[0]
        said = ((done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    raise ContractsMissing(f"could not download {PACKAGE}: {said}")


def _pips() -> list[list[str]]:
    # An environment made by uv has no pip of its own.
    pips = [[sys.executable, "-m", "pip"]] if find_spec("pip") else []
    if uv := shutil.which("uv") or (Path(sys.executable).with_name("uv") if find_spec("uv") else None):
        pips.append([str(uv), "tool", "run", "pip"])
    return pips
