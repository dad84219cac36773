"""Draw the pictures of the README anew: `python -m tools.docs_images`, about half a minute.

Needs the extra `graph`, the dependency group `browser` and a Chromium (`apt-get install chromium`).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[1]
TOPOLOGY = "topologies/backtest/asymmetric_lp.yaml"
CHROMIUM = "/usr/bin/chromium"
WIDTH = 1_100


def draw(folder: Path) -> None:
    """Write graph.svg and report.png (the top of the page, to the end of its interval of PnL) to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    _pipeline("graph", TOPOLOGY, "--overview", "-o", str(folder / "graph.svg"))
    with tempfile.TemporaryDirectory() as run:
        _pipeline("backtest", TOPOLOGY, "--out", run, "--force")
        _photograph(Path(run, "report.html"), folder / "report.png")


def _pipeline(*words: str) -> None:
    program = Path(sys.executable).with_name("pipeline")
    subprocess.run([program, *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def _photograph(page_file: Path, picture: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 900}, color_scheme="light")
        page.goto(page_file.as_uri())
        end = page.locator(".verdict").locator("xpath=..").bounding_box()
        assert end is not None
        page.screenshot(
            path=picture, full_page=True, clip={"x": 0, "y": 0, "width": WIDTH, "height": end["y"] + end["height"] + 16}
        )
        browser.close()


if __name__ == "__main__":
    draw(ROOT / "docs" / "images")
