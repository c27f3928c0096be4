"""``vireid gallery standardise``: a gallery with standardised features, and searches in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.app.people import photograph, write_run

from vireid.cli import main
from vireid.features import load
from vireid.gallery import Gallery, open_gallery
from vireid.standardisation import Standardisation, arrays_of
from vireid.types import IndexedImage


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("run") / "r")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Day and night images of six people."""
    for name, grey in (("day", False), ("night", True)):
        (tmp_path / "images" / name).mkdir(parents=True)
        for person in range(6):
            file = tmp_path / "images" / name / f"{person}.png"
            file.write_bytes(photograph(person, grey=grey, camera=int(grey)))
    return tmp_path / "images"


def vireid(*words: str | Path) -> None:
    assert main([str(word) for word in words]) == 0


def rows_of(place: Path) -> list[IndexedImage]:
    with open_gallery(place) as gallery:
        return list(gallery.rows())


def test_features_are_standardised_and_recoverable(
    run: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw, once, twice = tmp_path / "raw", tmp_path / "once", tmp_path / "twice"
    vireid("gallery", "add", raw, images, "--run", run)
    vireid("gallery", "standardise", raw, once, "--deviation")
    text = "mean and deviation by modality of 6 infrared and 6 visible entries"
    printed = capsys.readouterr()
    assert f"12 entries with standardised features: {text}." in printed.out
    assert "The mean of 6 infrared images also describes the people" in printed.err
    before = rows_of(raw)
    expected = Standardisation.fit(*arrays_of(before), source="entries", divide=True)
    after = rows_of(once)
    assert [row.info for row in after] == [row.info for row in before]
    np.testing.assert_allclose(arrays_of(after)[0], expected.apply(*arrays_of(before)), atol=1e-6)
    np.testing.assert_allclose(expected.invert(*arrays_of(after)), arrays_of(before)[0], atol=1e-5)
    # Of a standardised gallery, the features of the network are standardised.
    vireid("gallery", "standardise", once, twice, "--deviation")
    np.testing.assert_allclose(arrays_of(rows_of(twice))[0], arrays_of(after)[0], atol=1e-4)
    with open_gallery(once) as gallery, open_gallery(raw) as plain:
        assert (
            gallery.model.fingerprint != plain.model.fingerprint == gallery.model.about["network"]
        )
        assert gallery.model.about["standardisation"] == text
    vireid("gallery", "info", once)
    assert text in capsys.readouterr().out


def test_queries_and_new_images_are_standardised(
    run: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw, standard = tmp_path / "raw", tmp_path / "standard"
    vireid("gallery", "add", raw, images / "day", "--run", run)
    assert main(["gallery", "standardise", str(raw), str(standard)]) == 2
    assert "has no infrared entry; expected entries of both" in capsys.readouterr().err
    vireid("encode", run, images / "night", "--out", tmp_path / "night.parquet")
    vireid("gallery", "standardise", raw, standard, "--encoded", tmp_path / "night.parquet")
    with open_gallery(standard) as gallery:
        statistics = gallery.standardisation
    assert statistics
    new = tmp_path / "new.png"
    new.write_bytes(photograph(9, grey=True))
    vireid("gallery", "add", standard, new, "--run", run)
    capsys.readouterr()
    query = images / "night" / "3.png"
    vireid("gallery", "search", standard, query, "--run", run, "--modality", "visible")
    features = load(run).extract([query, new], progress=False)
    expected = statistics.features(features).values
    with open_gallery(standard) as gallery:
        [stored] = [row for row in gallery.rows() if row.info.name == "new.png"]
        [hits] = gallery.search(expected[:1], limit=13, with_features=True)
    np.testing.assert_allclose(stored.feature, expected[1], atol=1e-5)
    score = next(hit.score for hit in hits if hit.info.name == "3.png")
    assert f"{score:.3f}" in capsys.readouterr().out


def test_an_interrupted_copy_is_finished(
    run: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, whole, cut = (tmp_path / name for name in ("raw", "whole", "cut"))
    vireid("gallery", "add", raw, images, "--run", run)
    vireid("gallery", "standardise", raw, whole)
    monkeypatch.setattr("vireid.cli.gallery.BATCH", 5)
    add, calls = Gallery.add, []

    def killed(self: Gallery, rows: list[IndexedImage]) -> object:
        calls.append(len(rows))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return add(self, rows)

    monkeypatch.setattr(Gallery, "add", killed)
    assert main(["gallery", "standardise", str(raw), str(cut)]) == 130
    monkeypatch.setattr(Gallery, "add", add)
    assert len(rows_of(cut)) == 5
    vireid("gallery", "standardise", raw, cut)
    for one, other in zip(rows_of(cut), rows_of(whole), strict=True):
        assert one.info == other.info
        np.testing.assert_allclose(one.feature, other.feature, atol=1e-6)


def test_features_of_the_plain_network_are_refused(
    run: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw, standard, copied = (tmp_path / name for name in ("raw", "standard", "copied"))
    vireid("gallery", "add", raw, images, "--run", run)
    vireid("gallery", "standardise", raw, standard)
    vireid("encode", run, images, "--out", tmp_path / "a.parquet")
    assert main(["gallery", "add", str(standard), "--encoded", str(tmp_path / "a.parquet")]) == 2
    assert "their features cannot be compared" in capsys.readouterr().err
    assert main(["gallery", "standardise", str(raw), str(raw)]) == 2
    assert "expected a new gallery as the second" in capsys.readouterr().err
    # A copy keeps the statistics, so that it can be searched.
    vireid("gallery", "copy", standard, copied)
    vireid("gallery", "search", copied, images / "night" / "1.png", "--run", run)
