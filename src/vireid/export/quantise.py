"""Networks in 8-bit integers, by NNCF's post-training quantisation.

Each modality's network is calibrated with images of its own modality. Quantised is what takes the
time: all convolutions but the first, and the operations between them. docs/export.md has the
measurements behind these choices:

- Resizing, normalisation and the first convolution stay in float32. Pixels minus their mean do
  not fall on 8-bit steps with a zero, and that rounding affects the whole network.
- Everything after the last convolution stays in float32: pooling, embeddings, their batch norm
  and the norm of a feature. It is little work, and a norm rounded separately from what it divides
  gives features that are not of unit norm. The product of PALM's attention stays in float32 too.
- A feature map has one range for all channels, even before a depthwise convolution, where NNCF
  would use one per channel: a channel that the calibration images hardly activate would get almost
  no range, and be clipped in images that do activate it.
- Weights use all 8 bits. Processors that add pairs of products in 16 bits would need 7, at a loss
  on all others: see :func:`~vireid.features.runtimes.supports_int8`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vireid.export.resize import PIXELS
from vireid.log import log
from vireid.optional_packages import package, quiet

__all__ = ["float32_operations", "quantise"]

_CONVOLUTIONS = ("Conv", "Convolution", "GroupConvolution")
"""The type in ONNX, and both types in OpenVINO."""
_ATTENTION = ("MatMul", "ScaledDotProductAttention")
"""onnxruntime has no 8-bit product of two batched inputs either."""


def quantise(network: Any, pixels: Sequence[NDArray[np.float32]]) -> Any:
    """Quantise a network to 8-bit integers.

    Args:
        network: An ``openvino.Model`` or ``onnx.ModelProto`` that takes resized images.
        pixels: The calibration images: integers from 0 to 255, ``[1, 3, h, w]`` each.

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
        # NNCF 3.4 cannot split some residual networks in ONNX into parts.
        log(
            "NNCF cannot correct the biases of this network layer by layer"
            f" ({str(error).splitlines()[0]}); each is corrected separately, less accurately."
        )
        return _quantised(network, pixels, fast=True)


def _quantised(network: Any, pixels: Sequence[NDArray[np.float32]], *, fast: bool) -> Any:
    nncf = package("nncf")
    advanced = package("nncf.quantization.advanced_parameters")
    with quiet():
        return nncf.quantize(
            network,
            nncf.Dataset(pixels, lambda image: {PIXELS: image}),
            # Weights symmetric, activations asymmetric: after a ReLU none is negative.
            preset=nncf.QuantizationPreset.MIXED,
            target_device=nncf.TargetDevice.CPU,
            subset_size=len(pixels),
            # Layer by layer, the preceding ones quantised; the fast way treats each separately.
            # It takes longer, and improves the features more than any other step.
            fast_bias_correction=fast,
            ignored_scope=nncf.IgnoredScope(names=float32_operations(network)),
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                overflow_fix=nncf.OverflowFix.DISABLE,
                activations_quantization_params=advanced.QuantizationParameters(per_channel=False),
                # The range of a map over all calibration images. NNCF would take the mean of the
                # images' ranges, which clips values that are large in a few of them.
                activations_range_estimator_params=(
                    package("nncf.quantization.range_estimator").RangeEstimatorParametersSet.MINMAX
                ),
            ),
        )


def float32_operations(network: Any) -> list[str]:
    """Name the operations that stay in float32.

    These are the operations up to and including the first convolution, those after every last
    one, and attention.

    Args:
        network: An ``openvino.Model`` or ``onnx.ModelProto``. OpenVINO generates names whenever it
            reads a file: they are valid for this object only.

    Returns:
        Their names.
    """
    operations = list(_of_openvino(network) if hasattr(network, "get_ops") else _of_onnx(network))
    convolutions = {each.name for each in operations if each.kind in _CONVOLUTIONS}
    # Those with a convolution somewhere before them, and those with one somewhere after them.
    after_one: set[str] = set()
    for operation in operations:
        if operation.inputs & (after_one | convolutions):
            after_one.add(operation.name)
    before_one: set[str] = set()
    for operation in reversed(operations):
        if operation.name in convolutions | before_one:
            before_one |= operation.inputs
    return [
        operation.name
        for operation in operations
        if operation.name not in after_one
        or operation.name not in before_one | convolutions
        or operation.kind in _ATTENTION
    ]


class _Operation(NamedTuple):
    name: str
    kind: str
    inputs: set[str]
    """Names of the operations that produce its inputs."""


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
    # ONNX lists nodes in topological order.
    for node in network.graph.node:
        inputs = {made_by[name] for name in node.input if name in made_by}
        yield _Operation(node.name, node.op_type, inputs)
