"""The zygote: a process that does nothing but fork others, reap them and say how they ended.

It is forked before the supervisor has any loop, thread or connection, with all modules imported: a process that is
born here starts within milliseconds and inherits nothing that a fork would break. No process outlives it: those it
forked die with it by the kernel's hand, and when the supervisor is gone it kills them and all that they have started.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

from engine.process import kernel
from engine.process.control import decode, encode

Launch = Callable[[str, int], int]
"""What a newborn process does: (name, epoch) -> exit code."""

FOR_OTHERS = frozenset((signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
LONGEST_MESSAGE = 1 << 14
OTHER_ENDS_S = 1.0


def channel() -> tuple[socket.socket, socket.socket]:
    """Return the two ends of a connection that keeps messages apart, supervisor's first."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def fork_zygote(launch: Launch, to_close: list[int]) -> tuple[int, socket.socket]:
    """Fork a zygote of this process; return its id and the connection to it. `to_close` are descriptors not for it."""
    ours, theirs = channel()
    supervisor = os.getpid()
    pid = os.fork()
    if pid == 0:
        _never_return(lambda: _first_life(theirs, launch, supervisor, [*to_close, ours.fileno()]))
    theirs.close()
    return pid, ours


def _first_life(connection: socket.socket, launch: Launch, supervisor: int, to_close: list[int]) -> None:
    for descriptor in to_close:
        os.close(descriptor)
    os.setsid()
    Zygote(connection, launch, supervisor).run()


def _never_return(life: Callable[[], object]) -> NoReturn:
    # A forked process must not fall back into its parent's code, whatever happens.
    try:
        life()
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(1)


class Zygote:
    """The zygote's own side. It takes {"fork"}, {"kill"}, {"spare"}, {"watch"}, {"ping"}, {"exit"} from its supervisor.

    It reports {"born"}, {"unborn"}, {"exited"}, {"spare"}, {"pong"}.
    """

    def __init__(self, connection: socket.socket, launch: Launch, supervisor: int) -> None:
        self.connection = connection
        self.launch = launch
        self.supervisor = supervisor
        self.living: dict[int, tuple[str, int]] = {}
        self.other: int | None = None
        self.sessions: set[int] = set()

    def run(self) -> NoReturn:
        """Serve until the supervisor is gone or says exit."""
        # SIGCONT, so that also a stopped zygote wakes, finds its supervisor gone, and cleans up.
        if not kernel.signal_when_parent_dies(signal.SIGCONT, self.supervisor):
            os._exit(0)
        kernel.adopt_orphans(True)
        kernel.set_name("pl-zygote")
        # Meant for the supervisor, which decides. Not ignored: a newborn must find what was sent to it at once.
        signal.pthread_sigmask(signal.SIG_BLOCK, FOR_OTHERS)
        wake, woken = os.pipe()
        for descriptor in (wake, woken):
            os.set_blocking(descriptor, False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
        gc.collect()
        gc.freeze()  # what is here now is shared with all that are born, and stays untouched by their collectors
        self._serve(wake)

    def _serve(self, wake: int) -> NoReturn:
        poll = select.poll()
        poll.register(self.connection, select.POLLIN)
        poll.register(wake, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            if wake in ready:
                with suppress(BlockingIOError):
                    os.read(wake, 4096)
            try:
                self._reap()
                kernel.kill_strays(set(self.living))
                if self.connection.fileno() in ready:
                    data, descriptors, _, _ = socket.recv_fds(self.connection, LONGEST_MESSAGE, 4)
                    if not data:
                        self._end()
                    self._do(decode(data), descriptors)
            except (BrokenPipeError, ConnectionResetError):
                self._end()

    def _do(self, order: dict[str, Any], descriptors: list[int]) -> None:
        match order["do"]:
            case "fork":
                self._fork(order["name"], order["epoch"], descriptors)
            case "kill":
                if order["pid"] in self.living:  # not yet waited for, so the number is surely still its own
                    kernel.kill_group(order["pid"], order["signal"])
                    kernel.kill(order["pid"], order["signal"])
            case "spare":
                self._fork_spare(descriptors)
            case "watch":
                self.other, self.sessions = order["other"], set(order["sessions"])
            case "ping":
                self._tell(pong=order["number"])
            case "exit":
                self._end()
        for descriptor in descriptors:
            os.close(descriptor)

    def _tell(self, **report: Any) -> None:
        self.connection.sendall(encode(report))

    # --- forking ----------------------------------------------------------------------------------------------

    def _fork(self, name: str, epoch: int, descriptors: list[int]) -> None:
        zygote = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            self._tell(unborn=name, epoch=epoch, error=f"fork: {error.strerror}")
            return
        if pid == 0:
            _never_return(lambda: self._newborn(zygote, name, epoch, descriptors))
        self.living[pid] = (name, epoch)
        self._tell(born=name, epoch=epoch, pid=pid)

    def _newborn(self, zygote: int, name: str, epoch: int, descriptors: list[int]) -> NoReturn:
        if not kernel.signal_when_parent_dies(signal.SIGKILL, zygote):
            os._exit(0)
        os.setsid()
        kernel.set_name(f"pl:{name}")
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, *FOR_OTHERS):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, FOR_OTHERS)
        os.umask(0o077)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        for output in descriptors[:1]:
            os.dup2(output, 1)
            os.dup2(output, 2)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        self.connection.detach()
        os._exit(self.launch(name, epoch))

    def _fork_spare(self, descriptors: list[int]) -> None:
        # Forked twice, so that it is the supervisor's child and not ours: it has to live when we die.
        kernel.adopt_orphans(False)
        between = os.fork()
        if between == 0:
            between = os.getpid()
            if os.fork() == 0:
                _never_return(lambda: self._spare_life(between, descriptors[0]))
            os._exit(0)
        os.waitpid(between, 0)
        kernel.adopt_orphans(True)

    def _spare_life(self, between: int, descriptor: int) -> None:
        os.setsid()
        while os.getppid() == between:
            time.sleep(0.001)
        self.connection.close()
        spare = Zygote(socket.socket(fileno=descriptor), self.launch, self.supervisor)
        spare._tell(spare=os.getpid())
        spare.run()

    # --- ends -------------------------------------------------------------------------------------------------

    def _reap(self) -> None:
        while True:
            try:
                # First only look: while it has not been waited for, no other process can take its number.
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None:
                return
            pid = found.si_pid
            if pid in self.living:
                kernel.kill_group(pid)
            _, status, usage = os.wait4(pid, 0)
            if pid in self.living:
                name, epoch = self.living.pop(pid)
                code = os.waitstatus_to_exitcode(status)
                self._tell(exited=name, epoch=epoch, pid=pid, status=code, peak_rss_bytes=usage.ru_maxrss * 1024)

    def _end(self) -> NoReturn:
        for pid in self.living:
            kernel.kill_group(pid)
        kernel.kill_all_children()
        if self.other is not None:
            self._outlive(self.other)
        os._exit(0)

    def _outlive(self, other: int) -> None:
        """See to it that the other zygote is gone, and all that its processes have started."""
        with suppress(ProcessLookupError):
            gone = select.poll()
            handle = os.pidfd_open(other)
            gone.register(handle, select.POLLIN)
            if not gone.poll(OTHER_ENDS_S * 1000):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        for session in self.sessions:
            for pid in kernel.session_members(session):
                kernel.kill(pid)
