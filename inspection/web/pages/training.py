"""Training: what can be learned from, the runs, and the report of one run."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from sqlalchemy import Connection

from inspection.artifact import Manifest, read_manifest
from inspection.domain import TrainingRun
from inspection.errors import ModelError, NotFound
from inspection.model_maps import MapStore
from inspection.records.comparisons import StoredPart, most_telling, scores_of, stored_parts
from inspection.records.deployments import get_model, list_deployments
from inspection.records.gates import latest_gate
from inspection.records.training_runs import get_run
from inspection.records.training_sets import get_training_set
from inspection.web.context import Context
from inspection.web.pages import layout
from inspection.web.pages.markup import render
from inspection.web.pages.models import products

SHOTS = 6
"""Pictures of good and of defective parts in a report."""
_STAGE = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (.*)")


@dataclass(frozen=True, slots=True)
class Shot:
    """A part in a report: its frame, its score, and whether its map is stored."""

    part: StoredPart
    score: float
    map: bool


@dataclass(frozen=True, slots=True)
class Report:
    """What a run made. ``damage`` says why the artifact cannot be read, if so."""

    manifest: Manifest | None
    damage: str | None
    good: tuple[Shot, ...]
    defective: tuple[Shot, ...]
    deployed: bool


def install(context: Context) -> None:
    station = context.settings.station

    @layout.page("/training")
    async def training(product: str | None = None) -> None:
        def read() -> list[str]:
            with context.reader.connect() as records:
                return products(context, records)

        known = await asyncio.to_thread(read)
        if product is not None and product not in known:
            layout.show_missing(station, f"There is no product {product!r} on this station; choose one on the training page.")
            return
        chosen = product or (known[0] if known else None)
        layout.show(station, "/training", "Training", render("training.html", products=known, chosen=chosen))

    @layout.page("/training/{training_run_id}")
    async def one_run(training_run_id: str) -> None:
        def read() -> dict[str, Any]:
            if not (training_run_id.isascii() and training_run_id.isdigit() and len(training_run_id) <= 18):
                raise NotFound(f"training runs have numbers, {training_run_id!r} is none; find the run on the training page")
            with context.reader.connect() as records:
                run = get_run(records, int(training_run_id))
                return {
                    "run": run,
                    "training_set": get_training_set(records, run.training_set),
                    "stages": stage_seconds(run),
                    "gate": latest_gate(records, station, run.model) if run.model else None,
                    "report": _report(records, context, run),
                }

        try:
            values = await asyncio.to_thread(read)
        except NotFound as error:
            layout.show_missing(station, str(error))
            return
        layout.show(station, "/training", f"Training run {training_run_id}", render("training_run.html", **values))


def stage_seconds(run: TrainingRun) -> tuple[tuple[str, float], ...]:
    """How long each stage took, by the log of the newest attempt, in which a stage is a line of one word."""
    stages: list[tuple[str, datetime]] = []
    for line in run.log.splitlines():
        if (found := _STAGE.fullmatch(line)) is None:
            continue
        at, text = datetime.fromisoformat(f"{found[1]}+00:00"), found[2]
        if text.startswith("attempt "):
            stages = []
        elif re.fullmatch("[a-z]+", text):
            stages.append((text, at))
    if run.ended_at is None or not stages:
        return ()
    ends = [*stages, ("", max(run.ended_at, stages[-1][1]))]
    return tuple((name, (after - at).total_seconds()) for (name, at), (_, after) in pairwise(ends))


def _report(records: Connection, context: Context, run: TrainingRun) -> Report | None:
    if run.model is None:
        return None
    model = get_model(records, run.model)
    manifest, damage = None, None
    try:
        manifest = read_manifest(context.settings.data_dir / model.path, model.model)
    except ModelError as error:
        damage = str(error)
    learned = manifest.learned if manifest is not None else frozenset()
    parts = [part for part in stored_parts(records, run.product) if part.sha256 not in learned]
    scores = scores_of(records, model.model, parts)
    maps = MapStore(context.settings.data_dir / "maps").stored(model.model)
    good, defective = most_telling(parts, scores, SHOTS)
    serving = list_deployments(records, context.settings.station)
    return Report(
        manifest=manifest,
        damage=damage,
        good=tuple(Shot(part, scores[part.sha256], part.sha256 in maps) for part in good),
        defective=tuple(Shot(part, scores[part.sha256], part.sha256 in maps) for part in defective),
        deployed=any(each.model == model.model and each.ended_at is None for each in serving),
    )
