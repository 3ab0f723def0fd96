"""What a new text of the configuration file would change: checked by the real loader, compared key by key, edited with its
comments kept. Nothing here writes a file.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import tomlkit
from pydantic import BaseModel
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AoT, Array, InlineTable, Table

from inspection.config import Config, ImagesConfig, LineConfig, ProductConfig, parse
from inspection.errors import ConfigError, NotFound

Value = bool | int | float | str
_NAMES = ("name", "part_number")


@dataclass(frozen=True, slots=True)
class WrongKey:
    """What is wrong with one key of a configuration; ``file`` where it is no TOML at all."""

    key: str
    message: str


@dataclass(frozen=True, slots=True)
class SettingChange:
    """One setting that becomes another; None where it was not, or is no longer, set."""

    key: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Checked:
    """A new text compared with the one before. ``restart`` names what must be restarted for it to take effect."""

    valid: bool
    errors: tuple[WrongKey, ...]
    diff: str
    changes: tuple[SettingChange, ...]
    restart: tuple[str, ...]


class FieldKind(StrEnum):
    NUMBER = "number"
    TEXT = "text"
    FLAG = "flag"
    CHOICE = "choice"


@dataclass(frozen=True, slots=True)
class SettingField:
    """One setting as a form shows it. ``value`` is None where it is not set and has no default."""

    key: str
    kind: FieldKind
    value: Value | None
    optional: bool
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Form:
    """The settings of one section, or of the one of ``name`` where there are several."""

    section: str
    name: str | None
    fields: tuple[SettingField, ...]


def check(before: str, after: str, path: Path) -> Checked:
    """Compare two texts of the file at ``path``; ``before`` need not be valid, and then every key counts as changed."""
    diff = unified(before, after)
    try:
        config = parse(after, path)
    except ConfigError as error:
        return Checked(False, tuple(WrongKey(key, message) for key, message in error.errors), diff, (), ())
    try:
        former = _flat(parse(before, path))
    except ConfigError:
        former = {}
    found = changes(former, _flat(config))
    return Checked(True, (), diff, found, ("station",) if found else ())


def waiting(in_force: str, now: str, path: Path) -> tuple[SettingChange, ...]:
    """What takes effect at the next start; nothing where one of the two cannot be read."""
    try:
        return changes(_flat(parse(in_force, path)), _flat(parse(now, path)))
    except ConfigError:
        return ()


def unified(before: str, after: str) -> str:
    """A unified diff, as ``diff -u`` writes it."""
    return "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
        for line in difflib.unified_diff(before.splitlines(True), after.splitlines(True), "in the file", "new")
    )


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[SettingChange, ...]:
    """What differs, in the order of the configuration."""
    keys = dict.fromkeys((*after, *before))
    return tuple(SettingChange(key, before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key))


def forms(config: Config) -> tuple[Form, ...]:
    """What can be edited without knowing TOML: every recipe, and what concerns all of them."""
    cameras = tuple(camera.name for camera in config.cameras)
    return (
        *(
            Form("products", product.part_number, _fields(product, {"camera": cameras}, without="part_number"))
            for product in config.products
        ),
        Form("line", None, _fields(config.line)),
        Form("images", None, _fields(config.images)),
    )


def edited(text: str, section: str, name: str | None, values: Mapping[str, Value | None]) -> str:
    """``text`` with these settings of a section, comments and order kept; None takes one out, so that its default counts.

    ConfigError if the text is no TOML, NotFound if it has no such section or setting.
    """
    kinds: dict[str, type[BaseModel]] = {"products": ProductConfig, "line": LineConfig, "images": ImagesConfig}
    if section not in kinds:
        raise NotFound(f"[{section}] has no form; edit the text itself")
    unknown = sorted(set(values) - set(kinds[section].model_fields))
    if unknown:
        raise NotFound(f"[{section}] has no setting {unknown[0]!r}; there are {', '.join(kinds[section].model_fields)}")
    try:
        document = tomlkit.parse(text)
    except TOMLKitError as error:
        raise ConfigError(f"the text is not valid TOML: {error}", [("file", str(error))]) from error
    table = _table(document, section, name)
    for key, value in values.items():
        if value is not None:
            table[key] = value
        elif key in table:
            del table[key]
    return tomlkit.dumps(document)


def _table(document: tomlkit.TOMLDocument, section: str, name: str | None) -> Table | InlineTable:
    found = document.get(section)
    if section != "products":
        if found is None:
            found = document[section] = tomlkit.table()
        if isinstance(found, Table | InlineTable):
            return found
    elif isinstance(found, AoT | Array):
        for table in found:
            if isinstance(table, Table | InlineTable) and table.get("part_number") == name:
                return table
    raise NotFound(
        f"the text has no [{section}]" + (f" of {name!r}" if name else "") + "; look for its name, or edit the text itself"
    )


def _flat(config: Config) -> dict[str, str]:
    """{key: value} of all that is set or has a default."""
    # As it was written, and not on which machine it lies: data_dir and the like were made absolute for both alike.
    return dict(_leaves(config.model_dump(mode="json"), ""))


def _leaves(value: Any, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, each in value.items():
            yield from _leaves(each, f"{key}.{name}" if key else name)
        if key.endswith(".features") and value:
            # Features are set in this order.
            yield f"{key} in order", ", ".join(value)
    elif isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value):
        for number, each in enumerate(value):
            named = next((each[name] for name in _NAMES if name in each), number)
            yield from _leaves(each, f"{key}.{named}")
    elif value is not None:
        yield key, _words(value)


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}"
    return ", ".join(str(each) for each in value) if isinstance(value, Sequence) and not isinstance(value, str) else str(value)


def _fields(
    section: BaseModel, choices: Mapping[str, tuple[str, ...]] | None = None, without: str | None = None
) -> tuple[SettingField, ...]:
    """From the JSON schema of a section: what is neither a number, a text nor a flag has no field."""
    described = type(section).model_json_schema(mode="validation")
    values = section.model_dump(mode="json")
    fields = []
    for key, schema in described["properties"].items():
        if key == without:
            continue
        offered = schema.get("anyOf", [schema])
        of_type = next((each for each in offered if each.get("type") in _KINDS), None)
        if of_type is None:
            continue
        chosen = (choices or {}).get(key) or tuple(of_type.get("enum", ()))
        fields.append(
            SettingField(
                key=key,
                kind=FieldKind.CHOICE if chosen else _KINDS[of_type["type"]],
                value=values[key],
                optional=len(offered) > 1,
                minimum=of_type.get("minimum", of_type.get("exclusiveMinimum")),
                maximum=of_type.get("maximum", of_type.get("exclusiveMaximum")),
                choices=chosen,
            )
        )
    return tuple(fields)


_KINDS = {"number": FieldKind.NUMBER, "integer": FieldKind.NUMBER, "string": FieldKind.TEXT, "boolean": FieldKind.FLAG}
