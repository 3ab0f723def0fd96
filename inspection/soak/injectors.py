"""How faults are made and undone. Each function makes one and returns what undoes it; Skipped says why it could not be made."""

from __future__ import annotations

import os
import random
import resource
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import zmq
from sqlalchemy import make_url

from cameras.bus import Bus
from cameras.messages import SCHEMA_VERSION
from cameras.simulator.control import FaultKind
from inspection.messages import CellMessage, TriggerRequest
from inspection.soak.receiver import Mood
from inspection.soak.station import CAMERA, WATCHDOG, SoakStation

Undo = Callable[[], None]
Injector = Callable[[SoakStation, str, random.Random], Undo]
GHOSTS = "ghosts"
"""A lot that was never opened, whose parts no cell conveys."""
# Room that a process at its limit has left.
_SPARE_BYTES, _SPARE_FILES = 2**20, 2


class Skipped(Exception):
    """The fault cannot be made now or here."""


def nothing() -> None:
    """Nothing is left to undo."""


# --- processes ---


def kill(station: SoakStation, target: str, _chance: random.Random) -> Undo:
    _process(station, target).kill()
    return nothing


def stop(station: SoakStation, target: str, _chance: random.Random) -> Undo:
    """SIGSTOP, as a process that waits for a disk or a driver for ever."""
    process = _process(station, target)
    process.suspend()

    def go_on() -> None:
        with suppress(psutil.NoSuchProcess):
            process.resume()

    return go_on


def stop_for_ever(station: SoakStation, target: str, chance: random.Random) -> Undo:
    """Nobody but a watchdog ends that."""
    if WATCHDOG not in station.states():
        raise Skipped("no watchdog looks after the processes")
    stop(station, target, chance)
    return nothing


def without_memory(station: SoakStation, target: str, _chance: random.Random) -> Undo:
    """No more address space than it has now: what it allocates next fails."""
    process = _process(station, target)
    return _limited(process, resource.RLIMIT_AS, process.memory_info().vms + _SPARE_BYTES)


def without_files(station: SoakStation, target: str, _chance: random.Random) -> Undo:
    """It can open next to nothing more."""
    process = _process(station, target)
    highest = max(int(file.name) for file in Path(f"/proc/{process.pid}/fd").iterdir())
    return _limited(process, resource.RLIMIT_NOFILE, highest + 1 + _SPARE_FILES)


def without_disk(station: SoakStation, target: str, _chance: random.Random) -> Undo:
    """No file that it writes may become longer: to the process, all disks are full."""
    return _limited(_process(station, target), resource.RLIMIT_FSIZE, 0)


def _limited(process: psutil.Process, what: int, limit: int) -> Undo:
    former = process.rlimit(what)
    process.rlimit(what, (limit, former[1]))

    def lift() -> None:
        with suppress(psutil.NoSuchProcess):
            process.rlimit(what, former)

    return lift


def _process(station: SoakStation, target: str) -> psutil.Process:
    pid = station.pid(target)
    if pid is None:
        raise Skipped(f"{target} does not run")
    return psutil.Process(pid)


# --- camera and optics ---


def unplugged(how: str) -> Injector:
    def inject(station: SoakStation, _target: str, _chance: random.Random) -> Undo:
        station.camera.unplug("silent" if how == "silent" else "error")
        return station.camera.replug

    return inject


def spoiled_frames(kind: FaultKind) -> Injector:
    def inject(station: SoakStation, _target: str, chance: random.Random) -> Undo:
        station.camera.fault(kind, every=chance.randint(3, 20), delay_ms=chance.randint(20, 800) if kind == "delay" else 0)
        return station.camera.clear_fault

    return inject


def stray_edges(station: SoakStation, _target: str, chance: random.Random) -> Undo:
    """Edges that nobody asked for: noise on the trigger line."""
    stop = threading.Event()
    pauses_s = [chance.uniform(0.02, 0.6) for _ in range(20)]

    def noise() -> None:
        for pause_s in pauses_s:
            if stop.wait(pause_s):
                return
            station.camera.edge()

    return _until(stop, noise)


def spoilt_optics(how: str) -> Injector:
    def inject(station: SoakStation, _target: str, _chance: random.Random) -> Undo:
        station.spoilt = how

        def clean() -> None:
            station.spoilt = None

        return clean

    return inject


# --- disk and database ---


def database_locked(station: SoakStation, _target: str, _chance: random.Random) -> Undo:
    """Another program holds the write lock of the database."""
    path = make_url(station.config.database_url).database
    assert path is not None
    connection = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        connection.close()
        raise Skipped(f"the lock was not to be had: {error}") from error

    def release() -> None:
        connection.execute("ROLLBACK")
        connection.close()

    return release


def disk_full(station: SoakStation, _target: str, _chance: random.Random) -> Undo:
    """Not a block is left where the images lie."""
    filler = _mounted(station) / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(b"\0" * 65_536):
            pass
    return lambda: filler.unlink(missing_ok=True)


def disk_read_only(station: SoakStation, _target: str, _chance: random.Random) -> Undo:
    """As a file system that found an error in itself."""
    folder = _mounted(station)

    def remount(how: str) -> None:
        # Busy while an image is being written.
        for _ in range(200):
            done = subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], capture_output=True, check=False)
            if done.returncode == 0:
                return
            time.sleep(0.01)
        raise Skipped(f"{folder} cannot be remounted {how}: {done.stderr.decode().strip()}")

    remount("ro")
    return lambda: remount("rw")


def _mounted(station: SoakStation) -> Path:
    if station.mounted is None:
        raise Skipped("the images have no file system of their own, which needs root")
    return station.mounted


# --- the network and other programs ---


def receiver_in(mood: Mood) -> Injector:
    def inject(station: SoakStation, _target: str, _chance: random.Random) -> Undo:
        receiver = station.receiver
        receiver.mood = mood
        if mood is Mood.DOWN:
            receiver.close()

        def recover() -> None:
            receiver.mood = Mood.UP
            receiver.listen()

        return recover

    return inject


def garbage(station: SoakStation, target: str, chance: random.Random) -> Undo:
    """Bytes that mean nothing into a process's inbox: of this version, of another one, empty, and not even ZeroMQ's."""
    inbox = station.config.run_dir / f"{target}.inbox"
    messages = [bytes([SCHEMA_VERSION]) + chance.randbytes(chance.randint(0, 300)) for _ in range(50)]
    messages += [chance.randbytes(chance.randint(0, 5_000)) for _ in range(50)]
    with zmq.Context() as context, context.socket(zmq.PUSH) as pushing:
        pushing.setsockopt(zmq.LINGER, 200)
        pushing.setsockopt(zmq.SNDTIMEO, 500)
        pushing.connect(f"ipc://{inbox}")
        with suppress(zmq.Again):
            for message in messages:
                pushing.send(message)
    with socket.socket(socket.AF_UNIX) as raw, suppress(OSError):
        raw.settimeout(0.5)
        raw.connect(str(inbox))
        raw.sendall(chance.randbytes(500))
    return nothing


def garbage_on_ports(station: SoakStation, _target: str, chance: random.Random) -> Undo:
    """Bytes that mean nothing to the page, to the PLC's registers and to the recorder's commands."""
    assert station.config.plc is not None
    for port in (station.config.web.port, station.config.plc.port):
        for _ in range(5):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.5) as raw:
                raw.sendall(chance.randbytes(chance.randint(1, 2_000)))
    with zmq.Context() as context, context.socket(zmq.REQ) as asking:
        asking.setsockopt(zmq.LINGER, 0)
        asking.setsockopt(zmq.RCVTIMEO, 500)
        asking.setsockopt(zmq.SNDTIMEO, 500)
        asking.connect(station.config.commands_address)
        with suppress(zmq.Again):
            asking.send(chance.randbytes(200))
            asking.recv()
    return nothing


def flood(station: SoakStation, target: str, _chance: random.Random) -> Undo:
    """Messages of another version without end: something to say about each."""
    stop = threading.Event()

    def push() -> None:
        with zmq.Context() as context, context.socket(zmq.PUSH) as pushing:
            pushing.setsockopt(zmq.LINGER, 0)
            pushing.connect(f"ipc://{station.config.run_dir / f'{target}.inbox'}")
            while not stop.wait(0.01):
                with suppress(zmq.Again):
                    for _ in range(50):
                        pushing.send(b"\xff" + b"flood" * 20, zmq.NOBLOCK)

    return _until(stop, push)


def requesters_gone(station: SoakStation, _target: str, chance: random.Random) -> Undo:
    """Requesters that ask for a trigger and are never seen again; each has a name of its own."""
    for _ in range(chance.randint(1, 5)):
        name = f"ghost-{chance.getrandbits(48):x}"
        bus = Bus(station.config.run_dir, name, CellMessage)
        bus.send("line", _ghost(name))
        bus.close()
        (station.config.run_dir / f"{name}.inbox").unlink(missing_ok=True)
    return nothing


def _ghost(name: str) -> TriggerRequest:
    return TriggerRequest(
        request_id=name, lot=GHOSTS, serial=name, camera=CAMERA, reply_to=name, requested_ns=time.monotonic_ns()
    )


def busy_processor(_station: SoakStation, _target: str, _chance: random.Random) -> Undo:
    """As many processes that only compute as there are cores."""
    hogs = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(os.cpu_count() or 1)]

    def end() -> None:
        for hog in hogs:
            hog.kill()
            hog.wait()

    return end


def _until(stop: threading.Event, work: Callable[[], None]) -> Undo:
    thread = threading.Thread(target=work, name="fault", daemon=True)
    thread.start()

    def end() -> None:
        stop.set()
        thread.join()

    return end
