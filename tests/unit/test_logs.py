"""Logs are lines of JSON, a flood of them is cut short, and nobody who reads them late or never holds a process up."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from inspection.log_files import LogFile
from inspection.logs import BURST, LINE_BYTES, LineHandler, about


@dataclass
class Part:
    trigger_id: int = 7
    lot: str = "L1"
    serial: str = "SN#0007 ✓"


class Pipe:
    """A log whose reader is the test, which reads when it wants."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        # Two pages, so that it is soon full.
        fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, 8192)
        os.set_blocking(self.reader, False)
        self.handler = LineHandler("line", self.writer)
        self.log = logging.Logger("inspection.line")
        self.log.addHandler(self.handler)

    def lines(self) -> list[dict[str, Any]]:
        said = b""
        while True:
            try:
                said += os.read(self.reader, 65_536)
            except BlockingIOError:
                return [json.loads(line) for line in said.splitlines()]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    os.close(pipe.reader)
    os.close(pipe.writer)


def test_a_line_says_when_who_what_and_about_which_part(pipe: Pipe) -> None:
    before = datetime.now(UTC)
    pipe.log.warning("part is given up: %s", "deadline", extra=about(Part(), kind="deadline"))
    (line,) = pipe.lines()
    at = datetime.fromisoformat(line.pop("time"))
    assert abs(at - before).total_seconds() < 60
    assert at.utcoffset() is not None
    assert line == {
        "level": "warning",
        "process": "line",
        "logger": "inspection.line",
        "message": "part is given up: deadline",
        "trigger_id": 7,
        "lot": "L1",
        "serial": "SN#0007 ✓",
        "kind": "deadline",
    }


def test_a_traceback_is_a_field(pipe: Pipe) -> None:
    try:
        raise ValueError("torn")
    except ValueError:
        pipe.log.exception("images of inspection %d are lost", 3)
    (line,) = pipe.lines()
    assert (line["level"], line["message"]) == ("error", "images of inspection 3 are lost")
    assert line["exception"].endswith("ValueError: torn")


@pytest.mark.parametrize("text", ["x" * 100_000, "\N{SNOWMAN}" * 100_000, "\n" * 100_000])
def test_a_line_that_is_too_long_is_cut_and_stays_json(pipe: Pipe, text: str) -> None:
    try:
        raise ValueError(text)
    except ValueError:
        pipe.log.exception("refused by the database: %r", text, extra=about(Part()))
    (line,) = pipe.lines()
    assert line["message"].startswith("refused by the database")
    assert (line["trigger_id"], len(json.dumps(line)) <= LINE_BYTES) == (7, True)
    assert "… " in line["exception"]


def test_a_repeated_message_is_counted_and_others_are_not_touched(pipe: Pipe) -> None:
    pipe.handler.setFormatter(logging.Formatter("%(message)s %(repeated)s", defaults={"repeated": 0}))
    written: list[int] = []
    for number in range(5_000):
        pipe.log.warning("slot %d is lost", number)
        written.append(len(os.read(pipe.reader, 65_536)) if _readable(pipe.reader) else 0)
    assert BURST <= sum(size > 0 for size in written) < 2 * BURST
    pipe.log.warning("camera is lost")
    assert os.read(pipe.reader, 100) == b"camera is lost 0\n"


def test_faults_of_another_kind_are_another_message(pipe: Pipe) -> None:
    for kind in ("frame_lost", "ring_full"):
        for _ in range(BURST):
            pipe.log.warning("%s: %s", kind, "…", extra={"kind": kind})
            assert pipe.lines()[0]["kind"] == kind


def test_the_next_line_says_how_often_the_message_was_left_out(pipe: Pipe) -> None:
    for _ in range(BURST + 30):
        pipe.log.warning("slot is lost")
        pipe.lines()
    for bucket in pipe.handler._buckets.values():
        bucket.at -= 5  # as if five seconds went by
    pipe.log.warning("slot is lost")
    assert pipe.lines()[0]["repeated"] == 30


def test_what_was_left_out_last_is_said_at_the_end(pipe: Pipe) -> None:
    for _ in range(BURST + 30):
        pipe.log.warning("slot %d is lost", 1)
        pipe.lines()
    pipe.handler.close()
    (line,) = pipe.lines()
    assert (line["logger"], line["repeated"]) == ("inspection.line", 30)
    assert "slot %d is lost" in line["message"]


def test_messages_that_are_always_new_do_not_fill_the_memory(pipe: Pipe) -> None:
    for number in range(2_000):
        pipe.log.warning(f"library number {number}")
        pipe.lines()
    assert len(pipe.handler._buckets) <= 500


def test_a_pipe_that_nobody_reads_holds_nobody_up_and_what_was_lost_is_said_later(pipe: Pipe) -> None:
    for number in range(BURST):
        pipe.log.warning("%s", "x" * 500 + str(number))
    assert pipe.handler.lost > 0
    kept = len(pipe.lines())
    pipe.log.info("read again")
    notice, line = pipe.lines()
    assert f"{BURST - kept} lines of this log were lost" in notice["message"]
    assert line["message"] == "read again"


def test_a_reader_that_is_gone_and_a_full_disk_hold_nobody_up(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    gone, full = LineHandler("line", writer), LineHandler("line", os.open("/dev/full", os.O_WRONLY))
    for handler in (gone, full):
        log = logging.Logger("x")
        log.addHandler(handler)
        log.warning("the disk is full")
        assert handler.lost == 1
    os.close(writer)


def test_warnings_prints_and_uncaught_errors_are_lines_of_the_log() -> None:
    program = """
import threading, warnings
from inspection import logs
logs.start("camera@top")
print("from a library", flush=True)
warnings.warn("old")
thread = threading.Thread(target=lambda: 1 / 0)
thread.start()
thread.join()
raise RuntimeError("no way on")
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    printed, *lines = ended.stderr.splitlines()
    assert printed == "from a library"
    warned, in_thread, last = map(json.loads, lines)
    assert warned["logger"] == "py.warnings"
    assert in_thread["exception"].endswith("ZeroDivisionError: division by zero")
    assert (last["level"], last["process"], last["message"]) == ("critical", "camera@top", "the process ends: no way on")


def test_files_of_logs_stay_within_their_size(tmp_path: Path) -> None:
    log = LogFile(filename=str(tmp_path / "line.log"), max_bytes=10_000, backup_count=2)
    for _ in range(1_000):
        log({"data": b"x" * 99 + b"\n", "pid": 1})
    log.close()
    sizes = [file.stat().st_size for file in tmp_path.iterdir()]
    assert len(sizes) == 3
    assert all(size <= 10_000 for size in sizes)


def test_a_file_that_could_not_be_written_is_written_again_later(tmp_path: Path) -> None:
    path = tmp_path / "line.log"
    path.symlink_to("/dev/full")
    log = LogFile(filename=str(path), max_bytes=0)
    for _ in range(3):
        log({"data": b"lost\n", "pid": 1})
    path.unlink()
    log({"data": b"kept\n", "pid": 1})
    assert path.read_text() == "kept\n"
    log.close()


def _readable(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 0)[0])
