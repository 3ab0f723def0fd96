"""A folder of photographs of any name can be shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import TypeAdapter

from inspection.config import Name
from inspection.demo import part_number


@pytest.mark.parametrize(
    ("folder", "product"),
    [
        ("metal_nut", "metal_nut"),
        ("metal nut", "metal-nut"),
        ("part.v2", "part-v2"),
        ("Gehäuse", "Gehause"),
        ('a"\nserial = "x', "a-serial-x"),
        ("_hidden", "hidden"),
        ("x" * 31 + " long", "x" * 31),
        ("齿轮", "part"),
        ("", "part"),
    ],
)
def test_the_part_number_is_the_folders_name_as_the_configuration_takes_it(folder: str, product: str) -> None:
    assert part_number(Path(folder)) == product
    TypeAdapter(Name).validate_python(product)
