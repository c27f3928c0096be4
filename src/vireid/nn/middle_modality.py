"""The generator of middle-modality images, between visible and infrared.

    visible  ── Conv 3-1 ─ ReLU ─ Conv 1-1 ─ ReLU ─ BN ─┐
                                                        ├─ Conv 1-3 ─ ReLU ── middle
    infrared ── Conv 3-1 ─ ReLU ─ Conv 1-1 ─ ReLU ─ BN ─┘

Y. Zhang, Y. Yan, Y. Lu, H. Wang: "Towards a Unified Middle Modality Learning for Visible-Infrared
Person Re-Identification", ACM MM 2021, with the layers and initial weights of its published code.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from vireid.nn.two_stream import PerModality

__all__ = ["MiddleModality"]


class MiddleModality(nn.Module):
    """An encoder for each modality, and one decoder for both; all convolutions are 1x1.

    22 parameters. Training starts from grey images: each convolution sums its inputs times 0.333.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = PerModality(_encoder(), _encoder())
        self.decoder = _convolution(1, 3)

    def forward(self, images: Tensor, n_visible: int) -> Tensor:
        """Project images into the middle modality.

        Args:
            images: ``[n_v + n_t, 3, H, W]``, normalised, visible ones first.
            n_visible: n_v.

        Returns:
            ``[n_v + n_t, 3, H, W]``, not negative, in the same order.
        """
        return F.relu(self.decoder(self.encoder(images, n_visible)))


def _encoder() -> nn.Sequential:
    layers = (_convolution(3, 1), nn.ReLU(), _convolution(1, 1), nn.ReLU(), nn.BatchNorm2d(1))
    return nn.Sequential(*layers)


def _convolution(channels: int, out: int) -> nn.Conv2d:
    layer = nn.Conv2d(channels, out, 1)
    nn.init.constant_(layer.weight, 0.333)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
