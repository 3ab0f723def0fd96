"""The figures of quality, read of SQLite and PostgreSQL and told by REST."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, update

from inspection.domain import LotState, Output, Verdict
from inspection.quality.report import read_figures, report
from inspection.quality.times import Bucket
from inspection.records import quality as records
from inspection.records.labels import add_label
from inspection.records.search import seqs_recorded
from inspection.records.tables import inspections, labels, parts

LOTS = 14
BAD = 9
EACH = 40
START = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)


@pytest.fixture
def production(seeder):
    """Fourteen lots of forty parts, an hour each: two parts in forty stopped, but eighteen in the bad lot."""
    seeder.start = START
    for number in range(LOTS):
        lot = f"Q-{number:02}"
        opened_at = START + timedelta(hours=number)
        seeder.lot(lot, state=LotState.CLOSED, opened_at=opened_at, closed_at=opened_at + timedelta(minutes=50))
        for part in range(EACH):
            stopped = part < (18 if number == BAD else 2 - number % 2 * (number != BAD))
            verdict = (Verdict.FAIL if part else Verdict.REVIEW) if stopped else Verdict.PASS
            at = opened_at + timedelta(minutes=part)
            seeder.inspection(
                lot,
                f"{lot}/{part}",
                verdict,
                recorded_at=at,
                proposed_class="dent" if verdict is Verdict.FAIL else None,
                timings_ms={"total": 20.0 + part},
                score=0.8 + 0.01 * (part % 7) if verdict is Verdict.PASS else 3.1,
            )
    # One part of the first lot came again and passed; another was not inspected.
    again = START + timedelta(minutes=45)
    seeder.inspection("Q-00", "Q-00/0", Verdict.PASS, recorded_at=again, attempt=2)
    seeder.connection.execute(insert(parts).values(lot="Q-00", serial="Q-00/0", attempts=2))
    seeder.inspection(
        "Q-13", "Q-13/x", Verdict.NOT_INSPECTED, recorded_at=START + timedelta(hours=13, minutes=45), reason="deadline"
    )
    _in_commit_order(seeder)
    return seeder


def _in_commit_order(seeder) -> None:
    """Number the inspections anew by their time, as the recorder does."""
    rows = seeder.connection.execute(inspections.select().order_by(inspections.c.recorded_at)).mappings().all()
    seeder.connection.execute(inspections.delete())
    seeder.connection.execute(insert(inspections), [{**row, "seq": number} for number, row in enumerate(rows, 1)])


def _quality(seeder, product: str | None = None, bucket: Bucket = Bucket.HOUR, hours: int = LOTS):
    return report(read_figures(seeder.connection, product, START, START + timedelta(hours=hours), bucket))


def test_lots_periods_and_the_one_out_of_control(production) -> None:
    quality = _quality(production)
    assert quality.inspections == LOTS * EACH + 2
    assert [lot.lot for lot in quality.lots] == [f"Q-{number:02}" for number in range(LOTS)]
    first, bad = quality.lots[0], quality.lots[BAD]
    assert (first.passed, first.failed, first.review) == (EACH - 1, 1, 1)
    # Of forty parts, thirty-eight passed at their first attempt.
    assert (first.first_pass.events, first.first_pass.parts) == (38, 40)
    assert (first.accepted.events, first.accepted.parts) == (39, 41)
    assert bad.stopped.share == 18 / 40
    of_lots = [signal for signal in quality.signals if signal.lot]
    assert [signal.lot for signal in of_lots] == ["Q-09"]
    assert of_lots[0].words.startswith("Lot Q-09: 45.0 % of 40 inspected parts stopped, beyond the control limit")
    assert len(quality.periods) == LOTS
    assert quality.periods[BAD].failed == 17
    assert quality.periods[13].not_inspected == 1
    assert quality.periods[0].first_pass.events == 38
    assert [signal.start for signal in quality.signals if signal.lot is None] == [START + timedelta(hours=BAD)]


def test_causes_scores_and_latency(production) -> None:
    quality = _quality(production)
    causes = {bar.name: bar.count for bar in quality.classes}
    assert causes == {"dent": 17 + 7 - (BAD % 2 == 0), "no class": LOTS}
    assert [(bar.name, bar.count) for bar in quality.reasons] == [("deadline", 1)]
    assert sum(quality.scores.passed) == sum(bar.count for bar in quality.verdicts if bar.name == "pass")
    assert sum(quality.scores.stopped) == sum(causes.values())
    assert all(20 <= latency.p50_ms < latency.p99_ms <= 59 for latency in quality.latencies)
    assert sum(latency.inspections for latency in quality.latencies) == LOTS * EACH + 1
    assert quality.drifts[0].drift.moved == 0
    assert (quality.sampled, quality.stride) == (LOTS * EACH + 2, 1)


def test_figures_of_optics_are_told_of_the_model_that_judged_last(production) -> None:
    connection = production.connection
    for row in connection.execute(inspections.select().order_by("seq")).mappings().all():
        fading = 0.5 - 0.15 * row["seq"] / (LOTS * EACH)
        if row["verdict"] != Verdict.NOT_INSPECTED:
            connection.execute(
                update(inspections).where(inspections.c.seq == row["seq"]).values(optics={"brightness": fading, "sharpness": 0.3})
            )
    optics = _quality(production).optics
    assert optics.frames == LOTS * EACH + 1
    brightness, sharpness = (next(each for each in optics.figures if each.figure == name) for name in ("brightness", "sharpness"))
    assert brightness.groups[0].median > 0.49
    assert brightness.groups[-1].median < 0.36
    # A model that is not registered has no limits to be neared.
    assert (brightness.lower, brightness.statement, sharpness.statement) == (None, "", "")
    assert [each.groups for each in optics.figures if each.figure == "contrast"] == [()]


def test_labels_show_false_rejects_and_escapes(production) -> None:
    connection = production.connection
    dent, review, passed = (
        connection.execute(
            inspections.select().with_only_columns(inspections.c.seq).where(inspections.c.verdict == verdict).order_by("seq")
        )
        .scalars()
        .all()
        for verdict in (Verdict.FAIL, Verdict.REVIEW, Verdict.PASS)
    )
    add_label(connection, dent[0], "ok", "ada")
    add_label(connection, dent[0], "scratch", "ada", "looked again")
    add_label(connection, review[0], "ok", "ada")
    add_label(connection, dent[1], "dent", "ada")
    for seq in passed[:9]:
        add_label(connection, seq, "ok", "ada")
    add_label(connection, passed[9], "dent", "ada")
    # A label that was taken back says nothing.
    add_label(connection, dent[2], "ok", "ada")
    taken_back = add_label(connection, dent[2], "ok", "ada")
    connection.execute(update(labels).where(labels.c.label_id == taken_back.label_id).values(label=None))
    quality = _quality(production)
    assert (quality.labelled.false_rejects.events, quality.labelled.false_rejects.parts) == (1, 3)
    assert (quality.labelled.escapes.events, quality.labelled.escapes.parts) == (1, 10)
    # Clopper and Pearson for one in ten.
    assert (quality.labelled.escapes.lower, quality.labelled.escapes.upper) == (
        pytest.approx(0.0025, abs=1e-4),
        pytest.approx(0.4450, abs=1e-4),
    )
    assert {bar.name: bar.count for bar in quality.classes}["scratch"] == 1


def test_a_product_is_counted_by_its_lots_and_a_time_by_its_edges(production) -> None:
    production.lot("other", product="flange", opened_at=START)
    production.inspection("other", "F1", Verdict.PASS, product="flange", recorded_at=START + timedelta(hours=13, minutes=50))
    whole, plates = _quality(production), _quality(production, "plate")
    assert whole.inspections == plates.inspections + 1
    assert _quality(production, "flange").inspections == 1
    assert _quality(production, "unknown").inspections == 0
    assert _quality(production, hours=3).inspections == 3 * EACH + 1
    assert len(_quality(production, bucket=Bucket.DAY).periods) <= 2


def test_a_sample_is_read_at_a_stride(production) -> None:
    last = LOTS * EACH + 2
    stride, sampled = records.sample(production.connection, 1, last, None, most=100)
    assert (stride, [each.seq for each in sampled]) == (6, list(range(1, last + 1, 6)))
    assert sampled[0].output in (Output.ACCEPT, Output.REJECT)


def test_a_clock_that_was_set_back_leaves_every_inspection_in_one_period(production) -> None:
    connection = production.connection
    connection.execute(
        update(inspections).where(inspections.c.seq.between(200, 240)).values(recorded_at=START + timedelta(hours=4, minutes=10))
    )
    moments = [START + timedelta(hours=number) for number in range(LOTS + 1)]
    edges = records.seq_edges(connection, moments)
    assert list(edges) == sorted(edges)
    assert (edges[0], edges[-1]) == (1, LOTS * EACH + 3)
    assert seqs_recorded(connection, moments[0], moments[-1]) == (1, LOTS * EACH + 2)


def test_quality_over_rest(api, production) -> None:
    production.connection.commit()
    asked = {"from": START.isoformat(), "to": (START + timedelta(hours=LOTS)).isoformat(), "bucket": "hour"}
    answer = api.get("/api/v1/quality", params=asked).json()
    assert answer["quality"]["inspections"] == LOTS * EACH + 2
    assert [signal["lot"] for signal in answer["quality"]["signals"] if signal["lot"]] == ["Q-09"]
    assert api.get("/api/v1/quality", params=asked).json() == answer, "an answer is good for some seconds"
    assert api.get("/api/v1/quality").json()["quality"]["inspections"] == 0
    assert api.get("/api/v1/quality", params=asked | {"to": asked["from"]}).json()["code"] == "no_time"
    assert api.get("/api/v1/quality", params=asked | {"from": "2020-01-01T00:00:00Z"}).json()["code"] == "too_many_periods"
