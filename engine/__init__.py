"""The generic runtime: it builds and runs graphs of nodes and knows nothing of what they do.

All that a node author needs is imported from here. Names are imported when first asked for, so that a command which
needs none of them starts at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.clock import NS_PER_S, Clock
    from engine.errors import Disconnected, EndOfData, PipelineError, Rejected, RetryAfter
    from engine.message import Message
    from engine.node import Node, Timer
    from engine.spec import In, Out, metric, param, state

__all__ = [
    "NS_PER_S",
    "Clock",
    "Disconnected",
    "EndOfData",
    "In",
    "Message",
    "Node",
    "Out",
    "PipelineError",
    "Rejected",
    "RetryAfter",
    "Timer",
    "metric",
    "param",
    "state",
]

_MODULES = {
    "clock": ("NS_PER_S", "Clock"),
    "errors": ("Disconnected", "EndOfData", "PipelineError", "Rejected", "RetryAfter"),
    "message": ("Message",),
    "node": ("Node", "Timer"),
    "spec": ("In", "Out", "metric", "param", "state"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
