"""Memory: of the processes, of the rings of frames, and what happens when it runs out."""

from __future__ import annotations

import resource
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from inspection.config import Config
from inspection.doctor.findings import Finding, failure, not_checked, ok, warning
from inspection.doctor.running import owners_run_dir

AREA = "memory"
SHARED = Path("/dev/shm")  # noqa: S108  (looked at only)
# A station with one camera settles at 530 MiB (decision 13), each further camera at 90; a training takes up to 3 GiB more.
_PROCESSES_BYTES, _CAMERA_BYTES, _TRAINING_BYTES = 600 << 20, 90 << 20, 3 << 30
_GIB = 2**30
# Connections of web process, OPC UA and databases, sockets between processes, files being written.
_FILES = 4_096
_SWAPPINESS = 10


@dataclass(frozen=True, slots=True)
class MemoryFacts:
    """Bytes. ``ring_bytes`` is what the rings of the configured cameras take, or None where frames are not known; of it,
    ``rings_there`` are taken already.
    """

    total: int
    available: int
    swap_total: int
    swap_used: int
    swappiness: int
    shared_total: int | None
    shared_free: int | None
    cameras: int
    ring_bytes: int | None
    rings_there: int
    open_files: int


def probe(config: Config | None, payloads: Mapping[str, float]) -> MemoryFacts:
    """``payloads``: bytes of a frame of each camera, by its name, as far as known."""
    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    shared = psutil.disk_usage(str(SHARED)) if SHARED.is_dir() else None
    cameras = config.cameras if config is not None else ()
    known = all(camera.name in payloads for camera in cameras)
    return MemoryFacts(
        memory.total,
        memory.available,
        swap.total,
        swap.used,
        int(Path("/proc/sys/vm/swappiness").read_text(encoding="ascii")),
        shared.total if shared else None,
        shared.free if shared else None,
        len(cameras),
        int(sum(camera.ring_slots * payloads[camera.name] for camera in cameras)) if cameras and known else None,
        sum(ring.stat().st_size for ring in owners_run_dir(config).glob("*.ring")) if config is not None else 0,
        resource.getrlimit(resource.RLIMIT_NOFILE)[1],
    )


def judge(facts: MemoryFacts) -> Iterator[Finding]:
    needed = _PROCESSES_BYTES + _CAMERA_BYTES * max(0, facts.cameras - 1) + (facts.ring_bytes or 0)
    found = (
        f"{facts.total / _GIB:.1f} GiB, {facts.available / _GIB:.1f} GiB free; the station takes about {needed / _GIB:.1f} GiB"
    )
    if facts.total < needed * 1.25:
        yield failure(AREA, "memory", found, "add memory, or lower ring_slots")
    elif facts.total < needed + _TRAINING_BYTES:
        yield warning(AREA, "memory", f"{found}, a training 3 GiB more", "train on another machine, or add memory")
    else:
        yield ok(AREA, "memory", found)
    yield _judge_rings(facts)
    if facts.swap_used > _GIB // 4 or (facts.swap_total and facts.swappiness > _SWAPPINESS):
        yield warning(
            AREA,
            "swap",
            f"{facts.swap_used / _GIB:.1f} of {facts.swap_total / _GIB:.1f} GiB used, vm.swappiness {facts.swappiness}: "
            "a process that was swapped out answers late",
            f"swapoff -a, or sysctl vm.swappiness={_SWAPPINESS} at most",
        )
    else:
        yield ok(AREA, "swap", "none" if not facts.swap_total else f"vm.swappiness {facts.swappiness}")
    found = f"{facts.open_files} for each process"
    if 0 <= facts.open_files < _FILES:
        yield warning(AREA, "open files", found, f"raise the limit to {_FILES} (LimitNOFILE= of the unit, or limits.conf)")
    else:
        yield ok(AREA, "open files", found)


def _judge_rings(facts: MemoryFacts) -> Finding:
    if facts.shared_total is None or facts.shared_free is None:
        return warning(AREA, "rings", f"there is no {SHARED}: frames go through /tmp", f"mount a tmpfs on {SHARED}")
    found = f"{SHARED} has {facts.shared_free / 2**20:.0f} of {facts.shared_total / 2**20:.0f} MiB free"
    if facts.ring_bytes is None:
        return not_checked(AREA, "rings", f"{found}; the size of the cameras' frames is not known")
    found = f"{facts.ring_bytes / 2**20:.0f} MiB of frames; {found}"
    if facts.ring_bytes > facts.shared_free + facts.rings_there:
        return failure(
            AREA,
            "rings",
            found,
            "lower ring_slots, take a smaller region of interest, or mount -o remount,size=… /dev/shm (docker: --shm-size)",
        )
    return ok(AREA, "rings", found)
