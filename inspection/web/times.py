"""Times in requests: with a zone, as RFC 3339 writes them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Query
from pydantic import AfterValidator, AwareDatetime


def in_utc(moment: datetime | None) -> datetime | None:
    """The moment in UTC; ValueError for one that no station has seen, which other zones could not write."""
    if moment is None:
        return None
    if not 1971 <= moment.year <= 9000:
        raise ValueError(f"must lie between the years 1971 and 9000, is in {moment.year}")
    return moment.astimezone(UTC)


From = Annotated[AwareDatetime | None, Query(alias="from", description="At this time or later."), AfterValidator(in_utc)]
To = Annotated[AwareDatetime | None, Query(alias="to", description="Before this time."), AfterValidator(in_utc)]
