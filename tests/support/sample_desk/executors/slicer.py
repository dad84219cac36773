from engine import In, Node, Out
from nodes.messages import OrderRequest


class Slicer(Node):
    """Passes orders on in parts."""

    order = In(OrderRequest, doc="Orders.")
    part = Out(OrderRequest, doc="Their parts.")

    def on_order(self, message: OrderRequest) -> None: ...
