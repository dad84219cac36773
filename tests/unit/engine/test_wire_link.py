"""What waits for a peer that is slow or gone: policies, bounds, and what it is sent when it comes back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import zmq
from support.wired import Cable, Fact, Level, Party, Sayer, Taker, node, party_plan, policy, wire

from engine.wire.frame import SKIPPED, parts, tail_parts, unpack
from engine.wire.link import PAUSE_ABOVE, TOGETHER


def party(folder: Path, kind: str, **more: Any) -> Party:
    plan = party_plan(
        {"left": [node("say", Sayer)], "right": [node("take", Taker)]},
        [wire("say.level", "take.level", policy(kind, **more))],
    )
    made = Party(plan, "left", folder)
    made.wires.links["right"].greet(1)
    made.wires.links["right"].catch_up()
    return made


class Narrow:
    """A socket with room for so many frames."""

    def __init__(self, made: Party) -> None:
        self.link = made.wires.links["right"]
        self.link.push = self.push
        self.room = 0
        self.frames: list[bytes] = []
        self.link.flush()

    def push(self, frame: bytes, flags: int) -> None:
        if not self.room:
            raise zmq.Again
        self.room -= 1
        self.frames.append(frame)

    def give(self, room: int) -> list[tuple[int, int]]:
        """Make room; return (sequence, flags) of all frames that have been sent."""
        self.room = room
        self.link.flush()
        return [(parts(unpack(f)[0])[2], tail_parts(unpack(f)[3])[1]) for f in self.frames]


def say(made: Party, *said: tuple[str, int]) -> None:
    for each in said:
        made.say("say.level", Level(*each))


def test_conflated_frames_are_replaced_and_the_gap_is_marked(tmp_path: Path) -> None:
    made = party(tmp_path, "conflate", by="key")
    narrow = Narrow(made)
    say(made, ("a", 1), ("b", 2), ("a", 3), ("a", 4), ("c", 5))
    assert len(narrow.link.backlog) == 3
    assert narrow.give(10) == [(2, SKIPPED), (4, SKIPPED), (5, 0)]
    say(made, ("a", 6))
    assert narrow.give(10)[-1] == (6, 0)
    assert not made.wires.paused
    made.wires.close()


def test_drop_oldest_keeps_n(tmp_path: Path) -> None:
    made = party(tmp_path, "drop_oldest", n=2)
    narrow = Narrow(made)
    say(made, *(("a", number) for number in range(5)))
    assert narrow.give(10) == [(4, SKIPPED), (5, 0)]
    made.wires.close()


def test_block_keeps_all_and_pauses_until_there_is_room(tmp_path: Path) -> None:
    made = party(tmp_path, "block")
    narrow = Narrow(made)
    woken: list[int] = []
    made.wires.flow.soon = lambda: woken.append(1)
    count = 0
    while not made.wires.paused:
        say(made, ("a", count))
        count += 1
    assert count == PAUSE_ABOVE + 1
    assert narrow.give(10) == [(number + 1, 0) for number in range(10)]
    assert made.wires.paused
    assert narrow.give(count) == [(number + 1, 0) for number in range(count)]
    assert not made.wires.paused
    assert woken
    made.wires.close()


def test_frames_of_one_turn_leave_together_and_in_order(tmp_path: Path) -> None:
    made = party(tmp_path, "conflate", by="key")
    turns: list[Any] = []
    made.wires.flow.call_soon = turns.append
    narrow = Narrow(made)
    narrow.room = 3
    say(made, ("z", 1))
    assert len(narrow.frames) == 1
    say(made, ("a", 2), ("b", 3), ("c", 4), ("a", 5), ("b", 6), ("a", 7))
    assert len(narrow.frames) == 1
    turns.pop()()
    assert not turns
    assert len(narrow.frames) == 3
    assert narrow.give(10) == [(1, 0), (2, 0), (3, 0), (4, 0), (6, SKIPPED), (7, 0)]
    say(made, ("a", 8))
    assert len(narrow.frames) == 7
    made.wires.close()


def test_a_long_turn_does_not_keep_frames_to_its_end(tmp_path: Path) -> None:
    made = party(tmp_path, "block")
    made.wires.flow.call_soon = lambda call: None
    narrow = Narrow(made)
    narrow.room = 1_000
    say(made, *(("a", number) for number in range(TOGETHER * 2)))
    assert len(narrow.frames) == TOGETHER + 1
    made.wires.close()


def test_a_greeting_that_overtakes_the_news_of_the_end_does_no_harm(cable: Any) -> None:
    left = cable.parties["left"]
    say(left, ("a", 1))
    fresh = restart(cable, "right", 2)
    cable.greet()
    left.wires.peers.met = True
    left.wires.peer_gone("right", False)
    say(left, ("a", 2))
    left.say("say.fact", Fact("one", 1))
    left.settle()
    for _ in range(3):
        cable.repair()
        cable.carry("left", "right")
        cable.carry("right", "left")
    fresh.on_wires()
    assert fresh.node("take").levels[-1] == ("a", 2)
    assert fresh.node("take").facts == ["one"]


def test_one_frame_serves_several_wires_and_keeps_what_the_strictest_wants(tmp_path: Path) -> None:
    plan = party_plan(
        {"left": [node("say", Sayer)], "right": [node("take", Taker)]},
        [wire("say.level", "take.level"), wire("say.level", "take.other", policy("conflate"))],
    )
    made = Party(plan, "left", tmp_path)
    made.wires.links["right"].greet(1)
    made.wires.links["right"].catch_up()
    narrow = Narrow(made)
    say(made, ("a", 1), ("a", 2))
    assert narrow.give(10) == [(1, 0), (2, 0)]
    made.wires.close()


@pytest.fixture
def cable(tmp_path: Path) -> Any:
    plan = party_plan(
        {"left": [node("say", Sayer)], "right": [node("take", Taker)]},
        [
            wire("say.level", "take.level", policy("conflate", by="key")),
            wire("say.fact", "take.fact", policy("reliable")),
        ],
    )
    made = Cable(Party(plan, "left", tmp_path), Party(plan, "right", tmp_path))
    made.plan, made.folder = plan, tmp_path
    made.greet()
    yield made
    made.close()


def restart(cable: Any, name: str, epoch: int, journal: bytes | None = None) -> Party:
    cable.parties[name].wires.close()
    fresh = Party(cable.plan, name, cable.folder, epoch, journal)
    cable.plug(fresh)
    return fresh


def test_a_reader_that_comes_back_gets_the_last_value_of_each_key(cable: Any) -> None:
    left = cable.parties["left"]
    say(left, ("a", 1), ("b", 2), ("a", 3))
    cable.carry("left", "right")
    fresh = restart(cable, "right", 2)
    left.wires.peer_gone("right", False)
    say(left, ("c", 4))
    cable.greet()
    say(left, ("a", 5))
    cable.carry("left", "right")
    fresh.wires.inbox.deliver()
    assert fresh.node("take").levels == [("b", 2), ("c", 4), ("a", 5)]
    assert fresh.wires.stats()["wires"]["say.level -> take.level"]["lost"] == 0
    left.wires.resend()
    cable.carry("left", "right")
    assert fresh.wires.inbox.deliver() == 0


def test_a_peer_that_is_gone_for_good_is_not_waited_for(cable: Any) -> None:
    left, right = cable.parties["left"], cable.parties["right"]
    left.say("say.fact", Fact("one", 1))
    left.settle()
    assert not left.wires.drained
    left.wires.peer_gone("right", True)
    assert left.wires.drained
    right.wires.peer_gone("left", True)
    right.wires.inbox.deliver()
    assert right.node("take").events == ["level closed", "fact closed"]


def test_an_end_is_heard_after_all_messages_and_acknowledged(cable: Any) -> None:
    left, right = cable.parties["left"], cable.parties["right"]
    say(left, ("a", 1))
    left.say("say.fact", Fact("one", 1))
    left.wires.end("say")
    left.settle()
    cable.carry("left", "right")
    right.on_wires()
    assert right.node("take").levels == [("a", 1)]
    assert right.node("take").facts == ["one"]
    assert right.node("take").events == ["level closed", "fact closed"]
    assert not left.wires.drained
    cable.carry("right", "left")
    assert left.wires.drained


def test_an_end_that_is_lost_is_said_again(cable: Any) -> None:
    left, right = cable.parties["left"], cable.parties["right"]
    left.wires.end("say")
    cable.queues["left", "right"].clear()
    cable.repair()
    cable.carry("left", "right")
    right.wires.inbox.deliver()
    assert right.node("take").events == ["level closed", "fact closed"]
    cable.carry("right", "left")
    assert left.wires.drained


def test_a_reader_that_comes_back_after_the_end_hears_of_it(cable: Any) -> None:
    left = cable.parties["left"]
    left.wires.end("say")
    cable.carry("left", "right")
    cable.parties["right"].wires.inbox.deliver()
    cable.carry("right", "left")
    assert left.wires.drained
    fresh = restart(cable, "right", 2)
    cable.greet()
    fresh.wires.inbox.deliver()
    assert fresh.node("take").events == ["level closed", "fact closed"]
