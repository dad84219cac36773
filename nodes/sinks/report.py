"""Turn the ledger of a run into a report: numbers, a page, and a text for the terminal."""

from __future__ import annotations

from pathlib import Path

from engine import In, Node, param
from nodes.messages import LedgerClosed


class Report(Node):
    """Write `report.json`, `report.html` and `report.txt` to the run folder when the ledger is closed.

    The hedge's error comes first, then PnL as an interval over stated assumptions: the hedge as run or as taker (from
    the variant run `taker_variant` where there is one, else each maker fill priced as crossing), three prices of gas,
    three reference prices. The same ledger gives the same files; the page needs no network. See docs/pnl.md.
    """

    ledger = In(LedgerClosed, doc="The ledger, complete and on disk.")

    title: str = param("", doc="Heading of the report.")
    stand_ins: tuple[str, ...] = param((), doc="What stands in for what was missing, one sentence each.")
    labels: dict[str, str] = param({}, doc="More facts about the run to be shown.")
    gas_gwei: tuple[float, ...] = param(
        (), unit="gwei", minimum=0, doc="Prices of gas under which PnL is also given: low, middle, high."
    )
    run_gas_gwei: float = param(
        0.0, unit="gwei", minimum=0, doc="Price of gas in the run, to scale from; 0: gas counts as in the run."
    )
    taker_fee_bps: float = param(5.0, unit="bps", doc="Fee of a hedge that takes, where no variant run shows it.")
    half_spread_bps: float = param(
        0.5, unit="bps", minimum=0, doc="Distance of the touch from the mid for such a hedge."
    )
    taker_variant: str = param("taker", doc="Name of the variant in which the hedge takes.")

    def on_ledger(self, ledger: LedgerClosed) -> None:
        # Only a run that comes to its end needs numpy and the page.
        from nodes._lib.report_build import About, as_json, build_report
        from nodes._lib.report_page import page
        from nodes._lib.report_pnl import Assumptions
        from nodes._lib.report_text import terminal_table

        folder, path = Path(self.run_dir), Path(self.run_dir, ledger.path)
        about = About(
            title=self.title,
            labels=self.labels,
            stand_ins=self.stand_ins,
            assumptions=Assumptions(self.gas_gwei, self.run_gas_gwei, self.taker_fee_bps, self.half_spread_bps),
        )
        report = build_report(path, about, folder / "variants" / self.taker_variant / path.name, ledger.head)
        for name, text in (
            ("report.json", as_json(report)),
            ("report.html", page(report)),
            ("report.txt", terminal_table(report)),
        ):
            (folder / name).write_text(text, encoding="utf-8")
