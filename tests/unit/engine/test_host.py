"""The host: order of delivery, loops, failures, timers, silent inputs, senders and determinism."""

from __future__ import annotations

import pytest
from support.weather import Diary, Reading, Siren, Smoother, Thermometer, node, plan_of, wire

from engine import NS_PER_S, Disconnected, In, Message, Node, Out
from engine.clock import Clock
from engine.errors import NodeFailed
from engine.run.build import build
from engine.run.host import Host
from engine.run.port import OUTSIDE, EndlessLoop
from engine.topology.model import OnStale, Policy


class Number(Message):
    """A number on its way."""

    n: int
    note: str = ""


LOG: list[tuple] = []


@pytest.fixture(autouse=True)
def log():
    LOG.clear()
    yield LOG
    LOG.clear()


class Relay(Node):
    """Log each number and pass it on, `copies` times, until it is 0."""

    number = In(Number, many=True, doc="What to pass on.")
    out = Out(Number, doc="One less.")
    also = Out(Number, optional=True, doc="The same, again.")

    copies = 1

    def on_number(self, message: Number) -> None:
        LOG.append((self.id, "begin", message.n))
        if message.n > 0:
            for _ in range(self.copies):
                self.out(n=message.n - 1)
        LOG.append((self.id, "end", message.n))


class Twice(Relay):
    """A relay that sends everything twice."""

    copies = 2


class Fragile(Node):
    """Send first, then fail on a number above `limit` (or instruct the host on a negative one)."""

    number = In(Number, many=True, doc="What to fail on.")
    out = Out(Number, doc="Sent before the failure.")

    def on_number(self, message: Number) -> None:
        LOG.append((self.id, "begin", message.n))
        self.out(n=message.n)
        if message.n < 0:
            raise Disconnected("gone")
        if message.n > 100:
            raise ZeroDivisionError("too large")


class Clocked(Node):
    """Log calls and their time; the test sets the timers."""

    number = In(Number, optional=True, many=True, doc="Logged.")
    out = Out(Number, optional=True, doc="Sent by `speak`.")

    stale_actions = {"hold": "do nothing"}  # noqa: RUF012

    def on_number(self, message: Number) -> None:
        LOG.append((self.id, "number", message.n, self.clock.now_s))

    def tick(self) -> None:
        LOG.append((self.id, "tick", self.clock.now_s))

    def with_data(self, data: object) -> None:
        LOG.append((self.id, data, self.clock.now_s))

    def speak(self, n: int) -> None:
        self.out(n=n)

    def again(self) -> None:
        LOG.append((self.id, "again", self.clock.now_s))
        self.after(0.0, self.tick)

    def input_stale(self, name: str, action: str) -> None:
        LOG.append((self.id, "stale", name, action, self.clock.now_s))

    def input_recovered(self, name: str) -> None:
        LOG.append((self.id, "recovered", name, self.clock.now_s))

    def input_closed(self, name: str) -> None:
        LOG.append((self.id, "closed", name))

    def stop_ticking(self) -> None:
        self.timer.cancel()
        self.timer.cancel()


def host_of(**nodes: type[Node]) -> Host:
    host = Host(Clock(0), seed=7)
    for node_id, cls in nodes.items():
        host.add(node_id, cls, {})
    return host


def join(host: Host, *lines: str, on_stale: tuple[float, str] | None = None) -> None:
    for line in lines:
        source, target = (tuple(end.split(".")) for end in line.split(" -> "))
        host.wire(source, target, on_stale)


def feed(host: Host, node: str, n: int) -> None:
    """Send a number into the graph from the output `out` of `node`."""
    host.inject(host.ports[node, "out"], Number(n))


# --- delivery ---------------------------------------------------------------------------------------------------------


def test_messages_arrive_first_in_first_out():
    host = host_of(source=Clocked, a=Twice, b=Relay, c=Relay)
    join(host, "source.out -> a.number", "a.out -> b.number", "a.out -> c.number", "b.out -> c.number")
    feed(host, "source", 2)
    begun = [(node, n) for node, word, n in LOG if word == "begin"]
    # Both of a's messages reach b and c before anything that b sent in answer.
    assert begun == [("a", 2), ("b", 1), ("c", 1), ("b", 1), ("c", 1), ("c", 0), ("c", 0)]


def test_readers_of_a_port_are_called_in_the_order_in_which_they_joined():
    host = host_of(source=Clocked, z=Relay, a=Relay)
    join(host, "source.out -> z.number", "source.out -> a.number")
    feed(host, "source", 0)
    assert [node for node, word, _ in LOG if word == "begin"] == ["z", "a"]


def test_a_loop_never_reenters_a_node():
    host = host_of(source=Clocked, a=Relay, b=Relay)
    join(host, "source.out -> a.number", "a.out -> b.number", "b.out -> a.number", "a.out -> a.number")
    feed(host, "source", 4)
    inside: list[str] = []
    for who, word, _ in LOG:
        if word == "begin":
            assert not inside
            inside.append(who)
        else:
            assert inside.pop() == who
    assert not inside
    assert sum(word == "begin" and n == 0 for _, word, n in LOG) == 8  # a Fibonacci number: 1, 2, 3, 5, 8


def test_the_clock_stands_still_through_a_cascade():
    host = host_of(source=Clocked, a=Relay, b=Clocked)
    join(host, "source.out -> a.number", "a.out -> b.number")
    host.clock.now_ns = 3 * NS_PER_S
    feed(host, "source", 2)
    assert LOG[-1] == ("b", "number", 1, 3.0)


def test_taps_see_every_message_with_its_sequence():
    host = host_of(source=Clocked, a=Twice)
    join(host, "source.out -> a.number")
    seen: list[tuple[int, int]] = []
    host.tap(("a", "out"), lambda message: seen.append((message.n, host.ports["a", "out"].sent)))
    feed(host, "source", 5)
    feed(host, "source", 3)
    assert seen == [(4, 1), (4, 2), (2, 3), (2, 4)]


def test_each_message_carries_the_one_that_caused_it():
    host = host_of(source=Clocked, a=Relay, b=Relay)
    join(host, "source.out -> a.number", "a.out -> b.number")
    causes: list[tuple[str, int]] = []

    def note(message: Number) -> None:
        causes.append((host.port.node, host.port.sent))

    host.tap(("a", "out"), note)
    host.outbox.append((host.ports["source", "out"], Number(3), OUTSIDE, 0))
    host.deliver()
    assert causes == [("a", 1)]
    host.call(host.nodes["source"], "speak", (9,))
    assert host.outbox == []
    assert host.called["source"].sent == 1


# --- failures ---------------------------------------------------------------------------------------------------------


def test_what_a_failing_handler_sent_is_dropped_and_what_others_sent_is_delivered():
    host = host_of(source=Clocked, a=Twice, bad=Fragile, c=Relay, d=Relay)
    # a sends twice to bad and c; bad fails on the first.
    join(host, "source.out -> a.number", "a.also -> d.number", "a.out -> c.number", "a.out -> bad.number")
    join(host, "bad.out -> d.number")
    with pytest.raises(NodeFailed, match="node 'bad' failed in on_number: ZeroDivisionError: too large"):
        feed(host, "source", 200)
    assert [entry for entry in LOG if entry[0] == "bad"] == [("bad", "begin", 199)]
    host.deliver()
    begun = [(node, n) for node, word, n in LOG if word == "begin"]
    assert ("d", 199) not in begun
    # c got both of a's messages, and the failed node no second one.
    assert begun.count(("c", 199)) == 2
    assert begun.count(("bad", 199)) == 1
    assert host.outbox == []


def test_a_failed_node_is_not_called_again_by_messages_timers_or_calls():
    host = host_of(source=Clocked, bad=Fragile, other=Relay)
    join(host, "source.out -> bad.number", "source.out -> other.number")
    with pytest.raises(NodeFailed):
        feed(host, "source", 101)
    LOG.clear()
    host.nodes["bad"].after(1.0, host.nodes["bad"].start)
    host.call_due(5 * NS_PER_S)
    host.call(host.nodes["bad"], "on_number", (Number(1),))
    feed(host, "source", 0)
    assert {entry[0] for entry in LOG} == {"other"}


def test_a_failing_call_drops_what_it_sent():
    host = host_of(bad=Fragile, other=Relay)
    join(host, "bad.out -> other.number")
    with pytest.raises(NodeFailed) as caught:
        host.call(host.nodes["bad"], "on_number", (Number(101),))
    assert isinstance(caught.value.cause, ZeroDivisionError)
    host.deliver()
    assert LOG == [("bad", "begin", 101)]


def test_an_instruction_drops_what_was_sent_but_does_not_fail_the_node():
    host = host_of(source=Clocked, bad=Fragile, other=Relay)
    join(host, "source.out -> bad.number", "bad.out -> other.number")
    with pytest.raises(Disconnected):
        feed(host, "source", -1)
    host.deliver()
    assert host.failed == set()
    feed(host, "source", 5)
    assert [entry for entry in LOG if entry[1] == "begin"] == [
        ("bad", "begin", -1),
        ("bad", "begin", 5),
        ("other", "begin", 5),
    ]


# --- timers -----------------------------------------------------------------------------------------------------------


def test_timers_are_called_by_time_then_in_the_order_in_which_they_were_set():
    host = host_of(a=Clocked, b=Clocked)
    a, b = host.nodes["a"], host.nodes["b"]
    a.after(2.0, a.with_data, "late")
    b.after(1.0, b.with_data, "first set")
    a.after(1.0, a.with_data, "second set")
    a.after(0.0, a.tick)
    host.call_due(10 * NS_PER_S)
    assert LOG == [
        ("a", "tick", 0.0),
        ("b", "first set", 1.0),
        ("a", "second set", 1.0),
        ("a", "late", 2.0),
    ]


def test_call_due_stops_before_its_end():
    host = host_of(a=Clocked)
    host.nodes["a"].after(1.0, host.nodes["a"].tick)
    host.call_due(NS_PER_S)
    assert LOG == []
    host.call_due(NS_PER_S + 1)
    assert LOG == [("a", "tick", 1.0)]


def test_every_keeps_its_period_and_ends_when_cancelled():
    host = host_of(a=Clocked)
    node = host.nodes["a"]
    node.timer = node.every(2.0, node.tick)
    node.after(5.0, node.stop_ticking)
    host.call_due(20 * NS_PER_S)
    assert LOG == [("a", "tick", 2.0), ("a", "tick", 4.0)]
    assert host.calls == []


def test_a_timer_may_cancel_itself_from_its_own_handler():
    host = host_of(a=Clocked)
    node = host.nodes["a"]
    node.timer = node.every(1.0, node.stop_ticking)
    host.call_due(10 * NS_PER_S)
    assert host.clock.now_ns == NS_PER_S


def test_a_call_set_for_now_is_made_after_those_already_due_now():
    host = host_of(a=Clocked)
    node = host.nodes["a"]
    node.after(1.0, node.again)
    node.after(1.0, node.with_data, "set before")
    host.call_due(2 * NS_PER_S)
    assert LOG == [("a", "again", 1.0), ("a", "set before", 1.0), ("a", "tick", 1.0)]


@pytest.mark.parametrize("delay_s", [-1.0, float("nan"), float("inf")])
def test_a_delay_is_finite_and_not_negative(delay_s):
    host = host_of(a=Clocked)
    with pytest.raises(ValueError, match="a delay is finite and not negative"):
        host.nodes["a"].after(delay_s, host.nodes["a"].tick)


# --- silent inputs ----------------------------------------------------------------------------------------------------


def watched() -> Host:
    host = host_of(one=Clocked, two=Clocked, reader=Clocked)
    join(host, "one.out -> reader.number", "two.out -> reader.number", on_stale=(10.0, "hold"))
    host.start()
    return host


def at(host: Host, seconds: float, node: str | None = None, n: int = 0) -> None:
    """Move the time, making what is due before it; then send from `node`."""
    host.call_due(round(seconds * NS_PER_S))
    host.clock.now_ns = round(seconds * NS_PER_S)
    if node:
        feed(host, node, n)


def test_an_input_that_never_speaks_is_stale_after_its_time_and_told_once():
    host = watched()
    at(host, 50)
    assert LOG == [("reader", "stale", "number", "hold", 10.0)]


def test_an_input_is_silent_when_all_its_writers_are():
    host = watched()
    at(host, 6, "one", 1)
    at(host, 12, "two", 2)
    at(host, 21, "one", 3)
    at(host, 40)
    assert [entry for entry in LOG if entry[1] == "stale"] == [("reader", "stale", "number", "hold", 31.0)]


def test_a_message_at_the_very_deadline_is_in_time():
    host = watched()
    at(host, 10, "one", 1)
    at(host, 20, "one", 2)
    assert not [entry for entry in LOG if entry[1] == "stale"]


def test_recovery_is_told_before_the_message_and_once_and_watching_goes_on():
    host = watched()
    at(host, 15, "one", 1)
    at(host, 16, "two", 2)
    at(host, 60)
    assert LOG == [
        ("reader", "stale", "number", "hold", 10.0),
        ("reader", "recovered", "number", 15.0),
        ("reader", "number", 1, 15.0),
        ("reader", "number", 2, 16.0),
        ("reader", "stale", "number", "hold", 26.0),
    ]


# --- closed inputs ----------------------------------------------------------------------------------------------------


def test_readers_are_told_once_that_a_node_has_closed():
    host = host_of(one=Clocked, reader=Clocked, other=Clocked)
    join(host, "one.out -> reader.number", "one.out -> other.number")
    host.close("one")
    host.close("one")
    assert LOG == [("reader", "closed", "number"), ("other", "closed", "number")]


# --- senders ----------------------------------------------------------------------------------------------------------


class Awkward(Message):
    """Fields with the names that a sender uses itself."""

    append: int
    cause: int
    host: str
    message: str
    port: int = 80
    field: tuple[int, ...] = ()


class AwkwardSource(Node):
    """Send an awkward message."""

    out = Out(Awkward, doc="Sent by `speak`.")

    def speak(self, *arguments: object, **fields: object) -> None:
        self.out(*arguments, **fields)


def sent_by(cls: type[Node], fields: dict[str, object]) -> Message:
    host = host_of(a=cls)
    seen: list[Message] = []
    host.tap(("a", "out"), seen.append)
    host.nodes["a"].out(**fields)
    host.deliver()
    return seen[0]


def test_a_sender_takes_fields_by_name_and_fills_in_defaults():
    assert sent_by(Clocked, {"n": 3}) == Number(3, "")
    assert sent_by(Clocked, {"note": "x", "n": 4}) == Number(4, "x")


def test_a_field_may_have_any_name():
    sent = sent_by(AwkwardSource, {"append": 1, "cause": 2, "host": "h", "message": "m"})
    assert sent == Awkward(1, 2, "h", "m", 80, ())


def test_a_missing_or_unknown_field_fails_the_sender():
    host = host_of(a=AwkwardSource)
    with pytest.raises(NodeFailed, match="missing 3 required"):
        host.call(host.nodes["a"], "speak", (1,))
    host = host_of(a=Clocked)
    with pytest.raises(TypeError, match="unexpected keyword argument 'm'"):
        host.nodes["a"].out(n=1, m=2)


def test_whole_sends_the_very_message():
    host = host_of(a=Clocked)
    seen: list[Message] = []
    host.tap(("a", "out"), seen.append)
    message = Number(1)
    host.nodes["a"].out.whole(message)
    host.deliver()
    assert seen[0] is message


# --- determinism ------------------------------------------------------------------------------------------------------


def test_chance_is_a_stream_per_seed_and_node():
    def draws(seed: int, *ids: str) -> dict[str, list[float]]:
        host = Host(Clock(0), seed=seed)
        return {node_id: [host.add(node_id, Clocked, {}).random.random() for _ in range(2)][:1] for node_id in ids}

    assert draws(1, "a", "b") == {node_id: draws(1, node_id)[node_id] for node_id in ("b", "a")}
    assert draws(1, "a") != draws(2, "a")
    assert draws(1, "a")["a"] != draws(1, "b")["b"]


def test_two_runs_are_equal():
    def run() -> list[tuple]:
        LOG.clear()
        host = host_of(source=Clocked, a=Twice, b=Relay, c=Twice, reader=Clocked)
        join(host, "source.out -> a.number", "a.out -> b.number", "b.out -> c.number", "c.out -> a.number")
        join(host, "a.out -> reader.number", "c.out -> reader.number", on_stale=(2.0, "hold"))
        host.start()
        for second in (1, 2, 9):
            at(host, second, "source", 5)
        at(host, 30)
        return list(LOG)

    first = run()
    assert len(first) > 100
    assert run() == first


def test_readers_after_a_failing_one_still_get_the_message() -> None:
    host = Host(Clock())
    build(
        plan_of(
            [node("a", Thermometer, values=[]), node("bad", Smoother), node("siren", Siren), node("diary", Diary)],
            [
                wire("a.reading", "bad.reading"),
                wire("a.reading", "diary.reading"),
                wire("bad.smooth", "siren.reading"),
                wire("siren.alarm", "diary.alarm"),
            ],
        ),
        host,
    )
    host.start()
    host.nodes["bad"].mean = "not a number"  # type: ignore[attr-defined]
    with pytest.raises(NodeFailed, match="bad"):
        host.inject(host.ports["a", "reading"], Reading(5.0, 0))
    assert host.nodes["diary"].lines == ["0 5.000"]  # type: ignore[attr-defined]
    host.inject(host.ports["a", "reading"], Reading(6.0, 0))
    assert host.nodes["diary"].lines == ["0 5.000", "0 6.000"]  # type: ignore[attr-defined]


def test_an_input_closes_with_its_last_writer_and_is_not_stale_afterwards() -> None:
    host = Host(Clock())
    build(
        plan_of(
            [node("a", Thermometer, values=[]), node("b", Thermometer, values=[]), node("diary", Diary)],
            [
                wire("a.reading", "diary.reading", Policy("block", on_stale=OnStale(5.0, "warn"))),
                wire("b.reading", "diary.reading", Policy("block", on_stale=OnStale(5.0, "warn"))),
            ],
        ),
        host,
    )
    host.start()
    host.close("a")
    assert host.nodes["diary"].lines == []  # type: ignore[attr-defined]
    host.close("b")
    host.call_due(10**12)
    assert host.nodes["diary"].lines == ["0 reading closed"]  # type: ignore[attr-defined]


def test_a_loop_that_never_rests_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.run.port.MAX_CASCADE", 1000)
    host = Host(Clock())
    host.add("loop", Smoother, {})
    host.wire(("loop", "smooth"), ("loop", "reading"), feedback=True)
    host.start()
    with pytest.raises(EndlessLoop, match=r"1,000 messages followed from one event.*loop\.smooth"):
        host.inject(host.ports["loop", "smooth"], Reading(5.0, 0))


def test_a_period_too_short_to_count_is_refused() -> None:
    host = Host(Clock())
    made = host.add("siren", Siren, {})
    with pytest.raises(ValueError, match="shortest period is 1 ns"):
        made.every(1e-10, made.start)
