"""Classes of defects: what reviewers choose from, with a colour and a key each. The caller commits."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from sqlalchemy import Connection, exists, insert, select, update

from inspection.domain import OK, DefectClass
from inspection.errors import Conflict, NotFound
from inspection.records.labels import check_label
from inspection.records.tables import defect_classes, inspections, labels

KEYS = "123456789acdhijklqtvwxy"
"""Keys that may label with a class, in the order in which they are given away. The page needs the other letters itself."""
# Told apart by people who see red and green alike, and on light and dark frames (after Okabe and Ito).
_COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#ff6b6b", "#9b8cff", "#7ad151")


def list_classes(connection: Connection, product: str) -> tuple[DefectClass, ...]:
    """All classes of a product by their keys, the retired ones last; those that people only labelled with too, with what is free
    of colours and keys."""
    listed = [
        DefectClass(listed=True, **row)
        for row in connection.execute(select(defect_classes).where(defect_classes.c.product == product)).mappings()
    ]
    known = {each.defect_class for each in listed}
    found = list(listed)
    for name in _used(connection, product):
        if name not in known:
            found.append(DefectClass(product, name, _free_colour(found), _free_key(found), False, None, None, None))
    return tuple(sorted(found, key=_place))


def add_class(
    connection: Connection, product: str, defect_class: str, colour: str | None, key: str | None, by: str
) -> DefectClass:
    """List a class, or offer a retired one again. Without colour or key it gets free ones.

    Conflict if it is listed, its name is none, or another class has the key.
    """
    try:
        check_label(defect_class)
    except ValueError as error:
        raise Conflict(f"a class {error}") from None
    if defect_class == OK:
        raise Conflict(f"{OK!r} is the label of good parts; name the defect")
    there = list_classes(connection, product)
    former = next((each for each in there if each.defect_class == defect_class), None)
    if former is not None and former.listed and former.retired_at is None:
        raise Conflict(f"class {defect_class!r} of {product} is listed already; choose another name")
    others = [each for each in there if each.listed and each.defect_class != defect_class]
    _check_key(others, key)
    made = DefectClass(
        product,
        defect_class,
        colour or (former.colour if former else _free_colour(others)),
        key or _free_key(others),
        True,
        by,
        datetime.now(UTC),
        None,
    )
    _store(connection, made, new=former is None or not former.listed)
    return made


def change_class(
    connection: Connection, product: str, defect_class: str, colour: str | None, key: str | None, by: str
) -> DefectClass:
    """Give a class another colour or key; one that was only used in labels is listed thereby.

    NotFound if nobody listed or used it, Conflict if it is retired or another class has the key.
    """
    former = _find(connection, product, defect_class)
    if former.retired_at is not None:
        raise Conflict(f"class {defect_class!r} of {product} is retired; list it again first")
    others = [each for each in list_classes(connection, product) if each.listed and each.defect_class != defect_class]
    _check_key(others, key)
    changed = replace(former, colour=colour or former.colour, key=key or former.key, listed=True)
    if not former.listed:
        changed = replace(changed, created_by=by, created_at=datetime.now(UTC))
    _store(connection, changed, new=not former.listed)
    return changed


def retire_class(connection: Connection, product: str, defect_class: str, by: str) -> DefectClass:
    """Offer a class no more; labels keep it. NotFound if nobody listed or used it; retired again, nothing changes."""
    former = _find(connection, product, defect_class)
    if former.retired_at is not None:
        return former
    now = datetime.now(UTC)
    retired = replace(
        former,
        listed=True,
        key=None,
        retired_at=now,
        created_by=former.created_by or by,
        created_at=former.created_at or now,
    )
    _store(connection, retired, new=not former.listed)
    return retired


def _used(connection: Connection, product: str) -> list[str]:
    """Classes that labels on this product name. One look-up for each class, however many labels there are."""
    names = connection.execute(select(labels.c.label).where(labels.c.label.is_not(None), labels.c.label != OK).distinct())
    used = []
    for name in sorted(names.scalars()):
        of_product = (labels.c.label == name, labels.c.seq == inspections.c.seq, inspections.c.product == product)
        if connection.execute(select(exists().where(*of_product))).scalar_one():
            used.append(name)
    return used


def _find(connection: Connection, product: str, defect_class: str) -> DefectClass:
    for each in list_classes(connection, product):
        if each.defect_class == defect_class:
            return each
    raise NotFound(f"{product} has no class {defect_class!r}; list the classes to find its name")


def _check_key(others: list[DefectClass], key: str | None) -> None:
    if key is None:
        return
    if key not in KEYS:
        raise Conflict(f"key {key!r} is none for a class, because the page uses it itself; choose one of {' '.join(KEYS)}")
    for each in others:
        if each.key == key:
            raise Conflict(f"key {key!r} labels with {each.defect_class!r} already; choose another")


def _store(connection: Connection, made: DefectClass, new: bool) -> None:
    values = {column.name: getattr(made, column.name) for column in defect_classes.c}
    if new:
        connection.execute(insert(defect_classes).values(**values))
    else:
        this = (defect_classes.c.product == made.product, defect_classes.c.defect_class == made.defect_class)
        connection.execute(update(defect_classes).where(*this).values(**values))


def _free_key(taken: list[DefectClass]) -> str | None:
    return next((key for key in KEYS if all(each.key != key for each in taken)), None)


def _free_colour(taken: list[DefectClass]) -> str:
    uses = {colour: sum(each.colour == colour for each in taken) for colour in _COLOURS}
    return min(_COLOURS, key=lambda colour: uses[colour])


def _place(each: DefectClass) -> tuple[bool, int, str]:
    return each.retired_at is not None, KEYS.index(each.key) if each.key else len(KEYS), each.defect_class
