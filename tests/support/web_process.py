"""The web process alone, with its pages, for a browser."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
_SERVE = """
import json, sys
from pathlib import Path
from inspection.challenge_lock import asked_of
from inspection.config import load
from inspection.tls import certificate_of
from inspection.web.app import Settings, run
certificate = (lambda: certificate_of(load(Path(sys.argv[3])))) if sys.argv[3] else lambda: None
settings = json.loads(sys.argv[1])
for name in ("image_dir", "status_path"):
    settings[name] = Path(settings[name])
if "config_path" in settings:
    file = settings["config_path"] = Path(settings["config_path"])
    settings |= {"config_text": file.read_text(), "challenges": asked_of(load(file).products)}
run(Settings(**settings), "127.0.0.1", int(sys.argv[2]), certificate)
"""


@contextmanager
def web_process(folder: Path, database_url: str, encrypted: Path | None = None, **settings: object) -> Iterator[str]:
    """Serves records that are there, with the image store in ``folder``; gives the address. Ended at the end.

    ``encrypted`` with the certificate of the configuration at this path. ``settings`` are those of the web process; with
    ``config_path``, what follows from that file is set too.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    wanted = {
        "station": "station-7",
        "database_url": database_url,
        "image_dir": str(folder / "images"),
        "status_path": str(folder / "status.json"),
        "command_address": f"ipc://{folder}/commands",
        "products": ["plate"],
        **settings,
    }
    # Not a test run to NiceGUI, which would behave otherwise.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    command = [sys.executable, "-c", _SERVE, json.dumps(wanted), str(port), str(encrypted or "")]
    with subprocess.Popen(command, cwd=ROOT, env=environment) as process:
        try:
            deadline = time.monotonic() + 60
            while not _answers(port):
                assert process.poll() is None, "the web process ended"
                assert time.monotonic() < deadline, "the web process does not answer"
                time.sleep(0.1)  # between two looks; what is waited for is the answer
            yield f"{'https' if encrypted else 'http'}://127.0.0.1:{port}"
        finally:
            process.terminate()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
