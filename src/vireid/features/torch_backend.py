"""Feature backends: the interface, and a trained network in PyTorch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vireid.data.pixels import denormalise
from vireid.data.transforms import normalise
from vireid.distributed.comm import local_device
from vireid.methods import Method
from vireid.nn import PALM, fold_batch_norms, record_attention, use_fast_convolutions
from vireid.nn.weights import fingerprint
from vireid.runs import Device, Precision
from vireid.types import Modality

__all__ = ["FeatureBackend", "TorchBackend"]


Pixels: TypeAlias = NDArray[np.uint8]
"""An image, uint8 ``[H, W, 3]``."""


class FeatureBackend(ABC):
    """A model ready for inference; an image's feature depends on that image alone.

    Attributes:
        size: Height and width of its input images, in pixels.
        fingerprint: Short hash of its weights.
        attends: Whether it has attention maps.
        about: Description of a plugin's model as text by name, for results.
    """

    size: tuple[int, int]
    fingerprint: str
    attends: bool = False
    about: Mapping[str, str] = MappingProxyType({})

    @abstractmethod
    def extract_features(self, images: Tensor, modality: Modality) -> Tensor:
        """Extract the features of images of one modality in one forward pass.

        Args:
            images: uint8 ``[n, 3, H, W]`` of the network's ``size``.
            modality: The modality; it selects the stream.

        Returns:
            Unit rows, float32 ``[n, d]``, on the CPU.
        """

    def attention(self, image: Tensor, modality: Modality) -> list[NDArray[np.float32]]:
        """The attention maps of an image; empty if the model has none.

        Args:
            image: uint8 ``[1, 3, H, W]`` of the network's ``size``.
            modality: The modality; it selects the stream.

        Returns:
            float32 ``[N, N]`` for each PALM, over the N positions of its map, row-major.
        """
        del image, modality
        return []

    def translate(self, image: Tensor, modality: Modality) -> tuple[Pixels, Pixels, Pixels] | None:
        """An image in the other modality; None if the model does not translate.

        Args:
            image: uint8 ``[1, 3, H, W]`` of the network's ``size``.
            modality: The modality of the image.

        Returns:
            The image as the network gets it, its translation, and that translated back.
        """
        del image, modality
        return None


class TorchBackend(FeatureBackend):
    """A PyTorch network in evaluation mode.

    Args:
        network: The trained network; it is moved to the device, and its batch norms are folded
            into its convolutions.
        device: The device.
        precision: The precision of the forward pass.

    Raises:
        ConfigError: If there is no such device.

    Attributes:
        network: The network.
    """

    def __init__(
        self, network: Method, *, device: Device = "auto", precision: Precision = "32-true"
    ) -> None:
        self._device = local_device(device)
        # A network trained in double precision runs in single precision.
        self._in_half = precision == "bf16-mixed"
        network.eval().requires_grad_(False)
        self.fingerprint = fingerprint(network.state_dict())
        network = use_fast_convolutions(fold_batch_norms(network)).to(
            memory_format=torch.channels_last
        )
        self.network = network.to(self._device)
        self.size = network.size
        self.attends = any(isinstance(part, PALM) for part in network.modules())

    @torch.inference_mode()
    def extract_features(self, images: Tensor, modality: Modality) -> Tensor:
        """As :meth:`FeatureBackend.extract_features`."""
        ready = self._normalised(images)
        with self._arithmetic():
            return self.network.extract_features(ready, modality).float().cpu()

    def attention(self, image: Tensor, modality: Modality) -> list[NDArray[np.float32]]:
        """As :meth:`FeatureBackend.attention`."""
        with record_attention(self.network) as maps:
            self.extract_features(image, modality)
        return [weights[0].cpu().numpy() for weights in maps]

    @torch.inference_mode()
    def translate(self, image: Tensor, modality: Modality) -> tuple[Pixels, Pixels, Pixels] | None:
        """As :meth:`FeatureBackend.translate`."""
        ready = self._normalised(image)
        with self._arithmetic():
            translated = self.network.translate(ready, modality)
            if translated is None:
                return None
            back = self.network.translate(translated, modality.other)
        assert back is not None
        return _pixels(ready), _pixels(translated), _pixels(back)

    def _arithmetic(self) -> torch.autocast:
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self._in_half)

    def _normalised(self, images: Tensor) -> Tensor:
        """Normalised images on the network's device."""
        return normalise(images.to(self._device), memory_format=torch.channels_last)


def _pixels(images: Tensor) -> Pixels:
    """One normalised image, ``[1, 3, H, W]``, as uint8 ``[H, W, 3]``."""
    levels = denormalise(images.float())[0].mul(255).round().clamp(0, 255)
    return levels.permute(1, 2, 0).to(torch.uint8).cpu().numpy()
