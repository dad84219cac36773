"""The generic runtime: it builds and runs graphs of nodes and knows nothing of what they do.

All that a node author needs is imported from here.
"""

from engine.clock import NS_PER_S, Clock
from engine.errors import Disconnected, EndOfData, PipelineError, Rejected, RetryAfter
from engine.message import Message
from engine.node import Node, Timer
from engine.spec import In, Out, param, state

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
    "param",
    "state",
]
