"""The certificate's sections, from its title to the lines for signatures, as flowables of reportlab."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

from reportlab.graphics.shapes import Drawing, Rect
from reportlab.lib.units import mm
from reportlab.platypus import Flowable, KeepTogether, Paragraph, Spacer, Table

from inspection.domain import LotState, Verdict
from inspection.images import ImageStore
from inspection.mes.certified import Certified
from inspection.mes.paper.layout import (
    BAD,
    BAR,
    DIGEST,
    FILL,
    GOOD,
    HEAD,
    NAME,
    RULE,
    SECTION,
    TEXT,
    TITLE,
    WAITING,
    WIDTH,
    clock,
    column,
    moment,
    number,
    percent,
    ruled,
    small,
    style,
)
from inspection.mes.paper.lettering import BOLD, lettered
from inspection.mes.paper.samples import pictures
from inspection.quality.intervals import CONFIDENCE, clopper_pearson

MOST_CAUSES, MOST_PEOPLE, MOST_MODELS = 12, 20, 20
_SIGNATURES = 3
_AGREES = style("agrees", textColor=GOOD)
_DIFFERS = style("differs", fontName=BOLD, textColor=BAD)


def content(certified: Certified, images: ImageStore) -> Iterator[Flowable]:
    """All flowables of the certificate. The fonts are registered before."""
    yield Paragraph("Lot inspection certificate", TITLE)
    yield _standing(certified)
    yield from _section("Lot", _lot(certified))
    yield from _section("Quantities and reconciliation", *_quantities(certified))
    yield from _section("Yield", _yield(certified))
    yield from _section("Why parts did not pass", *_causes(certified))
    yield from _section("Models that decided", *_models(certified))
    yield from _section("Labels given by people", *_labels(certified))
    yield from _section("Rejects with the highest scores", *_samples(certified, images))
    yield KeepTogether([Paragraph("Certified data", SECTION), *_data(certified)])
    yield KeepTogether([Paragraph("Signatures", SECTION), *_signatures()])


def _section(title: str, *flowables: Flowable) -> Iterator[Flowable]:
    yield KeepTogether([Paragraph(title, SECTION), flowables[0]])
    yield from flowables[1:]


def _standing(certified: Certified) -> Flowable:
    checks = certified.reconciliation()
    differing = sum(left != right for _, left, right in checks)
    numbers = "All numbers agree." if not differing else f"Comparisons below that DIFFER: {differing} of {len(checks)}."
    if certified.lot is None:
        text, colour = f"NEVER OPENED: parts named this lot, but it was never opened on this station. {numbers}", BAD
    elif certified.lot.state is LotState.OPEN:
        text, colour = f"PRELIMINARY: the lot is still open, and what is written here may change. {numbers}", WAITING
    else:
        text, colour = f"CLOSED. {numbers}", BAD if differing else GOOD
    box = Table([[Paragraph(text, style("standing", fontName=BOLD, fontSize=9, leading=12, textColor=colour))]], [WIDTH])
    box.setStyle(
        [("BOX", (0, 0), (-1, -1), 1, colour), ("LEFTPADDING", (0, 0), (-1, -1), 8), ("VALIGN", (0, 0), (-1, -1), "MIDDLE")]
    )
    return box


def _lot(certified: Certified) -> Flowable:
    lot, summary, figures = certified.lot, certified.summary, certified.figures
    recipe = "not configured on this station"
    if certified.recipe is not None:
        recipe = f"{certified.recipe}<br/>as configured when this was issued"
    pairs = [
        ("Lot", Paragraph(f"<b>{lettered(summary.lot)}</b>", NAME)),
        ("Product", Paragraph(lettered(summary.product or "–"), NAME)),
        ("State", summary.state or "never opened"),
        ("Station", lettered(certified.station)),
        ("Opened", moment(lot.opened_at if lot else None)),
        ("Closed", moment(lot.closed_at if lot else None)),
        ("First trigger", moment(figures.first_triggered_at)),
        ("Last trigger", moment(figures.last_triggered_at)),
        ("Issued", moment(certified.issued_at)),
        ("Issued by software", f"inspection-station {version('inspection-station')}"),
    ]
    cells = [(Paragraph(name, HEAD), value if isinstance(value, Flowable) else Paragraph(value, TEXT)) for name, value in pairs]
    rows: list[list[Any]] = [[*left, *right] for left, right in zip(cells[::2], cells[1::2], strict=True)]
    rows.append([Paragraph("Recipe SHA-256", HEAD), Paragraph(recipe, DIGEST), "", ""])
    table = ruled(rows, [24 * mm, 63 * mm, 28 * mm, 59 * mm], head=False)
    table.setStyle([("SPAN", (1, len(rows) - 1), (-1, len(rows) - 1))])
    return table


def _quantities(certified: Certified) -> Iterator[Flowable]:
    summary, figures, lot = certified.summary, certified.figures, certified.lot
    expected = "–" if lot is None or lot.expected_quantity is None else str(lot.expected_quantity)
    lines: list[list[tuple[str, object]]] = [
        [("Expected", expected), ("Pass", summary.passed), ("Accepted", summary.accepted)],
        [("Announced", figures.announced), ("Fail", summary.failed), ("Rejected", figures.rejects)],
        [("Parts triggered", figures.parts), ("Review", summary.review), ("Output not confirmed", figures.unconfirmed)],
        [("Triggers", summary.triggered), ("Not inspected", summary.not_inspected), ("", "")],
        [("Still open", summary.open_triggers), ("", ""), ("", "")],
    ]
    head = [column("Quantity"), "", column("Verdicts"), "", column("Outputs"), ""]
    body = [[cell for name, value in line for cell in (Paragraph(name, TEXT), number(value))] for line in lines]
    yield ruled([head, *body], [32 * mm, 26 * mm, 32 * mm, 26 * mm, 34 * mm, 24 * mm])
    yield Spacer(1, 2 * mm)
    rows = [[column("What has to agree"), column("Counted", right=True), column("Against", right=True), column("Result")]]
    for words, left, right in certified.reconciliation():
        difference = f"DIFFERS by {left - right:+d}"
        result = Paragraph("agrees", _AGREES) if left == right else Paragraph(difference, _DIFFERS)
        rows.append([Paragraph(words, TEXT), number(left), number(right), result])
    yield ruled(rows, [98 * mm, 22 * mm, 22 * mm, 32 * mm])
    yield small(
        "A part is a serial; one that was inspected again has several triggers. A part whose output was not confirmed counts as "
        "rejected."
    )


def _yield(certified: Certified) -> Flowable:
    summary, figures = certified.summary, certified.figures
    rows = [
        [
            column("Share"),
            column("Of", right=True),
            column("Yield", right=True),
            column(f"Exact {CONFIDENCE:.0%} interval", right=True),
        ]
    ]
    for words, hits, trials in (
        (
            "First-pass yield: parts that passed when first inspected, of parts inspected",
            figures.first_passes,
            figures.first_attempts,
        ),
        ("Passed, of all triggers", summary.passed, summary.triggered),
    ):
        cells = ["–", "–"]
        if trials:
            low, high = clopper_pearson(hits, trials)
            cells = [percent(hits / trials), f"{percent(low)} to {percent(high)}"]
        rows.append([Paragraph(words, TEXT), *map(number, (f"{hits} of {trials}", *cells))])
    return ruled(rows, [84 * mm, 30 * mm, 22 * mm, 38 * mm])


def _causes(certified: Certified) -> Iterator[Flowable]:
    causes = certified.figures.causes
    if not causes:
        yield Paragraph("Every inspection of the lot passed." if certified.rows else "The lot has no inspections.", TEXT)
        return
    shown = [*causes[:MOST_CAUSES]]
    if len(causes) > MOST_CAUSES:
        shown.append((f"{len(causes) - MOST_CAUSES} further causes", sum(count for _, count in causes[MOST_CAUSES:])))
    total, most, so_far = sum(count for _, count in causes), max(count for _, count in shown), 0
    rows = [[column("Cause"), column(""), *(column(name, right=True) for name in ("Inspections", "Share", "Cumulative"))]]
    for cause, count in shown:
        so_far += count
        bar = Drawing(62 * mm, 3 * mm)
        bar.add(Rect(0, 0, max(62 * mm * count / most, 0.5), 3 * mm, fillColor=BAR, strokeColor=None))
        numbers = (str(count), percent(count / total), percent(so_far / total))
        rows.append([Paragraph(lettered(cause), NAME), bar, *map(number, numbers)])
    yield ruled(rows, [52 * mm, 65 * mm, 19 * mm, 18 * mm, 20 * mm])
    yield small(
        "Inspections that are not pass, by what a person labelled them, or else the class that the model proposed, or else the "
        "reason why they were not inspected."
    )


def _models(certified: Certified) -> Iterator[Flowable]:
    if not certified.figures.models:
        yield Paragraph("The lot has no inspections.", TEXT)
        return
    rows = [
        [
            column("Model SHA-256 and algorithm"),
            column("First and last inspection, UTC"),
            *(column(name, right=True) for name in ("Inspections", "Share")),
        ]
    ]
    for share in certified.figures.models[:MOST_MODELS]:
        span = f"{clock(share.first_at)}<br/>{clock(share.last_at)}"
        if share.model is None:
            what: list[Flowable] = [Paragraph("no model: the part was not inspected", TEXT)]
        else:
            what = [
                Paragraph(lettered(share.model), DIGEST),
                small(lettered(share.algorithm or "not registered on this station")),
            ]
        numbers = (str(share.inspections), percent(share.inspections / certified.rows))
        rows.append([what, Paragraph(span, TEXT), *map(number, numbers)])
    yield ruled(rows, [98 * mm, 38 * mm, 20 * mm, 18 * mm])
    if len(certified.figures.models) > MOST_MODELS:
        yield small(f"and {len(certified.figures.models) - MOST_MODELS} further models, which the certified rows name")


def _labels(certified: Certified) -> Iterator[Flowable]:
    people = certified.figures.labelled
    if not people:
        yield Paragraph("Nobody has labelled an inspection of this lot: all verdicts are the machine's alone.", TEXT)
        return
    rows = [
        [
            column("Labelled by"),
            column("ok", right=True),
            column("as a defect", right=True),
            column("First label, UTC"),
            column("Last label, UTC"),
        ]
    ]
    for person in people[:MOST_PEOPLE]:
        times = (clock(person.first_at), clock(person.last_at))
        numbers = (number(person.ok), number(person.defect))
        rows.append([Paragraph(lettered(person.by), NAME), *numbers, *(Paragraph(time, TEXT) for time in times)])
    yield ruled(rows, [54 * mm, 20 * mm, 24 * mm, 38 * mm, 38 * mm])
    if len(people) > MOST_PEOPLE:
        yield small(f"and {len(people) - MOST_PEOPLE} further people, whom the certified rows name")
    yield Spacer(1, 2 * mm)
    rows = [[column("Verdict of the machine"), column("Labelled ok", right=True), column("Labelled as a defect", right=True)]]
    for verdict in Verdict:
        ok, defect = certified.figures.labels_by_verdict.get(verdict, (0, 0))
        rows.append([Paragraph(verdict.replace("_", " "), TEXT), number(ok), number(defect)])
    yield ruled(rows, [54 * mm, 30 * mm, 40 * mm])
    yield small("Of each inspection the newest label counts. Names of people are as they gave them.")


def _samples(certified: Certified, images: ImageStore) -> Iterator[Flowable]:
    if certified.samples:
        yield from pictures(certified.samples, images)
    else:
        yield Paragraph("No image of a failed or reviewed part is recorded, or people labelled them ok.", TEXT)


def _data(certified: Certified) -> Iterator[Flowable]:
    rows = [
        [Paragraph("Rows", HEAD), Paragraph(str(certified.rows), TEXT)],
        [Paragraph("SHA-256", HEAD), Paragraph(certified.sha256, DIGEST)],
    ]
    yield ruled(rows, [24 * mm, WIDTH - 24 * mm], head=False)
    yield small(
        "The digest is of the lot's CSV file as it was when this was issued: of results.csv of the lot in the station's REST "
        "interface, or of the file that `station export --csv` writes; sha256sum of it gives the same. A label or an output "
        "that was added since changes the file: issue the certificate again then. Each row names the SHA-256 of its frame. "
        "Characters that this document cannot show are written as their code, such as ⟨U+05D0⟩."
    )


def _signatures() -> Iterator[Flowable]:
    names = ("Printed name", "Signature", "Date and time", "Meaning (review, approval, release …)")
    rows: list[list[Any]] = [[column(name) for name in names], *([""] * len(names) for _ in range(_SIGNATURES))]
    table = Table(rows, [44 * mm, 44 * mm, 34 * mm, 52 * mm], rowHeights=[None, *[11 * mm] * _SIGNATURES])
    table.setStyle([("GRID", (0, 0), (-1, -1), 0.5, RULE), ("BACKGROUND", (0, 0), (-1, 0), FILL)])
    yield table
    yield small(
        "This document is not signed electronically. Who opened and who closed the lot is not recorded by the station. "
        "Components of a signature as in 21 CFR 11.50."
    )
