"""How the certificate looks: page, colours, styles, and the pieces that its sections are made of."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from reportlab.lib.colors import HexColor
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.platypus import Paragraph, Table

from inspection.mes.paper.lettering import BOLD, FIXED, REGULAR

PAGE = A4
MARGIN = 18 * mm
WIDTH = PAGE[0] - 2 * MARGIN

INK, QUIET, RULE, FILL = HexColor("#1b2126"), HexColor("#5b6670"), HexColor("#c3cad0"), HexColor("#f1f4f6")
GOOD, BAD, WAITING = HexColor("#1f6f43"), HexColor("#a61c28"), HexColor("#8a5a00")
BAR = HexColor("#3d6f93")


def style(name: str, **values: Any) -> ParagraphStyle:
    """The style of running text, changed."""
    # CJK wraps anywhere: a name of 64 characters has no blanks to break it at.
    return ParagraphStyle(
        name, **{"fontName": REGULAR, "fontSize": 8, "leading": 10.5, "textColor": INK, "splitLongWords": 1} | values
    )


TEXT = style("text")
RIGHT = style("right", alignment=TA_RIGHT)
HEAD = style("head", fontName=BOLD, textColor=QUIET, fontSize=7)
HEAD_RIGHT = style("head right", fontName=BOLD, textColor=QUIET, fontSize=7, alignment=TA_RIGHT)
NAME = style("name", wordWrap="CJK")
DIGEST = style("digest", fontName=FIXED, fontSize=7, wordWrap="CJK")
SMALL = style("small", fontSize=7, leading=9, textColor=QUIET, spaceBefore=3)
TITLE = style("title", fontName=BOLD, fontSize=17, leading=22, spaceAfter=6)
SECTION = style("section", fontName=BOLD, fontSize=10, leading=13, spaceBefore=10, spaceAfter=3)


def small(markup: str) -> Paragraph:
    """One line of small print."""
    return Paragraph(markup, SMALL)


def ruled(rows: Sequence[Sequence[Any]], widths: Sequence[float], head: bool = True) -> Table:
    """Rows with lines between them; ``widths`` in points. With ``head``, the first row is repeated on each page."""
    made = Table(rows, widths, repeatRows=1 if head else 0, hAlign="LEFT")
    made.setStyle(
        [
            ("LINEBELOW", (0, 0), (-1, -1), 0.4, RULE),
            ("LINEABOVE", (0, 0), (-1, 0), 0.4, RULE),
            ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
            ("TOPPADDING", (0, 0), (-1, -1), 2),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 3),
            ("LEFTPADDING", (0, 0), (-1, -1), 4),
            ("RIGHTPADDING", (0, 0), (-1, -1), 4),
            *([("BACKGROUND", (0, 0), (-1, 0), FILL)] if head else []),
        ]
    )
    return made


def column(text: str, right: bool = False) -> Paragraph:
    """The head of a column."""
    return Paragraph(text, HEAD_RIGHT if right else HEAD)


def number(value: object) -> Paragraph:
    """A number in its column."""
    return Paragraph(str(value), RIGHT)


def clock(at: datetime) -> str:
    """A time in UTC, which the head of its column says."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def percent(share: float) -> str:
    """A share with two decimals."""
    text = f"{share:.2%}".replace("%", " %")
    # 100 % is all of them, not nearly all.
    return "> 99.99 %" if share < 1 and text == "100.00 %" else text


def moment(at: datetime | None) -> str:
    """A time as the certificate writes it; a dash for one that never came."""
    return "–" if at is None else f"{clock(at)} UTC"
