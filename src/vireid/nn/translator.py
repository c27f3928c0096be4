"""Image-to-image translation between domains through a shared latent space; a discriminator.

After M.-Y. Liu, T. Breuel, J. Kautz: "Unsupervised Image-to-Image Translation Networks", NIPS 2017
(UNIT): an encoder and a decoder per domain, whose layers next to the latent space are shared, so
that a latent of either domain can be decoded into both.

    A ── down 1/2 ── down 1/4 ─┐                              ┌─ up 1/2 ── up ── A
                               ├─ residual ── z ── residual ──┤
    B ── down 1/2 ── down 1/4 ─┘                              └─ up 1/2 ── up ── B

The norms are group norms: they have no running statistics, so that the translation of an image
depends on no other image and is the same in training and evaluation mode; unlike UNIT's instance
norms they preserve the relations between channels, and so the colours.
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
        channels: Image channels by the name of the domain.
        width: Channels at full resolution, a multiple of 4; the latent has four times as many.
        halvings: Number of times that an encoder halves the resolution.
    """

    def __init__(self, channels: Mapping[str, int], *, width: int, halvings: int = 2) -> None:
        super().__init__()
        widths = [width * 2**i for i in range(halvings + 1)]
        self.down, self.up = nn.ModuleDict(), nn.ModuleDict()
        for name, count in channels.items():
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

    def encode(self, images: Tensor, domain: str) -> Tensor:
        """Encode images ``[n, c, H, W]`` in [-1, 1] to mean latents ``[n, 4w, H/4, W/4]``.

        Args:
            images: Images of one domain; H and W are multiples of 4.
            domain: Name of the domain.
        """
        return self.into(self.down[domain](images))  # type: ignore[no-any-return]

    def decode(self, latent: Tensor, domain: str) -> Tensor:
        """Decode latents ``[n, 4w, h, w]`` to images ``[n, c, 4h, 4w]`` in [-1, 1].

        Args:
            latent: Means or samples, of any domain.
            domain: Target domain.
        """
        return self.up[domain](self.out_of(latent))  # type: ignore[no-any-return]


class PatchDiscriminator(nn.Module):
    """A discriminator that scores overlapping patches; real patches should score high.

    Source: P. Isola, J.-Y. Zhu, T. Zhou, A. Efros: "Image-to-Image Translation with Conditional
    Adversarial Networks", CVPR 2017, section 3.2.2.

    Args:
        channels: Image channels.
        width: Channels of the first layer.
    """

    def __init__(self, channels: int, *, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, width, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 4 * width, 3, 1, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(4 * width, 1, 3, 1, 1),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``[n, c, H, W]`` to scores ``[n, 1, H/4, W/4]``."""
        return self.layers(images)  # type: ignore[no-any-return]


class _Doubling(nn.Module):
    """Nearest-neighbour upsampling by two, before a convolution: avoids checkerboard artefacts."""

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
