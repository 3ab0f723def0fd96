"""Images of rejects with the heat map of their anomalies, as far as the image store still has them."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

from reportlab.lib.units import mm
from reportlab.platypus import Flowable, Image, Paragraph, Table

from inspection import rendering
from inspection.errors import StationError
from inspection.images import ImageStore
from inspection.mes.paper.layout import RULE, SMALL, WIDTH, small, style
from inspection.mes.paper.lettering import lettered
from inspection.records.lot_figures import Sample

_IN_A_ROW = 3
_SIZE = (54 * mm, 42 * mm)
_CAPTION = style("caption", fontSize=7, leading=9, wordWrap="CJK", spaceBefore=2)


def pictures(samples: Sequence[Sample], images: ImageStore) -> Iterator[Flowable]:
    """Rows of images with their captions; where an image is gone or altered, its place says so."""
    cells = [_sample(sample, images) for sample in samples]
    for start in range(0, len(cells), _IN_A_ROW):
        row = cells[start : start + _IN_A_ROW]
        table = Table([row + [""] * (_IN_A_ROW - len(row))], [WIDTH / _IN_A_ROW] * _IN_A_ROW)
        padding = [(f"{side}PADDING", (0, 0), (-1, -1), 0) for side in ("LEFT", "RIGHT", "TOP")]
        table.setStyle([("VALIGN", (0, 0), (-1, -1), "TOP"), *padding])
        yield table
    yield small("Colour marks where the model found the part strange: amber at the fail threshold, red beyond it.")


def _sample(sample: Sample, images: ImageStore) -> list[Flowable]:
    found = f"labelled {sample.label}" if sample.label else f"proposed {sample.proposed_class}" if sample.proposed_class else ""
    caption = (
        f"<b>{lettered(sample.serial)}</b> · inspection {sample.seq}<br/>{sample.verdict}, score {sample.score:.4g}, "
        f"fail from {sample.fail_threshold:.4g}<br/>{lettered(found)}{'<br/>' if found else ''}frame {sample.frame_sha256[:16]}…"
    )
    try:
        picture: Flowable = _picture(sample, images)
    except StationError as error:
        picture = Table([[Paragraph(lettered(str(error)), SMALL)]], [_SIZE[0]], [_SIZE[1]])
        picture.setStyle([("BOX", (0, 0), (-1, -1), 0.5, RULE), ("VALIGN", (0, 0), (-1, -1), "MIDDLE")])
        picture.hAlign = "LEFT"
    return [picture, Paragraph(caption, _CAPTION)]


def _picture(sample: Sample, images: ImageStore) -> Image:
    frame = images.frame(sample.frame_sha256, sample.pixel_format)
    pixels = rendering.thumbnail(rendering.view(frame.pixels, frame.pixel_format))
    height, width = pixels.shape[:2]
    if sample.map_sha256 is not None:
        heat = rendering.heat_map(rendering.decode_map(images.read(sample.map_sha256)), width, height)
        pixels = rendering.overlay(pixels, heat)
    scale = min(_SIZE[0] / width, _SIZE[1] / height)
    return Image(io.BytesIO(rendering.jpeg(pixels)), width * scale, height * scale, hAlign="LEFT")
