"""A real supervisor over processes that each behave badly in one way."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from support.zoo_keeper import Keeper, Zoo, living, until

from engine.process.control import Client, ControlError
from engine.process.places import CONTROL, find_sockets, is_locked, sockets_of

ONCE = {"epochs": 1}


@pytest.fixture(scope="module")
def keeper():
    with Keeper() as keeper:
        yield keeper


@pytest.fixture
def zoo(keeper, tmp_path):
    return lambda processes, **cage: Zoo(keeper, tmp_path / "run", processes, **cage)


# --- an orderly life --------------------------------------------------------------------------------------------------


def test_a_run_ends_in_order_when_its_sources_have(zoo):
    with zoo({"a": ["calm", {}], "b": ["source", {}], "c": ["source", {"after_s": 0.3}]}) as run:
        assert run.end() == (0, "")
        assert [command["do"] for command in run.heard("a")] == ["go", "stop", "exit"]
        assert not is_locked(run.folder)
        assert not sockets_of(run.folder).exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_a_run_in_order(zoo, number, code):
    with zoo({"a": ["calm", {}], "b": ["calm", {}]}) as run:
        run.wait_running()
        run.signal(number)
        assert run.end() == (code, "")
        assert [command["do"] for command in run.heard("b")] == ["go", "stop", "exit"]


def test_a_client_ends_a_run_and_sees_its_end(zoo):
    with zoo({"a": ["calm", {}]}) as run:
        run.wait_running()
        with Client.of(run.folder) as client:
            client.ask("stop")
            assert client.wait_for_end(5)
        assert run.end()[0] == 0


def test_hubs_come_first_and_go_last(zoo):
    with zoo({"a": ["source", {"after_s": 0.1}]}, hubs=["calm", {}]) as run:
        assert run.end()[0] == 0
        assert [command["do"] for command in run.heard("hubs")] == ["go", "exit"]


def test_the_pace_is_that_of_the_first_row_and_the_same_for_all(zoo):
    with zoo({"a": ["calm", {"first_ns": 2_000}], "b": ["calm", {"first_ns": 1_000}]}, speed=60.0) as run:
        run.wait_running()
        paces = [run.heard(name)[0]["pace"] for name in ("a", "b")]
        assert paces[0] == paces[1]
        assert (paces[0]["data_ns"], paces[0]["speed"]) == (1_000, 60.0)


def test_a_process_can_be_asked_to_start_anew(zoo):
    with zoo({"a": ["calm", {}], "b": ["calm", {}]}, restart={"max": 0}) as run:
        before = run.wait_running()["processes"]["a"]["pid"]
        run.ask("restart", process="a")
        row = run.wait(lambda status: status["processes"]["a"]["epoch"] == 2 and status["processes"]["a"]["ready"])
        assert row["processes"]["a"]["pid"] != before
        assert row["processes"]["a"]["error"] is None
        assert {"do": "gone", "process": "a", "final": False, "epoch": 1} in run.heard("b")
        with pytest.raises(ControlError, match="no process 'z'; there are a, b"):
            run.ask("restart", process="z")


def test_epochs_go_on_in_the_next_run_of_the_same_folder(zoo):
    cage = {"a": ["source", {}]}
    for epoch in (1, 2):
        with zoo(cage) as run:
            assert run.end()[0] == 0
            assert run.heard("a")[-1]["epoch"] == epoch


# --- crashes and restarts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "arguments", "error"),
    [
        ("crash", {}, "RuntimeError: out of its cage"),
        ("exits", {"code": 7}, "exit code 7, and nobody had asked it to end"),
        ("exits", {"code": 0}, "exit code 0, and nobody had asked it to end"),
        ("dies", {"signal": signal.SIGKILL}, "killed by SIGKILL, and nobody had asked it to end"),
        ("dies", {"signal": signal.SIGSEGV}, "Fatal Python error: Segmentation fault"),
        ("fails", {}, "ValueError: told before the end"),
    ],
)
def test_a_process_that_ends_is_started_again_and_others_are_told(zoo, kind, arguments, error):
    with zoo({"bad": [kind, {**arguments, **ONCE}], "good": ["calm", {}]}) as run:
        run.wait(lambda status: status["processes"]["bad"]["epoch"] == 2 and status["processes"]["bad"]["ready"])
        run.wait(lambda status: {"do": "gone", "process": "bad", "final": False, "epoch": 1} in run.heard("good"))
        assert run.status()["processes"]["good"]["epoch"] == 1
        assert any(error in message for message in run.messages())


def test_a_crash_loop_ends_halted(zoo):
    restart = {"max": 2, "window_s": 60.0}
    with zoo({"bad": ["crash", {}], "good": ["calm", {}]}, restart=restart) as run:
        row = run.wait_state("bad", "fatal")
        assert (row["restarts"], row["epoch"]) == (2, 3)
        assert "out of its cage" in row["error"]
        status = run.status()
        assert "process 'bad' was given up" in status["run"]["halted"]
        assert status["processes"]["good"]["state"] == "ok"
        run.wait(lambda status: "halt" in [command["do"] for command in run.heard("good")])
        assert {"do": "gone", "process": "bad", "final": True, "epoch": 1} in run.heard("good")
        run.ask("stop")
        code, out = run.end()
        assert code == 1
        assert "process 'bad' was given up" in out
        assert len(list((run.folder / "crashes").iterdir())) == 3


def test_a_crash_loop_may_end_the_run(zoo):
    restart = {"max": 1, "window_s": 60.0, "then": "stop"}
    with zoo({"bad": ["crash", {}], "good": ["calm", {}]}, restart=restart) as run:
        code, out = run.end()
        assert code == 1
        assert "'bad' was given up" in out
        assert [command["do"] for command in run.heard("good")][-2:] == ["stop", "exit"]


def test_a_run_may_go_on_without_a_process(zoo):
    restart = {"policy": "never", "then": "go_on"}
    with zoo({"bad": ["crash", {}], "good": ["source", {"after_s": 1.0}]}, restart=restart) as run:
        run.wait_state("bad", "permanent")
        assert run.status()["run"]["halted"] is None
        assert run.end()[0] == 0


def test_a_process_that_cannot_start_ends_the_run_with_its_reason(zoo):
    cage = {"bad": ["crash_at_start", {"message": "no such table"}], "good": ["calm", {}]}
    with zoo(cage, restart={"max": 1}) as run:
        code, out = run.end()
        assert code == 1
        assert "'bad' was given up" in out
        assert "go" not in [command["do"] for command in run.heard("good")]
        assert any("no such table" in line.get("error", "") for line in run.log("bad"))


def test_who_does_not_join_in_time_is_named(zoo):
    with zoo({"mute": ["silent", {}], "good": ["calm", {}]}, settings={"start_s": 0.7}) as run:
        code, out = run.end()
        assert code == 1
        assert "missing: 'mute'" in out


# --- those that do not answer -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["freezes", "spins"])
def test_a_process_that_gives_no_sign_of_life_is_killed_and_started_again(zoo, kind):
    with zoo({"bad": [kind, ONCE], "good": ["calm", {}]}) as run:
        run.wait(lambda status: status["processes"]["bad"]["epoch"] == 2 and status["processes"]["bad"]["ready"])
        assert any("no sign of life for 1 s" in message for message in run.messages())
        if kind == "spins":
            assert any("zoo.py" in text and "in spins" in text for text in run.messages("bad"))


@pytest.mark.parametrize("kind", ["ignores_exit", "never_stops"])
def test_a_process_that_does_not_end_is_ended(zoo, kind):
    with zoo({"bad": [kind, {}], "good": ["calm", {}]}, settings={"stop_s": 0.5}) as run:
        run.wait_running()
        run.ask("stop")
        code, out = run.end()
        assert code == 1
        assert "bad" in out


def test_a_second_signal_does_not_wait_for_those_that_are_slow(zoo):
    with zoo({"bad": ["never_stops", {}]}, settings={"stop_s": 60.0}) as run:
        run.wait_running()
        run.signal(signal.SIGINT)
        run.wait_state("bad", "stopping")
        run.signal(signal.SIGINT)
        assert run.end(3.0)[0] == 130


def test_a_supervisor_that_was_stopped_does_not_blame_its_processes(zoo):
    with zoo({"a": ["calm", {}]}) as run:
        run.wait_running()
        run.signal(signal.SIGSTOP)
        assert not until(lambda: False, 1.5)
        run.signal(signal.SIGCONT)
        run.wait(lambda status: any("did not run for" in message for message in run.messages()))
        assert not until(lambda: run.status()["processes"]["a"]["epoch"] != 1, 0.5)


# --- those that take too much -----------------------------------------------------------------------------------------


def test_printing_without_end_hurts_nobody(zoo):
    log = {"size_bytes": 100_000, "keep": 2}
    with zoo({"bad": ["prints", {}], "good": ["calm", {}]}, settings={"log": log}) as run:
        run.wait(lambda status: (run.folder / "logs" / "bad.jsonl.2").exists())
        status = run.status()
        assert all(each["epoch"] == 1 and each["state"] == "ok" for each in status["processes"].values())
        files = list((run.folder / "logs").glob("bad.jsonl*"))
        assert sum(file.stat().st_size for file in files) <= 3 * 100_000
        assert any("prints too much" in message for message in run.messages("bad")) or len(files) == 3


def test_logging_without_end_is_limited_and_says_so(zoo):
    with zoo({"bad": ["logs", {}]}, settings={"log_lines_per_s": 50.0}) as run:
        run.wait(lambda status: any("logs too much" in message for message in run.messages("bad")))
        assert len(run.log("bad")) < 1000


def test_a_process_that_floods_its_supervisor_is_cut_off(zoo):
    with zoo({"bad": ["babbles", ONCE], "good": ["calm", {}]}) as run:
        run.wait(lambda status: status["processes"]["bad"]["epoch"] == 2)
        assert any("lines a second" in message for message in run.messages())
        assert run.status()["processes"]["good"]["epoch"] == 1


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        '{"event": "promoted"}',
        '{"event": "beat", "stats": 3}',
        '{"event": "joined", "first_ns": "soon"}',
        '{"do": "exit"}',
        '{"hello": "client"}',
        "x" * 100 + "\x00",
    ],
)
def test_a_process_that_talks_nonsense_is_cut_off_and_started_again(zoo, line):
    with zoo({"bad": ["forges", {"line": line, **ONCE}]}) as run:
        status = run.wait(lambda status: status["processes"]["bad"]["epoch"] == 2)
        assert status["run"]["refused"]["malformed"] == 1


def test_memory_beyond_the_limit_ends_a_process_not_the_machine(zoo):
    limit = {"memory_bytes": 64 << 20}
    with zoo({"bad": ["eats", {**limit, **ONCE}], "good": ["calm", limit]}) as run:
        run.wait(lambda status: status["processes"]["bad"]["epoch"] == 2)
        assert any("MemoryError" in line.get("error", "") for line in run.log("bad")) or any(
            "MiB of memory" in message for message in run.messages()
        )
        assert run.status()["processes"]["good"]["epoch"] == 1


def test_a_full_disk_stops_recordings_then_halts(zoo):
    plenty = 1 << 60
    with zoo({"a": ["calm", {}]}, settings={"free_disk_bytes": plenty}) as run:
        status = run.wait(lambda status: status["run"]["halted"])
        assert "are free on the disk" in status["run"]["halted"]
        assert status["run"]["recording"] is False
        run.wait(lambda status: {"record", "go"} <= {command["do"] for command in run.heard("a")})


def test_a_file_that_cannot_be_written_fails_its_process_only(zoo):
    with zoo({"bad": ["writes", ONCE], "good": ["calm", {}]}) as run:
        run.wait(lambda status: status["processes"]["bad"]["epoch"] == 2)
        assert run.status()["processes"]["good"]["epoch"] == 1
        assert any("File too large" in line.get("error", "") for line in run.log("bad"))


def test_open_files_are_limited(zoo):
    with zoo({"a": ["calm", {"files": 77}]}) as run:
        pid = run.wait_running()["processes"]["a"]["pid"]
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert "Max open files            77" in limits
        assert "Max core file size        0" in limits


# --- the kill switch --------------------------------------------------------------------------------------------------


def test_a_halt_is_confirmed_latched_and_told_again_after_a_crash_and_in_the_next_run(zoo):
    with zoo({"a": ["calm", {}], "b": ["calm", {}]}) as run:
        run.wait_running()
        assert run.ask("halt", reason="the feed is wrong") == {"ok": True, "confirmed": ["a", "b"], "silent": []}
        assert json.loads((run.folder / "state.json").read_text())["halted"]["reason"] == "the feed is wrong"
        run.ask("halt", reason="another")
        os.kill(run.status()["processes"]["a"]["pid"], signal.SIGKILL)
        run.wait(lambda status: status["processes"]["a"]["epoch"] == 2 and status["processes"]["a"]["ready"])
        assert run.heard("a")[-1]["halted"] == "the feed is wrong"
        run.signal(signal.SIGKILL)
        run.end()
        assert not run.survivors(2.0)
    with zoo({"a": ["calm", {}], "b": ["calm", {}]}) as run:
        run.wait_running()
        assert run.heard("b")[-1]["halted"] == "the feed is wrong"
        assert run.ask("rearm")["confirmed"] == ["a", "b"]
        assert run.status()["run"]["halted"] is None
        assert json.loads((run.folder / "state.json").read_text())["halted"] is None


def test_a_halt_does_not_wait_for_those_that_are_frozen(zoo):
    with zoo({"bad": ["freezes", {}], "good": ["calm", {}]}, settings={"liveness_s": 30.0}) as run:
        run.wait_state("bad", "ok")
        assert run.ask("halt", reason="now") == {"ok": True, "confirmed": ["good"], "silent": ["bad"]}


def test_a_broken_wire_halts_the_run(zoo):
    with zoo({"a": ["breaks", {}]}) as run:
        run.wait(lambda status: status["run"]["halted"] and "wire a.x -> b.y is broken" in status["run"]["halted"])


# --- who may speak ----------------------------------------------------------------------------------------------------


def test_only_a_process_that_was_started_may_say_that_it_is_one(zoo):
    with zoo({"a": ["calm", {}]}) as run:
        pid = run.wait_running()["processes"]["a"]["pid"]
        for said in (pid, os.getpid()):
            with socket.socket(socket.AF_UNIX) as forged:
                forged.connect(str(find_sockets(run.folder) / CONTROL))
                forged.sendall(json.dumps({"hello": "process", "name": "a", "epoch": 1, "pid": said}).encode() + b"\n")
                assert b"no process 'a' was started" in forged.recv(4096)
                assert forged.recv(4096) == b""
        assert run.status()["run"]["refused"] == {"refused": 2}
        assert run.status()["processes"]["a"]["state"] == "ok"


@pytest.mark.parametrize("line", [b"\n", b"nonsense\n", b'{"hello": "boss"}\n', b"\xff\xfe\n", b"[" * 60_000 + b"\n"])
def test_a_line_that_is_none_is_answered_and_the_connection_closed(zoo, line):
    with zoo({"a": ["calm", {}]}) as run:
        run.wait_running()
        with socket.socket(socket.AF_UNIX) as forged:
            forged.connect(str(find_sockets(run.folder) / CONTROL))
            forged.sendall(line)
            assert b'"ok":false' in forged.recv(4096)
            assert forged.recv(4096) == b""
        assert run.status()["run"]["refused"]["malformed"] == 1


def test_a_client_is_told_what_is_wrong_with_its_question(zoo):
    with zoo({"a": ["calm", {}]}) as run:
        run.wait_running()
        with Client.of(run.folder) as client:
            for question, fields, error in [
                ("dance", {}, "no question 'dance'"),
                ("halt", {}, "'reason' is missing"),
                ("tap", {"ports": ["a.x"], "to": "tcp://192.0.2.1:99"}, "own folder of sockets"),
                ("tap", {"ports": [], "to": "x"}, "list of NODE.PORT"),
            ]:
                with pytest.raises(ControlError, match=error):
                    client.ask(question, **fields)
            assert client.ask("status")["status"]["run"]["halted"] is None


def test_a_second_supervisor_is_refused_and_names_the_first(zoo):
    with zoo({"a": ["calm", {}]}) as run:
        run.wait_running()
        second = zoo({"a": ["calm", {}]})
        second.__enter__()
        code, out = second.end()
        assert code == 2
        assert f"is already run by process {run.pid}" in out
        assert run.status()["processes"]["a"]["state"] == "ok"


# --- what is written about it -----------------------------------------------------------------------------------------


def test_logs_are_json_with_secrets_hidden(zoo):
    key = "0x" + "5e" * 32
    with zoo({"a": ["tells", {"text": f"key {key}"}]}) as run:
        run.wait(lambda status: len(run.log("a")) >= 2)
        logged, printed = sorted(run.log("a"), key=lambda line: "output" in line)
        hidden = "key " + "*" * len(key)
        assert logged["message"] == logged["fields"]["code"] == printed["message"] == hidden
        assert (logged["node"], logged["level"], logged["process"], printed["output"]) == ("n", "warning", "a", True)
        assert set(logged) == {"time", "level", "process", "node", "message", "fields"}
        for path in run.folder.rglob("*"):
            assert not path.is_file() or key.encode() not in path.read_bytes() or path.name.endswith(".heard")


@pytest.mark.parametrize("kind", ["fails", "crash"])
def test_the_reason_of_a_failure_tells_no_secret(zoo, kind):
    key = "0x" + "5e" * 32
    said = {"error": f"RuntimeError: no answer to {key}", "message": f"no answer to {key}"}
    with zoo({"a": [kind, said], "b": ["calm", {}]}, restart={"max": 0, "then": "go_on"}) as run:
        row = run.wait_state("a", "permanent")
        assert row["error"] == "RuntimeError: no answer to " + "*" * len(key)


# --- nothing is left --------------------------------------------------------------------------------------------------


def test_helpers_of_a_process_go_with_it(zoo):
    with zoo({"bad": ["breeds", {"then": "die", **ONCE}], "good": ["calm", {}]}) as run:
        run.wait(lambda status: status["processes"]["bad"]["epoch"] == 2 and status["processes"]["bad"]["ready"])
        pids = run.status()["run"]["zygotes"] + [each["pid"] for each in run.status()["processes"].values()]
        assert until(lambda: set(living(run.folder)) == {run.pid, *pids}, 3.0)


@pytest.mark.parametrize("whom", ["supervisor", "active zygote", "spare zygote", "worker"])
@pytest.mark.parametrize("first", [None, signal.SIGSTOP])
def test_nothing_outlives_what_it_belongs_to(zoo, whom, first):
    cage = {"calm": ["calm", {}], "breeds": ["breeds", {}], "stops": ["freezes", {}], "spins": ["spins", {}]}
    with zoo(cage, settings={"liveness_s": 60.0}) as run:
        status = run.wait(lambda status: (run.folder / "bred").exists() and len(status["run"]["zygotes"]) == 2)
        pid = {
            "supervisor": run.pid,
            "active zygote": status["run"]["zygotes"][0],
            "spare zygote": status["run"]["zygotes"][1],
            "worker": status["processes"]["calm"]["pid"],
        }[whom]
        before = living(run.folder)
        if first:
            for each in before:
                os.kill(each, first)
        os.kill(pid, signal.SIGKILL)
        if whom == "supervisor":
            run.end()
            assert not run.survivors(3.0)
            assert until(lambda: not is_locked(run.folder), 1.0)
            return
        os.kill(run.pid, signal.SIGCONT)
        kept = {run.pid, *status["run"]["zygotes"]} - {pid}
        if whom == "active zygote":
            assert until(lambda: before.keys() & living(run.folder).keys() == kept, 5.0)
        lost = 0 if whom == "worker" else 1
        run.wait(lambda status: status["run"]["zygotes_lost"] == lost and len(status["run"]["zygotes"]) == 2, 5.0)
        assert pid not in living(run.folder)


@pytest.mark.parametrize("place", [0, 1])
def test_the_run_goes_on_when_a_zygote_dies(zoo, place):
    # With the active one its processes die, through no fault of theirs; with the spare nothing does.
    with zoo({"a": ["calm", {}], "b": ["calm", {}]}, restart={"max": 0}) as run:
        before = run.wait_running()["run"]["zygotes"]
        epoch = 1
        for lost, which in enumerate((place, 0), start=1):
            os.kill(run.status()["run"]["zygotes"][which], signal.SIGKILL)
            epoch += which == 0
            status = run.wait(
                lambda status, lost=lost, epoch=epoch: (
                    status["run"]["zygotes_lost"] == lost
                    and len(status["run"]["zygotes"]) == 2
                    and all((each["epoch"], each["ready"]) == (epoch, True) for each in status["processes"].values())
                )
            )
        assert before[place] not in status["run"]["zygotes"]
        run.ask("stop")
        assert run.end()[0] == 0


def test_a_zygote_that_is_stopped_is_woken(zoo):
    with zoo({"a": ["calm", {}]}) as run:
        active = run.wait_running()["run"]["zygotes"][0]
        os.kill(active, signal.SIGSTOP)
        os.kill(run.status()["processes"]["a"]["pid"], signal.SIGKILL)
        run.wait(lambda status: status["processes"]["a"]["epoch"] == 2 and status["processes"]["a"]["ready"])
        assert run.status()["run"]["zygotes"][0] == active


def test_what_a_dead_run_has_left_is_cleaned_up(zoo):
    with zoo({"a": ["calm", {}]}) as run:
        run.wait_running()
        sockets = find_sockets(run.folder)
        (sockets / "a.sock").touch()
        run.signal(signal.SIGKILL)
        run.end()
        assert not run.survivors(2.0)
        assert sockets.exists()
    with zoo({"a": ["source", {}]}) as run:
        assert run.end()[0] == 0
        assert not sockets.exists()


def test_the_engine_starts_no_thread_before_it_forks():
    code = "import os, engine.process.supervisor, nodes; print(len(os.listdir('/proc/self/task')))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "1"
