"""A process that writes fills to a ledger and says which are on disk, until it is killed."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.scripted_world import fill

from nodes._lib.ledger_file import LedgerFile


def main(path: str) -> None:
    ledger = LedgerFile(Path(path))
    add, number = ledger.adder("fills"), ledger.seq
    while True:
        for _ in range(1 + number % 7):
            number += 1
            add(fill(number, str(number), "0.5", "2000.25"))
        ledger.commit()
        print(number, ledger.head, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
