"""Models score stored images with the real detector; what they say is compared, and a person's thresholds make another model."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from small_models import FAIL, REVIEW, network, small_model
from sqlalchemy import Engine, delete, select, update
from typer.testing import CliRunner

import inspection.gate
from inspection import artifact
from inspection.artifact import Thresholds, model_at, read_artifact
from inspection.cli import app
from inspection.comparing import compare
from inspection.config import CameraConfig, Config, ProductConfig, StationConfig
from inspection.deploying import register_artifact
from inspection.detector import Detector
from inspection.domain import ImageKind, Verdict
from inspection.errors import Conflict, ModelError
from inspection.gate import gate_model
from inspection.images import ImageStore
from inspection.model_maps import MapStore
from inspection.records.comparisons import PartSource, stored_parts
from inspection.records.deployments import deploy, register_model
from inspection.records.labels import add_label
from inspection.records.model_scores import known_scores, store_scores
from inspection.records.stored_images import add_golden, golden_inspections
from inspection.records.tables import labels, model_scores
from inspection.rendering import decode_map
from inspection.scoring import score_model
from inspection.thresholds import with_thresholds

PRODUCT = "plate"


@pytest.fixture
def config(image_dir: Path, request: pytest.FixtureRequest) -> Config:
    return Config(
        station=StationConfig(name="cell", data_dir=image_dir.parent, database_url=request.getfixturevalue("database_url")),
        cameras=(CameraConfig(name="top", serial="SIM1"),),
        products=(ProductConfig(part_number=PRODUCT, camera="top", deadline_ms=5_000),),
    )


def part(seeder, brightness: int, label: str | None = None, verdict: Verdict = Verdict.PASS, **values: object) -> int:
    """A part whose frame has one brightness, which is what small models score. No two have the same frame."""
    seq = seeder.inspection("L1", f"S{seeder.seqs}", verdict, **values)
    pixels = np.full((96, 96), brightness, np.uint8)
    pixels[0, 0] = seq % 200
    seeder.image(seq, ImageKind.FRAME, pixels, "Mono8")
    if label is not None:
        add_label(seeder.connection, seq, label, "ada")
    return seq


def sha256_of(config: Config, seeder, seq: int) -> str:
    return next(each.sha256 for each in stored_parts(seeder.connection, PRODUCT) if each.seq == seq)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_model_and_the_one_in_service_score_what_they_are_compared_on(config: Config, seeder, tmp_path: Path) -> None:
    models = config.models_dir
    old = small_model(models)
    seqs = [
        part(seeder, 51, "ok"),  # 0.2
        part(seeder, 102, "ok"),  # 0.4, which is 0.6 to the new one
        part(seeder, 102, "dent"),
        part(seeder, 51, "dent"),  # 0.2, which is 0.3
        part(seeder, 230, "dent", verdict=Verdict.FAIL),
        part(seeder, 60),  # nobody looked
        part(seeder, 70, "ok", model=old.name, score=0.2745),  # scored on the line
    ]
    golden = part(seeder, 20, "ok")
    for image in golden_inspections(seeder.connection, PRODUCT, (golden,), "ada"):
        add_golden(seeder.connection, image)
    learned = sha256_of(config, seeder, seqs[4])
    new = small_model(models, files=network(0, gain=1.5), learned=(learned,))
    seeder.connection.commit()
    for model in (old, new):
        register_artifact(config, model, PRODUCT)
    deploy(seeder.connection, "cell", PRODUCT, old.name, "ada", "the first")
    seeder.connection.commit()

    steps: list[tuple[int, int]] = []
    of_new, of_old = score_model(config, new.name, lambda *step: steps.append(step))
    assert (of_new.model, of_new.new, of_new.known) == (new.name, 8, 0)
    assert (of_old.model, of_old.new, of_old.known) == (old.name, 7, 1), "the line's own score counts"
    assert (steps[0], steps[-1]) == ((0, 15), (15, 15))
    compared = compare(seeder.connection, config.data_dir, "cell", new.name)
    by_seq = {each.seq: each for each in compared.parts}
    assert [each.seq for each in compared.parts if each.source is PartSource.GOLDEN] == [golden]
    second = by_seq[seqs[1]]
    assert second.score == pytest.approx(0.6, abs=0.01)
    assert second.other_score == pytest.approx(0.4, abs=0.01)
    assert (second.verdict, second.other_verdict, second.label) == (Verdict.REVIEW, Verdict.PASS, "ok")
    assert by_seq[seqs[6]].other_score == 0.2745
    assert (by_seq[seqs[5]].label, by_seq[seqs[5]].source) == (None, PartSource.PASS)
    assert [each.seq for each in compared.parts if each.learned] == [seqs[4]]

    # Four good parts, two defective ones; the third was learned from.
    assert compared.left_out == 1
    mine, other = compared.model.figures, compared.other.figures
    assert (mine.false_rejects.events, mine.false_rejects.parts) == (1, 4)
    assert (other.false_rejects.events, other.false_rejects.parts) == (0, 4)
    assert (mine.escapes.events, other.escapes.events, mine.escapes.parts) == (1, 2, 2)
    assert (compared.false_rejects.only_model, compared.escapes.only_other) == (1, 1)
    with_learned = compare(seeder.connection, config.data_dir, "cell", new.name, with_learned=True)
    assert (with_learned.left_out, with_learned.model.figures.escapes.parts) == (0, 3)

    # Both models' maps of what changed its verdict, and of the most telling parts.
    maps = MapStore(config.maps_dir)
    changed = sha256_of(config, seeder, seqs[1])
    for model, score in ((new, 0.6), (old, 0.4)):
        values = decode_map(maps.read(model.name, changed))
        assert values.shape == (12, 12)
        assert values.max() / 65535 * 2 * FAIL == pytest.approx(score, abs=0.01)
    assert sha256_of(config, seeder, seqs[0]) in maps.stored(new.name)
    assert second.map == f"/api/v1/models/{new.name}/maps/{changed}"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_is_known_is_not_scored_again_and_what_is_gone_is_counted(config: Config, seeder) -> None:
    first, second = part(seeder, 51, "ok"), part(seeder, 102, "dent")
    gone = sha256_of(config, seeder, second)
    seeder.connection.commit()
    model = register_artifact(config, small_model(config.models_dir), PRODUCT).model
    ImageStore(config.image_dir).path(gone).unlink()
    (scored,) = score_model(config, model)
    assert (scored.new, scored.known, scored.unreadable) == (1, 0, 1)
    with_trace = update(model_scores).where(model_scores.c.model == model).values(score=0.123)
    seeder.connection.execute(with_trace)
    seeder.connection.commit()
    (again,) = score_model(config, model)
    assert (again.new, again.known, again.unreadable) == (0, 1, 1)
    assert known_scores(seeder.connection, model) == {sha256_of(config, seeder, first): 0.123}
    compared = compare(seeder.connection, config.data_dir, "cell", model)
    assert (compared.other, compared.false_rejects, compared.model.unscored) == (None, None, 1)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_command_says_how_far_it_is_and_what_is_damaged(config: Config, seeder, tmp_path: Path) -> None:
    part(seeder, 51, "ok")
    seeder.connection.commit()
    model = small_model(config.models_dir)
    register_artifact(config, model, PRODUCT)
    path = tmp_path / "station.toml"
    path.write_text(
        f'[station]\nname = "cell"\ndata_dir = "{config.data_dir}"\ndatabase_url = "{config.database_url}"\n'
        '[[cameras]]\nname = "top"\nserial = "SIM1"\n[[products]]\npart_number = "plate"\ncamera = "top"\n'
    )
    told = CliRunner().invoke(app, ["score", model.name, "--config", str(path)])
    assert (told.exit_code, told.output) == (0, f"model {model.name[:12]}: 1 images scored, 0 were scored before\n")
    seeder.connection.execute(delete(model_scores))
    seeder.connection.commit()
    (model / artifact.WEIGHTS).write_bytes(b"altered")
    told = CliRunner().invoke(app, ["score", model.name, "--json", "--config", str(path)])
    assert told.exit_code == 0
    said = [msgspec.json.decode(line) for line in told.stdout.splitlines()]
    assert "network.bin of the model" in said[-1]["said"]
    missing = CliRunner().invoke(app, ["score", "ab" * 32, "--config", str(path)])
    assert missing.exit_code == 1
    assert "is not registered on this station" in missing.output


def test_stored_parts_and_scores_on_both_databases(engine: Engine, seeder, tmp_path: Path) -> None:
    """Labels that were taken back are none, and two who score the same image do not disturb each other."""
    kept, taken_back, passed = part(seeder, 51, "ok"), part(seeder, 60, "dent"), part(seeder, 70)
    part(seeder, 80, "ok", product="flange")
    taken = {"seq": taken_back, "regions": [], "labelled_by": "ada", "labelled_at": seeder.start, "reason": "a mistake"}
    seeder.connection.execute(labels.insert().values(label=None, **taken))
    found = stored_parts(seeder.connection, PRODUCT)
    assert {(each.seq, each.source, each.label) for each in found} == {
        (kept, PartSource.LABEL, "ok"),
        (taken_back, PartSource.PASS, None),
        (passed, PartSource.PASS, None),
    }
    model = small_model(tmp_path)
    register_model(seeder.connection, model_at(model, PRODUCT))
    store_scores(seeder.connection, model.name, {"ab" * 32: 0.5})
    store_scores(seeder.connection, model.name, {"ab" * 32: 0.7, "cd" * 32: 0.6})
    assert known_scores(seeder.connection, model.name) == {"ab" * 32: 0.5, "cd" * 32: 0.6}
    assert len(seeder.connection.execute(select(model_scores)).all()) == 2


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_person_s_thresholds_make_another_model_that_is_gated_like_any(
    config: Config, seeder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspection.gate, "LATENCY_RUNS", 10)
    seq = part(seeder, 51, "ok")
    seeder.connection.commit()
    former = read_artifact(small_model(config.models_dir))
    path, digest = with_thresholds(former, config.models_dir, 0.15, 0.3, "ada", "fewer escapes")
    made = read_artifact(path, digest)
    assert (path, digest != former.digest) == (config.models_dir / digest, True)
    assert made.manifest.thresholds == Thresholds(0.15, 0.3, "chosen by ada, not by calibration: fewer escapes")
    chosen = made.manifest.chosen_thresholds
    assert (chosen.model, chosen.by, chosen.reason) == (former.digest, "ada", "fewer escapes")
    assert chosen.former == former.manifest.thresholds
    # Nothing else: the network to the bit, and what it was calibrated with.
    assert made.files == former.files
    back = msgspec.structs.replace(
        made.manifest,
        thresholds=former.manifest.thresholds,
        provenance=msgspec.structs.replace(made.manifest.provenance, created_at=former.manifest.provenance.created_at),
        chosen_thresholds=None,
    )
    assert back == former.manifest
    # Such a model scores alike, and judges otherwise.
    frame = ImageStore(config.image_dir).frame(sha256_of(config, seeder, seq), "Mono8")
    seeder.connection.rollback()
    assert Detector.load(path).inspect(frame).score == Detector.load(former.path).inspect(frame).score
    register_artifact(config, path, PRODUCT)
    gate = gate_model(config, digest, "ada")
    assert gate.passed, gate.checks
    # Figures of thresholds that a person chose allow for that.
    assert compare(seeder.connection, config.data_dir, "cell", digest).model.figures.looked

    for review, fail in ((0.3, 0.3), (0.4, 0.3), (0.0, 0.3), (-1.0, 0.3), (float("nan"), 0.3), (0.1, float("inf"))):
        with pytest.raises(ModelError, match="are no thresholds"):
            with_thresholds(former, config.models_dir, review, fail, "ada", "nonsense")
    with pytest.raises(Conflict, match="has these thresholds already"):
        with_thresholds(former, config.models_dir, REVIEW, FAIL, "ada", "as they are")
    assert len(list(config.models_dir.iterdir())) == 2, "what was refused left nothing behind"
