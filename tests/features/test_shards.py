"""A folder of shards holds each listed image once, whatever was killed on the way."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.features.killing import kill_and_resume
from tests.helpers.records import as_listed
from torch import Tensor

from vireid.errors import ConfigError, DatasetError, ImageError, VireidError
from vireid.features import ExtractedBatch, FeatureExtractor, extract_from_files
from vireid.features.bulk import WHOLE, FeatureFolder, Part, extract_to_parquet
from vireid.features.parquet import FeatureFile
from vireid.types import ImageInfo, Modality


@pytest.fixture
def passed(extractor: FeatureExtractor, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of images that passed the network, batch by batch."""
    _ = extractor.dimension
    numbers: list[int] = []
    extract = extractor.backend.extract_features

    def counting(images: Tensor, modality: Modality) -> Tensor:
        numbers.append(len(images))
        return extract(images, modality)

    monkeypatch.setattr(extractor.backend, "extract_features", counting)
    return numbers


@pytest.fixture
def own(listed: list[ImageInfo]) -> list[ImageInfo]:
    return listed[:10]


def all_of(folder: Path, part: Part = WHOLE) -> list[ExtractedBatch]:
    return list(FeatureFolder(folder, part).unless(lambda _: ()))


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def is_right(folder: Path, extractor: FeatureExtractor, images: Sequence[ImageInfo]) -> bool:
    """Whether a folder holds these images in their order, and no hidden file."""
    batches = all_of(folder)
    (expected,) = extract_from_files(extractor, images)
    hidden = [name for name in names_in(folder) if name.startswith(".")]
    return (
        [as_listed(image) for batch in batches for image in batch.images] == list(images)
        and [image.info.sha256 for batch in batches for image in batch.images]
        == [image.info.sha256 for image in expected.images]
        and np.allclose(
            np.concatenate([batch.values for batch in batches if batch.images]),
            expected.values,
            atol=1e-6,
        )
        and hidden == []
    )


def test_a_list_in_shards(
    extractor: FeatureExtractor, own: list[ImageInfo], tmp_path: Path
) -> None:
    folder = tmp_path / "é 1/shards"
    summary = extract_to_parquet(extractor, own, folder, shard_rows=4, progress=False)
    assert (summary.rows, summary.resumed, summary.bad) == (10, 0, ())
    shards = ["00000000.parquet", "00000001.parquet", "00000002.parquet"]
    assert names_in(folder) == [*shards, "shards.json"]
    assert [FeatureFile(folder / name).rows for name in shards] == [4, 4, 2]
    found = FeatureFolder(folder)
    assert (found.rows, found.model) == (10, summary.model)
    assert is_right(folder, extractor, own)


def test_parts_are_disjoint_and_complete(
    extractor: FeatureExtractor, own: list[ImageInfo], tmp_path: Path, passed: list[int]
) -> None:
    rows = []
    for number in (3, 1, 2):
        part = Part(number, 3)
        with pytest.raises(DatasetError, match=rf"lacks [12] of the [12] shards of part {part}"):
            all_of(make_plan(extractor, own, tmp_path), part)
        summary = extract_to_parquet(
            extractor, own, tmp_path, shard_rows=2, part=part, progress=False
        )
        rows.append(summary.rows)
        assert sum(map(len, all_of(tmp_path, part))) == summary.rows
    assert rows == [2, 4, 4]
    assert sum(passed) == 10
    assert is_right(tmp_path, extractor, own)


def make_plan(extractor: FeatureExtractor, images: list[ImageInfo], folder: Path) -> Path:
    """Begin a folder by a part that has no shard."""
    extract_to_parquet(extractor, images, folder, shard_rows=2, part=Part(99, 99), progress=False)
    return folder


def test_finished_shards_are_not_extracted_again(
    extractor: FeatureExtractor, own: list[ImageInfo], tmp_path: Path, passed: list[int]
) -> None:
    absent = replace(own[0], path=tmp_path / "late.bmp")
    images = [*own[:7], absent, *own[7:]]

    def run() -> int:
        return extract_to_parquet(
            extractor, images, tmp_path / "x", shard_rows=4, batch_size=2, progress=False
        ).resumed

    with pytest.raises(ImageError, match=r"late\.bmp' does not exist"):
        run()
    assert sum(passed) == 4
    absent.path.write_bytes(own[0].path.read_bytes())
    assert run() == 4
    assert sum(passed) == 11
    assert run() == 11
    assert sum(passed) == 11
    assert is_right(tmp_path / "x", extractor, images)


def test_later_runs_name_unreadable_images_too(
    extractor: FeatureExtractor, own: list[ImageInfo], tmp_path: Path
) -> None:
    bad = [ImageInfo(path=tmp_path / f"{name}.jpg") for name in "abc"]
    for image in bad:
        image.path.write_text("no image")
    # One in a shard with others, two that are a shard.
    images = [own[0], bad[0], *bad[1:], own[1], own[2]]
    for resumed in (0, 3):
        summary = extract_to_parquet(
            extractor, images, tmp_path / "x", shard_rows=2, skip_bad=True, progress=False
        )
        assert (summary.rows, summary.resumed) == (3, resumed)
        assert [word.split("'")[1] for word in summary.bad] == [str(b.path) for b in bad]
    assert is_right(tmp_path / "x", extractor, own[:3])
    with pytest.raises(ImageError, match="None of 3 images of this part can be read"):
        extract_to_parquet(
            extractor, bad, tmp_path / "y", shard_rows=2, skip_bad=True, progress=False
        )


def test_a_folder_is_of_one_list_and_one_network(
    extractor: FeatureExtractor,
    own: list[ImageInfo],
    tmp_path: Path,
    passed: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(images: list[ImageInfo], rows: int = 4) -> None:
        extract_to_parquet(extractor, images, tmp_path, shard_rows=rows, progress=False)

    run(own)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ConfigError, match="begun with another --shard-rows: 4, and now it is 5"):
        run(own, 5)
    with pytest.raises(ConfigError, match="another number of images: 10, and now it is 9"):
        run(own[:9])
    for other in ([*own[1:], own[0]], [replace(own[0], camera="another"), *own[1:]]):
        with pytest.raises(ConfigError, match=r"another list of images \(by its hash\): "):
            run(other)
    monkeypatch.setattr(extractor, "fingerprint", "another")
    with pytest.raises(ConfigError, match=r"another network: .* now it is another; expected"):
        run(own)
    assert sum(passed) == 10
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda f: (f / "00000001.parquet").unlink(), "lacks 1 of the 3 shards of part 1/1"),
        (lambda f: (f / "shards.json").unlink(), "has no shards.json; expected a folder that"),
        (lambda f: (f / "shards.json").write_text("{"), r"shards\.json' is damaged"),
        (lambda f: (f / "00000001.parquet").write_bytes(b"PAR1"), r"1\.parquet' is damaged"),
        (
            lambda f: (f / "shards.json").write_text(
                (f / "shards.json").read_text().replace('"fingerprint": "', '"fingerprint": "x')
            ),
            r"0\.parquet' is of the network .*; expected x",
        ),
    ],
)
def test_an_incomplete_folder_is_refused(
    extractor: FeatureExtractor,
    own: list[ImageInfo],
    tmp_path: Path,
    damage: object,
    expected: str,
) -> None:
    extract_to_parquet(extractor, own, tmp_path, shard_rows=4, progress=False)
    damage(tmp_path)  # type: ignore[operator]
    with pytest.raises(DatasetError, match=expected):
        all_of(tmp_path)


def test_a_foreign_folder_is_left_alone(
    extractor: FeatureExtractor, own: list[ImageInfo], tmp_path: Path
) -> None:
    (tmp_path / "00000000.parquet").write_text("mine")
    with pytest.raises(ConfigError, match=r"has Parquet files but no shards\.json"):
        extract_to_parquet(extractor, own, tmp_path, shard_rows=4, progress=False)
    assert (tmp_path / "00000000.parquet").read_text() == "mine"
    with pytest.raises(ConfigError, match="--shard-rows 0 is out of range"):
        extract_to_parquet(extractor, own, tmp_path, shard_rows=0, progress=False)


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "1/0", "-1/2", "1/2/3", "a/b", "١/٢"])
def test_invalid_parts(text: str) -> None:
    with pytest.raises(VireidError, match=rf"--part '{text}' is no part; expected I/N"):
        Part.parse(text)


def test_each_shard_is_in_one_part() -> None:
    for shards in range(6):
        for of in range(1, 5):
            parts = [Part.parse(f"{number}/{of}").shards(shards) for number in range(1, of + 1)]
            assert sorted(number for part in parts for number in part) == list(range(shards))


def test_a_kill_loses_nothing_and_repeats_nothing(
    extractor: FeatureExtractor, own: list[ImageInfo], tmp_path: Path
) -> None:
    # Two flushes per file: before the rename, and of the folder. In order: shards.json, two
    # batches, the first shard, a batch, the second shard.
    repeated = {1: 0, 3: 2, 7: 0, 8: 0, 12: 0}
    folder = tmp_path / "own"
    folder.mkdir()
    for number, image in enumerate(own[:6]):
        shutil.copy(image.path, folder / f"{number}.bmp")
    outcome = kill_and_resume(
        "extract_to_parquet("
        "extractor, images, Path(file), shard_rows=4, batch_size=2, progress=False)",
        folder,
        {moment: tmp_path / str(moment) for moment in repeated},
    )
    images = [ImageInfo(path=path) for path in sorted(folder.iterdir())]
    for moment, (killed, second) in zip(repeated, outcome, strict=True):
        assert killed[0] == -signal.SIGKILL
        assert second[0] == 0
        # Only a batch that was not renamed yet is extracted again.
        assert killed[1] + second[1] == 6 + repeated[moment]
        assert is_right(tmp_path / str(moment), extractor, images)
