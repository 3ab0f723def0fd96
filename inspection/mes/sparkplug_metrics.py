"""Events as Sparkplug metrics: one device per stream, one DDATA per event, all its fields in it.

A device per stream rather than per camera: a device's metrics must all be named in its birth, and what can be said of an
inspection, a label and a lot differs, while it is the same for all cameras; labels and lots belong to no camera. The camera
is a metric.

Metrics carry their names and datatypes in every message, and no aliases: whoever reads one DDATA alone understands it, as an
MES that began to listen later. Sparkplug 3.0.0 allows both (6.4.6: names unless aliases are used; a datatype in DDATA "should
not" be there, which saves two bytes). Unchanged fields are repeated for the same reason: an event is one message, not
a difference from another.
"""

from __future__ import annotations

import json
import logging
from datetime import datetime
from typing import Any

from inspection.mes.receiver import Event, Stream
from inspection.mes.sparkplug import Datatype, Metric, Value, fits, milliseconds

log = logging.getLogger(__name__)

EVENT_ID, DATA = "event_id", "data"

_ENVELOPE = {EVENT_ID: Datatype.STRING, DATA: Datatype.STRING}
METRICS: dict[Stream, dict[str, Datatype]] = {
    Stream.INSPECTIONS: {
        "seq": Datatype.INT64,
        "trigger_id": Datatype.INT64,
        "lot": Datatype.STRING,
        "serial": Datatype.STRING,
        "attempt": Datatype.INT32,
        "product": Datatype.STRING,
        "camera": Datatype.STRING,
        "verdict": Datatype.STRING,
        "reason": Datatype.STRING,
        "score": Datatype.DOUBLE,
        "review_threshold": Datatype.DOUBLE,
        "fail_threshold": Datatype.DOUBLE,
        "model": Datatype.STRING,
        "proposed_class": Datatype.STRING,
        "output": Datatype.STRING,
        "triggered_at": Datatype.DATE_TIME,
        "decided_at": Datatype.DATE_TIME,
        "recorded_at": Datatype.DATE_TIME,
        **_ENVELOPE,
    },
    Stream.LABELS: {
        "label_id": Datatype.INT64,
        "seq": Datatype.INT64,
        "label": Datatype.STRING,
        "labelled_by": Datatype.STRING,
        "labelled_at": Datatype.DATE_TIME,
        "reason": Datatype.STRING,
        **_ENVELOPE,
    },
    Stream.LOT_EVENTS: {
        "lot": Datatype.STRING,
        "product": Datatype.STRING,
        "what": Datatype.STRING,
        "at": Datatype.DATE_TIME,
        **_ENVELOPE,
    },
}
"""The metrics of each device. ``data`` is the whole event as JSON: regions, images, and what later versions add."""


def event_metrics(event: Event, is_historical: bool) -> tuple[Metric, ...]:
    """The event's metrics in the order of METRICS, all of the time when it was recorded."""
    at = milliseconds(event.at)
    data = json.dumps(event.data, ensure_ascii=False, separators=(",", ":"))
    values = {**event.data, EVENT_ID: event.event_id, DATA: data}
    return tuple(
        Metric(name, datatype, _value(event, name, datatype, values.get(name)), at, is_historical=is_historical)
        for name, datatype in METRICS[event.stream].items()
    )


def unknown_metrics(stream: Stream, at: int) -> tuple[Metric, ...]:
    """What a birth says of a device of which nothing was sent yet: null, of the time ``at`` in milliseconds."""
    return tuple(Metric(name, datatype, None, at) for name, datatype in METRICS[stream].items())


def _value(event: Event, name: str, datatype: Datatype, found: Any) -> Value:
    """What the metric can say. What it cannot is null there, logged, and still in ``data``: one field holds up no event."""
    value = _time(found) if datatype is Datatype.DATE_TIME and isinstance(found, str) else found
    if fits(value, datatype):
        fitting: Value = value
        return fitting
    log.warning("%s: metric %s is null, because %r is no %s", event.event_id, name, found, datatype.name)
    return None


def _time(text: str) -> Value:
    """Milliseconds, or the text itself if it is no time with a zone."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return text
    return text if time.tzinfo is None else milliseconds(time)
