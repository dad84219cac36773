"""Run the process of the hubs of a topology, as a supervisor would: TOPOLOGY SOCKETS PORT_OFFSET EPOCH."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.packages import only_packages

from engine.process.run import Run
from engine.run.session import load_plan
from engine.wire.hub import run_hubs


def main(file: str, sockets: str, offset: str, epoch: str, *packages: str) -> int:
    with only_packages(*packages):
        plan = load_plan([Path(file)], [], Path(sockets))
        return run_hubs(Run("test", plan, Path(sockets), Path(sockets), port_offset=int(offset)), int(epoch))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
