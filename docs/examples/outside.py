"""Read the inventory and the market of a running topology from outside, and ask it for an order.

pipeline up docs/examples/outside.yaml --detach
python docs/examples/outside.py [PORT_OFFSET]
"""

import json
import sys

import msgspec
import zmq

OFFSET = int(sys.argv[1]) if len(sys.argv) > 1 else 0
context = zmq.Context()


def connect(kind, port, topic=""):
    socket = context.socket(kind)
    if kind == zmq.SUB:
        socket.subscribe(f"{topic} ")  # with the space: `ETH ` is not `ETHFI`
    socket.connect(f"tcp://127.0.0.1:{port + OFFSET}")
    return socket


inventory = connect(zmq.SUB, 7000, "inventory_update")
market = connect(zmq.SUB, 7001, "order_book")
orders = connect(zmq.XPUB, 6002)
orders.recv()  # the hub is there: what was sent before would be lost

delta = json.loads(inventory.recv().partition(b" ")[2])
frame = market.recv().partition(b" ")[2]  # 28 bytes of header, then the fields of a Book in their order
instrument, event_time_ns, _, bid, _, ask, *_ = msgspec.msgpack.decode(frame[28:])
print(f"{delta['source']} is {delta['delta_base']:+g} base from its target; {instrument} is {bid:g} x {ask:g}")

side, price = ("sell", ask) if delta["delta_base"] > 0 else ("buy", bid)
ids = {"client": "example", "request_id": str(event_time_ns // 1_000_000 % 10**12)}
order = {"action": "place", "instrument": instrument, "side": side, "price": f"{price:.2f}", "size": "0.1"}
orders.send(b"request " + json.dumps({**ids, **order, "event_time_ns": event_time_ns}).encode())
print(f"asked to {side} 0.1 at {price:.2f}")
context.destroy(linger=1000)
