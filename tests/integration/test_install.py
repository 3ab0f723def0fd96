"""The environment is made by a shell script, also on a machine where Python came without its pip."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "deploy" / "install.sh"
# Makes an environment as Python does, whose python says what it is asked to install. Without ENSUREPIP it leaves one without pip.
PYTHON = r"""#!/bin/bash
case "$*" in
  *ensurepip*) [ -n "$ENSUREPIP" ] ;;
  "-m venv "*)
    mkdir -p "$3/bin"
    printf '#!/bin/bash\necho "$*"\n' >"$3/bin/python"
    chmod +x "$3/bin/python"
    [ -n "$ENSUREPIP" ] && cp "$3/bin/python" "$3/bin/pip" ;;
esac
"""


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A checkout of nothing but the script, and a Python beside it."""
    (tmp_path / "deploy").mkdir()
    shutil.copy(SCRIPT, tmp_path / "deploy")
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "python").write_text(PYTHON)
    (tmp_path / "python").chmod(0o700)
    return tmp_path


def install(top: Path, ensurepip: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHON": str(top / "python"), "ENSUREPIP": ensurepip}
    command = ["bash", "-c", f'. "{top}/deploy/install.sh"; install_station ""']
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_it_says_what_to_install_and_leaves_nothing_half_done(top: Path) -> None:
    done = install(top, "")
    assert (done.returncode, "apt install python3.11-venv" in done.stderr) == (1, True), done.stderr
    assert not (top / ".venv").exists()
    done = install(top, "yes")
    assert (done.returncode, "-m pip install" in done.stderr) == (0, True), done.stderr


def test_an_environment_without_pip_is_made_again(top: Path) -> None:
    subprocess.run([top / "python", "-m", "venv", top / ".venv"], env={"PATH": os.environ["PATH"]}, check=False)
    assert (top / ".venv" / "bin" / "python").exists()
    done = install(top, "yes")
    assert done.returncode == 0, done.stderr
    assert (top / ".venv" / "bin" / "pip").exists()


def test_a_whole_environment_is_left_as_it_is(top: Path) -> None:
    install(top, "yes")
    (top / "python").write_text("#!/bin/bash\n[[ $* == *version_info* ]]\n")
    assert install(top, "yes").returncode == 0
