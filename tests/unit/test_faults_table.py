"""The table of faults names tests that exist, and every fault that a soak injects."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from cameras.fault_kinds import FaultKind
from inspection.soak.catalogue import CATALOGUE

ROOT = Path(__file__).parents[2]
TABLE = (ROOT / ".github/operations/faults.md").read_text(encoding="utf-8")
ROWS = [line for line in TABLE.splitlines() if line.startswith("| ") and not line.startswith("| fault |")]


@pytest.mark.parametrize("test", sorted(set(re.findall(r"`(tests/[^`]+)`", "\n".join(ROWS)))))
def test_every_test_that_the_table_names_exists(test: str) -> None:
    file, _, name = test.partition("::")
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_row_names_a_test() -> None:
    assert ROWS
    assert [row for row in ROWS if "`tests/" not in row] == []


def test_every_fault_of_the_catalogue_has_its_row() -> None:
    named = set(re.findall(r"\*\*(.+?)\*\*", "\n".join(ROWS)))
    assert named == {fault.name for fault in CATALOGUE}


def test_every_kind_of_fault_in_the_records_has_its_row() -> None:
    assert [kind.value for kind in FaultKind if f"`{kind}`" not in "\n".join(ROWS)] == []
