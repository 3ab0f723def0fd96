"""The ``station`` command: what it lists, and how it ends when something is wrong."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import genicam
import pytest
from typer.testing import CliRunner, Result

from cameras.simulator import PRODUCER
from cameras.simulator.control import SimulatedCamera
from inspection.cli import app

VIKY = Path(genicam.__file__).with_name("viky.cti")
STATION = """
[station]
data_dir = "data"

[[cameras]]
name = "top"
serial = "SIM1"

[[products]]
part_number = "plate"
camera = "top"
"""


def station(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refusal(result: Result) -> str:
    """What the command says when it ends because of a mistake: exit code 1 and a message, no traceback, nothing else."""
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.stdout == ""
    assert result.stderr.startswith("station: ")
    return result.stderr


@pytest.fixture
def simulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedCamera]:
    monkeypatch.setenv("STATION_SIMULATOR", str(tmp_path / "simulator"))
    monkeypatch.delenv("GENICAM_GENTL64_PATH", raising=False)
    camera = SimulatedCamera.create(tmp_path / "simulator", "SIM1", 64, 48)
    yield camera
    camera.close()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "station.toml"
    path.write_text(STATION)
    return path


# --- cameras ---


def test_cameras_of_several_producers_are_listed(simulated: SimulatedCamera) -> None:
    result = station("cameras", "--producer", PRODUCER, "--producer", VIKY)
    assert result.exit_code == 0
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in result.stdout.splitlines() if line.startswith("│")]
    assert [(row[0], row[2]) for row in cells] == [("SIM1", "SimulatedCamera"), ("0", "Viky"), ("1", "Viky"), ("2", "Viky")]
    assert str(PRODUCER) in result.stdout
    assert str(VIKY) in result.stdout


@pytest.mark.parametrize(
    ("producer", "names"),
    [
        (PRODUCER, ["CounterAndTimerControl", "AcquisitionFrameRate", "MissedTriggerCount"]),
        (VIKY, ["TransportLayerControl", "ChunkScan3dCoordinateReferenceSelector", "DeviceRegistersStreamingStart"]),
    ],
    ids=["simulator", "viky"],
)
def test_features_are_listed_with_their_whole_names(simulated: SimulatedCamera, producer: Path, names: list[str]) -> None:
    result = station("cameras", "--producer", producer, "--features")
    assert result.exit_code == 0
    for name in [*names, "Width", "PixelFormat", "Enumeration", "read/write"]:
        assert f" {name} " in result.stdout
    assert "…" not in result.stdout


def test_cameras_of_the_configuration_and_of_the_path_are_listed_once(
    simulated: SimulatedCamera, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENICAM_GENTL64_PATH", f"{PRODUCER.parent}:{VIKY.parent}:")
    result = station("cameras", "--config", config)
    assert result.exit_code == 0
    assert result.stdout.count("SIM1") == 1
    assert result.stdout.count("Viky") == 3


def test_a_producer_without_cameras_says_so(simulated: SimulatedCamera) -> None:
    simulated.unplug()
    result = station("cameras", "--producer", PRODUCER)
    assert result.exit_code == 0
    assert "no cameras; check power and cables" in result.stdout


def test_without_a_producer_it_says_how_to_name_one(simulated: SimulatedCamera) -> None:
    assert "pass --config, --producer, or set GENICAM_GENTL64_PATH" in refusal(station("cameras"))


def test_a_file_that_is_no_producer_is_named(tmp_path: Path) -> None:
    assert "/nowhere.cti does not exist" in refusal(station("cameras", "--producer", "/nowhere.cti"))
    text = tmp_path / "text.cti"
    text.write_text("no library")
    assert f"{text} is no GenTL producer" in refusal(station("cameras", "--producer", text))


# --- deploy ---


def deploy(config: Path, artifact: Path, product: str = "plate") -> Result:
    return station("deploy", artifact, "--config", config, "--product", product, "--reason", "a test")


def test_only_a_configured_product_gets_a_model(config: Path, tmp_path: Path) -> None:
    assert "product 'flange' is not configured; the configuration names plate" in refusal(deploy(config, tmp_path, "flange"))


def test_only_a_whole_artifact_is_deployed(config: Path, tmp_path: Path) -> None:
    assert "model.json: No such file or directory" in refusal(deploy(config, tmp_path / "nowhere"))
    (tmp_path / "model.json").write_text("{}")
    assert "is not a manifest of this station" in refusal(deploy(config, tmp_path))
    assert not (tmp_path / "data").exists(), "nothing was begun"


def test_deploying_asks_for_the_reason(config: Path, tmp_path: Path) -> None:
    result = station("deploy", tmp_path, "--config", config, "--product", "plate")
    assert result.exit_code == 2
    assert "--reason" in result.stderr


# --- run ---

BROKEN = {
    "missing": (None, "cannot read .*: No such file or directory; pass the path of a station.toml"),
    "no TOML": ("[station", "is not valid TOML"),
    "not text": (b"\xff\xfe", "is not valid TOML"),
    "unknown key": (STATION.replace("data_dir", "datadir"), "station.datadir: Extra inputs are not permitted"),
    "wrong type": (STATION + "deadline_ms = 'soon'\n", "products.0.deadline_ms: Input should be a valid number"),
    "no camera": ('[[products]]\npart_number = "plate"\ncamera = "top"\n', "cameras: Field required"),
    "unknown camera": (STATION.replace('camera = "top"', 'camera = "side"'), "product plate names camera 'side'; there are top"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_configuration_is_not_run(tmp_path: Path, name: str) -> None:
    content, says = BROKEN[name]
    path = tmp_path / "station.toml"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    for arguments in (["run", path], ["process", "line", "--config", path], ["cameras", "--config", path]):
        message = " ".join(refusal(station(*arguments)).split())
        assert str(path) in message
        assert re.search(says, message), message


def test_a_process_that_there_is_not_is_refused(config: Path) -> None:
    for name in ("conveyor", "camera@side", "../line"):
        message = refusal(station("process", name, "--config", config))
        assert f"no process is named {name!r}; there are recorder, line, inspector, camera@top, web" in message


def test_the_installed_command_ends_with_the_message_alone(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "inspection", "run", str(tmp_path / "nowhere.toml")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        done.stderr
        == f"station: cannot read {tmp_path / 'nowhere.toml'}: No such file or directory; pass the path of a station.toml\n"
    )
