"""What the doctor makes of the facts of a machine, area by area."""

from __future__ import annotations

import errno
import ipaddress
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cameras.camera import Survey
from inspection.config import CameraConfig
from inspection.doctor import clock, disk, links, memory, network, processor, producers, records, speed, system
from inspection.doctor.findings import Finding, Outcome, document, failure, ok, summary, warning
from inspection.doctor.producers import CameraFacts, ProducerFacts
from inspection.doctor.running import NOTHING, Running

GIB = 2**30
MIB = 2**20


def outcomes(findings: Iterable[Finding]) -> dict[str, str]:
    """{check: outcome}; whatever is not ok says what to do, or why it was not looked at."""
    found = {}
    for each in findings:
        assert each.found
        assert bool(each.todo) == (each.outcome in (Outcome.WARNING, Outcome.FAILURE)) or each.outcome is Outcome.NOT_CHECKED
        found[each.check] = each.outcome.value
    return found


# --- cameras ---

CAMERA = CameraConfig(
    name="top",
    serial="S1",
    features={
        "PixelFormat": "Mono8",
        "TriggerMode": "On",
        "TriggerSource": "Line1",
        "ExposureTime": 800.0,
        "ChunkModeActive": True,
    },
)
DEVICE = {
    "vendor": "Maker",
    "model": "C1",
    "version": "2",
    "tl_type": "GEV",
    "serial_number": "S1",
    "access_status": "1",
}
FEATURES = {
    "PixelFormat": "Mono8",
    "TriggerMode": "On",
    "TriggerSource": "Line1",
    "ExposureTime": "800.2",
    "ChunkModeActive": "1",
}
GOOD = CameraFacts({}, FEATURES, True, True)


def listed(camera: CameraFacts | None = GOOD, **device: str) -> ProducerFacts:
    survey = Survey({name: DEVICE[name] for name in ("vendor", "model", "version", "tl_type")}, ("eth1",), [DEVICE | device])
    return ProducerFacts(survey, {} if camera is None else {"top": camera})


def test_a_camera_that_takes_its_settings_is_fit() -> None:
    assert outcomes(producers.judge_camera(CAMERA, listed())) == {
        "camera top": "ok",
        "camera top: features": "ok",
        "camera top: trigger": "ok",
        "camera top: proof of frames": "ok",
    }


@pytest.mark.parametrize(
    ("facts", "check", "outcome"),
    [
        (listed(None, serial_number="S2"), "camera top", "failure"),
        (listed(CameraFacts(trouble="in use"), access_status="4"), "camera top", "failure"),
        (listed(CameraFacts(trouble="could not be opened")), "camera top", "failure"),
        (listed(replace(GOOD, refused={"ExposureTimme": "no such feature"})), "camera top: features: ExposureTimme", "failure"),
        (listed(replace(GOOD, trouble="no timer")), "camera top: features", "failure"),
        (listed(replace(GOOD, features=FEATURES | {"ExposureTime": "500"})), "camera top: features: ExposureTime", "warning"),
        (listed(replace(GOOD, features=FEATURES | {"PixelFormat": "Mono12p"})), "camera top: PixelFormat", "failure"),
        (listed(replace(GOOD, features=FEATURES | {"TriggerMode": "Off"})), "camera top: trigger", "failure"),
        (listed(replace(GOOD, counts_triggers=False)), "camera top: proof of frames", "warning"),
        (listed(replace(GOOD, has_clock=False)), "camera top: proof of frames", "warning"),
        (ProducerFacts(trouble="crashed"), "camera top", "not checked"),
    ],
)
def test_what_is_wrong_with_a_camera_is_named(facts: ProducerFacts, check: str, outcome: str) -> None:
    assert outcomes(producers.judge_camera(CAMERA, facts))[check] == outcome


def test_a_camera_that_was_not_told_its_trigger_source_is_a_warning() -> None:
    features = {name: value for name, value in CAMERA.features.items() if name != "TriggerSource"}
    assert outcomes(producers.judge_camera(replace_camera(features=features), listed()))["camera top: trigger"] == "warning"


def replace_camera(**changes: Any) -> CameraConfig:
    return CAMERA.model_copy(update=changes)


def test_a_camera_that_the_station_holds_is_judged_by_its_heartbeat() -> None:
    assert producers.judge_held(CAMERA, NOTHING) is None
    for states, outcome in (
        ({"camera@top": ("armed", True)}, "ok"),
        ({"camera@top": ("lost: cable", False)}, "failure"),
        ({}, "failure"),
    ):
        found = producers.judge_held(CAMERA, Running({"camera@top": 7}, states))
        assert found is not None
        assert found.outcome == outcome


def test_a_producer_that_crashes_matters_where_it_is_configured() -> None:
    broken = ProducerFacts(trouble="crashed the process that asked it (SIGSEGV)")
    assert producers.judge_producer(Path("a.cti"), broken, True).outcome == "failure"
    assert producers.judge_producer(Path("a.cti"), broken, False).outcome == "warning"
    assert producers.judge_producer(Path("a.cti"), ProducerFacts(Survey({}, (), [])), True).outcome == "failure"
    assert producers.judge_producer(Path("a.cti"), listed(), True).outcome == "ok"
    empty = Survey(dict.fromkeys(("vendor", "model", "version", "tl_type"), "x"), (), [])
    assert producers.judge_producer(Path("a.cti"), ProducerFacts(empty), True).outcome == "warning"
    assert producers.judge_gentl_path("/opt/none", ["/opt/none"], 0).outcome == "warning"
    assert producers.judge_gentl_path("/opt/sdk", [], 0).outcome == "warning"
    assert producers.judge_gentl_path("/opt/sdk", [], 2).outcome == "ok"


@pytest.mark.parametrize(
    ("asked", "read", "is_same"),
    [
        (True, "1", True),
        (True, "true", True),
        (False, "1", False),
        (1000.0, "999.98", True),
        (1000, "1020", False),
        ("Line1", "Line1", True),
        ("Line1", "Line2", False),
        (5, "text", False),
        (0, "0", True),
    ],
)
def test_features_are_read_back_but_for_rounding(asked: Any, read: str, is_same: bool) -> None:
    assert producers.same(asked, read) is is_same


# --- links ---

ETH = links.NetworkPort("eth1", ipaddress.IPv4Network("10.0.0.0/24"), 9000, 1000)
MACHINE = links.MachineLinks((ETH,), 32 * MIB, 16 * MIB)
GEV = {
    "GevCurrentIPAddress": "10.0.0.7",
    "GevSCPSPacketSize": "8192",
    "PayloadSize": "1310720",
    "AcquisitionFrameRate": "50",
}


def test_gige_packets_fit_the_port() -> None:
    check = "camera top: packets"
    assert outcomes(links.judge_link("top", "GEV", GEV, MACHINE)) == {check: "ok", "camera top: bytes per second": "ok"}
    # The same address, as producers tell it as a number.
    number = GEV | {"GevCurrentIPAddress": str(int(ipaddress.IPv4Address("10.0.0.7")))}
    assert outcomes(links.judge_link("top", "GEV", number, MACHINE))[check] == "ok"
    narrow = replace(MACHINE, ports=(replace(ETH, mtu=1500),))
    assert outcomes(links.judge_link("top", "GEV", GEV, narrow))[check] == "failure"
    assert outcomes(links.judge_link("top", "GEV", GEV | {"GevSCPSPacketSize": "1500"}, MACHINE))[check] == "warning"
    elsewhere = GEV | {"GevCurrentIPAddress": "10.9.9.9"}
    assert outcomes(links.judge_link("top", "GEV", elsewhere, MACHINE))[check] == "warning"


def test_more_bytes_than_a_link_carries_are_said() -> None:
    check = "camera top: bytes per second"
    fast = GEV | {"AcquisitionFrameRate": "100"}  # 131 MB/s through 125
    assert outcomes(links.judge_link("top", "GEV", fast, MACHINE))[check] == "warning"
    limited = {"PayloadSize": "1000000", "ResultingFrameRate": "60", "DeviceLinkThroughputLimit": "50000000"}
    assert outcomes(links.judge_link("top", "U3V", limited, MACHINE))[check] == "warning"
    assert outcomes(links.judge_link("top", "U3V", limited | {"ResultingFrameRate": "40"}, MACHINE))[check] == "ok"
    assert outcomes(links.judge_link("top", "Custom", {"PayloadSize": "1"}, MACHINE)) == {}


def test_buffers_of_network_and_usb() -> None:
    assert outcomes(links.judge_buffers(["GEV"], [1e6], MACHINE)) == {"net.core.rmem_max": "ok"}
    assert outcomes(links.judge_buffers(["GEV"], [1e6], replace(MACHINE, rmem_max_bytes=212_992))) == {
        "net.core.rmem_max": "warning"
    }
    assert outcomes(links.judge_buffers(["U3V"], [5e6], MACHINE)) == {"usbfs_memory_mb": "failure"}
    assert outcomes(links.judge_buffers(["U3V"], [5e6], replace(MACHINE, usbfs_bytes=1000 * MIB))) == {"usbfs_memory_mb": "ok"}
    assert outcomes(links.judge_buffers(["U3V"], [5e6], replace(MACHINE, usbfs_bytes=0))) == {"usbfs_memory_mb": "ok"}
    assert outcomes(links.judge_buffers(["Custom"], [5e6], MACHINE)) == {}


# --- the machine ---

PROCESSOR = processor.ProcessorFacts(
    "x86_64", "CPU", 8, ("avx2",), "f32", frozenset({"performance"}), frozenset({"balance_performance"}), False
)


@pytest.mark.parametrize(
    ("changes", "check", "outcome"),
    [
        ({}, "model", "ok"),
        ({}, "frequency", "ok"),
        ({"machine": "aarch64"}, "model", "warning"),
        ({"cores": 1}, "model", "warning"),
        ({"sets": ()}, "instruction sets", "warning"),
        ({"governors": frozenset({"powersave"})}, "frequency", "warning"),
        ({"governors": frozenset({"powersave"}), "preference": frozenset({"performance"})}, "frequency", "ok"),
        ({"governors": frozenset()}, "frequency", "ok"),
    ],
)
def test_processors(changes: dict[str, Any], check: str, outcome: str) -> None:
    assert outcomes(processor.judge(replace(PROCESSOR, **changes)))[check] == outcome


MEMORY = memory.MemoryFacts(16 * GIB, 12 * GIB, 0, 0, 60, 8 * GIB, 8 * GIB, 1, 100 * MIB, 0, 1 << 20)


@pytest.mark.parametrize(
    ("changes", "check", "outcome"),
    [
        ({}, "memory", "ok"),
        ({}, "rings", "ok"),
        ({}, "swap", "ok"),
        ({}, "open files", "ok"),
        ({"total": GIB // 2}, "memory", "failure"),
        ({"total": 2 * GIB}, "memory", "warning"),
        ({"shared_free": 64 * MIB}, "rings", "failure"),
        ({"shared_free": 64 * MIB, "rings_there": 100 * MIB}, "rings", "ok"),
        ({"ring_bytes": None}, "rings", "not checked"),
        ({"shared_total": None}, "rings", "warning"),
        ({"swap_total": 4 * GIB}, "swap", "warning"),
        ({"swap_total": 4 * GIB, "swappiness": 1}, "swap", "ok"),
        ({"swap_total": 4 * GIB, "swappiness": 1, "swap_used": 2 * GIB}, "swap", "warning"),
        ({"open_files": 1024}, "open files", "warning"),
        ({"open_files": -1}, "open files", "ok"),
    ],
)
def test_memory(changes: dict[str, Any], check: str, outcome: str) -> None:
    assert outcomes(memory.judge(replace(MEMORY, **changes)))[check] == outcome


DISK = disk.DiskFacts(
    Path("/data"), True, "ext4", "/dev/sda1", ("rw",), "write back", False, int(200e9), int(500e9), (1.0,) * 99 + (9.0,), 400.0
)


@pytest.mark.parametrize(
    ("changes", "check", "outcome"),
    [
        ({}, "filesystem", "ok"),
        ({}, "room", "ok"),
        ({}, "durable writes", "ok"),
        ({}, "large writes", "ok"),
        ({}, "durability", "ok"),
        ({"filesystem": "tmpfs"}, "filesystem", "failure"),
        ({"filesystem": "tmpfs"}, "durability", "failure"),
        ({"filesystem": "nfs4"}, "filesystem", "warning"),
        ({"filesystem": "overlay"}, "filesystem", "warning"),
        ({"options": ("ro", "relatime")}, "filesystem", "failure"),
        ({"options": ("rw", "nobarrier")}, "durability", "failure"),
        ({"small_ms": (0.005,) * 100}, "durability", "warning"),
        ({"small_ms": (45.0,) * 100}, "durable writes", "warning"),
        ({"free_bytes": int(0.5e9)}, "room", "failure"),
        ({"free_bytes": int(9e9)}, "room", "warning"),
        ({"free_bytes": int(90e9), "keep_free_bytes": int(100e9)}, "room", "warning"),
        ({"mb_per_s": 20.0}, "large writes", "warning"),
        ({"mb_per_s": None}, "large writes", "not checked"),
        ({"trouble": "/data: Permission denied"}, "writing", "failure"),
    ],
)
def test_disks(changes: dict[str, Any], check: str, outcome: str) -> None:
    assert outcomes(disk.judge(replace(DISK, **changes)))[check] == outcome


SECRET = records.FileFacts(Path("/etc/mes.secret"), "secret of receiver mes", False, 0o600, "station", True, True)


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({}, "ok"),
        ({"mode": 0o644}, "failure"),
        ({"mode": None}, "failure"),
        ({"mode": None, "needed": False}, "ok"),
        ({"mode": 0o640, "needed": False}, "failure"),
        ({"mode": 0o750, "needed": False, "folder": True}, "warning"),
        ({"mode": 0o700, "needed": False, "folder": True}, "ok"),
        ({"mine": False}, "warning"),
        ({"trouble": "Permission denied"}, "failure"),
    ],
)
def test_files_that_others_must_not_read(changes: dict[str, Any], outcome: str) -> None:
    (found,) = outcomes([records.judge_file(replace(SECRET, **changes))]).values()
    assert found == outcome


RECORDS = records.DatabaseFacts("sqlite:////data/station.db", True, "0006", "0006", None, True, (), 12)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, {"database": "ok", "schema": "ok"}),
        ({"there": False}, {"database": "ok"}),
        ({"problem": "malformed"}, {"database": "failure"}),
        ({"problem": "connection refused", "there": False}, {"database": "failure"}),
        ({"finished": False}, {"database": "not checked", "schema": "ok"}),
        ({"careless": ("fsync = off",), "url": "postgresql://db"}, {"database": "failure", "schema": "ok"}),
        ({"revision": None}, {"database": "ok", "schema": "ok"}),
        ({"revision": "0004"}, {"database": "ok", "schema": "warning"}),
        ({"revision": "0099"}, {"database": "ok", "schema": "failure"}),
    ],
)
def test_databases(changes: dict[str, Any], found: dict[str, str]) -> None:
    assert outcomes(records.judge_database(replace(RECORDS, **changes))) == found


CLOCK = clock.ClockFacts(1_800_000_000.0, True, 12.0, ("chronyd",), 1, 0.0, "UTC", "tsc", 1.0, (0.07,) * 100)


@pytest.mark.parametrize(
    ("changes", "check", "outcome"),
    [
        ({}, "synchronised", "ok"),
        ({}, "steps", "ok"),
        ({}, "source", "ok"),
        ({}, "timers", "ok"),
        ({"synchronised": False}, "synchronised", "warning"),
        ({"synchronised": False, "daemons": ()}, "synchronised", "warning"),
        ({"now": 1_000_000.0}, "synchronised", "failure"),
        ({"stepped_s": -0.4}, "steps", "warning"),
        ({"steps": 5}, "steps", "warning"),
        ({"steps": None}, "steps", "not checked"),
        ({"source": "hpet"}, "source", "warning"),
        ({"overslept_ms": (3.0,) * 100}, "timers", "warning"),
        ({"resolution_ns": 4e6}, "timers", "warning"),
    ],
)
def test_clocks(changes: dict[str, Any], check: str, outcome: str) -> None:
    assert outcomes(clock.judge(replace(CLOCK, **changes)))[check] == outcome


PORT = network.PortFacts("REST and pages", "127.0.0.1", 8080, 0)
RUNS = Running({"web": 4711})


@pytest.mark.parametrize(
    ("changes", "runs", "outcome"),
    [
        ({}, NOTHING, "ok"),
        ({}, RUNS, "warning"),
        ({"error": errno.EADDRINUSE, "holder": (4711, "python")}, RUNS, "ok"),
        ({"error": errno.EADDRINUSE, "holder": (12, "nginx")}, RUNS, "failure"),
        ({"error": errno.EADDRINUSE, "holder": (12, "nginx")}, NOTHING, "failure"),
        ({"error": errno.EADDRINUSE}, NOTHING, "failure"),
        ({"error": errno.EADDRINUSE}, RUNS, "ok"),
        ({"error": errno.EADDRNOTAVAIL}, NOTHING, "failure"),
        ({"error": errno.EACCES}, NOTHING, "failure"),
        ({"error": errno.EINVAL}, NOTHING, "failure"),
    ],
)
def test_ports(changes: dict[str, Any], runs: Running, outcome: str) -> None:
    (found,) = outcomes([network.judge_port(replace(PORT, **changes), "web", runs)]).values()
    assert found == outcome


NOW = datetime(2027, 1, 1, tzinfo=UTC)
PEER = network.PeerFacts("receiver mes", "mes:443", 12.0, True, NOW + timedelta(days=90))


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, {"receiver mes": "ok", "receiver mes: certificate": "ok"}),
        ({"expires": NOW + timedelta(days=9)}, {"receiver mes": "ok", "receiver mes: certificate": "warning"}),
        ({"expires": NOW - timedelta(days=1)}, {"receiver mes": "ok", "receiver mes: certificate": "failure"}),
        ({"tls": False, "expires": None}, {"receiver mes": "ok"}),
        ({"refused": "self-signed certificate"}, {"receiver mes": "failure"}),
        ({"trouble": "timed out"}, {"receiver mes": "warning"}),
    ],
)
def test_whom_the_station_reaches(changes: dict[str, Any], found: dict[str, str]) -> None:
    assert outcomes(network.judge_peer(replace(PEER, **changes), NOW)) == found


SYSTEM = system.SystemFacts("station", False, "station", 0, "30s", True, 10, 0, True)


@pytest.mark.parametrize(
    ("changes", "check", "outcome"),
    [
        ({}, "user", "ok"),
        ({}, "watchdog", "ok"),
        ({}, "kernel.panic", "ok"),
        ({"root": True, "user": "root", "data_owner": None}, "user", "warning"),
        ({"user": "kim"}, "user", "warning"),
        ({"watchdog": "0"}, "watchdog", "warning"),
        ({"watchdog_device": False}, "watchdog", "warning"),
        ({"watchdog": None}, "watchdog", "not checked"),
        ({"panic_s": 0}, "kernel.panic", "warning"),
        ({"panic_s": None}, "kernel.panic", "not checked"),
        ({"overcommit": 2}, "vm.overcommit_memory", "warning"),
        ({}, "priorities", "ok"),
        ({"nice": 40}, "priorities", "ok"),
        ({"watchdog": None}, "priorities", "warning"),
        ({"watchdog": None, "by_session": False}, "priorities", "ok"),
    ],
)
def test_systems(changes: dict[str, Any], check: str, outcome: str) -> None:
    assert outcomes(system.judge(replace(SYSTEM, **changes)))[check] == outcome


SPEED = speed.SpeedFacts("1 simulated camera", 40.0, 80.0, 40.0)
DEADLINES = {"flange": (200.0, 1.0)}


@pytest.mark.parametrize(
    ("changes", "deadlines", "found"),
    [
        ({}, DEADLINES, {"parts per second": "ok", "product flange: deadline": "ok"}),
        ({}, {}, {"parts per second": "ok", "time to verdict": "ok"}),
        ({"p99_ms": 170.0}, DEADLINES, {"parts per second": "ok", "product flange: deadline": "warning"}),
        ({"p99_ms": 199.5}, DEADLINES, {"parts per second": "ok", "product flange: deadline": "failure"}),
        ({"lost": 3}, {}, {"parts per second": "warning", "time to verdict": "ok"}),
        ({"p99_ms": None}, DEADLINES, {"parts per second": "ok", "time to verdict": "failure"}),
        ({"parts_per_s": None, "rate": None}, DEADLINES, {"product flange: deadline": "ok"}),
        ({"trouble": "the line did not start"}, DEADLINES, {"parts per second": "not checked"}),
    ],
)
def test_speed(changes: dict[str, Any], deadlines: dict[str, tuple[float, float]], found: dict[str, str]) -> None:
    assert outcomes(speed.judge(replace(SPEED, **changes), deadlines)) == found


def test_a_sensor_is_measured_as_the_camera_has_it() -> None:
    assert str(speed.sensor_of({"Width": "640", "Height": "480", "PixelFormat": "BayerRG12"})) == "640 × 480 BayerRG8"
    assert str(speed.sensor_of({"Width": "640", "Height": "480", "PixelFormat": "Mono12"})) == "640 × 480 Mono8"
    assert str(speed.sensor_of({})) == "1280 × 1024 Mono8"


def test_the_document_counts_what_the_line_says() -> None:
    findings = [
        ok("disk", "room", "much"),
        warning("clock", "steps", "two", "slew"),
        failure("network", "port", "taken", "end it"),
    ]
    assert summary(findings) == "not fit for service; failure: 1, warning: 1, not checked: 0, ok: 1"
    assert summary(findings[:2]).startswith("fit for service; failure: 0")
    assert document(findings)["counts"] == {"failure": 1, "warning": 1, "not checked": 0, "ok": 1}
    assert document(findings)["findings"][1] == {
        "area": "clock",
        "check": "steps",
        "outcome": "warning",
        "found": "two",
        "todo": "slew",
    }
