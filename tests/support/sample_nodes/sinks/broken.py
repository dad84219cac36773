from engine import In, Node
from sample_nodes._messages import Reading


class Broken(Node):
    """Has an input without a handler."""

    reading = In(Reading, doc="Read by nothing.")
