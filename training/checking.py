"""Images that cannot be learned from, or should not, found before a run starts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from cameras.frame import Frame, PixelFormat
from training.copies import Pair, copies, copy_findings, near_copies
from training.dataset import GOOD, MIN_IMAGES, TrainingImage, image_paths
from training.errors import TrainingError, UnreadableImage
from training.findings import Finding, Kind, Report, Severity
from training.layout import TEST, TRAIN, layout_findings
from training.masks import mask_findings
from training.picture import LOW_BITS, Picture, read_picture

Progress = Callable[[str, int, int], None]
GOOD_FOLDER = f"{TRAIN}/{GOOD}"
MISSHAPEN = 0.1
"""If more of the images than this have another shape, the product has many shapes."""
TAKE_AGAIN = "take it again or remove it"
MORE = "take more images of different good parts"


def check_folder(root: Path, progress: Progress = lambda stage, done, steps: None) -> Report:
    """Check a folder in the MVTec-AD layout. Raises TrainingError if there is no such folder."""
    if not root.is_dir():
        raise TrainingError(f"{root} is no folder; name the folder that holds train/good")
    folders = [root / TRAIN / GOOD, *sorted(path for path in (root / TEST).glob("*") if path.is_dir())]
    paths = [path for folder in folders if folder.is_dir() for path in image_paths(folder)]
    pictures, pairs, findings = _images(root, paths, progress)
    findings += [*layout_findings(root), *mask_findings(root, pictures, progress)]
    left_out = _left_out(pictures, pairs, findings)
    usable = sum(picture.folder == GOOD_FOLDER for picture in pictures) - len(left_out)
    refusal = next((f"{root}: no folder {GOOD_FOLDER}; {each.todo}" for each in findings if each.kind is Kind.LAYOUT), None)
    if refusal is None and usable < MIN_IMAGES:
        what = f"{usable} usable images, at least {MIN_IMAGES} are needed (30 or more give steadier thresholds)"
        findings.append(Finding(Severity.ERROR, Kind.TOO_FEW, GOOD_FOLDER, what, MORE))
        refusal = f"{root}: {GOOD_FOLDER} has {what}; {MORE}"
    return _report(pictures, findings, left_out, refusal)


def check_images(root: Path, paths: Sequence[Path], progress: Progress = lambda stage, done, steps: None) -> Report:
    """Check image files under ``root`` and compare them with each other, whatever the folder's layout."""
    pictures, _, findings = _images(root, paths, progress)
    return _report(pictures, findings, {}, None)


def _report(pictures: Sequence[Picture], findings: list[Finding], left_out: dict[str, str], refusal: str | None) -> Report:
    ordered = sorted(findings, key=lambda finding: finding.severity is not Severity.ERROR)
    return Report(dict(Counter(picture.folder for picture in pictures)), tuple(ordered), left_out, refusal)


def _images(root: Path, paths: Sequence[Path], progress: Progress) -> tuple[list[Picture], list[Pair], list[Finding]]:
    """The readable pictures, which of them repeat others, and what is wrong with any."""
    pictures, findings = _read(root, paths, progress)
    pairs = copies(pictures)
    findings += [*copy_findings(pairs), *near_copies(pictures, pairs)]
    for picture in pictures:
        findings += _alone(picture)
    findings += _unlike_the_others(pictures)
    return pictures, pairs, findings


def _left_out(pictures: Sequence[Picture], pairs: Sequence[Pair], findings: Sequence[Finding]) -> dict[str, str]:
    """Images of train/good, by file name, that must teach nothing, and why.

    They are blank, repeated, defective by another label, or of another shape than nine in ten, to which they would be stretched
    (or, if the first of them is one, all the others to its shape).
    """
    good = [picture for picture in pictures if picture.folder == GOOD_FOLDER]
    left_out = {picture.short: f"blank; {TAKE_AGAIN}" for picture in good if picture.blank}
    shapes = {finding.image: f"{finding.what}; {finding.todo}" for finding in findings if finding.kind is Kind.ASPECT}
    misshapen = {picture.short: shapes[picture.name] for picture in good if picture.name in shapes}
    if len(misshapen) <= MISSHAPEN * len(good):
        left_out |= misshapen
    for pair in pairs:
        learned = [picture for picture in (pair.first, pair.later) if picture.folder == GOOD_FOLDER]
        if pair.contradicts or len(learned) == 2:
            for picture in learned[-1:]:
                other = pair.later if picture is pair.first else pair.first
                left_out.setdefault(picture.short, f"same picture as {other.name}; remove one of them")
    return left_out


def withheld(images: Sequence[TrainingImage], report: Report) -> list[TrainingImage]:
    """The images, those that must teach nothing refusing to be read, so that the model's record says why."""

    def refuse(reason: str) -> Frame:
        raise UnreadableImage(reason)

    reasons = report.left_out
    return [replace(image, read=partial(refuse, reasons[image.name])) if image.name in reasons else image for image in images]


def _read(root: Path, paths: Sequence[Path], progress: Progress) -> tuple[list[Picture], list[Finding]]:
    pictures, findings = [], []
    for done, path in enumerate(paths):
        progress("check", done, len(paths))
        name = path.relative_to(root).as_posix()
        try:
            pictures.append(read_picture(root, path))
        except UnreadableImage as error:
            what, _, todo = str(error).removeprefix(f"{path}: ").replace(str(path), path.name).rpartition("; ")
            if path.is_file() and path.stat().st_size == 0:
                what = "the file is empty"
            findings.append(Finding(Severity.WARNING, Kind.UNREADABLE, name, what, todo))
    progress("check", len(paths), len(paths))
    return pictures, findings


def _alone(picture: Picture) -> Iterator[Finding]:
    """What is wrong with a picture whatever the others are."""
    if picture.blank:
        what = "blank: every pixel has all but the same value" + (", left out" if picture.folder == GOOD_FOLDER else "")
        yield Finding(Severity.WARNING, Kind.BLANK, picture.name, what, TAKE_AGAIN)
    elif picture.pixel_format is PixelFormat.Mono16 and picture.largest < LOW_BITS:
        what = f"16-bit grey, but no value above {picture.largest}: taken with 10 or 12 bits, it is read as all but black"
        todo = "multiply the values by 64 (10 bits) or 16 (12 bits), or save 8 bits"
        yield Finding(Severity.WARNING, Kind.DEPTH, picture.name, what, todo)
    if picture.reduced:
        what = "more than 8 bits for each colour, of which 8 are read"
        yield Finding(
            Severity.WARNING, Kind.DEPTH, picture.name, what, "save 8-bit colour or 16-bit grey, as the camera will send"
        )
    if picture.turned:
        what = "the file asks viewers to turn it; cameras do not, and it is read unturned"
        yield Finding(Severity.WARNING, Kind.TURNED, picture.name, what, "save it with its pixels turned")
    if picture.pages > 1:
        what = f"{picture.pages} pages, of which the first is read"
        yield Finding(Severity.WARNING, Kind.PAGES, picture.name, what, "save each page as a file")


def _unlike_the_others(pictures: Sequence[Picture]) -> Iterator[Finding]:
    """Pictures whose size, depth or channels differ from those of most good training images (or of most, without any)."""
    reference = [picture for picture in pictures if picture.folder == GOOD_FOLDER] or pictures
    if not reference:
        return
    (width, height), _ = Counter((picture.width, picture.height) for picture in reference).most_common(1)[0]
    deep, _ = Counter(_bits(picture) for picture in reference).most_common(1)[0]
    channels, _ = Counter(_channels(picture) for picture in reference).most_common(1)[0]
    for picture in pictures:
        if (picture.width, picture.height) != (width, height):
            what = f"{picture.width}×{picture.height} pixels, most have {width}×{height}"
            # One pixel is what rounding in a resize may cost.
            if abs(picture.width * height - picture.height * width) <= max(width, height):
                yield Finding(Severity.WARNING, Kind.SIZE, picture.name, what, "take it with the settings of the others")
            else:
                todo = "crop it to the shape of the others, to which it would be stretched"
                yield Finding(Severity.WARNING, Kind.ASPECT, picture.name, what, todo)
        if _bits(picture) != deep:
            what = f"{_bits(picture)} bits, most have {deep}"
            yield Finding(Severity.WARNING, Kind.DEPTH, picture.name, what, "take it with the camera's PixelFormat of the others")
        if _channels(picture) != channels:
            what = f"{_channels(picture)}, most are {channels}"
            yield Finding(
                Severity.WARNING, Kind.CHANNELS, picture.name, what, "take it with the camera's PixelFormat of the others"
            )


def _bits(picture: Picture) -> int:
    return picture.pixel_format.dtype.itemsize * 8


def _channels(picture: Picture) -> str:
    return "colour" if picture.pixel_format.channels > 1 else "grey"
