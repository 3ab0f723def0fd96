"""A folder of images with each mistake once: all are found and named, and sound folders have none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from training.check_command import ROWS, summary, table
from training.checking import check_folder, check_images, withheld
from training.dataset import MIN_IMAGES, good_images
from training.errors import TrainingError, UnreadableImage
from training.findings import Finding, Kind, Report, Severity, document

PHOTOGRAPHS = Path(__file__).parents[3] / "shared" / "data"


def picture(seed: int, height: int = 24, width: int = 32) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def save(path: Path, pixels: NDArray[np.generic], **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A sound folder: 12 good training images, 2 good and 2 scratched test images with masks."""
    root = tmp_path / "flange"
    for seed in range(12):
        save(root / f"train/good/{seed:02}.png", picture(seed))
    for seed in range(2):
        save(root / f"test/good/{seed}.png", picture(100 + seed))
        save(root / f"test/scratch/{seed}.png", picture(200 + seed))
        mask = np.zeros((24, 32), np.uint8)
        mask[4:6, 4:20] = 255
        save(root / f"ground_truth/scratch/{seed}_mask.png", mask)
    return root


def found(report: Report, kind: Kind) -> Finding:
    """The only finding of a report, which is of this kind."""
    assert [finding.kind for finding in report.findings] == [kind], report.findings
    return report.findings[0]


def test_a_sound_folder_has_no_findings(root: Path) -> None:
    report = check_folder(root)
    assert report.findings == ()
    assert report.images == {"train/good": 12, "test/good": 2, "test/scratch": 2}
    assert (report.refusal, report.left_out) == (None, {})


def test_real_photographs_raise_no_false_alarm() -> None:
    name = "aws_cookies"
    if not (PHOTOGRAPHS / name).is_dir():
        pytest.skip(f"the photographs are not here: {PHOTOGRAPHS / name}")
    findings = check_folder(PHOTOGRAPHS / name).findings
    # A fifth of the defective images come without masks, in a folder of their own.
    assert [finding.image for finding in findings] == ["test/cracked_nomask"]


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:700])


def bomb(path: Path) -> None:
    """A BMP header that claims 100 megapixels."""
    data = bytearray(save(path.with_suffix(".bmp"), picture(0)).read_bytes())
    data[18:26] = np.array([10_000, 10_000], "<i4").tobytes()
    path.with_suffix(".bmp").unlink()
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (truncated, "truncated"),
        (lambda path: path.write_bytes(b""), "the file is empty"),
        (lambda path: path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"), "cannot identify"),
        (lambda path: Image.new("F", (32, 24)).save(path, "TIFF"), "pixels of kind F are not read"),
        (lambda path: Image.new("RGB", (32, 24)).save(path, "GIF"), "cannot identify"),
        (bomb, "10000×10000 pixels are more than 89 megapixels"),
    ],
    ids=["truncated", "empty", "program", "float", "other format", "bomb"],
)
def test_unreadable_images_are_named_and_do_not_stop_the_run(root: Path, damage: Callable[[Path], object], what: str) -> None:
    damage(root / "train/good/03.png")
    report = check_folder(root)
    finding = found(report, Kind.UNREADABLE)
    assert (finding.severity, finding.image) == (Severity.WARNING, "train/good/03.png")
    assert what in finding.what
    assert str(root) not in finding.what
    assert report.refusal is None
    with pytest.raises(UnreadableImage):
        next(image for image in good_images(root) if image.name == "03.png").read()


def grey(path: Path) -> None:
    save(path, picture(3)[..., 0])


def deep(path: Path) -> None:
    save(path, picture(3)[..., 0].astype(np.uint16) * 257)


def deep_colour(path: Path) -> None:
    cv2.imwrite(str(path), picture(3).astype(np.uint16) * 257)


def turned(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    save(path, picture(3), exif=exif)


def pages(path: Path) -> None:
    path.unlink()
    first, second = (Image.fromarray(picture(seed)) for seed in (3, 4444))
    first.save(path.with_suffix(".tif"), save_all=True, append_images=[second])


@pytest.mark.parametrize(
    ("change", "kinds", "says"),
    [
        (lambda path: save(path, picture(3, 48, 64)), {Kind.SIZE}, "64×48 pixels, most have 32×24"),
        (lambda path: save(path, picture(3, 32, 32)), {Kind.ASPECT}, "32×32 pixels, most have 32×24"),
        (grey, {Kind.CHANNELS}, "grey, most are colour"),
        (deep, {Kind.DEPTH, Kind.CHANNELS}, "16 bits, most have 8"),
        (deep_colour, {Kind.DEPTH}, "more than 8 bits for each colour"),
        (turned, {Kind.TURNED}, "asks viewers to turn it"),
        (pages, {Kind.PAGES}, "2 pages, of which the first is read"),
    ],
    ids=["size", "aspect", "grey", "16 bit grey", "16 bit colour", "turned", "pages"],
)
def test_images_unlike_the_others_are_named(root: Path, change: Callable[[Path], object], kinds: set[Kind], says: str) -> None:
    change(root / "train/good/03.png")
    report = check_folder(root)
    assert {finding.kind for finding in report.findings} == kinds
    assert {finding.image.partition(".")[0] for finding in report.findings} == {"train/good/03"}
    assert any(says in finding.what for finding in report.findings)
    assert report.errors == 0
    assert bool(report.left_out) == (Kind.ASPECT in kinds), "stretched, it would teach a shape that no part has"


def test_a_product_of_many_shapes_is_trained_on(root: Path) -> None:
    for number in range(4):
        save(root / f"train/good/{number:02}.png", picture(number, 32, 24 + number))
    report = check_folder(root)
    assert [finding.kind for finding in report.findings] == [Kind.ASPECT] * 4
    assert (report.left_out, report.refusal) == ({}, None)


def test_ten_bits_in_sixteen_are_not_taken_for_blank(root: Path) -> None:
    save(root / "train/good/03.png", picture(3)[..., 0].astype(np.uint16) + 300)
    report = check_folder(root)
    assert {finding.kind for finding in report.findings} == {Kind.DEPTH, Kind.CHANNELS}
    assert report.left_out == {}


def test_damaged_metadata_do_not_condemn_the_pixels(root: Path) -> None:
    path = root / "train/good/03.png"
    Image.fromarray(picture(3)).save(path, exif=b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\xff\xff")
    assert check_folder(root).findings == ()


def test_twelve_bits_in_sixteen_are_named_because_they_are_read_as_black(root: Path) -> None:
    for path in [*root.glob("train/*/*.png"), *root.glob("test/*/*.png")]:
        values = np.asarray(Image.open(path))[..., 0].astype(np.uint16)
        save(path, values * (16 if path.name == "05.png" else 257))
    finding = found(check_folder(root), Kind.DEPTH)
    assert finding.image == "train/good/05.png"
    assert "10 or 12 bits" in finding.what


@pytest.mark.parametrize("level", [0, 128, 255])
def test_blank_frames_teach_nothing(root: Path, level: int) -> None:
    noise = np.random.default_rng(0).integers(0, 2, (24, 32, 3))
    save(root / "train/good/03.png", np.clip(noise + level, 0, 255).astype(np.uint8))
    save(root / "test/good/0.png", np.full((24, 32, 3), level, np.uint8))
    report = check_folder(root)
    assert {(finding.kind, finding.image) for finding in report.findings} == {
        (Kind.BLANK, "train/good/03.png"),
        (Kind.BLANK, "test/good/0.png"),
    }
    assert list(report.left_out) == ["03.png"]
    images = {image.name: image for image in withheld(good_images(root), report)}
    assert len(images) == 12
    with pytest.raises(UnreadableImage, match="blank"):
        images["03.png"].read()
    assert images["04.png"].read().width == 32


def copy(root: Path, source: str, target: str) -> None:
    """The same bytes, or, where the file type differs, the same pixels."""
    if Path(source).suffix == Path(target).suffix:
        (root / target).write_bytes((root / source).read_bytes())
    else:
        save(root / target, np.asarray(Image.open(root / source)))


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
@pytest.mark.parametrize(
    ("source", "target", "kind", "left_out"),
    [
        ("train/good/03.png", "train/good/99", Kind.DUPLICATE, 1),
        ("train/good/03.png", "test/good/99", Kind.LEAKAGE, 0),
        ("train/good/03.png", "test/scratch/99", Kind.CONTRADICTION, 1),
        ("test/good/0.png", "test/scratch/99", Kind.CONTRADICTION, 0),
        ("test/scratch/0.png", "test/scratch/99", Kind.DUPLICATE, 0),
    ],
)
def test_the_same_picture_twice_is_named_with_its_twin(
    root: Path, source: str, target: str, suffix: str, kind: Kind, left_out: int
) -> None:
    copy(root, source, f"{target}.{suffix}")
    report = check_folder(root)
    [finding] = [each for each in report.findings if each.kind is not Kind.MASK]
    assert finding.kind is kind
    assert (finding.severity is Severity.ERROR) == (kind is Kind.CONTRADICTION)
    pair = {source, f"{target}.{suffix}"}
    assert finding.image in pair
    assert any(f"{'file' if suffix == 'png' else 'pixels'} as {name}" in finding.what for name in pair - {finding.image})
    assert len(report.left_out) == left_out
    assert report.refusal is None


def test_a_grey_picture_saved_as_colour_is_the_same_picture(root: Path) -> None:
    mono = picture(1234)[..., 0]
    save(root / "train/good/98.png", mono)
    save(root / "train/good/99.png", np.repeat(mono[..., None], 3, axis=2))
    assert [each.image for each in check_folder(root).findings if each.kind is Kind.DUPLICATE] == ["train/good/99.png"]


def scene(seed: int) -> NDArray[np.uint8]:
    """A smooth picture, as photographs are; noise would not survive JPEG."""
    return cv2.resize(picture(seed, 5, 6), (320, 240), interpolation=cv2.INTER_CUBIC)


def test_a_picture_saved_again_with_loss_or_resized_is_named(root: Path) -> None:
    for folder in ("train/good", "test/good", "test/scratch"):
        for path in (root / folder).iterdir():
            save(path, scene(zlib.crc32(str(path.relative_to(root)).encode())))
    for path in (root / "ground_truth/scratch").iterdir():
        save(path, cv2.line(np.zeros((240, 320), np.uint8), (9, 9), (99, 99), 255))
    assert check_folder(root).findings == ()
    save(root / "test/good/again.jpg", np.asarray(Image.open(root / "train/good/04.png")), quality=80)
    small = cv2.resize(np.asarray(Image.open(root / "train/good/05.png")), (160, 120), interpolation=cv2.INTER_AREA)
    save(root / "train/good/small.png", small)
    near = {each.image: each.what for each in check_folder(root).findings if each.kind is Kind.NEAR_COPY}
    assert near.keys() == {"test/good/again.jpg", "train/good/small.png"}
    assert "train/good/04.png" in near["test/good/again.jpg"]
    assert "train/good/05.png" in near["train/good/small.png"]


def orphan(root: Path) -> None:
    save(root / "ground_truth/scratch/7_mask.png", np.eye(24, 32, dtype=np.uint8) * 255)


def misnamed(root: Path) -> None:
    (root / "ground_truth/scratch/1_mask.png").rename(root / "ground_truth/scratch/1.png")


@pytest.mark.parametrize(
    ("change", "image", "says"),
    [
        (orphan, "ground_truth/scratch/7_mask.png", "add the image"),
        (misnamed, "ground_truth/scratch/1.png", "rename it to ground_truth/scratch/1_mask.png"),
        (
            lambda root: (root / "ground_truth/scratch/1_mask.png").unlink(),
            "test/scratch/1.png",
            "draw ground_truth/scratch/1_mask.png",
        ),
        (lambda root: truncated_mask(root), "ground_truth/scratch/1_mask.png", "draw the mask again"),
        (
            lambda root: save(root / "ground_truth/scratch/1_mask.png", np.zeros((24, 32), np.uint8)),
            "ground_truth/scratch/1_mask.png",
            "marks no pixel",
        ),
        (
            lambda root: save(root / "ground_truth/scratch/1_mask.png", np.full((24, 32), 255, np.uint8)),
            "ground_truth/scratch/1_mask.png",
            "marks every pixel",
        ),
        (
            lambda root: save(root / "ground_truth/scratch/1_mask.png", np.eye(12, 16, dtype=np.uint8)),
            "ground_truth/scratch/1_mask.png",
            "16×12 pixels, its image has 32×24",
        ),
    ],
    ids=["orphan", "misnamed", "missing", "truncated", "empty", "full", "size"],
)
def test_masks_that_do_not_fit_are_named(root: Path, change: Callable[[Path], object], image: str, says: str) -> None:
    change(root)
    findings = check_folder(root).findings
    assert {finding.kind for finding in findings} == {Kind.MASK}
    assert any(finding.image == image and says in f"{finding.what}; {finding.todo}" for finding in findings), findings


def truncated_mask(root: Path) -> None:
    path = root / "ground_truth/scratch/1_mask.png"
    path.write_bytes(path.read_bytes()[:60])


def test_masks_are_optional(root: Path) -> None:
    for path in sorted((root / "ground_truth").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    assert check_folder(root).findings == ()


@pytest.mark.parametrize(
    ("old", "new", "kind", "says"),
    [
        ("train/good", "train/Good", Kind.LAYOUT, "put the images of good parts into train/good"),
        ("train", "training", Kind.LAYOUT, "put the images of good parts into train/good"),
        ("train", "trian", Kind.FOLDER, "rename it to train"),
        ("test", "Test", Kind.FOLDER, "rename it to test"),
        ("ground_truth", "masks", Kind.FOLDER, "rename it to ground_truth"),
        ("test/good", "test/OK", Kind.FOLDER, "rename it to test/good"),
        ("test/good", "test/godo", Kind.FOLDER, "rename it to test/good"),
        ("train/good", "train/normal", Kind.FOLDER, "rename it to train/good"),
    ],
)
def test_wrong_folder_names_are_named_with_what_was_meant(root: Path, old: str, new: str, kind: Kind, says: str) -> None:
    (root / old).rename(root / new)
    report = check_folder(root)
    assert any(finding.kind is kind and says in finding.todo for finding in report.findings), report.findings
    assert (report.refusal is not None) == old.startswith("train")


def test_a_defect_named_like_good_is_an_error_because_it_turns_the_figures_round(root: Path) -> None:
    (root / "test/good").rename(root / "test/ok")
    [finding] = [each for each in check_folder(root).findings if each.severity is Severity.ERROR]
    assert (finding.kind, finding.image) == (Kind.FOLDER, "test/ok")


def test_the_folder_above_or_below_is_pointed_out(root: Path) -> None:
    assert check_folder(root.parent).refusal == f"{root.parent}: no folder train/good; name one of the folders in it: flange"
    assert "move the 12 images into train/good" in str(check_folder(root / "train/good").refusal)
    with pytest.raises(TrainingError, match="no folder"):
        check_folder(root / "nowhere")


def test_files_that_are_not_read_are_named(root: Path) -> None:
    good = root / "train/good"
    (good / "._03.png").write_bytes(b"resource fork")
    (good / ".DS_Store").write_bytes(b"")
    (good / "notes.txt").write_text("x")
    (good / "more.png").mkdir()
    (good / "gone.png").symlink_to(root / "nowhere.png")
    save(root / "test/loose.png", picture(5000))
    findings = check_folder(root).findings
    assert {finding.kind for finding in findings} == {Kind.NOT_READ}
    names = {"._03.png", ".DS_Store", "notes.txt", "more.png", "gone.png"}
    assert {finding.image for finding in findings} == {f"train/good/{name}" for name in names} | {"test"}
    assert len(good_images(root)) == 12


def test_too_few_usable_images_stop_the_run(root: Path) -> None:
    for number in range(3):
        save(root / f"train/good/{number:02}.png", np.zeros((24, 32, 3), np.uint8))
    report = check_folder(root)
    assert report.refusal is not None
    assert f"9 usable images, at least {MIN_IMAGES} are needed" in report.refusal
    assert [finding.kind for finding in report.findings if finding.severity is Severity.ERROR] == [Kind.TOO_FEW]


def test_a_list_of_images_is_checked_without_a_layout(root: Path) -> None:
    truncated(root / "test/good/1.png")
    report = check_images(root, sorted((root / "test/good").iterdir()))
    assert found(report, Kind.UNREADABLE).image == "test/good/1.png"


def test_many_findings_of_one_kind_are_counted_in_the_table_and_listed_in_the_json(root: Path) -> None:
    for number in range(ROWS + 3):
        (root / f"train/good/broken{number:02}[red].png").write_bytes(b"")
    report = check_folder(root)
    assert table(report).row_count == ROWS + 1
    assert document(report)["kinds"] == {"unreadable": ROWS + 3}
    assert summary(report).startswith("errors: 0, warnings: 13;")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"COLUMNS": "200"}
    command = [sys.executable, "-m", "inspection", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_the_command_ends_with_status_one_where_there_are_errors(root: Path, tmp_path: Path) -> None:
    truncated(root / "train/good/03.png")
    done = run("check", str(root))
    assert done.returncode == 0, done.stderr
    assert "train/good/03.png" in done.stdout
    copy(root, "train/good/04.png", "test/scratch/9.png")
    done = run("check", str(root), "--json", str(tmp_path / "check.json"))
    assert done.returncode == 1
    result = json.loads((tmp_path / "check.json").read_text())
    assert (result["errors"], result["kinds"]["unreadable"], result["kinds"]["contradiction"]) == (1, 1, 1)
    assert result["findings"][0]["severity"] == "error"


@pytest.mark.by_hand
def test_no_run_starts_on_a_folder_that_cannot_be_trained_on(root: Path) -> None:
    (root / "train").rename(root / "trian")
    for command in (["train", str(root), "--out", str(root / "models"), "--product", "x"], ["evaluate", str(root)]):
        done = run(*command)
        assert done.returncode == 1
        assert "rename it to train" in done.stderr
        assert done.stderr.splitlines()[-1].startswith(f"error: {root}: no folder train/good; ")
    assert not (root / "models").exists()
