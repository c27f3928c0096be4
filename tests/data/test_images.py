"""Every kind of image read right, every bad one named, the stack equal to reading one by one."""

from __future__ import annotations

import pickle
import struct
import threading
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import EpsImagePlugin, Image

from vireid.data.image_stack import ImageStack
from vireid.data.images import read_image, read_resized
from vireid.errors import ConfigError, DatasetError, ImageError
from vireid.types import ImageRecord, Modality

RAMP = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
"""Three rows, four columns, all values different."""


def pixels(path: Path) -> NDArray[np.uint8]:
    image = read_image(path)
    assert image.mode == "RGB"
    return np.asarray(image)


def grey(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(values[..., None], 3, axis=2)


class TestReadImage:
    def test_rgb_is_left_alone(self, tmp_path: Path) -> None:
        expected = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)
        for name in ("a.png", "a.bmp", "a.tif", "a.webp"):
            Image.fromarray(expected).save(tmp_path / name, lossless=True)
            np.testing.assert_array_equal(pixels(tmp_path / name), expected)

    def test_grey_is_repeated(self, tmp_path: Path) -> None:
        Image.fromarray(RAMP).save(tmp_path / "a.png")
        np.testing.assert_array_equal(pixels(tmp_path / "a.png"), grey(RAMP))

    def test_grey_jpeg_is_repeated(self, tmp_path: Path) -> None:
        Image.fromarray(np.full((16, 8), 90, np.uint8)).save(tmp_path / "a.jpg", quality=95)
        np.testing.assert_array_equal(pixels(tmp_path / "a.jpg"), np.full((16, 8, 3), 90))

    def test_bilevel_is_black_and_white(self, tmp_path: Path) -> None:
        Image.fromarray(RAMP > 100).save(tmp_path / "a.png")
        expected = np.where(RAMP > 100, 255, 0).astype(np.uint8)
        np.testing.assert_array_equal(pixels(tmp_path / "a.png"), grey(expected))

    @pytest.mark.parametrize("mode", ["LA", "RGBA"])
    def test_alpha_is_dropped_not_blended(self, tmp_path: Path, mode: str) -> None:
        channels = [RAMP] * (len(mode) - 1) + [np.full_like(RAMP, 3)]
        Image.merge(mode, [Image.fromarray(c) for c in channels]).save(tmp_path / "a.png")
        np.testing.assert_array_equal(pixels(tmp_path / "a.png"), grey(RAMP))

    @pytest.mark.parametrize("transparency", [None, 0, bytes([0, 128, 255])])
    def test_a_palette_gives_its_colours(
        self, tmp_path: Path, transparency: int | bytes | None
    ) -> None:
        image = Image.fromarray(np.array([[0, 1, 2]], dtype=np.uint8)).convert("P")
        image.putpalette([200, 10, 20, 30, 220, 40, 50, 60, 240])
        if transparency is not None:
            image.info["transparency"] = transparency
        image.save(tmp_path / "a.png")
        with Image.open(tmp_path / "a.png") as stored:
            assert stored.info.get("transparency") == transparency
        expected = [[[200, 10, 20], [30, 220, 40], [50, 60, 240]]]
        np.testing.assert_array_equal(pixels(tmp_path / "a.png"), expected)

    @pytest.mark.parametrize(
        ("name", "stored"),
        [
            ("a.png", np.uint16),
            ("a.tif", np.uint16),
            ("big-endian.tif", ">u2"),
            ("a.pgm", np.int32),
        ],
    )
    def test_sixteen_bits_are_scaled_by_their_full_range(
        self, tmp_path: Path, name: str, stored: type | str
    ) -> None:
        values = np.array([[0, 1, 128, 129], [257, 30_000, 65_406, 65_535]])
        path = tmp_path / name
        if name.endswith("pgm"):
            path.write_bytes(b"P5 4 2 65535\n" + values.astype(">u2").tobytes())
        else:
            Image.fromarray(values.astype(stored)).save(path)
        with Image.open(path) as image:
            assert image.mode in ("I;16", "I;16B", "I")
        expected = [[0, 0, 0, 1], [1, 117, 254, 255]]  # to the nearest: v / 257
        np.testing.assert_array_equal(pixels(path)[..., 0], expected)

    def test_cmyk_tiff_is_converted(self, tmp_path: Path) -> None:
        inks = np.array([[[0, 0, 0, 0], [0, 255, 255, 0], [255, 0, 0, 0], [0, 0, 0, 255]]])
        Image.fromarray(inks.astype(np.uint8), mode="CMYK").save(tmp_path / "a.tif")
        expected = [[[255, 255, 255], [255, 0, 0], [0, 255, 255], [0, 0, 0]]]
        np.testing.assert_array_equal(pixels(tmp_path / "a.tif"), expected)

    def test_cmyk_jpeg_is_not_inverted(self, tmp_path: Path) -> None:
        image = Image.new("CMYK", (16, 16), (0, 200, 200, 20))
        image.save(tmp_path / "a.jpg", quality=95)
        red, green, blue = pixels(tmp_path / "a.jpg")[8, 8].astype(int)
        assert red > 225
        assert abs(green - 51) < 12
        assert abs(blue - 51) < 12

    @pytest.mark.parametrize(
        ("orientation", "turn"),
        [
            (1, lambda a: a),
            (2, lambda a: a[:, ::-1]),
            (3, lambda a: a[::-1, ::-1]),
            (4, lambda a: a[::-1]),
            (5, lambda a: a.T),
            (6, lambda a: np.rot90(a, -1)),
            (7, lambda a: a[::-1, ::-1].T),
            (8, np.rot90),
        ],
    )
    @pytest.mark.parametrize("bits", [8, 16])
    def test_exif_orientation_is_applied(
        self,
        tmp_path: Path,
        orientation: int,
        turn: Callable[[NDArray[np.uint8]], NDArray[np.uint8]],
        bits: int,
    ) -> None:
        image = Image.fromarray(RAMP if bits == 8 else RAMP.astype(np.uint16) * 257)
        exif = Image.Exif()
        exif[0x0112] = orientation
        image.save(tmp_path / "a.png", exif=exif)
        np.testing.assert_array_equal(pixels(tmp_path / "a.png"), grey(turn(RAMP)))

    def test_another_format_under_the_name_is_read(self, tmp_path: Path) -> None:
        Image.fromarray(RAMP).save(tmp_path / "a.jpg", format="PNG")
        np.testing.assert_array_equal(pixels(tmp_path / "a.jpg"), grey(RAMP))


class TestReadRow:
    """One image of an array of images, named FILE.npy/ROW."""

    IMAGES = np.random.default_rng(0).integers(0, 256, (3, 5, 4, 3), dtype=np.uint8)

    @pytest.mark.parametrize("order", ["C", "F"])
    def test_colour(self, tmp_path: Path, order: Literal["C", "F"]) -> None:
        np.save(tmp_path / "a.npy", np.asarray(self.IMAGES, order=order))
        for row in range(3):
            np.testing.assert_array_equal(pixels(tmp_path / f"a.npy/{row}"), self.IMAGES[row])

    def test_grey_is_repeated(self, tmp_path: Path) -> None:
        np.save(tmp_path / "a.npy", self.IMAGES[..., 1])
        np.testing.assert_array_equal(pixels(tmp_path / "a.npy/2"), grey(self.IMAGES[2, ..., 1]))

    @pytest.mark.parametrize("row", ["3", "-1", "1.0", "²", "0001.jpg"])
    def test_a_row_that_is_not_there(self, tmp_path: Path, row: str) -> None:
        np.save(tmp_path / "a.npy", self.IMAGES)
        with pytest.raises(ImageError) as caught:
            read_image(tmp_path / "a.npy" / row)
        assert f"a.npy' has no row '{row}'; expected a number from 0 to 2" in str(caught.value)

    @pytest.mark.parametrize(
        ("array", "quoted"),
        [
            (IMAGES.astype(np.float32), "float32 [3, 5, 4, 3]"),
            (IMAGES[0, 0], "uint8 [4, 3]"),
            (IMAGES[..., :2], "uint8 [3, 5, 4, 2]"),
            (IMAGES[:, :0], "uint8 [3, 0, 4, 3]"),
        ],
    )
    def test_an_array_of_something_else(
        self, tmp_path: Path, array: NDArray[np.generic], quoted: str
    ) -> None:
        np.save(tmp_path / "a.npy", array)
        with pytest.raises(ImageError) as caught:
            read_image(tmp_path / "a.npy/0")
        assert f"a.npy' holds {quoted}; expected uint8 [N, H, W, 3]" in str(caught.value)

    def test_a_damaged_array(self, tmp_path: Path) -> None:
        path = tmp_path / "a.npy"
        with pytest.raises(ImageError, match=r"a\.npy' does not exist"):
            read_image(path / "0")
        np.save(path, self.IMAGES)
        whole = path.read_bytes()
        for damaged in (whole[:-1], whole[:20], b"", b"\0" + whole[1:]):
            path.write_bytes(damaged)
            with pytest.raises(ImageError, match=rf"\({len(damaged)} bytes\) cannot be read"):
                read_image(path / "0")

    def test_nothing_is_unpickled(self, tmp_path: Path) -> None:
        path = tmp_path / "a.npy"
        np.save(path, np.array([Trap()], dtype=object), allow_pickle=True)
        with pytest.raises(ImageError, match="Python objects"):
            read_image(path / "0")
        path.write_bytes(pickle.dumps(Trap()))
        with pytest.raises(ImageError, match="cannot be read"):
            read_image(path / "0")
        assert not Trap.sprung

    def test_an_archive(self, tmp_path: Path) -> None:
        path = tmp_path / "a.npy"
        with path.open("wb") as file:
            np.savez(file, self.IMAGES)
        with pytest.raises(ImageError, match="cannot be read"):
            read_image(path / "0")


class Trap:
    """Tells on whoever unpickles it."""

    sprung = False

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        return Trap.spring, ()

    @staticmethod
    def spring() -> None:
        Trap.sprung = True


class TestReadBadImage:
    def refused(self, path: Path) -> str:
        with pytest.raises(ImageError) as caught:
            read_image(path)
        assert isinstance(caught.value, DatasetError)
        message = str(caught.value)
        assert str(path) in message
        return message

    def test_missing(self, tmp_path: Path) -> None:
        assert "does not exist" in self.refused(tmp_path / "gone.jpg")

    def test_zero_bytes(self, tmp_path: Path) -> None:
        path = tmp_path / "a.jpg"
        path.touch()
        assert "(0 bytes)" in self.refused(path)

    def test_text_called_jpg(self, tmp_path: Path) -> None:
        path = tmp_path / "a.jpg"
        path.write_text("<html>Not found</html>")
        assert "(22 bytes) cannot be read" in self.refused(path)

    @pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.bmp", "a.tif", "a.webp"])
    @pytest.mark.parametrize("kept", [0.05, 0.5, 0.9])
    def test_truncated(self, tmp_path: Path, name: str, kept: float) -> None:
        path = tmp_path / name
        noise = np.random.default_rng(0).integers(0, 256, (64, 32, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole) * kept)])
        assert "expected a complete image" in self.refused(path)

    def test_a_folder(self, tmp_path: Path) -> None:
        path = tmp_path / "a.jpg"
        path.mkdir()
        self.refused(path)

    def test_an_outside_interpreter_is_never_called(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        called: list[object] = []
        monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *args: called.append(args))
        path = tmp_path / "a.jpg"
        path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EOF\n")
        assert "cannot be read" in self.refused(path)
        assert called == []

    @pytest.mark.parametrize("side", [9_600, 20_000])
    @pytest.mark.parametrize("action", ["error", "ignore"])
    def test_a_decompression_bomb(self, tmp_path: Path, side: int, action: str) -> None:
        path = tmp_path / "bomb.png"
        header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        path.write_bytes(
            b"\x89PNG\r\n\x1a\n"
            + struct.pack(">I", 13)
            + header
            + struct.pack(">I", zlib.crc32(header))
            + struct.pack(">I", 0)
            + b"IDAT"
            + struct.pack(">I", zlib.crc32(b"IDAT"))
        )
        with warnings.catch_warnings():
            warnings.simplefilter(action, Image.DecompressionBombWarning)  # type: ignore[arg-type]
            assert "expected at most 89,478,485" in self.refused(path)


@pytest.fixture
def records(tmp_path: Path) -> list[ImageRecord]:
    rng = np.random.default_rng(0)
    paths = []
    for i in range(10):
        shape = (int(rng.integers(20, 60)), int(rng.integers(10, 30)), 3)
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(paths[-1])
    return [ImageRecord(path, i, 1, Modality.VISIBLE) for i, path in enumerate(paths)]


def by_hand(record: ImageRecord, size: tuple[int, int]) -> torch.Tensor:
    image = read_image(record.path)
    for shape in ((size[1], image.height), (size[1], size[0])):
        image = image.resize(shape, Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


SIZE = (24, 12)


class TestImageStack:
    def test_fetch_equals_reading_one_by_one(self, records: list[ImageRecord]) -> None:
        indices = [3, 0, 9, 3, 5]
        with ImageStack(records, size=SIZE, threads=3) as stack:
            assert len(stack) == 10
            for wanted in (indices, np.array(indices), torch.tensor(indices), iter(indices)):
                result = stack.fetch(wanted)
                assert result.dtype == torch.uint8
                assert result.is_contiguous(memory_format=torch.channels_last)
                assert torch.equal(
                    result, torch.stack([by_hand(records[i], SIZE) for i in indices])
                )

    def test_the_target_size_is_height_then_width(self, records: list[ImageRecord]) -> None:
        assert read_resized(records[1].path, (31, 7)).shape == (31, 7, 3)
        with ImageStack(records, size=(31, 7)) as stack:
            assert stack.fetch([1]).shape == (1, 3, 31, 7)
            assert stack.fetch([]).shape == (0, 3, 31, 7)

    def test_a_large_image_is_reduced_with_antialiasing(self, tmp_path: Path) -> None:
        board = np.indices((64, 64)).sum(axis=0) % 2 * 255
        Image.fromarray(grey(board.astype(np.uint8))).save(tmp_path / "a.png")
        record = ImageRecord(tmp_path / "a.png", 1, 1, Modality.VISIBLE)
        with ImageStack([record], size=(8, 8)) as stack:
            # Plain bilinear sampling would hit black or white squares only.
            assert (stack.fetch([0]).int() - 127).abs().max() < 16

    def test_an_image_that_changes_is_seen(self, records: list[ImageRecord]) -> None:
        with ImageStack(records, size=SIZE) as stack:
            before = stack.fetch([2])[0]
            Image.fromarray(RAMP).save(records[2].path)
            after = stack.fetch([2])[0]
        assert not torch.equal(before, after)
        assert torch.equal(after, by_hand(records[2], SIZE))

    def test_a_result_is_the_callers_own(self, records: list[ImageRecord]) -> None:
        with ImageStack(records, size=SIZE) as stack:
            first = stack.fetch([1])
            before = first.clone()
            first.zero_()
            assert torch.equal(stack.fetch([1]), before)

    def test_a_bad_image_surfaces_by_name_and_spoils_nothing_else(
        self, records: list[ImageRecord]
    ) -> None:
        records[4].path.write_bytes(b"")
        records[7].path.write_bytes(b"")
        with ImageStack(records, size=SIZE, threads=2) as stack:
            for _ in range(2):
                with pytest.raises(ImageError, match=r"4\.png"):
                    stack.fetch(range(10))
            assert torch.equal(stack.fetch([8])[0], by_hand(records[8], SIZE))

    @pytest.mark.parametrize("bad", [[-1], [10], [0, 99]])
    def test_an_index_out_of_range_is_quoted(
        self, records: list[ImageRecord], bad: list[int]
    ) -> None:
        with (
            ImageStack(records, size=SIZE) as stack,
            pytest.raises(IndexError, match=str(max(bad))),
        ):
            stack.fetch(bad)

    def test_many_threads_get_the_right_images(self, records: list[ImageRecord]) -> None:
        expected = torch.stack([by_hand(record, SIZE) for record in records])
        start = threading.Barrier(6)

        def work(seed: int) -> bool:
            start.wait()
            indices = np.random.default_rng(seed).integers(0, 10, size=(20, 4))
            return all(torch.equal(stack.fetch(row), expected[row]) for row in indices)

        with (
            ImageStack(records, size=SIZE, threads=4) as stack,
            ThreadPoolExecutor(6) as pool,
        ):
            assert all(pool.map(work, range(6)))

    def test_a_closed_stack_says_so(self, records: list[ImageRecord]) -> None:
        stack = ImageStack(records, size=SIZE)
        stack.fetch([0])
        stack.close()
        stack.close()
        with pytest.raises(RuntimeError, match="shutdown"):
            stack.fetch([0])

    def test_name_is_the_file(self, records: list[ImageRecord]) -> None:
        with ImageStack(records, size=SIZE) as stack:
            assert stack.name(3) == str(records[3].path)

    @pytest.mark.parametrize(
        ("size", "threads", "quoted"), [((0, 5), 1, "--size 0 5"), (SIZE, 0, "0 threads")]
    )
    def test_values_out_of_range_are_quoted(
        self, size: tuple[int, int], threads: int, quoted: str
    ) -> None:
        with pytest.raises(ConfigError, match=quoted):
            ImageStack([], size=size, threads=threads)
