"""What each request of the REST interface and each page needs: decided from method and path alone, for users and for programs."""

from __future__ import annotations

import re
from datetime import timedelta

from inspection.domain import Scope

PREFIX = "/api/v1/"
DOCUMENT = PREFIX + "openapi.json"
METRICS = "/metrics"
CONFIRMED_FOR = timedelta(minutes=5)
"""After the password was shown, what cannot easily be undone asks for none."""
READS = ("GET", "HEAD", "OPTIONS")
# None: whoever is logged in.
_WRITES: dict[str, Scope | None] = {
    "lots": Scope.LOTS,
    "triggers": Scope.TRIGGER,
    "inspections": Scope.LABEL,
    "review": Scope.LABEL,
    "golden-images": Scope.LABEL,
    "golden-parts": Scope.LABEL,
    "challenges": Scope.LOTS,
    "defect-classes": Scope.LABEL,
    "legal-holds": Scope.LABEL,
    "imported-images": Scope.TRAIN,
    "training-sets": Scope.TRAIN,
    "training-runs": Scope.TRAIN,
    "models": Scope.DEPLOY,
    "deployments": Scope.DEPLOY,
    "shadows": Scope.DEPLOY,
    "settings": Scope.SETTINGS,
    "users": Scope.USERS,
    "session": None,
}
# What not everybody may read.
_READS: dict[str, Scope | None] = {
    "settings": Scope.SETTINGS,
    "users": Scope.USERS,
    "audit-entries": Scope.AUDIT,
    "session": None,
}
_PAGES: dict[str, Scope | None] = {"users": Scope.USERS, "audit": Scope.AUDIT, "settings": Scope.SETTINGS, "account": None}
_WITH_PASSWORD = re.compile(re.escape(PREFIX) + "((lots|legal-holds)/[^/]+/release|settings/restart)")


def needed_scope(method: str, path: str) -> Scope | None:
    """What a token or a role must open for this request; None if nothing but being known is needed.

    Writes that nobody thought of need the scope that opens most.
    """
    first = path.removeprefix(PREFIX).split("/")[0]
    return _READS.get(first, Scope.READ) if method in READS else _WRITES.get(first, Scope.USERS)


def needs_password(method: str, path: str) -> bool:
    """Is this a request for which a user shows the password again?"""
    if method in READS:
        return False
    return needed_scope(method, path) in (Scope.DEPLOY, Scope.USERS) or _WITH_PASSWORD.fullmatch(path) is not None


def page_scope(path: str) -> Scope | None:
    """What a role must open for this page; None if it is for everybody who is logged in."""
    return _PAGES.get(path.split("/")[1], Scope.READ)
