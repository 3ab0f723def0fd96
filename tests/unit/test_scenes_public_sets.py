"""The list of public image sets: complete, and data only."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

DATASETS = Path(__file__).resolve().parents[2] / "datasets"
SETS = tomllib.loads((DATASETS / "public_sets.toml").read_text(encoding="utf-8"))["set"]


def test_every_set_states_licence_attribution_and_how_to_get_it() -> None:
    for entry in SETS:
        assert {"name", "shows", "home", "licence", "commercial_use", "attribution", "layout"} <= entry.keys(), entry
        assert entry.keys() <= {*SETS[0].keys(), "convert"}, entry
        assert entry["home"].startswith("https://")
        assert entry["commercial_use"] == ("-NC-" not in entry["licence"]), entry["name"]
        assert ("convert" in entry) == (entry["layout"] != "mvtec_ad"), entry["name"]
        assert re.fullmatch(r"[0-9a-f]{64}", entry.get("sha256", "0" * 64)), entry["name"]


def test_names_are_distinct() -> None:
    assert len({entry["name"] for entry in SETS}) == len(SETS) >= 6


def test_datasets_holds_no_python() -> None:
    # An importable "datasets" would shadow, or be shadowed by, a widely installed package of that name.
    assert not list(DATASETS.rglob("*.py"))
