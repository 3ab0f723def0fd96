"""Secrets in files that only the station's user may read, or that the service manager hands over.

Never in the environment, which every child inherits, nor in the configuration, which people show each other.
"""

from __future__ import annotations

import os
from pathlib import Path

from inspection.errors import ConfigError

_CREDENTIALS = "CREDENTIALS_DIRECTORY"
"""Where systemd puts what ``LoadCredential=`` names, readable by this service alone, in memory."""
_LONGEST = 64 * 1024


def private_file(path: Path) -> Path:
    """Where the secret ``path`` really lies: a credential of its name that systemd hands over comes first."""
    handed_over = os.environ.get(_CREDENTIALS)
    credential = Path(handed_over) / path.name if handed_over else None
    return credential if credential is not None and credential.is_file() else path


def check_private(path: Path) -> None:
    """ConfigError if others may read ``path``, or a stranger may write it."""
    try:
        found = path.stat()
    except OSError as error:
        raise ConfigError(f"the secret {path} cannot be read: {error.strerror}; write it there and chmod 600 it") from error
    handed_over = os.environ.get(_CREDENTIALS)
    if handed_over and path.parent == Path(handed_over):
        return  # its folder is closed to others, and systemd may need the group bits for its access list
    if found.st_mode & 0o077:
        raise ConfigError(f"others may read the secret {path}: chmod 600 it, and change the secret if they did")
    if found.st_uid not in (os.geteuid(), 0):
        raise ConfigError(f"the secret {path} belongs to another user, who may change it: chown it to the station's user")


def read_secret(path: Path) -> str:
    """The first line of a file of mode 0600 or 0400, or of a credential of its name; ConfigError says what to do otherwise."""
    path = private_file(path)
    check_private(path)
    try:
        with path.open("rb") as file:
            lines = file.read(_LONGEST).decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the secret {path} cannot be read: {error}; write it there and chmod 600 it") from error
    if not lines or not lines[0].strip():
        raise ConfigError(f"the secret {path} is empty; write it into the first line")
    return lines[0].strip()
