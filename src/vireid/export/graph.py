"""A trained network with its preprocessing as an ONNX graph.

    images [n, H, W, 3] ── resize ── pixels ── normalise ── extract ─── features [n, d]
    uint8, RGB            as Pillow            ImageNet     one stream   unit rows

The first half, resizing, is written by hand; the second is traced, and is what int8 quantises.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vireid.data.transforms import normalise
from vireid.errors import ExportError
from vireid.export.resize import PIXELS, resize_graph
from vireid.features.runtimes import OUTPUT
from vireid.methods import Method
from vireid.optional_packages import package, quiet
from vireid.types import Modality

__all__ = ["NetworkPath", "network_graph", "resizing_of", "with_resizing"]


class NetworkPath(nn.Module):
    """From resized images of one modality to their features.

    Args:
        network: The network, in evaluation mode.
        modality: The modality of the images.
    """

    def __init__(self, network: Method, modality: Modality) -> None:
        super().__init__()
        self.network = network
        self.modality = modality

    def forward(self, pixels: Tensor) -> Tensor:
        """Extract features.

        Args:
            pixels: RGB, integers from 0 to 255, float32 ``[n, 3, h, w]``.

        Returns:
            Unit-norm features, float32 ``[n, d]``.
        """
        return self.network.extract_features(normalise(pixels), self.modality).float()


def network_graph(path: nn.Module, size: tuple[int, int], *, name: str) -> Any:
    """Trace a network as an ONNX graph for any number of resized images.

    Args:
        path: A module like :class:`NetworkPath`, in evaluation mode, on the CPU.
        size: Height and width of the images, in pixels.
        name: Its name, for messages.

    Returns:
        An ``onnx.ModelProto``.

    Raises:
        ExportError: The network cannot be expressed in ONNX.
    """
    package("onnxscript")
    # Two images: torch would treat a batch size of one as a constant.
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
            f"{name} cannot be expressed in ONNX ({reason}); expected a network that torch.export"
            " can trace; change its forward pass."
        ) from error
    assert program is not None
    return program.model_proto


def resizing_of(network: Any, size: tuple[int, int]) -> Any:
    """The resizing graph for a network, in the ONNX versions of the network.

    Args:
        network: The graph of a network, an ``onnx.ModelProto``.
        size: Height and width of its input images, in pixels.
    """
    [opset] = [used.version for used in network.opset_import if used.domain == ""]
    return resize_graph(size, opset=opset, ir_version=network.ir_version)


def with_resizing(network: Any, size: tuple[int, int]) -> Any:
    """Prepend resizing to a network, so that it takes decoded images of any size.

    Args:
        network: The graph of a network, an ``onnx.ModelProto``; it is not changed.
        size: Height and width of its input images, in pixels.

    Returns:
        An ``onnx.ModelProto``.
    """
    compose = package("onnx.compose")
    first = compose.add_prefix(
        resizing_of(network, size), "resize/", rename_inputs=False, rename_outputs=False
    )
    return compose.merge_models(first, network, io_map=[(PIXELS, PIXELS)])
