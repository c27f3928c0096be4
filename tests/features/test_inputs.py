"""The extractor takes what Python users hand over, and one clear error refuses the rest."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from tests.app.people import photograph, write_run
from tests.helpers.trees import write_regdb

import vireid
from vireid.cli import main
from vireid.data.layouts import DataSource
from vireid.data.listing import list_images
from vireid.errors import ConfigError, ImageError, VireidError
from vireid.features import FeatureExtractor, extract_from_files
from vireid.features.bulk import extract_to_parquet
from vireid.features.parquet import FeatureFile
from vireid.types import Features, ImageInfo, ImageRecord, Modality

VISIBLE, INFRARED = Modality.VISIBLE, Modality.INFRARED


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two visible images, 0.png and 1.png, and an infrared one, 2.png, of three people."""
    folder = tmp_path_factory.mktemp("people é")
    for person in range(3):
        (folder / f"{person}.png").write_bytes(photograph(person, grey=person == 2))
    return folder


@pytest.fixture
def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


@pytest.fixture
def arrays(files: list[Path]) -> list[NDArray[np.uint8]]:
    return [np.asarray(Image.open(file).convert("RGB")) for file in files]


@pytest.fixture
def expected(extractor: FeatureExtractor, files: list[Path]) -> NDArray[np.float32]:
    """The features of the files as labelled records."""
    modalities = (VISIBLE, VISIBLE, INFRARED)
    records = [ImageRecord(f, 1, 1, m) for f, m in zip(files, modalities, strict=True)]
    return extractor.extract(records, progress=False).values


def check(found: Features, expected: NDArray[np.float32]) -> None:
    assert found.values.dtype == np.float32
    np.testing.assert_allclose(found.values, expected, atol=1e-6)
    assert len(found.records) == len(expected)


def test_one_image_in_every_form(
    extractor: FeatureExtractor,
    files: list[Path],
    arrays: list[NDArray[np.uint8]],
    expected: NDArray[np.float32],
) -> None:
    colour, grey = files[0], files[2]
    one: Any
    for one in (str(colour), colour, Image.open(colour), arrays[0], ImageInfo(path=colour)):
        check(extractor.extract(one, progress=False), expected[:1])
    for one in (str(grey), Image.open(grey).convert("L"), arrays[2], arrays[2][..., 0]):
        check(extractor.extract(one, progress=False), expected[2:])
    # Rows and columns that are not contiguous in memory are the same pixels.
    check(extractor.extract(np.asfortranarray(arrays[0]), progress=False), expected[:1])


def test_many_images_in_every_form(
    extractor: FeatureExtractor,
    files: list[Path],
    arrays: list[NDArray[np.uint8]],
    expected: NDArray[np.float32],
) -> None:
    record = ImageRecord(files[1], 7, 3, VISIBLE)
    several: Any
    for several in (
        files,
        tuple(map(str, files)),
        np.array(list(map(str, files))),
        (file for file in files),
        [Image.open(file) for file in files],
        arrays,
        np.stack(arrays),
        list_images(str(files[0].parent)),
        [str(files[0]), record, arrays[2]],
    ):
        check(extractor.extract(several, batch_size=2, progress=False), expected)
    found = extractor.extract([files[0], record, arrays[2]], progress=False)
    assert found.records == (
        ImageRecord(files[0], -1, 0, VISIBLE),
        record,
        ImageRecord(Path("images[2]"), -1, 0, INFRARED),
    )


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "HSV", "I", "I;16"])
def test_pil_images_of_any_mode_are_converted_and_left_unchanged(
    extractor: FeatureExtractor, files: list[Path], mode: str
) -> None:
    with Image.open(files[0]) as opened:
        image = (opened.convert("L") if mode == "LA" else opened).convert(mode)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
    # PNG has no form of some modes.
    saved = {"I": "I;16", "CMYK": "RGB", "YCbCr": "RGB", "HSV": "RGB"}.get(mode, mode)
    before = image.mode, image.tobytes()
    png = io.BytesIO()
    image.convert(saved).save(png, "PNG")
    found = extractor.extract(image, modality="visible", progress=False)
    read = extractor.extract(Image.open(png), modality="visible", progress=False)
    np.testing.assert_array_equal(found.values, read.values)
    assert (image.mode, image.tobytes()) == before


def test_the_orientation_of_a_pil_image_is_applied(
    extractor: FeatureExtractor, files: list[Path], tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    turned = tmp_path / "turned.png"
    with Image.open(files[0]) as image:
        image.transpose(Image.Transpose.ROTATE_90).save(turned, exif=exif)
    upright, opened = (
        extractor.extract(image, progress=False).values for image in (files[0], Image.open(turned))
    )
    np.testing.assert_array_equal(opened, upright)


def test_a_modality_for_all_or_one_per_image(
    extractor: FeatureExtractor,
    arrays: list[NDArray[np.uint8]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def modalities(given: Any) -> list[Modality]:
        return [record.modality for record in extractor.extract(arrays, modality=given).records]

    assert (
        modalities("infrared") == modalities(INFRARED) == modalities(["IR"] * 3) == [INFRARED] * 3
    )
    assert "detected" not in capsys.readouterr().err
    assert modalities([INFRARED, None, "rgb"]) == [INFRARED, VISIBLE, VISIBLE]
    assert "The modality of 1 image was detected" in capsys.readouterr().err
    assert modalities(None) == [VISIBLE, VISIBLE, INFRARED]
    detected = "The modality of 3 images was detected from the colours: 2 visible and 1 infrared."
    assert f"{detected} Override with modality=." in capsys.readouterr().err
    streams = []
    forward = extractor.backend.extract_features

    def noting(images: torch.Tensor, modality: Modality) -> torch.Tensor:
        streams.append((len(images), modality))
        return forward(images, modality)

    monkeypatch.setattr(extractor.backend, "extract_features", noting)
    extractor.extract(arrays, modality=["ir", None, "ir"], progress=False)
    assert streams == [(2, INFRARED), (1, VISIBLE)]


def test_the_command_line_gives_the_same_features(folder: Path, tmp_path: Path) -> None:
    run, out = write_run(tmp_path / "run"), tmp_path / "a.parquet"
    assert main(["encode", str(run), str(folder), "--out", str(out)]) == 0
    (batch,) = FeatureFile(out)
    extractor = vireid.load(str(run))
    found = extractor.extract([image.info.path for image in batch.images], progress=False)
    np.testing.assert_allclose(found.values, batch.values, atol=1e-6)
    modalities = [image.info.modality for image in batch.images]
    assert [record.modality for record in found.records] == modalities


def test_files_are_extracted_from_their_paths_too(
    extractor: FeatureExtractor, files: list[Path], tmp_path: Path
) -> None:
    [expected] = extract_from_files(extractor, list_images(files[0].parent))
    for several in (files, list(map(str, files))):
        [batch] = extract_from_files(extractor, several)
        np.testing.assert_array_equal(batch.values, expected.values)
    [one] = extract_from_files(extractor, str(files[2]))
    assert [image.info.sha256 for image in one.images] == [expected.images[2].info.sha256]
    out = tmp_path / "a.parquet"
    assert extract_to_parquet(extractor, files, str(out), progress=False).rows == 3
    [batch] = FeatureFile(str(out))
    np.testing.assert_array_equal(batch.values, expected.values)
    record: Any = ImageRecord(files[0], 1, 1, VISIBLE)
    with pytest.raises(ImageError, match="of type ImageRecord; expected a path or an ImageInfo"):
        list(extract_from_files(extractor, [record]))


def test_folders_of_data_sets_may_be_text(tmp_path: Path) -> None:
    root: Any = str(write_regdb(tmp_path / "RegDB"))
    assert DataSource(layout="regdb", root=root).open().test()


def test_a_generator_is_read_two_batches_ahead_at_most(
    extractor: FeatureExtractor, arrays: list[NDArray[np.uint8]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, extracted = 0, 0
    forward = extractor.extract_pixels

    def frames() -> Iterator[NDArray[np.uint8]]:
        nonlocal made
        for number in range(30):
            made += 1
            yield arrays[number % 3]

    def counting(images: torch.Tensor, *args: Any, **options: Any) -> NDArray[np.float32]:
        nonlocal extracted
        extracted += len(images)
        assert made <= extracted + 4
        return forward(images, *args, **options)

    monkeypatch.setattr(extractor, "extract_pixels", counting)
    found = extractor.extract(frames(), batch_size=4, progress=False)
    assert len(found.records) == made == extracted == 30


def test_attention_takes_the_same_forms(
    extractor: FeatureExtractor, files: list[Path], arrays: list[NDArray[np.uint8]]
) -> None:
    for one in (str(files[2]), arrays[2][..., 0]):
        [found] = extractor.attention(one)
        [expected] = extractor.attention([ImageRecord(files[2], 1, 1, INFRARED)])
        np.testing.assert_array_equal(found.weights, expected.weights)
    assert extractor.translate(arrays[0], modality="visible") == []


GOOD = np.zeros((8, 4, 3), np.uint8)


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (GOOD / 255, r"'images\[0\]' is an array float64 \[8, 4, 3\]; expected uint8 \[H, W, 3\]"),
        ([GOOD, GOOD.astype(np.uint16)], r"'images\[1\]' is an array uint16"),
        (GOOD > 3, "an array bool"),
        (GOOD.transpose(2, 0, 1), r"uint8 \[3, 8, 4\]; .*move its channels last"),
        (np.stack([GOOD[..., 0]] * 2), r"uint8 \[2, 8, 4\]; .*stack of grey images as a list"),
        (np.dstack([GOOD, GOOD[..., 0]]), r"uint8 \[8, 4, 4\]"),
        (GOOD[:0], r"uint8 \[0, 4, 3\]"),
        (GOOD[0, 0], r"uint8 \[3\]"),
        (torch.zeros(3, 8, 4), "is of type Tensor; .*tensor.permute"),
        ([GOOD, None], r"'images\[1\]' is of type NoneType; expected a path, a PIL image"),
        (b"\x89PNG", "'images' is of type bytes; .*BytesIO"),
        (3, "'images' is of type int"),
        ([["a.png"]], r"'images\[0\]' is of type list"),
        (Image.new("F", (4, 8), float("nan")), "mode F.*none of its pixels has a finite value"),
        (Image.new("RGB", (0, 8)), "it has 0 x 8 pixels"),
        ("nowhere.png", "'nowhere.png' does not exist"),
        (".", "'.' is a folder; .*list_images"),
        ("", "'.' is a folder; .*list_images"),
    ],
)
def test_wrong_images_are_one_error(
    extractor: FeatureExtractor, images: Any, expected: str
) -> None:
    with pytest.raises(ImageError, match=expected):
        extractor.extract(images, progress=False)


@pytest.mark.parametrize(
    ("images", "options", "expected"),
    [
        ([], {}, "images is empty; expected at least one"),
        (iter([]), {}, "images is empty; expected at least one"),
        (np.zeros((0, 8, 4, 3), np.uint8), {}, "images is empty; expected at least one"),
        (GOOD, {"modality": "blue"}, "modality 'blue' is unknown; expected visible, vis, rgb"),
        (GOOD, {"modality": 3}, "modality '3' is unknown"),
        ([GOOD, GOOD], {"modality": ["ir"]}, "modality names 1 for 2 images; expected one for all"),
        (iter([GOOD]), {"modality": ["ir"] * 2}, "modality names 2 for 1 image;"),
        (ImageRecord(Path("a"), 1, 1, INFRARED), {"modality": "rgb"}, "record of 'a' is infrared"),
        (GOOD, {"batch_size": 0}, "batch-size 0 is out of range"),
        ([GOOD], {"distributed": True}, "the modality of 'images.0.' is unknown; .*modality="),
    ],
)
def test_wrong_options_are_one_error(
    extractor: FeatureExtractor, images: Any, options: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ConfigError, match=expected):
        extractor.extract(images, progress=False, **options)


def test_a_truncated_or_closed_pil_image_is_named(
    extractor: FeatureExtractor, files: list[Path]
) -> None:
    truncated = Image.open(io.BytesIO(files[0].read_bytes()[:900]))
    closed = Image.open(files[1])
    closed.close()
    for bad, why in ((truncated, "truncated"), (closed, "closed")):
        with pytest.raises(
            VireidError, match=rf"'images\[1\]' \(mode RGB\) cannot be read: .*{why}"
        ):
            extractor.extract([GOOD, bad], progress=False)
