from engine import In, Node, Out
from nodes.messages import Fill, OrderRequest, OrderUpdate


class Desk(Node):
    """Acts on orders."""

    order = In(OrderRequest, many=True, doc="Orders.")
    fill = Out(Fill, optional=True, doc="Fills.")
    update = Out(OrderUpdate, optional=True, doc="What became of them.")

    def on_order(self, message: OrderRequest) -> None: ...
