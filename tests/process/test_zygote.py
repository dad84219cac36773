"""The pair of zygotes alone: what they fork, what they report, and that nothing outlives them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import asyncio, json, os, signal, sys, time
from engine.process.zygotes import Zygotes
from engine.process import kernel

def launch(name, epoch):
    print(name, epoch, os.getsid(0) == os.getpid(), len(os.listdir("/proc/self/fd")), flush=True)
    if name == "code":
        return epoch
    if name == "raises":
        raise ValueError("x")
    time.sleep(60)

async def main():
    reports = []
    arrived = asyncio.Event()
    def report(message):
        reports.append(message)
        arrived.set()
    async def until(key, **wanted):
        async with asyncio.timeout(20):
            while True:
                for each in reports:
                    if key in each and all(each.get(name) == value for name, value in wanted.items()):
                        reports.remove(each)
                        return each
                arrived.clear()
                try:
                    await asyncio.wait_for(arrived.wait(), 0.05)
                except TimeoutError:
                    zygotes.tick(time.monotonic(), 1.0)
    zygotes.attach(report)
    out = lambda: os.dup(1)
    {body}
    zygotes.close()
    print(json.dumps({{"children": len(kernel.children(os.getpid()))}}))

zygotes = Zygotes(launch)
asyncio.run(main())
"""


def run(body: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(body=body.replace("\n", "\n    "))],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *lines, last = done.stdout.splitlines()
    assert json.loads(last) == {"children": 0}
    return lines


def test_a_process_is_born_and_its_end_reported():
    lines = run(
        """zygotes.fork("code", 7, out())
born = await until("born", born="code", epoch=7)
ended = await until("exited", exited="code", epoch=7)
assert ended["pid"] == born["pid"] and ended["status"] == 7 and ended["peak_rss_bytes"] > 0, ended
assert "innocent" not in ended"""
    )
    # It leads its own session and has nothing open but the three, and the folder that it looks into.
    assert lines == ["code 7 True 4"]


def test_an_exception_in_a_newborn_does_not_run_the_parents_code():
    run(
        """zygotes.fork("raises", 1, out())
assert (await until("exited"))["status"] == 1"""
    )


def test_a_process_is_killed_on_request_and_nothing_else_is():
    run(
        f"""zygotes.fork("one", 1, out())
zygotes.fork("two", 1, out())
one, two = [(await until("born", born=name))["pid"] for name in ("one", "two")]
zygotes.kill(os.getpid(), {int(signal.SIGKILL)})
zygotes.kill(one, {int(signal.SIGTERM)})
assert (await until("exited"))["pid"] == one
os.kill(two, 0)"""
    )


@pytest.mark.parametrize("times", [1, 3])
def test_the_spare_takes_over_again_and_again(times):
    run(
        f"""for epoch in range({times}):
    zygotes.fork("a", epoch, out())
    pid = (await until("born", epoch=epoch))["pid"]
    while len(zygotes.pids()) < 2:
        await asyncio.sleep(0.01)
    active, spare = zygotes.pids()
    os.kill(active, {int(signal.SIGKILL)})
    ended = await until("exited", epoch=epoch)
    assert ended["innocent"] and ended["pid"] == pid, ended
    assert zygotes.pids()[0] == spare
assert zygotes.lost == {times}"""
    )


def test_without_any_zygote_a_start_is_refused():
    run(
        f"""for pid in zygotes.pids():
    os.kill(pid, {int(signal.SIGSTOP)})
for pid in zygotes.pids():
    os.kill(pid, {int(signal.SIGKILL)})
while zygotes.active is not None:
    await asyncio.sleep(0.01)
from engine.process.zygotes import NoZygote
try:
    zygotes.fork("a", 1, out())
except NoZygote as error:
    assert "--resume" in str(error)
else:
    raise AssertionError("it was forked")"""
    )


def test_a_stopped_zygote_is_woken_and_a_dead_one_replaced():
    run(
        f"""active = zygotes.pids()[0]
os.kill(active, {int(signal.SIGSTOP)})
zygotes.fork("code", 3, out())
await until("exited", exited="code")
assert zygotes.pids()[0] == active and zygotes.lost == 0"""
    )


def test_what_a_zygote_was_asked_for_and_never_forked_is_reported_too():
    run(
        f"""active = zygotes.pids()[0]
os.kill(active, {int(signal.SIGSTOP)})
zygotes.fork("a", 5, out())
os.kill(active, {int(signal.SIGKILL)})
ended = await until("exited", exited="a", epoch=5)
assert ended["innocent"] and ended["pid"] is None, ended
while len(zygotes.pids()) < 2:
    await asyncio.sleep(0.01)"""
    )
