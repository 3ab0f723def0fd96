"""The disk below the data directory: room, kind, speed, and whether what was written is there after a power cut."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import psutil

from inspection.doctor.findings import Finding, failure, not_checked, ok, warning

AREA = "disk"
_GONE = {"tmpfs", "ramfs", "devtmpfs"}
_NETWORK = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "fuse.sshfs", "fuse.glusterfs", "lustre"}
_LOW_SHARE, _LOW_BYTES = 0.05, 10e9
# Faster than this, a cache answered: 10 to 50 µs are those of drives that keep theirs through a power cut.
_CACHE_MS = 0.05
# A durable row waits for one write, and ten of them come between two parts at 50 parts per second.
_SLOW_MS = 20.0
_SLOW_MB_PER_S = 50.0
_SMALL_BYTES, _LARGE_BYTES, _STEP = 4_096, 128 << 20, 4 << 20
_SMALL_S = 2.0


@dataclass(frozen=True, slots=True)
class DiskFacts:
    """``folder`` is the data directory, or where it would be made. ``options``: those of the mount. ``write_cache`` is what
    the kernel says of the drive, "" where it says nothing. Milliseconds of small durable writes; megabytes per second of a
    large one, None if it was left out. ``trouble`` is why nothing could be written. ``keep_free_bytes``: with less free,
    the station deletes images of passed parts.
    """

    folder: Path
    exists: bool
    filesystem: str
    device: str
    options: tuple[str, ...]
    write_cache: str
    virtual: bool
    free_bytes: int
    total_bytes: int
    small_ms: tuple[float, ...] = ()
    mb_per_s: float | None = None
    trouble: str | None = None
    keep_free_bytes: int = 0


def probe(data_dir: Path, thorough: bool, keep_free_bytes: int = 0) -> DiskFacts:
    """Writes files of its own and deletes them; not ``thorough`` beside a station that runs: a few small ones."""
    folder = next(each for each in (data_dir, *data_dir.absolute().parents) if each.exists())
    mount = max(
        (part for part in psutil.disk_partitions(all=True) if folder.resolve().is_relative_to(part.mountpoint)),
        # Of several mounts in one place, the last is seen.
        key=lambda part: len(part.mountpoint),
    )
    usage = shutil.disk_usage(folder)
    small: tuple[float, ...] = ()
    large = trouble = None
    try:
        with TemporaryDirectory(prefix=".doctor-", dir=folder) as place:
            small = _small_writes(Path(place) / "small", 300 if thorough else 20)
            if thorough and usage.free > 10 * _LARGE_BYTES:
                large = _large_write(Path(place) / "large")
    except OSError as error:
        trouble = f"{folder}: {error.strerror}"
    return DiskFacts(
        folder,
        folder == data_dir,
        mount.fstype,
        mount.device,
        tuple(mount.opts.split(",")),
        _write_cache(folder),
        "hypervisor" in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace"),
        usage.free,
        usage.total,
        small,
        large,
        trouble,
        keep_free_bytes,
    )


def _small_writes(path: Path, count: int) -> tuple[float, ...]:
    """As the database's log is written: appended, then synchronised."""
    times: list[float] = []
    until = time.monotonic() + _SMALL_S
    with path.open("wb", buffering=0) as file:
        while len(times) < count and time.monotonic() < until:
            started = time.perf_counter()
            file.write(b"\xa5" * _SMALL_BYTES)
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - started) * 1e3)
    return tuple(times)


def _large_write(path: Path) -> float:
    data = os.urandom(_STEP)
    started = time.perf_counter()
    with path.open("wb", buffering=0) as file:
        for _ in range(_LARGE_BYTES // _STEP):
            file.write(data)
        os.fsync(file.fileno())
    return _LARGE_BYTES / 1e6 / (time.perf_counter() - started)


def _write_cache(folder: Path) -> str:
    number = folder.stat().st_dev
    block = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
    for each in (block, block.resolve().parent):
        try:
            return (each / "queue" / "write_cache").read_text(encoding="ascii").strip()
        except OSError:
            continue
    return ""


# --- judgement ---


def judge(facts: DiskFacts) -> Iterator[Finding]:
    yield _judge_filesystem(facts)
    yield _judge_room(facts)
    if facts.trouble is not None:
        yield failure(AREA, "writing", facts.trouble, "give the folder to the station's user: chown, chmod 700")
        return
    yield from _judge_speed(facts)
    yield _judge_durability(facts)


def _judge_filesystem(facts: DiskFacts) -> Finding:
    found = f"{facts.filesystem} on {facts.device}, for {facts.folder}{'' if facts.exists else ' (data_dir is not made yet)'}"
    if facts.filesystem in _GONE:
        return failure(AREA, "filesystem", f"{found}: memory, empty after the next start", "put data_dir on a disk")
    if "ro" in facts.options:
        return failure(AREA, "filesystem", f"{found}, mounted read-only", "look for errors of the disk in dmesg, and mount it rw")
    if facts.filesystem in _NETWORK:
        return warning(
            AREA,
            "filesystem",
            f"{found}: SQLite's log needs memory shared between processes, which a network does not have",
            "put data_dir on a disk of this machine, or set database_url to a PostgreSQL",
        )
    if facts.filesystem == "overlay":
        return warning(
            AREA, "filesystem", f"{found}: a container's layer, which goes with the container", "mount a volume for data_dir"
        )
    return ok(AREA, "filesystem", found)


def _judge_room(facts: DiskFacts) -> Finding:
    found = f"{facts.free_bytes / 1e9:.1f} of {facts.total_bytes / 1e9:.1f} GB free"
    if facts.free_bytes < _LOW_BYTES / 10:
        return failure(AREA, "room", found, "free some, or take another disk")
    if facts.free_bytes < facts.keep_free_bytes:
        kept = f"{found}, less than min_free_gb = {facts.keep_free_bytes / 1e9:g}: images of passed parts are deleted at once"
        return warning(AREA, "room", kept, "free some, or take another disk")
    if facts.free_bytes < max(_LOW_BYTES, _LOW_SHARE * facts.total_bytes):
        return warning(AREA, "room", found, "free some, or lower keep_pass_share; a part of 1280 × 1024 takes about 0.7 MB")
    return ok(AREA, "room", found)


def _judge_speed(facts: DiskFacts) -> Iterator[Finding]:
    p50, p99 = np.percentile(facts.small_ms, (50, 99))
    found = f"{p50:.2f} ms, 99 % within {p99:.2f} ms ({len(facts.small_ms)} of 4 KiB)"
    if p50 > _SLOW_MS:
        yield warning(
            AREA, "durable writes", found, "each part waits for one: take an SSD, or expect as many parts per second less"
        )
    else:
        yield ok(AREA, "durable writes", found)
    if facts.mb_per_s is None:
        yield not_checked(AREA, "large writes", "left out: a station runs on this disk, or there is little room")
    elif facts.mb_per_s < _SLOW_MB_PER_S:
        yield warning(
            AREA,
            "large writes",
            f"{facts.mb_per_s:.0f} MB/s",
            "images come at 0.7 MB a part (1280 × 1024): take a faster disk, or lower keep_pass_share",
        )
    else:
        yield ok(AREA, "large writes", f"{facts.mb_per_s:.0f} MB/s")


def _judge_durability(facts: DiskFacts) -> Finding:
    """What can be known without pulling the plug: the mount's options, the drive's cache, and answers too fast to be true."""
    check = "durability"
    if facts.filesystem in _GONE:
        return failure(AREA, check, "nothing written here survives a power cut", "put data_dir on a disk")
    careless = {"nobarrier", "barrier=0"} & set(facts.options)
    if careless:
        return failure(
            AREA,
            check,
            f"mounted with {', '.join(sorted(careless))}: the drive may lose what it acknowledged",
            "mount it without that option",
        )
    p50 = float(np.percentile(facts.small_ms, 50))
    said = f"; the kernel says {facts.write_cache}" if facts.write_cache else ""
    if p50 < _CACHE_MS:
        return warning(
            AREA,
            check,
            f"answers after {p50 * 1e3:.0f} µs: a cache, which only drives with power-loss protection keep{said}",
            "make sure that the drive has it, or turn its cache off (hdparm -W 0); then pull the plug once to see",
        )
    if facts.virtual:
        return ok(AREA, check, f"answers after {p50:.2f} ms, as a disk would{said}; of a virtual machine, the host decides")
    return ok(AREA, check, f"answers after {p50:.2f} ms, as a disk would{said}")
