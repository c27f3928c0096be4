"""``vireid encode`` writes the features of images to a file or shards, and prints a summary."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from tests.app.people import photograph, write_run
from tests.helpers.trees import save_manifest

from vireid.cli import main
from vireid.features import load
from vireid.features.parquet import FeatureFile
from vireid.types import ImageRecord, Modality


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("run") / "r")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Three visible and two infrared images, in a path with a space and letters beyond ASCII."""
    folder = tmp_path / "cam 1 é"
    for number in range(5):
        path = folder / ("day", "night")[number > 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photograph(number, grey=number > 2))
    return folder


def test_a_folder(
    run: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a b.parquet"
    assert main(["encode", str(run), str(images), "--out", str(out), "--batch-size", "2"]) == 0
    printed = capsys.readouterr().out
    extractor = load(run)
    assert (
        f"'{out}' holds the features of 5 images: dimension 16, network {extractor.fingerprint}."
        in printed
    )
    assert (
        "The modality of 5 images was detected from the colours: 3 visible and 2 infrared."
        in printed
    )
    file = FeatureFile(out)
    assert file.model.about == extractor.about
    (batch,) = file
    records = [
        ImageRecord(image.info.path, 1, 0, image.info.modality)
        for image in batch.images
        if image.info.modality
    ]
    assert [record.path for record in records] == sorted(images.rglob("*.png"))
    expected = extractor.extract(records, progress=False).values
    np.testing.assert_allclose(batch.values, expected, atol=1e-6)


def test_a_manifest_and_options_for_all_images(
    run: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"path": "day/0.png", "modality": "", "camera": "", "identity": "Ada"},
        {"path": "night/3.png", "modality": "ir", "camera": "yard", "identity": ""},
    ]
    manifest, out = save_manifest(images / "list.csv", rows), tmp_path / "a.parquet"
    given = ["--modality", "visible", "--camera", "entrance"]
    assert main(["encode", str(run), str(manifest), "--out", str(out), *given]) == 0
    assert "guessed" not in capsys.readouterr().out
    (batch,) = FeatureFile(out)
    assert [(i.info.modality, i.info.camera, i.info.identity) for i in batch.images] == [
        (Modality.VISIBLE, "entrance", "Ada"),
        (Modality.INFRARED, "yard", ""),
    ]


def test_a_folder_of_shards_by_two_and_into_a_gallery(
    run: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, people = str(tmp_path / "shards é"), str(tmp_path / "people")
    encode = ["encode", str(run), str(images), "--out", out, "--shard-rows", "2", "--part"]
    add = ["gallery", "add", people, "--encoded", out]
    assert main([*encode, "2/2"]) == 0
    assert (
        f"Part 2/2 of '{out}' holds the features of 2 images: dimension 16"
        in capsys.readouterr().out
    )
    assert main(add) == 2
    assert "lacks 2 of the 3 shards of part 1/1: '00000000.parquet'" in capsys.readouterr().err
    assert main([*add, "--part", "2/2"]) == 0
    assert "holds 2 entries: 2 new." in capsys.readouterr().out
    assert main([*encode, "1/2"]) == 0
    for new, known in ((3, 2), (0, 5)):
        assert main(add) == 0
        assert f"holds 5 entries: {new} new; {known} were already there" in capsys.readouterr().out


def test_bad_images_and_resuming(
    run: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (images / "z.jpg").write_text("<html>")
    out = tmp_path / "a.parquet"
    words = ["encode", str(run), str(images), "--out", str(out), "--batch-size", "2"]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert "z.jpg' (6 bytes) cannot be read" in error
    assert error.rstrip().endswith("With --skip-bad, bad images are left out.")
    assert f"to resume, run the command for '{out}' again" in error
    assert not out.exists()
    assert main([*words, "--skip-bad"]) == 0
    printed = capsys.readouterr().out
    assert "of 5 images (4 from an earlier run): dimension 16" in printed
    assert "1 image was skipped:\n  '" in printed
    assert FeatureFile(out).rows == 5
    (images / os.fsdecode(b"caf\xe9\x1b.jpg")).touch()
    assert main([*words, "--skip-bad"]) == 0
    assert "caf\\udce9\\x1b.jpg' has a name that is not UTF-8" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("{run} nowhere --out a.parquet", "'nowhere' does not exist; expected an image"),
        ("{run} {empty} --out a.parquet", "is a folder without any image in it or below"),
        ("{run} --out a.parquet", "no image is named; expected image files"),
        ("{empty} {images} --out a.parquet", "is no run folder"),
        ("{run} {images} --out a.npz", "'a.npz' ends in '.npz'; expected a name that ends in"),
        ("{run} {images} --out a --shard-rows 0", "--shard-rows 0 is out of range"),
        ("{run} {images} --out a.parquet --shard-rows 2", "'a.parquet' is a file name"),
        (
            "{run} {images} --out a.parquet --part 1/2",
            "--part 1/2 is given without --shard-rows; expected",
        ),
        ("{run} {images} --out a --shard-rows 2 --part 3/2", "--part '3/2' is no part"),
        ("{run} {images} --out a.parquet --batch-size 0", "--batch-size 0 is out of range"),
        (
            "{run} {images} --out a.parquet --camera Hof\udce9",
            "--camera 'Hof\\udce9' is not UTF-8; expected a name that is",
        ),
    ],
)
def test_user_errors_are_one_sentence(
    words: str,
    expected: str,
    run: Path,
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    places = {"run": run, "images": images, "empty": tmp_path / "empty"}
    assert main(["encode", *(word.format(**places) for word in words.split())]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("vireid: ")
    assert expected in error
    assert not list(tmp_path.glob("a.*"))
