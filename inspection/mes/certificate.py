"""The certificate of a lot: what was inspected, by what, with which result, as PDF for a person to sign.

It certifies the rows of the lot's CSV file as they were when it was issued, by their SHA-256, so that both can be checked against
each other. Nothing in it is signed electronically: the lines for signatures have the components of 21 CFR 11.50.
"""

from __future__ import annotations

import io
from importlib.metadata import version
from threading import Lock
from typing import Any

from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import BaseDocTemplate, Frame, PageTemplate

from inspection.images import ImageStore
from inspection.mes.certified import Certified
from inspection.mes.paper.layout import MARGIN, PAGE, QUIET, RULE, WIDTH, moment, small
from inspection.mes.paper.lettering import REGULAR, lettered, register_fonts
from inspection.mes.paper.sections import content

# reportlab cannot use a font in two documents at the same time.
_one_at_a_time = Lock()


def certificate(certified: Certified, images: ImageStore) -> bytes:
    """The document, with the images as far as they are still in the store. StationError without fonts."""
    with _one_at_a_time:
        register_fonts()
        file = io.BytesIO()
        page = Frame(MARGIN, 20 * mm, WIDTH, PAGE[1] - 45 * mm, 0, 0, 0, 0)
        document = BaseDocTemplate(
            file,
            pagesize=PAGE,
            pageTemplates=[PageTemplate(frames=[page])],
            title=f"Inspection certificate of lot {certified.summary.lot}",
            author=f"Station {certified.station}",
            subject=f"SHA-256 of the certified rows: {certified.sha256}",
            creator=f"inspection-station {version('inspection-station')}",
        )
        document.build(list(content(certified, images)), canvasmaker=_furniture(certified))
        return file.getvalue()


def _furniture(certified: Certified) -> type[Canvas]:
    """A canvas that writes head and foot of the pages at the end, when it knows how many there are."""
    lot = small(f"Lot {lettered(certified.summary.lot)} · station {lettered(certified.station)}")
    issued = f"Issued {moment(certified.issued_at)} · rows {certified.sha256[:16]}…"

    class Furnished(Canvas):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self._pages: list[dict[str, Any]] = []

        def showPage(self) -> None:  # noqa: N802  (reportlab's name)
            self._pages.append(dict(self.__dict__))
            self._startPage()

        def save(self) -> None:
            for number, page in enumerate(self._pages, start=1):
                self.__dict__.update(page)
                self._furnish(number)
                super().showPage()
            super().save()

        def _furnish(self, number: int) -> None:
            top, bottom, right = PAGE[1] - 14 * mm, 12 * mm, PAGE[0] - MARGIN
            self.setStrokeColor(RULE)
            self.line(MARGIN, top - 6 * mm, right, top - 6 * mm)
            self.line(MARGIN, bottom + 5 * mm, right, bottom + 5 * mm)
            lot.wrap(WIDTH, 12 * mm)
            lot.drawOn(self, MARGIN, top - 4 * mm)
            self.setFont(REGULAR, 7)
            self.setFillColor(QUIET)
            self.drawString(MARGIN, bottom, issued)
            self.drawRightString(right, bottom, f"Page {number} of {len(self._pages)}")

    return Furnished
