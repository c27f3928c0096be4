"""A trained network with its preprocessing as an ONNX graph.

    images [n, H, W, 3] ── resize ── pixels ── normalise ── describe ── features [n, d]
    uint8, RGB            as Pillow            ImageNet     one stream   unit rows

The two halves are made apart: the first is written by hand, the second traced, and quantised alone
where it is quantised.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vireid.data.transforms import normalise
from vireid.errors import ExportError
from vireid.export.resize import PIXELS, resize_graph
from vireid.features.optional_packages import package, quiet
from vireid.features.runtimes import OUTPUT
from vireid.methods import Method
from vireid.types import Modality

__all__ = ["NetworkPath", "network_graph", "resizing_of", "with_resizing"]


class NetworkPath(nn.Module):
    """From resized images of one modality to their features.

    Args:
        network: The network, in evaluation mode.
        modality: Whose path it is.
    """

    def __init__(self, network: Method, modality: Modality) -> None:
        super().__init__()
        self.network = network
        self.modality = modality

    def forward(self, pixels: Tensor) -> Tensor:
        """Describe images.

        Args:
            pixels: RGB, whole numbers from 0 to 255, float32 ``[n, 3, h, w]``.

        Returns:
            Unit rows, float32 ``[n, d]``.
        """
        return self.network.extract_features(normalise(pixels), self.modality).float()


def network_graph(path: nn.Module, size: tuple[int, int], *, name: str) -> Any:
    """A network as an ONNX graph that takes any number of resized images.

    Args:
        path: Takes images as :class:`NetworkPath`; in evaluation mode, on the CPU.
        size: Height and width of the images, in pixels.
        name: What it is called, for messages.

    Returns:
        An ``onnx.ModelProto``.

    Raises:
        ExportError: The network does something that has no form in ONNX.
    """
    package("onnxscript")
    # Not one image: torch would take the one for a constant.
    example = torch.zeros(2, 3, *size)
    try:
        with quiet(), torch.no_grad():
            program = torch.onnx.export(
                path,
                (example,),
                input_names=[PIXELS],
                output_names=[OUTPUT],
                dynamic_shapes=({0: torch.export.Dim("n")},),
                dynamo=True,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise ExportError(
            f"{name} has no form in ONNX ({reason}); expected a network that torch.export can"
            " trace."
        ) from error
    assert program is not None
    return program.model_proto


def resizing_of(network: Any, size: tuple[int, int]) -> Any:
    """The graph that resizes for a network, in the versions of ONNX that the network has.

    Args:
        network: The graph of a network, an ``onnx.ModelProto``.
        size: Height and width of the images that it takes, in pixels.
    """
    [opset] = [used.version for used in network.opset_import if used.domain == ""]
    return resize_graph(size, opset=opset, ir_version=network.ir_version)


def with_resizing(network: Any, size: tuple[int, int]) -> Any:
    """A graph that takes decoded images of any size.

    Args:
        network: The graph of a network, an ``onnx.ModelProto``; left as it is.
        size: Height and width of the images that it takes, in pixels.

    Returns:
        An ``onnx.ModelProto``.
    """
    compose = package("onnx.compose")
    first = compose.add_prefix(
        resizing_of(network, size), "resize/", rename_inputs=False, rename_outputs=False
    )
    return compose.merge_models(first, network, io_map=[(PIXELS, PIXELS)])
