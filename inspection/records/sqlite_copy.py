"""A copy of a running SQLite database: one snapshot, in steps, while the recorder goes on writing."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection

STEP_BYTES = 4 << 20

Step = Callable[[int, int], None]
"""Called between steps with bytes done and bytes in all; the copying goes on when it returns."""


def copy_sqlite(connection: Connection, target: Path, step: Step) -> None:
    """Copy what ``connection``, a reader inside its transaction, sees. The copy is one file without a log, and on the disk.

    The open transaction keeps the snapshot: without it SQLite would begin anew whenever the recorder commits between two steps.
    Writers do not wait for it; until it ends their log grows instead. Raises sqlite3.Error and OSError.
    """
    source = connection.connection.driver_connection
    assert source is not None
    page_bytes = int(connection.exec_driver_sql("PRAGMA page_size").scalar_one())
    descriptor = os.open(target, os.O_CREAT | os.O_RDWR, 0o600)
    copy = sqlite3.connect(target, isolation_level=None)
    try:

        def stepped(_status: int, left: int, total: int) -> None:
            # By and by: what gathered until the end would hold up everybody who syncs to this disk.
            os.fdatasync(descriptor)
            step((total - left) * page_bytes, total * page_bytes)

        copy.execute("PRAGMA synchronous=OFF")
        source.backup(copy, pages=max(1, STEP_BYTES // page_bytes), progress=stepped)
        copy.execute("PRAGMA journal_mode=DELETE")
    finally:
        copy.close()
        os.fsync(descriptor)
        os.close(descriptor)
