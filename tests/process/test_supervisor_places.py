"""Where a run lives, who holds it, and what is remembered of it."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

import pytest

from engine.errors import UsageError
from engine.process import places
from engine.process.places import (
    NotRunning,
    claim,
    find_sockets,
    is_locked,
    live_runs,
    make_private,
    socket_path,
    sockets_base,
    sockets_of,
)
from engine.process.state import EpochsUsedUp, Halted, StateDamaged, StateFile


@pytest.fixture(autouse=True)
def runtime(tmp_path, monkeypatch):
    folder = tmp_path / "runtime"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    return folder


def test_the_sockets_are_in_the_runtime_folder_when_that_is_ours_and_private(runtime, monkeypatch):
    assert sockets_base() == runtime / "pipeline"
    assert (runtime / "pipeline").stat().st_mode & 0o777 == 0o700
    for unfit in ("", "relative", str(runtime / "missing")):
        monkeypatch.setenv("XDG_RUNTIME_DIR", unfit)
        assert sockets_base(create=False) == Path(f"/tmp/pipeline-{os.getuid()}")
    runtime.chmod(0o755)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    assert sockets_base(create=False) == Path(f"/tmp/pipeline-{os.getuid()}")


def test_a_folder_of_somebody_else_or_open_to_others_or_a_link_is_refused(tmp_path, monkeypatch):
    mine = tmp_path / "mine"
    make_private(mine)
    make_private(mine)
    mine.chmod(0o750)
    with pytest.raises(UsageError, match=r"open to others \(mode 0750\)"):
        make_private(mine)
    mine.chmod(0o700)
    (tmp_path / "link").symlink_to(mine)
    with pytest.raises(UsageError, match="is a link"):
        make_private(tmp_path / "link")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is no folder"):
        make_private(tmp_path / "file")
    monkeypatch.setattr(os, "geteuid", lambda: 4321)
    with pytest.raises(UsageError, match="belongs to user"):
        make_private(mine)


def test_two_checkouts_never_share_sockets(tmp_path):
    first, second = tmp_path / "one" / "runs" / "x", tmp_path / "two" / "runs" / "x"
    for folder in (first, second):
        folder.mkdir(parents=True)
    assert sockets_of(first) != sockets_of(second)
    (tmp_path / "link").symlink_to(first)
    assert sockets_of(tmp_path / "link") == sockets_of(first)


def test_a_copied_run_folder_leads_to_no_other_run(tmp_path):
    original = claim(tmp_path / "run")
    original.announce("id", "t")
    (original.sockets / "control.sock").touch()
    assert find_sockets(tmp_path / "run") == original.sockets
    copy = tmp_path / "copy"
    shutil.copytree(tmp_path / "run", copy)
    with pytest.raises(NotRunning, match="nothing runs in"):
        find_sockets(copy)
    held = claim(copy)
    (copy / "supervisor.lock").write_text(json.dumps({"sockets": str(original.sockets)}))
    with pytest.raises(NotRunning, match="does not listen"):
        find_sockets(copy)
    for each in (held, original):
        each.release()


def test_a_run_that_was_started_with_another_runtime_folder_is_found(tmp_path, monkeypatch):
    held = claim(tmp_path / "run")
    held.announce("id", "t")
    (held.sockets / "control.sock").touch()
    other = tmp_path / "other"
    other.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(other))
    assert find_sockets(tmp_path / "run") == held.sockets
    held.release()


def test_a_claim_is_exclusive_until_it_is_released(tmp_path):
    held = claim(tmp_path / "run")
    held.announce("id-1", "t")
    assert is_locked(tmp_path / "run")
    assert [run["id"] for run in live_runs()] == ["id-1"]
    with pytest.raises(UsageError, match=f"already run by process {os.getpid()}"):
        claim(tmp_path / "run")
    held.release()
    assert not is_locked(tmp_path / "run")
    assert not held.sockets.exists()
    assert list(live_runs()) == []
    claim(tmp_path / "run").release()


def test_what_a_dead_run_has_left_is_removed_but_a_link_is_not_followed(tmp_path):
    held = claim(tmp_path / "run")
    (held.sockets / "old.sock").touch()
    os.close(held.lock)
    again = claim(tmp_path / "run")
    assert list(again.sockets.iterdir()) == []
    again.release()
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").touch()
    again.sockets.symlink_to(precious)
    with pytest.raises(UsageError, match="is a link"):
        claim(tmp_path / "run")
    assert (precious / "file").exists()
    assert not is_locked(tmp_path / "run")


def test_the_next_run_removes_the_sockets_of_all_that_are_dead_and_of_none_that_lives(tmp_path):
    claims = {name: claim(tmp_path / name) for name in ("alive", "dead", "gone")}
    for name, held in claims.items():
        held.announce(name, "t")
    os.close(claims["dead"].lock)
    os.close(claims["gone"].lock)
    shutil.rmtree(tmp_path / "gone")
    claim(tmp_path / "next").release()
    assert {name: held.sockets.exists() for name, held in claims.items()} == {
        "alive": True,
        "dead": False,
        "gone": False,
    }
    claims["alive"].release()


def test_the_path_of_a_socket_always_fits(tmp_path):
    assert socket_path(Path("/run/x"), "a.b").name == "a.b.sock"
    names = [f"{'n' * 120}{number}" for number in range(3)]
    paths = {socket_path(Path("/run/x"), name) for name in names}
    assert len(paths) == 3
    assert all(len(str(path)) <= places.LONGEST_PATH for path in paths)


# --- state ------------------------------------------------------------------------------------------------------------


def test_state_survives(tmp_path):
    file = StateFile(tmp_path)
    file.note_epochs({"a": 1, "b": 1})
    file.note_epochs({"a": 2})
    file.state.halted = Halted("why", 5)
    file.save()
    again = StateFile(tmp_path).state
    assert again.epochs == {"a": 2, "b": 1}
    assert again.halted == Halted("why", 5)


def test_two_runs_do_not_share_the_defaults_of_their_state(tmp_path):
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
    StateFile(tmp_path / "x").note_epochs({"a": 7})
    assert StateFile(tmp_path / "y").state.epochs == {}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"epochs": 3}', '{"halted": {"reason": 1, "at_ns": 2}}', "\x00" * 64])
def test_a_damaged_state_is_refused_because_the_run_might_be_halted(tmp_path, text):
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(StateDamaged, match="not known whether the run was halted"):
        StateFile(tmp_path)


def test_start_counts_end_where_the_ids_of_messages_do(tmp_path):
    file = StateFile(tmp_path)
    file.note_epochs({"a": 4095})
    with pytest.raises(EpochsUsedUp, match="'a' was started 4095 times"):
        file.note_epochs({"a": 4096})
    assert StateFile(tmp_path).state.epochs == {"a": 4095}


def test_the_reserve_makes_room_for_the_halt_on_a_full_disk(tmp_path, monkeypatch):
    file = StateFile(tmp_path)
    reserve = tmp_path / ".reserve"
    assert reserve.stat().st_blocks * 512 >= 64 << 10
    real = os.fsync

    def full(descriptor: int) -> None:
        if reserve.exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    file.state.halted = Halted("why", 5)
    file.save()
    assert StateFile(tmp_path).state.halted == Halted("why", 5)
