"""Clocks: is the time of day right and steady, and are short times measured well?"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from inspection.doctor.findings import Finding, failure, not_checked, ok, warning

AREA = "clock"
_DAEMONS = {"chronyd", "ntpd", "systemd-timesync", "systemd-timesyncd", "ptp4l", "phc2sys", "openntpd", "timemaster", "ntpd-rs"}
# https://www.freedesktop.org/software/systemd/man/sd-messages: SD_MESSAGE_TIME_CHANGE
_TIME_CHANGE = "c7a787079b354eaaa9e77b371893cd27"
_SLOW_SOURCES = {"hpet", "acpi_pm", "jiffies", "refined-jiffies", "pit"}
_UNSYNCHRONISED, _TIME_ERROR = 0x0040, 5
_STEP_S = 0.05
_EARLIEST = 1_700_000_000
"""Before this software was written."""


class _Timex(ctypes.Structure):
    """``struct timex`` of Linux on 64 bits, as adjtimex(2) fills it."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


@dataclass(frozen=True, slots=True)
class ClockFacts:
    """``error_ms`` is the most that the kernel thinks the clock is off. ``steps`` since the start of the machine, None if
    nobody counted; ``stepped_s`` while the doctor looked. ``overslept_ms``: beyond 1 ms that was asked for.
    """

    now: float
    synchronised: bool
    error_ms: float
    daemons: tuple[str, ...]
    steps: int | None
    stepped_s: float
    zone: str
    source: str
    resolution_ns: float
    overslept_ms: tuple[float, ...]


def offset() -> float:
    """The time of day on the clock that nobody sets, in seconds: what it changes by is a step."""
    return time.time() - time.monotonic()


def probe(offset_before: float) -> ClockFacts:
    timex = _Timex()
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    names = {process.info["name"] for process in psutil.process_iter(["name"])}
    source = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
    return ClockFacts(
        time.time(),
        state not in (_TIME_ERROR, -1) and not timex.status & _UNSYNCHRONISED,
        timex.maxerror / 1e3,
        tuple(sorted(names & _DAEMONS)),
        _steps(),
        offset() - offset_before,
        _zone(),
        source.read_text(encoding="ascii").strip() if source.exists() else "unknown",
        time.clock_getres(time.CLOCK_MONOTONIC) * 1e9,
        tuple(_overslept() for _ in range(100)),
    )


def _overslept() -> float:
    started = time.perf_counter()
    time.sleep(0.001)
    return (time.perf_counter() - started) * 1e3 - 1


def _steps() -> int | None:
    if shutil.which("journalctl") is None or not Path("/run/systemd/system").is_dir():
        return None
    command = ["journalctl", "--boot", "--quiet", "--output=cat", f"MESSAGE_ID={_TIME_CHANGE}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    return len(done.stdout.splitlines()) if done.returncode == 0 else None


def _zone() -> str:
    if zone := os.environ.get("TZ"):
        return zone
    link = Path("/etc/localtime")
    return str(link.resolve()).partition("zoneinfo/")[2] or time.tzname[0] if link.exists() else "UTC"


# --- judgement ---


def judge(facts: ClockFacts) -> Iterator[Finding]:
    yield _judge_synchronised(facts)
    yield _judge_steps(facts)
    yield ok(AREA, "time zone", f"{facts.zone}; records are in UTC, whatever it is")
    if facts.source in _SLOW_SOURCES:
        yield warning(
            AREA,
            "source",
            f"{facts.source}: each look takes microseconds, and the kernel found the processor's own clock unreliable",
            "boot with tsc=reliable if the processor's clock is (dmesg says why it was given up), or update the firmware",
        )
    else:
        yield ok(AREA, "source", facts.source)
    p50, p99 = np.percentile(facts.overslept_ms, (50, 99))
    found = f"resolution {facts.resolution_ns:.0f} ns; who asks for 1 ms waits {1 + p50:.2f} ms, 99 % at most {1 + p99:.2f} ms"
    if facts.resolution_ns > 1_000 or p50 > 2:
        yield warning(AREA, "timers", found, "take a kernel with high resolution timers, and leave the processor some rest")
    else:
        yield ok(AREA, "timers", found)


def _judge_synchronised(facts: ClockFacts) -> Finding:
    check, by = "synchronised", ", ".join(facts.daemons)
    now = time.strftime("%F %T UTC", time.gmtime(facts.now))
    if facts.now < _EARLIEST:
        return failure(AREA, check, f"it is {now}, it says", "set the clock, and replace the battery on the board")
    if facts.synchronised:
        return ok(AREA, check, f"{now}, within {facts.error_ms:.0f} ms{f', by {by}' if by else ''}")
    if by:
        return warning(AREA, check, f"{by} runs, the clock is not synchronised yet", "wait, or see which server it asks")
    return warning(
        AREA,
        check,
        f"{now}, by nobody: records of several stations cannot be put in order",
        "install chrony and name a time server of the plant",
    )


def _judge_steps(facts: ClockFacts) -> Finding:
    check = "steps"
    if abs(facts.stepped_s) > _STEP_S:
        found = f"the clock was set by {facts.stepped_s:+.3f} s while this looked"
        return warning(
            AREA, check, found, "let the clock be slewed, not stepped, once parts are inspected: makestep 1 3 in chrony.conf"
        )
    if facts.steps is None:
        return not_checked(AREA, check, "nobody counts how often the clock was set; it was not while this looked")
    if facts.steps > 1:
        found = f"set {facts.steps} times since the machine was started"
        return warning(AREA, check, found, "let one program set the clock, by slewing: makestep 1 3 in chrony.conf")
    return ok(AREA, check, f"set {facts.steps} times since the machine was started")
