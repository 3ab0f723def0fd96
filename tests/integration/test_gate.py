"""What lets a model decide and what does not, with real models."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from running_station import PRODUCT, scene

import inspection.deploying
import inspection.gate
from cameras.frame import Frame, PixelFormat
from inspection.artifact import WEIGHTS, Thresholds, read_artifact, write_artifact
from inspection.config import CameraConfig, Config, ProductConfig, StationConfig
from inspection.deploying import deploy_artifact, register_artifact, roll_back
from inspection.detector import Detector
from inspection.domain import Check, ImageKind, Verdict
from inspection.errors import Conflict, GateNotPassed, ModelError
from inspection.gate import gate_model
from inspection.records.deployments import list_deployments, model_in_service
from inspection.records.gates import latest_gate, list_gates
from inspection.records.labels import add_label
from inspection.records.stored_images import add_golden, add_imported, golden_inspections
from training.importing import import_golden

# What is particular to PostgreSQL lies in the records, which have tests of their own.
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

KEPT = "L10"
"""A lot that is kept for validation."""


@pytest.fixture
def config(database_url: str, image_dir: Path) -> Config:
    return Config(
        station=StationConfig(name="cell", data_dir=image_dir.parent, database_url=database_url),
        cameras=(CameraConfig(name="top", serial="SIM1"),),
        products=(ProductConfig(part_number=PRODUCT, camera="top", deadline_ms=5_000),),
    )


@pytest.fixture(autouse=True)
def few_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection.gate, "LATENCY_RUNS", 10)


def variant(model: Path, folder: Path, review: float, fail: float) -> Path:
    """The same network with other thresholds: another model."""
    former = read_artifact(model)
    manifest = msgspec.structs.replace(former.manifest, thresholds=Thresholds(review=review, fail=fail, rule="a test"))
    return write_artifact(folder, manifest, former.files)[0]


@pytest.fixture
def blind(plate_model: Path, tmp_path: Path) -> Path:
    """A model that passes everything."""
    return variant(plate_model, tmp_path, 1e6, 1e7)


@pytest.fixture
def nervous(plate_model: Path, tmp_path: Path) -> Path:
    """A model that passes nothing."""
    return variant(plate_model, tmp_path, 1e-6, 1e6)


def scratched(number: int) -> np.ndarray:
    image = scene(number)
    cv2.line(image, (40, 30), (120, 90), 255, 4)
    return image


def part(seeder, pixels: np.ndarray, label: str | None = None, lot: str = KEPT, **values: object) -> int:
    seq = seeder.inspection(lot, f"S{seeder.seqs}", Verdict.PASS, product=PRODUCT, **values)
    seeder.image(seq, ImageKind.FRAME, pixels, "Mono8")
    if label is not None:
        add_label(seeder.connection, seq, label, "ada")
    return seq


def checks(config: Config, model: Path) -> dict[str, Check]:
    return {check.check: check for check in gate_model(config, register_artifact(config, model, PRODUCT).model, "ada").checks}


def test_a_first_model_is_deployed_with_nothing_to_check_against(config: Config, seeder, plate_model: Path) -> None:
    seeder.connection.commit()
    deployment = deploy_artifact(config, plate_model, PRODUCT, "ada", "the first")
    assert deployment.override is None
    gate = latest_gate(seeder.connection, "cell", plate_model.name)
    assert gate.passed
    assert gate.compared_with is None
    assert {check.check: "nothing to check against" in check.detail for check in gate.checks} == {
        "parity": False,
        "latency": False,
        "golden": True,
        "comparison": True,
    }
    # In service and gated: the same again needs no gate.
    seeder.connection.rollback()
    deploy_artifact(config, plate_model, PRODUCT, "ada", "the first again")
    assert len(list_gates(seeder.connection, "cell", plate_model.name)) == 1


def test_a_model_that_fails_its_golden_set_decides_only_with_a_reason(
    config: Config, seeder, plate_model: Path, blind: Path
) -> None:
    good, bad = part(seeder, scene(1), "ok"), part(seeder, scratched(2), "scratch")
    for image in golden_inspections(seeder.connection, PRODUCT, (good, bad), "ada"):
        add_golden(seeder.connection, image)
    seeder.connection.commit()
    assert checks(config, plate_model)["golden"] == Check("golden", True, "all 2 golden images are judged right")
    with pytest.raises(GateNotPassed, match=r"did not pass its gate \(golden: 1 of 2 golden images: L10/S1 is labelled scratch"):
        deploy_artifact(config, blind, PRODUCT, "ada", "it is faster")
    assert model_in_service(seeder.connection, "cell", PRODUCT) is None
    seeder.connection.rollback()
    forced = deploy_artifact(config, blind, PRODUCT, "ada", "it is faster", override="the line must run tonight")
    assert (forced.model, forced.override) == (blind.name, "the line must run tonight")
    assert list_deployments(seeder.connection, "cell") == (forced,)


def test_a_golden_set_comes_from_a_folder_too(config: Config, seeder, plate_model: Path, blind: Path, tmp_path: Path) -> None:
    seeder.connection.commit()
    for folder, image in (("good", scene(1)), ("scratch", scratched(2))):
        (tmp_path / "golden" / "test" / folder).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "golden" / "test" / folder / "a.png"), image)
    imported = import_golden(config, tmp_path / "golden", PRODUCT, "ada")
    assert (imported.new, imported.known, imported.skipped) == (2, 0, {})
    assert checks(config, plate_model)["golden"].passed
    assert "scratch/a.png is labelled scratch, and the verdict is pass" in checks(config, blind)["golden"].detail


def test_a_model_with_more_escapes_or_false_rejects_than_the_one_in_service_is_worse(
    config: Config, seeder, plate_model: Path, blind: Path, nervous: Path
) -> None:
    for number in range(12):
        part(seeder, scene(500 + number), "ok")
    part(seeder, scratched(2), "scratch")
    part(seeder, scratched(3), "scratch", lot="L1")  # a lot to learn from
    seeder.connection.commit()
    deploy_artifact(config, plate_model, PRODUCT, "ada", "the first")
    with pytest.raises(GateNotPassed, match=r"escapes 1 of 1 .* in service 0 of 1"):
        deploy_artifact(config, blind, PRODUCT, "ada", "fewer false rejects")
    compared = checks(config, nervous)["comparison"]
    assert not compared.passed
    assert "escapes 0 of 1" in compared.detail
    assert "false rejects 12 of 12 (95 %: 73.5% to 100.0%)" in compared.detail
    same = checks(config, variant(plate_model, nervous.parent, *_thresholds(plate_model)))
    assert same["comparison"].passed
    assert latest_gate(seeder.connection, "cell", nervous.name).compared_with == plate_model.name


def _thresholds(model: Path) -> tuple[float, float]:
    """Those of the model, but for a rounding."""
    thresholds = read_artifact(model).manifest.thresholds
    return thresholds.review * (1 + 1e-9), thresholds.fail * (1 + 1e-9)


def test_parts_that_a_model_learned_from_do_not_speak_for_it(config: Config, seeder, plate_model: Path, nervous: Path) -> None:
    # The very files of the training images, labelled as if they had come from the line.
    former = read_artifact(plate_model)
    seqs = [part(seeder, scene(1_000_000 + number), "ok") for number in range(3)]
    hashes = [seeder.connection.exec_driver_sql(f"SELECT sha256 FROM images WHERE seq = {seq}").scalar_one() for seq in seqs]
    learned = zip(former.manifest.provenance.images, hashes, strict=False)
    images = tuple(msgspec.structs.replace(image, sha256=sha256) for image, sha256 in learned)
    provenance = msgspec.structs.replace(former.manifest.provenance, images=images)
    taught, _ = write_artifact(nervous.parent, msgspec.structs.replace(former.manifest, provenance=provenance), former.files)
    seeder.connection.commit()
    deploy_artifact(config, taught, PRODUCT, "ada", "the first")
    assert "no labelled part of a validation lot" in checks(config, nervous)["comparison"].detail


def test_a_model_is_as_it_was_on_the_line_or_fails(config: Config, seeder, plate_model: Path, blind: Path) -> None:
    score = Detector.load(plate_model).inspect(Frame(scene(1), PixelFormat.Mono8, 0, 0, 0)).score
    part(seeder, scene(1), lot="L1", model=plate_model.name, score=score)
    part(seeder, scene(2), lot="L1", model=blind.name, score=score * 2)
    part(seeder, scene(3), lot="L1", model=plate_model.name, score=score * 1.5, timings_ms={"total": 9_000.0})
    add_imported(seeder.connection, PRODUCT, "ab" * 32, "gone.png", "/photographs", "Mono8", "ada")
    seeder.connection.commit()
    found = checks(config, plate_model)
    assert not found["parity"].passed
    assert found["parity"].detail.count("on the line") == 1, "the first frame has the score that it had"
    assert not found["latency"].passed
    assert "the rest of the way within 9000.0 ms; the deadline is 5000 ms" in found["latency"].detail
    assert f"and {score * 2:.6g} on the line" in checks(config, blind)["parity"].detail


def test_an_altered_model_does_not_pass(config: Config, seeder, blind: Path) -> None:
    seeder.connection.commit()
    digest = register_artifact(config, blind, PRODUCT).model
    with (blind / WEIGHTS).open("r+b") as file:
        file.write(b"altered")
    gate = gate_model(config, digest, "ada")
    assert not gate.passed
    assert [check.check for check in gate.checks] == ["parity"]
    assert "network.bin of the model" in gate.checks[0].detail


def test_rolling_back_puts_the_former_model_in_service(config: Config, seeder, plate_model: Path, blind: Path) -> None:
    seeder.connection.commit()
    with pytest.raises(Conflict, match="no other model was in service"):
        roll_back(config, PRODUCT, "bob", "escapes")
    deploy_artifact(config, plate_model, PRODUCT, "ada", "the first")
    with pytest.raises(Conflict, match="no other model was in service"):
        roll_back(config, PRODUCT, "bob", "escapes")
    deploy_artifact(config, blind, PRODUCT, "ada", "the second")
    back = roll_back(config, PRODUCT, "bob", "escapes")
    assert (back.model, back.deployed_by, back.reason) == (plate_model.name, "bob", "rolled back: escapes")
    newest, second, first = list_deployments(seeder.connection, "cell")
    seeder.connection.rollback()
    assert (newest, second.model, second.ended_at, first.model) == (back, blind.name, back.deployed_at, plate_model.name)
    with pytest.raises(Conflict, match="no other model was in service"):
        roll_back(config, PRODUCT, "bob", "again, by mistake")
    assert model_in_service(seeder.connection, "cell", PRODUCT) == back


def test_a_former_model_whose_artifact_is_gone_does_not_decide_again(
    config: Config, seeder, plate_model: Path, blind: Path
) -> None:
    seeder.connection.commit()
    deploy_artifact(config, blind, PRODUCT, "ada", "the first")
    present = deploy_artifact(config, plate_model, PRODUCT, "ada", "the second", override="a test")
    shutil.rmtree(blind)
    with pytest.raises(ModelError, match="cannot be read"):
        roll_back(config, PRODUCT, "bob", "the other one, if it were there")
    assert model_in_service(seeder.connection, "cell", PRODUCT) == present


def test_what_is_deployed_while_a_rollback_looks_at_the_artifact_stays(
    config: Config, seeder, plate_model: Path, blind: Path, nervous: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeder.connection.commit()
    for model in (plate_model, blind):
        deploy_artifact(config, model, PRODUCT, "ada", "a test", override="a test")

    def meanwhile(path: Path, digest: str) -> None:
        monkeypatch.undo()
        deploy_artifact(config, nervous, PRODUCT, "eve", "at the same time", override="a test")

    monkeypatch.setattr(inspection.deploying, "read_artifact", meanwhile)
    with pytest.raises(Conflict, match=f"model {nervous.name[:12]} is in service for plate now, not {blind.name[:12]}"):
        roll_back(config, PRODUCT, "bob", "escapes")
    assert model_in_service(seeder.connection, "cell", PRODUCT).model == nervous.name


def test_a_gate_holds_no_transaction_while_it_checks(
    config: Config, seeder, plate_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recorder writes on, and would wait for five seconds at most."""
    seeder.connection.commit()
    digest = register_artifact(config, plate_model, PRODUCT).model
    latency = inspection.gate._latency

    def and_a_part_comes(*arguments: object) -> Check:
        part(seeder, scene(1))
        seeder.connection.commit()
        return latency(*arguments)

    monkeypatch.setattr(inspection.gate, "_latency", and_a_part_comes)
    assert gate_model(config, digest, "ada").passed
