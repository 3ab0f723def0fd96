"""An artifact is read only when every byte is the one that was stored."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from inspection import artifact
from inspection.artifact import read_artifact, write_artifact
from inspection.errors import ModelError

FILES = {artifact.NETWORK: b"<net/>", artifact.WEIGHTS: b"\x00\x01\x02"}


def manifest(**changes: object) -> artifact.Manifest:
    whole = artifact.Manifest(
        schema_version=artifact.SCHEMA_VERSION,
        product="bracket",
        algorithm="PatchCore",
        preprocessing=artifact.Preprocessing(
            width=64,
            height=48,
            resize="area average, halved first",
            scale="full scale of the pixel format",
            mono="repeated to RGB",
            bayer="bilinear to RGB",
        ),
        calibration=artifact.Calibration(method="5-fold cross-fit", scores=(1.0, 1.5, 2.0)),
        thresholds=artifact.Thresholds(review=2.5, fail=3.0, rule="by hand"),
        metrics={"images": 3.0},
        parity=artifact.Parity(images=3, precision="f32", max_relative_difference=0.0, rank_correlation=1.0, tolerance=0.001),
        provenance=artifact.Provenance(
            created_at=datetime(2026, 1, 2, tzinfo=UTC),
            seed=0,
            backbone=artifact.Backbone(
                name="net", layers=("a",), package="p", version="1", weights_sha256="0" * 64, licence="Apache-2.0"
            ),
            versions={"torch": "2"},
            images=(artifact.TrainingImage(name="1.png", sha256="1" * 64),),
            skipped={},
        ),
        files=artifact.file_entries(FILES),
    )
    return msgspec.structs.replace(whole, **changes)


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    return write_artifact(tmp_path, manifest(), FILES)[0]


def test_what_is_stored_is_what_is_read(tmp_path: Path) -> None:
    path, digest = write_artifact(tmp_path, manifest(), FILES)
    read = read_artifact(path, digest)
    assert path == tmp_path / digest
    assert (read.digest, read.manifest, dict(read.files)) == (digest, manifest(), FILES)


def test_storing_the_same_model_twice_gives_the_same_directory_and_leaves_nothing_behind(tmp_path: Path) -> None:
    first = write_artifact(tmp_path, manifest(), FILES)
    assert write_artifact(tmp_path, manifest(), FILES) == first
    assert list(tmp_path.iterdir()) == [first[0]]


def test_another_manifest_is_another_digest(tmp_path: Path) -> None:
    assert write_artifact(tmp_path, manifest(), FILES)[1] != write_artifact(tmp_path, manifest(product="lid"), FILES)[1]


def test_classes_are_stored_in_their_order_and_a_model_without_any_is_stored_as_before(tmp_path: Path) -> None:
    path, digest = write_artifact(tmp_path, manifest(defect_classes=("scratch", "bent lead")), FILES)
    assert read_artifact(path, digest).manifest.defect_classes == ("scratch", "bent lead")
    document = json.loads((write_artifact(tmp_path, manifest(), FILES)[0] / artifact.MANIFEST).read_bytes())
    assert "defect_classes" not in document, "the digest of such a model would change, and older stations refuse the key"


def test_a_manifest_that_does_not_describe_its_files_is_not_stored(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="export the model again"):
        write_artifact(tmp_path, manifest(), {**FILES, artifact.WEIGHTS: b"other"})
    assert not list(tmp_path.iterdir())


def test_a_models_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file")
    with pytest.raises(ModelError, match=r"cannot store the model in .*models.*free space"):
        write_artifact(tmp_path / "models", manifest(), FILES)


@pytest.mark.parametrize("name", [artifact.NETWORK, artifact.WEIGHTS, artifact.MANIFEST])
def test_one_altered_byte_is_refused(stored: Path, name: str) -> None:
    content = bytearray((stored / name).read_bytes())
    content[len(content) // 2] ^= 1
    (stored / name).write_bytes(content)
    with pytest.raises(ModelError, match=r"altered.*(train again|backup)"):
        read_artifact(stored)


@pytest.mark.parametrize("name", [artifact.NETWORK, artifact.WEIGHTS, artifact.MANIFEST])
def test_a_missing_file_is_named(stored: Path, name: str) -> None:
    (stored / name).unlink()
    with pytest.raises(ModelError, match=rf"cannot be read: {name}"):
        read_artifact(stored)


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nowhere"):
        read_artifact(tmp_path / "nowhere")


def test_another_model_than_the_expected_one_is_refused(stored: Path) -> None:
    with pytest.raises(ModelError, match="expected ffff"):
        read_artifact(stored, "f" * 64)


def rewrite(stored: Path, **changes: object) -> Path:
    """The artifact with top-level keys of its manifest replaced, in a directory whose name says nothing."""
    document = json.loads((stored / artifact.MANIFEST).read_bytes()) | changes
    (stored / artifact.MANIFEST).write_text(json.dumps(document))
    return stored.rename(stored.with_name("renamed"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 2}, "update the station"),
        ({"schema_version": 0}, "train the model again"),
        ({"surprise": 1}, "surprise"),
        ({"thresholds": {"review": 3.0, "fail": 2.0, "rule": ""}}, "must not be above"),
        ({"thresholds": {"review": 0.0, "fail": 2.0, "rule": ""}}, "review"),
        ({"thresholds": {"review": None, "fail": 2.0, "rule": ""}}, "review"),
        ({"calibration": {"method": "", "scores": [2.0, 1.0]}}, "ascend"),
        ({"calibration": {"method": "", "scores": []}}, "scores"),
        ({"defect_classes": ["dent", "dent"]}, "differ"),
        ({"defect_classes": ["dent", "ok"]}, "'ok'"),
        ({"defect_classes": [""]}, "defect_classes"),
        ({"defect_classes": ["a\x00b"]}, "defect_classes"),
        ({"defect_classes": ["d" * 65]}, "defect_classes"),
        ({"files": {"../../etc/passwd": {"sha256": "0" * 64, "size": 1}}}, "files must be"),
    ],
)
def test_a_manifest_that_this_station_does_not_understand_is_refused(
    stored: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        read_artifact(rewrite(stored, **changes))


@pytest.mark.parametrize("size", [2**62, 2**63])
def test_a_manifest_that_promises_more_bytes_than_there_are_is_refused(stored: Path, size: int) -> None:
    files = json.loads((stored / artifact.MANIFEST).read_bytes())["files"]
    files[artifact.WEIGHTS]["size"] = size
    with pytest.raises(ModelError, match=r"altered|not a manifest"):
        read_artifact(rewrite(stored, files=files))


def test_a_model_with_other_preprocessing_is_refused(stored: Path) -> None:
    other = msgspec.to_builtins(manifest().preprocessing) | {"scale": "maximum of the image"}
    with pytest.raises(ModelError, match="scale"):
        read_artifact(rewrite(stored, preprocessing=other))


@pytest.mark.parametrize("garbage", [b"", b"\xff\xfe", b"[]", b"{", b'{"schema_version": "1"}'])
def test_garbage_instead_of_a_manifest_is_refused(stored: Path, garbage: bytes) -> None:
    path = stored.rename(stored.with_name("renamed"))
    (path / artifact.MANIFEST).write_bytes(garbage)
    with pytest.raises(ModelError, match="not a manifest"):
        read_artifact(path)
