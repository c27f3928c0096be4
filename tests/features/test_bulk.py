"""Bulk extraction resumes after any kill: nothing is lost, nothing is extracted twice."""

from __future__ import annotations

import fcntl
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.features.killing import kill_and_resume
from tests.helpers.packed import write_bmp
from tests.helpers.records import as_listed
from torch import Tensor

from vireid.data.listing import list_images
from vireid.errors import ConfigError, ImageError
from vireid.features import FeatureExtractor, extract_from_files
from vireid.features.bulk import extract_to_parquet
from vireid.features.parquet import FeatureFile
from vireid.types import ImageInfo, Modality

Count = Callable[[], int]


@pytest.fixture
def extracted(extractor: FeatureExtractor, monkeypatch: pytest.MonkeyPatch) -> Count:
    """Counts the images that passed the network since the last call."""
    _ = extractor.dimension
    passed = [0]
    extract = extractor.backend.extract_features

    def counting(images: Tensor, modality: Modality) -> Tensor:
        passed[0] += len(images)
        return extract(images, modality)

    def since() -> int:
        number, passed[0] = passed[0], 0
        return number

    monkeypatch.setattr(extractor.backend, "extract_features", counting)
    return since


@pytest.fixture
def own(listed: list[ImageInfo], tmp_path: Path) -> list[ImageInfo]:
    """Copies of ten images, to change."""
    (tmp_path / "own").mkdir()
    return [
        replace(image, path=Path(shutil.copy(image.path, tmp_path / f"own/{n}.bmp")))
        for n, image in enumerate(listed[:10])
    ]


def is_right(file: Path, extractor: FeatureExtractor, images: list[ImageInfo]) -> bool:
    """Whether a file holds these images and their features, with no hidden file beside it."""
    found = {image.info.path: image for batch in FeatureFile(file) for image in batch.images}
    (expected,) = extract_from_files(extractor, images)
    return (
        FeatureFile(file).rows == len(images)
        and [as_listed(found[image.path]) for image in images] == images
        and [found[image.path].info.sha256 for image in images]
        == [image.info.sha256 for image in expected.images]
        and np.allclose(
            np.stack([found[image.path].feature for image in images]), expected.values, atol=1e-6
        )
        and [path for path in file.parent.iterdir() if path.name.startswith(".")] == []
    )


def stop_after(images: list[ImageInfo], number: int) -> list[ImageInfo]:
    """The images with an unreadable one among them, at which extraction stops."""
    bad = images[0].path.parent / "bad.jpg"
    bad.write_text("not an image")
    return [*images[:number], ImageInfo(path=bad), *images[number:]]


@pytest.mark.parametrize("name", ["a b.parquet", "é.parquet"])
def test_a_stopped_run_resumes(
    extractor: FeatureExtractor, own: list[ImageInfo], tmp_path: Path, extracted: Count, name: str
) -> None:
    file = tmp_path / "out" / name
    with pytest.raises(ImageError, match=r"bad\.jpg"):
        extract_to_parquet(extractor, stop_after(own, 6), file, batch_size=2, progress=False)
    assert extracted() == 6
    assert not file.exists()
    summary = extract_to_parquet(extractor, own, file, batch_size=2, progress=False)
    assert extracted() == 4
    assert (summary.rows, summary.resumed, summary.bad, summary.guessed) == (10, 6, (), {})
    assert is_right(file, extractor, own)


def test_with_bad_images_skipped(
    extractor: FeatureExtractor, own: list[ImageInfo], tmp_path: Path, extracted: Count
) -> None:
    file = tmp_path / "a.parquet"
    unlabelled = [replace(image, modality=None) for image in stop_after(own, 4)]
    summary = extract_to_parquet(
        extractor, unlabelled, file, batch_size=4, skip_bad=True, progress=False
    )
    assert extracted() == summary.rows == 10
    assert len(summary.bad) == 1
    assert "bad.jpg" in summary.bad[0]
    modalities = [image.modality for image in own]
    assert summary.guessed == {m: modalities.count(m) for m in Modality}
    assert is_right(file, extractor, [replace(image, modality=None) for image in own])


def test_no_file_is_written_if_all_images_are_bad(
    extractor: FeatureExtractor, tmp_path: Path
) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).touch()
    images = list_images([str(tmp_path)])
    with pytest.raises(ImageError, match=r"a\.jpg' .* None of 2 images can be read"):
        extract_to_parquet(extractor, images, tmp_path / "x.parquet", skip_bad=True, progress=False)
    assert not (tmp_path / "x.parquet").exists()


def test_features_of_other_images_make_no_file(
    extractor: FeatureExtractor, own: list[ImageInfo], tmp_path: Path
) -> None:
    file = tmp_path / "a.parquet"
    bad = stop_after(own, 6)
    with pytest.raises(ImageError):
        extract_to_parquet(extractor, bad, file, batch_size=2, progress=False)
    with pytest.raises(ImageError, match="None of 1 image can be read"):
        extract_to_parquet(extractor, bad[6:7], file, skip_bad=True, progress=False)
    assert not file.exists()


def test_changed_images_are_extracted_again(
    extractor: FeatureExtractor, own: list[ImageInfo], tmp_path: Path, extracted: Count
) -> None:
    file = tmp_path / "a.parquet"
    with pytest.raises(ImageError):
        extract_to_parquet(extractor, stop_after(own, 6), file, batch_size=3, progress=False)
    assert extracted() == 6
    # One file has other content, one is gone, one has another camera, two are new.
    write_bmp(own[0].path, seed=1)
    moved = replace(own[2], camera="another")
    new = [replace(own[0], path=tmp_path / "own" / name) for name in ("x.bmp", "y.bmp")]
    for number, image in enumerate(new):
        write_bmp(image.path, seed=2 + number)
    images = [own[0], moved, *own[3:], *new]
    summary = extract_to_parquet(extractor, images, file, batch_size=3, progress=False)
    assert extracted() == 2 + 4 + 2
    assert (summary.rows, summary.resumed) == (11, 3)
    assert is_right(file, extractor, images)


def test_features_of_another_network_do_not_count(
    extractor: FeatureExtractor,
    own: list[ImageInfo],
    tmp_path: Path,
    extracted: Count,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "a.parquet"
    with monkeypatch.context() as patch:
        patch.setattr(extractor, "fingerprint", "another")
        with pytest.raises(ImageError):
            extract_to_parquet(extractor, stop_after(own, 6), file, batch_size=2, progress=False)
    assert extracted() == 6
    assert extract_to_parquet(extractor, own, file, progress=False).resumed == 0
    assert extracted() == 10
    assert is_right(file, extractor, own)


@pytest.mark.parametrize("damage", [lambda data: data[:-5], lambda data: b""])
def test_a_damaged_batch_is_extracted_again(
    extractor: FeatureExtractor,
    own: list[ImageInfo],
    tmp_path: Path,
    extracted: Count,
    damage: Callable[[bytes], bytes],
) -> None:
    file = tmp_path / "a.parquet"
    with pytest.raises(ImageError):
        extract_to_parquet(extractor, stop_after(own, 6), file, batch_size=2, progress=False)
    batch = sorted((tmp_path / ".a.parquet.batches").glob("*.parquet"))[1]
    batch.write_bytes(damage(batch.read_bytes()))
    extracted()
    assert extract_to_parquet(extractor, own, file, progress=False).resumed == 4
    assert extracted() == 6
    assert is_right(file, extractor, own)


def test_a_finished_file_is_replaced_once_the_new_one_is_complete(
    extractor: FeatureExtractor, own: list[ImageInfo], tmp_path: Path
) -> None:
    file = tmp_path / "a.parquet"
    extract_to_parquet(extractor, own[:4], file, progress=False)
    before = file.read_bytes()
    with pytest.raises(ImageError):
        extract_to_parquet(extractor, stop_after(own, 6), file, batch_size=2, progress=False)
    assert file.read_bytes() == before
    extract_to_parquet(extractor, own, file, progress=False)
    assert is_right(file, extractor, own)


def test_a_second_process_is_refused(
    extractor: FeatureExtractor, own: list[ImageInfo], tmp_path: Path
) -> None:
    with (tmp_path / ".a.parquet.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match=r"a\.parquet' is being written by another process"):
            extract_to_parquet(extractor, own, tmp_path / "a.parquet", progress=False)
    # A lock file without a lock is ignored.
    extract_to_parquet(extractor, own, tmp_path / "a.parquet", progress=False)
    assert is_right(tmp_path / "a.parquet", extractor, own)


def test_the_leftovers_of_a_kill_are_removed(
    extractor: FeatureExtractor, own: list[ImageInfo], tmp_path: Path
) -> None:
    (tmp_path / ".a.parquet.1-ab.tmp").touch()
    (tmp_path / ".a.parquet.lock").touch()
    batches = tmp_path / ".a.parquet.batches"
    batches.mkdir()
    (batches / "00000000.parquet").touch()
    (batches / ".00000001.parquet.1-ab.tmp").touch()
    extract_to_parquet(extractor, own, tmp_path / "a.parquet", progress=False)
    assert is_right(tmp_path / "a.parquet", extractor, own)


def test_a_file_that_cannot_be_written(
    extractor: FeatureExtractor, own: list[ImageInfo], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"file/a\.parquet' cannot be written \("):
        extract_to_parquet(extractor, own, tmp_path / "file/a.parquet", progress=False)
    with pytest.raises(ConfigError, match=r"a\.txt' ends in '\.txt'"):
        extract_to_parquet(extractor, own, tmp_path / "a.txt", progress=False)
    assert [path.name for path in tmp_path.iterdir() if path.suffix] == []


def test_a_kill_loses_nothing_and_repeats_nothing(
    extractor: FeatureExtractor, own: list[ImageInfo], tmp_path: Path
) -> None:
    # Two flushes per batch: of its file before the rename, and of the folder. The 11th is that of
    # the complete file.
    moments = (5, 6, 11)
    files = [tmp_path / f"{k}.parquet" for k in moments]
    folder = own[0].path.parent
    outcome = kill_and_resume(
        "extract_to_parquet(extractor, images, Path(file), batch_size=2, progress=False)",
        folder,
        dict(zip(moments, files, strict=True)),
    )
    unlabelled = [ImageInfo(path=image.path) for image in own]
    for moment, file, (killed, second) in zip(moments, files, outcome, strict=True):
        assert killed[0] == -signal.SIGKILL
        assert second[0] == 0
        # Only a batch that was not renamed yet is extracted again.
        repeated = 2 if moment == 5 else 0
        assert killed[1] + second[1] == 10 + repeated
        assert is_right(file, extractor, unlabelled)
    assert not list(tmp_path.glob(".*"))
