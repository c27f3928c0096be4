"""Damage, bad images and full disks: the packed cache is right, or says why it is not there."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers.packed import (
    ROW,
    SIZE,
    WHOLE,
    change,
    data_file,
    decode,
    files,
    index_file,
    is_good,
    pack,
    record,
    write_bmp,
)

from vireid.data.cache import PackedImages, default_cache
from vireid.errors import CacheError, ImageError
from vireid.types import ImageRecord


def flip(path: Path, position: int, bit: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1 << bit
    path.write_bytes(content)


@pytest.fixture(scope="module")
def flips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set with a cache that is good again after each flip."""
    root = tmp_path_factory.mktemp("flips")
    for i in range(3):
        write_bmp(root / f"{i}.bmp", i)
    pack([record(path) for path in sorted(root.glob("*.bmp"))], root).close()
    return root


class TestDamage:
    def test_damaged_rows_are_decoded_reported_once_and_the_pack_is_rebuilt(
        self,
        records: list[ImageRecord],
        root: Path,
        decoded: list[str],
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        pack(records, root).close()
        intact = data_file(root).read_bytes()
        for row in (2, 5):
            flip(data_file(root), row * ROW + 7)
        decoded.clear()
        with pack(records, root) as packed:
            assert torch.equal(packed.fetch(range(8)), decode(records))
        assert decoded == ["2.bmp", "5.bmp"]
        err = capsys.readouterr().err
        assert err.count("is damaged, first noticed at '2.bmp'") == 1
        assert err.count("\n") == 1
        decoded.clear()
        pack(records, root).close()
        assert len(decoded) == 8
        assert data_file(root).read_bytes() == intact
        assert files(root) == WHOLE

    def test_a_damaged_row_of_a_changed_image_gives_the_new_image(
        self, records: list[ImageRecord], root: Path
    ) -> None:
        pack(records, root).close()
        flip(data_file(root), 0)
        damaged = data_file(root).read_bytes()
        with pack(records, root) as packed:
            change(records[0].path, seed=100)
            assert torch.equal(packed.fetch([0]), decode(records[:1]))
        assert data_file(root).read_bytes() == damaged
        assert is_good(records, root)

    def test_a_damaged_pack_whose_folder_is_gone(
        self, records: list[ImageRecord], root: Path
    ) -> None:
        pack(records, root).close()
        flip(data_file(root), 0)
        with pack(records, root) as packed:
            shutil.rmtree(default_cache(root))
            for _ in range(2):
                assert torch.equal(packed.fetch(range(8)), decode(records))

    def test_damage_is_not_copied_into_a_new_pack(
        self, records: list[ImageRecord], root: Path, decoded: list[str]
    ) -> None:
        pack(records[:6], root).close()
        flip(data_file(root), 3 * ROW)
        decoded.clear()
        pack(records, root).close()
        assert decoded == ["3.bmp", "6.bmp", "7.bmp"]
        decoded.clear()
        assert is_good(records, root)
        assert decoded == []

    @pytest.mark.parametrize("left", [0, 1, ROW - 1, ROW, 3 * ROW + 1, 8 * ROW - 1])
    def test_a_truncated_file_of_rows(
        self, records: list[ImageRecord], root: Path, decoded: list[str], left: int
    ) -> None:
        pack(records, root).close()
        decoded.clear()
        with pack(records, root) as packed:
            os.truncate(data_file(root), left)
            assert torch.equal(packed.fetch(range(8)), decode(records))
            assert len(decoded) == 8 - left // ROW
        decoded.clear()
        pack(records, root).close()
        assert len(decoded) == 8
        os.truncate(data_file(root), left)  # noticed by its length, before a row is read
        decoded.clear()
        pack(records, root).close()
        assert len(decoded) == 8
        assert files(root) == WHOLE
        assert is_good(records, root)

    @pytest.mark.parametrize(
        "garbage",
        [
            b"",
            b"garbage",
            gzip.compress(b"[]" * 99, mtime=0)[:-9],
            gzip.compress(b"garbage", mtime=0),
            gzip.compress(b"\xff", mtime=0),
            gzip.compress(b"[]", mtime=0),
            gzip.compress(b"{}", mtime=0),
            gzip.compress(b'"version"', mtime=0),
        ],
    )
    def test_a_garbage_index(self, records: list[ImageRecord], root: Path, garbage: bytes) -> None:
        pack(records, root).close()
        index_file(root).write_bytes(garbage)
        assert is_good(records, root)
        assert files(root) == WHOLE

    @pytest.mark.parametrize(
        "rows",
        [None, [None], [["a"]], [["a", [1, 2], 3]], [[0, [1, 2, 3], 4]], [["\0", [1, 2, 3], 4]]],
    )
    def test_an_index_with_other_rows(
        self, records: list[ImageRecord], root: Path, rows: object
    ) -> None:
        pack(records, root).close()
        index = json.loads(gzip.decompress(index_file(root).read_bytes()))
        index_file(root).write_bytes(gzip.compress(json.dumps({**index, "rows": rows}).encode()))
        assert is_good(records, root)

    def test_the_index_never_leads_out_of_the_folder(
        self, records: list[ImageRecord], root: Path
    ) -> None:
        pack(records, root).close()
        index = json.loads(gzip.decompress(index_file(root).read_bytes()))
        elsewhere = root / index["data"]
        elsewhere.write_bytes(bytes(8 * ROW))
        index["data"] = f"../{index['data']}"
        index_file(root).write_bytes(gzip.compress(json.dumps(index).encode()))
        assert is_good(records, root)
        assert elsewhere.read_bytes() == bytes(8 * ROW)

    def test_a_missing_file_of_rows(self, records: list[ImageRecord], root: Path) -> None:
        pack(records, root).close()
        data_file(root).unlink()
        assert is_good(records, root)

    @settings(max_examples=60)
    @given(share=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), index=st.booleans())
    def test_any_flipped_bit(self, flips: Path, share: float, bit: int, index: bool) -> None:
        path = index_file(flips) if index else data_file(flips)
        flip(path, int(share * path.stat().st_size), bit)
        records = [record(path) for path in sorted(flips.glob("*.bmp"))]
        assert is_good(records, flips)
        pack(records, flips).close()
        assert files(flips) == WHOLE


class TestRefusal:
    @pytest.mark.parametrize("broken", ["damaged", "missing"])
    def test_an_unreadable_image_is_named_and_the_old_cache_stays(
        self, records: list[ImageRecord], root: Path, decoded: list[str], broken: str
    ) -> None:
        pack(records[:4], root).close()
        before = data_file(root).read_bytes()
        if broken == "damaged":
            records[5].path.write_bytes(b"")
        else:
            records[5].path.unlink()
        with pytest.raises(ImageError, match=r"data/5\.bmp'"):
            pack(records, root)
        assert files(root) == WHOLE
        assert data_file(root).read_bytes() == before
        decoded.clear()
        assert is_good(records[:4], root)
        assert decoded == []

    def test_nothing_is_left_of_a_first_build_that_meets_an_unreadable_image(
        self, records: list[ImageRecord], root: Path
    ) -> None:
        records[7].path.write_bytes(b"")
        with pytest.raises(ImageError, match=r"7\.bmp"):
            pack(records, root)
        assert files(root) == [".lock"]
        write_bmp(records[7].path, 7)
        assert is_good(records, root)

    def test_a_folder_that_cannot_be_made(self, records: list[ImageRecord], root: Path) -> None:
        # The superuser may write to any folder, but nobody below a file.
        folder = records[0].path / "cache"
        with pytest.raises(CacheError) as caught:
            PackedImages(records, size=SIZE, folder=folder)
        assert str(caught.value) == (
            f"'{folder}' cannot hold the packed images (Not a directory); choose another folder"
            " with `vireid train --cache`."
        )

    def test_no_room(self, records: list[ImageRecord], root: Path) -> None:
        default_cache(root).mkdir()
        (default_cache(root) / "100000000x10000000-0a0b0c0d.rgb").write_bytes(b"of a killed build")
        with pytest.raises(CacheError, match=r"24,000,000.0 GB needed, [\d,]+\.\d GB free"):
            PackedImages(records, size=(10**8, 10**7), folder=default_cache(root))
        assert files(root) == [".lock"]

    def test_a_disk_that_fills_up(
        self, records: list[ImageRecord], root: Path, decoded: list[str]
    ) -> None:
        pack(records[:3], root).close()
        before = data_file(root).read_bytes()
        with file_size_limit(5 * ROW), pytest.raises(CacheError, match="File too large"):
            pack(records, root)
        assert files(root) == WHOLE
        assert data_file(root).read_bytes() == before
        decoded.clear()
        assert is_good(records, root)
        assert len(decoded) == 5

    @pytest.mark.parametrize("room", [5 * ROW, 7 * ROW + ROW // 2])
    def test_a_disk_that_fills_up_gets_its_space_back(
        self, records: list[ImageRecord], root: Path, room: int
    ) -> None:
        with file_size_limit(room), pytest.raises(CacheError, match=r"File too large|No space"):
            pack(records, root)
        assert files(root) == [".lock"]
        assert is_good(records, root)


@contextlib.contextmanager
def file_size_limit(length: int) -> Iterator[None]:
    before, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (length, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))
