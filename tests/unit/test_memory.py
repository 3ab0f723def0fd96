"""What processes may use and do use, and which the kernel ends first."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil

from inspection.memory import limit_bytes, used_bytes


def test_memory_of_a_process_is_what_it_wrote_itself_and_what_its_children_did(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.write_bytes(b"x" * (64 << 20))
    program = f"""
import mmap, subprocess, sys
opened = open({str(shared)!r}, "r+b")
file = mmap.mmap(opened.fileno(), 0)
file[:] = b"y" * len(file)
held = b"x" * (100 << 20)
child = subprocess.Popen([sys.executable, "-c", "held = b'x' * (50 << 20); print(flush=True); input()"], stdin=subprocess.PIPE)
child.wait()
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stdin=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        used = used_bytes(process.pid)
        children = [child.pid for child in psutil.Process(process.pid).children()]
        process.kill()
        for child in children:
            psutil.Process(child).kill()
    assert set(used) == {process.pid, *children}
    assert 100 << 20 <= used[process.pid] < 160 << 20
    assert 50 << 20 <= used[children[0]] < 100 << 20
    assert used_bytes(process.pid) == {}


def test_the_limit_is_a_share_of_what_there_is_unless_it_is_configured() -> None:
    assert limit_bytes("recorder", 300) == 300 << 20
    least = limit_bytes("recorder", None)
    assert 0 < least <= psutil.virtual_memory().total // 4
    assert abs(limit_bytes("inspector", None) - 2 * least) <= 2
    assert limit_bytes("camera@top", None) == least


def test_the_recorder_is_the_last_that_the_kernel_ends() -> None:
    score = Path("/proc/self/oom_score_adj")
    show = f"import sys; from inspection.memory import expendable; expendable(sys.argv[1]); print(open('{score}').read())"
    names = ["recorder", "line", "camera@top", "inspector", "web", "trainer"]
    scores = [int(subprocess.run([sys.executable, "-c", show, name], capture_output=True, check=True).stdout) for name in names]
    assert scores == sorted(set(scores))
    assert scores[0] == int(score.read_text())
