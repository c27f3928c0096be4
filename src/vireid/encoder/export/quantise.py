"""Networks in 8-bit integers, by NNCF's post-training quantisation.

Each modality's network is quantised with images of its own modality. Resizing stands before it and
stays in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vireid.encoder.export.resize import PIXELS
from vireid.encoder.packages import package, quiet

__all__ = ["quantised"]


def quantised(network: Any, pixels: Sequence[NDArray[np.float32]]) -> Any:
    """A network in 8-bit integers.

    Args:
        network: An ``openvino.Model`` or ``onnx.ModelProto`` that takes resized images.
        pixels: The images to calibrate with: whole numbers from 0 to 255, ``[1, 3, h, w]`` each.

    Returns:
        The same kind of model.
    """
    nncf = package("nncf")
    with quiet():
        return nncf.quantize(
            network,
            nncf.Dataset(pixels, lambda image: {PIXELS: image}),
            # Weights symmetric, activations not: those behind a ReLU have no negative half.
            preset=nncf.QuantizationPreset.MIXED,
            target_device=nncf.TargetDevice.CPU,
            subset_size=len(pixels),
            # What stripes and attention multiply stays in float32: it is little, and onnxruntime
            # has no 8-bit product for a batch of weights.
            ignored_scope=nncf.IgnoredScope(types=["MatMul"], validate=False),
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                # Seven bits for weights: processors without VNNI add pairs of products in 16 bits.
                overflow_fix=nncf.OverflowFix.ENABLE,
            ),
        )
