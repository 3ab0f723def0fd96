"""One word for each thing: the README's glossary, the tables, the messages and the enumerations agree."""

from __future__ import annotations

import json
import re
from pathlib import Path

from cameras.messages import Loss
from inspection.domain import Output, Reason, Verdict
from inspection.records.tables import metadata
from inspection.web.app import OPENAPI

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def table_after(heading: str) -> dict[str, str]:
    """First two columns of the first table after a line of the README."""
    lines = README.split(heading, 1)[1].splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("|")) + 2
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip(" `") for cell in line.strip("|").split("|")])
    return {row[0]: row[1] for row in rows}


GLOSSARY = table_after("## Glossary")


def singular(name: str) -> str:
    return (
        name.removesuffix("ies") + "y"
        if name.endswith("ies")
        else name.removesuffix("es")
        if name.endswith("sses")
        else name.removesuffix("s")
    )


def test_every_table_is_a_word_of_the_glossary() -> None:
    for name in metadata.tables:
        assert singular(name).replace("_", " ") in GLOSSARY, f"table {name} is not explained in the README's glossary"


def test_every_collection_of_the_rest_interface_is_a_word_of_the_glossary() -> None:
    paths = json.loads(OPENAPI.read_text(encoding="utf-8"))["paths"]
    for path in paths:
        collection = path.removeprefix("/api/v1/").split("/")[0]
        if collection not in {"health", "changes", "quality"}:
            assert singular(collection).replace("-", " ") in GLOSSARY, f"{path} is not explained in the README's glossary"


def test_every_verdict_and_output_is_named_in_its_row() -> None:
    assert set(re.findall(r"`(\w+)`", GLOSSARY["verdict"] + "`")) >= {verdict.value for verdict in Verdict}
    for output in Output:
        assert f"`{output.value}`" in README


def test_every_reason_is_explained_and_none_is_invented() -> None:
    assert set(table_after("Why a part was not inspected")) == {reason.value for reason in Reason}


def test_losses_of_the_camera_are_reasons_of_the_inspection() -> None:
    assert {loss.value for loss in Loss} <= {reason.value for reason in Reason}


def test_pictures_in_the_readme_exist() -> None:
    for path in re.findall(r"!\[[^]]*\]\(([^)]+)\)", README):
        assert (Path(__file__).parents[2] / path).is_file(), path
