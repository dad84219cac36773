"""The commands that act on a run, against a supervisor that answers as it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import zmq
from click.shell_completion import BashComplete
from click.testing import CliRunner, Result
from support.fake_supervisor import FakeSupervisor, process, status

import engine.cli
from engine.errors import ExitCode

RUN = Path("runs/station")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    with TemporaryDirectory(prefix="run-") as private:  # short, for a socket's path has room for 107 bytes
        monkeypatch.setenv("XDG_RUNTIME_DIR", private)
        yield tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(engine.cli.main, list(arguments))


def done(*arguments: str) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


# --- which run ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["down"], ["top", "--once"], ["kill"], ["rearm"], ["restart", "x"], ["tap", "a.b"]])
def test_without_a_run_a_command_says_how_to_start_one(words):
    result = run(*words)
    assert result.exit_code == ExitCode.USAGE
    assert "no run is alive in" in result.stderr
    assert "`pipeline up FILE`" in result.stderr


def test_a_run_is_found_by_name_by_folder_and_alone():
    with FakeSupervisor(RUN, stop={}) as fake:
        for words in (["station"], ["runs/station"], [str(RUN.resolve())], []):
            done("top", *words, "--once", "--json")
        assert {message["ask"] for message in fake.asked_for} == {"status"}


def test_of_several_runs_one_has_to_be_named():
    with FakeSupervisor(RUN), FakeSupervisor(Path("runs/other")):
        result = run("down")
        assert result.exit_code == ExitCode.USAGE
        assert "2 runs are alive here: other, station; name one of them" in result.stderr


def test_a_run_of_another_checkout_is_never_meant(here, monkeypatch):
    (here / "elsewhere").mkdir()
    with FakeSupervisor(here / RUN, stop={}) as fake:
        monkeypatch.chdir(here / "elsewhere")
        assert run("down").exit_code == ExitCode.USAGE
        assert run("down", "station").exit_code == ExitCode.USAGE
        assert json.loads(done("ps", "--json")) == []
        assert [shown["folder"] for shown in json.loads(done("ps", "--all", "--json"))] == [str(here / RUN)]
        assert "stop" not in {message["ask"] for message in fake.asked_for}


def test_a_wrong_name_says_what_may_have_been_meant():
    with FakeSupervisor(RUN):
        result = run("down", "statoin")
    assert result.exit_code == ExitCode.USAGE
    assert "did you mean 'station'?" in result.stderr


def test_a_run_that_has_ended_is_no_traceback():
    with FakeSupervisor(RUN):
        pass
    result = run("down", "station")
    assert result.exit_code == ExitCode.USAGE
    assert "nothing runs in runs/station" in result.stderr


def test_a_supervisor_that_hangs_up_in_the_middle_is_no_traceback():
    with FakeSupervisor(RUN) as fake:

        def vanish(message: dict) -> dict:
            fake._over.set()
            raise ConnectionResetError

        fake.answers["status"] = vanish
        result = run("restart", "house")
    assert result.exit_code == ExitCode.FAILED
    assert result.stderr.startswith("error: the supervisor ended before it answered 'status'")


@pytest.mark.parametrize("words", [["up", "station.yaml"], ["tap", "a.b"]])
def test_a_missing_package_is_named(words, monkeypatch):
    Path("station.yaml").touch()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = run(*words)
    assert result.exit_code == ExitCode.USAGE
    assert "zmq" in result.stderr
    assert "pip install" in result.stderr


# --- down, restart, kill, rearm -----------------------------------------------------------------------------------


def test_down_waits_for_the_end():
    with FakeSupervisor(RUN) as fake:

        def stop(message: dict) -> dict:
            threading.Timer(0.1, fake.end).start()
            return {}

        fake.answers["stop"] = stop
        assert done("down").startswith("runs/station has stopped after 0.")


def test_down_gives_up_waiting_and_says_so():
    with FakeSupervisor(RUN, stop={}):
        result = run("down", "--timeout", "0.1")
        assert result.exit_code == ExitCode.FAILED
        assert "still stopping" in result.stdout
        assert json.loads(run("down", "--timeout", "0.1", "--json").stdout)["ended"] is False


def test_restart_asks_for_each_process_and_knows_their_names():
    with FakeSupervisor(RUN, restart={}) as fake:
        assert done("restart", "house", "field") == "house: restarting\nfield: restarting\n"
        assert [message["process"] for message in fake.asked_for if message["ask"] == "restart"] == ["house", "field"]
        result = run("restart", "huose")
        assert result.exit_code == ExitCode.USAGE
        assert "did you mean 'house'?" in result.stderr
        assert len([message for message in fake.asked_for if message["ask"] == "restart"]) == 2


@pytest.mark.parametrize(("command", "question"), [("kill", "halt"), ("rearm", "rearm")])
def test_the_kill_switch_says_who_has_confirmed_and_who_has_not(command, question):
    with FakeSupervisor(RUN, **{question: {"confirmed": ["field", "house"], "silent": []}}) as fake:
        assert done(command).endswith("ed: field, house\n")
        assert fake.asked_for[-1]["ask"] == question
        fake.answers[question] = {"confirmed": ["house"], "silent": ["field"]}
        result = run(command)
        assert result.exit_code == ExitCode.FAILED
        assert result.stderr == "no answer from field; it is told as soon as it listens\n"
        assert json.loads(run(command, "--json").stdout)["silent"] == ["field"]


def test_kill_passes_the_reason_on():
    with FakeSupervisor(RUN, halt={"confirmed": [], "silent": []}) as fake:
        done("kill", "the feed is wrong")
        assert fake.asked_for[-1]["reason"] == "the feed is wrong"
        done("kill")
        assert fake.asked_for[-1]["reason"].startswith("asked for by ")


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["down", ""], ["station"]),
        (["restart", "f"], ["field"]),
        (["tap", "s"], ["sensor.reading", "siren.alarm"]),
    ],
)
def test_names_complete_from_the_running_run(words, names):
    with FakeSupervisor(RUN):
        complete = BashComplete(engine.cli.main, {}, "pipeline", "_PIPELINE_COMPLETE")
        *before, incomplete = words
        found = [item.value for item in complete.get_completions(before, incomplete)]
    assert found == names
    if "down" not in words:
        assert [item.value for item in complete.get_completions(before, incomplete)] == [], "nothing runs any more"


# --- ps and top ---------------------------------------------------------------------------------------------------


def test_ps_shows_each_process_and_why_it_is_not_well():
    broken = process("recoverable", pid=None, restarts=2, error="exit code 1")
    shown = status(processes={"field": process(nodes=["sensor"]), "house": broken})
    with FakeSupervisor(RUN, status={"status": shown}):
        lines = done("ps").splitlines()
    assert lines[0] == "runs/station: running"
    assert lines[1].split()[:4] == ["process", "state", "pid", "restarts"]
    assert lines[2].split()[:4] == ["house", "recoverable", "-", "2"], "those in trouble come first"
    assert lines[2].endswith("exit code 1")
    assert lines[3].split()[:3] == ["field", "ok", "4242"]


def test_ps_all_shows_ended_runs_too():
    RUN.mkdir(parents=True)
    (RUN / "run.json").write_text("{}")
    assert done("ps") == "no run is alive here\n"
    assert done("ps", "--all") == "runs/station: ended\n"


def test_top_shows_rates_between_two_looks():
    looks = iter([100, 150, 200])

    def look(message: dict) -> dict:
        shown = status()
        shown["nodes"]["sensor"]["sent"] = next(looks)
        return {"status": shown}

    with FakeSupervisor(RUN, status=look):
        text = done("top", "--once")
    sensor = next(line for line in text.splitlines() if line.startswith("sensor "))
    assert 30 < float(sensor.split()[3]) <= 51
    assert "2/2 processes ok" in text.splitlines()[0]
    assert any(line.startswith("sensor.reading -> siren.reading") and "3.1 ms" in line for line in text.splitlines())
    assert "\x1b" not in text


def test_top_as_json_has_the_status_and_the_rates():
    with FakeSupervisor(RUN):
        shown = json.loads(done("top", "--once", "--json"))
    assert shown["nodes"]["sensor"]["sent_per_s"] == 0.0
    assert shown["wires"]["sensor.reading -> siren.reading"]["latency_s"]["p99"] == 0.0031


# --- tap ----------------------------------------------------------------------------------------------------------


def sends(*frames: dict):
    """Answer a tap by sending frames to it."""

    def answer(message: dict) -> dict:
        def push() -> None:
            with zmq.Context() as context, context.socket(zmq.PUSH) as socket:
                socket.connect(message["to"])
                for frame in frames:
                    socket.send_json(frame)
                socket.setsockopt(zmq.LINGER, 2_000)

        threading.Thread(target=push).start()
        return {"id": "t1"}

    return answer


FRAME = {
    "port": "sensor.reading",
    "type": "Reading",
    "id": "sensor.reading#5",
    "cause": "sensor.#2",
    "time_ns": 1_500_000_000,
    "message": {"celsius": 21.5, "note": "a\x1bb"},
}


def test_tap_once_shows_one_message():
    with FakeSupervisor(RUN, tap=sends(FRAME, FRAME)) as fake:
        assert json.loads(done("tap", "sensor.reading", "--once", "--json")) == FRAME
        shown = done("tap", "sensor.reading", "--once")
        asked = [message for message in fake.asked_for if message["ask"] == "tap"]
        assert not list(fake.sockets.glob("tap-*")), "its socket is gone"
        assert fake.left_behind.wait(2), "it hangs up, by which the supervisor ends the tap"
    assert shown == '00:00:01.500  sensor.reading#5 <- sensor.#2  celsius=21.5 note="a\\u001bb"\n'
    assert asked[0]["ports"] == ["sensor.reading"]
    assert asked[0]["per_s"] == 20.0


def test_tap_takes_patterns_and_says_when_one_matches_nothing():
    with FakeSupervisor(RUN, tap=sends(FRAME)) as fake:
        done("tap", "s*", "--once", "--per-s", "0")
        asked = next(message for message in fake.asked_for if message["ask"] == "tap")
        assert asked["ports"] == ["sensor.reading", "siren.alarm"]
        assert asked["per_s"] is None
        done("tap", "diary.alarm", "--once")
        assert fake.asked_for[-1]["ports"] == ["siren.alarm"], "an input stands for what is wired to it"
        assert "no output of this run matches 'x*'" in run("tap", "x*").stderr
        assert "did you mean 'siren.alarm'?" in run("tap", "siren.alarn").stderr


def test_tap_ends_with_the_run_or_when_nothing_comes():
    with FakeSupervisor(RUN, tap={"id": "t1"}) as fake:
        result = run("tap", "sensor.reading", "--timeout", "0.1")
        assert result.exit_code == ExitCode.FAILED
        assert result.stderr == "nothing has come for 0.1 s\n"

        def tap(message: dict) -> dict:
            threading.Timer(0.1, fake.end).start()
            return {"id": "t2"}

        fake.answers["tap"] = tap
        assert "the run has ended" in run("tap", "sensor.reading").stderr
