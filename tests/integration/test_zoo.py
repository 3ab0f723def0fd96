"""anomalib's algorithms as models of the station: trained, stored, loaded and deployed like the default."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import typer
from numpy.typing import NDArray
from torch import nn
from typer.testing import CliRunner

from inspection.artifact import read_artifact
from inspection.cli import app as station_app
from inspection.detector import Detector
from inspection.preprocessing import network_input
from training.__main__ import app as training_app
from training.backbone import LITE0, timm
from training.bench import detection_rows, fit_rows
from training.coreset import k_centre
from training.dataset import TrainingImage, good_images, read_frame
from training.errors import TrainingError
from training.peers import Fit, Measured, Seconds, _within
from training.zoo.adapter import with_constant_scales
from training.zoo.algorithms import ALGORITHMS, REFUSED, Task
from training.zoo.command import trainer
from training.zoo.fitting import fit, k_center_greedy
from training.zoo.train import MIN_IMAGES, train
from training.zoo.weights import Pretrained, from_file, installed, packaged

SIZE = 64
EXPORTED = ("anomalib-patchcore", "padim", "stfpm", "supersimplenet", "fastflow", "dfkde")
"""The others are trained below: dfm by the command, reverse_distillation on a user's weights; uflow and fre are but fitted."""


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
def resnet(resnet_file: Path) -> Pretrained:
    return from_file(resnet_file, "resnet18", "of my company")


@pytest.fixture(scope="module")
def resnet_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "own.pth"
    torch.save(timm.create_model("resnet18", pretrained=False).state_dict(), path)
    return path


@pytest.mark.by_hand
@pytest.mark.parametrize("name", EXPORTED)
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


def fitted(name: str, images: list[TrainingImage], pretrained: Pretrained, seed: int = 0) -> tuple[nn.Module, torch.Tensor]:
    """anomalib's model after one epoch, and the normalised network input of an image that it has not seen."""
    inputs = torch.cat([torch.from_numpy(network_input(image.read(), SIZE, SIZE)) for image in images])
    algorithm = ALGORITHMS[name]
    task = Task(pretrained, pretrained.layers_at(algorithm.strides), SIZE, SIZE, len(inputs) - 1, {})
    model = fit(algorithm, task, inputs[1:], 1, seed, lambda done, steps: None)
    mean, std = (torch.tensor(values).reshape(-1, 1, 1) for values in (pretrained.mean, pretrained.std))
    return model, (inputs[:1] - mean) / std


def test_the_same_images_and_seed_give_the_same_network(images: list[TrainingImage], lite0: Pretrained) -> None:
    first, again, other = (fitted("fre", images, lite0, seed)[0].state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert any(not torch.equal(value, other[name]) for name, value in first.items())


@pytest.mark.parametrize("name", ["reverse_distillation", "uflow"])
def test_scores_stand_in_anomalibs_order(name: str, images: list[TrainingImage], resnet: Pretrained) -> None:
    """Where the station computes them otherwise than anomalib's own forward does."""
    algorithm = ALGORITHMS[name]
    model, tensor = fitted(name, images, resnet)
    theirs = model(tensor)
    ours_map, ours = algorithm.predict(with_constant_scales(model), tensor)
    assert ours_map is not None
    torch.testing.assert_close(ours_map.flatten(), theirs.anomaly_map.flatten(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.flatten(), theirs.pred_score.flatten(), rtol=1e-4, atol=1e-5)


def test_dfkde_tells_apart_what_anomalib_calls_impossible(images: list[TrainingImage], lite0: Pretrained) -> None:
    model, usual = fitted("dfkde", images, lite0)
    surprises = [ALGORITHMS["dfkde"].predict(model, tensor)[1].item() for tensor in (usual, usual * 2, usual * 4)]
    assert surprises == sorted(surprises)
    assert np.isfinite(surprises).all()
    assert len({model(tensor).pred_score.item() for tensor in (usual * 2, usual * 4)}) == 1


def test_anomalibs_coreset_is_still_the_greedy_one() -> None:
    torch.manual_seed(0)
    points = torch.randn(300, 8)
    chosen = k_center_greedy.KCenterGreedy(points.unsqueeze(-1), 0.1).select_coreset_idxs()
    assert chosen == k_centre(points, 30, first=chosen[0]).tolist()


def test_a_users_weights_are_used_and_recorded(
    images: list[TrainingImage], resnet: Pretrained, resnet_file: Path, tmp_path: Path
) -> None:
    assert resnet.mean == (0.485, 0.456, 0.406)
    with installed(resnet):
        features = timm.create_model("resnet18", pretrained=True, features_only=True).state_dict()
    assert all(torch.equal(value, resnet.state[name]) for name, value in features.items())

    with pytest.raises(TrainingError, match="give --backbone resnet18 --weights FILE"):
        train(images, "ring", tmp_path, "reverse_distillation", longer_side=SIZE)
    model = train(images, "ring", tmp_path, "reverse_distillation", resnet, longer_side=SIZE, epochs=1)
    backbone = read_artifact(model.path).manifest.provenance.backbone
    assert (backbone.name, backbone.package, backbone.version) == ("resnet18", "own.pth", "")
    assert (backbone.licence, backbone.layers) == ("of my company", ("layer1", "layer2", "layer3"))
    assert backbone.weights_sha256 == hashlib.sha256(resnet_file.read_bytes()).hexdigest()
    assert from_file(resnet_file, "resnet18", "", ["layer2"]).layers_at((4, 8)) == ("layer2",)


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
    with pytest.raises(TrainingError, match=r"cflow is not offered: anomalib scales its map.*choose patchcore"):
        train(images, "ring", tmp_path, "cflow")
    with pytest.raises(TrainingError, match=r"no algorithm 'padam'.*padim"):
        train(images, "ring", tmp_path, "padam")
    with pytest.raises(TrainingError, match="raise --size"):
        train(images, "ring", tmp_path, "supersimplenet", longer_side=SIZE)
    with pytest.raises(TrainingError, match="19 of 19 images are usable, at least 20"):
        train(images[:19], "ring", tmp_path, "padim", longer_side=SIZE)


def test_options_that_do_not_go_together_are_refused(dataset: Path, tmp_path: Path) -> None:
    weights = tmp_path / "w.pth"
    for options, message in (
        (("patchcore", "", None, "", "", 3), "leave them out"),
        (("padim", "resnet18", None, "", "", None), "go together"),
        (("padim", "", None, "", "a,b", None), "go together"),
        (("padim", "resnet18", weights, "", "", None), "needs --licence"),
        (("efficient_ad", "", None, "", "", None), "is not offered"),
    ):
        algorithm, *others = options
        with pytest.raises(TrainingError, match=message):
            trainer(algorithm, None, 150.0, *others)


STATION = """
[station]
data_dir = "data"

[[cameras]]
name = "top"
serial = "SIM1"

[[products]]
part_number = "ring"
camera = "top"
"""


def run(app: typer.Typer, *arguments: str | Path) -> str:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands lower their process's priority, which here is that of all tests."""
    monkeypatch.setattr(os, "nice", lambda increment: 0)


@pytest.mark.usefixtures("patient")
def test_the_command_trains_and_the_station_deploys(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "station.toml").write_text(STATION)
    result = tmp_path / "model.json"
    options = ["--product", "ring", "--size", "96", "--json", result]
    run(training_app, "train", dataset, "--out", tmp_path / "models", "--algorithm", "dfm", *options)
    artifact = json.loads(result.read_text())
    detector = Detector.load(Path(artifact["path"]))
    good, blotted = (detector.inspect(read_frame(dataset / f"test/{label}/0.png")) for label in ("good", "blot"))
    assert blotted.score > detector.review_threshold > good.score
    options = ["--config", tmp_path / "station.toml", "--product", "ring", "--reason", "a test"]
    assert run(station_app, "deploy", artifact["path"], *options).startswith(f"{artifact['digest']} decides for ring since")


@pytest.mark.usefixtures("patient")
def test_the_bench_measures_both_alike(dataset: Path, tmp_path: Path) -> None:
    files = ["--json", tmp_path / "b.json", "--markdown", tmp_path / "b.md"]
    shown = run(training_app, "bench", "detection", dataset, "--size", "64", "--peers", "padim,supersimplenet", *files)
    runs = json.loads((tmp_path / "b.json").read_text())["runs"]
    assert [(each["method"], each["images"]) for each in runs] == [
        ("station", MIN_IMAGES),
        ("padim", MIN_IMAGES),
        ("supersimplenet", MIN_IMAGES),
    ]
    assert [each["figures"] and each["figures"]["image_auroc"] for each in runs] == [1.0, 1.0, None]
    assert "raise --size" in runs[2]["error"]
    head, line, *rows = (tmp_path / "b.md").read_text().splitlines()
    assert head.count("|") == line.count("|") == 10
    assert [row.split(" | ")[1] for row in rows] == ["station", "padim", "supersimplenet"]
    assert "padim" in shown


def test_rows_give_mean_and_spread_of_seeds_and_say_what_is_missing(dataset: Path) -> None:
    failed = Measured("ring", "padim", 0, 20, None, "too few")
    assert detection_rows([failed])[1] == ("ring", "padim", "20", *["–"] * 6)
    own = Fit("ring", "station", 20, 100, Seconds(2.0, 1.0), Seconds(4.0, 2.0), True, 0.98765)
    slow = replace(own, method="peer", bank=Seconds(90.0, 50.0), stored=Seconds(90.0, 50.0), finished=False, image_auroc=None)
    rows = fit_rows([own, slow])
    assert rows[1][4:] == ("2.0", "1.0", "1.0", "4.0", "2.0", "1.0", "0.988")
    assert rows[2][4:] == ("> 90.0", "> 50.0", "> 50.0", "> 90.0", "> 50.0", "> 25.0", "–")


@pytest.mark.by_hand
def test_a_fit_that_takes_too_long_is_ended(dataset: Path, tmp_path: Path) -> None:
    timed = _within(0.01, (dataset, SIZE, None, tmp_path, 0.1, True))
    assert timed.path is None
    assert timed.bank.processor >= 0
    assert 0.01 <= timed.bank.clock < 60
    assert not list(tmp_path.iterdir())
