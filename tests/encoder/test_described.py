"""Images get the descriptors that Encoder.encode gives, batch by batch; bad ones are told."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from vireid.data.listing import ListedImage
from vireid.data.portrait import portrait
from vireid.encoder import Described, Encoder, describe_bytes, describe_images
from vireid.encoder._ahead import ahead
from vireid.errors import ConfigError, ImageError
from vireid.types import ImageRecord, Modality


def values(batches: Sequence[Described]) -> np.ndarray:
    return np.concatenate([batch.values for batch in batches])


class TestAhead:
    def test_in_order_with_one_thing_made_ahead(self) -> None:
        made: list[int] = []
        following = [threading.Event() for _ in range(6)]

        def make(item: int) -> int:
            made.append(item)
            following[item].set()
            return item * item

        for item, found in enumerate(ahead(make, range(6))):
            assert found == item * item
            # The next one is made while this one is in hand, and no further one.
            if item < 5:
                assert following[item + 1].wait(60)
            assert made == list(range(min(item + 2, 6)))

    def test_an_error_comes_in_its_place(self) -> None:
        found: list[float] = []
        with pytest.raises(ZeroDivisionError):
            found.extend(ahead(lambda item: 1 / item, [1, 2, 0, 3]))
        walked: Iterator[float] = ahead(lambda item: 1 / item, [1, 2, 0, 3])
        assert [next(walked), next(walked)] == [1, 0.5]
        with pytest.raises(ZeroDivisionError):
            next(walked)

    def test_of_nothing_comes_nothing(self) -> None:
        assert list(ahead(str, [])) == []


class TestDescribeImages:
    @pytest.mark.parametrize("batch_size", [1, 7, 64])
    def test_descriptors_are_those_of_encode(
        self,
        encoder: Encoder,
        regdb: tuple[ImageRecord, ...],
        listed: list[ListedImage],
        batch_size: int,
    ) -> None:
        batches = list(describe_images(encoder, listed, batch_size=batch_size))
        assert [len(batch) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
        expected = encoder.encode(regdb, progress=False).values
        # In other company an image goes through other blocks of a matrix product.
        np.testing.assert_allclose(values(batches), expected, atol=1e-6, rtol=0)
        assert [image for batch in batches for image in batch.images] == listed
        assert {batch.fingerprint for batch in batches} == {encoder.fingerprint}
        assert encoder.dimension == expected.shape[1]

    def test_descriptors_in_equal_company_are_equal_to_the_bit(
        self, encoder: Encoder, regdb: tuple[ImageRecord, ...], listed: list[ListedImage]
    ) -> None:
        expected = encoder.encode(regdb, progress=False).values
        assert np.array_equal(values(list(describe_images(encoder, listed))), expected)

    def test_a_modality_that_is_not_told_is_guessed(
        self, encoder: Encoder, listed: list[ListedImage]
    ) -> None:
        untold = [replace(image, modality=None) for image in listed]
        (guessed,), (told,) = (list(describe_images(encoder, i)) for i in (untold, listed))
        assert [p.modality for p in guessed.portraits] == [image.modality for image in listed]
        assert {p.guessed for p in guessed.portraits} == {True}
        assert {p.guessed for p in told.portraits} == {False}
        assert np.array_equal(guessed.values, told.values)

    def test_paths_become_absolute(
        self, encoder: Encoder, listed: list[ListedImage], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = listed[0].path
        monkeypatch.chdir(path.parent)
        near = replace(listed[0], path=Path(path.name))
        (batch,) = describe_images(encoder, [near])
        assert batch.images == (listed[0],)

    def test_bytes_are_described_as_files_are(
        self, encoder: Encoder, listed: list[ListedImage]
    ) -> None:
        (expected,) = describe_images(encoder, listed)
        data = [image.path.read_bytes() for image in listed]
        named = [replace(image, path=Path(image.path.name)) for image in listed]
        found = describe_bytes(encoder, data, named)
        assert found.images == tuple(named)
        assert found.portraits == expected.portraits
        assert found.portraits[3] == portrait(data[3], modality=listed[3].modality, name="a")
        assert np.array_equal(found.values, expected.values)
        with pytest.raises(ImageError, match=r"'up\.jpg' \(3 bytes\)"):
            describe_bytes(encoder, [data[0], b"abc"], [named[0], ListedImage(path=Path("up.jpg"))])

    def test_nothing_to_describe(self, encoder: Encoder) -> None:
        assert list(describe_images(encoder, [])) == []
        assert describe_bytes(encoder, [], []).values.shape == (0, encoder.dimension)

    def test_a_batch_of_nothing(self, encoder: Encoder, listed: list[ListedImage]) -> None:
        with pytest.raises(ConfigError, match="--batch-size 0"):
            list(describe_images(encoder, listed, batch_size=0))


class TestKnown:
    def test_what_is_known_is_not_described(
        self, encoder: Encoder, listed: list[ListedImage], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (all_of_them,) = describe_images(encoder, listed)
        names = [p.sha256 for p in all_of_them.portraits]
        _ = encoder.dimension
        described: list[int] = []
        describe = encoder.describer.describe

        def counting(images: Tensor, modality: Modality) -> Tensor:
            described.append(len(images))
            return describe(images, modality)

        monkeypatch.setattr(encoder.describer, "describe", counting)
        asked: list[str] = []

        def known(sha256: Sequence[str]) -> set[str]:
            asked.extend(sha256)
            return set(names[:9]) & set(sha256)

        batches = list(describe_images(encoder, listed, batch_size=6, known=known))
        assert asked == names
        assert [batch.known for batch in batches] == [6, 3, 0, 0]
        assert [batch.seen for batch in batches] == [6] * 4
        assert sum(described) == len(listed) - 9
        np.testing.assert_allclose(values(batches), all_of_them.values[9:], atol=1e-6, rtol=0)


@pytest.fixture
def spoilt(listed: list[ListedImage], tmp_path: Path) -> list[ListedImage]:
    """Good images with bad ones of every kind among them."""
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
    images = [ListedImage(path=tmp_path / str(name)) for name in (*bad, other)]
    return [*listed[:3], *images[:4], *listed[3:5], *images[4:]]


class TestBadImages:
    def test_on_request_they_are_skipped_and_told(
        self, encoder: Encoder, listed: list[ListedImage], spoilt: list[ListedImage]
    ) -> None:
        batches = list(describe_images(encoder, spoilt, batch_size=4, skip_bad=True))
        assert [image for batch in batches for image in batch.images] == listed[:5]
        assert [batch.seen for batch in batches] == [4, 4, 4]
        (alone,) = describe_images(encoder, listed[:5])
        np.testing.assert_allclose(values(batches), alone.values, atol=1e-6, rtol=0)
        told = [fault for batch in batches for fault in batch.bad]
        for fault, (name, why) in zip(
            told,
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
        self, encoder: Encoder, listed: list[ListedImage], spoilt: list[ListedImage]
    ) -> None:
        there = [image for image in spoilt if image.path.name != "lost.jpg"]
        walked = describe_images(encoder, there, batch_size=3)
        assert next(walked).images == tuple(listed[:3])
        with pytest.raises(ImageError) as caught:
            next(walked)
        message = str(caught.value)
        assert "empty.jpg' (0 bytes) cannot be read" in message
        assert "It is the first of 3 bad images: '" in message
        assert message.endswith("cut.bmp'.")

    def test_missing_files_are_told_before_anything_is_described(
        self, encoder: Encoder, listed: list[ListedImage], tmp_path: Path
    ) -> None:
        missing = [ListedImage(path=tmp_path / f"{n}.jpg", modality=Modality.VISIBLE) for n in "ab"]
        with pytest.raises(ImageError, match=r"a\.jpg' does not exist.*first of 2 bad images"):
            next(describe_images(encoder, [*listed, *missing], batch_size=2))
        with pytest.raises(ImageError, match=r"a\.jpg' does not exist.*leave it out\.$"):
            next(describe_images(encoder, [*listed, missing[0]], batch_size=2))

    def test_a_file_too_large_to_be_an_image(
        self, encoder: Encoder, listed: list[ListedImage], tmp_path: Path
    ) -> None:
        with (tmp_path / "film.jpg").open("wb") as file:
            file.truncate(2**29 + 1)
        film = ListedImage(path=tmp_path / "film.jpg")
        (batch,) = describe_images(encoder, [listed[0], film], skip_bad=True)
        assert "has 536,870,913 bytes; expected an image" in batch.bad[0]
