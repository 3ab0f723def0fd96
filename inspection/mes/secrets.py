"""Secrets in files that only the station's user may read."""

from __future__ import annotations

from pathlib import Path

from inspection.errors import ConfigError


def read_secret(path: Path) -> str:
    """The first line of a file of mode 0600 or 0400; ConfigError says what to do otherwise."""
    try:
        mode = path.stat().st_mode
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the secret {path} cannot be read: {error}; write it there and chmod 600 it") from error
    if mode & 0o077:
        raise ConfigError(f"others may read the secret {path}: chmod 600 it, and change the secret if they did")
    if not lines or not lines[0].strip():
        raise ConfigError(f"the secret {path} is empty; write it into the first line")
    return lines[0].strip()
