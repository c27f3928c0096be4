"""The packed cache gives the pixels of decoding, bit for bit, and decodes no more than it must."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.helpers.packed import (
    ROW,
    SIZE,
    WHOLE,
    change,
    data_file,
    decode,
    files,
    is_good,
    pack,
    record,
    write_bmp,
)

from vireid.data import _packs
from vireid.data.cache import PackedImages, default_cache, open_images
from vireid.data.image_stack import ImageStack
from vireid.data.images import DECODER
from vireid.errors import ConfigError, ImageError
from vireid.types import ImageRecord


class TestFetch:
    def test_every_kind_of_image_equals_decoding(self, root: Path, decoded: list[str]) -> None:
        rng = np.random.default_rng(0)
        noise = rng.integers(0, 256, (30, 20, 3), dtype=np.uint8)
        turned = Image.Exif()
        turned[0x0112] = 6
        odd = os.fsdecode(b"not utf-8 \xff")
        for name, image, exif in [
            ("cam1/a.jpg", Image.fromarray(noise), None),
            ("cam1/grey.jpg", Image.fromarray(noise[..., 0]), None),
            ("cam 2/turned.jpg", Image.fromarray(noise), turned),
            ("cam 2/ink.jpg", Image.fromarray(noise).convert("CMYK"), None),
            ("Wärmebild/相机 3.png", Image.fromarray(noise), None),
            ("campus/deep.png", Image.fromarray(noise[..., 0].astype(np.uint16) * 257), None),
            (f"campus/{odd}.png", Image.fromarray(noise[..., 1]), None),
        ]:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            image.save(root / name, exif=exif or b"")
        np.save(root / "colour.npy", rng.integers(0, 256, (3, 9, 7, 3), dtype=np.uint8))
        np.save(root / "grey.npy", rng.integers(0, 256, (2, 9, 7), dtype=np.uint8))
        paths = [*sorted(root.rglob("*.jpg")), *sorted(root.rglob("*.png"))]
        paths += [root / "colour.npy/2", root / "colour.npy/0", root / "grey.npy/1"]
        records = [record(path) for path in paths]
        assert len(records) == 10

        expected = decode(records)
        for again in (False, True):
            decoded.clear()
            with PackedImages(records, size=SIZE, folder=default_cache(root)) as packed:
                fetched = packed.fetch(range(10))
            assert torch.equal(fetched, expected)
            assert fetched.is_contiguous(memory_format=torch.channels_last)
            assert len(decoded) == (0 if again else 10)

    def test_it_keeps_the_contract_of_the_stack(
        self, records: list[ImageRecord], root: Path
    ) -> None:
        indices = [3, 0, 3, 7]
        with pack([*records, records[2]], root) as packed, ImageStack(records, size=SIZE) as stack:
            assert len(packed) == 9
            assert packed.name(4) == stack.name(4)
            for wanted in (indices, np.array(indices), torch.tensor(indices)):
                assert torch.equal(packed.fetch(wanted), stack.fetch(wanted))
            assert torch.equal(packed.fetch([8]), stack.fetch([2]))
            assert packed.fetch([]).shape == (0, 3, *SIZE)
            packed.fetch([5]).zero_()
            assert torch.equal(packed.fetch([5]), stack.fetch([5]))
            with pytest.raises(IndexError, match="9"):
                packed.fetch([9])
        packed.close()
        with pytest.raises(RuntimeError, match="shutdown"):
            packed.fetch([0])
        with pytest.raises(ConfigError, match="--size 0 6"):
            PackedImages([], size=(0, 6), folder=default_cache(root))
        with pack([], root) as none:
            assert none.fetch([]).shape == (0, 3, *SIZE)

    def test_the_bar_shows_on_a_terminal(
        self,
        records: list[ImageRecord],
        root: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        for terminal, progress in ((False, True), (True, False), (True, True)):
            monkeypatch.setattr(sys.stderr, "isatty", lambda shown=terminal: shown)
            folder = root / f"{terminal} {progress}"
            PackedImages(records, size=SIZE, folder=folder, progress=progress).close()
            shown = capsys.readouterr().err
            assert ("8/8" in shown and "image/s" in shown) == (terminal and progress)


class TestWhatIsKept:
    def test_a_changed_image_is_noticed(
        self, records: list[ImageRecord], root: Path, decoded: list[str]
    ) -> None:
        pack(records, root).close()
        change(records[3].path, seed=100)
        decoded.clear()
        expected = decode(records)
        with pack(records, root) as packed:
            assert torch.equal(packed.fetch(range(8)), expected)
        assert decoded == ["3.bmp"]
        assert files(root) == WHOLE

    def test_a_changed_array_changes_all_its_rows(self, root: Path, decoded: list[str]) -> None:
        write_bmp(root / "0.bmp", 0)
        array = np.random.default_rng(0).integers(0, 256, (2, 9, 7), dtype=np.uint8)
        np.save(root / "a.npy", array)
        rows = [record(root / name) for name in ("0.bmp", "a.npy/0", "a.npy/1")]
        pack(rows, root).close()
        np.save(root / "a.npy", np.concatenate([array[:1], 255 - array[1:], array]))
        decoded.clear()
        assert is_good(rows, root)
        assert decoded == ["0", "1"]

    def test_splits_share_the_cache(
        self, records: list[ImageRecord], root: Path, decoded: list[str]
    ) -> None:
        for chosen, new in (
            (records[2:5], ["2", "3", "4"]),
            (records[4:7], ["5", "6"]),
            (records[2:5], []),
            (records[::-1], ["7", "1", "0"]),
        ):
            decoded.clear()
            with pack(chosen, root) as packed:
                assert decoded == [f"{name}.bmp" for name in new]
                assert torch.equal(packed.fetch(range(len(chosen))), decode(chosen))
            assert files(root) == WHOLE
        assert data_file(root).stat().st_size == 8 * ROW

    def test_images_that_are_gone_or_changed_leave_the_cache(
        self, records: list[ImageRecord], root: Path, decoded: list[str]
    ) -> None:
        pack(records[:6], root).close()
        records[0].path.unlink()
        change(records[1].path, seed=100)
        decoded.clear()
        pack(records[4:7], root).close()
        assert decoded == ["6.bmp"]
        assert data_file(root).stat().st_size == 5 * ROW
        assert is_good(records[1:], root)

    def test_an_open_cache_outlives_its_replacement(
        self, records: list[ImageRecord], root: Path, decoded: list[str]
    ) -> None:
        with pack(records[:4], root) as early:
            before = data_file(root)
            pack(records, root).close()
            assert not before.exists()
            decoded.clear()
            fetched = early.fetch(range(4))
            assert decoded == []
        assert torch.equal(fetched, decode(records[:4]))

    def test_a_data_set_is_renamed_with_its_cache(
        self, records: list[ImageRecord], root: Path, decoded: list[str]
    ) -> None:
        pack(records, root).close()
        moved = root.rename(root.with_name("cam elsewhere"))
        decoded.clear()
        assert is_good([record(moved / r.path.name) for r in records], moved)
        assert decoded == []

    def test_one_folder_serves_several_data_sets(
        self, records: list[ImageRecord], tmp_path: Path, decoded: list[str]
    ) -> None:
        write_bmp(tmp_path / "other" / "0.bmp", 50)
        other = [record(tmp_path / "other" / "0.bmp")]
        for _ in range(2):
            for chosen in (records, other):
                with PackedImages(chosen, size=SIZE, folder=tmp_path / "a" / "cache") as packed:
                    assert torch.equal(packed.fetch(range(len(chosen))), decode(chosen))
        assert len(decoded) == 9

    def test_sizes_do_not_disturb_each_other(
        self, records: list[ImageRecord], root: Path, decoded: list[str]
    ) -> None:
        for size in (SIZE, (112, 6), (6, 12), SIZE):
            with PackedImages(records, size=size, folder=default_cache(root)) as packed:
                assert packed.fetch([1]).shape == (1, 3, *size)
        assert len(decoded) == 3 * 8

    def test_another_decoder_decodes_everything(
        self,
        records: list[ImageRecord],
        root: Path,
        decoded: list[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        pack(records, root).close()
        monkeypatch.setattr(_packs, "DECODER", DECODER + 1)
        pack(records, root).close()
        monkeypatch.setattr("PIL.__version__", "0.0")
        pack(records, root).close()
        assert len(decoded) == 3 * 8
        assert files(root) == WHOLE

    @pytest.mark.parametrize("path", ["data", "data/list.csv"])
    def test_the_default_lies_inside_of_the_data_set(self, tmp_path: Path, path: str) -> None:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "list.csv").touch()
        assert default_cache(tmp_path / path) == tmp_path / "data" / ".vireid-cache"


class TestOpenImages:
    def test_packed_where_there_is_a_cache(
        self,
        records: list[ImageRecord],
        root: Path,
        decoded: list[str],
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        for folder, times in ((default_cache(root), 1), (None, 2)):
            decoded.clear()
            with open_images(records, size=SIZE, cache=folder) as images:
                for _ in range(2):
                    assert torch.equal(images.fetch(range(8)), decode(records))
            assert len(decoded) == times * 8
        assert capsys.readouterr().err == ""

    def test_one_sentence_where_there_cannot_be_one(
        self, records: list[ImageRecord], capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder = records[0].path / "cache"
        with open_images(records, size=SIZE, cache=folder) as images:
            assert torch.equal(images.fetch(range(8)), decode(records))
        assert capsys.readouterr().err == (
            f"Images are decoded each time: '{folder}' cannot hold the packed images (Not a"
            " directory); choose another folder with `vireid train --cache`.\n"
        )

    def test_a_bad_image_is_an_error_all_the_same(
        self, records: list[ImageRecord], root: Path
    ) -> None:
        records[4].path.write_bytes(b"")
        with pytest.raises(ImageError, match=r"4\.bmp"):
            open_images(records, size=SIZE, cache=default_cache(root))
