"""What can be wrong with a folder of images, and what to do about it."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from enum import StrEnum


class Severity(StrEnum):
    """``error``: certainly wrong, to be mended. ``warning``: left out, or worth a look."""

    ERROR = "error"
    WARNING = "warning"


class Kind(StrEnum):
    """What is wrong."""

    LAYOUT = "layout"
    TOO_FEW = "too few"
    FOLDER = "folder"
    NOT_READ = "not read"
    UNREADABLE = "unreadable"
    BLANK = "blank"
    SIZE = "size"
    ASPECT = "aspect ratio"
    DEPTH = "depth"
    CHANNELS = "channels"
    TURNED = "turned"
    PAGES = "pages"
    DUPLICATE = "duplicate"
    NEAR_COPY = "near copy"
    LEAKAGE = "leakage"
    CONTRADICTION = "contradiction"
    MASK = "mask"
    SUSPECT = "suspect"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: with which image (or folder), relative to the folder checked, what, and what to do."""

    severity: Severity
    kind: Kind
    image: str
    what: str
    todo: str


@dataclass(frozen=True, slots=True)
class Report:
    """All findings of a folder, the errors first, and the number of readable images in each of its folders.

    ``left_out`` are images of train/good that must teach nothing, by file name, and why. ``refusal`` says why no model can be
    trained, or is None.
    """

    images: dict[str, int]
    findings: tuple[Finding, ...]
    left_out: dict[str, str]
    refusal: str | None

    @property
    def errors(self) -> int:
        return sum(finding.severity is Severity.ERROR for finding in self.findings)

    @property
    def warnings(self) -> int:
        return len(self.findings) - self.errors


def document(report: Report) -> dict[str, object]:
    """What is written as JSON."""
    return asdict(report) | {
        "errors": report.errors,
        "warnings": report.warnings,
        "kinds": dict(Counter(finding.kind.value for finding in report.findings)),
    }
