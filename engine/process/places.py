"""Where a run lives: its folder, the private folder of its sockets, and the lock that lets it have one supervisor.

The sockets' folder is named after the absolute path of the run folder, so two checkouts never meet in one.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from engine.errors import UsageError

CONTROL = "control.sock"
LOCK = "supervisor.lock"
MARK = "run.json"
LOCK_TRIES = 10
LONGEST_PATH = 107
"""Bytes of a unix socket's path that the system takes."""


class NotRunning(UsageError):
    """Nothing supervises this run folder now."""


def sockets_base(create: bool = True) -> Path:
    """Return the folder that holds the sockets of all runs of this user; raise UsageError where it is not private.

    It is `$XDG_RUNTIME_DIR/pipeline` when that variable names a folder of ours, else `/tmp/pipeline-<uid>`.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime and Path(runtime).is_absolute() and _why_not_private(Path(runtime)) is None:
        base = Path(runtime, "pipeline")
    else:
        base = Path(f"/tmp/pipeline-{os.getuid()}")
    if create:
        make_private(base)
    return base


def make_private(folder: Path) -> None:
    """Make a folder that only its owner can enter; raise UsageError where another one is in its place."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        pass
    except OSError as error:
        raise UsageError(f"the folder for sockets {folder} cannot be made: {error.strerror}") from error
    reason = _why_not_private(folder)
    if reason is not None:
        raise UsageError(f"{folder} is not safe to hold sockets: it {reason}; remove it, or set XDG_RUNTIME_DIR")


def _why_not_private(folder: Path) -> str | None:
    try:
        found = folder.lstat()
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if not stat.S_ISDIR(found.st_mode):
        return "is a link" if stat.S_ISLNK(found.st_mode) else "is no folder"
    if found.st_uid != os.geteuid():
        return f"belongs to user {found.st_uid}"
    if found.st_mode & 0o077:
        return f"is open to others (mode {stat.S_IMODE(found.st_mode):04o})"
    return None


def sockets_of(folder: Path, base: Path | None = None) -> Path:
    """Return the sockets' folder that belongs to a run folder; nothing is made."""
    name = sha256(os.fsencode(folder.resolve())).hexdigest()[:12]
    return (base or sockets_base(create=False)) / name


def socket_path(sockets: Path, process: str) -> Path:
    """Return where a process listens; a name that would be too long for a socket is replaced by its hash."""
    path = sockets / f"{process}.sock"
    if len(os.fsencode(path)) > LONGEST_PATH:
        path = sockets / f"{sha256(process.encode()).hexdigest()[:16]}.sock"
    return path


@dataclass(frozen=True, slots=True)
class Claim:
    """A run folder that this process alone supervises. Its zygotes keep the lock too, until they have cleaned up."""

    folder: Path
    sockets: Path
    lock: int

    def announce(self, run_id: str, topology: str) -> None:
        """Write down who supervises, for `find_sockets` and `live_runs`."""
        mark = {
            "id": run_id,
            "topology": topology,
            "folder": str(self.folder.resolve()),
            "sockets": str(self.sockets),
            "pid": os.getpid(),
        }
        text = json.dumps(mark)
        (self.sockets / MARK).write_text(text, encoding="utf-8")
        os.ftruncate(self.lock, 0)
        os.pwrite(self.lock, text.encode(), 0)

    def release(self) -> None:
        """Remove the sockets and let go of the run folder."""
        shutil.rmtree(self.sockets, ignore_errors=True)
        os.ftruncate(self.lock, 0)
        os.close(self.lock)


def claim(folder: Path) -> Claim:
    """Become the one supervisor of a run folder, with an empty folder for its sockets.

    What a run that died has left in that folder is removed. Raises UsageError, naming the holder, where the folder
    has a supervisor already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _lock(folder, lock)
        base = sockets_base()
        _remove_dead(base)
        sockets = sockets_of(folder, base)
        if sockets.is_symlink() or sockets.exists():
            make_private(sockets)
            shutil.rmtree(sockets)
        make_private(sockets)
    except BaseException:
        os.close(lock)
        raise
    return Claim(folder, sockets, lock)


def _remove_dead(base: Path) -> None:
    """Remove the sockets of runs that were killed with their supervisor and never started again."""
    for path in base.glob(f"*/{MARK}"):
        folder = _read(path).get("folder")
        if not isinstance(folder, str) or sockets_of(Path(folder), base) != path.parent:
            continue
        try:
            lock = os.open(Path(folder, LOCK), os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            shutil.rmtree(path.parent, ignore_errors=True)  # the run folder itself is gone
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # held meanwhile, so that no run begins there
            shutil.rmtree(path.parent, ignore_errors=True)
        except BlockingIOError:
            continue  # it is alive
        finally:
            os.close(lock)


def _lock(folder: Path, lock: int) -> None:
    for _ in range(LOCK_TRIES):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError as error:
            if error.errno != errno.EWOULDBLOCK:
                raise UsageError(f"{folder / LOCK} cannot be locked: {error.strerror}") from error
        time.sleep(0.02)  # whoever only looks whether there is a lock holds it for an instant
    pid = _read(folder / LOCK).get("pid")
    holder = f"process {pid}" if pid else "another process"
    raise UsageError(f"{folder} is already run by {holder}; `pipeline down` ends it")


def find_sockets(folder: Path) -> Path:
    """Return the sockets' folder of the run that is alive in `folder`; raise NotRunning where there is none.

    The supervisor may have been started with another XDG_RUNTIME_DIR: then its own note leads there, as long as the
    folder has the name that belongs to this run folder, and is private.
    """
    if not is_locked(folder):
        raise NotRunning(f"nothing runs in {folder}; `pipeline up` starts a run")
    here = sockets_of(folder)
    noted = _read(folder / LOCK).get("sockets")
    for sockets in [here, Path(noted)] if isinstance(noted, str) else [here]:
        if sockets.name == here.name and _why_not_private(sockets) is None and (sockets / CONTROL).exists():
            return sockets
    raise NotRunning(f"the run in {folder} is starting or ending, and does not listen yet or any more; try again")


def is_locked(folder: Path) -> bool:
    """Tell whether a run folder has a supervisor now, or zygotes that are still cleaning up after one."""
    try:
        lock = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False


def live_runs() -> Iterator[dict[str, Any]]:
    """Yield {id, topology, folder, sockets, pid} of every run of this user that is alive."""
    base = sockets_base(create=False)
    if _why_not_private(base) is not None:
        return
    for path in sorted(base.glob(f"*/{MARK}")):
        mark = _read(path)
        folder = mark.get("folder")
        if isinstance(folder, str) and sockets_of(Path(folder), base) == path.parent and is_locked(Path(folder)):
            yield mark


def _read(path: Path) -> dict[str, Any]:
    """Read a note of a supervisor; one that is not there or is half written says nothing."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
