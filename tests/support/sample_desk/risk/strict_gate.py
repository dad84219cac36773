from engine import In, Node, Out, param
from nodes.messages import Conversion, OrderRequest


class StrictGate(Node):
    """Judges orders in one instrument."""

    order = In(OrderRequest, doc="Orders.", tags={"pair": "instrument"})
    rate = In(Conversion, optional=True, doc="A rate.")
    approved = Out(OrderRequest, doc="Those that pass.")

    instrument: str = param("ETH-USDT", doc="What may be traded.")

    def on_order(self, message: OrderRequest) -> None: ...

    def on_rate(self, message: Conversion) -> None: ...
