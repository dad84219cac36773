"""Wires over real sockets, several processes of a plan within one test process."""

from __future__ import annotations

import asyncio
import os
import stat
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from support.wired import Fact, Level, Party, Sayer, Taker, node, party_plan, policy, until, wire

from engine.topology.model import OnStale, Policy
from engine.wire.table import WireTable
from engine.wire.wires import StartTimeout

TWO = {"left": [node("say", Sayer)], "right": [node("take", Taker)]}


async def join(*parties: Party) -> None:
    for party in parties:
        party.attach()
    await asyncio.gather(*(party.wires.join(5.0) for party in parties))


def run(main: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(main())  # type: ignore[arg-type]


def test_messages_arrive_in_order_and_are_acknowledged(tmp_path: Path) -> None:
    async def main() -> None:
        plan = party_plan(TWO, [wire("say.level", "take.level"), wire("say.fact", "take.fact", policy("reliable"))])
        left, right = Party(plan, "left", tmp_path), Party(plan, "right", tmp_path)
        await join(left, right)
        for value in range(100):
            left.say("say.level", Level("a", value))
        left.say("say.fact", Fact("one", 1))
        left.settle()
        await until(lambda: right.node("take").facts == ["one"])
        assert right.node("take").levels == [("a", value) for value in range(100)]
        await until(lambda: left.wires.drained and right.wires.drained)
        stats = right.wires.stats()
        assert stats["wires"]["say.level -> take.level"]["received"] == 100
        assert stats["wires"]["say.level -> take.level"]["delivered"] == 100
        assert 0 < stats["wires"]["say.level -> take.level"]["latency_s"]["p50"] < 5
        assert left.wires.stats()["links"]["right"]["sent"] == 101
        assert stats["refused"] == {}
        for party in (left, right):
            party.wires.close()

    run(main)


def test_the_cause_of_a_message_is_the_one_that_its_writer_handled(tmp_path: Path) -> None:
    async def main() -> None:
        plan = party_plan(
            {"left": [node("say", Sayer), node("back", Taker)], "right": [node("take", Taker)]},
            [wire("say.level", "take.level"), wire("take.answer", "back.level")],
        )
        left, right = Party(plan, "left", tmp_path), Party(plan, "right", tmp_path, epoch=3)
        await join(left, right)
        sent: list[bytes] = []
        push = right.wires.links["left"].push
        right.wires.links["left"].push = lambda frame, flags: (sent.append(frame), push(frame, flags))
        left.say("say.level", Level("a", 7))
        await until(lambda: left.node("back").levels == [("a", 70)])
        from engine.wire.frame import parts, unpack

        message_id, cause, _, _ = unpack(sent[-1])
        table = WireTable(plan)
        assert parts(message_id) == (table.ports["take", "answer"].number, 3, 1)
        assert parts(cause) == (table.ports["say", "level"].number, 1, 1)
        assert left.host.ports["take", "answer"].epoch == 3
        for party in (left, right):
            party.wires.close()

    run(main)


def test_the_barrier_names_who_is_missing(tmp_path: Path) -> None:
    async def main() -> None:
        plan = party_plan(
            {**TWO, "late": [node("other", Taker)]},
            [wire("say.level", "take.level"), wire("say.level", "other.level")],
        )
        left, right = Party(plan, "left", tmp_path), Party(plan, "right", tmp_path)
        left.attach()
        right.attach()
        task = asyncio.ensure_future(right.wires.join(5.0))
        with pytest.raises(StartTimeout, match=r"process 'left' waited 0.2 s for 'late': no answer"):
            await left.wires.join(0.2)
        await task
        for party in (left, right):
            party.wires.close()

    run(main)


def test_sockets_are_private_and_long_names_are_hashed(tmp_path: Path) -> None:
    long = "x" * 120
    plan = party_plan({long: [node("say", Sayer)], "right": [node("take", Taker)]}, [wire("say.level", "take.level")])

    async def main() -> None:
        mask = os.umask(0)
        try:
            parties = [Party(plan, long, tmp_path), Party(plan, "right", tmp_path)]
        finally:
            os.umask(mask)
        await join(*parties)
        sockets = [path for path in tmp_path.iterdir() if stat.S_ISSOCK(path.stat().st_mode)]
        assert len(sockets) == 2
        assert {stat.S_IMODE(path.stat().st_mode) for path in sockets} == {0o600}
        for party in parties:
            party.wires.close()

    run(main)


def test_nothing_is_started_before_open(tmp_path: Path) -> None:
    before = threading.active_count(), len(os.listdir("/proc/self/task"))
    import engine.wire.wires  # noqa: F401

    assert (threading.active_count(), len(os.listdir("/proc/self/task"))) == before


def test_a_slow_reader_holds_the_writer_up_and_nothing_is_lost(tmp_path: Path) -> None:
    async def main() -> None:
        plan = party_plan(TWO, [wire("say.level", "take.level")])
        left, right = Party(plan, "left", tmp_path), Party(plan, "right", tmp_path)
        await join(left, right)
        right.wires.drain = lambda: 0  # type: ignore[method-assign]
        right.wires._take = lambda: None  # type: ignore[method-assign]
        count = 0
        while not left.wires.paused:
            left.say("say.level", Level("a", count))
            count += 1
            if not count % 100:
                await asyncio.sleep(0)
            assert count < 40_000
        assert len(left.wires.links["right"].backlog) < 100
        del right.wires.drain, right.wires._take
        await until(lambda: len(right.node("take").levels) == count, 10.0, right)
        assert right.node("take").levels == [("a", value) for value in range(count)]
        assert not left.wires.paused
        for party in (left, right):
            party.wires.close()

    run(main)


def test_two_processes_that_answer_each_other_do_not_hold_each_other_up(tmp_path: Path) -> None:
    async def main() -> None:
        plan = party_plan(
            {"left": [node("say", Sayer), node("back", Taker)], "right": [node("take", Taker), node("more", Sayer)]},
            [wire("say.level", "take.level"), wire("take.answer", "back.level"), wire("more.level", "back.level")],
        )
        left, right = Party(plan, "left", tmp_path), Party(plan, "right", tmp_path)
        await join(left, right)
        for value in range(12_000):  # more than sockets hold, both ways, at once
            left.say("say.level", Level("a", value))
            right.say("more.level", Level("b", value))
        await until(lambda: len(left.node("back").levels) == 24_000, 20.0)
        answers = [value for key, value in left.node("back").levels if key == "a"]
        assert answers == [value * 10 for value in range(12_000)]
        assert not left.wires.paused
        assert not right.wires.paused
        for party in (left, right):
            party.wires.close()

    run(main)


def test_a_paused_process_handles_nothing_but_takes_what_comes(tmp_path: Path) -> None:
    async def main() -> None:
        plan = party_plan(TWO, [wire("say.level", "take.level"), wire("say.fact", "take.fact", policy("reliable"))])
        left, right = Party(plan, "left", tmp_path), Party(plan, "right", tmp_path)
        await join(left, right)
        right.wires.flow.mark(right.wires.links["left"], True)
        left.say("say.level", Level("a", 1))
        await until(lambda: len(right.wires.inbox.pending) == 1)
        assert right.node("take").levels == []
        right.wires.flow.mark(right.wires.links["left"], False)
        await until(lambda: right.node("take").levels == [("a", 1)])
        for party in (left, right):
            party.wires.close()

    run(main)


def test_a_wire_that_stays_broken_is_reported_again_after_the_run_is_rearmed(tmp_path: Path) -> None:
    async def main() -> None:
        plan = party_plan(TWO, [wire("say.fact", "take.fact", policy("reliable"))])
        left, right = Party(plan, "left", tmp_path), Party(plan, "right", tmp_path)
        await join(left, right)
        (route,) = right.wires.routes
        route.gap_since = -1e9
        for _ in range(3):
            right.wires.peers.repair()
        assert right.broken == ["say.fact -> take.fact"]
        right.wires.peers.report_again()
        right.wires.peers.repair()
        assert right.broken == ["say.fact -> take.fact"] * 2
        for party in (left, right):
            party.wires.close()

    run(main)


def test_inputs_are_told_at_once_that_their_writer_is_gone_and_that_it_is_back(tmp_path: Path) -> None:
    async def main() -> None:
        stale = Policy("block", on_stale=OnStale(30.0, "stop"))
        plan = party_plan(TWO, [wire("say.level", "take.level", stale)])
        left, right = Party(plan, "left", tmp_path), Party(plan, "right", tmp_path)
        await join(left, right)
        left.wires.close()
        right.wires.peer_gone("left", False)
        assert right.node("take").events == ["level stale: stop"]
        right.wires.peer_gone("left", False)
        assert len(right.node("take").events) == 1
        again = Party(plan, "left", tmp_path, epoch=2)
        again.attach()
        await again.wires.join(5.0)
        again.say("say.level", Level("a", 1))
        await until(lambda: right.node("take").levels == [("a", 1)])
        assert right.node("take").events == ["level stale: stop", "level recovered"]
        assert len(right.host.calls) == 1
        for party in (again, right):
            party.wires.close()

    run(main)


def test_a_restarted_reader_is_back_within_a_moment_with_its_state(tmp_path: Path) -> None:
    async def main() -> None:
        plan = party_plan(TWO, [wire("say.level", "take.level", policy("conflate", by="key"))])
        left, right = Party(plan, "left", tmp_path), Party(plan, "right", tmp_path)
        await join(left, right)
        for key in "abc":
            left.say("say.level", Level(key, 1))
        right.wires.close()
        left.wires.peer_gone("right", False)
        left.say("say.level", Level("b", 2))
        await asyncio.sleep(0.3)
        again = Party(plan, "right", tmp_path, epoch=2)
        again.attach()
        began = asyncio.get_running_loop().time()
        await again.wires.join(5.0)
        await until(lambda: again.node("take").levels == [("a", 1), ("c", 1), ("b", 2)])
        assert asyncio.get_running_loop().time() - began < 1.0
        for party in (left, again):
            party.wires.close()

    run(main)


def test_table_numbers_calls_and_outputs_in_the_order_of_the_plan() -> None:
    plan = party_plan(TWO, [wire("say.level", "take.level")])
    table = WireTable(plan)
    assert {str(port): port.number for port in table.ports.values()} == {
        "say.": 1,
        "say.level": 2,
        "say.fact": 3,
        "take.": 4,
        "take.answer": 5,
        "take.echo": 6,
    }
    assert table.peers("left") == ("right",)


def hub_plan(codec: Any) -> Any:
    from support.weather import HERE

    from engine.topology.model import HubDecl, PortRef, Wire
    from engine.topology.plan import PlannedWire

    publish, subscribe = free_ports(2)
    hub = HubDecl("market", (publish,), subscribe, codec, HERE)
    written = Wire(PortRef("say", "level"), PortRef("market", "levels", hub=True), Policy(), 0, HERE)
    read = Wire(PortRef("market", "levels", hub=True), PortRef("take", "level"), Policy("block"), 0, HERE)
    through = PlannedWire(("say", "level"), ("take", "level"), Policy("conflate", by="key"), False, "market/levels")
    return party_plan(TWO, [through], hubs={"market": hub}, wires=(written, read)), hub


def free_ports(count: int) -> list[int]:
    import socket

    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.mark.parametrize("codec", ["msgpack", "json"])
def test_a_wire_through_a_hub_brings_messages_and_then_the_end(tmp_path: Path, codec: str) -> None:
    async def main() -> None:
        plan, hub = hub_plan(codec)
        relay = asyncio.ensure_future(forward(hub.publish[0], hub.subscribe))
        left, right = Party(plan, "left", tmp_path), Party(plan, "right", tmp_path)
        await join(left, right)
        left.say("say.level", Level("a", 1))
        await until(lambda: right.node("take").levels == [("a", 1)], 5.0)
        left.say("say.level", Level("a", 2))
        left.wires.end("say")
        await until(lambda: right.node("take").events == ["level closed"], 5.0)
        assert right.node("take").levels == [("a", 1), ("a", 2)]
        await until(lambda: left.wires.drained and right.wires.drained)
        assert right.wires.stats()["refused"] == {}
        for party in (left, right):
            party.wires.close()
        relay.cancel()
        await asyncio.gather(relay, return_exceptions=True)

    run(main)


async def forward(publish: int, subscribe: int) -> None:
    """Be the simplest hub."""
    import zmq

    with zmq.Context() as context, context.socket(zmq.XSUB) as inside, context.socket(zmq.XPUB) as outside:
        for socket, port in ((inside, publish), (outside, subscribe)):
            socket.setsockopt(zmq.LINGER, 0)
            socket.bind(f"tcp://127.0.0.1:{port}")
        while True:
            for take, give in ((inside, outside), (outside, inside)):
                while take.poll(0):
                    give.send(take.recv())
            await asyncio.sleep(0.001)
