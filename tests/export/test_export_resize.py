"""The resizing inside exported graphs is Pillow's, to the last bit, in both runtimes.

It is written down here once more, in whole numbers: one pass along the rows and then one along the
columns, each rounded to 8 bits. The graphs are held to that, and so is Pillow in :func:`resized`.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from vireid.data.images import MAX_SIDE, resized
from vireid.export.resize import PIXELS, resize_graph
from vireid.features.runtimes import INPUT
from vireid.optional_packages import package

SIZE = (48, 20)
RUNTIMES = ("onnxruntime", "openvino")
Resize = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


@cache
def runtime(name: str) -> Resize:
    data = resize_graph(SIZE, opset=20, ir_version=10).SerializeToString()
    if name == "onnxruntime":
        session = package("onnxruntime").InferenceSession(data, providers=["CPUExecutionProvider"])

        def by_onnxruntime(images: NDArray[np.uint8]) -> NDArray[np.float32]:
            made: NDArray[np.float32] = session.run([PIXELS], {INPUT: images})[0]
            return made

        return by_onnxruntime
    core = package("openvino").Core()
    compiled = core.compile_model(core.read_model(data), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def by_openvino(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        made: NDArray[np.float32] = np.array(compiled({INPUT: images})[PIXELS])
        return made

    return by_openvino


def by_hand(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """``[H, W, 3]`` to ``[3, h, w]``: the rows first, the columns of what that gives then."""
    height, width = size
    narrow = one_pass(image.transpose(2, 0, 1), width)
    return one_pass(narrow.transpose(0, 2, 1), height).transpose(0, 2, 1)


def one_pass(image: NDArray[np.uint8], m: int) -> NDArray[np.uint8]:
    """Resize the last axis to m pixels and round them to 8 bits."""
    n = image.shape[-1]
    if n == m:
        return image
    y, x = np.arange(m, dtype=np.int64)[:, None], np.arange(n, dtype=np.int64)
    near = np.maximum(0, 2 * max(n, m) - abs((2 * x + 1) * m - (2 * y + 1) * n))
    total = near.sum(axis=1, keepdims=True)
    # Pillow's fixed-point weights: 2^22 near / total, halves rounded up.
    weights = (2**23 * near + total) // (2 * total)
    made: NDArray[np.uint8] = ((image.astype(np.int64) @ weights.T + 2**21) >> 22).astype(np.uint8)
    return made


def by_pillow(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    return resized(Image.fromarray(image), size).transpose(2, 0, 1)


def image_of(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    """Noise, or only black and white: the largest sums and most ties."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    return pixels if seed % 2 else np.where(pixels > 127, 255, 0).astype(np.uint8)


@pytest.mark.parametrize("name", RUNTIMES)
@settings(max_examples=60)
@given(height=st.integers(1, 400), width=st.integers(1, 200), seed=st.integers(0, 2**16))
@example(height=48, width=20, seed=0)
@example(height=48, width=21, seed=1)
@example(height=49, width=20, seed=1)
@example(height=1, width=1, seed=1)
# Where Pillow 13 on its own would begin with the columns.
@example(height=300, width=25, seed=1)
# Thirty-two times smaller.
@example(height=1536, width=640, seed=2)
def test_it_is_pillows(name: str, height: int, width: int, seed: int) -> None:
    image = image_of(height, width, seed)
    expected = by_hand(image, SIZE)
    np.testing.assert_array_equal(runtime(name)(image[None])[0], expected)
    np.testing.assert_array_equal(by_pillow(image, SIZE), expected)


@pytest.mark.parametrize(("height", "width"), [(300, 25), (90, 31), (50, 190)])
def test_the_rows_come_first(height: int, width: int) -> None:
    image = image_of(height, width, 1)
    first_rows = by_hand(image, SIZE)
    # The same with the axes changed over, before and after.
    first_columns = by_hand(image.transpose(1, 0, 2), SIZE[::-1]).transpose(0, 2, 1)
    assert (first_rows != first_columns).any()
    for made in (by_pillow(image, SIZE), *(runtime(name)(image[None])[0] for name in RUNTIMES)):
        np.testing.assert_array_equal(made, first_rows)


@pytest.mark.parametrize("name", RUNTIMES)
def test_every_image_of_a_batch_is_its_own(name: str) -> None:
    images = np.stack([image_of(90, 31, seed) for seed in range(5)])
    expected = np.stack([by_hand(image, SIZE) for image in images])
    np.testing.assert_array_equal(runtime(name)(images), expected)


@pytest.mark.parametrize("name", RUNTIMES)
def test_beyond_what_is_exact_pixels_differ_by_rounding(name: str) -> None:
    image = image_of(4000, 900, 0)
    made = runtime(name)(image[None])[0]
    assert np.abs(made - by_hand(image, SIZE)).max() <= 1


def test_the_sizes_of_published_data_sets_are_exact() -> None:
    for size in ((288, 144), (144, 72)):
        data = resize_graph(size, opset=20, ir_version=10).SerializeToString()
        session = package("onnxruntime").InferenceSession(data, providers=["CPUExecutionProvider"])
        for height, width in ((128, 64), (288, 144), (256, 128), (1063, 430), (97, 51)):
            image = image_of(height, width, 1)
            [made] = session.run([PIXELS], {INPUT: image[None]})
            np.testing.assert_array_equal(made[0], by_hand(image, size))


@pytest.mark.parametrize("shape", [(MAX_SIDE, 1), (1, MAX_SIDE)])
@pytest.mark.parametrize("name", RUNTIMES)
def test_the_longest_sides(name: str, shape: tuple[int, int]) -> None:
    image = image_of(*shape, 1)
    assert np.abs(runtime(name)(image[None])[0] - by_hand(image, SIZE)).max() <= 1
