"""How far a long command is: a line of JSON on its standard output, for the process that started it."""

from __future__ import annotations

import msgspec


class Progress(msgspec.Struct, frozen=True):
    """``done`` of ``steps``; ``said`` is something for the log, where there is something to say."""

    done: int = 0
    steps: int = 0
    said: str = ""
