"""Cursors come back as issued, and anything else is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspection.errors import BadCursor
from inspection.records.cursors import decode_cursor, encode_cursor


@given(st.text(max_size=80), st.text(max_size=80))
def test_a_cursor_gives_back_its_position(scope: str, position: str) -> None:
    assert decode_cursor(scope, encode_cursor(scope, position)) == position


@given(st.data())
def test_any_changed_character_is_refused(data: st.DataObject) -> None:
    cursor = encode_cursor("results L1 ", "4711")
    index = data.draw(st.integers(0, len(cursor) - 1))
    other = data.draw(st.characters().filter(lambda character: character != cursor[index]))
    with pytest.raises(BadCursor, match="start again without"):
        decode_cursor("results L1 ", cursor[:index] + other + cursor[index + 1 :])


@given(st.text())
def test_arbitrary_text_is_refused(text: str) -> None:
    with pytest.raises(BadCursor):
        decode_cursor("lots", text)


def test_a_cursor_of_another_list_is_refused() -> None:
    with pytest.raises(BadCursor, match="another list"):
        decode_cursor("results L2 ", encode_cursor("results L1 ", "4711"))
