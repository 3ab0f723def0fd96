"""REST: the station's settings: the configuration file, checked, tried and replaced, and what the station is made of."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from pathlib import Path as File
from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Path, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from inspection import config_changes, config_history
from inspection.config import Config, parse, read
from inspection.config_changes import Checked, Form, SettingChange, Value, WrongKey
from inspection.config_history import Version, digest_of
from inspection.domain import LotState
from inspection.dry_run import MAX_PARTS, DryRun, dry_run, newest_parts
from inspection.errors import ConfigError, StationError
from inspection.images import ImageStore
from inspection.overview import Overview, Storage, overview, storage
from inspection.records.queries import LotsWanted, list_lots
from inspection.web.context import Context, InContext, Records, User
from inspection.web.names import By, Name, Why, acting
from inspection.web.problems import FieldError, Problem, conflict_as, documented, not_found_as, problem_response

router = APIRouter(prefix="/api/v1/settings", tags=["settings"], responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT))

Toml = Annotated[str, Field(max_length=200_000, description="The whole text of the configuration file.")]
# Of open lots, in words.
_NAMED_LOTS = 5
VersionNumber = Annotated[int, Path(ge=1, le=999_999)]


class NewText(BaseModel):
    """A text that might become the configuration file."""

    model_config = ConfigDict(extra="forbid")

    toml: Toml


class Edit(BaseModel):
    """Settings of one section to be put into a text; null takes one out, so that its default counts."""

    model_config = ConfigDict(extra="forbid")

    toml: Toml
    section: Annotated[str, Field(max_length=64)]
    name: Name | None = None
    values: dict[str, Value | None] = Field(max_length=100)


class NewSettings(BaseModel):
    """The text to be written, and the digest of the text that it replaces."""

    model_config = ConfigDict(extra="forbid")

    toml: Toml
    digest: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    reason: Why
    by: By | None = None


class Trial(BaseModel):
    """A text whose recipe of ``product`` shall be tried on its newest parts."""

    model_config = ConfigDict(extra="forbid")

    toml: Toml
    product: Name
    parts: int = Field(default=200, ge=1, le=MAX_PARTS)


class RestartWanted(BaseModel):
    """``in_production``: also while lots are open, whose parts are rejected until the station inspects again."""

    model_config = ConfigDict(extra="forbid")

    reason: Why
    by: By | None = None
    in_production: bool = False


@dataclass(frozen=True, slots=True)
class Restart:
    """All processes stop, and start with what the file says. ``lots`` are open meanwhile, as far as they are named."""

    lots: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """The configuration file as it is now. ``waiting`` takes effect when the station is restarted; ``errors`` says why the file
    could not be used then. ``forms`` are its settings for those who do not write TOML; none if it has errors. ``started_at``:
    since when the settings before ``waiting`` are in force. ``restartable``: this process can have the station restarted.
    """

    path: str
    toml: str
    digest: str
    waiting: tuple[SettingChange, ...]
    errors: tuple[WrongKey, ...]
    forms: tuple[Form, ...]
    started_at: datetime
    restartable: bool


@dataclass(frozen=True, slots=True)
class EditedText:
    """The text with its comments kept, and its settings as forms if it has no errors."""

    toml: str
    forms: tuple[Form, ...]


@dataclass(frozen=True, slots=True)
class Versions:
    """Former versions of the file that are kept, newest first."""

    items: tuple[Version, ...]


@dataclass(frozen=True, slots=True)
class VersionText:
    version: int
    toml: str


@router.get("")
def show_settings(context: InContext) -> SettingsFile:
    """The configuration file, and what of it waits for a restart."""
    path = _path(context)
    text = _read(path)
    checked = config_changes.check(text, text, path)
    return SettingsFile(
        str(path),
        text,
        digest_of(text),
        config_changes.waiting(context.settings.config_text, text, path),
        checked.errors,
        _forms(text, path),
        context.settings.started_at,
        context.settings.manager is not None,
    )


@router.post("/check")
def check_settings(new: NewText, context: InContext) -> Checked:
    """Would the station start with this text, and what would it change? Nothing is written."""
    path = _path(context)
    return config_changes.check(_read(path), new.toml, path)


@router.post("/edit")
def edit_settings(edit: Edit, context: InContext) -> EditedText:
    """Put settings into a text without disturbing its comments. Nothing is written."""
    path = _path(context)
    with not_found_as("unknown_setting"):
        try:
            text = config_changes.edited(edit.toml, edit.section, edit.name, edit.values)
        except ConfigError as error:
            raise Problem(HTTPStatus.CONFLICT, "invalid_settings", f"{error}; correct the text first") from None
    return EditedText(text, _forms(text, path))


@router.post("/dry-run")
def try_settings(trial: Trial, context: InContext) -> DryRun:
    """What would have been different with this text, over the newest parts of a product. Nothing is written."""
    path = _path(context)
    text = _read(path)
    try:
        after = parse(trial.toml, path)
    except ConfigError as error:
        raise Problem(HTTPStatus.CONFLICT, "invalid_settings", f"{error}; check the text first") from None
    changes = config_changes.check(text, trial.toml, path).changes
    # Its frames are read when the records are given back: that takes seconds.
    with context.reader.connect() as records:
        found = newest_parts(records, trial.product, trial.parts)
    with not_found_as("unknown_product"):
        return dry_run(_parsed(text, path), after, trial.product, found, ImageStore(context.settings.image_dir), changes)


@router.put("", response_model=SettingsFile)
def change_settings(new: NewSettings, context: InContext, user: User, request: Request) -> SettingsFile | JSONResponse:
    """Replace the configuration file, of which the former version is kept. It takes effect when the station is restarted."""
    path = _path(context)
    checked = config_changes.check(_read(path), new.toml, path)
    if not checked.valid:
        detail = "the station would not start with these settings: " + "; ".join(
            f"{wrong.key}: {wrong.message}" for wrong in checked.errors[:5]
        )
        errors = [FieldError(field=wrong.key, message=wrong.message) for wrong in checked.errors]
        return problem_response(request, HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_settings", detail, errors)
    with conflict_as("stale_settings"):
        try:
            config_history.replace(path, _history(context), new.toml, new.digest, acting(user, new.by), new.reason)
        except StationError as error:
            if isinstance(error.__cause__, OSError):
                raise Problem(HTTPStatus.CONFLICT, "not_writable", str(error)) from None
            raise
    return show_settings(context)


@router.post("/restart", status_code=HTTPStatus.ACCEPTED)
def restart_station(wanted: RestartWanted, context: InContext, records: Records, after: BackgroundTasks) -> Restart:
    """Restart the station, so that what the file says takes effect. Nothing is inspected for some seconds."""
    path, manager = _path(context), context.settings.manager
    try:
        parse(_read(path), path)
    except ConfigError as error:
        raise Problem(HTTPStatus.CONFLICT, "invalid_settings", f"{error}; the station would not start again") from None
    if manager is None:
        detail = "no manager runs this process, which could restart the others; restart them where they were started"
        raise Problem(HTTPStatus.CONFLICT, "no_manager", detail)
    page = list_lots(records, None, _NAMED_LOTS, LotsWanted(state=LotState.OPEN, with_challenges=True))
    lots = tuple(each.lot for each in page.items)
    if lots and not wanted.in_production:
        named = ", ".join(lots) + (" and more" if page.next_cursor else "")
        detail = (
            f"in production: {named}; their parts are rejected for some seconds. Close or hold them first, or send in_production"
        )
        raise Problem(HTTPStatus.CONFLICT, "in_production", detail)
    # Once the answer is out: it is one of those that end.
    after.add_task(os.kill, manager, signal.SIGHUP)
    return Restart(lots)


@router.get("/versions")
def list_versions(context: InContext) -> Versions:
    """What the file said before, who replaced it, and why."""
    _path(context)
    return Versions(config_history.versions(_history(context)))


@router.get("/versions/{version}")
def show_version(version: VersionNumber, context: InContext) -> VersionText:
    """The text of a former version; to restore it, write it again."""
    _path(context)
    with not_found_as("unknown_version"):
        return VersionText(version, config_history.version_text(_history(context), version))


@router.get("/station")
def show_station(context: InContext, records: Records) -> Overview:
    """Cameras, interfaces and software of the station as it runs now; no secrets."""
    path = _path(context)
    return overview(parse(context.settings.config_text, path), records)


@router.get("/storage")
def show_storage(context: InContext) -> Storage:
    """What lies in the data directory."""
    path = _path(context)
    return storage(parse(context.settings.config_text, path))


def _path(context: Context) -> File:
    if context.settings.config_path is None:
        detail = "this web process was started without a configuration file; start the station with `station run`"
        raise Problem(HTTPStatus.NOT_FOUND, "no_settings", detail)
    return context.settings.config_path


def _history(context: Context) -> File:
    # The data directory, where the image store lies.
    return context.settings.image_dir.parent / "settings"


def _read(path: File) -> str:
    try:
        return read(path)
    except ConfigError as error:
        raise Problem(HTTPStatus.CONFLICT, "unreadable_settings", str(error)) from None


def _parsed(text: str, path: File) -> Config | None:
    try:
        return parse(text, path)
    except ConfigError:
        return None


def _forms(text: str, path: File) -> tuple[Form, ...]:
    config = _parsed(text, path)
    return () if config is None else config_changes.forms(config)
