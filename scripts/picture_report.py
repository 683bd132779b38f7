"""The picture of docs/report.md: the upper part of the page of a run, with the knee pointed at.

    python scripts/picture_report.py results/RUN [--out docs/images/report.png]

Needs a `chromium` on the path, and playwright (extra 'test').
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from bench_report import DRAWN, chromium
from PIL import Image

from nas.api import Front

_COLOURS = 200
"""Enough for a page of few colours; the file is a quarter as large."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--out", type=Path, default=Path("docs/images/report.png"))
    args = parser.parse_args()
    from playwright.sync_api import sync_playwright

    if (path := chromium()) is None:
        raise SystemExit("there is no Chromium on the path")
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        page = Front.load(args.run).report(Path(scratch) / "page.html")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1120, "height": 1240})
        tab.goto(page.resolve().as_uri())
        tab.evaluate(DRAWN)
        tab.hover("#front-chart .point:has(.ring) .member")
        tab.screenshot(path=f"{scratch}/page.png")
        browser.close()
        with Image.open(f"{scratch}/page.png") as picture:
            picture.convert("RGB").quantize(_COLOURS).save(args.out, optimize=True)
    print(f"{args.out}: {args.out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
