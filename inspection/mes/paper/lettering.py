"""Text of the certificate: DejaVu, embedded, and what it cannot show written out.

Names may hold any visible character. One that the font has not, or that would need letters joined or lines from right to left,
which nothing here does, is written as ``⟨U+5E8F⟩``: it must neither vanish nor be read as another. So is ``⟨`` itself.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from xml.sax.saxutils import escape

from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont

from inspection.errors import StationError

REGULAR, BOLD, FIXED = "DejaVuSans", "DejaVuSans-Bold", "DejaVuSansMono"
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
    return escape("".join(character if _shown(character) else f"⟨U+{ord(character):04X}⟩" for character in text))


@cache
def _shown(character: str) -> bool:
    if character == " ":
        return True
    if character == "⟨" or not character.isprintable() or unicodedata.bidirectional(character) in _FROM_RIGHT_TO_LEFT:
        return False
    if unicodedata.category(character) in _COMBINING:
        return False
    return all(ord(character) in pdfmetrics.getFont(name).face.charToGlyph for name in (REGULAR, BOLD))


def _fonts() -> Path:
    # Not by importing matplotlib, which takes thirty megabytes and a second: only its files are of use here.
    found = find_spec("matplotlib")
    folder = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" if found and found.origin else Path()
    if not (folder / f"{REGULAR}.ttf").is_file():
        raise StationError("the certificate's fonts are missing, which come with matplotlib; install the station again")
    return folder
