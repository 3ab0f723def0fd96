"""REST: classes of defects, which reviewers choose from."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from inspection.domain import DefectClass
from inspection.records.defect_classes import add_class, change_class, list_classes, retire_class
from inspection.web.context import InContext, Records, User
from inspection.web.names import By, Name, ProductQuery, acting, name_from_path
from inspection.web.problems import conflict_as, documented, not_found_as

router = APIRouter(prefix="/api/v1", tags=["labels"], responses=documented())

Colour = Annotated[str, Field(pattern="^#[0-9a-f]{6}$", description="As #rrggbb.")]
Key = Annotated[str, Field(min_length=1, max_length=1, description="The key that labels with it.")]
ClassName = Annotated[str, Path(description="Name of the class, percent-encoded."), AfterValidator(name_from_path)]


class NewClass(BaseModel):
    """A class of defects of a product; colour and key are chosen by the station where they are left out."""

    model_config = ConfigDict(extra="forbid")

    product: Name
    defect_class: Name
    colour: Colour | None = None
    key: Key | None = None
    by: By | None = None


class ChangedClass(BaseModel):
    """What is to be another one."""

    model_config = ConfigDict(extra="forbid")

    colour: Colour | None = None
    key: Key | None = None
    by: By | None = None


@dataclass(frozen=True, slots=True)
class DefectClasses:
    """All classes of a product by their keys, the retired ones last, and those that labels use without being listed."""

    product: str
    items: tuple[DefectClass, ...]


@router.get("/defect-classes")
def list_defect_classes(records: Records, product: ProductQuery) -> DefectClasses:
    """The classes of defects of a product."""
    return DefectClasses(product, list_classes(records, product))


@router.post("/defect-classes", status_code=HTTPStatus.CREATED, responses=documented(HTTPStatus.CONFLICT))
def add_defect_class(new: NewClass, context: InContext, user: User) -> DefectClass:
    """List a class, or offer a retired one again."""
    with conflict_as("invalid_defect_class"), context.writer.begin() as connection:
        return add_class(connection, new.product, new.defect_class, new.colour, new.key, acting(user, new.by))


@router.patch("/defect-classes/{defect_class}", responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT))
def change_defect_class(
    defect_class: ClassName, product: ProductQuery, changed: ChangedClass, context: InContext, user: User
) -> DefectClass:
    """Give a class another colour or key."""
    with (
        not_found_as("unknown_defect_class"),
        conflict_as("invalid_defect_class"),
        context.writer.begin() as connection,
    ):
        return change_class(connection, product, defect_class, changed.colour, changed.key, acting(user, changed.by))


@router.delete("/defect-classes/{defect_class}", responses=documented(HTTPStatus.NOT_FOUND))
def retire_defect_class(defect_class: ClassName, product: ProductQuery, context: InContext, user: User) -> DefectClass:
    """Retire a class: it is offered no more, and labels keep it."""
    with not_found_as("unknown_defect_class"), context.writer.begin() as connection:
        return retire_class(connection, product, defect_class, acting(user, None))
