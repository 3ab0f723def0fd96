"""What the station is made of is known, and under which licences."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

from license_expression import ExpressionError, Licensing
from packaging.requirements import Requirement
from typer.testing import CliRunner

from inspection.cli import app
from inspection.sbom import canonical, licence_of, packages

TOP = Path(__file__).parents[2]
COMMITTED = TOP / ".github" / "operations" / "dependencies.md"
# Permissive: what they ask for is that their authors are named.
PERMISSIVE = {
    *("0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "ISC"),
    *("MIT", "MIT-0", "MIT-CMU", "PSF-2.0", "Python-2.0", "Unlicense", "Zlib"),
}
# More is asked for, and somebody has looked at what: .github/operations/dependencies.md.
LOOKED_AT = {
    "asyncua": {"LGPL-3.0-or-later"},
    "psycopg": {"LGPL-3.0-only"},
    "psycopg-binary": {"LGPL-3.0-only"},
    "bidict": {"MPL-2.0"},
    "certifi": {"MPL-2.0"},
    "orjson": {"MPL-2.0"},
    "tqdm": {"MPL-2.0"},
    "genicam": {"LicenseRef-GenICam-1.6"},
}


def asked_for() -> set[str]:
    project = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {canonical(Requirement(line).name) for line in project["dependencies"]}


def allowed(name: str, licence: str) -> bool:
    """One of the alternatives is allowed, with all that it consists of."""

    def holds(part: object) -> bool:
        operator = getattr(part, "operator", "").strip()
        if operator == "OR":
            return any(holds(each) for each in part.args)  # type: ignore[attr-defined]
        if operator == "AND":
            return all(holds(each) for each in part.args)  # type: ignore[attr-defined]
        return str(part) in PERMISSIVE | LOOKED_AT.get(name, set())

    try:
        return holds(Licensing().parse(licence))
    except ExpressionError:
        return False


def test_no_package_has_a_licence_that_nobody_has_looked_at() -> None:
    assert allowed("x", "MPL-2.0 OR MIT")
    assert not allowed("x", "MPL-2.0 AND MIT")
    assert not allowed("x", "GPL-3.0-or-later")
    found = {each.name: each.licence for each in packages()} | {name: licence_of(name) for name in asked_for()}
    refused = {name: licence for name, licence in found.items() if not allowed(name, licence)}
    assert refused == {}, "look at what these licences ask for"
    assert {"openvino", "sqlalchemy", "numpy"} <= set(found)


def test_the_committed_list_names_what_the_station_asks_for() -> None:
    first = COMMITTED.read_text(encoding="utf-8").partition("## Asked for")[2].partition("## ")[0]
    committed = dict(re.findall(r"(?m)^\| ([a-z0-9-]+) \| (.+) \|$", first))
    assert committed.pop("package") == "licence"
    assert committed == {name: licence_of(name) for name in asked_for()}, (
        "write it again: station sbom --licences .github/operations/dependencies.md"
    )


def test_the_bill_of_materials_is_what_is_installed(tmp_path: Path) -> None:
    told = CliRunner().invoke(app, ["sbom", "--json", str(tmp_path / "sbom.json"), "--licences", "-"])
    assert told.exit_code == 0, told.output
    assert "| numpy |" in told.output
    document = json.loads((tmp_path / "sbom.json").read_text())
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    listed = {each["name"]: each for each in document["components"]}
    assert {name: each["version"] for name, each in listed.items()} == {each.name: each.version for each in packages()}
    assert all(each["licenses"] and each["purl"].startswith("pkg:pypi/") for each in listed.values())
    assert len(listed["sqlalchemy"]["properties"]) == 2
    depends = {each["ref"]: each.get("dependsOn", []) for each in document["dependencies"]}
    assert any(ref.startswith("openvino==") for ref in depends["inspection-station"])
    assert any(ref.startswith("numpy==") for ref in depends[listed["openvino"]["bom-ref"]])
