"""Faults of every kind in any mix: what must hold still holds, and the station inspects again without help.

``FAULT_SEEDS=200 python -m pytest -rP -m by_hand tests/faults/test_mixed_faults.py`` runs so many seeds, ten on one station;
``FAULT_FIRST=40`` begins at that one. A failure prints the plan and names its seed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from running_station import HEIGHT, WIDTH, scene

from inspection.bench.station import Sensor
from inspection.soak.catalogue import CATALOGUE, Fault
from inspection.soak.plan import plan
from inspection.soak.recovery import Injected
from inspection.soak.run import Soak
from inspection.soak.scenes import Scenes
from inspection.soak.station import soak_station

PARTS, RATE, SECONDS = 500, 40, 11.0
LOT = 150
GAP_S = (0.2, 3.0)
ON_ONE_STATION = 10
FIRST = int(os.environ.get("FAULT_FIRST", "0"))
SEEDS = range(FIRST, FIRST + int(os.environ.get("FAULT_SEEDS", "1")))
GROUPS = [SEEDS[first : first + ON_ONE_STATION] for first in range(0, len(SEEDS), ON_ONE_STATION)]
# Those after which no process has to start again: seconds, on a busy machine.
GENTLE = tuple(fault for fault in CATALOGUE if fault.touches not in ("", "processor", "model", "database", "log"))


def soak_seeds(
    folder: Path, model: Path, seeds: Sequence[int], catalogue: Sequence[Fault], parts: int, seconds: float, longest_s: float
) -> None:
    with soak_station(folder, model, Sensor(WIDTH, HEIGHT, "Mono8"), 2**28, 1.0) as station:
        soak = Soak(station, Scenes(scene, lambda number: None), RATE, LOT)
        for seed in seeds:
            planned = plan(seed, seconds, GAP_S, catalogue, longest_s)
            before = len(soak.faults)
            soak.run(planned, seconds, f"S{seed}-", lambda step: None, parts)
            say(seed, soak, soak.faults[before:])
            plan_in_words = "\n".join(map(str, planned))
            found = "\n".join(soak.findings.violations)
            assert not found, f"seed {seed} of {seeds}\n{plan_in_words}\n{found}"
        soak.finish()
        assert not soak.findings.violations, f"seeds {seeds}\n" + "\n".join(soak.findings.violations)
        assert soak.tally.parts >= parts * len(seeds)
        assert soak.findings.checked["the image is the part's own"] > parts / 2


def say(seed: int, soak: Soak, faults: Sequence[Injected]) -> None:
    """Shown by ``-rP``."""
    made = ", ".join(f"{each.fault} {each.target}".strip() + (" (not made)" if each.skipped else "") for each in faults)
    sys.stdout.write(f"seed {seed}: {soak.tally.parts} parts so far, {sum(soak.tally.lost.values())} lost; {made}\n")


@pytest.mark.by_hand
@pytest.mark.timeout(1_500)
@pytest.mark.parametrize("seeds", GROUPS, ids=lambda seeds: f"{seeds.start}-{seeds.stop - 1}")
def test_nothing_is_lost_or_swapped_and_the_station_inspects_again(
    tmp_path: Path, plate_model: Path, monkeypatch: pytest.MonkeyPatch, seeds: range
) -> None:
    # NiceGUI does not serve where it sees this.
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    soak_seeds(tmp_path, plate_model, seeds, CATALOGUE, PARTS, SECONDS, 4.0)


def test_faults_after_which_nothing_has_to_start_again(
    tmp_path: Path, plate_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    soak_seeds(tmp_path, plate_model, [7], GENTLE, 100, 4.0, 1.5)
