"""Trained network → OpenVINO files, and the check that they give the scores of the trained network."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from inspection.artifact import NETWORK, WEIGHTS, Parity, Precision
from inspection.detector import CompiledNetwork, computing_threads
from training.errors import ParityError
from training.network import PatchFeatures

# inspection.detector, imported above, keeps openvino from reporting its use to the internet.
import openvino as ov  # isort: skip

TOLERANCE: dict[Precision, float] = {"f32": 1e-3, "bf16": 3e-2}
"""Largest accepted relative difference of a score. bf16 keeps 8 significant bits through some forty layers."""


class CompiledFeatures:
    """The feature network, without bank, compiled by OpenVINO for one image size and each of these precisions."""

    def __init__(self, features: PatchFeatures, width: int, height: int, precisions: Sequence[Precision]) -> None:
        model, core = _convert(features, width, height, ("features",)), ov.Core()
        self._requests = {
            precision: core.compile_model(
                model, "CPU", {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": computing_threads()}
            ).create_infer_request()
            for precision in precisions
        }

    def __call__(self, image: NDArray[np.float32]) -> dict[Precision, torch.Tensor]:
        """Features, float16 (rows, columns, d), of a network input, float32 (1, 3, height, width), by precision."""
        return {
            precision: torch.from_numpy(request.infer({"image": image})["features"][0].astype(np.float16))
            for precision, request in self._requests.items()
        }


def export(network: nn.Module, width: int, height: int) -> dict[str, bytes]:
    """The network as OpenVINO IR for one image of this size: input ``image``, outputs ``anomaly_map``, ``score`` and, if it has a
    third one, ``class_likeness``.

    The same network gives the same bytes. Weights stay in f32: the precision of inference is the processor's.
    """
    model = _convert(network, width, height, ("anomaly_map", "score", "class_likeness"))
    # The converter numbers layers through the life of the process.
    model.set_friendly_name("patchcore")
    for number, operation in enumerate(model.get_ordered_ops()):
        operation.set_friendly_name(f"{operation.get_type_name()}_{number}")
    with tempfile.TemporaryDirectory() as folder:
        xml = Path(folder) / NETWORK
        ov.save_model(model, xml, compress_to_fp16=False)
        return {NETWORK: xml.read_bytes(), WEIGHTS: xml.with_name(WEIGHTS).read_bytes()}


def _convert(network: nn.Module, width: int, height: int, outputs: tuple[str, ...]) -> ov.Model:
    with warnings.catch_warnings(), torch.inference_mode():
        # Tracing warns about Python numbers taken from shapes; the shapes are fixed.
        warnings.simplefilter("ignore")
        shape = [1, 3, height, width]
        # torch would trace once more to compare; ``check_parity`` compares what is exported.
        traced = torch.jit.trace(network.eval(), torch.zeros(shape), strict=False, check_trace=False)
        model = ov.convert_model(traced, input=shape)
    model.inputs[0].get_tensor().set_names({"image"})
    for output, name in zip(model.outputs, outputs, strict=False):
        output.get_tensor().set_names({name})
    return model


def check_parity(
    network: nn.Module, files: Mapping[str, bytes], precision: Precision, inputs: Sequence[NDArray[np.float32]]
) -> Parity:
    """Compare scores of the exported and the trained network on the same inputs, float32 (1, 3, height, width) each.

    Raises ParityError if one differs by more than the tolerance of the processor's precision.
    """
    with torch.inference_mode():
        trained = np.array([network(torch.from_numpy(tensor))[1].item() for tensor in inputs])
    exported = CompiledNetwork(files, precision)
    inferred = np.array([exported.infer(tensor)[0] for tensor in inputs])
    tolerance = TOLERANCE[precision]
    difference = float(np.max(np.abs(inferred - trained) / trained))
    if not difference <= tolerance:
        raise ParityError(
            f"the exported network's scores differ from the trained one's by up to {difference:.2%}, at most "
            f"{tolerance:.2%} is accepted in {precision}; the model is not stored, report the versions of torch "
            f"({torch.__version__}) and openvino ({ov.get_version()})"
        )
    return Parity(
        images=len(inputs),
        precision=precision,
        max_relative_difference=difference,
        rank_correlation=_rank_correlation(trained, inferred),
        tolerance=tolerance,
    )


def _rank_correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    return float(np.corrcoef(first.argsort().argsort(), second.argsort().argsort())[0, 1]) if len(first) > 1 else 1.0
