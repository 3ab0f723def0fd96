"""What the certificate of a lot says, read in one snapshot."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from inspection.domain import Lot, LotSummary
from inspection.mes.tabular import csv_header, csv_rows
from inspection.records.exports import lot_head, lot_rows
from inspection.records.lot_figures import LotFigures, Sample, lot_figures, worst_rejects

SAMPLES = 6


@dataclass(frozen=True, slots=True)
class Certified:
    """What the certificate says. ``lot`` is None for a lot that was never opened, ``recipe`` for a product without one.

    ``sha256`` and ``rows`` are of the CSV file; ``recipe`` is the digest of the recipe as it is configured now.
    """

    station: str
    issued_at: datetime
    lot: Lot | None
    summary: LotSummary
    figures: LotFigures
    samples: tuple[Sample, ...]
    recipe: str | None
    rows: int
    sha256: str

    def reconciliation(self) -> list[tuple[str, int, int]]:
        """What has to agree, in words, and the two numbers."""
        summary, figures, lot = self.summary, self.figures, self.lot
        decided = summary.passed + summary.failed + summary.review + summary.not_inspected
        commanded = summary.accepted + figures.rejects + figures.unconfirmed
        checks = [
            ("Triggers = pass + fail + review + not inspected + still open", summary.triggered, decided + summary.open_triggers),
            (
                "Triggers = accepted + rejected + not confirmed + still open",
                summary.triggered,
                commanded + summary.open_triggers,
            ),
            ("Triggers still open = 0", summary.open_triggers, 0),
            ("Accepted parts without the verdict pass = 0", figures.accepted_without_pass, 0),
            ("Certified rows = inspections decided", self.rows, decided),
        ]
        if figures.announced:
            checks.append(("Announced parts that never came = 0", figures.not_seen, 0))
        if lot is not None and lot.expected_quantity is not None:
            checks.append(("Parts triggered = quantity expected", figures.parts, lot.expected_quantity))
        return checks


def certify(connection: Connection, lot: str, station: str, recipes: Mapping[str, str], issued_at: datetime) -> Certified:
    """Read all that a certificate says of a lot, in one snapshot. Errors as ``lot_head``.

    ``recipes`` are the digests of the station's recipes by product.
    """
    head = lot_head(connection, lot)
    rows, digest = 0, hashlib.sha256(csv_header())
    for batch in lot_rows(lambda: nullcontext(connection), head):
        digest.update(csv_rows(batch))
        rows += len(batch)
    return Certified(
        station=station,
        issued_at=issued_at,
        lot=head.opened,
        summary=head.summary,
        figures=lot_figures(connection, lot),
        samples=worst_rejects(connection, lot, SAMPLES),
        recipe=recipes.get(head.summary.product or ""),
        rows=rows,
        sha256=digest.hexdigest(),
    )
