"""Names on paper: what the fonts have not is written out, nothing vanishes."""

from __future__ import annotations

import io
import re
from xml.sax.saxutils import unescape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reportlab.platypus import Paragraph, SimpleDocTemplate

from inspection.mes.paper.layout import NAME
from inspection.mes.paper.lettering import lettered, register_fonts

register_fonts()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("24/0815-Äß€Ω", "24/0815-Äß€Ω"),
        ("Ж1", "Ж1"),
        ("序1", '<font name="WenQuanYiMicroHei">序</font>1'),
        ("ロット-한국<", '<font name="WenQuanYiMicroHei">ロット</font>-<font name="WenQuanYiMicroHei">한국</font>&lt;'),
        ("אב", "⟨U+05D0⟩⟨U+05D1⟩"),
        ("e\u0301", "e⟨U+0301⟩"),
        ("\u202e12", "⟨U+202E⟩12"),
        ("\U00020000", "⟨U+20000⟩"),
        ("⟨U+5E8F⟩", "⟨U+27E8⟩U+5E8F⟩"),
        ("a<b>&c", "a&lt;b&gt;&amp;c"),
        ("a\x00b", "a⟨U+0000⟩b"),
    ],
)
def test_what_cannot_be_shown_is_written_out(name: str, shown: str) -> None:
    assert lettered(name) == shown


@given(st.text(max_size=64))
@settings(max_examples=60)
def test_any_name_can_be_printed_and_read_back(name: str) -> None:
    SimpleDocTemplate(io.BytesIO()).build([Paragraph(lettered(name), NAME)])
    codes = re.compile("⟨U\\+([0-9A-F]+)⟩")
    text = re.sub("</?font[^>]*>", "", lettered(name))
    assert codes.sub(lambda code: chr(int(code[1], 16)), unescape(text)) == name
