"""The images and models that a database names, of this schema or a former one."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, Select, String, column, func, inspect, select, table, union

from inspection.backup.manifest import check_digest

_WITH_IMAGES = ("images", "imported_images", "golden_images")
_CHUNK = 1_000


def rows_of(connection: Connection) -> dict[str, int]:
    """How many rows each table has."""
    found = inspect(connection).get_table_names()
    return {name: connection.execute(select(func.count()).select_from(table(name))).scalar_one() for name in sorted(found)}


def images_of(connection: Connection) -> Iterator[str]:
    """The SHA-256 of every image that is to be in the store; each once. BackupError if one is none."""
    inspector = inspect(connection)
    parts = []
    for name in _WITH_IMAGES:
        if not inspector.has_table(name):
            continue
        part: Select[tuple[str]] = select(column("sha256")).select_from(table(name))
        if any(each["name"] == "deleted_at" for each in inspector.get_columns(name)):
            part = part.where(column("deleted_at").is_(None))
        parts.append(part)
    statement = union(*parts).execution_options(yield_per=_CHUNK)
    for row in connection.execute(statement):
        yield check_digest(str(row[0]))


def models_of(connection: Connection) -> dict[str, str]:
    """Where each registered model lies, by digest; relative to the data directory unless absolute. BackupError as above."""
    statement = select(column("model", String), column("path", String)).select_from(table("models"))
    return {check_digest(str(row.model)): row.path for row in connection.execute(statement)}
