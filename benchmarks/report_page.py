"""How long a report takes to make and to open, and how large it is: phantoms, and a headless Chromium.

    python benchmarks/report_page.py [--cases 100] [--data RAW_DATASET --pred DIR]

Without arguments: 100 copies of phantom cases. `--data` makes the report of a raw dataset (made by
rada-make-sparse-dataset) instead. Opening is from the start of the navigation to all case cards; the viewer is from the
address of a case to its first picture, with software WebGL.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from browser.phantom_report import make_full_report, make_long_report

from sparse_annotation_tools.report.case_volumes import RawDataset
from sparse_annotation_tools.report.page.case_files import make_case
from sparse_annotation_tools.report.page.report import ReportRequest, case_tasks, make_report

WEBGL = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-dev-shm-usage")


def main() -> None:
    """Make a report, open it, print a table and its JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100, help="copies of phantom cases (default: %(default)s)")
    parser.add_argument("--data", type=Path, help="raw dataset folder, in place of phantoms")
    parser.add_argument("--pred", type=Path, help="folder of predictions for --data")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        making_s = 0.0
        if arguments.data:
            request = ReportRequest(dataset=arguments.data, output=root / "report", predictions=arguments.pred)
            begin = time.process_time()
            for task in case_tasks(request, RawDataset(request.dataset)):
                make_case(task)
            making_s = time.process_time() - begin
            cases = make_report(request).cases
            report = request.output
        else:
            report = make_long_report(make_full_report(root).page.parent, root / "long", arguments.cases)
            cases = arguments.cases
        figures: dict[str, Any] = {
            "cases": cases,
            "megabytes": round(sum(path.stat().st_size for path in report.rglob("*") if path.is_file()) / 1e6, 2),
            "opened": measure(report),
        }
        if arguments.data:
            figures["make_cpu_s_per_case"] = round(making_s / cases, 3)
    for name, value in figures.items():
        print(f"{name:24} {value}")
    figures["machine"] = {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    print(json.dumps({"benchmark": "report_page", **figures}))


def measure(report: Path) -> dict[str, float]:
    """Return the seconds until the overview of a report and until the viewer of its first case can be used."""
    from playwright.sync_api import sync_playwright

    program = os.environ.get("RADA_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        raise SystemExit("no Chromium found; install one or set RADA_CHROMIUM")
    seconds = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(WEBGL))
        browser.new_page().goto("about:blank")  # the browser's own start is not the page's
        page = browser.new_page()
        begin = time.monotonic()
        page.goto((report / "index.html").as_uri())
        page.wait_for_selector(".case-card")
        seconds["overview_s"] = round(time.monotonic() - begin, 2)
        begin = time.monotonic()
        page.locator(".case-card").first.click()
        page.wait_for_selector("#canvas[data-ready]", timeout=300_000)
        seconds["viewer_s"] = round(time.monotonic() - begin, 2)
        browser.close()
    return seconds


if __name__ == "__main__":
    main()
