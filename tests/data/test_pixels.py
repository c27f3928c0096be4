"""Normalised images back as pictures, and grey, against loops by hand."""

import torch

from vireid.data.pixels import denormalise, grey
from vireid.data.transforms import IMAGENET_MEAN, IMAGENET_STD, normalise

IMAGES = torch.randint(0, 256, (3, 3, 6, 4), generator=torch.Generator().manual_seed(0))


def test_denormalising_gives_the_picture_back() -> None:
    torch.testing.assert_close(denormalise(normalise(IMAGES)), IMAGES / 255, rtol=0, atol=1e-6)


def test_grey_is_the_luminance_of_the_picture_on_the_same_scale() -> None:
    weights = (0.299, 0.587, 0.114)
    mean = sum(w * m for w, m in zip(weights, IMAGENET_MEAN, strict=True))
    std = sum(w * s for w, s in zip(weights, IMAGENET_STD, strict=True))
    found = grey(normalise(IMAGES))
    assert found.shape == (3, 1, 6, 4)
    for n in range(3):
        for y in range(6):
            for x in range(4):
                luminance = sum(w * IMAGES[n, c, y, x].item() / 255 for c, w in enumerate(weights))
                assert abs(found[n, 0, y, x].item() - (luminance - mean) / std) < 1e-5


def test_an_infrared_image_keeps_its_only_channel() -> None:
    channel = IMAGES[:, :1]
    plane = grey(normalise(channel.expand(-1, 3, -1, -1)))
    # One scale for all: the plane is an affine function of the channel.
    low, high = plane[channel == channel.min()][0], plane[channel == channel.max()][0]
    share = (plane - low) / (high - low)
    expected = (channel - channel.min()) / (channel.max() - channel.min())
    torch.testing.assert_close(share, expected, rtol=0, atol=1e-5)
