"""What a supervisor decides: no processes, no clock, no disk."""

from __future__ import annotations

import signal
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.process.fleet import Fleet, Phase
from engine.process.lifecycle import HUBS, NEXT, State, backoff_s, how_it_ended, may_restart
from engine.process.member import Go, Halt, Kill, Member, Start, Tell, overdue
from engine.process.settings import Settings
from engine.topology.model import Restart

SETTINGS = Settings(stop_s=10, exit_s=2, term_s=3)
USUAL = Restart()
TICK_S = 0.5


def fleet_of(*names: str, restart: Restart = USUAL, sources: tuple[str, ...] = ()) -> Fleet:
    members = [Member(name, restart, 30.0, 5.0, sources=name in sources) for name in names]
    return Fleet(members, SETTINGS, Random(1))


class World:
    """Carry out what a fleet decides, with processes that do as they are told unless they are in `broken`."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.now_s = 100.0
        self.living: dict[str, int] = {}
        self.broken: set[str] = set()
        self.told: list[tuple[str, str]] = []
        self.starts: list[tuple[str, int]] = []
        self.kills: list[tuple[str, int]] = []
        self.halts: list[str] = []

    def begin(self) -> World:
        self.fleet.begin(self.now_s)
        self.settle()
        return self

    def settle(self) -> None:
        while actions := self.fleet.take():
            for action in actions:
                self.do(action)

    def do(self, action: object) -> None:
        fleet = self.fleet
        match action:
            case Start(name, epoch):
                self.starts.append((name, epoch))
                self.living[name] = epoch
                fleet.born(name, 1000 + len(self.starts))
                if name not in self.broken:
                    fleet.connected(name)
                    fleet.joined(name, None, self.now_s)
            case Go(name):
                self.told.append((name, "go"))
                if name not in self.broken:
                    fleet.ready(name, self.now_s)
            case Tell(name, command):
                self.told.append((name, command["do"]))
                if name in self.living and name not in self.broken:
                    if command["do"] == "stop":
                        fleet.said_stopped(name, self.now_s)
                    elif command["do"] == "exit":
                        self.end(name, 0)
            case Kill(name, number):
                self.kills.append((name, number))
                if name in self.living and (number == signal.SIGKILL or name not in self.broken):
                    self.end(name, -number)
            case Halt(reason):
                self.halts.append(reason)

    def end(self, name: str, status: int) -> None:
        if self.living.pop(name, None) is not None:
            self.fleet.exited(name, status, self.now_s)

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds / TICK_S)):
            self.now_s += TICK_S
            for name in self.living.keys() - self.broken:
                self.fleet.beat(name, self.now_s)
            self.fleet.tick(self.now_s)
            self.settle()

    def state(self, name: str) -> State:
        return self.fleet.members[name].state


def world(*names: str, broken: tuple[str, ...] = (), **more) -> World:
    made = World(fleet_of(*names, **more))
    made.broken = set(broken)
    return made


# --- policy -----------------------------------------------------------------------------------------------------------


def test_backoff_doubles_up_to_a_limit_with_jitter():
    random = Random(7)
    for failures, pause in [(0, 0.1), (1, 0.2), (5, 3.2), (8, 25.6), (9, 30.0), (10_000, 30.0)]:
        drawn = [backoff_s(failures, Settings(), random) for _ in range(200)]
        assert 0.75 * pause <= min(drawn) < 0.8 * pause
        assert 1.2 * pause < max(drawn) <= 1.25 * pause


@pytest.mark.parametrize(
    ("restart", "starts_s", "may"),
    [
        (Restart(max=2, window_s=10), [], True),
        (Restart(max=2, window_s=10), [95.0, 99.0], False),
        (Restart(max=2, window_s=10), [90.0, 99.0], True),  # the first is just out of the window
        (Restart(max=0), [], False),
        (Restart("never", max=9), [], False),
        (Restart("always", max=1, window_s=10), [], True),
    ],
)
def test_restarts_are_counted_within_the_window(restart, starts_s, may):
    assert may_restart(restart, starts_s, 100.0) is may


def test_ends_have_words():
    assert how_it_ended(3) == "exit code 3"
    assert how_it_ended(-9) == "killed by SIGKILL"
    assert how_it_ended(-63) == "killed by signal 63"


def test_every_state_can_be_left_only_as_the_table_says():
    member = Member("a", Restart(), 1.0, 1.0)
    for before in State:
        for after in set(State) - {before}:
            member.state = before
            if after in NEXT[before]:
                member.enter(after)
                assert member.state is after
            else:
                with pytest.raises(AssertionError):
                    member.enter(after)


# --- start ------------------------------------------------------------------------------------------------------------


def test_nobody_goes_before_all_have_joined():
    made = world("a", "b", broken=("b",)).begin()
    assert made.fleet.phase is Phase.STARTING
    assert made.told == []
    made.broken.clear()
    made.fleet.connected("b")
    made.fleet.joined("b", None, made.now_s)
    made.settle()
    assert made.told == [("a", "go"), ("b", "go")]
    assert made.fleet.phase is Phase.RUNNING
    assert {made.state("a"), made.state("b")} == {State.OK}


def test_hubs_are_up_before_anything_else_starts():
    made = world(HUBS, "a", broken=(HUBS,)).begin()
    assert made.starts == [(HUBS, 1)]
    made.fleet.joined(HUBS, None, made.now_s)
    made.settle()
    assert made.starts == [(HUBS, 1), ("a", 1)]


def test_what_has_not_been_started_waits_and_is_not_said_to_have_stopped():
    made = world(HUBS, "a", broken=(HUBS,)).begin()
    assert (made.state(HUBS), made.state("a")) == (State.STARTING, State.WAITING)
    made.fleet.stop(made.now_s)
    assert made.state("a") is State.STOPPED


def test_the_start_timeout_names_the_missing():
    made = world("a", "b", "c", broken=("b", "c")).begin()
    made.pass_time(29)
    assert made.fleet.failed is None
    made.pass_time(10)
    assert made.fleet.failed == "not all processes have joined in time; missing: 'b', 'c'"
    assert made.fleet.phase is Phase.OVER


def test_a_process_that_is_never_ready_after_go_is_killed():
    made = world("a").begin()
    made.broken.add("a")
    made.end("a", 1)
    made.pass_time(1)
    made.fleet.joined("a", None, made.now_s)
    made.settle()
    made.pass_time(31)
    assert made.kills == [("a", signal.SIGKILL)]


# --- ends -------------------------------------------------------------------------------------------------------------


def test_a_restarted_process_goes_at_once_and_others_are_told():
    made = world("a", "b").begin()
    made.end("a", -9)
    made.settle()
    assert made.state("a") is State.RECOVERABLE
    assert made.told[-1] == ("b", "gone")
    made.pass_time(1)
    assert made.starts[-1] == ("a", 2)
    assert made.told[-1] == ("a", "go")
    assert made.state("a") is State.OK


@pytest.mark.parametrize(
    ("then", "state", "phase", "halted"),
    [
        ("halt", State.FATAL, Phase.RUNNING, 1),
        ("stop", State.FATAL, Phase.OVER, 0),
        ("go_on", State.PERMANENT, Phase.RUNNING, 0),
    ],
)
def test_what_is_given_up_does_to_the_run_what_it_declares(then, state, phase, halted):
    made = world("a", "b", restart=Restart(max=3, window_s=600, then=then)).begin()
    for _ in range(4):
        made.end("a", 1)
        made.pass_time(5)
    assert [epoch for name, epoch in made.starts if name == "a"] == [1, 2, 3, 4]
    assert made.state("a") is state
    assert made.fleet.phase is phase
    assert len(made.halts) == halted
    assert made.state("b") is (State.STOPPED if then == "stop" else State.OK)


@pytest.mark.parametrize("then", ["halt", "go_on"])
def test_who_starts_again_is_told_of_those_that_were_given_up_before(then):
    made = world("a", "b", "c", restart=Restart(max=0, then=then)).begin()
    made.end("a", 1)
    made.settle()
    made.fleet.members["b"].restart = USUAL
    made.end("b", 1)
    made.settle()
    made.told.clear()
    made.pass_time(5)
    assert made.told == [("b", "gone"), ("b", "go")], "it would wait for ever to be greeted by a"
    assert made.state("b") is State.OK


def test_crashes_that_are_far_apart_are_never_too_many():
    made = world("a", restart=Restart(max=2, window_s=20)).begin()
    for _ in range(10):
        made.end("a", 1)
        made.pass_time(15)
    assert made.state("a") is State.OK
    assert len(made.starts) == 11


def test_what_died_with_its_zygote_is_not_counted():
    made = world("a", restart=Restart(max=0)).begin()
    for _ in range(5):
        made.living.pop("a")
        made.fleet.exited("a", -9, made.now_s, innocent=True)
        made.pass_time(1)
    assert made.state("a") is State.OK
    assert made.fleet.members["a"].error is None


def test_a_person_may_start_again_what_was_given_up():
    made = world("a", "b", restart=Restart(max=0, then="go_on")).begin()
    made.end("a", 1)
    made.settle()
    assert made.state("a") is State.PERMANENT
    made.fleet.restart("a", made.now_s)
    made.settle()
    assert made.state("a") is State.OK


def test_a_process_that_could_not_be_forked_has_failed():
    made = world("a").begin()
    made.living.pop("a")
    made.fleet.unborn("a", "fork: Cannot allocate memory", made.now_s)
    made.settle()
    assert made.state("a") is State.RECOVERABLE
    assert made.fleet.members["a"].error == "fork: Cannot allocate memory"


def test_the_run_ends_when_all_sources_have_or_are_given_up():
    restart = Restart(max=1, window_s=600, then="go_on")
    made = world("a", "b", "c", sources=("a", "b"), restart=restart).begin()
    made.fleet.ended("a", made.now_s)
    made.end("b", 1)
    made.settle()
    assert made.fleet.phase is Phase.RUNNING
    made.pass_time(1)
    made.end("b", 1)
    made.settle()
    assert made.fleet.phase is Phase.OVER
    assert made.fleet.failed is None


def test_a_source_that_starts_again_has_not_ended():
    made = world("a", "b", sources=("a", "b")).begin()
    made.fleet.ended("a", made.now_s)
    made.end("a", 1)
    made.pass_time(1)
    made.fleet.ended("b", made.now_s)
    made.settle()
    assert made.fleet.phase is Phase.RUNNING
    made.fleet.ended("a", made.now_s)
    made.settle()
    assert made.fleet.phase is Phase.OVER


# --- signs of life ----------------------------------------------------------------------------------------------------


def test_silence_is_death_only_for_those_that_were_ready():
    member = Member("a", Restart(), start_s=30.0, liveness_s=5.0)
    member.begin(0.0)
    assert overdue(member, 29.0, barrier=False) is None
    assert overdue(member, 31.0, barrier=True) is None
    assert overdue(member, 31.0, barrier=False) == "has not joined within 30 s"
    member.joined = member.going = True
    member.since_s = 31.0
    assert overdue(member, 60.0, barrier=False) is None
    assert overdue(member, 62.0, barrier=False) == "was not ready within 30 s of go"
    member.ready, member.beat_s = True, 62.0
    assert overdue(member, 66.0, barrier=False) is None
    assert overdue(member, 67.5, barrier=False) == "no sign of life for 5 s"


def test_a_silent_process_is_killed_once_and_starts_again():
    made = world("a", "b").begin()
    made.broken.add("a")
    made.pass_time(5.5)
    assert made.kills == [("a", signal.SIGKILL)]
    made.broken.clear()
    made.pass_time(1)
    assert made.state("a") is State.OK
    assert made.fleet.members["a"].epoch == 2


def test_a_supervisor_that_slept_blames_nobody():
    made = world("a").begin()
    made.pass_time(2)
    made.now_s += 3600
    made.fleet.tick(made.now_s)
    made.settle()
    assert made.kills == []
    made.pass_time(2)
    assert made.state("a") is State.OK


# --- stop -------------------------------------------------------------------------------------------------------------


def test_hubs_stay_until_all_others_have_stopped():
    made = world(HUBS, "a", "b").begin()
    made.told.clear()
    made.fleet.stop(made.now_s)
    made.settle()
    orders = [order for order in made.told if order[1] != "gone"]
    assert orders == [("a", "stop"), ("b", "stop"), (HUBS, "exit"), ("a", "exit"), ("b", "exit")]
    assert made.fleet.phase is Phase.OVER
    assert made.fleet.failed is None


def test_deadlines_follow_each_other_when_a_process_does_not_end():
    made = world("a", "b").begin()
    made.broken.add("a")
    made.fleet.members["a"].liveness_s = 1e9
    made.fleet.stop(made.now_s)
    made.settle()
    assert made.fleet.phase is Phase.STOPPING
    made.pass_time(SETTINGS.stop_s)
    assert made.told[-1][1] in ("exit", "gone")
    assert made.kills == []
    made.pass_time(SETTINGS.exit_s + TICK_S)
    assert made.kills == [("a", signal.SIGTERM)]
    made.pass_time(SETTINGS.term_s + TICK_S)
    assert made.kills == [("a", signal.SIGTERM), ("a", signal.SIGKILL)]
    assert made.fleet.phase is Phase.OVER
    assert made.fleet.failed == "not stopped in time: 'a'"


def test_what_fails_while_it_is_stopped_makes_the_run_fail_and_is_not_started_again():
    made = world("a", "b", broken=()).begin()
    made.broken.add("a")
    made.fleet.stop(made.now_s)
    made.settle()
    made.fleet.said_failed("a", "OSError: disk", None)
    made.end("a", 1)
    made.settle()
    assert made.fleet.phase is Phase.OVER
    assert made.fleet.failed == "process 'a' failed while it was stopped: OSError: disk"
    assert len(made.starts) == 2


def test_a_stop_during_the_start_puts_nothing_away_and_waits_for_nobody():
    made = world("a", "b", broken=("b",)).begin()
    made.fleet.stop(made.now_s)
    made.settle()
    assert ("a", "stop") not in made.told
    made.pass_time(SETTINGS.term_s + TICK_S)
    assert made.fleet.phase is Phase.OVER


def test_in_a_hurry_there_is_only_sigterm_and_sigkill():
    made = world("a", "b").begin()
    made.broken.add("a")
    made.fleet.stop(made.now_s)
    made.settle()
    made.fleet.stop(made.now_s, hurry=True)
    made.settle()
    assert ("a", signal.SIGTERM) in made.kills
    made.fleet.stop(made.now_s, hurry=True)
    made.settle()
    assert made.kills[-1] == ("a", signal.SIGKILL)
    assert made.fleet.phase is Phase.OVER
    assert made.fleet.failed is None


def test_a_process_that_waits_for_its_next_start_is_not_waited_for():
    made = world("a", "b").begin()
    made.end("a", 1)
    made.settle()
    made.fleet.stop(made.now_s)
    made.settle()
    made.pass_time(60)
    assert made.fleet.phase is Phase.OVER
    assert len(made.starts) == 2


# --- whatever happens -------------------------------------------------------------------------------------------------

EVENTS = st.sampled_from(
    (
        "crash",
        "quit",
        "freeze",
        "thaw",
        "time",
        "long",
        "ended",
        "failed",
        "zygote",
        "restart",
        "stop",
        "hurry",
        "sleep",
    )
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(EVENTS, st.sampled_from(("hubs", "a", "b", "c"))), max_size=40),
    st.sampled_from(("halt", "stop", "go_on")),
    st.sampled_from(("never", "on_failure", "always")),
)
def test_a_run_comes_to_its_end_whatever_happens(events, then, policy):
    restart = Restart(policy, max=2, window_s=30, then=then)
    made = world(HUBS, "a", "b", "c", sources=("a",), restart=restart).begin()
    for event, name in events:
        match event:
            case "crash":
                made.end(name, -11)
            case "quit":
                made.end(name, 0)
            case "freeze":
                made.broken.add(name)
            case "thaw":
                made.broken.discard(name)
            case "time":
                made.pass_time(1)
            case "long":
                made.pass_time(20)
            case "ended" if name in made.living and name in ("a",):
                made.fleet.ended(name, made.now_s)
            case "failed" if name in made.living:
                made.fleet.said_failed(name, "ValueError: x", None)
            case "zygote":
                dead, made.living = made.living, {}
                for each in dead:
                    made.fleet.exited(each, -9, made.now_s, innocent=True)
            case "restart" if made.fleet.phase is Phase.RUNNING:
                made.fleet.restart(name, made.now_s)
            case "stop" | "hurry":
                made.fleet.stop(made.now_s, hurry=event == "hurry")
            case "sleep":
                made.now_s += 500
        made.settle()
        # Epochs only go up, there is one process of a name at a time, and none lives that counts as ended.
        for each, member in made.fleet.members.items():
            mine = [epoch for started, epoch in made.starts if started == each]
            assert mine == sorted(set(mine))
            assert member.alive == (each in made.living), (each, member.state)
    made.fleet.stop(made.now_s)
    made.settle()
    made.pass_time(30)
    assert made.fleet.phase is Phase.OVER
    assert made.living == {}


def test_nobody_waits_for_a_process_that_was_about_to_come_back_when_the_run_is_stopped():
    made = world("a", "b", sources=("a",)).begin()
    made.end("b", -9)
    made.settle()
    made.told.clear()
    made.fleet.stop(made.now_s)
    made.settle()
    assert next(command for name, command in made.told if name == "a") == "gone"
    made.pass_time(1)
    assert made.fleet.phase is Phase.OVER


def test_a_sleep_just_before_the_stop_does_not_make_the_stop_wait_for_it():
    made = world(HUBS, "a", sources=("a",)).begin()
    made.broken.add(HUBS)
    made.now_s += 500
    made.fleet.stop(made.now_s)
    made.settle()
    made.pass_time(30)
    assert made.fleet.phase is Phase.OVER
