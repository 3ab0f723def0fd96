"""Whether a folder has the MVTec-AD layout: names that are not read, and what was probably meant."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

from training.dataset import GOOD, SUFFIXES, image_paths
from training.findings import Finding, Kind, Severity

TRAIN, TEST, MASKS = "train", "test", "ground_truth"
_MEANT = {
    "training": TRAIN,
    "learn": TRAIN,
    "testing": TEST,
    "tests": TEST,
    "val": TEST,
    "valid": TEST,
    "validation": TEST,
    "gt": MASKS,
    "groundtruth": MASKS,
    "ground-truth": MASKS,
    "ground truth": MASKS,
    "mask": MASKS,
    "masks": MASKS,
    "labels": MASKS,
}
_GOOD = frozenset(
    {"ok", "io", "i.o.", "gut", "goods", "good parts", "normal", "pass", "passed", "no defect", "defect-free", "no_defect"}
)


def layout_findings(root: Path) -> list[Finding]:
    """Folders and files under ``root`` that are not read, and folders whose name says something else than they hold."""
    findings = list(_top(root))
    for part in (TRAIN, TEST):
        if (root / part).is_dir():
            findings += _part(root, root / part)
    for folder in _image_folders(root):
        findings += _files(root, folder)
    return findings


def _top(root: Path) -> Iterator[Finding]:
    folders = [path for path in sorted(root.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    if not (root / TRAIN / GOOD).is_dir():
        inner = [folder.name for folder in folders if (folder / TRAIN / GOOD).is_dir()]
        loose = len(image_paths(root))
        if inner:
            folders = []
            todo = f"name one of the folders in it: {', '.join(inner)}"
        elif (root / TRAIN).is_dir() and image_paths(root / TRAIN):
            todo = "move the good images from train into train/good"
        elif loose:
            todo = f"move the {loose} images into train/good if they are good"
        else:
            todo = "put the images of good parts into train/good (MVTec-AD layout)"
        yield Finding(Severity.ERROR, Kind.LAYOUT, f"{TRAIN}/{GOOD}", "there is no such folder", todo)
    for folder in folders:
        if folder.name not in (TRAIN, TEST, MASKS):
            meant = _MEANT.get(folder.name.lower()) or _close(folder.name, (TRAIN, TEST, MASKS))
            yield _ignored(folder.name, meant)


def _part(root: Path, part: Path) -> Iterator[Finding]:
    """Folders in train and test. In test, each folder but good is a defect, so another word for good is an error."""
    name = part.relative_to(root).as_posix()
    if loose := len(image_paths(part)):
        todo = f"move them into {name}/{GOOD}" + ("" if name == TRAIN else f" or {name}/<defect>")
        yield Finding(Severity.WARNING, Kind.NOT_READ, name, f"{loose} images lie directly in {name} and are not read", todo)
    for folder in sorted(path for path in part.iterdir() if path.is_dir() and not path.name.startswith(".")):
        inner = f"{name}/{folder.name}"
        means_good = folder.name != GOOD and (folder.name.lower() in _GOOD or _close(folder.name, (GOOD,)) is not None)
        if name == TRAIN and folder.name != GOOD:
            yield _ignored(inner, f"{TRAIN}/{GOOD}" if means_good else None, f"{TEST}/{folder.name}")
        elif means_good:
            what = f"is taken for a defect named {folder.name}"
            yield Finding(Severity.ERROR, Kind.FOLDER, inner, what, f"rename it to {TEST}/{GOOD}")


def _ignored(name: str, meant: str | None, otherwise: str = "") -> Finding:
    todo = (
        f"rename it to {meant}"
        if meant
        else f"move it to {otherwise} if it shows a defect"
        if otherwise
        else "remove it, or ignore this"
    )
    return Finding(Severity.WARNING, Kind.FOLDER, name, "the folder is not read", todo)


def _close(name: str, names: tuple[str, ...]) -> str | None:
    return next(iter(get_close_matches(name.lower(), names, n=1, cutoff=0.75)), None)


def _image_folders(root: Path) -> list[Path]:
    labels = [path for part in (TEST, MASKS) for path in sorted((root / part).glob("*"))]
    return [path for path in (root / TRAIN / GOOD, *labels) if path.is_dir() and not path.name.startswith(".")]


def _files(root: Path, folder: Path) -> Iterator[Finding]:
    """Files and folders in a folder of images that are no images by their names."""
    for path in sorted(folder.iterdir()):
        name = path.relative_to(root).as_posix()
        if path.is_dir():
            yield Finding(
                Severity.WARNING, Kind.NOT_READ, name, "folders in here are not read", f"move its images into {folder.name}"
            )
        elif path.name.startswith("."):
            yield Finding(
                Severity.WARNING, Kind.NOT_READ, name, "a hidden file of a file system or viewer", "remove it, or ignore this"
            )
        elif not path.exists():
            yield Finding(Severity.WARNING, Kind.NOT_READ, name, "a link to a file that is not there", "copy the image here")
        elif path.suffix.lower() not in SUFFIXES:
            todo = "save it as PNG if it is an image, or move it away"
            yield Finding(Severity.WARNING, Kind.NOT_READ, name, f"not one of {', '.join(sorted(SUFFIXES))}", todo)
