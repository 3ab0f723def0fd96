"""REST: what the disk holds, and how long it lasts."""

from __future__ import annotations

from fastapi import APIRouter

from inspection.web.context import InContext
from inspection.web.problems import documented
from inspection.web.storage import StorageReport

router = APIRouter(prefix="/api/v1", tags=["station"], responses=documented())


@router.get("/storage")
def storage(context: InContext) -> StorageReport:
    """Bytes by what they are, how many come in a day, and what becomes of the disk if that goes on; up to half a minute old."""
    return context.storage.read(context.settings, context.reader)
