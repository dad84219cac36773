"""How an output reaches other processes: each message is encoded once and given to every link whose peer reads it."""

from __future__ import annotations

import time
from collections.abc import Callable
from operator import length_hint

from engine.message import Message
from engine.run.host import Host
from engine.run.port import Port, Reader
from engine.wire.codec import FAST_ENCODE, encoder
from engine.wire.frame import pack, tail
from engine.wire.lane import Lane
from engine.wire.link import MOST_UNACKNOWLEDGED, TOGETHER


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
    fast = FAST_ENCODE

    def send(message: Message) -> None:
        # `host.cause()`, without the call.
        _, _, cause, number = outbox[0] if len(outbox) == 1 else outbox[~length_hint(host.entries)]
        sequence = port.sent
        try:
            body = fast(message)
        except OverflowError:
            body = encode(message)
        frame = pack(base | sequence, bases[cause] | number, now_ns(), last) + body
        if not link.direct:
            link.put(lane, sequence, frame)
        elif link.busy:
            gathered = link.gathered
            gathered.append(frame)
            if len(gathered) >= TOGETHER:
                link.pour()
        else:
            link.give(lane, sequence, frame)

    return send


def _sender_to_many(
    host: Host, port: Port, lanes: list[Lane], bases: dict[Port, int], hold: Callable[[], None]
) -> Reader:
    base, last = bases[port], tail(lanes[0].port.schema)
    encode, now_ns = encoder(port.message), time.time_ns
    reliable = [lane for lane in lanes if lane.kind == "reliable"]

    def send(message: Message) -> None:
        cause, number = host.cause()
        sequence = port.sent
        frame = pack(base | sequence, bases[cause] | number, now_ns(), last) + encode(message)
        for lane in reliable:
            owed = lane.unacknowledged
            # What a peer that was given up is owed waits for the run to be resumed. Beyond its bound it is lost, and
            # the peer then finds the wire broken.
            if owed is not None and not (lane.link.final and len(owed) >= MOST_UNACKNOWLEDGED):
                owed.add(sequence, frame)
                hold()
        for lane in lanes:
            link, key = lane.link, None
            if lane.kind == "conflate":
                key = None if lane.key is None else lane.key(message)
                lane.newest[key] = frame
            if not link.direct:
                link.put(lane, sequence, frame, key)
            elif link.busy:
                link.gather(frame)
            else:
                link.give(lane, sequence, frame, key)

    return send
