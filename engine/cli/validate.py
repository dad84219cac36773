"""`pipeline validate`: check topologies without starting anything."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.cli._common import TopologyFile, overlay_option, set_option

if TYPE_CHECKING:
    from engine.errors import Problem
    from engine.topology.model import Topology, Variant

POLL_S = 0.25


@click.command()
@click.argument("files", type=TopologyFile(), nargs=-1, required=True)
@overlay_option
@set_option
@click.option("--offline", is_flag=True, help="Do not try the ports of this machine.")
@click.option("--watch", is_flag=True, help="Check again whenever a file changes; end with ctrl-c.")
@click.option("--json", "as_json", is_flag=True, help="Print problems and counts as JSON.")
def command(
    files: tuple[Path, ...],
    overlays: tuple[Path, ...],
    sets: tuple[str, ...],
    offline: bool,
    watch: bool,
    as_json: bool,
) -> int:
    """Check topologies: names, types, units, wires, loops, placement, ports, and the rules of node packages.

    All problems are reported at once, each with its place and what to do. Exit code 2 when there is an error;
    warnings alone do not fail.

    \b
    Examples:
      pipeline validate topologies/backtest/asymmetric_lp.yaml
      pipeline validate --watch my.yaml
      pipeline validate base.yaml -f paper.yaml --set fee_tier=3000
      pipeline validate --json topologies/backtest/polygon_days.yaml | jq '.problems[].code'
    """
    seen: dict[Path, float] = {}
    while True:
        results = [(file, *examine(file, overlays, sets, offline)) for file in files]
        code = _print_json(results) if as_json else _print_text(results)
        if not watch:
            return code
        for _, topology, problems in results:
            seen.update(_times(topology.files if topology else ()))
            seen.update(_times(problem.place.file for problem in problems if problem.place))
        seen.update(_times([*files, *overlays]))
        changed = _wait_for_change(seen)
        if not as_json:
            click.echo(f"\n{changed} has changed")


def examine(
    file: Path, overlays: tuple[Path, ...], sets: tuple[str, ...], offline: bool
) -> tuple[Topology | None, list[Problem]]:
    """Load and check one topology; return it, or None where its text cannot be read, and all problems."""
    from engine.errors import TopologyError
    from engine.topology.check import check
    from engine.topology.load import load_topology

    try:
        topology = load_topology([file, *overlays], list(sets))
    except TopologyError as error:
        return None, error.problems
    problems = check(topology, offline=offline)
    if not any(problem.severity == "error" for problem in problems):
        for variant in topology.variants.values():
            problems += _in_variant(variant, [file, *overlays], sets)
    return topology, problems


def _in_variant(variant: Variant, files: list[Path], sets: tuple[str, ...]) -> list[Problem]:
    """Return the errors that a topology has only with what a variant sets."""
    import dataclasses

    from engine.errors import TopologyError
    from engine.topology.check import check
    from engine.topology.load import as_sets, load_topology

    try:
        found = check(load_topology(files, [*sets, *as_sets(variant)]), offline=True)
    except TopologyError as error:
        found = error.problems
    place = variant.origin.place
    return [
        dataclasses.replace(problem, message=f"variant {variant.name!r}: {problem.message}", place=place)
        for problem in found
        if problem.severity == "error"
    ]


Result = tuple[Path, "Topology | None", "list[Problem]"]


def _print_text(results: list[Result]) -> int:
    import sys

    from engine.errors import ExitCode
    from engine.topology.render_problems import counts, render, summary

    code = ExitCode.DONE
    for file, topology, problems in results:
        texts = topology.files if topology else {}
        if problems:
            click.echo(render(problems, texts, colour=sys.stdout.isatty()))
        if counts(problems)["errors"] or topology is None:
            code = ExitCode.USAGE
            click.echo(f"{file}: {summary(problems)}")
            continue
        facts = [
            _counted(len(topology.nodes), "node"),
            _counted(len(topology.wires), "wire"),
            _counted(max(1, len(topology.processes)), "process"),
            _counted(len(problems), "warning"),
        ]
        click.echo(f"{file}: {topology.name} is valid: {', '.join(facts)}")
    return code


def _print_json(results: list[Result]) -> int:
    import json

    from engine.errors import ExitCode
    from engine.topology.render_problems import counts

    problems = [problem for _, _, found in results for problem in found]
    page = {
        "topologies": [
            {
                "file": str(file),
                "name": topology.name if topology else None,
                "nodes": len(topology.nodes) if topology else None,
                "wires": len(topology.wires) if topology else None,
                "processes": max(1, len(topology.processes)) if topology else None,
                **counts(found),
            }
            for file, topology, found in results
        ],
        "problems": [problem.as_dict() for problem in problems],
        **counts(problems),
    }
    click.echo(json.dumps(page, indent=1))
    return ExitCode.USAGE if counts(problems)["errors"] else ExitCode.DONE


def _counted(count: int, word: str) -> str:
    if count == 1:
        return f"1 {word}"
    return f"{count} {word}es" if word.endswith("s") else f"{count} {word}s"


def _times(files: Iterable[str | Path]) -> dict[Path, float]:
    return {path: _time(path) for path in map(Path, files)}


def _time(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0  # it is not there now; when it comes back, that is a change


def _wait_for_change(seen: dict[Path, float]) -> Path:
    """Return the first file whose time of change differs from `seen`."""
    import time

    while True:
        for path, known in _times(seen).items():
            if known != seen[path]:
                return path
        time.sleep(POLL_S)
