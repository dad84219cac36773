"""How an output reaches other processes: each message is encoded once and given to every link whose peer reads it."""

from __future__ import annotations

import time
from collections.abc import Callable
from operator import length_hint

from engine.message import Message
from engine.run.host import Host
from engine.run.port import Port, Reader
from engine.wire.codec import encoder
from engine.wire.frame import id_base, pack, tail
from engine.wire.link import Lane


def make_sender(host: Host, port: Port, lanes: list[Lane], bases: dict[Port, int], hold: Callable[[], None]) -> Reader:
    """Return the reader that sends every message of `port` on its lanes.

    `bases` maps each port of this process to the id of its sequence 0, for causes. `hold` is called when a message is
    to be held back until it is on disk.
    """
    if len(lanes) == 1 and lanes[0].kind in ("block", "drop_oldest"):
        return _sender_to_one(host, port, lanes[0], bases)
    return _sender_to_many(host, port, lanes, bases, hold)


def _sender_to_one(host: Host, port: Port, lane: Lane, bases: dict[Port, int]) -> Reader:
    base, last = bases[port], tail(lane.port.schema)
    encode, now_ns, link, outbox = encoder(port.message), time.time_ns, lane.link, host.outbox
    flow = link.flow

    def send(message: Message) -> None:
        # `host.cause()`, without the call.
        _, _, cause, number = outbox[0] if len(outbox) == 1 else outbox[~length_hint(host.entries)]
        sequence = port.sent
        frame = pack(base | sequence, bases[cause] | number, now_ns(), last) + encode(message)
        if not link.direct:
            link.put(lane, sequence, frame)
        elif flow.gathering:
            link.gathered.append((lane, sequence, frame, None))
        else:
            link.give(lane, sequence, frame)

    return send


def _sender_to_many(
    host: Host, port: Port, lanes: list[Lane], bases: dict[Port, int], hold: Callable[[], None]
) -> Reader:
    base, last = bases[port], tail(lanes[0].port.schema)
    encode, now_ns, flow = encoder(port.message), time.time_ns, lanes[0].link.flow
    reliable = [lane for lane in lanes if lane.kind == "reliable"]

    def send(message: Message) -> None:
        cause, number = host.cause()
        sequence = port.sent
        frame = pack(base | sequence, bases[cause] | number, now_ns(), last) + encode(message)
        for lane in reliable:
            if not lane.link.final and lane.unacknowledged is not None:
                lane.unacknowledged.add(sequence, frame)
                hold()
        for lane in lanes:
            link, key = lane.link, None
            if lane.kind == "conflate":
                key = None if lane.key is None else lane.key(message)
                lane.newest[key] = frame
            if not link.direct:
                link.put(lane, sequence, frame, key)
            elif flow.gathering:
                link.gathered.append((lane, sequence, frame, key))
            else:
                link.give(lane, sequence, frame, key)

    return send


def bases_of(ports: dict[Port, int], epoch: int) -> dict[Port, int]:
    """Return the id of sequence 0 of each port, given its number."""
    return {port: id_base(number, epoch) for port, number in ports.items()}
