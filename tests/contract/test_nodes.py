"""What holds for every node type that is found."""

from __future__ import annotations

from decimal import Decimal
from functools import cache
from typing import get_args, get_origin

import msgspec
import pytest

from engine import catalogue
from engine.clock import Clock
from engine.errors import PipelineError
from engine.registry import node_class, type_names
from engine.run.host import Host
from engine.topology.check import check
from engine.topology.load import load_topology
from engine.topology.model import LOSSY_KINDS
from engine.topology.render_problems import render

NUMBERS = (int, float, Decimal)


@cache
def entries():
    return {entry.name: entry for entry in catalogue.entries()}


def node_types() -> list[str]:
    return sorted(entries())


@pytest.fixture(params=node_types())
def name(request):
    return request.param


@pytest.fixture
def spec(name):
    entry = entries()[name]
    if entry.spec is None:
        pytest.skip("cannot be used; test_it_can_be_used tells why")
    return entry.spec


def is_number(kind) -> bool:
    if kind in NUMBERS:
        return True
    return get_origin(kind) is not None and any(is_number(part) for part in get_args(kind))


def test_something_is_found():
    assert set(node_types()) <= set(type_names())
    assert node_types()


def test_it_can_be_used(name):
    assert entries()[name].spec is not None, entries()[name].reason


def test_it_says_what_it_does(name, spec):
    assert spec.doc.strip(), f"{name} has no docstring"
    assert spec.doc.splitlines()[0].endswith("."), f"the first line of {name}'s docstring is not a sentence"


def test_params_are_documented_and_numbers_have_units(name, spec):
    for key, param in spec.params.items():
        assert param.doc.strip(), f"param {key!r} of {name} has no doc"
        if is_number(param.type) and not param.enum:
            assert param.unit, f'param {key!r} of {name} is a number without a unit (dimensionless is unit="1")'


def test_defaults_fit_their_params(name, spec):
    for key, param in spec.params.items():
        if not param.required:
            default = msgspec.to_builtins(param.default, builtin_types=(Decimal,))
            assert param.convert(default) == param.default, f"the default of param {key!r} of {name}"


def test_examples_fit_their_params(name, spec):
    for key, param in spec.params.items():
        if not param.secret:
            param.convert(catalogue.example_value(param))
            assert key in catalogue.example(name, spec)


def test_examples_load(name, spec, tmp_path):
    """What `pipeline nodes show` prints can be pasted into a topology; only its writers and files are not there."""
    file = tmp_path / "example.yaml"
    file.write_text(f"topology: example\n{catalogue.example(name, spec)}\n")
    problems = check(load_topology([file]), rules=())
    assert {problem.code for problem in problems} <= {"unknown-node", "output-unread", "missing-file"}, render(problems)


def test_ports_are_documented(name, spec):
    for key, port in (spec.inputs | spec.outputs).items():
        assert port.doc.strip(), f"port {key!r} of {name} has no doc"


def test_policies_of_inputs_make_sense(name, spec):
    for key, port in spec.inputs.items():
        lossy = port.policy in LOSSY_KINDS
        assert not (lossy and port.message.delivery == "reliable"), f"{name}.{key} loses {port.message.__name__}"
        assert port.policy not in port.refuses, f"{name}.{key} refuses its own default"
        assert port.by is None or port.by in port.message.__struct_fields__, f"{name}.{key}: by={port.by!r}"
        assert (port.n is not None) == (port.policy == "drop_oldest"), f"{name}.{key}: n={port.n}"


def test_critical_inputs_have_actions(name, spec):
    if any(port.critical for port in spec.inputs.values()):
        assert spec.stale_actions, f"{name} has a critical input and offers no stale_actions"
    for action, meaning in spec.stale_actions.items():
        assert meaning.strip(), f"action {action!r} of {name} has no meaning"


def test_pair_tags_name_a_param_or_an_input(name, spec):
    for key, port in (spec.inputs | spec.outputs).items():
        tag = port.tags.get("pair")
        if tag is None:
            continue
        known = spec.inputs if tag.startswith("in:") else spec.params
        assert tag.removeprefix("in:") in known, f"{name}.{key} has the tag pair={tag!r}"


def test_state_is_encodable(name, spec):
    for key, field in spec.state.items():
        value = field.fresh()
        again = msgspec.json.decode(msgspec.json.encode(value), type=field.type)
        assert again == value, f"state {key!r} of {name} does not survive encoding"


def made(name):
    """Return a host with one node of this type, its params at their defaults or examples, not started."""
    cls = node_class(name)
    values = {key: param.convert(catalogue.example_value(param)) for key, param in cls.spec.params.items()}
    host = Host(Clock(0))
    return host, host.add("node", cls, values)


def test_stop_before_start_is_safe(name, spec, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, node = made(name)
    node.stop()
    node.stop()


def test_it_starts_and_stops_without_input(name, spec, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    host, node = made(name)
    host.run_dir = node.run_dir = str(tmp_path)
    reads_files = any(param.path for param in spec.params.values())
    try:
        host.start()
    except PipelineError as error:
        # What reads a file may refuse one that is not there, and says which.
        cause = getattr(error, "cause", error)
        assert reads_files, error
        assert isinstance(cause, PipelineError | OSError | ValueError), error
    host.call(node, "stop", ())
    host.call(node, "stop", ())
