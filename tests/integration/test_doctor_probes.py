"""The doctor on this machine: what is really wrong is found, and a station that could run is fit."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory

import genicam
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import Engine

from cameras.genicam import GenicamCamera
from cameras.simulator import PRODUCER
from cameras.simulator.control import SimulatedCamera
from inspection.config import CameraConfig, Config, parse
from inspection.doctor import disk, network, producers, records
from inspection.doctor.examination import examine
from inspection.doctor.findings import Finding
from inspection.doctor.running import NOTHING, running
from inspection.processes import only_one

VIKY = Path(genicam.__file__).with_name("viky.cti")
CONFIG = """
[station]
name = "st-7"
data_dir = "{data_dir}"

[[cameras]]
name = "top"
serial = "SIM1"
[cameras.features]
PixelFormat = "Mono8"
TriggerMode = "On"
TriggerSource = "Line1"
ExposureTime = 1000.0
ChunkModeActive = true

[[products]]
part_number = "plate"
camera = "top"

[web]
port = {port}
"""


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def by_check(findings: list[Finding]) -> dict[str, str]:
    return {f"{each.area}: {each.check}": each.outcome.value for each in findings}


def camera(**settings: object) -> CameraConfig:
    return CameraConfig.model_validate({"name": "top", "serial": "SIM1", **settings})


def test_a_machine_on_which_a_station_could_run_is_fit(tmp_path: Path) -> None:
    file, report = tmp_path / "station.toml", tmp_path / "doctor.json"
    file.write_text(CONFIG.format(data_dir="data", port=free_port()))
    command = [sys.executable, "-m", "inspection", "doctor", str(file), "--json", str(report), "--seconds", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    # Where it is, as it goes along, is all that it says beside its findings.
    assert all(re.match(r"\d\d:\d\d:\d\d \w", line) for line in done.stderr.splitlines()), done.stderr
    assert done.returncode == 0
    document = json.loads(report.read_text())
    assert document["counts"]["failure"] == 0
    found = {f"{each['area']}: {each['check']}": each["outcome"] for each in document["findings"]}
    for check in (
        "configuration: station.toml",
        "cameras: producer simcam.cti",
        "cameras: camera top: features",
        "cameras: camera top: trigger",
        "cameras: camera top: proof of frames",
        "memory: rings",
        "disk: filesystem",
        "network: port of REST and pages",
    ):
        assert found[check] == "ok", check
        assert check in done.stdout or check.split(": ")[-1] in done.stdout
    assert {each["area"] for each in document["findings"]} == {
        *("configuration", "cameras", "processor", "memory", "disk", "records", "network", "system", "speed", "clock")
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["doctor.json", "station.toml"], "nothing was changed"


def test_everything_that_is_wrong_is_found_at_once(tmp_path: Path, taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(producers.GENTL_PATH, str(tmp_path / "no-sdk"))
    secret = tmp_path / "mes.secret"
    secret.write_text("c2VjcmV0")
    secret.chmod(0o644)
    more = f"""
[[cameras]]
name = "side"
serial = "1"
producer = "{tmp_path / "missing.cti"}"

[[cameras]]
name = "back"
serial = "99"
producer = "{VIKY}"

[[receivers]]
kind = "http"
name = "mes"
url = "http://127.0.0.1:{free_port()}/events"
secret_file = "{secret}"

[plc]
host = "203.0.113.9"
camera = "top"
rejector_distance_mm = 600
accept_window_mm = 40
max_speed_mm_per_s = 1000
actuator_ms = 30
"""
    text = CONFIG.replace("ExposureTime", "ExposureTimme").replace("part_number", "deadline_ms = 200\npart_number")
    with TemporaryDirectory(prefix="doctor-test-", dir="/dev/shm") as memory:
        (Path(memory) / "station.db").write_bytes(b"SQLite format 3\0" + b"nonsense" * 1_000)
        file = tmp_path / "station.toml"
        file.write_text(text.format(data_dir=memory, port=taken) + more)
        found = by_check(list(examine(file, 0, lambda _: None)))
    assert {check for check, outcome in found.items() if outcome == "failure"} >= {
        "cameras: producer missing.cti",
        "cameras: camera back",
        "cameras: camera top: features: ExposureTimme",
        "disk: filesystem",
        "disk: durability",
        "records: database",
        "records: secret of receiver mes mes.secret",
        "network: port of REST and pages",
        "network: port of PLC, Modbus TCP",
    }
    assert found[f"cameras: {producers.GENTL_PATH}"] == "warning"
    assert found["network: receiver mes"] == "warning", "it inspects without the MES"
    assert found["cameras: camera side"] == "not checked"
    assert "cameras: camera top: trigger" in found, "one wrong feature hides nothing"


def test_a_file_that_is_no_configuration_leaves_the_rest_to_be_looked_at(tmp_path: Path) -> None:
    file = tmp_path / "station.toml"
    file.write_text("[station]\nnmae = 1\n")
    findings = examine(file, 0, lambda _: None)
    first = next(findings)
    assert (first.outcome.value, "station.nmae" in first.found) == ("failure", True)
    assert next(findings).area == "cameras"


def test_a_producer_that_crashes_takes_nobody_with_it(tmp_path: Path) -> None:
    broken = tmp_path / "vendor.cti"
    # genicam calls what is not there.
    broken.write_bytes(PRODUCER.read_bytes().replace(b"TLGetNumInterfaces\0", b"TXGetNumInterfaces\0"))
    facts = producers.probe(broken, [camera(producer=str(broken))], False)
    assert facts.trouble == "crashed the process that asked it (SIGSEGV)"


def test_a_camera_that_another_program_holds_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cameras = tmp_path / "cameras"
    cameras.mkdir()
    monkeypatch.setenv("STATION_SIMULATOR", str(cameras))
    # Any other file than the simulator's own is that of a real camera.
    vendor = Path(shutil.copy(PRODUCER, tmp_path / "vendor.cti"))
    simulated = SimulatedCamera.create(cameras, "SIM1", 64, 48)
    holder = GenicamCamera(vendor, "SIM1")
    holder.open()
    wanted = camera(producer=str(vendor), features={"TriggerMode": "On", "TriggerSource": "Line1"})
    try:
        held = list(producers.judge_camera(wanted, producers.probe(vendor, [wanted], False)))
    finally:
        holder.close()
    assert [each.outcome.value for each in held] == ["failure"]
    assert "another program" in held[0].found
    free = by_check(list(producers.judge_camera(wanted, producers.probe(vendor, [wanted], False))))
    simulated.close()
    assert free["cameras: camera top: features"] == "ok"
    assert free["cameras: camera top: proof of frames"] == "warning", "the chunk data are off"


def test_databases_of_both_kinds_are_looked_at_and_left_alone(engine: Engine, database_url: str, tmp_path: Path) -> None:
    config = parse(CONFIG.format(data_dir=tmp_path / "none", port=1) + "", tmp_path / "station.toml")
    config = with_database(config, database_url)
    engine.dispose()
    before = sorted(tmp_path.iterdir())
    facts = records.probe_database(config)
    assert (facts.there, facts.problem, facts.revision) == (True, None, facts.newest)
    found = by_check(list(records.judge_database(facts)))
    if database_url.startswith("sqlite"):
        assert found == {"records: database": "ok", "records: schema": "ok"}
        assert sorted(tmp_path.iterdir()) == before
    else:
        # The tests' own server is fast because it is careless.
        assert facts.careless == ("fsync = off",)
        assert found["records: database"] == "failure"


def with_database(config: Config, url: str) -> Config:
    return config.model_copy(update={"station": config.station.model_copy(update={"database_url": url})})


def test_a_station_that_runs_is_known_by_its_locks(tmp_path: Path) -> None:
    config = parse(CONFIG.format(data_dir="data", port=1), tmp_path / "station.toml")
    config.data_dir.mkdir()
    config.run_dir.mkdir()
    try:
        assert not running(config)
        with only_one(config, "web"):
            assert running(config).pids == {"web": os.getpid()}
        assert running(config) == NOTHING
    finally:
        shutil.rmtree(config.run_dir)


def test_what_was_written_to_try_the_disk_is_gone_again(tmp_path: Path) -> None:
    facts = disk.probe(tmp_path / "data", thorough=False)
    assert (facts.folder, facts.exists, facts.trouble, facts.mb_per_s) == (tmp_path, False, None, None)
    assert 0 < len(facts.small_ms) <= 20
    assert min(facts.small_ms) > 0
    assert list(tmp_path.iterdir()) == []


# --- certificates ---


@pytest.fixture
def tls_peer(tmp_path: Path) -> Iterator[Callable[[int], tuple[int, Path]]]:
    """Serves TLS with a certificate that ends in so many days; gives the port and the certificate."""
    servers: list[tuple[socket.socket, threading.Thread]] = []

    def serve(days: int) -> tuple[int, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mes")])
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        builder = builder.serial_number(1).not_valid_before(now - timedelta(days=400)).not_valid_after(now + timedelta(days=days))
        address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
        certificate = builder.add_extension(address, critical=False).sign(key, hashes.SHA256())
        file = tmp_path / f"{days}.pem"
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        file.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        server = socket.create_server(("127.0.0.1", 0))

        def answer() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    try:
                        context.wrap_socket(client, server_side=True).close()
                    except OSError:
                        continue

        thread = threading.Thread(target=answer)
        thread.start()
        servers.append((server, thread))
        return server.getsockname()[1], file

    yield serve
    for server, thread in servers:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(5)


@pytest.mark.parametrize(
    ("days", "known", "outcome"), [(90, True, "ok"), (9, True, "warning"), (-9, True, "failure"), (90, False, "failure")]
)
def test_certificates_of_receivers(tls_peer: Callable[[int], tuple[int, Path]], days: int, known: bool, outcome: str) -> None:
    port, certificate = tls_peer(days)
    facts = network.probe_peer("receiver mes", "127.0.0.1", port, True, certificate if known else None)
    *_, last = network.judge_peer(facts, network.utc_now())
    assert last.outcome.value == outcome, last
