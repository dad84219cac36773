"""What a paused process still does, so that processes that wait for each other go on; and what it reports."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.wired import Cable, Fact, Level, Party, Sayer, Taker, node, party_plan, policy, until, wire

from engine.wire import inbox as inbox_module
from engine.wire import link as link_module
from engine.wire import peers as peers_module
from engine.wire import wires as wires_module

RELIABLE = policy("reliable")
CIRCLE = party_plan(
    {"left": [node("say", Sayer), node("back", Taker)], "right": [node("take", Taker)]},
    [wire("say.fact", "take.fact", RELIABLE), wire("take.echo", "back.fact", RELIABLE)],
)
LONG_CIRCLE = party_plan(
    {
        "one": [node("say", Sayer), node("end", Taker)],
        "two": [node("second", Taker)],
        "three": [node("third", Taker)],
        "before": [node("outsider", Sayer)],
    },
    [
        wire("say.fact", "second.fact", RELIABLE),
        wire("second.echo", "third.fact", RELIABLE),
        wire("third.echo", "end.fact", RELIABLE),
        wire("outsider.fact", "end.fact", RELIABLE),
        wire("outsider.level", "end.level"),
    ],
)


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "MOST_UNACKNOWLEDGED", 40)


@pytest.fixture
def cabled(tmp_path: Path) -> Iterator[Any]:
    made: list[Cable] = []

    def make(plan: Any) -> Cable:
        cable = Cable(*(Party(plan, name, tmp_path) for name in plan.topology.processes))
        made.append(cable)
        for party in cable.parties.values():
            party.settle()
        cable.greet()
        return cable

    yield make
    for cable in made:
        cable.close()


def say(party: Party, port: str, names: list[str]) -> None:
    for name in names:
        party.say(port, Fact(name, 1))
    party.settle()


def turn(cable: Cable, *names: str) -> None:
    """Let these processes take, deliver and commit; all that leaves arrives."""
    for name in names:
        cable.parties[name].wires.inbox.deliver()
        cable.parties[name].settle()
    for source, target in list(cable.queues):
        cable.carry(source, target)


def test_two_processes_that_owe_each_other_too_much_go_on(tmp_path: Path) -> None:
    async def main() -> None:
        left, right = Party(CIRCLE, "left", tmp_path), Party(CIRCLE, "right", tmp_path)
        for party in (left, right):
            party.attach()
        await asyncio.gather(left.wires.join(5.0), right.wires.join(5.0))
        drain = {party: party.wires.drain for party in (left, right)}
        for party in drain:
            party.wires.drain = lambda: 0  # type: ignore[method-assign]
        names = [f"f{number}" for number in range(50)]
        say(left, "say.fact", names)
        say(right, "take.echo", [f"own {name}" for name in names])
        assert left.wires.paused
        assert right.wires.paused
        for party, real in drain.items():
            party.wires.drain = real  # type: ignore[method-assign]
        await until(lambda: len(left.node("back").facts) == 100 and left.wires.drained and right.wires.drained)
        assert right.node("take").facts == names
        assert left.node("back").facts == [f"own {name}" for name in names] + [f"{name}'" for name in names]
        assert not (left.wires.paused or right.wires.paused or left.broken or right.broken)
        for party in (left, right):
            party.wires.close()

    asyncio.run(main())


def test_a_circle_of_three_goes_on_while_those_outside_are_held_up(cabled: Any) -> None:
    cable = cabled(LONG_CIRCLE)
    one, two, three, before = (cable.parties[name] for name in ("one", "two", "three", "before"))
    say(one, "say.fact", [f"a{number}" for number in range(50)])
    say(two, "second.echo", [f"b{number}" for number in range(50)])
    say(three, "third.echo", [f"c{number}" for number in range(50)])
    say(before, "outsider.fact", ["outside"])
    before.say("outsider.level", Level("outside", 1))
    assert all(party.wires.paused for party in (one, two, three))
    for source, target in list(cable.queues):
        cable.carry(source, target)
    turn(cable, "one")
    assert one.node("end").facts == [f"c{number}" for number in range(50)]
    assert one.wires.paused
    assert one.wires.stats()["wires"]["outsider.level -> end.level"]["backlog"] == 1
    for _ in range(6):
        turn(cable, "three", "two", "one", "before")
    assert not any(party.wires.paused for party in cable.parties.values())
    assert len(one.node("end").facts) == 151
    assert one.node("end").levels == [("outside", 1)]
    assert all(party.wires.drained for party in cable.parties.values())


def test_what_was_set_aside_comes_before_what_follows_from_the_same_process(cabled: Any) -> None:
    cable = cabled(LONG_CIRCLE)
    one, before = cable.parties["one"], cable.parties["before"]
    say(one, "say.fact", [f"a{number}" for number in range(50)])
    for number in range(3):
        before.say("outsider.level", Level("outside", number))
        cable.carry("before", "one")
        one.wires.inbox.deliver()
        assert one.node("end").levels == []
    cable.carry("one", "two")
    turn(cable, "two")
    assert not one.wires.paused
    before.say("outsider.level", Level("outside", 3))
    cable.carry("before", "one")
    one.wires.inbox.deliver()
    assert one.node("end").levels == [("outside", number) for number in range(4)]


def test_an_acknowledgement_is_heard_however_much_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wires_module, "KEEP_WHEN_PAUSED", 30)
    monkeypatch.setattr(inbox_module, "KEEP_WHEN_PAUSED", 30)

    async def main() -> None:
        parties = {name: Party(LONG_CIRCLE, name, tmp_path) for name in LONG_CIRCLE.topology.processes}
        for party in parties.values():
            party.attach()
        await asyncio.gather(*(party.wires.join(5.0) for party in parties.values()))
        one, two, before = parties["one"], parties["two"], parties["before"]
        drain = two.wires.drain
        two.wires.drain = lambda: 0  # type: ignore[method-assign]
        say(one, "say.fact", [f"a{number}" for number in range(50)])
        for number in range(60):
            before.say("outsider.level", Level("outside", number))
        await until(lambda: len(one.wires.inbox) >= 30)
        two.wires.drain = drain  # type: ignore[method-assign]
        two.on_wires()
        await until(lambda: len(one.node("end").levels) == 60)
        assert not one.wires.paused
        for party in parties.values():
            party.wires.close()

    asyncio.run(main())


def test_what_nobody_wants_any_more_takes_no_room(cabled: Any) -> None:
    plan = party_plan(
        {"left": [node("say", Sayer)], "right": [node("take", Taker)]},
        [wire("say.level", "take.level", policy("conflate", by="key"))],
    )
    cable = cabled(plan)
    left, right = cable.parties["left"], cable.parties["right"]
    for number in range(20):
        left.say("say.level", Level("a", number))
    cable.carry("left", "right")
    assert len(right.wires.inbox) == 20
    right.wires.inbox.tidy()
    assert len(right.wires.inbox) == 1
    right.wires.inbox.deliver()
    assert right.node("take").levels == [("a", 19)]


def test_a_pause_in_which_nothing_is_acknowledged_is_reported(cabled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cable = cabled(CIRCLE)
    left = cable.parties["left"]
    say(left, "say.fact", [f"f{number}" for number in range(50)])
    left.wires._tick()
    assert left.broken == []
    monkeypatch.setattr(peers_module, "STALLED_AFTER_S", -1.0)
    left.wires._tick()
    left.wires._tick()
    assert left.broken == ["say.fact -> take.fact"]
    assert left.wires.stats()["stalls"] == 1


def test_processes_whose_messages_multiply_are_reported(cabled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wires_module, "KEEP_WHEN_PAUSED", 30)
    monkeypatch.setattr(link_module, "MOST_WHILE_PAUSED", 45)
    cable = cabled(CIRCLE)
    left, right = cable.parties["left"], cable.parties["right"]
    say(left, "say.fact", [f"f{number}" for number in range(50)])
    say(right, "take.echo", [f"g{number}" for number in range(61)])
    for source, target in list(cable.queues):
        cable.carry(source, target)
    turn(cable, "left", "right")
    assert left.node("back").facts == []
    left.wires._tick()
    assert left.broken == ["say.fact -> take.fact"]
    assert left.wires.stats()["stalls"] == 1
