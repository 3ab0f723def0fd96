"""An evaluation as one self-contained page, and in a few lines of text."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from inspection.domain import Verdict
from inspection.images import encode_map
from inspection.rendering import decode_map, heat_map, jpeg, overlay, thumbnail, view
from training.autopilot import INDIFFERENT
from training.charts import HEIGHT, WIDTH, histogram, roc_points
from training.dataset import read_frame
from training.evaluate import Figures, InspectedImage
from training.experiment import Run, labelled_figures, spread
from training.metrics import Scores

WORST = 6
"""Pictures of false rejects and of escapes, each."""
ROWS = (
    ("image_auroc", "Image AUROC", "chance that a defective part scores higher than a good one"),
    ("f1_max", "F1, best threshold", "of rejecting defective parts"),
    (
        "frr_at_zero_escape",
        "False rejects at zero escapes",
        "share of good parts rejected if every defective one shall be caught",
    ),
    ("frr_at_1pct_escape", "False rejects at 1 % escapes", "likewise if one in a hundred may escape"),
    ("pixel_auroc", "Pixel AUROC", "chance that a defective pixel scores higher than another one"),
    ("aupro", "AUPRO", "per-region overlap up to 30 % false-positive pixels"),
)


@dataclass(frozen=True, slots=True)
class Picture:
    """A test image for the page: what it is, its verdict and score, the photograph and the heat map as data URLs."""

    name: str
    verdict: str
    score: float
    photograph: str
    heat: str


def write_report(path: Path, product: str, runs: Sequence[Run]) -> None:
    """Write the page: the first run's charts and pictures without labels, and all figures. Reads the pictured files again."""
    evaluation = runs[0].evaluation
    inspected = evaluation.inspected
    good = np.array([each.score for each in inspected if each.image.good])
    defective = np.array([each.score for each in inspected if not each.image.good])
    limits = evaluation.thresholds
    rejected = sorted((e for e in inspected if e.image.good and e.verdict is not Verdict.PASS), key=lambda each: -each.score)
    escaped = sorted((e for e in inspected if not e.image.good and e.verdict is Verdict.PASS), key=lambda each: each.score)
    environment = Environment(
        loader=PackageLoader("training"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.get_template("evaluation.html").render(
        product=product,
        model=evaluation.model,
        trained_images=None if evaluation.figures.fit_s is None else runs[0].trained_images,
        seed=runs[0].seed,
        good=len(good),
        defective=len(defective),
        rows=_rows(evaluation.figures),
        labelled_images=len(runs[0].moved),
        labelled_rows=None if runs[0].labelled is None else _rows(runs[0].labelled.figures),
        labelled_spread=spread(labelled_figures(runs)) if len(runs) > 1 and runs[0].labelled is not None else None,
        spread=spread([run.evaluation.figures for run in runs]) if len(runs) > 1 else None,
        row_names=[name for name, _, _ in ROWS],
        runs=len(runs),
        figures=evaluation.figures,
        tried=runs[0].tried,
        design=runs[0].design,
        indifferent=INDIFFERENT,
        limits=limits,
        verdicts=[verdict.value for verdict in (Verdict.PASS, Verdict.REVIEW, Verdict.FAIL)],
        width=WIDTH,
        height=HEIGHT,
        roc=roc_points(good, defective) if len(good) and len(defective) else None,
        points=_operating_points(good, defective, limits.review, limits.fail),
        histogram=histogram(good, defective, limits.review, limits.fail) if inspected else None,
        rejected=_pictures(rejected),
        rejected_count=len(rejected),
        escaped=_pictures(escaped),
        escaped_count=len(escaped),
        missing=evaluation.missing,
        unreadable=runs[0].skipped | evaluation.unreadable,
    )
    path.write_text(page, encoding="utf-8")


def summary_lines(runs: Sequence[Run]) -> list[str]:
    """The figures as lines of text: the first run's with intervals, and mean ± standard deviation over several runs."""
    lines = _figure_lines([run.evaluation.figures for run in runs])
    if runs[0].tried:
        lines.append(f"{runs[0].design}: chosen from {len(runs[0].tried)} designs in {runs[0].search_s:.0f} s")
    if runs[0].labelled is not None:
        lines += [f"with {len(runs[0].moved)} labelled rejects", *_figure_lines(labelled_figures(runs))]
    return lines


def _figure_lines(all_figures: Sequence[Figures]) -> list[str]:
    figures = all_figures[0]
    over_seeds = spread(all_figures) if len(all_figures) > 1 else {}
    lines = []
    for name, label, _ in ROWS:
        value, interval = _row(figures, name)
        of_all = over_seeds.get(name)
        several = f"   {len(all_figures)} seeds: {of_all['mean']:.4f} ± {of_all['std']:.4f}" if isinstance(of_all, dict) else ""
        lines.append(f"{label:<30} {value}{interval and f'  ({interval})'}{several}")
    fit = "" if figures.fit_s is None else f"fit {figures.fit_s:.1f} s, "
    speed = "" if figures.ms_per_image is None else f"{figures.ms_per_image:.1f} ms per image, "
    memory = f"model {figures.model_bytes / 1e6:.1f} MB, peak memory {figures.peak_memory_bytes / 1e6:.0f} MB"
    lines.append(f"{fit}{speed}{memory}")
    for label, counts in figures.verdicts.items():
        lines.append(f"{label}: " + ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items())))
    return lines


def _rows(figures: Figures) -> list[tuple[str, str, str, str]]:
    return [(label, meaning, *_row(figures, name)) for name, label, meaning in ROWS]


def _row(figures: Figures, name: str) -> tuple[str, str]:
    value, interval = getattr(figures, name), getattr(figures, f"{name}_interval", None)
    if value is None:
        return "–", ""
    return f"{value:.4f}", "" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"


def _operating_points(good: Scores, defective: Scores, review: float, fail: float) -> list[tuple[str, float, float]]:
    """Where the model's two thresholds lie on the ROC: name, x, y in SVG pixels."""
    if not (len(good) and len(defective)):
        return []
    return [
        (name, float((good >= threshold).mean()) * WIDTH, float((defective < threshold).mean()) * HEIGHT)
        for name, threshold in (("review", review), ("fail", fail))
    ]


def _pictures(worst: Sequence[InspectedImage]) -> list[Picture]:
    pictures = []
    for each in worst[:WORST]:
        frame = read_frame(each.image.path)
        photograph = thumbnail(view(frame.pixels, frame.pixel_format))
        height, width = photograph.shape[:2]
        # Red where this map is strongest: an escape would otherwise show nothing, and the question is what it was taken for.
        strongest = decode_map(encode_map(each.anomaly_map, float(each.anomaly_map.max()) / 1.5))
        heat = heat_map(strongest, width, height)
        pictures.append(
            Picture(
                each.image.name, each.verdict.value, each.score, _url(jpeg(photograph)), _url(jpeg(overlay(photograph, heat)))
            )
        )
    return pictures


def _url(data: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode('ascii')}"
