from support.sample_nodes._messages import Reading

from engine import In, Node


class Broken(Node):
    """Has an input without a handler."""

    reading = In(Reading, doc="Read by nothing.")
