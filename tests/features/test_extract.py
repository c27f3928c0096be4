"""Images get the features of FeatureExtractor.extract; unreadable ones are reported."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.helpers.records import as_listed
from torch import Tensor

from vireid.data.inspection import inspect_image, make_thumbnail
from vireid.data.prefetch import prefetch
from vireid.errors import ConfigError, ImageError
from vireid.features import ExtractedBatch, FeatureExtractor, extract_from_bytes, extract_from_files
from vireid.types import ImageInfo, ImageRecord, Modality


def values(batches: Sequence[ExtractedBatch]) -> np.ndarray:
    return np.concatenate([batch.values for batch in batches if batch.images])


class TestPrefetch:
    def test_in_order_with_one_item_ahead(self) -> None:
        made: list[int] = []
        following = [threading.Event() for _ in range(6)]

        def make(item: int) -> int:
            made.append(item)
            following[item].set()
            return item * item

        for item, found in enumerate(prefetch(make, range(6))):
            assert found == item * item
            # The next one is made while this one is in hand, and no further one.
            if item < 5:
                assert following[item + 1].wait(60)
            assert made == list(range(min(item + 2, 6)))

    def test_an_error_is_raised_at_its_item(self) -> None:
        found: list[float] = []
        with pytest.raises(ZeroDivisionError):
            found.extend(prefetch(lambda item: 1 / item, [1, 2, 0, 3]))
        walked: Iterator[float] = prefetch(lambda item: 1 / item, [1, 2, 0, 3])
        assert [next(walked), next(walked)] == [1, 0.5]
        with pytest.raises(ZeroDivisionError):
            next(walked)

    def test_no_items(self) -> None:
        assert list(prefetch(str, [])) == []


class TestExtractFromFiles:
    @pytest.mark.parametrize("batch_size", [1, 7, 64])
    def test_features_are_those_of_extract(
        self,
        extractor: FeatureExtractor,
        regdb: tuple[ImageRecord, ...],
        listed: list[ImageInfo],
        batch_size: int,
    ) -> None:
        batches = list(extract_from_files(extractor, listed, batch_size=batch_size))
        assert [len(batch) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
        expected = extractor.extract(regdb, progress=False).values
        # The other images of the batch change the blocks of a matrix product.
        np.testing.assert_allclose(values(batches), expected, atol=1e-6, rtol=0)
        assert [as_listed(image) for batch in batches for image in batch.images] == listed
        assert extractor.dimension == expected.shape[1]

    def test_features_of_equal_batches_are_bit_equal(
        self, extractor: FeatureExtractor, regdb: tuple[ImageRecord, ...], listed: list[ImageInfo]
    ) -> None:
        expected = extractor.extract(regdb, progress=False).values
        assert np.array_equal(values(list(extract_from_files(extractor, listed))), expected)

    def test_a_modality_that_is_not_given_is_guessed(
        self, extractor: FeatureExtractor, listed: list[ImageInfo]
    ) -> None:
        unknown = [replace(image, modality=None) for image in listed]
        (guessed,), (given,) = (list(extract_from_files(extractor, i)) for i in (unknown, listed))
        assert [i.info.modality for i in guessed.images] == [image.modality for image in listed]
        assert {i.info.guessed for i in guessed.images} == {True}
        assert {i.info.guessed for i in given.images} == {False}
        assert np.array_equal(guessed.values, given.values)

    def test_paths_become_absolute(
        self,
        extractor: FeatureExtractor,
        listed: list[ImageInfo],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        path = listed[0].path
        monkeypatch.chdir(path.parent)
        near = replace(listed[0], path=Path(path.name))
        (batch,) = extract_from_files(extractor, [near])
        assert list(map(as_listed, batch.images)) == [listed[0]]

    def test_uploads_get_the_features_of_files(
        self, extractor: FeatureExtractor, listed: list[ImageInfo]
    ) -> None:
        (expected,) = extract_from_files(extractor, listed)
        data = [image.path.read_bytes() for image in listed]
        named = [replace(image, path=Path(image.path.name)) for image in listed]
        found = extract_from_bytes(extractor, data, named)
        assert list(map(as_listed, found)) == named
        assert [i.info.sha256 for i in found] == [i.info.sha256 for i in expected.images]
        assert [i.thumbnail for i in found] == [i.thumbnail for i in expected.images]
        decoded, info = inspect_image(data[3], named[3])
        assert (found[3].info, found[3].thumbnail) == (info, make_thumbnail(decoded))
        assert np.array_equal(np.stack([i.feature for i in found]), expected.values)
        with pytest.raises(ImageError, match=r"'up\.jpg' \(3 bytes\)"):
            extract_from_bytes(
                extractor, [data[0], b"abc"], [named[0], ImageInfo(path=Path("up.jpg"))]
            )

    def test_an_upload_is_not_taken_for_a_file(
        self, extractor: FeatureExtractor, listed: list[ImageInfo]
    ) -> None:
        data = [image.path.read_bytes() for image in listed]
        for image, info in zip(extract_from_bytes(extractor, data, listed), listed, strict=True):
            assert (image.info.name, image.info.file) == (info.path.name, None)

    def test_no_images(self, extractor: FeatureExtractor) -> None:
        assert list(extract_from_files(extractor, [])) == []
        assert extract_from_bytes(extractor, [], []) == ()

    def test_a_batch_size_of_zero(
        self, extractor: FeatureExtractor, listed: list[ImageInfo]
    ) -> None:
        with pytest.raises(ConfigError, match="--batch-size 0"):
            list(extract_from_files(extractor, listed, batch_size=0))


class TestKnown:
    def test_known_images_are_not_extracted(
        self,
        extractor: FeatureExtractor,
        listed: list[ImageInfo],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        (all_of_them,) = extract_from_files(extractor, listed)
        names = [i.info.sha256 for i in all_of_them.images]
        _ = extractor.dimension
        extracted: list[int] = []
        extract = extractor.backend.extract_features

        def counting(images: Tensor, modality: Modality) -> Tensor:
            extracted.append(len(images))
            return extract(images, modality)

        monkeypatch.setattr(extractor.backend, "extract_features", counting)
        asked: list[str] = []

        def known(sha256: Sequence[str]) -> set[str]:
            asked.extend(sha256)
            return set(names[:9]) & set(sha256)

        batches = list(extract_from_files(extractor, listed, batch_size=6, known=known))
        assert asked == names
        assert [batch.known for batch in batches] == [6, 3, 0, 0]
        assert [batch.seen for batch in batches] == [6] * 4
        assert sum(extracted) == len(listed) - 9
        np.testing.assert_allclose(values(batches), all_of_them.values[9:], atol=1e-6, rtol=0)


@pytest.fixture
def damaged(listed: list[ImageInfo], tmp_path: Path) -> list[ImageInfo]:
    """Good images among bad ones of every kind."""
    bad: list[str | bytes] = [
        "empty.jpg",
        "text.png",
        "cut.bmp",
        "folder.jpg",
        "pipe.jpg",
        "lost.jpg",
    ]
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.png").write_text("<svg/>")
    (tmp_path / "cut.bmp").write_bytes(listed[0].path.read_bytes()[:900])
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    other = os.fsdecode(b"caf\xe9.jpg")
    (tmp_path / other).write_bytes(listed[0].path.read_bytes())
    images = [ImageInfo(path=tmp_path / str(name)) for name in (*bad, other)]
    return [*listed[:3], *images[:4], *listed[3:5], *images[4:]]


class TestBadImages:
    def test_they_are_skipped_and_reported_on_request(
        self, extractor: FeatureExtractor, listed: list[ImageInfo], damaged: list[ImageInfo]
    ) -> None:
        batches = list(extract_from_files(extractor, damaged, batch_size=4, skip_bad=True))
        assert [as_listed(image) for batch in batches for image in batch.images] == listed[:5]
        assert [batch.seen for batch in batches] == [4, 4, 4]
        (alone,) = extract_from_files(extractor, listed[:5])
        np.testing.assert_allclose(values(batches), alone.values, atol=1e-6, rtol=0)
        reported = [fault for batch in batches for fault in batch.bad]
        for fault, (name, why) in zip(
            reported,
            [
                ("empty.jpg", "(0 bytes) cannot be read"),
                ("text.png", "(6 bytes) cannot be read"),
                ("cut.bmp", "(900 bytes) cannot be read"),
                ("folder.jpg", "it is no ordinary file"),
                ("pipe.jpg", "it is no ordinary file"),
                ("lost.jpg", "does not exist"),
                ("caf\udce9.jpg", "has a name that is not UTF-8"),
            ],
            strict=True,
        ):
            assert f"{name}'" in fault
            assert why in fault
            assert "; expected" in fault
            assert fault.endswith("leave it out.")

    def test_otherwise_the_first_bad_batch_ends_it(
        self, extractor: FeatureExtractor, listed: list[ImageInfo], damaged: list[ImageInfo]
    ) -> None:
        there = [image for image in damaged if image.path.name != "lost.jpg"]
        walked = extract_from_files(extractor, there, batch_size=3)
        assert list(map(as_listed, next(walked).images)) == listed[:3]
        with pytest.raises(ImageError) as caught:
            next(walked)
        message = str(caught.value)
        assert "empty.jpg' (0 bytes) cannot be read" in message
        assert "It is the first of 3 bad images: '" in message
        assert message.endswith("cut.bmp'.")

    def test_missing_files_are_reported_before_anything_is_extracted(
        self, extractor: FeatureExtractor, listed: list[ImageInfo], tmp_path: Path
    ) -> None:
        missing = [ImageInfo(path=tmp_path / f"{n}.jpg", modality=Modality.VISIBLE) for n in "ab"]
        with pytest.raises(ImageError, match=r"a\.jpg' does not exist.*first of 2 bad images"):
            next(extract_from_files(extractor, [*listed, *missing], batch_size=2))
        with pytest.raises(ImageError, match=r"a\.jpg' does not exist.*leave it out\.$"):
            next(extract_from_files(extractor, [*listed, missing[0]], batch_size=2))

    def test_a_file_too_large_to_be_an_image(
        self, extractor: FeatureExtractor, listed: list[ImageInfo], tmp_path: Path
    ) -> None:
        with (tmp_path / "film.jpg").open("wb") as file:
            file.truncate(2**29 + 1)
        film = ImageInfo(path=tmp_path / "film.jpg")
        (batch,) = extract_from_files(extractor, [listed[0], film], skip_bad=True)
        assert "has 536,870,913 bytes; expected an image" in batch.bad[0]
