"""``station bench review``: from the key that labels a part to the next part on the screen, in a real browser.

The records have so many inspections, whose frames are few and used in turn; the web process is the station's own, the browser a
Chromium without a window. A part is on the screen when its frame and map were decoded, put into the page, and painted: the second
animation frame after that has begun.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import numpy as np
from sqlalchemy import func, select

from inspection.bench.browser import chromium, log_in
from inspection.bench.records import PAGE, Times
from inspection.bench.seeded import HEIGHT, PRODUCT, WIDTH, make_records, seeded_station
from inspection.config import Config
from inspection.errors import StationError
from inspection.processes import end_with_parent
from inspection.records.database import open_engine
from inspection.records.tables import labels
from inspection.web.identity import COOKIE

PACE_S = 0.25
"""Between a part on the screen and the next key, of a person who is fast."""
_START_S = 180.0
_WATCH = """() => {
  let pressed = null;
  addEventListener("keydown", (event) => { pressed ??= event.timeStamp; }, true);
  document.querySelector("review-page").addEventListener("shown", () => requestAnimationFrame(() => requestAnimationFrame(() => {
    if (pressed !== null) window.decisions.push(performance.now() - pressed);
    pressed = null;
  })));
}"""


@dataclass(frozen=True, slots=True)
class KeyTimes:
    """Milliseconds from a key press to the next part on the screen."""

    decisions: int
    median: float
    p95: float
    most: float


@dataclass(frozen=True, slots=True)
class ReviewCase:
    """``paced``: with PACE_S between a part and the next key; ``at_once``: the key follows the part immediately, which no person
    does. ``pages``: the queue's REST answer, in milliseconds, by what was asked for."""

    rows: int
    width: int
    height: int
    paced: KeyTimes
    at_once: KeyTimes
    pages: dict[str, Times]
    labelled: int


def measure(
    directory: Path, rows: int, decisions: int, browser: Path | None, progress: Callable[[str], None], repeats: int = 50
) -> ReviewCase:
    """Make what is missing of the records, then review. StationError without Playwright or a browser."""
    with chromium(browser) as opened:
        config, _ = seeded_station(directory / f"review-{rows}")
        progress("records")
        make_records(config, rows, lambda done: progress(f"records, {done:,} of {rows:,}"))
        # Again: its port may be taken by now.
        config, config_path = seeded_station(directory / f"review-{rows}")
        with _web_process(config, config_path) as url:
            progress("the queue's pages")
            cookie = log_in(config)
            pages = {name: _page_times(url, cookie, query, repeats) for name, query in _queries().items()}
            progress("reviewing")
            page = open_review(opened, url, cookie)
            paced = _key_times(page, decisions, PACE_S)
            at_once = _key_times(page, decisions, 0.0)
        labelled = _labels(config)
        if labelled != 2 * decisions:
            raise StationError(f"{labelled} labels were recorded of {2 * decisions}; look at the web process's log")
    return ReviewCase(rows, WIDTH, HEIGHT, paced, at_once, pages, labelled)


def open_review(browser: Any, url: str, cookie: str) -> Any:
    """The Review page, with its first part shown, in a window of its own."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.add_cookies([{"name": COOKIE, "value": cookie, "url": url}])
    page = context.new_page()
    page.goto(f"{url}/review?sample=0&verdict=review&verdict=fail&labelled=false")
    page.wait_for_selector("part-viewer.main .layers img")
    page.wait_for_function("document.querySelectorAll('part-panel [data-class]').length === 2")
    page.evaluate(_WATCH)
    return page


# --- records ----------------------------------------------------------------------------------------------------------


def _labels(config: Config) -> int:
    engine = open_engine(config.database_url, read_only=True)
    with engine.connect() as connection:
        count = connection.execute(select(func.count()).select_from(labels)).scalar_one()
    engine.dispose()
    return int(count)


# --- what is timed ----------------------------------------------------------------------------------------------------


@contextmanager
def _web_process(config: Config, config_path: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "inspection", "process", "web", "--config", str(config_path)]
    url = f"http://127.0.0.1:{config.web.port}"
    process = subprocess.Popen(command, preexec_fn=end_with_parent, stdout=sys.stderr)
    try:
        until = time.monotonic() + _START_S
        while not _answers(url):
            if time.monotonic() > until or process.poll() is not None:
                raise StationError(f"the web process did not start; see the files in {config.log_dir}")
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(_START_S)


def _answers(url: str) -> bool:
    try:
        # Not ready, since only the web process runs; but it answers.
        return httpx.get(f"{url}/api/v1/health", timeout=5).status_code in (200, 503)
    except httpx.HTTPError:
        return False


def _queries() -> dict[str, dict[str, Any]]:
    day = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T00:20:00Z"}
    return {
        "newest without a label": {"labelled": "false"},
        "least certain": {"labelled": "false", "order": "uncertain"},
        "of a product, by score": {"product": PRODUCT, "score_min": 8, "score_max": 9},
        "of twenty minutes": day,
        "conflicts": {"conflicting": "true"},
        "a class that is not there": {"proposed_class": "none"},
    }


def _page_times(url: str, cookie: str, query: dict[str, Any], repeats: int) -> Times:
    seconds = []
    with httpx.Client(timeout=30, cookies={COOKIE: cookie}) as client:
        for _ in range(repeats):
            started = time.perf_counter()
            client.get(f"{url}/api/v1/review", params=query | {"limit": PAGE}).raise_for_status()
            seconds.append(time.perf_counter() - started)
    p50, p99 = np.quantile(np.array(seconds) * 1e3, (0.5, 0.99))
    return Times(float(p50), float(p99))


def _key_times(page: Any, decisions: int, pace_s: float) -> KeyTimes:
    """Label so many parts, of three one good, one scratched, one dented."""
    page.evaluate("window.decisions = []")
    for number in range(decisions):
        page.keyboard.press("o12"[number % 3])
        page.wait_for_function("count => window.decisions.length > count", arg=number, polling=5)
        time.sleep(pace_s)
    # The labels that are still on their way.
    page.evaluate("Promise.all(document.querySelector('review-page').queue.done.map((each) => each.sent))")
    times = page.evaluate("window.decisions")
    return KeyTimes(len(times), median(times), float(np.quantile(times, 0.95)), max(times))
