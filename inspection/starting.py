"""A station started from another program, as the demo and the benchmark do: its processes, and lots for them."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from inspection.commands import CloseLot, Done, OpenLot
from inspection.config import Config
from inspection.errors import StationError
from inspection.processes import end_with_parent
from inspection.recorder_client import ZmqRecorderClient

_START_S = 60.0
_STOP_S = 30.0


@contextmanager
def running_station(config: Config, config_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The station's manager, with every camera armed and models in service; stopped at the end.

    StationError if the station does not start.
    """
    config.status_path.unlink(missing_ok=True)
    station = start_manager(config_path)
    try:
        until = time.monotonic() + _START_S
        while not ready(config):
            if time.monotonic() > until or station.poll() is not None:
                raise StationError(f"the line did not start; see the files in {config.log_dir}")
            time.sleep(0.1)
        yield station
    finally:
        station.send_signal(signal.SIGTERM)
        station.wait(_STOP_S)


def start_manager(config_path: Path) -> subprocess.Popen[bytes]:
    """`station run` in a session of its own: Ctrl-C is for this program, which stops the station when the parts in flight have
    their rows.
    """
    return subprocess.Popen(
        [sys.executable, "-m", "inspection", "run", str(config_path)],
        start_new_session=True,
        preexec_fn=end_with_parent,
        stdout=sys.stderr,
    )


def open_lots(config: Config, lots: Iterable[str], product: str) -> None:
    """StationError if one cannot be opened."""
    with closing(ZmqRecorderClient(config.commands_address)) as client:
        for lot in lots:
            reply = client.execute(OpenLot(lot=lot, product=product))
            if not isinstance(reply, Done):
                raise StationError(f"lot {lot} could not be opened: {reply.detail}")


def close_lots(config: Config, lots: Iterable[str]) -> None:
    with closing(ZmqRecorderClient(config.commands_address)) as client:
        for lot in lots:
            client.execute(CloseLot(lot=lot))


def free_port(wanted: int) -> int:
    """This port, or another one if it is taken. StationError if none is free."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise StationError("no port is free on 127.0.0.1")


def ready(config: Config) -> bool:
    """The recorder writes down how the processes are: the cameras are armed, and models are in service."""
    try:
        processes = msgspec.json.decode(config.status_path.read_bytes())["processes"]
    except (OSError, msgspec.DecodeError):
        return False
    states = {name: process["state"] for name, process in processes.items()}
    armed = all(f"{camera.name}: armed" in states.get("line", "") for camera in config.cameras)
    return armed and "no model" not in states.get("inspector", "no model") and _answers(config)


def _answers(config: Config) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((config.web.host, config.web.port)) == 0
