"""Attempts to make a run lose or double a message, hang, lie, or obey somebody else."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
import zmq
from support.hubs import free_offset
from support.wired import Cable, Fact, Level, Party, Sayer, Taker, node, party_plan, policy, until, wire
from support.zoo_keeper import Keeper, Zoo

from engine.errors import PipelineError
from engine.process.control import Client, ControlError
from engine.process.control_server import MOST_CLIENTS
from engine.process.places import CONTROL, find_sockets
from engine.process.worker import _number
from engine.wire import frame as f
from nodes._lib.ledger_file import verify

ROOT = Path(__file__).parents[2]
PIPELINE = str(Path(sys.executable).with_name("pipeline"))
PLAN = party_plan(
    {"left": [node("say", Sayer)], "right": [node("take", Taker)]},
    [
        wire("say.fact", "take.fact", policy("reliable")),
        wire("say.level", "take.level", policy("conflate", by="key")),
    ],
)


@pytest.fixture(scope="module")
def keeper() -> Iterator[Keeper]:
    with Keeper() as keeper:
        yield keeper


@pytest.fixture
def zoo(keeper: Keeper, tmp_path: Path) -> Callable[..., Zoo]:
    return lambda processes, **cage: Zoo(keeper, tmp_path / "run", processes, **cage)


# --- wires ------------------------------------------------------------------------------------------------------------


def say(left: Party, *numbers: int) -> None:
    for number in numbers:
        left.say("say.fact", Fact(str(number), number))


def meet(folder: Path, epoch: int, left: bytes | None = None, right: bytes | None = None) -> Cable:
    cable = Cable(Party(PLAN, "left", folder, epoch, left), Party(PLAN, "right", folder, epoch, right))
    cable.greet()
    return cable


def settled(cable: Cable, source: str, target: str) -> bytes:
    """Let `target` take what `source` has sent; return what it puts on disk."""
    cable.carry(source, target)
    party = cable.parties[target]
    party.wires.inbox.deliver()
    return party.settle()


def test_what_a_process_that_was_given_up_is_owed_waits_for_the_next_run(tmp_path: Path) -> None:
    cable = meet(tmp_path, 1)
    left, right = cable.parties["left"], cable.parties["right"]
    sent = left.host.ports["say", "fact"]
    try:
        say(left, 1)
        left.settle()
        right_disk = settled(cable, "left", "right")
        say(left, 2, 3)  # on their way when the reader dies for the last time
        left.settle()
        cable.queues["left", "right"].clear()
        left.wires.peer_gone("right", True, 1)
        say(left, 4)
        left.settle()
        left.wires.end("say")
        left_disk = left.settle()
        assert left.wires.drained, "nobody is left to wait for"
    finally:
        cable.close()
    assert right.node("take").facts == ["1"]

    count = sent.sent
    left = Party(PLAN, "left", tmp_path, 2)
    left.host.ports["say", "fact"].sent = count
    left.restore(left_disk)
    cable = Cable(left, Party(PLAN, "right", tmp_path, 2, right_disk))
    try:
        cable.greet()
        left.wires.resend()
        settled(cable, "left", "right")
        say(left, 5)
        left.settle()
        settled(cable, "left", "right")
        assert cable.parties["right"].node("take").facts == ["2", "3", "4", "5"]
        assert not cable.parties["right"].broken
    finally:
        cable.close()


def test_a_death_that_is_told_after_the_next_life_has_greeted_is_no_news(tmp_path: Path) -> None:
    cable = meet(tmp_path, 1)
    left = cable.parties["left"]
    try:
        cable.parties["right"].wires.close()
        cable.plug(Party(PLAN, "right", tmp_path, 2))
        cable.greet()
        left.wires.peer_gone("right", False, 1)
        assert left.wires.links["right"].greeted
        say(left, 1)
        left.settle()
        settled(cable, "left", "right")
        assert cable.parties["right"].node("take").facts == ["1"]
        left.wires.peer_gone("right", False, 2)
        assert not left.wires.links["right"].greeted
    finally:
        cable.close()


def garbage(random: Random) -> bytes:
    """Return a frame that nobody would send, or that is none."""
    number, epoch, sequence = random.randrange(f.MOST_PORTS), random.randrange(1, 300), random.randrange(1 << 40)
    greeting = f.Greeting("right" * 1000, 1 << 60, -5, tuple(f.PortGreeting(1 << 50, -1, -1, -1) for _ in range(9)))
    kinds: tuple[Callable[[], bytes], ...] = (
        lambda: random.randbytes(random.randrange(200)),
        lambda: f.pack((1 << 64) - 1, (1 << 64) - 1, -(1 << 63), (1 << 32) - 1),
        lambda: f.pack(0, 0, 0, f.tail(0, f.HELLO)) + b"\x94" * 5_000,
        lambda: f.pack(0, 0, 0, f.tail(0, f.HELLO)) + b"\xdd\xff\xff\xff\xff" * 20,
        lambda: f.hello(f.Greeting("nobody", 1, 1, ()), 0),
        lambda: f.hello(greeting, 0),
        lambda: f.pack(f.id_base(number, epoch) | sequence, 0, 0, f.tail(random.randrange(65_536))),
        lambda: f.pack(f.id_base(number, epoch), 0, 0, f.tail(0, f.END)),
        lambda: f.pack(f.id_base(number, 200) | sequence, 0, 0, f.tail(0, f.ACK)),
        lambda: f.pack(f.id_base(number, epoch), 0, 0, f.tail(0, 0, random.randrange(2, 256))),
    )
    return random.choice(kinds)()


def test_garbage_in_a_socket_is_counted_and_nothing_else_happens(tmp_path: Path) -> None:
    async def scenario() -> None:
        left, right = (Party(PLAN, name, tmp_path) for name in ("left", "right"))
        context = zmq.Context()
        thrower = context.socket(zmq.PUSH)
        thrower.connect(f"ipc://{tmp_path}/right.sock")
        random = Random(1)
        try:
            left.attach()
            right.attach()
            await asyncio.gather(left.wires.join(5), right.wires.join(5))
            for number in range(300):
                for _ in range(10):
                    thrower.send(garbage(random))
                thrower.send_multipart([b"in", b"three", b"parts"])
                say(left, number)
                left.say("say.level", Level("a", number))
                left.settle()
                if not number % 50:
                    await asyncio.sleep(0)
            thrower.send(bytes(64 << 20))
            taker = right.node("take")
            await until(lambda: len(taker.facts) == 300 and taker.levels[-1:] == [("a", 299)], 10.0)
            refused = right.wires.stats()["refused"]
            await until(lambda: sum(refused.values()) > 2_500, 10.0)
            assert taker.facts == [str(number) for number in range(300)]
            assert not right.broken
            assert not left.broken
        finally:
            context.destroy(0)
            left.wires.close()
            right.wires.close()

    asyncio.run(scenario())


# --- the supervisor ---------------------------------------------------------------------------------------------------


def test_who_connects_again_and_again_does_not_end_a_run(zoo: Callable[..., Zoo]) -> None:
    with zoo({"a": ["calm", {}]}) as run:
        run.wait_running()
        place = str(find_sockets(run.folder) / CONTROL)
        resource.prlimit(run.pid, resource.RLIMIT_NOFILE, (1024, 1024))
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(2048, most), most))
        crowd = []
        try:
            for _ in range(1500):
                one = socket.socket(socket.AF_UNIX)
                crowd.append(one)
                one.connect(place)
        finally:
            for one in crowd:
                one.close()
        status = run.wait(lambda status: status["run"]["refused"])
        assert status["run"]["refused"]["too many connections"] > 0
        assert status["processes"]["a"]["epoch"] == 1


def test_the_kill_switch_is_not_crowded_out(zoo: Callable[..., Zoo]) -> None:
    with zoo({"a": ["calm", {}]}) as run:
        run.wait_running()
        crowd = [Client.of(run.folder) for _ in range(MOST_CLIENTS)]
        for each in crowd:
            each.ask("status")
        try:
            with pytest.raises(ControlError, match="64 others are connected already; only halt and stop"):
                run.ask("status")
            assert run.ask("halt", reason="now")["confirmed"] == ["a"]
            run.ask("stop")
        finally:
            for each in crowd:
                each.close()
        assert run.end()[0] == 0


def test_what_was_given_up_is_not_said_to_be_restarting(zoo: Callable[..., Zoo]) -> None:
    # The others have closed its ports: it would wait for their greeting until it is killed, again and again.
    with zoo({"bad": ["crash", {}], "good": ["calm", {}]}, restart={"max": 0}) as run:
        run.wait_state("bad", "fatal")
        with pytest.raises(ControlError, match=r"'bad' was given up.*up --resume"):
            run.ask("restart", process="bad")
        assert run.status()["processes"]["bad"]["state"] == "fatal"


def test_a_run_without_a_zygote_ends_and_is_not_said_to_be_in_order(zoo: Callable[..., Zoo]) -> None:
    with zoo({"a": ["calm", {}]}) as run:
        zygotes = run.wait(lambda status: len(status["run"]["zygotes"]) == 2)["run"]["zygotes"]
        for pid in zygotes:
            os.kill(pid, signal.SIGKILL)
        code, out = run.end()
        assert code == 1
        assert "no zygote is left" in out
        assert not any("in order" in message for message in run.messages())


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), "1e999", "soon", None, object(), [1], 10**400])
def test_a_gauge_that_is_no_finite_number_is_not_shown(value: object) -> None:
    assert _number(value) is None


def test_a_gauge_may_be_any_kind_of_number() -> None:
    numpy = pytest.importorskip("numpy")
    assert [_number(value) for value in (3, True, Decimal("1.5"), numpy.int64(4))] == [3.0, 1.0, 1.5, 4.0]


# --- the quickstart ---------------------------------------------------------------------------------------------------


class Quickstart:
    """`pipeline up topologies/quickstart.yaml` in a folder, again and again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.offset = str(free_offset())
        self.printed = folder.with_name("up.out")

    def up(self, *more: str) -> None:
        command = [PIPELINE, "up", "topologies/quickstart.yaml", "--out", str(self.folder), "--json"]
        with open(self.printed, "ab") as out:
            self.run = subprocess.Popen(
                [*command, "--speed", "600", "--port-offset", self.offset, *more],
                cwd=ROOT,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    def wait(self, wanted: Callable[[dict[str, Any]], object], within_s: float = 120.0) -> dict[str, Any]:
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            with suppress(PipelineError), Client.of(self.folder) as client:
                status: dict[str, Any] = client.ask("status")["status"]
                if wanted(status):
                    return status
            assert self.run.poll() is None, self.printed.read_text()
            time.sleep(0.05)
        raise AssertionError("it did not come to be so")

    def wait_running(self) -> dict[str, Any]:
        return self.wait(lambda status: all(each["state"] == "ok" for each in status["processes"].values()))

    def check_books(self) -> None:
        """Assert that each fill of the venue is booked once, and that the ledger's chain holds."""
        verify(self.folder / "ledger.sqlite")
        with closing(sqlite3.connect(self.folder / "ledger.sqlite")) as ledger:
            fills = ledger.execute("SELECT trade_id, side, size FROM fills").fetchall()
        with closing(sqlite3.connect(self.folder / "state" / "venue.sqlite")) as journal:
            (fields,) = journal.execute("SELECT fields FROM node WHERE id = 'binance.orders'").fetchone()
        venue = msgspec.json.decode(fields)
        assert sorted(int(trade_id) for trade_id, _, _ in fills) == list(range(1, venue["trades_made"] + 1))
        signed = sum(Decimal(size) if side == "buy" else -Decimal(size) for _, side, size in fills)
        assert signed == Decimal(venue["account"]["size"])
        assert fills


@pytest.fixture
def quickstart(tmp_path: Path) -> Iterator[Quickstart]:
    made = Quickstart(tmp_path / "run")
    yield made
    if made.run.poll() is None:
        made.run.kill()
        made.run.wait()


@pytest.mark.long
def test_fills_for_a_ledger_that_was_given_up_are_booked_when_the_run_goes_on(quickstart: Quickstart) -> None:
    quickstart.up()
    quickstart.wait_running()
    time.sleep(4)
    while True:
        status = quickstart.wait(lambda status: status["processes"]["books"]["state"] in ("ok", "fatal"))
        if status["processes"]["books"]["state"] == "fatal":
            break
        with suppress(ProcessLookupError):
            os.kill(status["processes"]["books"]["pid"], signal.SIGKILL)
        time.sleep(0.3)
    time.sleep(5)
    with Client.of(quickstart.folder) as client:
        client.ask("stop")
    assert quickstart.run.wait(30) == 1
    quickstart.up("--resume")
    assert "given up" in quickstart.wait_running()["run"]["halted"]
    with Client.of(quickstart.folder) as client:
        client.ask("rearm")
    assert quickstart.run.wait(300) == 0, quickstart.printed.read_text()
    quickstart.check_books()


@pytest.mark.long
def test_a_supervisor_that_is_killed_again_and_again_costs_nothing(quickstart: Quickstart) -> None:
    random = Random(1)
    quickstart.up()
    for _ in range(4):
        quickstart.wait(lambda status: status["run"]["state"] == "running")
        time.sleep(random.uniform(2, 7))
        quickstart.run.kill()
        quickstart.run.wait()
        verify(quickstart.folder / "ledger.sqlite")
        quickstart.up("--resume")
    assert quickstart.run.wait(300) == 0, quickstart.printed.read_text()
    quickstart.check_books()
