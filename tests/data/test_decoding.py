"""Limits on what decoding may cost: files that are slow on purpose, and many threads at once."""

from __future__ import annotations

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image
from tests.app.test_uploads import jpeg_of, tiff_with_a_tile_of

from vireid.data import decoding, images
from vireid.data.check.images import check_image
from vireid.data.decoding import MAX_PIXELS, is_slow_jpeg
from vireid.errors import ImageError


def test_slow_files_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    """200,000 scans take half an hour; 200 of 25 megapixels still take minutes."""
    segments = b"\xff\xd8" + b"\xff\xe1\0\x09Exif\0\0a" * 1_000
    for data in (jpeg_of(200_000), jpeg_of(60), segments, tiff_with_a_tile_of(40_000)):
        file = tmp_path / "a.jpg"
        file.write_bytes(data)
        with pytest.raises(ImageError, match="takes very long to decode, or much memory"):
            images.read_image(file)
        with pytest.raises(ImageError, match="takes very long to decode, or much memory"):
            images.decode_image(data, name="a.jpg")
        assert "takes very long to decode" in check_image(file).reason


def test_what_follows_a_jpeg_is_no_scan() -> None:
    """As the video of a motion photo, in which any two bytes occur."""
    file = io.BytesIO()
    Image.new("RGB", (64, 64)).save(file, "JPEG", progressive=True)
    whole, scan = file.getvalue(), b"\xff\xda\0\x02"
    assert not is_slow_jpeg(whole + scan * 200, 64 * 64)
    assert is_slow_jpeg(whole[:-2] + scan * 200, 64 * 64)
    assert is_slow_jpeg(whole[:-2] + b"\xff\1\xff\xff" + scan * 200)  # a marker without a length
    # A comment may hold any bytes too, also those of an end.
    assert is_slow_jpeg(whole[:2] + b"\xff\xfe\0\x04\xff\xd9" + whole[2:-2] + scan * 200)


def test_threads_together_stay_within_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.png"
    Image.new("L", (6_000, 6_000)).save(file)
    pair, lock, active, most = threading.Barrier(2, timeout=30), threading.Lock(), 0, 0

    def load(image: Image.Image, exif: bytes) -> tuple[Image.Image, str]:
        nonlocal active, most
        with lock:
            active += 1
            most = max(most, active)
        return Image.new("L", (1, 1)), ""

    def resize(image: Image.Image, size: tuple[int, int]) -> tuple[int, int]:
        nonlocal active
        pair.wait()  # two are decoded at once
        with lock:
            active -= 1
        return size

    monkeypatch.setattr(images, "load_upright", load)
    monkeypatch.setattr(images, "to_8_bits", lambda *_: Image.new("RGB", (1, 1)))
    monkeypatch.setattr(images, "resized", resize)
    with ThreadPoolExecutor(8) as pool:
        assert len(list(pool.map(lambda _: images.read_resized(file, (8, 4)), range(16)))) == 16
    assert most == 2 == MAX_PIXELS // 6_000**2


def test_a_second_image_gives_up_the_first() -> None:
    """Otherwise two threads that hold one image each could wait for ever."""
    with decoding.decoding():
        decoding.reserve(MAX_PIXELS)
        with decoding.decoding():
            decoding.reserve(MAX_PIXELS)
    with decoding.decoding():
        decoding.reserve(MAX_PIXELS)
