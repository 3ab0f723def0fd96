"""Masks of defects: ``ground_truth/<defect>/<stem>_mask.png`` for ``test/<defect>/<stem>.*``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from training.dataset import GOOD, image_paths, read_mask
from training.errors import UnreadableImage
from training.findings import Finding, Kind, Severity
from training.layout import MASKS, TEST
from training.picture import Picture

SUFFIX = "_mask"


def mask_findings(root: Path, pictures: Sequence[Picture], progress: Callable[[str, int, int], None]) -> list[Finding]:
    """Masks without an image, without a defect, of another size or damaged, and defective images without a mask.

    Masks are optional: without any, or for a defect without any, there is nothing to miss but one line.
    """
    folders = sorted(path for path in (root / MASKS).glob("*") if path.is_dir() and not path.name.startswith("."))
    masks = [path for folder in folders for path in image_paths(folder)]
    defective = [picture for picture in pictures if picture.folder.startswith(f"{TEST}/") and picture.folder != f"{TEST}/{GOOD}"]
    if not masks:
        return []
    by_mask = {_mask_name(picture): picture for picture in defective}
    findings: list[Finding] = []
    for done, path in enumerate(masks):
        progress("masks", done, len(masks))
        findings += _one(root, path, by_mask)
    progress("masks", len(masks), len(masks))
    names = {path.relative_to(root).as_posix() for path in masks}
    for folder in sorted({picture.folder for picture in defective}):
        images = [picture for picture in defective if picture.folder == folder]
        missing = [picture for picture in images if _mask_name(picture) not in names]
        if len(missing) == len(images):
            what = f"none of its {len(images)} images has a mask: they count for nothing in pixel AUROC and AUPRO"
            findings.append(
                Finding(Severity.WARNING, Kind.MASK, folder, what, f"draw masks as {MASKS}/<defect>/<image>_mask.png")
            )
        else:
            findings += [
                Finding(
                    Severity.WARNING,
                    Kind.MASK,
                    picture.name,
                    "no mask, unlike others of its defect",
                    f"draw {_mask_name(picture)}",
                )
                for picture in missing
            ]
    return findings


def _mask_name(picture: Picture) -> str:
    path = PurePosixPath(picture.name)
    return f"{MASKS}/{path.parent.name}/{path.stem}{SUFFIX}.png"


def _one(root: Path, path: Path, by_mask: dict[str, Picture]) -> Iterator[Finding]:
    name = path.relative_to(root).as_posix()
    picture = by_mask.get(name)
    if picture is None:
        meant = f"{MASKS}/{path.parent.name}/{path.stem.removesuffix(SUFFIX)}{SUFFIX}.png"
        todo = f"rename it to {meant}" if meant in by_mask and meant != name else "remove it, or add the image that it belongs to"
        yield Finding(Severity.WARNING, Kind.MASK, name, f"no readable image in {TEST}/{path.parent.name} has this mask", todo)
        return
    try:
        mask = read_mask(path)
    except UnreadableImage as error:
        what, _, todo = str(error).removeprefix(f"{path}: ").replace(str(path), path.name).rpartition("; ")
        yield Finding(Severity.WARNING, Kind.MASK, name, what, todo.replace("take the image", "draw the mask"))
        return
    if mask.shape != (picture.height, picture.width):
        what = f"{mask.shape[1]}×{mask.shape[0]} pixels, its image has {picture.width}×{picture.height}"
        yield Finding(Severity.WARNING, Kind.MASK, name, what, "draw it on the image as it is")
    if not mask.any():
        yield Finding(
            Severity.WARNING, Kind.MASK, name, "marks no pixel", f"mark the defect, or move {picture.name} to {TEST}/{GOOD}"
        )
    elif mask.all():
        yield Finding(
            Severity.WARNING, Kind.MASK, name, "marks every pixel", "mark the defect alone: 0 is good, 255 is defective"
        )
