"""A model artifact: an immutable directory that is named by what it holds, verified to the bit before it is used.

``model.json`` is the manifest and names every other file with its size and SHA-256; the digest of the model is the
SHA-256 of ``model.json`` as stored. Nothing in it is unpickled or executed.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from inspection.domain import OK, Model
from inspection.errors import ModelError

SCHEMA_VERSION = 1
MANIFEST = "model.json"
NETWORK = "network.xml"
WEIGHTS = "network.bin"
MEMORY = "memory.safetensors"
"""What training gave the network, for adding good images later; models of anomalib's other algorithms have none."""

_LARGEST_MANIFEST = 64 * 2**20
"""A hundred thousand training images take a fifth of it."""

Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Positive = Annotated[float, msgspec.Meta(gt=0)]
Precision = Literal["bf16", "f32"]
Count = Annotated[int, msgspec.Meta(ge=1)]
# As long as the column of the records, and readable.
DefectClass = Annotated[str, msgspec.Meta(pattern=r"^[^\x00-\x1f\x7f]{1,64}\Z")]


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of the manifest: immutable, and a key that this version does not know is refused."""


class FileEntry(_Part, frozen=True):
    sha256: Sha256
    size: Annotated[int, msgspec.Meta(ge=0)]


class Preprocessing(_Part, frozen=True):
    """What ``inspection.preprocessing`` does with a frame. A model that was trained with anything else is refused."""

    width: Count
    height: Count
    resize: Literal["area average, halved first"]
    scale: Literal["full scale of the pixel format"]
    mono: Literal["repeated to RGB"]
    bayer: Literal["bilinear to RGB"]


class Calibration(_Part, frozen=True):
    """Scores of good images that were not in the bank that scored them, ascending."""

    method: str
    scores: Annotated[tuple[float, ...], msgspec.Meta(min_length=1)]

    def __post_init__(self) -> None:
        if list(self.scores) != sorted(self.scores):
            raise ValueError("calibration scores must ascend")


class Thresholds(_Part, frozen=True):
    """pass < review <= review verdict < fail <= fail verdict, in units of the raw score."""

    review: Positive
    fail: Positive
    rule: str

    def __post_init__(self) -> None:
        if self.review > self.fail:
            raise ValueError("the review threshold must not be above the fail threshold")


class Parity(_Part, frozen=True):
    """The exported network against the trained one on the same images."""

    images: Count
    precision: Precision
    max_relative_difference: float
    rank_correlation: float
    tolerance: float


class Backbone(_Part, frozen=True):
    """Where the pretrained weights came from.

    ``package`` and ``version`` are those of an installed package, or the name of a user's own file and nothing; the
    licence of such a file is the one that the user stated.
    """

    name: str
    layers: tuple[str, ...]
    package: str
    version: str
    weights_sha256: Sha256
    licence: str


class TrainingImage(_Part, frozen=True):
    name: str
    sha256: Sha256


class Design(_Part, frozen=True):
    """``longer_side`` of the network's input in pixels; ``levels`` of its pyramid, each half as large as the one before.

    ``layers`` are those of the backbone; ``bank_patches`` are remembered at each level.
    """

    longer_side: Count
    levels: Count
    layers: tuple[str, ...]
    bank_patches: Count


class Trial(_Part, frozen=True):
    """One design that was tried: milliseconds for one frame where it was trained (90 % quantile), and its AUROC on good
    images that it did not learn from, against the same kind with synthetic defects. None if it was too slow.
    """

    design: Design
    ms: float
    auroc: float | None


class Provenance(_Part, frozen=True):
    created_at: datetime
    seed: int
    backbone: Backbone
    versions: dict[str, str]
    images: tuple[TrainingImage, ...]
    skipped: dict[str, str]
    rejects: tuple[TrainingImage, ...] = ()
    design: Design | None = None
    tried: tuple[Trial, ...] = ()
    extends: Sha256 | None = None


class FigureRange(_Part, frozen=True):
    """A figure of ``inspection.optics`` over the good images; beyond ``lower`` or ``upper`` a frame is refused, None: never."""

    lowest: float
    median: float
    highest: float
    lower: float | None
    upper: float | None


class FrameSize(_Part, frozen=True):
    width: Count
    height: Count


class OpticsRanges(_Part, frozen=True):
    """How the good images were taken, by figure, and their sizes if they tell which is right: a frame of another is refused."""

    figures: dict[str, FigureRange]
    sizes: tuple[FrameSize, ...] = ()


class ChosenThresholds(_Part, frozen=True):
    """A person chose the thresholds: whose model this was else, ``former`` thresholds included, by whom, when and why."""

    model: Sha256
    former: Thresholds
    by: str
    at: datetime
    reason: str


class Manifest(_Part, frozen=True, omit_defaults=True):
    """``defect_classes`` are the labels of rejects that the network tells apart, in the order of its output ``class_likeness``.

    A model without them, or with the thresholds of its calibration, is written as before there was anything else, so that its
    digest stays and older stations read it.
    """

    schema_version: int
    product: str
    algorithm: str
    preprocessing: Preprocessing
    calibration: Calibration
    thresholds: Thresholds
    metrics: dict[str, float]
    parity: Parity
    provenance: Provenance
    files: dict[str, FileEntry]
    defect_classes: tuple[DefectClass, ...] = ()
    chosen_thresholds: ChosenThresholds | None = None
    optics: OpticsRanges | None = None

    @property
    def learned(self) -> frozenset[str]:
        """The SHA-256 of every image, good or defective, that the network has learned from."""
        return frozenset(image.sha256 for image in (*self.provenance.images, *self.provenance.rejects))

    def __post_init__(self) -> None:
        if set(self.files) - {MEMORY} != {NETWORK, WEIGHTS}:
            raise ValueError(f"files must be {NETWORK}, {WEIGHTS} and, if it can be extended, {MEMORY}")
        if len(set(self.defect_classes)) != len(self.defect_classes) or OK in self.defect_classes:
            raise ValueError(f"defect classes must differ from one another and from {OK!r}")


class _Version(msgspec.Struct):
    schema_version: int


@dataclass(frozen=True, slots=True)
class Artifact:
    """A verified artifact: the bytes of ``files`` are the ones that were hashed."""

    path: Path
    digest: str
    manifest: Manifest
    files: Mapping[str, bytes]


def file_entries(files: Mapping[str, bytes]) -> dict[str, FileEntry]:
    """Size and SHA-256 of each file, by name."""
    return {
        name: FileEntry(sha256=hashlib.sha256(content).hexdigest(), size=len(content)) for name, content in sorted(files.items())
    }


def write_artifact(models_dir: Path, manifest: Manifest, files: Mapping[str, bytes]) -> tuple[Path, str]:
    """Write ``models_dir/<digest>/`` and return its path and digest.

    The directory appears complete or not at all: files are synced in a hidden directory beside it, which is then
    renamed. ``manifest.files`` must describe ``files``. Raises ModelError if they differ or the disk refuses.
    """
    if manifest.files != file_entries(files):
        raise ModelError("the manifest does not describe the files it is stored with; export the model again")
    document = msgspec.json.format(msgspec.json.encode(manifest, order="sorted"), indent=2) + b"\n"
    digest = hashlib.sha256(document).hexdigest()
    path = models_dir / digest
    try:
        models_dir.mkdir(parents=True, exist_ok=True)
        if path.exists():
            read_artifact(path, digest)
            return path, digest
        staging = Path(tempfile.mkdtemp(prefix=".model-", dir=models_dir))
        try:
            staging.chmod(0o755)  # mkdtemp makes it private; the inspector may run as another user
            for name, content in {**files, MANIFEST: document}.items():
                _write_synced(staging / name, content)
            _sync_directory(staging)
            staging.rename(path)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        _sync_directory(models_dir)
    except OSError as error:
        raise ModelError(f"cannot store the model in {models_dir}: {error}; check the path, its owner and free space") from error
    return path, digest


def read_artifact(path: Path, expected_digest: str | None = None) -> Artifact:
    """Read and verify an artifact directory.

    Raises ModelError, saying what to do, if it is missing, incomplete, altered, not the expected one, malformed or
    written by a newer station.
    """
    digest, manifest = _read_manifest(path, expected_digest)
    files = {}
    for name, entry in manifest.files.items():
        content = _read(path / name, path, entry.size)
        if len(content) != entry.size or hashlib.sha256(content).hexdigest() != entry.sha256:
            raise ModelError(
                f"{name} of the model in {path} was altered after training; restore the directory from a backup or train again"
            )
        files[name] = content
    return Artifact(path, digest, manifest, files)


def read_manifest(path: Path, expected_digest: str | None = None) -> Manifest:
    """The manifest alone, verified: enough to tell what a model is, not to run it. Raises ModelError as ``read_artifact``."""
    return _read_manifest(path, expected_digest)[1]


def model_at(path: Path, product: str, digest: str | None = None) -> Model:
    """The artifact at ``path`` as a model to register; ModelError if it is not whole, or is another one than ``digest``."""
    artifact = read_artifact(path, digest)
    manifest = artifact.manifest
    return Model(
        model=artifact.digest,
        product=product,
        path=str(path.resolve()),
        algorithm=manifest.algorithm,
        created_at=manifest.provenance.created_at,
        metrics=manifest.metrics,
    )


def _read_manifest(path: Path, expected_digest: str | None) -> tuple[str, Manifest]:
    document = _read(path / MANIFEST, path, _LARGEST_MANIFEST)
    digest = hashlib.sha256(document).hexdigest()
    named = path.name if re.fullmatch("[0-9a-f]{64}", path.name) else None
    for wanted in (expected_digest, named):
        if wanted is not None and wanted != digest:
            raise ModelError(
                f"the model in {path} is {digest}, expected {wanted}: {MANIFEST} was altered or replaced; "
                f"restore the directory from a backup or train again"
            )
    return digest, _decode(document, path)


def _decode(document: bytes, path: Path) -> Manifest:
    try:
        version = msgspec.json.decode(document, type=_Version).schema_version
        if version != SCHEMA_VERSION:
            raise ModelError(
                f"the model in {path} has manifest version {version}, this station reads version {SCHEMA_VERSION}; "
                f"{'update the station' if version > SCHEMA_VERSION else 'train the model again'}"
            )
        return msgspec.json.decode(document, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ModelError(
            f"{MANIFEST} of the model in {path} is not a manifest of this station: {error}; train the model again"
        ) from error


def _read(file: Path, path: Path, most: int) -> bytes:
    """At most one byte more than ``most``, so that a file that was replaced by an endless one is not read to its end."""
    try:
        # Not waiting for whoever writes into a pipe that somebody put there.
        with os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ModelError(
                    f"{file.name} of the model in {path} is no file; restore the directory from a backup or train again"
                )
            # Room is made for as much as is asked for.
            return stream.read(min(most, status.st_size) + 1)
    except OSError as error:
        raise ModelError(
            f"the model in {path} cannot be read: {file.name}: {error.strerror}; "
            f"check the path, restore the directory from a backup or train again"
        ) from error


def _write_synced(file: Path, content: bytes) -> None:
    with file.open("xb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
