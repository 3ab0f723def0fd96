"""anomalib's algorithms as models of the station: trained, stored, loaded and deployed like the default."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from inspection.artifact import read_artifact
from inspection.detector import Detector
from training.backbone import LITE0, timm
from training.dataset import TrainingImage, good_images, read_frame
from training.errors import TrainingError
from training.zoo.algorithms import ALGORITHMS, REFUSED
from training.zoo.train import MIN_IMAGES, train
from training.zoo.weights import Pretrained, from_file, packaged

SIZE = 64
QUICK = [name for name, algorithm in ALGORITHMS.items() if not algorithm.resnet]


def part(seed: int) -> NDArray[np.uint8]:
    """A bright ring on a dark ground, gray (96, 96); its place and light vary with the seed."""
    rng = np.random.default_rng(seed)
    image = np.full((96, 96), 50.0)
    cv2.circle(image, (48 + int(rng.integers(-2, 3)), 48 + int(rng.integers(-2, 3))), 28, 150.0, 9)
    return np.clip(image * rng.normal(1, 0.02) + rng.normal(0, 2, image.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ring")
    for folder in ("train/good", "test/good", "test/blot"):
        (root / folder).mkdir(parents=True)
    for seed in range(MIN_IMAGES):
        cv2.imwrite(str(root / f"train/good/{seed:02}.png"), part(seed))
    for seed in range(3):
        cv2.imwrite(str(root / f"test/good/{seed}.png"), part(100 + seed))
        blotted = part(200 + seed)
        cv2.circle(blotted, (30 + 5 * seed, 50), 16, 255, -1)
        cv2.imwrite(str(root / f"test/blot/{seed}.png"), blotted)
    return root


@pytest.fixture(scope="module")
def images(dataset: Path) -> list[TrainingImage]:
    return good_images(dataset)


@pytest.fixture(scope="module")
def lite0() -> Pretrained:
    return packaged()


@pytest.fixture(scope="module")
def resnet_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "own.pth"
    torch.save(timm.create_model("resnet18", pretrained=False).state_dict(), path)
    return path


@pytest.mark.parametrize("name", QUICK)
def test_what_is_trained_is_what_inspects(
    name: str, dataset: Path, images: list[TrainingImage], lite0: Pretrained, tmp_path: Path
) -> None:
    stages: dict[str, tuple[int, int]] = {}
    model = train(
        images,
        "ring",
        tmp_path,
        name,
        lite0,
        progress=lambda stage, done, steps: stages.__setitem__(stage, (done, steps)),
        longer_side=max(SIZE, ALGORITHMS[name].min_side),
        epochs=1,
    )
    assert list(stages) == ["read", "fit", "calibrate", "export", "parity", "store"]
    assert all(done == steps for done, steps in stages.values())
    detector = Detector.load(model.path, model.digest)
    manifest = detector.manifest
    assert manifest.algorithm == f"anomalib {name}"
    assert manifest.parity.max_relative_difference <= manifest.parity.tolerance
    assert len(manifest.calibration.scores) == MIN_IMAGES / 5
    assert 0 < manifest.calibration.scores[0] <= manifest.calibration.scores[-1] < manifest.thresholds.fail
    backbone = manifest.provenance.backbone
    assert (backbone.name, backbone.package, backbone.licence) == (LITE0.name, LITE0.package, "Apache-2.0")
    assert set(backbone.layers) <= {"blocks.1", "blocks.2", "blocks.4", "blocks.6"}

    good, blotted = (detector.inspect(read_frame(dataset / f"test/{label}/0.png")) for label in ("good", "blot"))
    assert good.score > 0
    assert blotted.score != good.score
    assert 0 < good.p_value <= 1
    assert np.isfinite(good.anomaly_map).all()
    if not ALGORITHMS[name].images_seen:  # one epoch teaches the others nothing
        assert blotted.score > good.score
    if name in ("anomalib-patchcore", "padim"):
        y, x = np.unravel_index(blotted.anomaly_map.argmax(), blotted.anomaly_map.shape)
        rows, columns = blotted.anomaly_map.shape
        assert np.hypot(x / columns - 30 / 96, y / rows - 50 / 96) < 0.3


def test_the_same_images_and_seed_give_the_same_network(images: list[TrainingImage], lite0: Pretrained, tmp_path: Path) -> None:
    models = [train(images, "ring", tmp_path, "dfm", lite0, seed=seed, longer_side=SIZE) for seed in (0, 0)]
    first, again = (read_artifact(model.path).manifest for model in models)
    assert first.files == again.files
    assert first.thresholds == again.thresholds


def test_a_users_weights_are_used_and_recorded(images: list[TrainingImage], resnet_file: Path, tmp_path: Path) -> None:
    own = from_file(resnet_file, "resnet18", "of my company", ["layer2", "layer3"])
    assert own.mean == (0.485, 0.456, 0.406)
    model = train(images, "ring", tmp_path, "anomalib-patchcore", own, longer_side=SIZE)
    backbone = read_artifact(model.path).manifest.provenance.backbone
    assert (backbone.name, backbone.package, backbone.version) == ("resnet18", "own.pth", "")
    assert (backbone.licence, backbone.layers) == ("of my company", ("layer2", "layer3"))
    other = tmp_path / "other.pth"
    torch.save({name: value * 0.5 for name, value in torch.load(resnet_file, weights_only=True).items()}, other)
    changed = train(images, "ring", tmp_path, "anomalib-patchcore", from_file(other, "resnet18", ""), longer_side=SIZE)
    files, changed_files = (read_artifact(each.path).manifest.files for each in (model, changed))
    assert files["network.bin"] != changed_files["network.bin"]


def test_algorithms_for_resnets_take_a_users(images: list[TrainingImage], resnet_file: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="give --backbone resnet18 --weights FILE"):
        train(images, "ring", tmp_path, "reverse_distillation", longer_side=SIZE)
    own = from_file(resnet_file, "resnet18", "none")
    model = train(images, "ring", tmp_path, "uflow", own, longer_side=SIZE, epochs=1)
    assert read_artifact(model.path).manifest.provenance.backbone.layers == ("layer1", "layer2", "layer3")


class Executed:
    """What a file that runs code on loading would hold."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("/tmp/unpickled"),))


def test_weights_that_cannot_be_used_are_refused(resnet_file: Path, tmp_path: Path) -> None:
    hostile = tmp_path / "hostile.pth"
    torch.save({"conv1.weight": Executed()}, hostile)
    for path, name, layers, message in (
        (hostile, "resnet18", (), "nothing else is unpickled"),
        (tmp_path / "none.safetensors", "resnet18", (), "cannot read the weights"),
        (resnet_file, "resnet34", (), "does not fit timm's resnet34"),
        (resnet_file, "resnet1", (), "knows no network 'resnet1'"),
        (resnet_file, "resnet18", ("layer9",), "choose among act1, layer1"),
    ):
        with pytest.raises(TrainingError, match=message):
            from_file(path, name, "none", layers)


def test_what_is_not_offered_says_why(images: list[TrainingImage], tmp_path: Path) -> None:
    assert not set(REFUSED) & set(ALGORITHMS)
    with pytest.raises(TrainingError, match="cflow is not offered: anomalib scales its map.*choose patchcore"):
        train(images, "ring", tmp_path, "cflow")
    with pytest.raises(TrainingError, match="no algorithm 'padam'.*padim"):
        train(images, "ring", tmp_path, "padam")
    with pytest.raises(TrainingError, match="raise --size"):
        train(images, "ring", tmp_path, "supersimplenet", longer_side=SIZE)
    with pytest.raises(TrainingError, match="19 of 19 images are usable, at least 20"):
        train(images[:19], "ring", tmp_path, "padim", longer_side=SIZE)


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "inspection", *arguments], capture_output=True, text=True, check=False)


def test_options_that_do_not_go_together_are_refused(dataset: Path, tmp_path: Path) -> None:
    from training.zoo.command import trainer

    weights = tmp_path / "w.pth"
    for options, message in (
        (("patchcore", "", None, "", "", 3), "leave them out"),
        (("padim", "resnet18", None, "", "", None), "go together"),
        (("padim", "", None, "", "a,b", None), "go together"),
        (("padim", "resnet18", weights, "", "", None), "needs --licence"),
        (("efficient_ad", "", None, "", "", None), "is not offered"),
    ):
        with pytest.raises(TrainingError, match=message):
            trainer(*options)
