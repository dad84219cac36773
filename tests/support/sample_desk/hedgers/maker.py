from typing import ClassVar

from engine import In, Node, Out, param
from nodes.messages import Book, Conversion, Fill, OrderRequest, OrderUpdate


class Maker(Node):
    """Sends orders."""

    stale_actions: ClassVar = {"cancel": "Cancel all orders."}

    book = In(Book, critical=True, doc="The market.", tags={"pair": "instrument"})
    rate = In(Conversion, optional=True, doc="Turns the market's quote into ours.")
    fill = In(Fill, optional=True, doc="Our fills.")
    update = In(OrderUpdate, optional=True, doc="What became of orders.")
    order = Out(OrderRequest, doc="Orders.", tags={"pair": "instrument"})

    instrument: str = param("ETH-USDT-PERP", doc="What to trade.")

    def on_book(self, message: Book) -> None: ...

    def on_rate(self, message: Conversion) -> None: ...

    def on_fill(self, message: Fill) -> None: ...

    def on_update(self, message: OrderUpdate) -> None: ...
