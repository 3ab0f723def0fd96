"""A running station is taught over its REST interface: from a label to another model in service, and back."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import httpx
import pytest
from running_station import PRODUCT, RunningStation, digest, scene

from inspection.cell import CellPart

LOTS = ("L1", "L10")
"""L10 is kept for validation."""


class Taught:
    """The station's REST interface."""

    def __init__(self, station: RunningStation) -> None:
        self._url = f"{station.url}/api/v1"

    def get(self, path: str, **parameters: Any) -> Any:
        return self._answer(httpx.get(f"{self._url}{path}", params=parameters, timeout=30))

    def post(self, path: str, **body: Any) -> Any:
        return self._answer(httpx.post(f"{self._url}{path}", json=body, timeout=30))

    @staticmethod
    def _answer(response: httpx.Response) -> Any:
        assert response.is_success, response.text
        return response.json()


def trainers(station: RunningStation) -> list[int]:
    """The trainer of this station, without its children."""
    wanted = [b"training", b"trainer", b"--config", str(station.config_path).encode(), b""]
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (entry / "cmdline").read_bytes().split(b"\0")[2:] == wanted:
                found.append(int(entry.name))
    return found


def parts(station: RunningStation) -> Iterator[CellPart]:
    """Twelve parts in each lot, every fourth one scratched."""
    for number in range(24):
        part = next(station.parts(LOTS[number % 2], [number]))
        if number % 8 >= 6:
            pixels = scene(number)
            cv2.line(pixels, (40, 30), (120, 90), 255, 4)
            part = CellPart(part.lot, part.serial, pixels, "scratch")
            station.shown[part.serial] = digest(pixels)
        yield part


@pytest.mark.by_hand
def test_from_a_label_to_another_model_and_back(station: RunningStation, plate_model: Path) -> None:
    with station:
        rest = Taught(station)
        for lot in LOTS:
            station.open_lot(lot)
        station.convey(parts(station), rate=10)
        for lot in LOTS:
            station.check_images(lot, 12)
        for lot in LOTS:
            for row in station.rows(lot):
                scratched = int(row["serial"].removeprefix("SN")) % 8 >= 6
                label = {"label": "scratch", "regions": [{"x": 40, "y": 30, "width": 80, "height": 60}]}
                rest.post(f"/inspections/{row['seq']}/labels", by="ada", **(label if scratched else {"label": "ok"}))

        # Too few good ones in the lot to learn from until some more have passed.
        refused = httpx.post(f"{station.url}/api/v1/training-sets", json={"product": PRODUCT, "by": "ada"})
        assert (refused.status_code, refused.json()["code"]) == (409, "not_trainable")
        station.convey(station.parts("L1", range(100, 106)), rate=10)
        station.check_images("L1", 18)
        training_set = rest.post("/training-sets", product=PRODUCT, by="ada")
        assert training_set["sizes"]["validation"] == {"ok": 9, "scratch": 3}
        run = rest.post("/training-runs", training_set=training_set["training_set"], by="ada", longer_side=160)

        def state(key: str) -> Any:
            return rest.get(f"/training-runs/{run['training_run_id']}")[key]

        # The trainer dies in the middle; the manager starts it again, and it begins again.
        station.wait_until(lambda: state("state") == "running", 60, "the training to begin")
        (trainer,) = trainers(station)
        os.kill(trainer, signal.SIGKILL)
        station.wait_until(lambda: state("state") not in ("queued", "running"), 200, "the training to end")
        done = rest.get(f"/training-runs/{run['training_run_id']}")
        assert (done["state"], done["attempts"]) == ("succeeded", 2), done
        model = done["model"]
        gate = rest.get(f"/models/{model}")["gates"][0]
        assert gate["compared_with"] == plate_model.name
        assert "escapes 0 of 3" in next(check["detail"] for check in gate["checks"] if check["check"] == "comparison")

        # It may try itself beside the other one, decide, and be sent back, and no part is lost.
        rest.post("/shadows", product=PRODUCT, model=model, by="ada")
        station.wait_until(lambda: _shadowed(station, rest, model), 30, "the challenger to judge")
        why = {"override": "a test"} if not gate["passed"] else {}
        rest.post("/deployments", product=PRODUCT, model=model, by="ada", reason="scratches", **why)
        station.wait_until(lambda: model[:12] in station.states().get("inspector", ""), 30, "the new model to be in service")
        station.convey(station.parts("L1", range(200, 205)), rate=10)
        rest.post("/deployments/rollback", product=PRODUCT, by="bob", reason="a test")
        station.wait_until(lambda: plate_model.name[:12] in station.states().get("inspector", ""), 30, "the former model")
        station.convey(station.parts("L1", range(300, 305)), rate=10)
        for lot in LOTS:
            station.check_invariants(lot)
        assert [row["model"] for row in station.rows("L1")[-10:]] == [model] * 5 + [plate_model.name] * 5
        assert len(trainers(station)) == 1


def _shadowed(station: RunningStation, rest: Taught, model: str) -> bool:
    """Convey one more part; did the challenger judge any?"""
    serials = len(station.shown)
    station.convey(station.parts("L1", [1_000 + serials]), rate=10)
    return rest.get("/shadows/disagreements", model=model)["summary"]["inspected"] > 0
