"""All processes of the station under circus, which starts them again when they end."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

from circus import get_arbiter

from cameras.simulator.control import SimulatedCamera
from inspection.config import Config, prepare_directories
from inspection.processes import only_one, process_names
from inspection.records.database import migrate, open_engine

# A process that ended is noticed within this time.
_CHECK_S = 0.2
# Bytes and number of the log files that are kept of each process.
_LOG_BYTES, _LOG_FILES = 10_000_000, 5
_SENSOR = (1280, 1024)


def supervise(config: Config, config_path: Path) -> None:
    """Run the station until SIGTERM or SIGINT; processes get 5 s to finish their parts."""
    prepare_directories(config)
    lock = only_one(config, "station")
    migrate(open_engine(config.database_url))
    for camera in config.cameras:
        if camera.producer == "simulator" and not (config.simulator_dir / camera.serial).exists():
            SimulatedCamera.create(config.simulator_dir, camera.serial, *_SENSOR).close()
    # While it stops the processes, circus's own periodic check conflicts with that, harmlessly, and tornado logs each time.
    logging.getLogger("tornado.application").setLevel(logging.CRITICAL)
    arbiter = get_arbiter(
        [
            *(_watcher(config, config_path, name, ["inspection", "process", name]) for name in process_names(config)),
            # Not asked for heartbeats: a station whose trainer is away still inspects.
            _watcher(config, config_path, "trainer", ["training", "trainer"]),
        ],
        controller=f"ipc://{config.run_dir}/circus.controller",
        pubsub_endpoint=f"ipc://{config.run_dir}/circus.events",
        check_delay=_CHECK_S,
        loglevel="WARNING",
    )
    arbiter.start()
    lock.close()


def _watcher(config: Config, config_path: Path, name: str, module: list[str]) -> dict[str, Any]:
    return {
        "name": name.replace("@", "-"),
        "cmd": sys.executable,
        "args": ["-m", *module, "--config", str(config_path)],
        "env": dict(os.environ),
        "copy_env": True,
        "graceful_timeout": 5,
        "max_retry": -1,
        "stdout_stream": _log(config, name),
        "stderr_stream": _log(config, name),
    }


def _log(config: Config, name: str) -> dict[str, Any]:
    return {
        "class": "FileStream",
        "filename": str(config.log_dir / f"{name}.log"),
        "max_bytes": _LOG_BYTES,
        "backup_count": _LOG_FILES,
    }
