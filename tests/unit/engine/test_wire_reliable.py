"""Reliable wires: every fact that was committed is applied once, whatever is lost on the way and whoever restarts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.wired import Cable, Fact, Party, Sayer, Taker, node, party_plan, policy, wire

from engine.errors import PipelineError
from engine.wire import peers as peers_module
from engine.wire.frame import PORT_SHIFT, unpack
from engine.wire.reliable import Identities, Unacknowledged

PLAN = party_plan(
    {"left": [node("say", Sayer)], "right": [node("take", Taker)], "far": [node("end", Taker)]},
    [wire("say.fact", "take.fact", policy("reliable")), wire("take.echo", "end.fact", policy("reliable"))],
)


class World:
    """Three processes in a row, each with a disk; a crash brings one back as its disk knows it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.epochs = dict.fromkeys(("left", "right", "far"), 1)
        self.disks: dict[str, Any] = {}
        self.said: list[str] = []
        self.fresh = 0
        self.cable = Cable(*(Party(PLAN, name, folder) for name in self.epochs))
        for name in self.epochs:
            self.commit(name)
        self.cable.greet()

    def party(self, name: str) -> Party:
        return self.cable.parties[name]

    def commit(self, name: str) -> None:
        """Put a process on its disk in one go: counts, what it knows, what its wires owe; then let go."""
        party = self.party(name)
        facts = [list(each.facts) for each in party.host.nodes.values() if isinstance(each, Taker)]
        sent = {key: port.sent for key, port in party.host.ports.items() if key[0] in party.host.nodes}
        self.disks[name] = (sent, facts, party.keep(), list(self.said))
        party.wires.committed()

    def crash(self, name: str) -> None:
        sent, facts, journal, said = self.disks[name]
        self.party(name).wires.close()
        self.epochs[name] += 1
        party = Party(PLAN, name, self.folder, self.epochs[name])
        for key, count in sent.items():
            party.host.ports[key].sent = count
        for each, known in zip((n for n in party.host.nodes.values() if isinstance(n, Taker)), facts, strict=True):
            each.facts = list(known)
        party.restore(journal)
        if name == "left":
            self.said = list(said)
        for (source, _), queue in self.cable.queues.items():
            if source == name:
                queue.clear()
        self.cable.plug(party)
        for link in party.wires.links.values():
            party.wires.peers.greet(link)

    def say(self) -> None:
        self.fresh += 1
        name = f"f{self.fresh}"
        self.party("left").say("say.fact", Fact(name, self.fresh))
        self.said.append(name)

    def settle(self) -> None:
        """Let everything arrive."""
        self.commit("left")
        for _ in range(12):
            self.cable.greet()
            self.cable.repair()
            for source, target in list(self.cable.queues):
                self.cable.carry(source, target)
            for name in ("right", "far"):
                self.party(name).wires.inbox.deliver()
            for name in self.epochs:
                self.commit(name)


STEPS = st.one_of(
    st.just(("say",)),
    st.just(("say",)),
    st.tuples(st.just("commit"), st.sampled_from(["left", "right", "far"])),
    st.tuples(st.just("deliver"), st.sampled_from(["right", "far"])),
    st.tuples(
        st.just("carry"),
        st.sampled_from([("left", "right"), ("right", "left"), ("right", "far"), ("far", "right")]),
        st.lists(st.sampled_from([0, 1, 1, 2]), max_size=6),
    ),
    st.tuples(st.just("crash"), st.sampled_from(["left", "right", "far"])),
    st.just(("repair",)),
    st.just(("greet",)),
)


@given(steps=st.lists(STEPS, max_size=40))
@settings(max_examples=120, deadline=None)
def test_each_committed_fact_is_applied_exactly_once_and_in_order(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[Any, ...]]
) -> None:
    world = World(tmp_path_factory.mktemp("w"))
    try:
        for step in steps:
            match step:
                case ("say",):
                    world.say()
                case ("commit", name):
                    world.commit(name)
                case ("deliver", name):
                    world.party(name).wires.inbox.deliver()
                case ("carry", (source, target), fates):
                    world.cable.carry(source, target, fates)
                case ("crash", name):
                    world.crash(name)
                case ("repair",):
                    world.cable.repair()
                case ("greet",):
                    world.cable.greet()
        world.settle()
        assert world.party("right").node("take").facts == world.said
        assert world.party("far").node("end").facts == [f"{name}'" for name in world.said]
        assert all(party.wires.drained for party in world.cable.parties.values())
        assert not any(party.broken for party in world.cable.parties.values())
    finally:
        world.cable.close()


@pytest.fixture
def world(tmp_path: Path) -> Any:
    made = World(tmp_path)
    yield made
    made.cable.close()


def test_nothing_leaves_before_it_is_on_disk(world: World) -> None:
    world.say()
    assert world.party("left").wires.uncommitted
    assert not world.cable.queues["left", "right"]
    world.commit("left")
    assert len(world.cable.queues["left", "right"]) == 1
    assert not world.party("left").wires.uncommitted


def test_a_fact_is_acknowledged_only_after_the_readers_commit(world: World) -> None:
    world.say()
    world.commit("left")
    world.cable.carry("left", "right")
    world.party("right").wires.inbox.deliver()
    world.cable.carry("right", "left")
    assert not world.party("left").wires.drained
    world.commit("right")
    world.cable.carry("right", "left")
    assert world.party("left").wires.drained


def test_a_fact_that_comes_again_before_the_readers_commit_is_not_acknowledged(world: World) -> None:
    world.say()
    world.commit("left")
    world.cable.carry("left", "right")
    world.party("right").wires.inbox.deliver()
    world.cable.repair()
    world.cable.carry("left", "right")
    world.cable.carry("right", "left")
    assert not world.party("left").wires.drained
    world.crash("right")
    world.settle()
    assert world.party("right").node("take").facts == world.said


def test_a_fact_known_by_its_business_id_is_not_applied_again(world: World) -> None:
    left, right = world.party("left"), world.party("right")
    for _ in range(2):
        left.say("say.fact", Fact("same", 1))
    left.say("say.fact", Fact("other", 1))
    world.commit("left")
    world.cable.carry("left", "right")
    right.wires.inbox.deliver()
    assert right.node("take").facts == ["same", "other"]
    world.commit("right")
    world.crash("right")
    world.cable.greet()
    left.say("say.fact", Fact("same", 1))
    world.commit("left")
    world.cable.carry("left", "right")
    world.party("right").wires.inbox.deliver()
    assert world.party("right").node("take").facts == ["same", "other"]


def test_a_gap_that_is_not_repaired_is_reported(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers_module, "REPAIR_WITHIN_S", -1.0)
    world.say()
    world.commit("left")
    world.cable.queues["left", "right"].clear()
    world.say()
    world.commit("left")
    world.cable.carry("left", "right")
    world.cable.repair()
    assert world.party("right").broken == ["say.fact -> take.fact"]


def test_a_writer_that_has_lost_its_journal_is_reported(world: World) -> None:
    world.say()
    world.settle()
    sent, facts, _, said = world.disks["left"]
    world.disks["left"] = (dict.fromkeys(sent, 0), facts, b"", said)
    world.crash("left")
    world.cable.greet()
    assert world.party("right").broken == ["say.fact -> take.fact"]


def test_a_reader_that_has_lost_its_journal_is_reported(world: World) -> None:
    world.say()
    world.settle()
    sent, _, _, said = world.disks["right"]
    world.disks["right"] = (sent, [[]], b"", said)
    world.crash("right")
    world.cable.greet()
    assert "say.fact -> take.fact" in world.party("right").broken


def test_messages_for_a_reader_that_the_topology_has_not_are_not_forgotten(world: World, tmp_path: Path) -> None:
    world.say()
    data = world.party("left").keep()
    other = party_plan(
        {"left": [node("say", Sayer)], "elsewhere": [node("take", Taker)]},
        [wire("say.fact", "take.fact", policy("reliable"))],
    )
    made = Party(other, "left", tmp_path)
    with pytest.raises(PipelineError, match=r"say.fact -> right.*new run folder"):
        made.restore(data)
    made.wires.close()


def test_a_commit_writes_only_what_is_new_however_much_is_owed(world: World) -> None:
    left, right = world.party("left"), world.party("right")
    for _ in range(100):
        world.say()
    world.commit("left")
    assert left.wires.journal_state()[1] == []
    world.say()
    ((name, first, rows),) = left.wires.journal_state()[1]
    assert (name, first, [number for number, _ in rows]) == ("owed say.fact -> right", 0, [101])
    world.commit("left")
    world.cable.carry("left", "right")
    right.wires.inbox.deliver()
    world.commit("right")
    world.cable.carry("right", "left")
    assert left.wires.journal_state()[1] == [("owed say.fact -> right", 102, [])]
    world.commit("left")
    assert left.disk.rows() == {}
    assert [number for number, _ in right.disk.rows()["ids say.fact"]] == list(range(1, 102))


def test_frames_on_disk_get_the_number_that_their_port_has_now(world: World, tmp_path: Path) -> None:
    world.say()
    plan = party_plan(
        {"left": [node("first", Sayer), node("say", Sayer)], "right": [node("take", Taker)]},
        [wire("say.fact", "take.fact", policy("reliable"))],
    )
    (tmp_path / "moved").mkdir()
    moved = Party(plan, "left", tmp_path / "moved", 2, world.party("left").keep())
    (lane,) = moved.wires.lanes
    assert lane.unacknowledged is not None
    assert [unpack(frame)[0] >> PORT_SHIFT for _, frame in lane.unacknowledged.frames] == [lane.port.number]
    assert moved.wires.journal_state()[1] == []
    moved.wires.close()


def test_what_was_never_sent_is_not_acknowledged() -> None:
    owed = Unacknowledged(start=4)
    assert not owed.acknowledge(9)
    assert owed.acknowledged == 4
    owed.add(5, b"five")
    owed.add(6, b"six")
    assert owed.acknowledge(5)
    assert (owed.acknowledged, list(owed.after(0))) == (5, [(6, b"six")])


def test_identities_are_bounded_and_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.wire.reliable.REMEMBERED_IDS", 3)
    known = Identities(Fact)
    assert [known.add(Fact(name, 1)) for name in "aabcd"] == [True, False, True, True, True]
    again = Identities(Fact)
    first = known.news("ids")
    assert first is not None
    assert (first.first, [number for number, _ in first.rows]) == (2, [2, 3, 4])
    known.settle()
    assert known.news("ids") is None
    again.restore(first.rows)
    assert [again.add(Fact(name, 2)) for name in "dcb"] == [False, False, False]
    assert again.add(Fact("a", 1))
