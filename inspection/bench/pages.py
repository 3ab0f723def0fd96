"""``station bench pages``: the line with and without somebody who looks at pages, and how long each page takes meanwhile.

The station starts with so many inspections in its records. Parts come at one rate throughout; in every other stretch a browser
opens one page after another; at the end it does so while no parts come. A page is there when the last of its requests is
answered and the result is painted. The browser runs on the machine of the station, as on the screen beside a line.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from inspection.bench.browser import chromium, log_in
from inspection.bench.line import LineRun, run_parts
from inspection.bench.seeded import PRODUCT, make_records, seeded_station
from inspection.bench.station import BenchStation, Sensor, bench_model, bench_station
from inspection.web.identity import COOKIE

PAGES = {
    "Live": "/",
    "Review": "/review",
    "Review, the least certain": "/review?order=uncertain",
    "Lots": "/lots",
    "a lot": "/lots/L000001",
    "a serial that is sought": "/lots?q=L000001-17",
    "an inspection": "/inspections/777",
    "Quality": "/quality",
    "Quality of one product": f"/quality?product={PRODUCT}",
    "Training": "/training",
    "Models": "/models",
    "Golden set": "/golden",
    "Audit": "/audit",
}
_QUIET_S = 0.3
_LONGEST_S = 60.0
# They go on as long as the page is open.
_ENDLESS = ("eventsource", "websocket")


@dataclass(frozen=True, slots=True)
class Visits:
    """Milliseconds until the page was there."""

    count: int
    median: float
    most: float


@dataclass(frozen=True, slots=True)
class PagesCase:
    """``alone`` and ``beside``: stretches of the line, in turn, without and with somebody who looks at pages. ``pages``: while
    parts come; ``pages_alone``: while none come.
    """

    rows: int
    sensor: Sensor
    alone: tuple[LineRun, ...]
    beside: tuple[LineRun, ...]
    pages: dict[str, Visits]
    pages_alone: dict[str, Visits]


def measure(
    directory: Path,
    sensor: Sensor,
    rows: int,
    rate: float,
    seconds: float,
    rounds: int,
    browser: Path | None,
    progress: Callable[[str], None],
) -> PagesCase:
    """``rounds`` pairs of stretches of ``seconds``. StationError without a browser, or if no model can be trained."""
    progress("model")
    model = bench_model(directory, sensor)
    # It never runs: the one that does begins as its copy.
    records, _ = seeded_station(directory / f"pages-{rows}")
    progress("records")
    make_records(records, rows, lambda done: progress(f"records, {done:,} of {rows:,}"))
    alone: list[LineRun] = []
    beside: list[LineRun] = []
    times: dict[str, list[float]] = {name: [] for name in PAGES}
    with (
        chromium(browser) as opened,
        bench_station(directory, model, sensor, 1, records) as station,
        ThreadPoolExecutor(1) as line,
    ):
        page = _page(opened, station)
        for number in range(rounds):
            progress(f"round {number + 1} of {rounds}, the line alone")
            alone.append(run_parts(station, rate, seconds))
            progress(f"round {number + 1} of {rounds}, the line and pages")
            parts = line.submit(run_parts, station, rate, seconds)
            while not parts.done():
                for name in PAGES:
                    times[name].append(_visit(page, name))
                    if parts.done():
                        break
            beside.append(parts.result())
            page.goto("about:blank")
        progress("pages alone")
        quiet = {name: [_visit(page, name) for _ in range(rounds)] for name in PAGES}
    return PagesCase(rows, sensor, tuple(alone), tuple(beside), _visits(times), _visits(quiet))


def _visits(times: dict[str, list[float]]) -> dict[str, Visits]:
    return {name: Visits(len(each), median(each), max(each)) for name, each in times.items() if each}


def figures(runs: Sequence[LineRun]) -> tuple[float, float, int]:
    """Median of p50 and of p99, in milliseconds, and all parts that were lost."""
    durable = [run.durable for run in runs if run.durable is not None]
    lost = sum(sum(run.lost.values()) for run in runs)
    return median(each.p50 for each in durable), median(each.p99 for each in durable), lost


def _page(browser: Any, station: BenchStation) -> Any:
    """A window whose requests are counted while they are under way."""
    url = f"http://{station.config.web.host}:{station.config.web.port}"
    context = browser.new_context(viewport={"width": 1440, "height": 900}, base_url=url)
    context.add_cookies([{"name": COOKIE, "value": log_in(station.config), "url": url}])
    return context.new_page()


def _visit(page: Any, name: str) -> float:
    """Milliseconds from the request to the last answer, painted."""
    under_way: set[Any] = set()
    last = started = time.perf_counter()

    def began(request: Any) -> None:
        if request.resource_type not in _ENDLESS:
            under_way.add(request)

    def ended(request: Any) -> None:
        nonlocal last
        under_way.discard(request)
        last = time.perf_counter()

    events = {"request": began, "requestfinished": ended, "requestfailed": ended}
    for event, handler in events.items():
        page.on(event, handler)
    page.goto(PAGES[name])
    while under_way or time.perf_counter() - last < _QUIET_S:
        if time.perf_counter() - started > _LONGEST_S:
            break
        page.wait_for_timeout(20)
    painted = time.perf_counter()
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    painting = time.perf_counter() - painted
    for event, handler in events.items():
        page.remove_listener(event, handler)
    return (last - started + painting) * 1e3
