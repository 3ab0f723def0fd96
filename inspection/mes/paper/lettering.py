"""Text of the certificate: DejaVu, and WenQuanYi for Chinese, Japanese and Korean, both embedded; the rest is written out.

Names may hold any visible character. One that the fonts have not, or that would need letters joined or lines from right to left,
which nothing here does, is written as ``⟨U+05D0⟩``: it must neither vanish nor be read as another. So is ``⟨`` itself. Fonts that
a reader of PDF is expected to have are not used: on another computer they show boxes, and no archive takes them.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from xml.sax.saxutils import escape

from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont

from inspection.errors import StationError

REGULAR, BOLD, FIXED = "DejaVuSans", "DejaVuSans-Bold", "DejaVuSansMono"
EAST_ASIAN = "WenQuanYiMicroHei"
_FROM_RIGHT_TO_LEFT = frozenset({"R", "AL", "AN"})
_COMBINING = frozenset({"Mn", "Mc", "Me"})


def register_fonts() -> None:
    """Make the fonts known to reportlab. StationError if they are not there."""
    folder = _fonts()
    for name in (REGULAR, BOLD, FIXED):
        if name not in pdfmetrics.getRegisteredFontNames():
            pdfmetrics.registerFont(TTFont(name, folder / f"{name}.ttf"))
    pdfmetrics.registerFontFamily(REGULAR, normal=REGULAR, bold=BOLD, italic=REGULAR, boldItalic=BOLD)


def lettered(text: str) -> str:
    """The text as the fonts can show it, as markup of a reportlab paragraph. Fonts are registered before."""
    pieces = []
    for font, characters in groupby(text, _font_of):
        piece = "".join(characters)
        if font == REGULAR:
            pieces.append(escape(piece))
        elif font is None:
            pieces += [f"⟨U+{ord(character):04X}⟩" for character in piece]
        else:
            pieces.append(f'<font name="{font}">{escape(piece)}</font>')
    return "".join(pieces)


@cache
def _font_of(character: str) -> str | None:
    """The font that shows it, REGULAR for what BOLD has as well; None: it is written out."""
    if character == " ":
        return REGULAR
    if character == "⟨" or not character.isprintable() or unicodedata.bidirectional(character) in _FROM_RIGHT_TO_LEFT:
        return None
    if unicodedata.category(character) in _COMBINING:
        return None
    if all(ord(character) in pdfmetrics.getFont(name).face.charToGlyph for name in (REGULAR, BOLD)):
        return REGULAR
    return EAST_ASIAN if ord(character) in _east_asian().face.charToGlyph else None


@cache
def _east_asian() -> TTFont:
    """Read when the first character needs it: it has 34,000."""
    font = TTFont(EAST_ASIAN, _package("paperang_p2_fonts_cjk") / "fonts" / "wqy-microhei.ttc", subfontIndex=0)
    pdfmetrics.registerFont(font)
    pdfmetrics.registerFontFamily(EAST_ASIAN, normal=EAST_ASIAN, bold=EAST_ASIAN, italic=EAST_ASIAN, boldItalic=EAST_ASIAN)
    return font


def _fonts() -> Path:
    return _package("matplotlib") / "mpl-data" / "fonts" / "ttf"


def _package(name: str) -> Path:
    """Where an installed package lies. Not by importing it: matplotlib takes thirty megabytes and a second."""
    found = find_spec(name)
    if found is None or found.origin is None:
        raise StationError(f"the certificate's fonts are missing, which come with the package {name}; install the station again")
    return Path(found.origin).parent
