"""Check a flat topology: every problem at once, each with its code, place and remedy.

One mistake gives one message: what follows from an unknown name is not reported as well, and the rules of node
packages run once names and wires are right.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from engine.errors import Problem, TopologyError
from engine.registry import UnknownType, node_class, type_names
from engine.spec import NodeSpec
from engine.topology import (
    check_cycles,
    check_params,
    check_paths,
    check_placement,
    check_policies,
    check_processes,
    check_wires,
)
from engine.topology.model import Topology
from engine.topology.rules import Graph, Rule, did_you_mean_type, installed_rules, problem_at

CODES = {
    "unknown-type": "No installed package has a node type of this name.",
    "broken-type": "The node type's file exists but cannot be imported, or its declaration is wrong.",
}

STRUCTURAL = frozenset({*CODES, *check_wires.CODES}) - {"output-unread", "hub-unwritten", "hub-reliable"}


def check(topology: Topology, *, offline: bool = True, rules: Sequence[Rule] | None = None) -> list[Problem]:
    """Return all problems of a topology, by file and line; with `offline`, ports of this machine are not tried.

    `rules` replaces the rules of the installed packages.
    """
    specs, problems = _specs(topology)
    graph = Graph(topology, specs)
    problems += check_wires.problems(graph)
    problems += check_params.problems(graph)
    problems += check_paths.problems(graph)
    problems += check_policies.problems(graph)
    problems += check_cycles.problems(graph)
    problems += check_placement.problems(graph, offline=offline)
    problems += check_processes.problems(graph)
    if any(problem.code in STRUCTURAL for problem in problems):
        # A wire that cannot be followed may be the one that closes the loop.
        problems = [problem for problem in problems if problem.code != "feedback-needless"]
    else:
        for rule in installed_rules() if rules is None else rules:
            problems += rule.check(graph)
    return in_order(problems)


def checked(topology: Topology, *, offline: bool = True, rules: Sequence[Rule] | None = None) -> Topology:
    """Return the topology; raise TopologyError with all its problems when one of them is an error."""
    problems = check(topology, offline=offline, rules=rules)
    if any(problem.severity == "error" for problem in problems):
        raise TopologyError(problems)
    return topology


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Return the problems by file, line and column; those without a place come first."""

    def key(problem: Problem) -> tuple[str, int, int, str, str, str]:
        place = problem.place
        file, line, column = (place.file, place.line, place.column) if place else ("", 0, 0)
        return file, line, column, problem.severity, problem.code, problem.message

    return sorted(problems, key=key)


def _specs(topology: Topology) -> tuple[dict[str, NodeSpec], list[Problem]]:
    specs: dict[str, NodeSpec] = {}
    problems: list[Problem] = []
    for node in topology.nodes.values():
        try:
            specs[node.id] = node_class(node.use).spec
        except UnknownType as error:
            fix = did_you_mean_type(node.use, type_names())
            problems.append(problem_at("unknown-type", f"node {node.id!r}: {error}", node.use_origin, fix))
        except Exception as error:  # noqa: BLE001  a node file is foreign code: its import may raise anything
            message = f"node {node.id!r}: node type {node.use!r} cannot be used: {type(error).__name__}: {error}"
            problems.append(
                problem_at(
                    "broken-type", message, node.use_origin, f"repair the file of {node.use}, or name another type"
                )
            )
    return specs, problems
