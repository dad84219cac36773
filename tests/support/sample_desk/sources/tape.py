from engine import Node, Out, param
from nodes.messages import Book


class Tape(Node):
    """A market that was written down."""

    book = Out(Book, doc="Its book.", tags={"pair": "instrument"})

    instrument: str = param("ETH-USDT-PERP", doc="What is traded.")
    file: str = param("", path=True, doc="The books, CSV.")
    more: list[str] = param([], path=True, doc="Files that follow, CSV.")
