"""Whatever a node is told, its declared state can be written to the journal and read back."""

from __future__ import annotations

import typing
from decimal import Decimal
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine import Message, catalogue
from engine.clock import Clock
from engine.errors import PipelineError
from engine.registry import node_class
from engine.run.host import Host
from engine.wire.codec import decode_state, encode_state
from nodes.messages import Book

REACTORS = sorted(
    entry.name
    for entry in catalogue.entries()
    if entry.spec is not None and entry.spec.state and entry.spec.inputs and not entry.spec.is_driver
)
WORDS = st.sampled_from(["ETH-USDT-PERP", "ETH-USDC-5", "ETH", "USDT", "USDC", "USD", "1", "a:b:c", "", "Ω\x00"])

DECIMALS = st.integers(0, 36)


def values(hint: Any) -> st.SearchStrategy:
    """Return what a field of this type may hold: numbers of any size, not finite ones too, and likely words."""
    if hint is bool:
        return st.booleans()
    if hint is int:
        return st.integers(0, 10) | st.integers(-(1 << 256), 1 << 256)
    if hint is float:
        return st.floats(0.5, 3000.0) | st.floats()
    if hint is str:
        return WORDS
    if hint is bytes:
        return st.just(b"")
    if hint is Decimal:
        return st.decimals("0.001", 3000, places=3)
    if isinstance(hint, type) and issubclass(hint, Message):
        return messages(hint)
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal:
        return st.sampled_from(parts)
    if origin in (UnionType, typing.Union):
        return st.one_of(*map(values, parts))
    if origin is tuple and parts[-1] is ...:
        return st.lists(values(parts[0]), max_size=2).map(tuple)
    if hint is type(None):
        return st.none()
    raise TypeError(f"no values are known for {hint}")


def messages(cls: type[Message]) -> st.SearchStrategy[Message]:
    cls = Book if cls is Message else cls
    hints = get_type_hints(cls)
    fields = {name: DECIMALS if name.endswith("_decimals") else values(hints[name]) for name in cls.__struct_fields__}
    return st.builds(cls, **fields)


@pytest.mark.parametrize("name", REACTORS)
def test_state_survives_the_journal_after_any_messages(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    cls = node_class(name)
    told = st.one_of(
        *(st.tuples(st.just(port.name), messages(port.message)) for port in cls.spec.inputs.values()),
        st.tuples(st.just(""), st.integers(0, 200)),
    )

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(st.lists(told, max_size=12))
    def check(script: list[tuple[str, Any]]) -> None:
        folder = tmp_path_factory.mktemp("run")
        node, host = made(cls, folder)
        for input, what in script:
            try:
                if input:
                    host.call(node, f"on_{input}", (what,))
                else:
                    host.call_due(host.clock.now_ns + what * 10**9)
                    host.clock.now_ns += what * 10**9
            except PipelineError:
                break  # it refuses what makes no sense; what it knew until then is still to be kept
        fields = {key: getattr(node, key) for key in cls.spec.state}
        types = {key: field.type for key, field in cls.spec.state.items()}
        written = encode_state(fields)
        assert encode_state(decode_state(written, types)) == written

    check()


def made(cls: Any, folder: Path) -> tuple[Any, Host]:
    params = {
        key: param.convert(catalogue.example_value(param)) if param.required else param.default
        for key, param in cls.spec.params.items()
    }
    host = Host(Clock(10**18), run_dir=str(folder))
    node = host.add("node", cls, params)
    try:
        host.start()
    except PipelineError as error:
        pytest.skip(f"does not start on example values: {error}")
    return node, host
