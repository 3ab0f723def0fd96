"""Cameras behind a GenTL producer, through harvesters; the only importer of harvesters and genicam.

What is designed around, with harvesters 1.4.3: a poll for a buffer holds the GIL, hence one process per camera and the default
poll of 1 ms; incomplete buffers are requeued silently, hence the counter; a lost device only shows as time-outs, hence ``check``;
after a loss ``stop`` and ``destroy`` fail unless each data stream is stopped with the KILL flag first.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from genicam.gentl import ACQ_STOP_FLAGS_LIST
from harvesters.core import Callback, Harvester

from cameras.accept_output import AcceptOutput
from cameras.camera import ClockMapping, Feature, FeatureValue, Survey
from cameras.errors import CameraError, CameraLost, CameraNotFound, FeatureError, ProducerNotFound
from cameras.frame import Frame, PixelFormat

log = logging.getLogger(__name__)
logging.getLogger("harvesters.core").setLevel(logging.CRITICAL)

# With 3 buffers frames are lost at 100 frames/s.
BUFFERS = 16
# A clock reading that took longer than this says too little about when it was made.
_CLOCK_ERROR_NS = 1_000_000
_SAID = ("vendor", "model", "version", "tl_type")
_ACCESS = {0: "not implemented", 1: "not available", 2: "write", 3: "read", 4: "read/write"}


class GenicamCamera:
    """One camera of one producer, found by its serial number. Implements ``cameras.camera.Camera``.

    ``features`` are SFNC names and values, applied in their order; enumerations take their symbolic names. ``accept_output`` is
    set up after them.
    """

    def __init__(
        self,
        producer: Path,
        serial: str,
        features: Mapping[str, FeatureValue] | None = None,
        accept_output: AcceptOutput | None = None,
    ) -> None:
        self._producer = producer
        self._serial = serial
        self._settings = dict(features or {})
        self._accept_output = accept_output
        self._harvester: Any = None
        self._acquirer: Any = None
        self._buffer: Any = None
        self._has_count = False
        self._has_crc = False
        self._has_exposure = False
        self._first_frame_id: int | None = None
        self._incomplete = _IncompleteFrames()

    # --- life ---

    def open(self) -> None:
        """Connect and apply the features; ProducerNotFound, CameraNotFound, FeatureError."""
        self._incomplete = _IncompleteFrames()
        self._harvester = _harvester(self._producer)
        serials = [str(info.serial_number) for info in self._harvester.device_info_list]
        if self._serial not in serials:
            self.close()
            raise CameraNotFound(
                f"camera {self._serial!r} is not listed by {self._producer.name} (it lists {', '.join(serials) or 'none'});"
                " check power, cable and that no other program holds it"
            )
        try:
            self._acquirer = _acquirer(self._harvester, self._serial)
            self._acquirer.num_buffers = BUFFERS
            self._acquirer.add_callback(self._acquirer.Events.INCOMPLETE_BUFFER, self._incomplete)
            for name, value in self._settings.items():
                self._set(name, value)
            if self._accept_output is not None:
                self._set_up_output(self._accept_output)
            self._probe()
        except FeatureError:
            self.close()
            raise
        except Exception as error:
            self.close()
            raise CameraLost(f"camera {self._serial} could not be opened: {error}") from error

    def _probe(self) -> None:
        nodes = self._nodes
        chunks = _has(nodes, "ChunkModeActive") and bool(nodes.ChunkModeActive.value)
        self._has_count = chunks and _has(nodes, "ChunkCounterValue")
        self._has_crc = chunks and _has(nodes, "ChunkPayloadCRC32")
        self._has_exposure = chunks and _has(nodes, "ChunkExposureTime")

    def _set_up_output(self, output: AcceptOutput) -> None:
        try:
            for name, value in output.features():
                self._make(name, value)
                if name == "LineSelector":
                    for neutral, at_rest in output.neutral_features():
                        if _has(self._nodes, neutral):
                            self._make(neutral, at_rest)
            if not _has(self._nodes, "SoftwareSignalPulse"):
                raise FeatureError(f"camera {self._serial} has no feature 'SoftwareSignalPulse'")
        except FeatureError as error:
            raise FeatureError(
                f"{error}; accept_output needs a line that a timer of the camera drives, started by a software signal, so that "
                "the pulse ends even if this computer dies: name the camera's own in [cameras.accept_output], or leave it out"
            ) from error

    def arm(self) -> None:
        self._first_frame_id = None
        try:
            if _has(self._nodes, "CounterReset"):
                self._nodes.CounterReset.execute()
            self._acquirer.start()
        except Exception as error:
            raise CameraLost(f"camera {self._serial} did not start: {error}") from error

    def disarm(self) -> None:
        self.release()
        try:
            self._acquirer.stop()
        except Exception as error:
            raise CameraLost(f"camera {self._serial} did not stop: {error}") from error

    def close(self) -> None:
        """The order that works with lost cameras too; each step may fail because the camera is gone."""
        acquirer, harvester = self._acquirer, self._harvester
        self._buffer = self._acquirer = self._harvester = None
        if acquirer is not None:
            _quietly("stop", acquirer.stop)
            for stream in list(getattr(acquirer, "_data_streams", ())):
                _quietly("kill stream", lambda s=stream: s.stop_acquisition(ACQ_STOP_FLAGS_LIST.ACQ_STOP_FLAGS_KILL))
            _quietly("destroy", acquirer.destroy)
        if harvester is not None:
            _quietly("reset", harvester.reset)

    # --- frames ---

    def fetch(self, timeout_s: float) -> Frame | None:
        self.release()
        try:
            buffer = self._acquirer.try_fetch(timeout=timeout_s)
            received_ns = time.monotonic_ns()
            if buffer is None:
                return None
            self._buffer = buffer
            return self._frame(buffer, received_ns)
        except CameraError:
            raise
        except Exception as error:
            raise CameraLost(f"camera {self._serial} stopped delivering: {error}") from error

    def _frame(self, buffer: Any, received_ns: int) -> Frame:
        component = buffer.payload.components[0]
        pixel_format = PixelFormat.named(component.data_format)
        width, height = int(component.width), int(component.height)
        data = component.data
        size = width * height * pixel_format.channels
        # A view, not a copy: 12 bit formats arrive as bytes or as uint16, depending on the producer.
        pixels = np.ascontiguousarray(data).view(pixel_format.dtype)[:size].reshape(pixel_format.shape(width, height))
        frame_id = int(buffer.frame_id)
        if self._first_frame_id is None:
            self._first_frame_id = frame_id
        nodes = self._nodes
        corrupt = self._has_crc and zlib.crc32(pixels.data) != int(nodes.ChunkPayloadCRC32.value)
        return Frame(
            pixels=pixels,
            pixel_format=pixel_format,
            frame_id=frame_id,
            timestamp_ns=_timestamp_ns(buffer),
            received_ns=received_ns,
            trigger_count=int(nodes.ChunkCounterValue.value) if self._has_count else frame_id - self._first_frame_id + 1,
            exposure_us=float(nodes.ChunkExposureTime.value) if self._has_exposure else None,
            corrupt=corrupt,
        )

    def release(self) -> None:
        buffer, self._buffer = self._buffer, None
        if buffer is not None:
            _quietly("queue buffer", buffer.queue)

    def software_trigger(self) -> None:
        try:
            self._nodes.TriggerSoftware.execute()
        except Exception as error:
            raise CameraLost(f"camera {self._serial} refused a software trigger: {error}") from error

    def accept(self) -> None:
        try:
            self._nodes.SoftwareSignalPulse.execute()
        except Exception as error:
            raise CameraLost(f"camera {self._serial} refused the accept signal: {error}") from error

    @property
    def trigger_delay_ns(self) -> int:
        # Microseconds, by the SFNC; some cameras have it for some of their triggers only.
        delay_us = _read(getattr(self._nodes, "TriggerDelay", None), "value")
        return int(delay_us * 1e3) if isinstance(delay_us, int | float) else 0

    @property
    def counts_triggers(self) -> bool:
        return self._has_count

    @property
    def incomplete_frames(self) -> int:
        return self._incomplete.count

    # --- state ---

    def check(self) -> None:
        """Reads a register that no cache answers; CameraLost if the camera does not."""
        nodes = self._nodes
        try:
            if _has(nodes, "TimestampLatch"):
                nodes.TimestampLatch.execute()
            elif _has(nodes, "DeviceTemperature"):
                _ = nodes.DeviceTemperature.value
            else:
                _ = nodes.PayloadSize.value
        except Exception as error:
            raise CameraLost(f"camera {self._serial} does not answer: {error}") from error

    def clock(self) -> ClockMapping | None:
        """The best of a few readings: the camera's time was latched between two readings of the host's."""
        nodes = self._nodes
        if not (_has(nodes, "TimestampLatch") and _has(nodes, "TimestampLatchValue")):
            return None
        best: ClockMapping | None = None
        try:
            for _ in range(5):
                before = time.monotonic_ns()
                nodes.TimestampLatch.execute()
                after = time.monotonic_ns()
                error = (after - before) // 2
                if best is None or error < best.error_ns:
                    best = ClockMapping(before + error - int(nodes.TimestampLatchValue.value), error)
        except Exception as error:
            raise CameraLost(f"camera {self._serial} does not answer: {error}") from error
        return best if best is not None and best.error_ns <= _CLOCK_ERROR_NS else None

    def features(self) -> list[Feature]:
        found: list[Feature] = []
        nodes = self._nodes
        try:
            for category in nodes.Root.features:
                found += _walk(category, category.node.name)
        except Exception as error:
            raise CameraLost(f"camera {self._serial} does not answer: {error}") from error
        return found

    def refused(self, settings: Mapping[str, FeatureValue]) -> dict[str, str]:
        """Set features in their order, all that can be; {name: why} of the others."""
        found = {}
        for name, value in settings.items():
            try:
                self._set(name, value)
            except FeatureError as error:
                found[name] = str(error)
        return found

    @property
    def _nodes(self) -> Any:
        if self._acquirer is None:
            raise CameraLost(f"camera {self._serial} is not open")
        return self._acquirer.remote_device.node_map

    def _make(self, name: str, value: FeatureValue) -> None:
        """Set a feature unless it is so: a line that can only be an output has a LineMode that cannot be written."""
        if not _has(self._nodes, name) or getattr(self._nodes, name).value != value:
            self._set(name, value)

    def _set(self, name: str, value: FeatureValue) -> None:
        try:
            node = getattr(self._nodes, name)
        except AttributeError:
            raise FeatureError(f"camera {self._serial} has no feature {name!r}; see `station cameras --features`") from None
        try:
            if hasattr(node, "execute"):
                node.execute()
            else:
                node.value = value
        except Exception as error:
            raise FeatureError(f"camera {self._serial} refuses {name} = {value!r}: {error}") from error


class _IncompleteFrames(Callback):
    """harvesters calls it for every incomplete buffer that it discards."""

    def __init__(self) -> None:
        self.count = 0

    def emit(self, context: object | None = None) -> None:
        self.count += 1


def list_devices(producer: Path) -> list[dict[str, str]]:
    """What a producer lists: vendor, model, serial_number, version, tl_type and access_status of each device."""
    return survey(producer).devices


def survey(producer: Path) -> Survey:
    """What a producer says of itself, and what it lists; ProducerNotFound if it cannot be used."""
    harvester = _harvester(producer)
    try:
        # harvesters only logs that a producer, once loaded, could not be opened: then there is no system.
        systems = [system.module for system in harvester._systems]
        return Survey(
            {name: str(_read(system, name)) for system in systems for name in _SAID},
            tuple(str(_read(info, "display_name")) for system in systems for info in system.interface_info_list),
            [
                {name: str(_read(info, name)) for name in (*_SAID, "serial_number", "access_status")}
                for info in harvester.device_info_list
            ],
        )
    finally:
        _quietly("reset", harvester.reset)


def _read(info: Any, name: str) -> Any:
    try:
        return getattr(info, name)
    except Exception:  # noqa: BLE001  (producers may answer NotAvailable to any of these)
        return "not available"


def _timestamp_ns(buffer: Any) -> int:
    try:
        return int(buffer.timestamp_ns)
    except Exception:  # noqa: BLE001  (optional in GenTL, and not every producer keeps it)
        return 0


def _harvester(producer: Path) -> Any:
    if not producer.is_file():
        raise ProducerNotFound(f"GenTL producer {producer} does not exist; set `producer` to the .cti file of the camera's maker")
    try:
        is_producer = b"GCInitLib" in producer.read_bytes()
    except OSError as error:
        raise ProducerNotFound(f"GenTL producer {producer} cannot be read: {error.strerror}; check its owner and mode") from error
    if not is_producer:
        # genicam crashes the process on a library that lacks GenTL's functions.
        raise ProducerNotFound(f"{producer} is no GenTL producer; set `producer` to the .cti file of the camera's maker")
    harvester = Harvester()
    try:
        harvester.add_file(str(producer), check_existence=True, check_validity=True)
        harvester.update()
    except Exception as error:
        _quietly("reset", harvester.reset)
        raise ProducerNotFound(f"GenTL producer {producer} cannot be used: {error}; is it built for this machine?") from error
    return harvester


def _acquirer(harvester: Any, serial: str) -> Any:
    before = signal.getsignal(signal.SIGINT)
    try:
        return harvester.create({"serial_number": serial})
    finally:
        # In the main thread, harvesters' constructor takes the interrupt handler away from the program.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)


def _has(nodes: Any, name: str) -> bool:
    return hasattr(nodes, name)


def _walk(category: Any, title: str) -> list[Feature]:
    found: list[Feature] = []
    for node in category.features:
        if hasattr(node, "features"):
            found += _walk(node, node.node.name)
            continue
        access = int(node.get_access_mode())
        value = None
        if access in (3, 4) and hasattr(node, "to_string"):
            try:
                value = node.to_string()
            except Exception as error:  # noqa: BLE001  (a feature that cannot be read now is shown without value)
                log.debug("feature %s not readable: %s", node.node.name, error)
        found.append(
            Feature(
                category=title,
                name=node.node.name,
                kind=type(node).__name__.removeprefix("I"),
                access=_ACCESS.get(access, str(access)),
                value=value,
                detail=str(node.node.tooltip or ""),
            )
        )
    return found


def _quietly(what: str, action: Any) -> None:
    try:
        action()
    except Exception as error:  # noqa: BLE001  (letting go of a lost camera fails in every imaginable way)
        log.debug("%s: %s", what, error)
