"""An image is inspected: its hash, its modality given or guessed, and a clean thumbnail."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vireid.data.inspection import guess_modality, inspect_image, make_thumbnail, mean_chroma
from vireid.errors import ImageError
from vireid.types import ImageInfo, Modality

RNG = np.random.default_rng(0)


def file_of(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def colourful(width: int, height: int) -> Image.Image:
    rows = np.linspace(0, 255, height)[:, None, None]
    tones = np.array([1.0, 0.6, 0.2])
    return Image.fromarray(np.broadcast_to(rows * tones, (height, width, 3)).astype(np.uint8))


def grey(width: int, height: int) -> Image.Image:
    return Image.fromarray(RNG.integers(0, 256, (height, width), dtype=np.uint8)).convert("RGB")


def inspected(data: bytes, modality: Modality | None = None, name: str = "a") -> ImageInfo:
    return inspect_image(data, ImageInfo(path=Path(name), modality=modality))[1]


def thumbnail_of(data: bytes) -> bytes:
    image, _ = inspect_image(data, ImageInfo(path=Path("a")))
    return make_thumbnail(image)


def opened(thumbnail: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(thumbnail))
    image.load()
    return image


def test_the_hash_is_that_of_the_files_bytes() -> None:
    data = file_of(colourful(10, 20))
    assert inspected(data).sha256 == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    ("image", "kind", "options", "expected"),
    [
        (colourful(40, 90), "PNG", {}, Modality.VISIBLE),
        (colourful(40, 90), "JPEG", {"quality": 60}, Modality.VISIBLE),
        (grey(40, 90), "PNG", {}, Modality.INFRARED),
        (grey(40, 90).convert("L"), "PNG", {}, Modality.INFRARED),
        # Three channels, which rounding has made unequal.
        (grey(40, 90), "JPEG", {"quality": 75}, Modality.INFRARED),
        (Image.fromarray(RNG.integers(0, 65_536, (9, 4)).astype(np.uint16)), "PNG", {}, "infrared"),
    ],
)
def test_the_modality_is_guessed_from_the_colours_unless_it_is_given(
    image: Image.Image, kind: str, options: dict[str, int], expected: str
) -> None:
    data = file_of(image, kind, **options)
    found = inspected(data)
    assert (found.modality, found.guessed) == (expected, True)
    for known in Modality:
        found = inspected(data, known)
        assert (found.modality, found.guessed) == (known, False)


@given(
    st.tuples(st.integers(1, 5), st.integers(1, 5)).flatmap(
        lambda size: st.lists(
            st.tuples(*[st.integers(0, 255)] * 3),
            min_size=size[0] * size[1],
            max_size=size[0] * size[1],
        ).map(lambda pixels: np.array(pixels, np.uint8).reshape(*size, 3))
    )
)
def test_chroma_is_the_mean_range_of_the_channels(pixels: np.ndarray) -> None:
    ranges = [max(map(int, p)) - min(map(int, p)) for row in pixels for p in row]
    assert mean_chroma([pixels[:1], pixels[1:]]) == pytest.approx(sum(ranges) / len(ranges))
    infrared = guess_modality(Image.fromarray(pixels)) is Modality.INFRARED
    assert infrared == (sum(ranges) / len(ranges) < 1)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((144, 288), (144, 288)),
        ((50, 60), (50, 60)),
        ((720, 1440), (144, 288)),
        ((1440, 720), (144, 72)),
        ((300, 3000), (29, 288)),
        ((1, 5000), (1, 288)),
        ((5000, 1), (144, 1)),
    ],
)
def test_a_thumbnail_shows_the_whole_image_and_is_never_enlarged(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    image = colourful(*size)
    small = opened(thumbnail_of(file_of(image)))
    assert (small.format, small.mode, small.size) == ("JPEG", "RGB", expected)
    if min(expected) > 1:
        resized = np.asarray(image.resize(expected, Image.Resampling.BICUBIC)).astype(int)
        assert np.abs(np.asarray(small).astype(int) - resized).mean() < 3


def test_a_thumbnail_is_upright_and_keeps_nothing_else_of_the_file() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    exif[0x010F] = "a maker"
    data = file_of(colourful(200, 100), "JPEG", exif=exif, comment=b"taken at home")
    assert b"a maker" in data
    assert b"taken at home" in data
    found = thumbnail_of(data)
    small = opened(found)
    assert small.size == (100, 200)
    assert not small.getexif()
    assert b"a maker" not in found
    assert b"taken at home" not in found


@pytest.mark.parametrize("data", [b"", b"<svg></svg>", file_of(colourful(60, 60), "JPEG")[:400]])
def test_a_bad_image_is_named(data: bytes) -> None:
    with pytest.raises(ImageError, match=rf"'night/é\.jpg' \({len(data)} bytes\) cannot be read"):
        inspected(data, Modality.VISIBLE, "night/é.jpg")
