"""Every code that a problem of a topology may carry, with its meaning. Codes are stable: scripts may rely on them."""

from __future__ import annotations

from collections.abc import Sequence

from engine.topology import (
    check,
    check_cycles,
    check_params,
    check_paths,
    check_placement,
    check_policies,
    check_processes,
    check_wires,
)
from engine.topology.rules import Rule

READING = {
    "bad-id": "The id of a node or the prefix of an include has a form that is not allowed.",
    "bad-name": "The name of a topology, param or loop has a form that is not allowed, or is taken.",
    "bad-port": "A text that should be NODE.PORT or hub:NAME/TOPIC is neither.",
    "bad-set": "An option --set has no NAME=VALUE.",
    "bad-value": "A value of the format itself is out of bounds or not one of its choices.",
    "duplicate-hub": "Two hubs have the same name.",
    "duplicate-node": "Two nodes have the same id.",
    "duplicate-prefix": "Two includes have the same prefix.",
    "duplicate-process": "Two processes have the same name.",
    "empty-loop": "A `for_each` has an empty list.",
    "env-missing": "An environment variable is not set and has no default.",
    "expansion-limit": "Loops, includes and references would make more than a topology may hold.",
    "file-missing": "A file of the command line does not exist.",
    "file-unreadable": "A file cannot be read.",
    "include-cycle": "A file includes itself, directly or through others.",
    "include-depth": "Includes are nested too deep.",
    "include-missing": "An included file does not exist.",
    "include-outside-root": "An include leads outside the project.",
    "missing-key": "A key that is needed is not there.",
    "nothing-to-remove": "An overlay removes what is not there.",
    "out-not-hub": "An `out:` leads to something other than a hub.",
    "param-cycle": "The default of a param needs itself.",
    "param-type": "A declared param has no type.",
    "reference-depth": "References lead from one to the next too often.",
    "reference-in-key": "A key holds a reference.",
    "reference-kind": "A list or mapping is to become part of a text.",
    "reference-syntax": "A `${...}` is not written as a reference is.",
    "reference-text": "References make a text too long.",
    "root-only": "An included file holds what only the topology itself may hold.",
    "secret-misplaced": "A secret is put where it would be printed.",
    "secret-missing": "A secret is not set; found at start.",
    "template-port-open": "An include leaves a port open that the included file asks for.",
    "template-port-unknown": "A port is named that the included file does not offer.",
    "too-many-problems": "There are so many problems that the rest is not listed.",
    "unknown-key": "The format has no such key here.",
    "unknown-reference": "A reference names nothing.",
    "wrong-kind": "A value is of another kind than is needed, such as a text for a mapping.",
    "yaml-alias": "An alias names no anchor, or contains itself.",
    "yaml-alias-limit": "Aliases repeat too much.",
    "yaml-depth": "Values are nested too deep.",
    "yaml-documents": "A file holds more than one document.",
    "yaml-duplicate-key": "A key is repeated.",
    "yaml-empty": "A file holds nothing.",
    "yaml-encoding": "A file is not UTF-8.",
    "yaml-key": "A key is not text.",
    "yaml-merge-key": "A merge key `<<` is used.",
    "yaml-number": "A number cannot be used.",
    "yaml-size": "A file is too large.",
    "yaml-syntax": "A file is not YAML.",
    "yaml-tag": "A tag is used.",
}
"""Codes of problems that are found while the text is read and expanded."""


def all_codes(rules: Sequence[Rule]) -> dict[str, str]:
    """Return every code with its meaning, those of `rules` included."""
    modules = (
        check,
        check_wires,
        check_params,
        check_paths,
        check_policies,
        check_cycles,
        check_placement,
        check_processes,
    )
    result = dict(READING)
    for module in modules:
        result.update(module.CODES)
    result.update({rule.code: rule.doc for rule in rules})
    return result
