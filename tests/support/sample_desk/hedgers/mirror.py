from engine import In, Node, Out
from nodes.messages import Book, OrderRequest


class Mirror(Node):
    """Sends orders in the market that its book tells of, whichever that is, and passes others on."""

    book = In(Book, doc="The market.", tags={"pair": "in:book"})
    order = In(OrderRequest, optional=True, doc="Passed on.")
    out = Out(OrderRequest, doc="Orders.")
    copy = Out(Book, optional=True, doc="The same market.", tags={"pair": "in:book"})

    def on_book(self, message: Book) -> None: ...

    def on_order(self, message: OrderRequest) -> None: ...
