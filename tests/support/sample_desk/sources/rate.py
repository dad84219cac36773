from engine import Node, Out
from nodes.messages import Conversion


class Rate(Node):
    """A rate between currencies."""

    rate = Out(Conversion, doc="The rate.")
