"""Networks in 8-bit integers, by NNCF's post-training quantisation.

Each modality's network is quantised with images of its own modality. What is quantised is what
takes the time: all convolutions but the first, and what stands between them. docs/export.md has the
figures of what follows:

- Resizing, normalisation and the first convolution stay in float32. Pixels without their mean do
  not fall on 8-bit steps that also have a zero, and the whole network sees that rounding.
- Everything behind the last convolution stays in float32: pooling, embeddings, their batch norm
  and the norms of a feature. It is little work, and a norm rounded apart from what it divides
  leaves rows that are no unit rows. So does the product of PALM's attention.
- A map has one range for all its channels, also before a depthwise convolution, where NNCF would
  give each channel its own: a channel that the calibration images hardly use would have next to
  none, and be cut off in the image of a person who does use it.
- Weights have all 8 bits. Processors that add pairs of products in 16 bits would need 7, at a loss
  on all others: see :func:`~vireid.features.runtimes.supports_int8`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vireid.export.resize import PIXELS
from vireid.features.optional_packages import package, quiet
from vireid.log import log

__all__ = ["outside", "quantised"]

_CONVOLUTIONS = ("Conv", "Convolution", "GroupConvolution")
"""In ONNX, and both in OpenVINO."""
_ATTENTION = ("MatMul", "ScaledDotProductAttention")
"""onnxruntime has no 8-bit product for a batch of weights either."""


def quantised(network: Any, pixels: Sequence[NDArray[np.float32]]) -> Any:
    """A network in 8-bit integers.

    Args:
        network: An ``openvino.Model`` or ``onnx.ModelProto`` that takes resized images.
        pixels: The images to calibrate with: whole numbers from 0 to 255, ``[1, 3, h, w]`` each.

    Returns:
        The same kind of model.
    """
    try:
        return _quantised(
            network.clone() if hasattr(network, "clone") else copy.deepcopy(network),
            pixels,
            fast=False,
        )
    except RuntimeError as error:
        # NNCF 3.4 cannot cut some residual networks into parts where they are ONNX.
        log(
            "NNCF cannot correct the biases of this network layer by layer"
            f" ({str(error).splitlines()[0]}); each is corrected by itself, which is coarser."
        )
        return _quantised(network, pixels, fast=True)


def _quantised(network: Any, pixels: Sequence[NDArray[np.float32]], *, fast: bool) -> Any:
    nncf = package("nncf")
    advanced = package("nncf.quantization.advanced_parameters")
    with quiet():
        return nncf.quantize(
            network,
            nncf.Dataset(pixels, lambda image: {PIXELS: image}),
            # Weights symmetric, activations not: those behind a ReLU have no negative half.
            preset=nncf.QuantizationPreset.MIXED,
            target_device=nncf.TargetDevice.CPU,
            subset_size=len(pixels),
            # Layer by layer, with those before it quantised; the fast way takes each by itself.
            # It is slower to make, and the step that brings features nearest to float32's.
            fast_bias_correction=fast,
            ignored_scope=nncf.IgnoredScope(names=outside(network)),
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                overflow_fix=nncf.OverflowFix.DISABLE,
                activations_quantization_params=advanced.QuantizationParameters(per_channel=False),
                # The range of a map is all that calibration has seen. NNCF would take the mean
                # of the images' ranges, which cuts off what is large in few of them.
                activations_range_estimator_params=(
                    package("nncf.quantization.range_estimator").RangeEstimatorParametersSet.MINMAX
                ),
            ),
        )


def outside(network: Any) -> list[str]:
    """What stays in float32.

    Operations up to the first convolution, with it, and those behind every last one; and attention.

    Args:
        network: An ``openvino.Model`` or ``onnx.ModelProto``. OpenVINO makes names anew whenever it
            reads a file: they are those of this model alone.

    Returns:
        Their names.
    """
    operations = list(_of_openvino(network) if hasattr(network, "get_ops") else _of_onnx(network))
    convolutions = {each.name for each in operations if each.kind in _CONVOLUTIONS}
    # Those with a convolution somewhere before them, and those with one somewhere behind.
    behind_one: set[str] = set()
    for operation in operations:
        if operation.inputs & (behind_one | convolutions):
            behind_one.add(operation.name)
    before_one: set[str] = set()
    for operation in reversed(operations):
        if operation.name in convolutions | before_one:
            before_one |= operation.inputs
    return [
        operation.name
        for operation in operations
        if operation.name not in behind_one
        or operation.name not in before_one | convolutions
        or operation.kind in _ATTENTION
    ]


class _Operation(NamedTuple):
    name: str
    kind: str
    inputs: set[str]
    """Names of the operations that it reads."""


def _of_openvino(network: Any) -> Iterator[_Operation]:
    for operation in network.get_ordered_ops():
        if operation.get_type_name() not in ("Constant", "Parameter", "Result"):
            yield _Operation(
                operation.get_friendly_name(),
                operation.get_type_name(),
                {value.get_node().get_friendly_name() for value in operation.input_values()},
            )


def _of_onnx(network: Any) -> Iterator[_Operation]:
    made_by = {output: node.name for node in network.graph.node for output in node.output}
    # ONNX demands that a node stands behind those that it reads.
    for node in network.graph.node:
        inputs = {made_by[name] for name in node.input if name in made_by}
        yield _Operation(node.name, node.op_type, inputs)
