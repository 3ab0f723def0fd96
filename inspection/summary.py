"""What a run of parts came to: reconciliation of each lot, confusion against the known truth, AUROC, latency."""

from __future__ import annotations

from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from sqlalchemy import Connection, select

from inspection.cell import Outcome
from inspection.domain import Verdict
from inspection.quality.curves import auroc
from inspection.records.queries import lot_summary
from inspection.records.tables import inspections


def summarize(connection: Connection, lots: list[str], outcomes: list[Outcome]) -> dict[str, Any]:
    """Of these lots, from the records; of the truth and the latency, from what the cell saw."""
    table = []
    for lot in lots:
        counts = lot_summary(connection, lot)
        table.append(
            {
                "lot": lot,
                "triggered": counts.triggered,
                "pass": counts.passed,
                "fail": counts.failed,
                "review": counts.review,
                "not_inspected": counts.not_inspected,
                "accepted": counts.accepted,
                "rejected": counts.rejected,
                "reasons": counts.reasons,
                "balanced": counts.balanced and counts.open_triggers == 0,
                "conveyed": sum(outcome.lot == lot for outcome in outcomes),
                "accepted_by_cell": sum(outcome.lot == lot and outcome.output == "accept" for outcome in outcomes),
            }
        )
    rows = connection.execute(
        select(inspections.c.trigger_id, inspections.c.score, inspections.c.model, inspections.c.timings_ms).where(
            inspections.c.lot.in_(lots)
        )
    ).all()
    score = {row.trigger_id: row.score for row in rows if row.score is not None}
    truth = [(outcome.defect, score[outcome.trigger_id]) for outcome in outcomes if outcome.trigger_id in score]
    good = np.array([value for defect, value in truth if defect is None])
    bad = np.array([value for defect, value in truth if defect is not None])
    durable = [
        outcome.durable_ms
        for outcome in outcomes
        if outcome.durable_ms is not None and outcome.verdict is not Verdict.NOT_INSPECTED
    ]
    stages = sorted({name for row in rows for name in row.timings_ms})
    return {
        "parts": len(outcomes),
        "lots": table,
        "balanced": all(row["balanced"] for row in table),
        "confusion": {
            kind: {
                verdict.value: sum(
                    outcome.verdict is verdict and (outcome.defect is not None) == defective for outcome in outcomes
                )
                for verdict in Verdict
            }
            for kind, defective in (("good", False), ("defective", True))
        },
        "image_auroc": auroc(good, bad) if len(good) and len(bad) else None,
        "trigger_to_durable_ms": _percentiles(durable),
        "stages_ms": {name: _percentiles([row.timings_ms[name] for row in rows if name in row.timings_ms]) for name in stages},
        "models": sorted({row.model for row in rows if row.model}),
    }


def _percentiles(values: list[float]) -> dict[str, float] | None:
    if not values:
        return None
    return {name: round(float(np.percentile(values, q)), 3) for name, q in (("p50", 50), ("p99", 99), ("max", 100))}


def print_summary(console: Console, summary: dict[str, Any]) -> None:
    columns = ("lot", "conveyed", "triggered", "pass", "fail", "review", "not_inspected", "accepted", "rejected", "balanced")
    table = Table(*columns, title="reconciliation", title_justify="left")
    for row in summary["lots"]:
        table.add_row(*("yes" if row[name] is True else "NO" if row[name] is False else str(row[name]) for name in columns))
    console.print(table)
    table = Table("truth", *(verdict.value for verdict in Verdict), title="confusion", title_justify="left")
    for kind, counts in summary["confusion"].items():
        table.add_row(kind, *(str(counts[verdict.value]) for verdict in Verdict))
    console.print(table)
    if summary["image_auroc"] is not None:
        console.print(f"image AUROC {summary['image_auroc']:.4f}")
    latency = summary["trigger_to_durable_ms"]
    if latency is not None:
        console.print(
            f"trigger to durable verdict: p50 {latency['p50']:.1f} ms, p99 {latency['p99']:.1f} ms, max {latency['max']:.1f} ms"
        )
