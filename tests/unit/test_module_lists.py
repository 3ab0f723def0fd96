"""The docstring of each package lists its modules in the order of their flow: none is left out, none is there no more."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest


@pytest.mark.parametrize("package", ["cameras", "inspection", "training"])
def test_a_package_lists_its_modules(package: str) -> None:
    module = importlib.import_module(package)
    assert module.__file__ is not None
    folder = Path(module.__file__).parent
    there = {path.name for path in folder.glob("*.py")} - {"__init__.py", "__main__.py"}
    there |= {f"{path.parent.name}/" for path in folder.glob("*/__init__.py")}
    listed = set(re.findall(r"\b\w+(?:\.py|/)", module.__doc__ or "")) - {"__main__.py"}
    # Commands are one group.
    there = {name for name in there if not name.startswith("cli_")}
    assert listed == there
