from engine import Node, Out, param
from nodes.messages import Book


class Market(Node):
    """A market."""

    book = Out(Book, doc="Its book.", tags={"pair": "instrument"})

    instrument: str = param("ETH-USDT-PERP", doc="What is traded.")
