"""The control handle without a producer: files, scenes, edges into the void."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cameras.errors import CameraError
from cameras.simulator.control import SimulatedCamera
from cameras.simulator.control_file import EDGE_RING, NO_SCENE, SCENE_SLOTS


@pytest.fixture
def camera(tmp_path: Path) -> Iterator[SimulatedCamera]:
    camera = SimulatedCamera.create(tmp_path, "cam-1", 8, 6)
    yield camera
    camera.close()


def test_created_camera_is_present_closed_and_has_done_nothing(camera: SimulatedCamera) -> None:
    assert (camera.serial, camera.width, camera.height, camera.color) == ("cam-1", 8, 6, False)
    assert camera.present
    assert not camera.is_open
    assert not camera.is_acquiring
    assert camera.edges == camera.exposures == camera.delivered == camera.missed_triggers == camera.user_output == 0


def test_creating_a_camera_twice_is_refused(camera: SimulatedCamera, tmp_path: Path) -> None:
    with pytest.raises(CameraError, match="attach to the camera"):
        SimulatedCamera.create(tmp_path, "cam-1", 8, 6)


@pytest.mark.parametrize("serial", ["", ".hidden", "a/b", "x" * 64])
def test_serials_that_are_no_file_names_are_refused(serial: str, tmp_path: Path) -> None:
    with pytest.raises(CameraError, match="no serial number"):
        SimulatedCamera.create(tmp_path, serial, 8, 6)


def test_attaching_to_a_missing_camera_says_so(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match="create it first"):
        SimulatedCamera.attach(tmp_path, "cam-2")


def test_attaching_to_another_version_says_so(camera: SimulatedCamera, tmp_path: Path) -> None:
    with (tmp_path / "cam-1" / "control").open("r+b") as file:
        file.write(b"\0")
    with pytest.raises(CameraError, match="another version"):
        SimulatedCamera.attach(tmp_path, "cam-1")


def test_two_handles_see_the_same_camera(camera: SimulatedCamera, tmp_path: Path) -> None:
    other = SimulatedCamera.attach(tmp_path, "cam-1")
    camera.edge()
    other.edge()
    assert camera.edges == other.edges == 2
    other.unplug()
    assert not camera.present
    camera.replug()
    assert other.present
    assert other.edges == 0
    other.close()


def test_a_closed_handle_leaves_no_descriptor_open(tmp_path: Path) -> None:
    SimulatedCamera.create(tmp_path, "cam-1", 8, 6).close()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        SimulatedCamera.attach(tmp_path, "cam-1").close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize(
    "scene",
    [
        np.zeros((8, 6), np.uint8),
        np.zeros((6, 8), np.float32),
        np.zeros((6, 8, 4), np.uint8),
        np.zeros((6, 8, 3), np.uint16),
        np.zeros((6, 8), np.int8),
    ],
)
def test_scenes_that_do_not_fit_are_refused(camera: SimulatedCamera, scene: np.ndarray) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        camera.show(scene)
    assert camera._control.get("scene_slot") == NO_SCENE


def test_a_scene_is_never_written_over_the_one_that_is_showing(camera: SimulatedCamera) -> None:
    camera.show(np.full((6, 8), 1, np.uint8))
    first = camera._control.get("scene_slot")
    camera.show(np.full((6, 8), 2, np.uint8))
    second = camera._control.get("scene_slot")
    assert first != second
    assert (camera._control.scenes[first, :48] == 1).all()
    assert (camera._control.scenes[second, :48] == 2).all()


def test_strided_scenes_are_shown_as_they_look(camera: SimulatedCamera) -> None:
    scene = np.arange(6 * 16, dtype=np.uint16).reshape(6, 16)[:, ::2]
    camera.show(scene)
    shown = camera._control.scenes[camera._control.get("scene_slot"), :96].view(np.uint16)
    assert (shown.reshape(6, 8) == scene).all()


def test_any_number_of_edges_and_scenes_goes_into_the_void_while_the_camera_is_closed(camera: SimulatedCamera) -> None:
    for number in range(EDGE_RING + SCENE_SLOTS):
        camera.show(np.full((6, 8), number % 256, np.uint8))
        camera.edge()
    assert camera.edges == EDGE_RING + SCENE_SLOTS
    assert camera.exposures == 0


def test_delay_needs_its_duration(camera: SimulatedCamera) -> None:
    with pytest.raises(ValueError, match="delay_ms"):
        camera.fault("delay")
    with pytest.raises(ValueError, match="delay_ms"):
        camera.fault("drop", delay_ms=5)


def test_a_fault_is_periodic_or_single(camera: SimulatedCamera) -> None:
    with pytest.raises(ValueError, match="not both"):
        camera.fault("drop", every=2, at=3)
