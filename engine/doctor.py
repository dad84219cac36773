"""What may keep this installation from working: each finding says what was looked at and what to do."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from engine import catalogue
from engine.topology.listeners import holder_of, is_free

NEEDED_PYTHON = (3, 11)
DISK_LOW_BYTES = 1 << 30
DISK_EMPTY_BYTES = 100 << 20
OPEN_FILES_LOW = 1024


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `broken` keeps runs from working; a `warning` may, some day or in some run."""

    subject: str
    status: Literal["ok", "warning", "broken"]
    text: str
    fix: str = ""


def examine(root: Path, ports: Sequence[int]) -> Iterator[Finding]:
    """Yield a finding for each thing; `root` is the project's folder and `ports` those that runs would listen on."""
    yield _python()
    yield from _packages()
    yield _nodes()
    yield _generated(root)
    yield from _ports(ports)
    yield _disk(root)
    yield _temporary()
    yield _open_files()


def distribution() -> metadata.Distribution:
    """Return the installed distribution that brings the `pipeline` command."""
    entry = next(iter(metadata.entry_points(group="console_scripts", name="pipeline")))
    if entry.dist is None:
        raise LookupError("the `pipeline` command belongs to no installed distribution")
    return entry.dist


def _python() -> Finding:
    have = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < NEEDED_PYTHON:
        return Finding("python", "broken", f"Python {have}", "install Python 3.11 or newer")
    return Finding("python", "ok", f"Python {have} ({sys.executable})")


def _packages() -> Iterator[Finding]:
    ours = distribution()
    needs: dict[str, list[str]] = {"": []}
    for line in ours.requires or []:
        marker = re.search(r"extra == ['\"]([^'\"]+)['\"]", line)
        needs.setdefault(marker[1] if marker else "", []).append(line.partition(";")[0].strip())
    for extra, requirements in needs.items():
        lacking = [text for text in requirements if not requirements_met(text)]
        subject = f"extra {extra!r}" if extra else "packages"
        if not lacking:
            yield Finding(subject, "ok", ", ".join(requirements))
        elif extra:
            fix = f"pip install '{ours.name}[{extra}]' if you need it"
            yield Finding(subject, "warning", f"lacks {', '.join(lacking)}", fix)
        else:
            yield Finding(subject, "broken", f"lacks {', '.join(lacking)}", f"pip install {' '.join(lacking)}")


def requirements_met(requirement: str) -> bool:
    """Return whether what `name>=version` or `name[extra]` asks for is installed; other bounds are not judged."""
    found = re.match(r"([\w.-]+)(?:\[[^\]]*\])?\s*(.*)", requirement)
    if found is None:
        return False
    try:
        have = metadata.version(found[1])
    except metadata.PackageNotFoundError:
        return False
    least = re.search(r">=\s*([\d.]+)", found[2])
    return least is None or _numbers(have) >= _numbers(least[1])


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _nodes() -> Finding:
    found = list(catalogue.entries())
    unusable = [entry for entry in found if entry.spec is None]
    if not found:
        return Finding("nodes", "broken", "no node types are installed", "reinstall: pip install -e .")
    if unusable:
        names = "; ".join(f"{entry.name} ({entry.reason})" for entry in unusable)
        return Finding("nodes", "warning", f"{len(unusable)} of {len(found)} types cannot be used: {names}")
    return Finding("nodes", "ok", f"{len(found)} node types can be used")


def _generated(root: Path) -> Finding:
    if not (root / "tools" / "generate.py").is_file():
        return Finding("schemas", "ok", "nothing is generated here")
    result = subprocess.run(
        [sys.executable, "-m", "tools.generate", "--check"], cwd=root, capture_output=True, text=True, check=False
    )
    if result.returncode:
        lines = (result.stdout + result.stderr).strip().splitlines()
        return Finding("schemas", "broken", lines[-1] if lines else "--check failed", "python -m tools.generate")
    return Finding("schemas", "ok", "schemas and catalogue are up to date")


def _ports(ports: Sequence[int]) -> Iterator[Finding]:
    taken = [port for port in ports if not is_free(port)]
    for port in taken:
        text = f"{port} is held by {holder_of(port) or 'another program'}"
        yield Finding("ports", "warning", text, "stop it, or shift the ports of a run with --port-offset N")
    if not taken:
        yield Finding("ports", "ok", f"{len(ports)} ports are free" if ports else "none are needed")


def _disk(root: Path) -> Finding:
    free = shutil.disk_usage(root).free
    text = f"{free / (1 << 30):.1f} GiB free at {root}"
    if free < DISK_EMPTY_BYTES:
        return Finding("disk", "broken", text, "free some space: a run keeps journals and recordings")
    if free < DISK_LOW_BYTES:
        return Finding("disk", "warning", text, "free some space: a run keeps journals and recordings")
    return Finding("disk", "ok", text)


def _temporary() -> Finding:
    folder = tempfile.gettempdir()
    if not os.access(folder, os.W_OK):
        return Finding("temporary files", "broken", f"cannot write to {folder}", "set TMPDIR to a folder you own")
    return Finding("temporary files", "ok", folder)


def _open_files() -> Finding:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit != resource.RLIM_INFINITY and limit < OPEN_FILES_LOW:
        return Finding("open files", "warning", f"at most {limit} per process", f"ulimit -n {OPEN_FILES_LOW * 4}")
    return Finding("open files", "ok", "any number" if limit == resource.RLIM_INFINITY else f"at most {limit}")
