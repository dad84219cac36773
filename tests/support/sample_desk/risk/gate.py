from engine import In, Node, Out
from nodes.messages import OrderRequest


class Gate(Node):
    """Judges orders."""

    order = In(OrderRequest, many=True, doc="Orders.")
    approved = Out(OrderRequest, doc="Those that pass.")

    def on_order(self, message: OrderRequest) -> None: ...
