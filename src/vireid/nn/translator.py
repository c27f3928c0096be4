"""Blocks that translate pictures between domains through one latent space, and judge them.

After M.-Y. Liu, T. Breuel, J. Kautz: "Unsupervised Image-to-Image Translation Networks", NIPS 2017
(UNIT): an encoder and a decoder a domain, whose parts next to the latent space are shared, so that
a latent of either domain can be decoded into both.

    A ── down 1/2 ── down 1/4 ─┐                              ┌─ up 1/2 ── up ── A
                               ├─ residual ── z ── residual ──┤
    B ── down 1/2 ── down 1/4 ─┘                              └─ up 1/2 ── up ── B

The norms are group norms: they have no running statistics, so that a picture's translation depends
on no other picture and is the same in training and evaluation mode, and unlike UNIT's instance
norms they leave the relations between channels, which are the picture's colours.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["PatchDiscriminator", "ResidualBlock", "Translator"]

_GROUPS = 4


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut.

    Args:
        channels: C, a multiple of 4.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _convolution(channels, channels, 3, 1),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.GroupNorm(_GROUPS, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[n, C, h, w]`` to ``[n, C, h, w]``."""
        return x + self.body(x)  # type: ignore[no-any-return]


class Translator(nn.Module):
    """Encoders and decoders of some domains around one latent space.

    Args:
        planes: Colour planes of a picture, by the name of its domain.
        width: Channels at full resolution, a multiple of 4; the latent has four times as many.
        blocks: Residual blocks on either side of the latent.
    """

    def __init__(self, planes: Mapping[str, int], *, width: int, halvings: int = 2) -> None:
        super().__init__()
        widths = [width * 2**i for i in range(halvings + 1)]
        self.down, self.up = nn.ModuleDict(), nn.ModuleDict()
        for name, count in planes.items():
            self.down[name] = nn.Sequential(
                _convolution(count, width, 5, 1),
                *(_convolution(narrow, wide, 4, 2) for narrow, wide in pairwise(widths)),
            )
            self.up[name] = nn.Sequential(
                *(_doubling(wide, narrow) for wide, narrow in pairwise(reversed(widths))),
                nn.Conv2d(width, count, 5, padding=2),
                nn.Tanh(),
            )
        self.into = nn.Sequential(*(ResidualBlock(widths[-1]) for _ in range(2)))
        self.out_of = nn.Sequential(*(ResidualBlock(widths[-1]) for _ in range(2)))

    def encode(self, pictures: Tensor, domain: str) -> Tensor:
        """The mean latent of pictures ``[n, planes, H, W]`` in [-1, 1]: ``[n, 4w, H/4, W/4]``.

        Args:
            pictures: Pictures of one domain; H and W are multiples of 4.
            domain: Its name.
        """
        return self.into(self.down[domain](pictures))  # type: ignore[no-any-return]

    def decode(self, latent: Tensor, domain: str) -> Tensor:
        """Pictures of a domain from latents ``[n, 4w, h, w]``: ``[n, planes, 4h, 4w]`` in [-1, 1].

        Args:
            latent: Means or samples, of whatever domain.
            domain: The domain of the pictures wanted.
        """
        return self.up[domain](self.out_of(latent))  # type: ignore[no-any-return]


class PatchDiscriminator(nn.Module):
    """Scores of overlapping patches: high where a patch looks real.

    Source: P. Isola, J.-Y. Zhu, T. Zhou, A. Efros: "Image-to-Image Translation with Conditional
    Adversarial Networks", CVPR 2017, section 3.2.2.

    Args:
        planes: Colour planes of a picture.
        width: Channels of the first layer.
    """

    def __init__(self, planes: int, *, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(planes, width, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 4 * width, 3, 1, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(4 * width, 1, 3, 1, 1),
        )

    def forward(self, pictures: Tensor) -> Tensor:
        """Map pictures ``[n, planes, H, W]`` to scores ``[n, 1, H/4, W/4]``."""
        return self.layers(pictures)  # type: ignore[no-any-return]


class _Doubling(nn.Module):
    """Nearest-neighbour enlargement by two, which a convolution follows: no chequerboards."""

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode="nearest")


def _convolution(channels: int, out: int, kernel: int, stride: int) -> nn.Sequential:
    padding = (kernel - 1) // 2
    return nn.Sequential(
        nn.Conv2d(channels, out, kernel, stride, padding, bias=False),
        nn.GroupNorm(_GROUPS, out),
        nn.ReLU(),
    )


def _doubling(channels: int, out: int) -> nn.Sequential:
    return nn.Sequential(_Doubling(), *_convolution(channels, out, 3, 1))
