"""The threat model names tests that exist, and says what is left."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TOP = Path(__file__).parents[2]
THREAT_MODEL = TOP / ".github" / "operations" / "threat-model.md"


def named_in(file: Path) -> set[str]:
    """Node ids of a file of tests, as pytest writes them, without parameters."""
    found = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{each.name}" for each in node.body if isinstance(each, ast.FunctionDef)}
    return {name for name in found if name.rpartition("::")[2].startswith("test_")}


def test_every_stop_names_tests_that_exist() -> None:
    text = THREAT_MODEL.read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)::([\w:]+)`", text)
    assert len(named) > 40
    missing = [f"{file}::{test}" for file, test in named if not (TOP / file).is_file() or test not in named_in(TOP / file)]
    assert missing == []
    rows = [line for line in text.partition("## An operator")[2].splitlines() if re.match(r"\| [^s-]", line)]
    assert [row for row in rows if "`tests/" not in row] == [], "a stop without a test is a hope"


def test_every_attacker_leaves_a_residual_risk() -> None:
    chapters = THREAT_MODEL.read_text(encoding="utf-8").partition("## An operator")[2].split("\n## ")[:-1]
    assert len(chapters) == 8
    assert [chapter.splitlines()[0] for chapter in chapters if "\nLeft: " not in chapter] == []
