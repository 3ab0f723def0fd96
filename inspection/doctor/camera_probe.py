"""Asks one GenTL producer about itself and its cameras: ``Question`` in, ``ProducerFacts`` out, as JSON.

A process of its own, which a bad producer may crash. Cameras are opened twice: once feature by feature, so that all that are
refused are known, and once as the station does it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from cameras.accept_output import AcceptOutput
from cameras.camera import FeatureValue
from cameras.errors import CameraError
from cameras.genicam import GenicamCamera, survey
from cameras.simulator import PRODUCER
from cameras.simulator.control import SimulatedCamera
from inspection.doctor.producers import CameraFacts, ProducerFacts, Question

# What the station makes where none is there.
_SENSOR = (1280, 1024)


def main() -> None:
    # What a producer prints is no answer.
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    question = msgspec.json.decode(sys.stdin.buffer.read(), type=Question)
    answer.write(msgspec.json.encode(_asked(question)))
    answer.close()


def _asked(question: Question) -> ProducerFacts:
    producer = Path(question.producer)
    simulated = []
    if producer.resolve() == PRODUCER.resolve():
        root = Path(os.environ["STATION_SIMULATOR"])
        simulated = [SimulatedCamera.create(root, serial, *_SENSOR) for _, serial, _, _ in question.cameras]
    try:
        found = survey(producer)
        listed = {device["serial_number"] for device in found.devices}
        cameras = {
            name: _camera(producer, serial, features, output)
            for name, serial, features, output in question.cameras
            if serial in listed
        }
    except CameraError as error:
        return ProducerFacts(trouble=str(error))
    finally:
        for camera in simulated:
            camera.close()
    return ProducerFacts(found, cameras)


def _camera(producer: Path, serial: str, features: dict[str, FeatureValue], output: dict[str, str | float] | None) -> CameraFacts:
    first = GenicamCamera(producer, serial)
    refused: dict[str, str] = {}

    def tell() -> CameraFacts:
        refused.update(first.refused(features))
        return CameraFacts(refused, _values(first))

    told = _opened(first, tell)
    if refused or told.trouble is not None:
        return told
    second = GenicamCamera(producer, serial, features, AcceptOutput(**output) if output else None)  # type: ignore[arg-type]
    as_station = _opened(
        second,
        lambda: CameraFacts({}, _values(second), second.counts_triggers, second.clock() is not None),
    )
    return as_station if as_station.trouble is None else CameraFacts({}, told.features, trouble=as_station.trouble)


def _opened(camera: GenicamCamera, ask: Callable[[], CameraFacts]) -> CameraFacts:
    try:
        camera.open()
        return ask()
    except CameraError as error:
        return CameraFacts(trouble=str(error))
    finally:
        camera.close()


def _values(camera: GenicamCamera) -> dict[str, str]:
    return {feature.name: feature.value for feature in camera.features() if feature.value is not None}


if __name__ == "__main__":
    main()
