"""What a new configuration would change, and edits that keep comments."""

from __future__ import annotations

from pathlib import Path

import pytest

from inspection import config as configuration
from inspection.config_changes import FieldKind, check, edited, forms, waiting
from inspection.errors import ConfigError, NotFound

PATH = Path(__file__).parents[2] / "deploy" / "station.toml"
SHIPPED = PATH.read_text(encoding="utf-8")


def test_a_changed_setting_is_named_with_both_values_and_needs_a_restart() -> None:
    found = check(SHIPPED, SHIPPED.replace("deadline_ms = 200", "deadline_ms = 300"), PATH)
    assert [(each.key, each.before, each.after) for each in found.changes] == [("products.flange.deadline_ms", "200", "300")]
    assert (found.valid, found.restart) == (True, ("station",))
    assert "-deadline_ms = 200\n+deadline_ms = 300\n" in found.diff


def test_a_comment_changes_nothing_and_the_order_of_features_does() -> None:
    commented = check(SHIPPED, SHIPPED + "# said by kim\n", PATH)
    assert (commented.changes, commented.restart, commented.diff != "") == ((), (), True)
    swapped = SHIPPED.replace('TriggerMode = "On"\nTriggerSource = "Line1"', 'TriggerSource = "Line1"\nTriggerMode = "On"')
    assert [each.key for each in check(SHIPPED, swapped, PATH).changes] == ["cameras.top.features in order"]


@pytest.mark.parametrize(
    ("new", "key"),
    [
        (SHIPPED.replace("deadline_ms = 200", "deadline_ms = 2"), "products.0.deadline_ms"),
        (SHIPPED + "[lines]\n", "lines"),
        (SHIPPED.replace('camera = "top"', 'camera = "side"', 1), "file"),
        ("= nonsense", "file"),
    ],
)
def test_mistakes_are_named_by_key(new: str, key: str) -> None:
    found = check(SHIPPED, new, PATH)
    assert (found.valid, [each.key for each in found.errors]) == (False, [key])


def test_an_edit_changes_its_line_and_no_other() -> None:
    new = edited(SHIPPED, "products", "flange", {"deadline_ms": 250, "serial_code": r"(\d+)", "challenge_every_hours": 8})
    changed = set(new.splitlines()) ^ set(SHIPPED.splitlines())
    assert changed == {"deadline_ms = 200", "deadline_ms = 250", 'serial_code = "(\\\\d+)"', "challenge_every_hours = 8"}
    recipe = configuration.parse(new, PATH).recipe("flange")
    assert (recipe.deadline_ms, recipe.serial_code and recipe.serial_code.pattern, recipe.challenge_every_hours) == (
        250,
        r"(\d+)",
        8,
    )
    back = edited(new, "products", "flange", {"deadline_ms": 200, "serial_code": None, "challenge_every_hours": None})
    assert back == SHIPPED
    assert "[line]" not in edited('products = [{part_number = "p"}]', "products", "p", {"deadline_ms": 9})
    assert edited("[station]\n", "images", None, {"keep_pass_share": 0.5}).endswith("[images]\nkeep_pass_share = 0.5\n")


def test_an_edit_of_what_is_not_there_is_refused() -> None:
    for section, name, values in (("products", "none", {}), ("web", None, {}), ("line", None, {"speed": 1})):
        with pytest.raises(NotFound):
            edited(SHIPPED, section, name, values)
    with pytest.raises(ConfigError):
        edited("= nonsense", "line", None, {})


def test_forms_show_each_setting_with_its_limits() -> None:
    recipe, *_ = forms(configuration.load(PATH))
    fields = {field.key: field for field in recipe.fields}
    assert (recipe.section, recipe.name, "part_number" in fields) == ("products", "flange", False)
    deadline, camera, code = fields["deadline_ms"], fields["camera"], fields["serial_code"]
    assert (deadline.kind, deadline.value, deadline.minimum, deadline.maximum) == (FieldKind.NUMBER, 200.0, 5, 60_000)
    assert (camera.kind, camera.choices, camera.optional) == (FieldKind.CHOICE, ("top",), False)
    assert (code.kind, code.value, code.optional) == (FieldKind.TEXT, None, True)
    assert fields["challenge_after_deployment"].kind is FieldKind.FLAG


def test_what_waits_for_a_restart_is_what_differs_from_the_start() -> None:
    new = edited(SHIPPED, "line", None, {"max_open": 9})
    assert [(each.key, each.after) for each in waiting(SHIPPED, new, PATH)] == [("line.max_open", "9")]
    assert waiting(SHIPPED, SHIPPED, PATH) == waiting(SHIPPED, "= nonsense", PATH) == ()
