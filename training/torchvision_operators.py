"""Makes torchvision importable where its compiled operators do not fit the installed torch.

With a CPU build of torch, the torchvision wheel from the package index cannot load its operators, and its import then
fails with ``operator torchvision::nms does not exist`` because it registers Python kernels for them. Nothing here runs
these operators (they belong to object detection), so declaring their schemas is enough. Call ``declare_missing()``
before the first import of torchvision or anomalib.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_declared: list[torch.library.Library] = []  # the schemas live as long as this object


def declare_missing() -> bool:
    """Declare the schemas if torchvision's operators cannot be loaded; True if they had to be declared."""
    if _declared:
        return True
    if _operators_load():
        return False
    library = torch.library.Library("torchvision", "DEF")
    for schema in _SCHEMAS:
        library.define(schema)
    _declared.append(library)
    return True


def _operators_load() -> bool:
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("torchvision is not installed; install the station's dependencies again")
    for compiled in Path(spec.origin).parent.glob("_C*.so"):
        try:
            torch.ops.load_library(str(compiled))
        except OSError:
            return False
        return True
    return False
