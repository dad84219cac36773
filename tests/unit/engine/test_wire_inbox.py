"""What a reader does with frames: policies after a drain, gaps, epochs, and frames that are not for it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.wired import Cable, Fact, Level, Party, Sayer, Taker, node, party_plan, policy, wire

from engine.errors import NodeFailed
from engine.wire.codec import encoder
from engine.wire.frame import ACK, END, HELLO, LAST_VALUE, REPEAT, SKIPPED, id_base, pack, schema_of, tail

WIRE = "say.level -> take.level"


def levels(kind: str, **more: Any) -> Any:
    return party_plan(
        {"left": [node("say", Sayer)], "right": [node("take", Taker)]},
        [wire("say.level", "take.level", policy(kind, **more)), wire("say.fact", "take.fact", policy("reliable"))],
    )


class Reader(SimpleNamespace):
    """The right party of a plan, and the frames that the left one would send."""

    party: Party

    def frame(self, sequence: int, level: Level | None = None, **more: Any) -> bytes:
        level = level or Level("a", sequence)
        number = self.party.wires.table.ports["say", "level"].number
        message_id = id_base(more.get("port", number), more.get("epoch", 1)) | sequence
        head = pack(message_id, 0, more.get("sent_ns", 1), tail(schema_of(Level), more.get("flags", 0)))
        return head + encoder(Level)(level)

    def take(self, *frames: bytes) -> list[tuple[str, int]]:
        self.party.wires.inbox.sort(frames)
        self.party.wires.inbox.deliver()
        return self.party.node("take").levels

    def stats(self, name: str = WIRE) -> dict[str, Any]:
        return self.party.wires.stats()["wires"][name]


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Any]:
    made: list[Party] = []

    def make(kind: str = "block", plan: Any = None, **more: Any) -> Reader:
        party = Party(plan or levels(kind, **more), "right", tmp_path)
        party.wires.links["left"].greeted = True
        party.wires.links["left"].epoch = 1
        made.append(party)
        return Reader(party=party)

    yield make
    for party in made:
        party.wires.close()


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: Any) -> Iterator[Reader]:
    plan = levels("conflate", by="key")
    party = Party(plan, "right", tmp_path_factory.mktemp("s"))
    cable = Cable(Party(plan, "left", tmp_path_factory.mktemp("t")), party)
    cable.greet()
    yield Reader(party=party)
    cable.close()


MESSAGES = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9)), max_size=40)


class TestPolicies:
    @given(said=MESSAGES, cuts=st.lists(st.integers(0, 40), max_size=3))
    @settings(max_examples=60, deadline=None)
    def test_conflate_leaves_the_newest_of_each_key_of_each_drain(
        self, tmp_path_factory: Any, said: list[tuple[str, int]], cuts: list[int]
    ) -> None:
        party = Party(levels("conflate", by="key"), "right", tmp_path_factory.mktemp("s"))
        made = Reader(party=party)
        party.wires.links["left"].greeted = True
        frames = [made.frame(index + 1, Level(*each)) for index, each in enumerate(said)]
        expected: list[tuple[str, int]] = []
        bounds = sorted({0, len(said), *(cut for cut in cuts if cut < len(said))})
        for begin, end in pairwise(bounds):
            part = said[begin:end]
            newest = {key: index for index, (key, _) in enumerate(part)}
            expected += [part[index] for index in sorted(newest.values())]
            made.take(*frames[begin:end])
        stats = made.stats()
        heard = party.node("take").levels
        party.wires.close()
        assert heard == expected
        assert stats["superseded"] == len(said) - len(expected)
        assert stats["delivered"] == len(expected)
        assert stats["lost"] == 0

    @given(count=st.integers(0, 30), most=st.integers(1, 10))
    @settings(max_examples=30, deadline=None)
    def test_drop_oldest_keeps_the_newest_n(self, tmp_path_factory: Any, count: int, most: int) -> None:
        party = Party(levels("drop_oldest", n=most), "right", tmp_path_factory.mktemp("s"))
        made = Reader(party=party)
        heard = made.take(*(made.frame(number + 1) for number in range(count)))
        stats = made.stats()
        party.wires.close()
        assert [value for _, value in heard] == list(range(1, count + 1))[-most:]
        assert stats["dropped"] == max(0, count - most)

    def test_ttl_drops_what_is_old(self, reader: Any) -> None:
        import time

        made = reader(ttl_s=1.0)
        now_ns = time.time_ns()
        heard = made.take(made.frame(1, sent_ns=now_ns - 2_000_000_000), made.frame(2, sent_ns=now_ns))
        assert heard == [("a", 2)]
        assert made.stats()["expired"] == 1

    def test_each_wire_of_a_port_has_its_own_policy(self, reader: Any) -> None:
        plan = party_plan(
            {"left": [node("say", Sayer)], "right": [node("take", Taker)]},
            [wire("say.level", "take.level"), wire("say.level", "take.other", policy("conflate"))],
        )
        made = reader(plan=plan)
        assert made.take(*(made.frame(number) for number in (1, 2, 3))) == [("a", 1), ("a", 2), ("a", 3)]
        assert made.party.node("take").others == [("a", 3)]
        assert made.stats("say.level -> take.other")["superseded"] == 2
        assert made.stats()["superseded"] == 0
        made.take(made.frame(4))
        assert made.party.node("take").others == [("a", 3), ("a", 4)]


class TestSequences:
    def test_a_gap_is_counted_as_lost(self, reader: Any) -> None:
        made = reader()
        made.take(made.frame(1), made.frame(2), made.frame(6))
        assert made.stats()["lost"] == 3

    def test_what_the_policy_left_out_is_not_lost(self, reader: Any) -> None:
        made = reader("conflate")
        made.take(made.frame(1), made.frame(6, flags=SKIPPED))
        assert made.stats()["lost"] == 0
        assert made.stats()["superseded"] == 1 + 4

    def test_a_new_epoch_begins_where_it_wants(self, reader: Any) -> None:
        made = reader()
        heard = made.take(made.frame(7), made.frame(3, epoch=2), made.frame(4, epoch=2), made.frame(6, epoch=2))
        assert [value for _, value in heard] == [7, 3, 4, 6]
        assert made.stats()["lost"] == 1

    def test_an_old_epoch_is_refused(self, reader: Any) -> None:
        made = reader()
        made.party.wires.links["left"].epoch = 2
        assert made.take(made.frame(1), made.frame(1, epoch=2)) == [("a", 1)]
        assert made.party.wires.stats()["refused"] == {"epoch": 1}

    def test_a_repeated_frame_is_dropped(self, reader: Any) -> None:
        made = reader()
        assert made.take(made.frame(1), made.frame(1)) == [("a", 1)]
        assert made.stats()["repeated"] == 1

    def test_a_last_value_is_taken_once_and_is_no_gap(self, reader: Any) -> None:
        made = reader("conflate")
        made.take(made.frame(8, flags=LAST_VALUE))
        made.take(made.frame(8, flags=LAST_VALUE), made.frame(9))
        assert made.party.node("take").levels == [("a", 8), ("a", 9)]
        assert made.stats()["lost"] == 0

    def test_rows_of_a_history_are_not_taken_twice_in_another_epoch(self, tmp_path: Path) -> None:
        from support.weather import Diary, Reading, Thermometer

        plan = party_plan(
            {"left": [node("heat", Thermometer, values=[1.0])], "right": [node("diary", Diary)]},
            [wire("heat.reading", "diary.reading")],
        )
        party = Party(plan, "right", tmp_path)
        number = party.wires.table.ports["heat", "reading"].number
        frames = [
            pack(id_base(number, epoch) | sequence, 0, 1, tail(schema_of(Reading))) + encoder(Reading)(Reading(1.0, 2))
            for epoch, sequence in ((1, 1), (1, 2), (2, 2), (2, 3))
        ]
        party.wires.inbox.sort(frames)
        assert party.wires.inbox.deliver() == 3
        assert party.wires.stats()["wires"]["heat.reading -> diary.reading"]["repeated"] == 1
        party.wires.close()


class TestRefused:
    def test_every_kind_is_counted_and_nothing_is_delivered(self, reader: Any, caplog: Any) -> None:
        made = reader()
        number = made.party.wires.table.ports["say", "level"].number
        mine = made.party.wires.table.ports["take", "answer"].number
        good = made.frame(1)
        bad = {
            "length": good[:27],
            "version": good[:27] + b"\x02" + good[28:],
            "port": made.frame(1, port=999),
            "foreign": made.frame(1, port=mine),
            "schema": good[:24] + b"\0\0" + good[26:],
            "undecodable": good[:-1],
            "sequence": made.frame(0),
        }
        for reason, frame in bad.items():
            assert made.take(frame) == [], reason
            assert made.take(frame if reason != "undecodable" else made.frame(2)[:-1]) == []
        assert made.party.wires.stats()["refused"] == dict.fromkeys(bad, 2)
        assert len(caplog.records) == len(bad)
        assert made.take(made.frame(3)) == [("a", 3)]
        assert number

    @given(junk=st.lists(st.binary(max_size=80), max_size=20))
    @settings(max_examples=100, deadline=None)
    def test_random_bytes_never_raise(self, fuzzed: Reader, junk: list[bytes]) -> None:
        fuzzed.take(*junk)

    @given(
        flags=st.sampled_from([0, LAST_VALUE, END, ACK, HELLO, REPEAT, SKIPPED, ACK | END, ACK | REPEAT, 64, 255]),
        port=st.integers(0, 12),
        sequence=st.integers(0, 2**40 - 1),
        epoch=st.integers(0, 5),
        payload=st.binary(max_size=40),
        kind=st.sampled_from([Level, Fact]),
    )
    @settings(max_examples=300, deadline=None)
    def test_well_formed_nonsense_never_raises(
        self, fuzzed: Reader, flags: int, port: int, sequence: int, epoch: int, payload: bytes, kind: Any
    ) -> None:
        fuzzed.take(pack(id_base(port, epoch) | sequence, 0, 1, tail(schema_of(kind), flags)) + payload)


def test_what_follows_a_failure_stays_queued(reader: Any) -> None:
    made = reader()
    take = made.party.node("take")
    made.party.wires.inbox.sort([made.frame(number) for number in (1, 2, 3)])

    class Trouble(Exception):
        pass

    original = take.levels.append

    class Picky(list):  # type: ignore[type-arg]
        def append(self, item: Any) -> None:
            if item[1] == 2:
                raise Trouble
            original(item)

    take.levels = Picky()
    with pytest.raises(NodeFailed):
        made.party.wires.inbox.deliver()
    assert len(made.party.wires.inbox.pending) == 1
