"""What a scrape finds: sums that others keep, put into Prometheus' words. No question to the records depends on their size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from itertools import accumulate
from pathlib import Path
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError

from inspection.domain import Verdict
from inspection.records.deployments import models_in_service
from inspection.tally import BOUNDS_S, every_reason
from inspection.vitals import started, vitals
from inspection.web.context import Context
from inspection.web.degraded import Degraded
from inspection.web.disk import Disk
from inspection.web.health import Health, Process, Status, health_of, read_status
from inspection.web.metric_table import CAMERA, HEARTBEATS, KNOWN_FAULTS, METRICS

_FAMILIES = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily, "histogram": HistogramMetricFamily}
_LE = (*map(str, BOUNDS_S), "+Inf")
_OUTBOX = {
    "_backlog": "station_outbox_backlog",
    "_age_s": "station_outbox_age_seconds",
    "_delivered": "station_outbox_delivered_total",
}
# Processes that send no heartbeats.
_SILENT = ("web", "trainer", "station")


class Samples:
    """Those of one scrape, by metric."""

    def __init__(self) -> None:
        self._families: dict[str, Any] = {
            each.name: _FAMILIES[each.kind](each.name, each.meaning, labels=each.labels) for each in METRICS
        }

    def add(self, name: str, value: float | None, *labels: str) -> None:
        """A value; None adds nothing."""
        if value is not None:
            self._families[name].add_metric(labels, value)

    def add_times(self, name: str, counts: Sequence[int], sum_s: float, *labels: str) -> None:
        """Times that were counted in the buckets of the tally."""
        self._families[name].add_metric(labels, list(zip(_LE, map(float, accumulate(counts)), strict=True)), sum_s)

    def families(self) -> Iterator[Metric]:
        yield from self._families.values()


class Station(Collector):
    """Collects anew at each scrape. Whatever cannot be read is left out, or 0."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._version = version("inspection-station")

    def describe(self) -> Iterator[Metric]:
        """Asked when it is registered, before the station may be looked at."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        settings = self._context.settings
        samples = Samples()
        status = read_status(settings.status_path)
        health = health_of(self._context, status)
        samples.add("station_info", 1, settings.station, self._version)
        _add_health(samples, health)
        _add_tally(samples, status.tally, settings.products)
        _add_faults(samples, status)
        for process in health.processes:
            _add_heartbeat(samples, process)
        for product, deadline_ms in settings.deadlines_ms.items():
            samples.add("station_deadline_seconds", deadline_ms / 1e3, product)
        for camera, slots in settings.ring_slots.items():
            samples.add("station_ring_slots", slots, camera)
        for name in dict.fromkeys((*(process.name for process in health.processes), *_SILENT)):
            _add_vitals(samples, settings.run_dir, name)
        _add_disk(samples, health.disk)
        _add_database(samples, settings.database_url)
        self._add_models(samples)
        yield from samples.families()

    def _add_models(self, samples: Samples) -> None:
        try:
            with self._context.reader.connect() as records:
                for deployment in models_in_service(records, self._context.settings.station):
                    samples.add("station_model_info", 1, deployment.product, deployment.model)
        except DBAPIError:
            return  # station_ready tells


def _add_health(samples: Samples, health: Health) -> None:
    samples.add("station_ready", health.ready)
    present = {each.reason for each in health.degraded}
    for reason in Degraded:
        samples.add("station_degraded", reason in present, reason.value)
    for process in health.processes:
        samples.add("station_process_up", process.alive, process.name)
        samples.add("station_process_ok", process.ok, process.name)
        samples.add("station_heartbeat_age_seconds", process.age_s, process.name)


def _add_tally(samples: Samples, tally: Mapping[str, Any], products: Sequence[str]) -> None:
    """All products of the configuration count from 0: a first failure is an increase, too."""
    counts = {(product, *which): 0 for product in products for which in every_reason()}
    counts |= {(product, verdict, reason): count for product, verdict, reason, count in tally.get("inspections", ())}
    not_inspected: dict[str, int] = {}
    for (product, verdict, reason), count in counts.items():
        if verdict == Verdict.NOT_INSPECTED:
            samples.add("station_not_inspected_total", count, product, reason)
            not_inspected[product] = not_inspected.get(product, 0) + count
        else:
            samples.add("station_inspections_total", count, product, verdict)
    for product, count in not_inspected.items():
        samples.add("station_inspections_total", count, product, Verdict.NOT_INSPECTED.value)
    for product, stage, times, sum_s in tally.get("stages", ()):
        samples.add_times("station_stage_seconds", times, sum_s, product, stage)
    samples.add("station_late_verdicts_total", tally.get("late_verdicts", 0))
    if "commits" in tally:
        samples.add_times("station_commit_seconds", *tally["commits"])
    for kind in ("frame", "map"):
        samples.add("station_images_stored_total", tally.get("images", {}).get(kind, 0), kind)
        samples.add("station_image_bytes_total", tally.get("image_bytes", {}).get(kind, 0), kind)


def _add_faults(samples: Samples, status: Status) -> None:
    cameras = [name for name in status.beats if name.startswith("camera@")]
    counts = {
        (source, kind): 0 for kind, process in KNOWN_FAULTS.items() for source in (cameras if process == "camera" else [process])
    }
    counts |= {(source, kind): count for source, kind, count in status.tally.get("faults", ())}
    for (source, kind), count in counts.items():
        samples.add("station_faults_total", count, source, kind)


def _add_heartbeat(samples: Samples, process: Process) -> None:
    if process.name.startswith("camera@"):
        camera = process.name.removeprefix("camera@")
        for counter, (metric, labels) in CAMERA.items():
            samples.add(metric, process.counters.get(counter), camera, *labels)
    elif process.name == "outbox":
        for counter, value in process.counters.items():
            for end, metric in _OUTBOX.items():
                if counter.endswith(end):
                    samples.add(metric, value, counter.removesuffix(end))
    else:
        for counter, (metric, labels) in HEARTBEATS.get(process.name, {}).items():
            samples.add(metric, process.counters.get(counter), *labels)


def _add_vitals(samples: Samples, run_dir: Path, name: str) -> None:
    last = started(run_dir, name)
    samples.add("station_process_starts_total", last.starts if last else None, name)
    found = vitals(run_dir, name)
    if found is not None:
        samples.add("station_process_start_time_seconds", found.started_at, name)
        samples.add("station_process_resident_memory_bytes", found.resident_bytes, name)
        samples.add("station_process_private_memory_bytes", found.private_bytes, name)
        samples.add("station_process_cpu_seconds_total", found.cpu_s, name)
        samples.add("station_process_open_fds", found.open_files, name)


def _add_disk(samples: Samples, disk: Disk | None) -> None:
    if disk is not None:
        samples.add("station_disk_bytes", disk.total_bytes)
        samples.add("station_disk_free_bytes", disk.free_bytes)
        samples.add("station_disk_left_parts", disk.parts_left)
        samples.add("station_disk_left_seconds", None if disk.hours_left is None else disk.hours_left * 3600)


def _add_database(samples: Samples, url: str) -> None:
    address = make_url(url)
    if address.get_backend_name() != "sqlite" or not address.database:
        return
    for file, path in (("main", address.database), ("wal", f"{address.database}-wal")):
        try:
            samples.add("station_database_bytes", Path(path).stat().st_size, file)
        except OSError:
            continue  # not there yet
