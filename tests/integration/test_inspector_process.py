"""The inspector process with a real model: pairs become verdicts, and every other frame is said, counted and let go."""

from __future__ import annotations

import hashlib
import re
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pytest
import zxingcpp
from inspector_peers import SIZE, SLOTS, InspectorPeers, frame, scene
from small_models import small_model
from sqlalchemy import Engine

import inspection.inspector
from cameras.messages import CameraArmed, Desync, FaultReport, Heartbeat, Loss
from cameras.ring import SlotState
from inspection.artifact import WEIGHTS, Thresholds, read_artifact, write_artifact
from inspection.config import CameraConfig, Config, ProductConfig, StationConfig
from inspection.deploying import deploy_artifact
from inspection.detector import Detector
from inspection.domain import Model, Reason, Verdict
from inspection.inspector import would_be_late
from inspection.messages import Inspected
from inspection.processes import models_in_service
from inspection.records.database import open_engine
from inspection.records.deployments import deploy, register_model
from inspection.verdict import decide
from training.dataset import TrainingImage
from training.train import train


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    images = [
        TrainingImage(f"{seed}.png", hashlib.sha256(bytes([seed])).hexdigest(), lambda seed=seed: frame(scene(seed)))
        for seed in range(100, 112)
    ]
    return train(images, "plate", tmp_path_factory.mktemp("models")).path


@pytest.fixture(scope="module")
def detector(model: Path) -> Detector:
    """Says what the process must say too."""
    return Detector.load(model)


@pytest.fixture
def peers(model: Path, detector: Detector, monkeypatch: pytest.MonkeyPatch) -> Iterator[InspectorPeers]:
    monkeypatch.setattr(inspection.inspector, "_HEARTBEAT_S", 0.02)
    # Socket paths are short; pytest's are not.
    with tempfile.TemporaryDirectory(prefix="inspector-") as run_dir:
        peers = InspectorPeers(Path(run_dir), lambda: {"plate": (detector.digest, model)})
        yield peers
        peers.close()


# --- pairs ---


@pytest.mark.parametrize("frame_first", [False, True])
def test_a_pair_becomes_the_verdict_of_the_model_in_service(peers: InspectorPeers, detector: Detector, frame_first: bool) -> None:
    with peers.inspector():
        verdicts = []
        for seed, scratched in ((1, False), (2, True), (3, False)):
            ticket = peers.ticket()
            ref = peers.frame(ticket, scene(seed, scratched))
            if frame_first:
                peers.send(ref=ref)
                peers.recorder.expect(Heartbeat, lambda beat: beat.counters["waiting"] == 1)
                peers.send(ticket)
            else:
                peers.send(ticket, ref)
            message = peers.inspected(ticket)
            expected = detector.inspect(frame(scene(seed, scratched)))
            assert (message.score, message.p_value) == (expected.score, expected.p_value)
            assert message.verdict is decide(expected.score, detector.review_threshold, detector.fail_threshold)
            assert (message.model, message.frame) == (detector.digest, ref)
            assert len(message.regions) == len(expected.regions)
            map_ = np.frombuffer(message.map_f16, "<f2").reshape(message.map_height, message.map_width)
            np.testing.assert_array_equal(map_, expected.anomaly_map.astype("<f2"))
            assert {"expose", "transfer", "queue", "preprocess", "infer", "total"} <= message.timings_ms.keys()
            verdicts.append(message.verdict)
        assert verdicts[1] is Verdict.FAIL
        assert verdicts[0] is verdicts[2] is Verdict.PASS
        assert peers.line.came(Desync) == []
    assert peers.ring.free_slots() == SLOTS


def test_a_reject_is_told_with_the_class_that_it_is_most_like(peers: InspectorPeers, tmp_path: Path) -> None:
    path = small_model(tmp_path, ("dent", "scratch"))
    peers.in_service = lambda: {"plate": (path.name, path)}
    dark, dented, scratched = np.zeros((3, SIZE, SIZE), np.uint8)
    dented[:, : SIZE // 2] = 170
    scratched[:, SIZE // 2 :] = 255
    with peers.inspector():
        told = [peers.inspected(peers.part(pixels)[0]) for pixels in (dark, dented, scratched)]
    assert [(message.verdict, message.proposed_class) for message in told] == [
        (Verdict.PASS, None),
        (Verdict.REVIEW, "dent"),
        (Verdict.FAIL, "scratch"),
    ]


NOISE = np.random.default_rng(0)


def marked(serial: str | None) -> np.ndarray:
    """A dark part, every exposure with its own noise, with its serial as a Data Matrix."""
    pixels = NOISE.integers(0, 20, (SIZE, SIZE), np.uint8)
    if serial is not None:
        barcode = zxingcpp.create_barcode(serial, zxingcpp.BarcodeFormat.DataMatrix)
        symbol = np.array(zxingcpp.write_barcode_to_image(barcode, scale=3, add_quiet_zones=True))
        pixels[: symbol.shape[0], : symbol.shape[1]] = symbol
    return pixels


def test_the_verdict_on_a_part_that_carries_another_serial_or_none_is_refused(peers: InspectorPeers, tmp_path: Path) -> None:
    path = small_model(tmp_path)
    peers.in_service = lambda: {"plate": (path.name, path)}
    peers.serial_codes = {"plate": re.compile("SN:(.+)")}
    with peers.inspector():
        told = [peers.inspected(peers.part(marked(shown))[0]).refused for shown in ("SN:S1", "SN:S9", None, "box 7")]
        assert told == [None, Reason.SERIAL_MISMATCH, Reason.SERIAL_UNREAD, Reason.SERIAL_UNREAD]
        faults = [peers.recorder.expect(FaultReport) for _ in range(3)]
        assert faults[0].detail == "trigger 2 names serial 'S2', the part shows 'S9'"
        assert faults[1].detail == "trigger 3 names serial 'S3', the part shows nothing that can be read"


def test_the_code_tells_the_serial_of_a_part_whose_trigger_named_none(peers: InspectorPeers, tmp_path: Path) -> None:
    path = small_model(tmp_path)
    peers.in_service = lambda: {"plate": (path.name, path)}
    peers.serial_codes = {"plate": re.compile("SN:(.+)")}
    both = np.vstack([marked("SN:S8")[: SIZE // 2], marked("SN:S9")[: SIZE // 2]])
    with peers.inspector():
        told = [
            peers.inspected(peers.part(pixels, unnamed=True)[0])
            for pixels in (marked("SN:S7"), marked(None), both, marked("SN:?7"), marked("SN:Ж"))
        ]
        assert [(message.serial, message.refused) for message in told] == [
            ("S7", None),
            (None, Reason.SERIAL_UNREAD),
            (None, Reason.SERIAL_MISMATCH),
            (None, Reason.SERIAL_UNREAD),
            ("Ж", None),
        ]
        peers.recorder.expect(FaultReport)
        assert peers.recorder.expect(FaultReport).detail == "trigger 3 names no serial, the part shows 'S8', 'S9'"
    peers.serial_codes = {}
    with peers.inspector():
        # Another product's configuration: the line should not have asked for it.
        message = peers.inspected(peers.part(marked("SN:S7"), unnamed=True)[0])
        assert (message.serial, message.refused) == (None, Reason.SERIAL_UNREAD)


@pytest.fixture
def station(tmp_path: Path) -> Config:
    """A station that never ran: it has no database yet."""
    return Config(
        station=StationConfig(data_dir=tmp_path / "data"),
        cameras=(CameraConfig(name="top", serial="SIM1"),),
        products=(ProductConfig(part_number="plate", camera="top"),),
    )


@pytest.fixture
def reader(station: Config) -> Iterator[Engine]:
    engine = open_engine(station.database_url, read_only=True)
    yield engine
    engine.dispose()


def test_models_change_between_two_parts_without_losing_one(
    peers: InspectorPeers, model: Path, station: Config, reader: Engine, tmp_path: Path
) -> None:
    former = read_artifact(model)
    stricter = msgspec.structs.replace(
        former.manifest, thresholds=Thresholds(review=1e-6, fail=1e6, rule="everything is reviewed")
    )
    path, digest = write_artifact(tmp_path, stricter, former.files)
    deploy_artifact(station, model, "plate", "test", "the first", override="a test of the inspector")
    peers.in_service = lambda: models_in_service(reader, station)
    judged: list[Inspected] = []
    with peers.inspector():
        until = time.monotonic() + 10
        while not judged or judged[-1].model != digest:
            assert time.monotonic() < until, "the new model does not come into service"
            ticket, _ = peers.part(scene(len(judged)))
            judged.append(peers.inspected(ticket))
            if len(judged) == 5:
                deploy_artifact(station, path, "plate", "test", "the second", override="a test of the inspector")
        for _ in range(5):
            ticket, _ = peers.part(scene(len(judged)))
            judged.append(peers.inspected(ticket))
    models = [message.model for message in judged]
    changed = models.index(digest)
    assert changed >= 5
    assert models == [former.digest] * changed + [digest] * (len(models) - changed)
    assert [message.trigger_id for message in judged] == list(range(1, len(judged) + 1))
    assert {message.verdict for message in judged[changed:]} == {Verdict.REVIEW}
    assert {message.review_threshold for message in judged[changed:]} == {1e-6}


def test_a_model_that_was_altered_after_its_deployment_is_refused_and_the_former_stays(
    peers: InspectorPeers, model: Path, detector: Detector, station: Config, reader: Engine, tmp_path: Path
) -> None:
    former = read_artifact(model)
    path, digest = write_artifact(tmp_path, msgspec.structs.replace(former.manifest, algorithm="another"), former.files)
    deploy_artifact(station, model, "plate", "test", "the first", override="a test of the inspector")
    peers.in_service = lambda: models_in_service(reader, station)
    with peers.inspector():
        # Between two looks of the inspector, so that it never sees the model whole.
        with open_engine(station.database_url).begin() as connection:
            register_model(connection, Model(digest, "plate", str(path), "another", datetime.now(UTC), {}))
            with (path / WEIGHTS).open("r+b") as file:
                file.write(b"altered")
            deploy(connection, station.station.name, "plate", digest, "test", "the second")
        fault = peers.recorder.expect(FaultReport)
        assert fault.kind == "model_refused"
        assert fault.detail.startswith(f"model {digest[:12]} for product plate: {WEIGHTS} of the model in {path} was altered")
        ticket, _ = peers.part(scene(1))
        assert peers.inspected(ticket).model == detector.digest
        assert peers.recorder.came(FaultReport) == [], "it is said once"


def test_a_refused_model_comes_into_service_once_it_is_restored(
    peers: InspectorPeers, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inspection.inspector._RETRY_S", 0.2)
    former = read_artifact(model)
    path, digest = write_artifact(tmp_path, former.manifest, former.files)
    (path / WEIGHTS).write_bytes(b"altered")
    peers.in_service = lambda: {"plate": (digest, path)}
    with peers.inspector():
        assert peers.recorder.expect(FaultReport).kind == "model_refused"
        _, ref = peers.part(scene(1))
        peers.lost(ref, Loss.NO_MODEL)
        (path / WEIGHTS).write_bytes(former.files[WEIGHTS])
        peers.recorder.expect(Heartbeat, lambda beat: beat.ok, 15)
        ticket, _ = peers.part(scene(2))
        assert peers.inspected(ticket).model == digest
        assert not [fault for fault in peers.recorder.came(FaultReport) if fault.kind == "model_refused"], "it is said once"


# --- how a frame was taken ---


def test_a_frame_that_was_taken_badly_is_refused_whatever_its_verdict_and_says_why(peers: InspectorPeers) -> None:
    good = scene(1)
    with peers.inspector():
        told = [peers.inspected(peers.part(pixels)[0]) for pixels in (good, good, good // 4, scene(2))]
        assert [message.refused for message in told] == [None, Reason.OPTICS, Reason.OPTICS, None]
        assert told[1].verdict is Verdict.PASS
        assert told[1].detail == "frozen: the same pixels as the frame before"
        assert told[2].detail is not None
        assert told[2].detail.startswith("too dark: brightness 0.0")
        assert told[2].optics is not None
        assert told[0].optics is not None
        assert told[2].optics["brightness"] == pytest.approx(told[0].optics["brightness"] / 4, rel=0.02)
        faults = [peers.recorder.expect(FaultReport) for _ in range(2)]
        assert [fault.kind for fault in faults] == ["optics", "optics"]
        assert faults[0].detail == "trigger 2, camera top: frozen: the same pixels as the frame before"
        peers.recorder.expect(Heartbeat, lambda beat: beat.counters["unfit_images"] == 2)


def test_light_that_fades_is_said_long_before_a_frame_is_refused(peers: InspectorPeers, detector: Detector) -> None:
    usual = detector.manifest.optics
    assert usual is not None
    brightness = usual.figures["brightness"]
    assert brightness.lower is not None
    dimmed = 1 - 0.9 * (1 - brightness.lower / brightness.median)
    with peers.inspector():
        for number in range(60):
            dim = (scene(200 + number) * dimmed).astype(np.uint8)
            assert peers.inspected(peers.part(dim)[0]).refused is None
        fault = peers.recorder.expect(FaultReport)
    assert fault.kind == "optics_drift"
    assert fault.detail.startswith("brightness of product plate is")


# --- what is not judged ---


def test_without_a_model_for_the_product_nothing_is_judged(peers: InspectorPeers) -> None:
    with peers.inspector():
        _, ref = peers.part(scene(1), product="flange")
        assert "no model is in service for product flange; deploy one" in peers.lost(ref, Loss.NO_MODEL)
        peers.until_free()


def test_a_frame_that_comes_after_the_deadline_is_not_judged(peers: InspectorPeers) -> None:
    with peers.inspector():
        _, ref = peers.part(scene(1), deadline_ms=50, age_ms=51)
        peers.lost(ref, Loss.DEADLINE)
        peers.until_free()
        ticket, _ = peers.part(scene(2))
        peers.inspected(ticket)


def test_under_overload_no_time_is_spent_on_a_part_that_would_be_late() -> None:
    recent = (30.0, 20.0, 50.0)
    assert not would_be_late(470, 500, recent, others_wait=True)
    assert would_be_late(481, 500, recent, others_wait=True)
    assert not would_be_late(481, 500, recent, others_wait=False)
    assert would_be_late(501, 500, recent, others_wait=False)
    assert not would_be_late(499, 500, (), others_wait=True)


def test_a_slot_that_was_taken_back_is_a_lost_frame(peers: InspectorPeers) -> None:
    with peers.inspector():
        ticket = peers.ticket()
        ref = peers.frame(ticket, scene(1))
        peers.ring.release(ref.slot, ref.slot_seq, SlotState.READY)
        others = [peers.frame(peers.ticket(), scene(9)) for _ in range(SLOTS)]
        peers.send(ticket, ref)
        assert peers.lost(ref, Loss.FRAME_LOST) == f"slot {ref.slot} holds frame {SLOTS + 1} as READY, not frame 1 as READY"
        for other in others:
            peers.ring.release(other.slot, other.slot_seq, SlotState.READY)
        following, _ = peers.part(scene(2))
        peers.inspected(following)


def test_a_ring_that_is_gone_is_a_lost_frame(peers: InspectorPeers) -> None:
    with peers.inspector():
        ticket = peers.ticket()
        ref = peers.frame(ticket, scene(1))
        peers.ring.path.unlink()
        peers.send(ticket, ref)
        assert "is gone" in peers.lost(ref, Loss.FRAME_LOST)


def test_a_frame_that_the_detector_cannot_read_is_an_error_of_this_part_alone(peers: InspectorPeers) -> None:
    with peers.inspector():
        ticket = peers.ticket()
        ref = peers.frame(ticket, scene(1), pixel_format="Mono99")
        peers.send(ticket, ref)
        assert "Mono99" in peers.lost(ref, Loss.DETECTOR_ERROR)
        peers.until_free()
        following, _ = peers.part(scene(2))
        peers.inspected(following)


# --- frames that belong to no trigger ---


@pytest.mark.parametrize(
    ("after_ms", "says"),
    [
        (None, "no trigger was issued for count 1"),
        (-20, "before trigger 1 was issued"),
        (130, "after the exposure window of trigger 1"),
    ],
)
def test_a_frame_that_no_trigger_explains_is_a_desync(peers: InspectorPeers, after_ms: float | None, says: str) -> None:
    with peers.inspector():
        ticket = peers.ticket()
        ref = peers.frame(ticket, scene(1), after_ms=after_ms or 1)
        peers.send(None if after_ms is None else ticket, ref)
        desync = peers.line.expect(Desync)
        assert (desync.camera, desync.camera_epoch) == ("top", 1)
        assert says in desync.detail
        assert peers.recorder.expect(FaultReport).kind == "extra_frame"
        peers.until_free()
        assert peers.recorder.came(Inspected) == []


def test_frames_of_a_former_epoch_are_let_go_without_a_word(peers: InspectorPeers) -> None:
    with peers.inspector():
        early = peers.ticket(epoch=1)
        peers.send(ref=peers.frame(early, scene(1)))
        peers.recorder.expect(Heartbeat, lambda beat: beat.counters["waiting"] == 1)
        peers.camera.send("inspector", CameraArmed(camera="top", camera_epoch=2))
        late = peers.ticket(epoch=1)
        peers.send(ref=peers.frame(late, scene(2)))
        peers.until_free()
        ticket, _ = peers.part(scene(3), epoch=2)
        peers.inspected(ticket)
        assert peers.line.came(Desync) == []
        assert peers.recorder.came(FaultReport) == []


def test_a_new_inspector_judges_what_is_announced_and_frees_what_its_predecessor_left(peers: InspectorPeers) -> None:
    for _ in range(2):
        peers.frame(peers.ticket(), scene(0))
    ticket, _ = peers.part(scene(1))  # in flight while no inspector runs
    with peers.inspector():
        peers.inspected(ticket)
        faults = [peers.recorder.expect(FaultReport) for _ in range(2)]
        assert {fault.kind for fault in faults} == {"frame_lost"}
        assert all("no message came for" in fault.detail for fault in faults)
        peers.until_free()
