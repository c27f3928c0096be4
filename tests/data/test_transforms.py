"""Batched augmentation against loops over single images that use the same random numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from vireid.data.sampler import BatchShard
from vireid.data.transforms import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Augmentation,
    augment,
    normalise,
)
from vireid.errors import ConfigError
from vireid.types import Modality

VISIBLE, INFRARED = Modality.VISIBLE, Modality.INFRARED
NOTHING = Augmentation(pad=0, flip=False)


def random_images(n: int, height: int, width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 3, height, width), generator=generator, dtype=torch.uint8)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def one_image(
    image: NDArray[np.uint8], u: list[float], modality: Modality, options: Augmentation
) -> NDArray[np.float64]:
    """The same augmentation, written out for one image in float64."""
    _, height, width = image.shape
    pad = options.pad
    bordered = np.zeros((3, height + 2 * pad, width + 2 * pad))
    bordered[:, pad : pad + height, pad : pad + width] = image
    top, left = int(u[0] * (2 * pad + 1)), int(u[1] * (2 * pad + 1))
    pixels = bordered[:, top : top + height, left : left + width].copy()
    if options.flip and u[2] < 0.5:
        pixels = pixels[:, :, ::-1].copy()
    if modality is VISIBLE and u[3] < options.channel:
        red, green, blue = pixels
        grey = 0.299 * red + 0.587 * green + 0.114 * blue
        kinds = (red, green, blue, grey) if options.grey else (red, green, blue)
        pixels = np.stack([kinds[int(u[4] * len(kinds))]] * 3)
    for channel in range(3):
        pixels[channel] = (pixels[channel] / 255 - IMAGENET_MEAN[channel]) / IMAGENET_STD[channel]
    if u[5] < options.erasing:
        area = (0.02 + u[6] * 0.38) * height * width
        # Aspects from 0.3 to 1 / 0.3 whose rectangle is neither higher nor wider than the image.
        lowest, highest = max(0.3, area / width**2), min(1 / 0.3, height**2 / area)
        aspect = lowest * (highest / lowest) ** u[7]
        h, w = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        top, left = int(u[8] * (height - h + 1)), int(u[9] * (width - w + 1))
        pixels[:, top : top + h, left : left + w] = 0
    return pixels


@given(
    seed=st.integers(0, 10_000),
    size=st.tuples(st.integers(8, 40), st.integers(8, 24)),
    modality=st.sampled_from(Modality),
    options=st.builds(
        Augmentation,
        pad=st.integers(0, 12),
        flip=st.booleans(),
        erasing=st.sampled_from([0.0, 0.5, 1.0]),
        channel=st.sampled_from([0.0, 0.5, 1.0]),
        grey=st.booleans(),
    ),
    channels_last=st.booleans(),
)
def test_a_batch_equals_a_loop_over_its_images(
    seed: int,
    size: tuple[int, int],
    modality: Modality,
    options: Augmentation,
    channels_last: bool,
) -> None:
    images = random_images(5, *size, seed=seed)
    if channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    before = images.clone()
    result = augment(images, modality, options, seeded(seed))
    assert result.dtype == torch.float32
    assert torch.equal(images, before)
    numbers = torch.rand(5, 10, generator=seeded(seed)).tolist()
    expected = [
        one_image(image.numpy(), u, modality, options)
        for image, u in zip(images, numbers, strict=True)
    ]
    np.testing.assert_allclose(result.numpy(), np.stack(expected), atol=2e-5)


def test_normalise_is_imagenets_and_leaves_its_input() -> None:
    images = random_images(2, 5, 4)
    before = images.clone()
    expected = images.double() / 255
    for channel in range(3):
        expected[:, channel] = (expected[:, channel] - IMAGENET_MEAN[channel]) / IMAGENET_STD[
            channel
        ]
    torch.testing.assert_close(normalise(images).double(), expected, atol=1e-6, rtol=1e-5)
    floats = images.float()
    torch.testing.assert_close(normalise(floats), normalise(images), atol=0, rtol=0)
    assert torch.equal(images, before)
    assert torch.equal(floats, before.float())


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_the_memory_format_asked_for_is_given(order: torch.memory_format) -> None:
    images = random_images(4, 16, 8)
    options = Augmentation(erasing=0.5, channel=0.5)
    result = augment(images, VISIBLE, options, seeded(1), memory_format=order)
    assert result.is_contiguous(memory_format=order)
    assert torch.equal(result, augment(images, VISIBLE, options, seeded(1)))
    assert normalise(images, memory_format=order).is_contiguous(memory_format=order)


def test_the_generator_alone_decides() -> None:
    images = random_images(8, 16, 8)
    options = Augmentation(erasing=0.5, channel=0.5)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = augment(images, VISIBLE, options, seeded(3))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(augment(images, VISIBLE, options, seeded(3)), first)
    assert not torch.equal(augment(images, VISIBLE, options, seeded(4)), first)


def test_switching_one_thing_on_leaves_the_other_draws_alone() -> None:
    images = random_images(32, 24, 12)
    plain = augment(images, VISIBLE, Augmentation(), seeded(0))
    erased = augment(images, VISIBLE, Augmentation(erasing=1.0), seeded(0))
    kept = (erased != 0).any(dim=1, keepdim=True).expand_as(erased)
    assert kept.float().mean() > 0.5
    assert torch.equal(erased[kept], plain[kept])
    ends = []
    for options in (NOTHING, Augmentation(erasing=1.0, channel=1.0)):
        generator = seeded(0)
        augment(images, VISIBLE, options, generator)
        ends.append(torch.rand(1, generator=generator).item())
    assert ends[0] == ends[1]


def test_nothing_asked_for_is_normalise() -> None:
    images = random_images(3, 16, 8)
    assert torch.equal(augment(images, VISIBLE, NOTHING, seeded(0)), normalise(images))


def test_crops_reach_every_offset_and_pad_with_black() -> None:
    pad, n = 2, 2_000
    images = torch.zeros(n, 3, 9, 9, dtype=torch.uint8)
    images[:, :, 4, 4] = 255
    result = augment(images, VISIBLE, Augmentation(pad=pad, flip=False), seeded(0))
    brightest = result[:, 0].flatten(1).argmax(dim=1)
    distinct, times = np.unique(brightest.numpy(), return_counts=True)
    assert len(distinct) == (2 * pad + 1) ** 2
    # 80 are expected at each of the 25 places; 5 deviations of a binomial are 44.
    assert np.abs(times - n / 25).max() < 44
    white = torch.full((50, 3, 9, 9), 255, dtype=torch.uint8)
    bordered = augment(white, VISIBLE, Augmentation(pad=pad, flip=False), seeded(0))
    black = normalise(torch.zeros(1, 3, 1, 1, dtype=torch.uint8))
    light = normalise(white[:1, :, :1, :1])
    assert ((bordered == black) | (bordered == light)).all()
    assert (bordered == black).any()


def test_half_of_the_images_are_mirrored() -> None:
    n = 2_000
    images = random_images(1, 4, 5).expand(n, -1, -1, -1)
    result = augment(images, VISIBLE, Augmentation(pad=0), seeded(0))
    plain = normalise(images[:1])
    mirrored = (result == plain.flip(-1)).flatten(1).all(dim=1)
    straight = (result == plain).flatten(1).all(dim=1)
    assert (mirrored ^ straight).all()
    assert abs(int(mirrored.sum()) - n / 2) < 5 * math.sqrt(n / 4)


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_visible_images_are_recoloured_as_often_as_asked_in_four_ways(probability: float) -> None:
    n = 2_000
    pixel = torch.tensor([200, 100, 30], dtype=torch.uint8)
    images = pixel[None, :, None, None].expand(n, 3, 2, 2)
    options = Augmentation(pad=0, flip=False, channel=probability)
    grey = 0.299 * 200 + 0.587 * 100 + 0.114 * 30
    counts = []
    result = augment(images, VISIBLE, options, seeded(0))
    for level in (200.0, 100.0, 30.0, grey):
        flat = normalise(torch.full((1, 3, 1, 1), level))
        counts.append(int(((result - flat).abs() < 1e-4).flatten(1).all(dim=1).sum()))
    untouched = int((result == normalise(images)).flatten(1).all(dim=1).sum())
    assert untouched + sum(counts) == n
    bound = 5 * math.sqrt(n / 4) + 1e-9 if 0 < probability < 1 else 1e-9
    assert abs(sum(counts) - n * probability) <= bound
    if probability:
        assert min(counts) > 0.8 * n * probability / 4
    infrared = augment(images, INFRARED, options, seeded(0))
    assert torch.equal(infrared, normalise(images))


@pytest.mark.parametrize("grey", [True, False])
def test_a_second_view_is_the_first_with_its_colours_gone(grey: bool) -> None:
    images = random_images(400, 8, 4)
    options = Augmentation(pad=2, erasing=0.5, channel=0.3, grey=grey, joint=True)
    other = options.second_view()
    assert (other.pad, other.flip, other.erasing) == (options.pad, options.flip, options.erasing)
    view = augment(images, VISIBLE, other, seeded(0))
    # Back to pixels: three equal channels, but for what is erased, which is the mean.
    erased = (view == 0).all(dim=1, keepdim=True)
    scale = torch.tensor(IMAGENET_STD)[:, None, None]
    pixels = view * scale + torch.tensor(IMAGENET_MEAN)[:, None, None]
    spread = (pixels.amax(1, keepdim=True) - pixels.amin(1, keepdim=True))[~erased]
    assert spread.max() < 1e-5
    # Of the four mixes only luminance gives levels that are no whole number.
    levels = (pixels * 255)[~erased.expand_as(pixels)]
    fractions = (levels - levels.round()).abs() > 1e-3
    assert bool(fractions.any()) is grey


@pytest.mark.parametrize("size", [(144, 72), (64, 64), (40, 100)])
def test_erased_rectangles_have_the_published_areas_and_aspects(size: tuple[int, int]) -> None:
    height, width = size
    n = 600
    images = torch.full((n, 3, height, width), 255, dtype=torch.uint8)
    result = augment(images, INFRARED, Augmentation(pad=0, flip=False, erasing=1.0), seeded(0))
    hole = (result == 0).all(dim=1)
    assert torch.equal(hole, (result == 0).any(dim=1))
    rows, columns = hole.any(dim=2), hole.any(dim=1)
    h, w = rows.sum(dim=1), columns.sum(dim=1)
    # A full rectangle: its area is height times width of its bounding box.
    assert torch.equal(hole.flatten(1).sum(dim=1), h * w)
    share = (h * w).double() / (height * width)
    slack = 1 / min(size)
    assert share.min() > 0.02 - slack
    assert share.max() < 0.4 + slack
    assert abs(share.mean() - 0.21) < 0.03
    aspect = h.double() / w
    assert aspect.min() > 0.3 * 0.9
    assert aspect.max() < 1 / 0.3 * 1.1
    # Edges are reached, and no row or column is out of reach.
    assert rows.any(dim=0).all()
    assert columns.any(dim=0).all()


def test_erasing_happens_as_often_as_asked() -> None:
    n = 2_000
    images = torch.full((n, 3, 12, 6), 255, dtype=torch.uint8)
    result = augment(images, VISIBLE, Augmentation(pad=0, flip=False, erasing=0.4), seeded(0))
    erased = int((result == 0).flatten(1).any(dim=1).sum())
    assert abs(erased - 0.4 * n) < 5 * math.sqrt(n * 0.24)


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (60, 2), (3, 3)])
def test_tiny_and_slender_images_come_through(size: tuple[int, int]) -> None:
    images = random_images(200, *size)
    options = Augmentation(pad=3, erasing=1.0, channel=1.0)
    result = augment(images, VISIBLE, options, seeded(0))
    assert result.shape == images.shape
    assert result.isfinite().all()
    hole = (result == 0).all(dim=1).flatten(1)
    assert hole.any(dim=1).all()
    if min(size) < 3 and max(size) > 3:
        assert abs(hole.float().mean() - 0.21) < 0.03


def photometric_of_one(
    image: NDArray[np.float64], u: list[float], grain: NDArray[np.float64], modality: Modality
) -> NDArray[np.float64]:
    """Photometric changes of one image of 0 to 255, all of probability 0.8, in float64 loops."""
    _, height, width = image.shape
    x = image / 255
    if modality is INFRARED and u[0] < 0.2:
        x = 1 - x
    if u[1] < 0.8:
        mean = x.mean()
        toned = (x - mean) * math.exp(1.2 * u[2] - 0.6) + mean + 0.3 * u[3] - 0.15
        x = np.clip(toned, 0, 1) ** math.exp(0.8 * u[4] - 0.4)
    if u[5] < 0.8:
        sigma = (0.3 + 1.7 * u[6]) * height / 144
        reach = max(1, math.ceil(5 * height / 144))
        taps = [math.exp(-0.5 * (t / sigma) ** 2) for t in range(-reach, reach + 1)]
        blurred = np.zeros_like(x)
        for i in range(height):
            for j in range(width):
                for a in range(-reach, reach + 1):
                    for b in range(-reach, reach + 1):
                        weight = taps[a + reach] * taps[b + reach] / sum(taps) ** 2
                        row, column = min(max(i + a, 0), height - 1), min(max(j + b, 0), width - 1)
                        blurred[:, i, j] += weight * x[:, row, column]
        x = blurred
    if u[7] < 0.8:
        x = x + 0.08 * u[8] * grain
    return np.clip(x, 0, 1)


@pytest.mark.parametrize("modality", [VISIBLE, INFRARED])
def test_photometric_changes_equal_a_loop_over_images(modality: Modality) -> None:
    images = random_images(12, 24, 9, seed=3)
    options = Augmentation(pad=0, flip=False, photometric=0.8)
    result = augment(images, modality, options, seeded(5)).double().numpy()
    generator = seeded(5)
    torch.rand(12, 10, generator=generator)
    table = torch.rand(12, 9, generator=generator).tolist()
    grain = torch.randn(12, 1, 24, 9, generator=generator).double().numpy()
    for image, u, noise, found in zip(images.numpy(), table, grain, result, strict=True):
        expected = photometric_of_one(image.astype(np.float64), u, noise, modality)
        for channel in range(3):
            own = (expected[channel] - IMAGENET_MEAN[channel]) / IMAGENET_STD[channel]
            assert np.abs(found[channel] - own).max() < 1e-4


def test_a_shard_is_changed_as_within_its_batch() -> None:
    images = random_images(8, 20, 10)
    options = Augmentation(pad=2, erasing=0.5, channel=0.5, photometric=0.7)
    batch = augment(images, VISIBLE, options, seeded(1))
    shards = [
        augment(images[4 * rank :][:4], VISIBLE, options, seeded(1), shard=BatchShard(rank, 2))
        for rank in range(2)
    ]
    assert torch.allclose(torch.cat(shards), batch, atol=1e-5)


def test_only_infrared_images_are_inverted() -> None:
    ramp = torch.arange(0, 240, 10, dtype=torch.uint8).view(1, 1, 24, 1).expand(200, 3, 24, 8)
    options = Augmentation(pad=0, flip=False, photometric=1.0)
    falling = {
        modality: (images[:, 0, -8:].mean((1, 2)) < images[:, 0, :8].mean((1, 2))).float().mean()
        for modality in Modality
        for images in [augment(ramp, modality, options, seeded(0))]
    }
    assert falling[VISIBLE] == 0
    assert 0.15 < falling[INFRARED] < 0.35


def test_an_empty_batch_is_an_empty_batch() -> None:
    options = Augmentation(erasing=0.5, channel=0.5)
    images = torch.zeros(0, 3, 8, 4, dtype=torch.uint8)
    assert augment(images, VISIBLE, options, seeded(0)).shape == images.shape


@pytest.mark.parametrize(
    ("options", "quoted"),
    [
        ({"pad": -1}, "pad -1"),
        ({"erasing": 1.5}, r"erasing 1\.5"),
        ({"channel": -0.1}, r"channel -0\.1"),
        ({"erasing": math.nan}, "erasing nan"),
        ({"photometric": 2.0}, r"photometric 2\.0"),
    ],
)
def test_values_out_of_range_are_quoted(options: dict[str, float], quoted: str) -> None:
    with pytest.raises(ConfigError, match=quoted):
        Augmentation(**options)  # type: ignore[arg-type]
