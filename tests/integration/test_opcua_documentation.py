"""The page about OPC UA: its configuration loads, its example runs, and it names every error."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

from opcua_station import PASSWORD, OpcUaStation

from inspection.config import OpcUaConfig
from inspection.domain import Verdict
from inspection.opcua.refusals import Code

PAGE = (Path(__file__).parents[2] / ".github" / "interfaces" / "opcua.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    return PAGE.split(f"```{language}\n", 1)[1].split("```", 1)[0]


def test_the_configuration_on_the_page_names_every_setting() -> None:
    section = tomllib.loads(block("toml"))["opcua"]
    assert set(section) == set(OpcUaConfig.model_fields)
    changed = {name: value for name, value in section.items() if name not in ("host", "nodeset_dir")}
    assert OpcUaConfig.model_validate(changed) == OpcUaConfig(), "what the page shows is what holds without it"
    OpcUaConfig.model_validate(section)


def test_every_error_is_explained() -> None:
    for code in Code:
        assert f"| −{-code} |" in PAGE


def test_the_example_lists_a_lot_and_prints_what_comes_next(tmp_path: Path, seeder_class: Any) -> None:
    station = OpcUaStation(tmp_path, seeder_class)
    with station.seeding() as seeder:
        seeder.lot("L-2041")
        for number, verdict in enumerate((Verdict.PASS, Verdict.FAIL, Verdict.NOT_INSPECTED)):
            seeder.inspection("L-2041", f"S{number}", verdict)
    example = block("python")
    for written, here in (
        ("opc.tcp://station:4840", station.url),
        ("the password", PASSWORD),
        ("own.der", str(station.home / "own.der")),
        ("client.der", str(station.home / "trusted" / "client.der")),
        ("client-key.pem", str(station.directory / "client" / "own-key.pem")),
        ("urn:host:client", station.identity.uri),
    ):
        assert f'"{written}"' in example
        example = example.replace(f'"{written}"', f'"{here}"')
    (tmp_path / "example.py").write_text(example)
    with station.running():
        command = [sys.executable, str(tmp_path / "example.py")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                said = [process.stdout.readline().strip() for _ in range(4)]
                assert said == [
                    "cell/1 S0 OK pass",
                    "cell/2 S1 NotOK fail",
                    "cell/3 S2 NotDecidable not_inspected",
                    "listening",
                ]
                with station.seeding() as seeder:
                    seeder.inspection("L-2041", "S3", Verdict.REVIEW)
                assert process.stdout.readline().strip() == "new cell/4 L-2041 S3 NotDecidable review"
            finally:
                process.kill()
