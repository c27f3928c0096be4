"""Memory for images of extreme shapes, measured in a process of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.data.test_tone_mapping import png

from vireid.data.images import MAX_SIDE, read_resized, rgb_image
from vireid.errors import ImageError

MEASURE = """
import resource, sys
from pathlib import Path
from vireid.data.images import resized
from vireid.data.inspection import inspect_image, make_thumbnail
from vireid.errors import ImageError
from vireid.types import ImageInfo

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

data = Path(sys.argv[1]).read_bytes()
before = peak()
try:
    image, _ = inspect_image(data, ImageInfo(path=Path("image")))
    make_thumbnail(image)
    print(resized(image, (288, 144)).shape)
except ImageError as error:
    print(error)
print(peak() - before)
"""


def measure(path: Path) -> tuple[str, int]:
    """What came of an image, and by how many MiB the peak of memory rose."""
    ran = subprocess.run(
        [sys.executable, "-c", MEASURE, path], capture_output=True, text=True, check=True
    )
    found, risen = ran.stdout.splitlines()
    return found, int(risen)


def written(path: Path, width: int, height: int, dtype: type) -> Path:
    Image.fromarray(np.zeros((height, width), dtype)).save(path)
    return path


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(("width", "height"), [(1, 1_000_000), (1_000_000, 1)])
def test_a_side_that_no_person_has_is_refused(
    tmp_path: Path, width: int, height: int, dtype: type
) -> None:
    # With 1,000,000 rows, resizing took 600 MiB.
    found, risen = measure(written(tmp_path / "a.png", width, height, dtype))
    assert f"has {width} x {height} pixels" in found
    assert "at most 16,384 in width and height; crop to the person" in found
    assert risen < 20


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(("width", "height"), [(1, MAX_SIDE), (MAX_SIDE, 1)])
def test_the_longest_sides_take_little_memory(
    tmp_path: Path, width: int, height: int, dtype: type
) -> None:
    found, risen = measure(written(tmp_path / "a.png", width, height, dtype))
    assert found == "(288, 144, 3)"
    assert risen < 40


def test_16_bit_colour_takes_12_bytes_a_pixel(tmp_path: Path) -> None:
    """Copies of its values took 26."""
    (tmp_path / "a.png").write_bytes(png(np.zeros((2_000, 2_000, 3), np.uint16)))
    found, risen = measure(tmp_path / "a.png")
    assert found == "(288, 144, 3)"
    assert risen < 2_000**2 * 16 / 2**20


def test_rows_of_arrays_have_the_same_limit(tmp_path: Path) -> None:
    for shape in ((2, MAX_SIDE + 1, 1), (2, 1, MAX_SIDE + 1, 3)):
        np.save(tmp_path / "a.npy", np.zeros(shape, np.uint8))
        with pytest.raises(ImageError, match=r"a\.npy/1' has .* 16,384 in width and height"):
            read_resized(tmp_path / "a.npy/1", (288, 144))


def test_images_in_memory_have_the_same_limit() -> None:
    with pytest.raises(ImageError, match=r"'images\[0\]' has 1 x 16385 pixels"):
        rgb_image(Image.new("L", (1, MAX_SIDE + 1)), name="images[0]")
