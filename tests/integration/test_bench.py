"""Every benchmark in seconds: that it works, that what it compares is the same work, and that nothing it reports is made up."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Engine

from cameras.frame import PixelFormat
from inspection.bench import images, line, memory, pages, records, review
from inspection.bench.station import Sensor
from inspection.errors import StationError
from inspection.records.database import open_engine
from inspection.records.queries import lot_summary
from training import speed


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_records_are_made_once_and_measured(database: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if database == "sqlite":
        url = records.sqlite_url(tmp_path, 20_000)
    else:
        server: Engine = request.getfixturevalue("postgresql_server")
        url = records.postgresql_url(server.url.set(drivername="postgresql").render_as_string(hide_password=False), 20_000)
    steps: list[tuple[str, int]] = []
    first = records.measure(url, 20_000, lambda step, done, of: steps.append((step, done)), repeats=12)
    assert list(dict.fromkeys(step for step, _ in steps)) == ["rows", "inserts", "reads"]
    assert ("rows", 0) in steps
    assert (first.database, first.rows) == (database, 20_000)
    assert all(0 < times.p50 <= times.p99 for times in first.reads.values())
    engine = open_engine(url, read_only=True)
    with engine.connect() as connection:
        summary = lot_summary(connection, "L000001")
    engine.dispose()
    assert (summary.triggered, summary.passed, summary.failed, summary.review) == (10_000, 9_000, 500, 500)
    assert summary.balanced
    steps.clear()
    records.measure(url, 20_000, lambda step, done, of: steps.append((step, done)), repeats=3)
    assert ("rows", 0) not in steps


def test_the_command_shows_every_kind_of_read(tmp_path: Path) -> None:
    report = tmp_path / "records.json"
    command = [sys.executable, "-m", "inspection", "bench", "records", "--rows", "10000", "--data", str(tmp_path)]
    done = subprocess.run([*command, "--json", str(report)], capture_output=True, text=True, check=True)
    (case,) = json.loads(report.read_bytes())["cases"]
    assert case["rows"] == 10_000
    assert f"{case['grouped_per_s']:,.0f}" in done.stdout
    assert all(f"{times['p50']:.1f}, {times['p99']:.1f}" in done.stdout for times in case["reads"].values())


def test_sizes_grow_tenfold() -> None:
    assert records.sizes(20_000) == [20_000]
    assert records.sizes(10**7) == [10**5, 10**6, 10**7]
    assert records.sizes(3 * 10**6) == [10**5, 10**6, 3 * 10**6]


def test_the_detector_and_its_peers_do_the_same_work() -> None:
    case = speed.measure(640, 512, PixelFormat.BayerRG8, 4, 160, lambda done, of: None)
    assert (case.network_width, case.network_height) == (160, 128)
    assert case.sides[speed.STATION].score_difference == 0
    assert case.sides[speed.BARE].score_difference < 1e-6
    assert set(case.ratios) >= {"station / bare inference", "anomalib OpenVINOInferencer / station"}
    assert all(side.score_difference < 0.1 and side.ms > 0 for side in case.sides.values())
    for name, ratio in case.ratios.items():
        sides = [case.sides[side] for side in name.split(" / ")]
        same = max(side.score_difference for side in sides) <= speed.SAME_SCORE
        assert ratio == (pytest.approx(sides[0].ms / sides[1].ms) if same else None)


SMALL = Sensor(320, 256, "Mono8")


@pytest.fixture(scope="module")
def bench_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keeps the model for all measurements of a running line."""
    return tmp_path_factory.mktemp("bench")


def test_the_line_is_measured_with_its_real_processes(bench_dir: Path) -> None:
    steps: list[str] = []
    case = line.measure(bench_dir, SMALL, 2, 1.0, [10], steps.append)
    assert steps == ["model", "limit", "highest rate", "10 parts/s", "limit"]
    highest, paced = case.runs
    assert highest.wanted_parts_per_s is None
    assert case.max_parts_per_s == highest.parts_per_s > 0
    assert case.ratio == pytest.approx(highest.parts_per_s / case.limit_parts_per_s)
    for run in case.runs:
        assert run.durable is not None
        assert 0 < run.durable.p50 <= run.durable.p99 <= run.durable.max
        assert set(run.processes) >= {"recorder", "line", "inspector", "camera@camera1", "camera@camera2"}
        # The median of sums is near the sum of medians.
        assert sum(stage.p50 for stage in run.stages.values()) == pytest.approx(run.durable.p50, rel=0.5)
    assert paced.parts == pytest.approx(10, abs=5)
    assert sum(paced.lost.values()) <= paced.parts
    # Images and records of the run are gone, the model is kept.
    assert [path.name for path in bench_dir.iterdir()] == ["320x256"]


def test_the_memory_of_every_process_is_followed(bench_dir: Path) -> None:
    steps: list[str] = []
    case = memory.measure(bench_dir, SMALL, 10, 6.0, steps.append)
    assert set(case.processes) >= {"recorder", "line", "inspector", "camera@camera1", "web"}
    for each in case.processes.values():
        assert min(each.samples) > 2**20, "bytes"
        assert len(each.samples) > 60
        assert each.last == each.samples[-1]
    assert case.run.parts == pytest.approx(60, abs=10)
    assert "MiB in" in steps[-1]


def test_growth_after_settling_is_told_from_what_came_before() -> None:
    hour = [
        (second, {"line": 50_000_000 - 10_000 * second if second < 300 else 40_000_000 + second}) for second in range(0, 3600, 10)
    ]
    flat = memory.growth([(float(at), held) for at, held in hour], "line", 3600)
    assert flat.slope_per_hour == pytest.approx(3600)
    assert flat.slope_error == pytest.approx(0, abs=1)
    assert (flat.settled, flat.last) == (40_000_300, 40_003_590)


def test_the_command_shows_that_the_stations_encoder_keeps_every_class_of_frames(tmp_path: Path) -> None:
    report = tmp_path / "images.json"
    command = [sys.executable, "-m", "inspection", "bench", "images", "--rounds", "1", "--json", str(report)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    written = json.loads(report.read_bytes())
    assert written["cores"] >= 1
    measured = written["encodings"]
    assert {each["frames"] for each in measured if each["encoder"] == images.STATION} == {each["frames"] for each in measured}
    assert all(each["lossless"] != each["encoder"].startswith("JPEG") for each in measured)
    assert all(0 < each["ratio"] < 1 for each in measured)
    assert all(each["encoder"].split(",")[0] in done.stdout for each in measured)


def test_reviewing_is_measured_from_key_to_picture_in_a_browser(tmp_path: Path) -> None:
    pytest.importorskip("playwright", reason="reviewing is measured with the playwright package")
    if shutil.which("chromium") is None:
        pytest.skip("reviewing is measured in a Chromium")
    case = review.measure(tmp_path, 2_000, 6, None, lambda step: None, repeats=3)
    assert (case.rows, case.labelled) == (2_000, 12)
    for times in (case.paced, case.at_once):
        assert times.decisions == 6
        assert 0 < times.median <= times.p95 <= times.most
    assert all(0 < times.p50 <= times.p99 for times in case.pages.values())
    with pytest.raises(StationError, match="name a Chromium with --browser"):
        review.measure(tmp_path, 2_000, 5, tmp_path / "no-browser", lambda step: None)


@pytest.mark.by_hand
def test_the_line_is_measured_beside_somebody_at_the_pages(bench_dir: Path) -> None:
    pytest.importorskip("playwright", reason="pages are measured with the playwright package")
    if shutil.which("chromium") is None:
        pytest.skip("pages are measured in a Chromium")
    case = pages.measure(bench_dir, SMALL, 20_000, 10, 15.0, 1, None, lambda step: None)
    assert set(case.pages) == set(case.pages_alone) == set(pages.PAGES)
    assert all(0 < each.median <= each.most for each in (*case.pages.values(), *case.pages_alone.values()))
    for runs in (case.alone, case.beside):
        p50, p99, lost = pages.figures(runs)
        assert 0 < p50 <= p99
        assert lost <= runs[0].parts
