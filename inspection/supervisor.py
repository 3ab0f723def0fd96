"""All processes of the station under circus, which starts them again when they end.

What circus does not do is done here: a process that hangs or uses too much memory is killed; one that ends soon after each start
waits longer and longer for the next; each end is a fault in the records; and a stop goes by stages, so that no part is lost.
"""

from __future__ import annotations

import itertools
import logging
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from circus.arbiter import Arbiter
from circus.exc import ConflictError
from circus.process import DEAD_OR_ZOMBIE, UNEXISTING
from circus.watcher import Watcher
from tornado import gen
from tornado.ioloop import PeriodicCallback

from cameras.beat import beat, notify
from cameras.bus import Bus
from cameras.messages import Message
from cameras.simulator.control import SimulatedCamera
from inspection import logs
from inspection.config import IN_FORCE, Config, parse, prepare_directories, read
from inspection.errors import ConfigError
from inspection.processes import MANAGER, end_leftovers, only_one, process_names
from inspection.records.database import open_engine
from inspection.records.preparing import prepare
from inspection.supervision import Supervision
from inspection.watchdog import START_S, Watchdog

log = logging.getLogger(__name__)

# A process that ended is noticed within this time; so is one that hangs, after its limit.
_CHECK_S = 0.2
# After SIGTERM. The line has its parts' deadlines besides; the recorder stores the images that wait.
_STOP_S, _STOP_RECORDER_S = 5.0, 30.0
# Bytes and number of the log files that are kept of each process.
_LOG_BYTES, _LOG_FILES = 10_000_000, 5
# The line waits so long at most while the database is looked through.
_LOOK_S = 10.0
_PIPE_BYTES = 65_536
_SENSOR = (1280, 1024)
TRAINER = "trainer"


def supervise(config: Config, config_path: Path, config_text: str) -> None:
    """Run the station until SIGTERM or SIGINT, which end it as ``_Arbiter`` says.

    All processes get ``config_text``, which was read from ``config_path``, however the file is changed meanwhile. On SIGHUP all
    is stopped in the same way, and started with what the file says then; if it could not be started so, it goes on.
    """
    logs.start("supervisor")
    # circus tells of every start and end at the level below.
    logging.getLogger().setLevel(logging.WARNING)
    prepare_directories(config)
    lock = only_one(config, "station")
    end_leftovers(config, [*process_names(config), TRAINER])
    config.in_force_path.write_bytes(config_text.encode())
    prepare(config, open_engine(config.database_url), _LOOK_S)
    for camera in config.cameras:
        if camera.producer == "simulator" and not (config.simulator_dir / camera.serial).exists():
            SimulatedCamera.create(config.simulator_dir, camera.serial, *_SENSOR).close()
    # While it stops the processes, circus's own periodic check conflicts with that, harmlessly, and is logged each time.
    for logger in ("tornado.application", "circus"):
        logging.getLogger(logger).addFilter(lambda record: not isinstance((record.exc_info or (None, None))[1], ConflictError))
    watchdog = Watchdog(config.watchdog_path)
    bus = Bus(config.run_dir, "supervisor", Message)
    supervision = Supervision(config, bus, watchdog)
    again = _run(config, config_path, supervision)
    bus.close()
    watchdog.close()
    lock.close()
    if again:
        beat(START_S)
        # The same process for whoever started it, and nothing of the former station in it.
        os.execv(sys.executable, [sys.executable, "-m", "inspection", "run", str(config_path)])  # noqa: S606


def _run(config: Config, config_path: Path, supervision: Supervision) -> bool:
    """Until it is to stop; is it to start again then?"""
    names = process_names(config)
    arbiter = _Arbiter(
        [
            *(_watcher(config, config_path, supervision, name, ["inspection", "process", name]) for name in names),
            # Not asked for heartbeats: a station whose trainer is away still inspects.
            _watcher(config, config_path, supervision, TRAINER, ["training", "trainer"]),
        ],
        f"ipc://{config.run_dir}/circus.controller",
        f"ipc://{config.run_dir}/circus.events",
        check_delay=_CHECK_S,
    )
    stopping = again = False

    def stop(_signal: int, _frame: object) -> None:
        nonlocal stopping
        stopping = True

    def hang_up(_signal: int, _frame: object) -> None:
        nonlocal stopping, again
        try:
            parse(read(config_path), config_path)
        except ConfigError as error:
            log.error("not restarted: %s", error)
        else:
            stopping = again = True

    def look() -> None:
        if not stopping:
            supervision.look()
        elif not arbiter.is_stopping:
            supervision.stop()
            if not again:
                notify("STOPPING=1")
            # circus refuses a command while another one, such as starting a process, is under way.
            with suppress(ConflictError):
                arbiter.stop()
        beat()

    # Instead of circus's own handlers, whose command to stop is lost if it is refused.
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGHUP, hang_up)
    looking = PeriodicCallback(look, _CHECK_S * 1000)
    looking.start()
    arbiter.start()
    looking.stop()
    return again


class _Arbiter(Arbiter):
    """Stops by stages, the least priority first: the line, which numbers no more triggers and waits for the rows of its parts;
    then all the others but the recorder; then the recorder, which records what they said last and stores the images that wait.
    """

    @property
    def is_stopping(self) -> bool:
        return bool(self._stopping)

    async def _stop_watchers(self, close_output_streams: bool = False, watcher_iter_func: None = None) -> None:
        for _, stage in itertools.groupby(self.iter_watchers(reverse=False), key=lambda watcher: watcher.priority):
            await gen.multi([watcher._stop(close_output_streams) for watcher in stage])


class _Watcher(Watcher):
    """Starts its process when ``is_due`` says so, and tells of every end."""

    def __init__(self, *args: Any, is_due: Callable[[], bool], **options: Any) -> None:
        super().__init__(*args, **options)
        self._is_due = is_due

    def manage_processes(self) -> Any:
        # What ended since circus last looked would be forgotten without its hook.
        for pid, process in list(self.processes.items()):
            if process.status in (DEAD_OR_ZOMBIE, UNEXISTING):
                self.reap_process(pid)
        return super().manage_processes()

    def spawn_process(self, recovery_wid: int | None = None) -> Any:
        # True: nothing is wrong, and the next check comes here again.
        return super().spawn_process(recovery_wid) if self._is_due() else True


def _watcher(config: Config, config_path: Path, supervision: Supervision, name: str, module: list[str]) -> Watcher:
    priority, stop_s = 1, _STOP_S
    if name == "line":
        priority, stop_s = 0, _STOP_S + max(product.deadline_ms for product in config.products) / 1000
    elif name == "recorder":
        priority, stop_s = 2, _STOP_RECORDER_S

    def started(pid: int, **_: Any) -> bool:
        supervision.started(name, pid)
        return True

    def ended(process_pid: int, exit_code: int | None, **_: Any) -> bool:
        supervision.ended(process_pid, exit_code)
        return True

    return _Watcher(
        name.replace("@", "-"),
        sys.executable,
        args=["-m", *module, "--config", str(config_path)],
        env={
            **os.environ,
            IN_FORCE: str(config.in_force_path),
            MANAGER: str(os.getpid()),
            "NOTIFY_SOCKET": str(config.watchdog_path),
        },
        copy_env=True,
        is_due=lambda: supervision.is_due(name),
        priority=priority,
        graceful_timeout=stop_s,
        max_retry=-1,
        hooks={"before_reap": (let_go_of_pipes, True), "after_spawn": (started, False), "after_reap": (ended, False)},
        # Where each process sends what it prints, too.
        stderr_stream=_log(config, name),
    )


def let_go_of_pipes(watcher: Any, arbiter: Any, hook_name: str, process_pid: int, **_: Any) -> bool:
    """A hook of circus, before it closes the pipes of a process that has ended: it leaves them in its loop.

    The next process that gets a pipe of the same number would run unknown to circus, with nobody to read what it says, and keep
    the one from running that circus starts in its place.
    """
    process, redirector = watcher.processes.get(process_pid), watcher.stream_redirector
    if process is None or redirector is None:
        return True
    for name, pipe in redirector.get_process_pipes(process):
        if pipe.closed:
            continue  # by circus, which lets go of them itself when it stops a process
        os.set_blocking(pipe.fileno(), False)
        with suppress(OSError):
            while last_words := os.read(pipe.fileno(), _PIPE_BYTES):
                redirector.redirect[name]({"data": last_words, "pid": process_pid, "name": name})
    redirector.remove_redirections(process)
    return True


def _log(config: Config, name: str) -> dict[str, Any]:
    return {
        "class": "inspection.log_files.LogFile",
        "filename": str(config.log_dir / f"{name}.log"),
        "max_bytes": _LOG_BYTES,
        "backup_count": _LOG_FILES,
    }
