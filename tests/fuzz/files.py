"""What is read from files: images, models, the configuration, and what the station itself had written."""

from __future__ import annotations

import json
import re
import sys
from contextlib import suppress
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np

from tests.fuzz.common import TOP, Harness, database, folder


def image_file(data: bytes) -> None:
    """An image file that somebody uploads."""
    from inspection.image_files import UnreadableFile, frame_of

    with suppress(UnreadableFile):
        frame = frame_of(data, "x.png")
        assert 0 < frame.width * frame.height < 1e8


def _image_seeds() -> list[bytes]:
    from PIL import Image

    made = []
    for mode in ("L", "RGB", "RGBA", "I;16", "P", "1", "CMYK"):
        for kind, options in (("PNG", {}), ("JPEG", {}), ("BMP", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"})):
            buffer = BytesIO()
            with suppress(OSError, KeyError):  # not every format takes every mode
                Image.new(mode, (9, 7)).save(buffer, kind, **options)
                made.append(buffer.getvalue())
    return made


def stored_image(data: bytes) -> None:
    """A file of the image store, whatever it holds."""
    from cameras.frame import PixelFormat
    from inspection.errors import StationError
    from inspection.images import decode_frame
    from inspection.rendering import decode_map, view

    for pixel_format in (PixelFormat.Mono8, PixelFormat.BayerRG12, PixelFormat.RGB8, PixelFormat.RGBa8):
        with suppress(StationError):
            view(decode_frame(data, pixel_format), pixel_format)
    with suppress(StationError):
        decode_map(data)


def _stored_seeds() -> list[bytes]:
    from inspection.png import encode_png

    shapes = ((7, 9), (7, 9, 3), (7, 9, 4))
    return [encode_png(np.zeros(shape, kind)) for shape in shapes for kind in (np.uint8, np.uint16)]


@cache
def _model() -> tuple[Path, dict[str, bytes]]:
    """An artifact that can be read, and the files of its network."""
    sys.path.insert(0, str(TOP / "tests" / "support"))
    from small_models import network, small_model

    files = network(0)
    return small_model(folder() / "models", files=files), files


def manifest(data: bytes) -> None:
    """The manifest of a model's directory that somebody brings."""
    from inspection.artifact import MANIFEST, read_artifact
    from inspection.errors import ModelError

    _, files = _model()
    brought = folder() / "brought"
    if not brought.is_dir():
        brought.mkdir()
        for name, content in files.items():
            (brought / name).write_bytes(content)
    (brought / MANIFEST).write_bytes(data)
    with suppress(ModelError):
        assert dict(read_artifact(brought).files) == files


def _manifest_seeds() -> list[bytes]:
    from inspection.artifact import MANIFEST

    return [(_model()[0] / MANIFEST).read_bytes(), b"[" * 50_000]


def network(data: bytes) -> None:
    """The network of a model whose hash fits: a file that was made to do harm."""
    from inspection.artifact import NETWORK, WEIGHTS
    from inspection.detector import CompiledNetwork
    from inspection.errors import ModelError

    with suppress(ModelError):
        CompiledNetwork({NETWORK: data, WEIGHTS: _model()[1][WEIGHTS]}, "f32", 1)


def _network_seeds() -> list[bytes]:
    from inspection.artifact import NETWORK

    return [_model()[1][NETWORK]]


def configuration(data: bytes) -> None:
    """The text of a configuration file, also as it is checked and edited on the page."""
    from inspection.config import parse
    from inspection.config_changes import check, edited
    from inspection.errors import ConfigError, NotFound

    text, path = data.decode("utf-8", "replace"), Path("/station.toml")
    with suppress(ConfigError):
        parse(text, path)
    check(text, text, path)
    with suppress(ConfigError, NotFound):
        edited(text, "line", None, {"max_open": 7})


def _configuration_seeds() -> list[bytes]:
    shipped = (TOP / "deploy" / "station.toml").read_text(encoding="utf-8")
    plain = "\n".join(line for line in shipped.splitlines() if line and not line.startswith("#"))
    whole = re.sub(r"(?m)^# (?=\[|\w+ = |# )", "", shipped)
    return [plain.encode(), whole.encode(), b"a.b.c = [{d = 1979-05-27T07:32:00Z}]", b"line = 1", b"a = " + b"[" * 9_000]


def cursor(data: bytes) -> None:
    """Where a paged list goes on, as a client sends it."""
    from inspection.errors import BadCursor
    from inspection.records.cursors import decode_cursor, encode_cursor

    text = data.decode("utf-8", "surrogateescape")
    with suppress(BadCursor):
        assert encode_cursor("lots", decode_cursor("lots", text)) == text


def _cursor_seeds() -> list[bytes]:
    from inspection.records.cursors import encode_cursor

    return [encode_cursor("lots", "2026-01-01T00:00:00|7").encode(), b"AAAA"]


def state_files(data: bytes) -> None:
    """Files of the station's own, which a power cut may have left in any state."""
    from inspection.config_history import versions
    from inspection.errors import ConfigError
    from inspection.mes.mqtt import _read_bd_seq
    from inspection.mes.outbox import Positions
    from inspection.opcua.health import troubles
    from inspection.opcua.security import Users
    from inspection.records.audit import read_head
    from inspection.secrets import read_secret
    from inspection.web.health import read_status

    file, history = folder() / "state.json", folder() / "history"
    file.touch(0o600)
    file.write_bytes(data)
    head = read_head(file)
    assert head is None or len(head[1]) == 64
    Positions(file)
    _read_bd_seq(file)
    troubles(file, ["line"])
    read_status(file)
    for read in (lambda: read_secret(file), lambda: Users(file)._read()):
        with suppress(ConfigError):
            read()
    history.mkdir(exist_ok=True)
    (history / "000001.toml").write_text("[line]\n")
    (history / "000001.json").write_bytes(data)
    assert len(versions(history)) == 1


def _state_seeds() -> list[bytes]:
    beat = {"at": 1.0, "state": "well", "ok": True, "counters": {"a": 1.0}}
    user = {"n": 16_384, "r": 8, "p": 1, "salt": "00" * 16, "hash": "00" * 32}
    documents = (
        {"processes": {"line": beat}},
        {"inspections": 7, "labels": 1},
        {"mes": user},
        {"at": "2026-01-01T00:00:00+00:00", "by": "ada", "reason": "x"},
    )
    return [f"{7:020d} {'a' * 64}\n".encode(), b"12\n", b"[" * 50_000, *(json.dumps(each).encode() for each in documents)]


def simulator(data: bytes) -> None:
    """The control file of a simulated camera."""
    from cameras.errors import CameraError
    from cameras.simulator.control import SimulatedCamera

    home = folder() / "simulator"
    if not home.is_dir():
        SimulatedCamera.create(home, "S", 8, 8).close()
    (home / "S" / "control").write_bytes(data)
    with suppress(CameraError):
        SimulatedCamera.attach(home, "S").close()


def _simulator_seeds() -> list[bytes]:
    from cameras.simulator.control import SimulatedCamera

    home = folder() / "seed"
    if not home.is_dir():
        SimulatedCamera.create(home, "S", 8, 8).close()
    whole = (home / "S" / "control").read_bytes()
    return [whole[:4096], whole, b""]


def trace(data: bytes) -> None:
    """What the audit trail keeps of a body: no database refuses it, and no password is in it."""
    from inspection.records.audit import MAX_DETAIL, append
    from inspection.web.identity import Caller
    from inspection.web.trail import trace_of

    caller = Caller("192.0.2.7", False, True, False, None, None, None)
    made = trace_of(caller, "POST", "/api/v1/lots", {"lot": data[:20].decode("latin-1")}, data)
    with database("trace").begin() as connection:
        assert len(append(connection, made, "201").detail) <= MAX_DETAIL


def _trace_seeds() -> list[bytes]:
    return [
        b'{"lot":"L","by":"ada","x":[{"password":"hunter2"}]}',
        b'{"by":"\\ud800","lot":"a\\u0000b"}',
        b"[" * 50_000 + b"1e999",
    ]


HARNESSES = {
    "image_file": Harness(image_file, _image_seeds),
    "stored_image": Harness(stored_image, _stored_seeds),
    "manifest": Harness(manifest, _manifest_seeds),
    "network": Harness(network, _network_seeds, slow=True),
    "configuration": Harness(configuration, _configuration_seeds, slow=True),
    "cursor": Harness(cursor, _cursor_seeds),
    "state_files": Harness(state_files, _state_seeds),
    "simulator": Harness(simulator, _simulator_seeds),
    "trace": Harness(trace, _trace_seeds, slow=True),
}
