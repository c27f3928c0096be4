"""Augmentation and normalisation of whole batches, on the CPU or a GPU.

Every random number comes from the given generator, ten for each image whatever is switched on: the
same seed crops the same way with and without erasing. (A second view takes ten more, drawn after
those of all first views; photometric changes take more, drawn after the ten of all images.)
Pixels are moved as uint8, in a quarter of the memory of float32.

Sources: random erasing, Zhong et al., AAAI 2020; channel augmentation, Ye et al., Channel
Augmented Joint Learning for Visible-Infrared Recognition, ICCV 2021.

Example:
    >>> images = torch.full((2, 3, 8, 4), 128, dtype=torch.uint8)
    >>> augment(images, Modality.VISIBLE, Augmentation(pad=1), torch.Generator()).shape
    torch.Size([2, 3, 8, 4])
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from vireid.data.sampler import WHOLE_BATCH, BatchShard
from vireid.errors import ConfigError
from vireid.types import Modality

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "LUMINANCE",
    "Augmentation",
    "augment",
    "normalise",
]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Mean of ImageNet's red, green and blue, on a scale from 0 to 1."""
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Standard deviation of ImageNet's red, green and blue, on a scale from 0 to 1."""

_AREA = (0.02, 0.4)
_ASPECT = (0.3, 1 / 0.3)
LUMINANCE = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in the luminance (ITU-R BT.601)."""


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """The random changes of a training image.

    Attributes:
        pad: Black border, in pixels of the resized image, before a random crop to the old size.
        flip: Mirror each image horizontally with probability 0.5.
        erasing: Probability that a random rectangle is filled with ImageNet's mean.
        channel: Probability that a visible image becomes three copies of its red, its green, its
            blue or its luminance.
        grey: Include luminance among the four channels that --channel draws from.
        joint: Add a second view of each visible image to the batch: one of its channels, three
            times.
        photometric: Probability of each of these changes of an image: contrast, brightness and
            gamma; blur; noise; and, a quarter as often, inversion of an infrared image.

    Raises:
        ConfigError: If a value is out of range.
    """

    pad: int = 10
    flip: bool = True
    erasing: float = 0.0
    channel: float = 0.0
    grey: bool = True
    joint: bool = False
    photometric: float = 0.0

    def __post_init__(self) -> None:
        if self.pad < 0:
            raise ConfigError(f"pad {self.pad} is out of range; expected 0 pixels or more.")
        for name in ("erasing", "channel", "photometric"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ConfigError(f"{name} {value} is out of range; expected 0 to 1.")

    def second_view(self) -> Augmentation:
        """The augmentation of a visible image's second view, which always loses its colours."""
        return replace(self, channel=1.0)


def normalise(images: Tensor, *, memory_format: torch.memory_format | None = None) -> Tensor:
    """Scale pixels by ImageNet's statistics.

    Args:
        images: uint8 (or float on the scale of 0 to 255) ``[n, 3, H, W]``; left as they are.
        memory_format: Layout of the result; that of ``images`` by default.

    Returns:
        float32 ``[n, 3, H, W]``.
    """
    pixels = images.to(
        torch.float32, copy=True, memory_format=memory_format or torch.preserve_format
    )
    return _normalise(pixels)


def augment(
    images: Tensor,
    modality: Modality,
    augmentation: Augmentation,
    generator: torch.Generator,
    *,
    memory_format: torch.memory_format = torch.contiguous_format,
    shard: BatchShard = WHOLE_BATCH,
) -> Tensor:
    """Crop, flip, recolour, normalise and erase each image by its own random numbers.

    Args:
        images: uint8 ``[n, 3, H, W]`` on any device; left as they are.
        modality: The modality of these images; only visible ones are recoloured.
        augmentation: The random changes.
        generator: Source of all random numbers. One on the CPU gives the same result for images on
            any device.
        memory_format: Layout of the result.
        shard: The shard of a batch that the images are; they get the random numbers that they have
            within the whole batch.

    Returns:
        float32 ``[n, 3, H, W]`` on the device of ``images``, normalised as by :func:`normalise`.
    """
    n, given = len(images) * shard.world_size, images
    # One row an image: offset y, x; flip; recolour, how; erase, area, aspect, y, x.
    table = torch.rand(n, 10, generator=generator, device=generator.device)
    u = table[shard.rows(n)].to(images.device).T
    if augmentation.pad:
        images = _shift(images, augmentation.pad, u[0], u[1])
    if augmentation.flip:
        images = torch.where((u[2] < 0.5)[:, None, None, None], images.flip(-1), images)
    if augmentation.channel and modality is Modality.VISIBLE:
        images = _recolour(images, u[3] < augmentation.channel, u[4], grey=augmentation.grey)
    # Where this makes no copy, recolouring has made one.
    pixels = images.to(torch.float32, copy=images is given, memory_format=memory_format)
    if augmentation.photometric:
        pixels = _photometric(pixels, modality, augmentation.photometric, generator, shard)
    result = _normalise(pixels)
    if augmentation.erasing:
        inside = _rectangles(result, u[6:])
        erased = inside & (u[5] < augmentation.erasing)[:, None, None]
        result.masked_fill_(erased[:, None], 0.0)
    return result


def _normalise(pixels: Tensor) -> Tensor:
    """Scale float pixels by ImageNet's statistics, in place."""
    mean = torch.tensor(IMAGENET_MEAN, device=pixels.device).mul_(255)
    std = torch.tensor(IMAGENET_STD, device=pixels.device).mul_(255)
    by_pixel = pixels.permute(0, 2, 3, 1)
    if by_pixel.is_contiguous():
        # Whole rows of pixels: three numbers at a time would be four times slower.
        width = pixels.shape[3]
        by_pixel.flatten(2).sub_(mean.repeat(width)).div_(std.repeat(width))
    else:
        pixels.sub_(mean[:, None, None]).div_(std[:, None, None])
    return pixels


def _shift(images: Tensor, pad: int, y: Tensor, x: Tensor) -> Tensor:
    """Pad with black and crop back to the old size at offsets given by ``[n]`` in [0, 1)."""
    height, width = images.shape[-2:]
    # Every crop is a view here, [n, 3, 2 pad + 1, 2 pad + 1, H, W]; only the chosen are copied.
    crops = F.pad(images, (pad, pad, pad, pad)).unfold(2, height, 1).unfold(3, width, 1)
    offsets = 2 * pad + 1
    rows = torch.arange(len(images), device=images.device)
    return crops[rows, :, (y * offsets).long(), (x * offsets).long()]


def _recolour(images: Tensor, chosen: Tensor, kind: Tensor, *, grey: bool) -> Tensor:
    """Replace all channels of the chosen images by red, green, blue or, if grey, luminance."""
    mixes = torch.tensor(
        [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), LUMINANCE], device=images.device
    )
    pixels = images.to(torch.float32, copy=True)
    rows = chosen.nonzero()[:, 0]
    weights = mixes[(kind[rows] * (4 if grey else 3)).long()].T[:, :, None, None]
    red, green, blue = pixels[rows].unbind(dim=1)
    plane = (red * weights[0]).addcmul_(green, weights[1]).addcmul_(blue, weights[2])
    pixels[rows] = plane[:, None].expand(-1, 3, -1, -1)
    return pixels


def _photometric(
    pixels: Tensor,
    modality: Modality,
    probability: float,
    generator: torch.Generator,
    shard: BatchShard,
) -> Tensor:
    """Change float pixels of 0 to 255 as cameras differ, each image by its own random numbers."""
    n, (height, width) = len(pixels) * shard.world_size, pixels.shape[2:]
    device, rows = generator.device, shard.rows(n)
    # One row an image: invert; tone, contrast, brightness, gamma; blur, sigma; noise, deviation.
    table = torch.rand(n, 9, generator=generator, device=device)
    grain = torch.randn(n, 1, height, width, generator=generator, device=device)[rows].to(
        pixels.device
    )
    u = table[rows].to(pixels.device).T[:, :, None, None, None]
    x = pixels / 255
    if modality is Modality.INFRARED:
        x = torch.where(u[0] < probability / 4, 1 - x, x)
    mean = x.mean((1, 2, 3), keepdim=True)
    toned = (x - mean) * (1.2 * u[2] - 0.6).exp() + mean + 0.3 * u[3] - 0.15
    toned = toned.clamp(0, 1) ** (0.8 * u[4] - 0.4).exp()
    x = torch.where(u[1] < probability, toned, x)
    # From a sharp image to one a third as high.
    sigma = (0.3 + 1.7 * u[6].flatten()) * height / 144
    x = torch.where(u[5] < probability, _blurred(x, sigma), x)
    x = torch.where(u[7] < probability, x + 0.08 * u[8] * grain, x)
    return x.clamp(0, 1) * 255


def _blurred(images: Tensor, sigma: Tensor) -> Tensor:
    """Blur each image ``[n, 3, H, W]`` by a Gaussian of its own deviation ``[n]``, in pixels."""
    n, channels, height, width = images.shape
    reach = max(1, math.ceil(2.5 * 2.0 * height / 144))
    offsets = torch.arange(-reach, reach + 1, device=images.device)
    taps = (-0.5 * (offsets / sigma[:, None]) ** 2).exp()
    taps = (taps / taps.sum(1, keepdim=True)).repeat_interleave(channels, 0)
    x = images.reshape(1, n * channels, height, width)
    x = F.conv2d(
        F.pad(x, (0, 0, reach, reach), "replicate"), taps[:, None, :, None], groups=x.shape[1]
    )
    x = F.conv2d(
        F.pad(x, (reach, reach, 0, 0), "replicate"), taps[:, None, None, :], groups=x.shape[1]
    )
    return x.reshape(images.shape)


def _rectangles(images: Tensor, u: Tensor) -> Tensor:
    """Draw one rectangle an image, bool ``[n, H, W]``, from ``[4, n]`` numbers in [0, 1).

    Area is uniform, aspect (height over width) log-uniform over those that fit the image: the
    distribution that drawing aspects until one fits would give, without the loop.
    """
    area, aspect, y, x = u.unbind()
    height, width = images.shape[-2:]
    pixels = height * width * (_AREA[0] + area * (_AREA[1] - _AREA[0]))
    widest = torch.clamp(pixels / width**2, min=_ASPECT[0])
    tallest = torch.clamp(height**2 / pixels, max=_ASPECT[1])
    # In an image so slender that no usual aspect fits, the one that spans it is taken.
    low = torch.minimum(widest, height**2 / pixels).log()
    high = torch.maximum(tallest, pixels / width**2).log()
    ratio = (low + aspect * (high - low)).exp()
    h = (pixels * ratio).sqrt().round().clamp(1, height)
    w = (pixels / ratio).sqrt().round().clamp(1, width)
    top = (y * (height - h + 1)).floor()[:, None]
    left = (x * (width - w + 1)).floor()[:, None]
    rows = torch.arange(height, device=u.device)
    columns = torch.arange(width, device=u.device)
    in_rows = (rows >= top) & (rows < top + h[:, None])
    in_columns = (columns >= left) & (columns < left + w[:, None])
    return in_rows[:, :, None] & in_columns[:, None, :]
