"""``vireid evaluate --standardise``: the statistics of the named images, and what results say."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.cli.test_direct_transfer import write_run
from tests.helpers.trees import save_manifest, write_sysu

from vireid.cli import main
from vireid.data.layouts import DataSource, SysuMM01
from vireid.evaluation import Result, evaluate, protocols_for
from vireid.features import load
from vireid.standardisation import Standardisation
from vireid.types import Features, ImageRecord


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("standardise")
    root = write_sysu(folder / "sysu")
    return write_run(folder / "run", DataSource(layout="sysu-mm01", root=root))


@pytest.fixture(autouse=True)
def no_results(run: Path) -> None:
    shutil.rmtree(run / "results", ignore_errors=True)


def layout_of(run: Path) -> SysuMM01:
    return SysuMM01(run.parent / "sysu")


def result(run: Path, *words: str) -> Result:
    """The only new result of an evaluation."""
    before = set((run / "results").glob("*.json"))
    assert main(["evaluate", str(run), "--search", "all", "--no-figures", *words]) == 0
    [file] = set((run / "results").glob("*.json")) - before
    return Result.load(file)


def extract(run: Path, records: tuple[ImageRecord, ...]) -> Features:
    return load(run).extract(records, progress=False)


def test_training_images(run: Path) -> None:
    layout = layout_of(run)
    training, test = (extract(run, records) for records in (layout.train(), layout.test()))
    plain = result(run)
    for divide, options in ((False, []), (True, ["--deviation"])):
        statistics = Standardisation.fit(
            training.values,
            [record.modality for record in training.records],
            [record.camera_name for record in training.records],
            source="training images",
            divide=divide,
        )
        found = result(run, "--standardise", "train", *options)
        [protocol] = [p for p in protocols_for(layout) if p.name == found.protocol]
        expected = evaluate(statistics.features(test), protocol)
        assert found.standardisation == expected.standardisation == str(statistics)
        assert found.trials == expected.trials != plain.trials
        assert found.post_processing == ["standardisation"]
        assert plain.slug in found.slug
    assert len(list((run / "results").glob("*.json"))) == 3


def test_test_images_are_transductive(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = result(run, "--standardise", "test")
    [protocol] = [p for p in protocols_for(layout_of(run)) if p.name == found.protocol]
    count = len(protocol.records)
    assert found.standardisation.endswith(f"test images, transductive: {count} are test images")
    assert "(with transductive standardisation)" in capsys.readouterr().out


def test_a_manifest_of_which_some_are_test_images(run: Path, tmp_path: Path) -> None:
    layout = layout_of(run)
    [protocol] = protocols_for(layout)[:1]
    listed = [*layout.train(), *protocol.records[:3]]
    rows = [
        {"path": str(r.path), "modality": str(r.modality), "camera": r.camera_name} for r in listed
    ]
    found = result(run, "--standardise", str(save_manifest(tmp_path / "all é.csv", rows)))
    assert found.standardisation.endswith("images of 'all é.csv', transductive: 3 are test images")
    only = save_manifest(tmp_path / "others.csv", rows[:-3])
    assert "transductive" not in result(run, "--standardise", str(only)).standardisation


def test_cameras_with_enough_images(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vireid.standardisation.MIN_CAMERA_IMAGES", 2)
    layout = layout_of(run)
    cameras, counts = np.unique([r.camera for r in layout.train()], return_counts=True)
    own = sum(counts >= 2)
    assert own == len(cameras) > 2
    found = result(run, "--standardise", "train")
    assert f"by modality and by {own} cameras of" in found.standardisation


def test_sources_without_both_modalities_are_refused(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run.parent / "sysu" / "cam1"
    assert main(["evaluate", str(run), "--no-figures", "--standardise", str(folder)]) == 2
    assert "no infrared image is among images of 'cam1'" in capsys.readouterr().err
    assert main(["evaluate", str(run), "--no-figures", "--standardise", "trian"]) == 2
    error = capsys.readouterr().err
    assert "'trian' does not exist" in error
    assert error.rstrip().endswith("--standardise also takes train and test.")
