"""Wires between machines: declared peers are let in, and nobody else; nobody speaks for another."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import zmq
from support.two_machines import house_and_garden, party
from support.wired import Fact, Level, Party, until

from engine.wire.frame import ACK, Greeting, hello, id_base, pack, tail
from engine.wire.keys import KeyFolder, KeyUnusable
from engine.wire.security import CannotListen
from engine.wire.table import WireTable
from engine.wire.wires import StartTimeout


async def joined(*parties: Party) -> None:
    for each in parties:
        each.attach()
    await asyncio.gather(*(each.wires.join(5.0) for each in parties))


def close(*parties: Party) -> None:
    for each in parties:
        each.wires.close()


def address_of(plan: Any, name: str) -> str:
    return str(plan.topology.processes[name].listen)


@contextmanager
def client(address: str, **options: Any) -> Iterator[zmq.Socket[bytes]]:
    """Yield a PUSH of a program that nobody has declared, connected to `address`."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    push = context.socket(zmq.PUSH)
    for name, value in options.items():
        setattr(push, name, value)
    push.connect(address)
    try:
        yield push
    finally:
        context.destroy(0)


def as_peer(keys: KeyFolder, own: str, server: str) -> dict[str, bytes]:
    return {
        "curve_publickey": keys.public(own),
        "curve_secretkey": keys.secret(own),
        "curve_serverkey": keys.public(server),
    }


def test_data_flows_both_ways_between_two_machines(tmp_path: Path) -> None:
    async def main() -> None:
        plan = house_and_garden(tmp_path)
        left, near, right = (party(plan, name, tmp_path) for name in ("left", "near", "right"))
        await joined(left, near, right)
        for value in range(200):
            left.say("say.level", Level("a", value))
        left.say("say.fact", Fact("one", 1))
        near.say("whisper.level", Level("b", 1))
        left.settle()
        await until(lambda: left.node("hear").facts == ["one'"] and left.node("hear").levels == [("b", 1)])
        assert right.node("take").levels == [("a", value) for value in range(200)]
        await until(lambda: left.wires.drained and right.wires.drained)
        assert [each.wires.stats()["refused"] for each in (left, near, right)] == [{}, {}, {}]
        assert [each.wires.stats()["refused_peers"] for each in (left, near, right)] == [{}, {}, {}]
        close(left, near, right)

    asyncio.run(main())


def test_a_process_that_comes_back_is_known_again_and_owes_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        plan = house_and_garden(tmp_path)
        left, near, right = (party(plan, name, tmp_path) for name in ("left", "near", "right"))
        await joined(left, near, right)
        left.say("say.fact", Fact("one", 1))
        left.settle()
        await until(lambda: left.node("hear").facts == ["one'"])
        journal = right.settle()
        right.wires.close()
        left.say("say.fact", Fact("two", 2))
        left.settle()
        again = party(plan, "right", tmp_path, 2, journal)
        again.host.ports["take", "echo"].sent = right.host.ports["take", "echo"].sent
        await joined(again)
        again.on_wires()
        await until(lambda: left.node("hear").facts == ["one'", "two'"])
        assert again.node("take").facts == ["two"]
        close(left, near, again)

    asyncio.run(main())


def _unknown(keys: KeyFolder) -> dict[str, bytes]:
    public, secret = zmq.curve_keypair()
    return {"curve_publickey": public, "curve_secretkey": secret, "curve_serverkey": keys.public("right")}


STRANGERS = {
    "an unknown key": (_unknown, True),
    "a process without a wire to this one": (lambda keys: as_peer(keys, "near", "right"), True),
    "another server's key": (lambda keys: as_peer(keys, "left", "near"), False),
    "no key at all": (lambda keys: {}, False),
}
"""What they come with, and whether the gatekeeper is asked about it."""


def refusals(one: Party) -> int:
    return sum(one.wires.stats()["refused_peers"].values())


@pytest.mark.parametrize("who", STRANGERS)
def test_strangers_are_refused_and_counted_by_address(tmp_path: Path, who: str) -> None:
    options, asked = STRANGERS[who]

    async def main() -> None:
        plan = house_and_garden(tmp_path)
        left, near, right = (party(plan, name, tmp_path) for name in ("left", "near", "right"))
        await joined(left, near, right)
        with client(address_of(plan, "right"), **options(KeyFolder(tmp_path / "keys"))) as push:
            forged = pack(id_base(WireTable(plan).ports["say", "level"].number, 1) | 1, 0, 1, tail(0))
            push.send(forged, zmq.NOBLOCK)
            await until(lambda: refusals(right) >= 1)
            # One without a key of this run may have failed before its address could be asked for.
            assert not asked or set(right.wires.stats()["refused_peers"]) == {"127.0.0.1"}
            left.say("say.level", Level("a", 1))
            await until(lambda: right.node("take").levels == [("a", 1)])
        assert right.wires.stats()["refused"] == {}
        close(left, near, right)

    asyncio.run(main())


def test_a_port_scan_is_counted_and_harms_nobody(tmp_path: Path) -> None:
    async def main() -> None:
        plan = house_and_garden(tmp_path)
        left, near, right = (party(plan, name, tmp_path) for name in ("left", "near", "right"))
        await joined(left, near, right)
        listen = plan.topology.processes["right"].listen
        assert listen is not None
        for greeting in (b"", b"GET / HTTP/1.1\r\n\r\n", bytes(range(256)) * 8):
            with socket.create_connection((listen.host, listen.port)) as connection:
                connection.sendall(greeting)
        await until(lambda: refusals(right) >= 1)
        left.say("say.level", Level("a", 1))
        await until(lambda: right.node("take").levels == [("a", 1)])
        close(left, near, right)

    asyncio.run(main())


def forged_frames(plan: Any) -> dict[str, bytes]:
    table = WireTable(plan)
    now_ns = time.time_ns()
    own = table.ports["whisper", "level"]
    names = tuple(table.processes)
    return {
        "a port of another process": pack(id_base(own.number, 1) | 1, 0, now_ns, tail(own.schema)),
        "its own reader's port": pack(
            id_base(table.ports["hear", "echo"].number, 1) | 1, 0, now_ns, tail(table.ports["hear", "echo"].schema)
        ),
        "a greeting of another process": hello(Greeting("near", 2, 0, ()), now_ns),
        "an acknowledgement of another process": pack(
            id_base(table.ports["say", "fact"].number, names.index("near")) | 1, 0, now_ns, tail(0, ACK)
        ),
    }


@pytest.mark.parametrize("what", list(forged_frames(house_and_garden(Path("/nowhere"), keys=False))))
def test_a_declared_process_speaks_for_itself_alone(tmp_path: Path, what: str) -> None:
    async def main() -> None:
        plan = house_and_garden(tmp_path)
        left, near, right = (party(plan, name, tmp_path) for name in ("left", "near", "right"))
        await joined(left, near, right)
        frame = forged_frames(plan)[what]
        with client(address_of(plan, "left"), **as_peer(KeyFolder(tmp_path / "keys"), "right", "left")) as push:
            push.send(frame)
            await until(lambda: left.wires.stats()["refused"] == {"peer": 1})
        assert left.node("hear").levels == []
        assert left.wires.links["near"].epoch == 1
        assert left.wires.stats()["refused_peers"] == {}
        close(left, near, right)

    asyncio.run(main())


def test_damaged_frames_of_a_declared_process_are_refused_by_their_own_reasons(tmp_path: Path) -> None:
    async def main() -> None:
        plan = house_and_garden(tmp_path)
        left, near, right = (party(plan, name, tmp_path) for name in ("left", "near", "right"))
        await joined(left, near, right)
        number = WireTable(plan).ports["say", "fact"].number
        with client(address_of(plan, "left"), **as_peer(KeyFolder(tmp_path / "keys"), "right", "left")) as push:
            push.send(b"short")
            push.send(hello(Greeting("right", 1, 0, ()), 1)[:30])
            push.send(pack(id_base(4000, 1) | 1, 0, 1, tail(0)))
            push.send(pack(id_base(number, 4000) | 1, 0, 1, tail(0, ACK)))
            await until(lambda: sum(left.wires.stats()["refused"].values()) == 4)
        assert left.wires.stats()["refused"] == {"length": 1, "undecodable": 1, "port": 1, "foreign": 1}
        close(left, near, right)

    asyncio.run(main())


def test_a_frame_larger_than_any_message_ends_the_connection_only(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("engine.wire.security.MAX_FRAME_BYTES", 1_000)

    async def main() -> None:
        plan = house_and_garden(tmp_path)
        left, near, right = (party(plan, name, tmp_path) for name in ("left", "near", "right"))
        await joined(left, near, right)
        with client(address_of(plan, "right"), **as_peer(KeyFolder(tmp_path / "keys"), "left", "right")) as push:
            push.send(b"x" * 100_000)
            left.say("say.level", Level("a", 1))
            await until(lambda: right.node("take").levels == [("a", 1)])
        close(left, near, right)

    asyncio.run(main())


def test_both_sides_must_have_each_others_key(tmp_path: Path) -> None:
    """A machine that was given a wrong public key of its peer never joins, and says whom it waits for."""

    async def main() -> None:
        plan = house_and_garden(tmp_path)
        left, near = (party(plan, name, tmp_path) for name in ("left", "near"))
        keys = KeyFolder(tmp_path / "keys")
        keys.public_file("left").write_bytes(zmq.curve_keypair()[0])
        right = party(plan, "right", tmp_path)
        for each in (left, near, right):
            each.attach()
        results = await asyncio.gather(*(p.wires.join(0.5) for p in (left, near, right)), return_exceptions=True)
        assert [type(result) for result in results] == [StartTimeout, type(None), StartTimeout]
        assert "'left'" in str(results[2])
        assert refusals(right) >= 1
        close(left, near, right)

    asyncio.run(main())


def test_no_keys_no_wires(tmp_path: Path) -> None:
    plan = house_and_garden(tmp_path)
    keys = KeyFolder(tmp_path / "keys")
    party(plan, "near", tmp_path).wires.close()  # it speaks to its own machine only
    keys.secret_file("right").chmod(0o644)
    with pytest.raises(KeyUnusable, match=r"right.secret is open to others \(mode 0644\)"):
        party(plan, "right", tmp_path)
    keys.public_file("left").unlink()
    keys.secret_file("right").chmod(0o600)
    with pytest.raises(KeyUnusable, match=r"left\.public is not there; copy it from the machine of 'left'"):
        party(plan, "right", tmp_path)


def test_an_address_that_is_taken_names_its_holder(tmp_path: Path) -> None:
    plan = house_and_garden(tmp_path)
    listen = plan.topology.processes["right"].listen
    assert listen is not None
    with socket.socket() as other:
        other.bind((listen.host, listen.port))
        other.listen()
        with pytest.raises(
            CannotListen, match=rf"'right' cannot listen on tcp://127.0.0.1:{listen.port}: it is held by"
        ):
            party(plan, "right", tmp_path)


def test_nothing_secret_is_shown(tmp_path: Path, caplog) -> None:
    async def main() -> None:
        plan = house_and_garden(tmp_path)
        left, near, right = (party(plan, name, tmp_path) for name in ("left", "near", "right"))
        await joined(left, near, right)
        with client(address_of(plan, "right"), **_unknown(KeyFolder(tmp_path / "keys"))):
            await until(lambda: right.wires.stats()["refused_peers"] != {})
        close(left, near, right)

    asyncio.run(main())
    assert "refused a connection from 127.0.0.1: its key is not one of a declared peer" in caplog.text
    for name in ("left", "right", "near"):
        assert KeyFolder(tmp_path / "keys").secret(name).decode() not in caplog.text
