"""``vireid gallery calibrate``: labelled images become verdicts that a gallery keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tests.app.people import photograph, write_run
from tests.helpers.trees import save_manifest, write_sysu
from tests.openset.test_calibration import DAY, NIGHT, impostor_scores, toy_calibration

from vireid.cli import main
from vireid.cli.calibrate import format_calibration, format_validation
from vireid.features import load
from vireid.gallery import open_gallery
from vireid.openset.calibration import Calibration
from vireid.openset.statistics import ErrorRates, Estimate
from vireid.openset.validation import OutcomeRates, Validation
from vireid.runs import RunFolder
from vireid.types import Modality, ModelInfo


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("run") / "r")


@pytest.fixture
def gallery(run: Path, tmp_path: Path) -> Path:
    place = tmp_path / "gallery"
    open_gallery(place, model=load(run).model_info, create=True).close()
    return place


def labelled(folder: Path, people: int, *, split: str = "val") -> Path:
    """A manifest of people with three visible and two infrared images."""
    rows = []
    for person in range(people):
        for number in range(5):
            grey = number > 2
            path = folder / "images" / f"{person}-{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(photograph(person, camera=number % 2, frame=number, grey=grey))
            rows.append(
                {
                    "path": str(path),
                    "identity": f"person {person}",
                    "camera": "yard" if grey else "hall",
                    "modality": "infrared" if grey else "visible",
                    "split": split,
                }
            )
    return save_manifest(folder / "labelled.csv", rows)


def words(gallery: Path, run: Path, root: Path, *more: str, layout: str = "manifest") -> list[str]:
    head = ["gallery", "calibrate", str(gallery), "--run", str(run)]
    return [*head, "--layout", layout, "--root", str(root), *more]


def refused(asked: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(asked) == 2
    return " ".join(capsys.readouterr().err.split())


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("|")[1:-1]]


def test_a_gallery_keeps_what_was_learnt(
    run: Path, gallery: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = labelled(tmp_path, 30)
    assert main(words(gallery, run, root, "--false-match", "0.02")) == 0
    printed = capsys.readouterr().out
    assert "Estimated from 30 people in 150 images." in printed
    assert "2 % of the searches for people who are NOT in\nthe gallery end in a" in printed
    assert "1 pair of cameras had enough people" in printed
    assert "30 people cannot be halved to check a calibration" in printed
    assert f"'{gallery}' now returns verdicts." in printed
    with open_gallery(gallery) as opened:
        assert opened.count() == 0
        kept = Calibration.from_json(opened.calibration, fingerprint=opened.model.fingerprint)
    assert (kept.people, kept.rates) == (
        30,
        ErrorRates(false_match=0.02, missed=0.05, own_images=1),
    )
    assert {str(found.second) for found in kept.impostors} == {"visible", "visible camera hall"}


def test_people_left_out_are_searched_for(
    run: Path, gallery: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = labelled(tmp_path, 60, split="test")
    assert main(words(gallery, run, root, "--split", "test")) == 0
    printed = capsys.readouterr().out
    assert "VALIDATION: thresholds from one half of the 60 people" in printed
    assert "In percent" in printed
    row = next(cells(line) for line in printed.splitlines() if "10 (30) |" in line)
    assert row[0] == "infrared to visible"
    assert len(row) == 7


def test_too_few_people_change_nothing(
    run: Path, gallery: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = refused(words(gallery, run, labelled(tmp_path, 29)), capsys)
    assert "Of 29 people 29 are seen in both modalities" in told
    assert "expected at least 30 people and 5,000 pairs" in told
    with open_gallery(gallery) as opened:
        assert opened.calibration == ""


def test_images_that_the_network_was_trained_on_are_refused(
    tmp_path: Path, gallery: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_sysu(tmp_path / "sysu")
    run = write_run(tmp_path / "run")
    folder = RunFolder(run)
    before = folder.read_config()
    folder.start(replace(before, data=replace(before.data, root=root)))
    told = refused(words(gallery, run, root, layout="sysu-mm01"), capsys)
    assert "The network was trained on 42 of the 42 images of the split val" in told
    assert "`vireid train … --hold-out`" in told
    folder.start(replace(before, data=replace(before.data, root=root, hold_out=True)))
    told = refused(words(gallery, run, root, layout="sysu-mm01"), capsys)
    assert "Of 2 people 2 are seen in both modalities" in told


def test_an_empty_split_is_refused(
    run: Path, gallery: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = refused(words(gallery, run, labelled(tmp_path, 3, split="test")), capsys)
    assert "has no image of the split val" in told
    assert "add --split test" in told


def test_the_gallery_of_another_network_is_refused_before_anything_is_read(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "other"
    open_gallery(place, model=ModelInfo(fingerprint="other", dimension=16), create=True).close()
    root = labelled(tmp_path, 2)
    for image in (tmp_path / "images").iterdir():
        image.write_text("no image")
    told = refused(words(place, run, root), capsys)
    assert "other" in told
    assert ".png" not in told


@pytest.mark.parametrize(
    ("flag", "value"), [("--false-match", "0.0"), ("--missed", "0.7"), ("--own-images", "0")]
)
def test_what_no_verdict_can_promise_is_refused(
    flag: str,
    value: str,
    run: Path,
    gallery: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = refused(words(gallery, run, tmp_path / "none.csv", flag, value), capsys)
    assert told.startswith(f"vireid: {flag} {value}")


def test_what_was_learnt_in_words() -> None:
    told = format_calibration(toy_calibration())
    rows = [cells(line) for line in told.splitlines() if line.startswith("|")]
    # The careful end and the estimate, by hand: a factor of ten is 0.1 in similarity.
    assert [
        "infrared to visible",
        "50 in 10,000 pairs of images",
        "0.510 (0.500)",
        "0.610 (0.600)*",
        "0.710 (0.700)*",
        "0.810 (0.800)*",
    ] in rows
    assert ["infrared to visible", "50 in 500 searches", "0.090 (0.100)"] in rows
    assert "- 8 visible images of a person count as 4.0 to infrared queries" in told
    assert "1 pair of cameras had enough people" in told


def test_what_no_cosine_reaches_is_no_threshold() -> None:
    by_careful = replace(
        toy_calibration(),
        impostors=(impostor_scores(NIGHT, DAY, 0.795), *toy_calibration().impostors[1:]),
    )
    told = format_calibration(by_careful)
    row = next(cells(line) for line in told.splitlines() if "10,000 pairs" in line)
    assert row[2:] == ["never (0.995)", "never (never)*", "never (never)*", "never (never)*"]


def test_what_was_checked_in_words() -> None:
    share = Estimate(0.0123, 0.004, 0.02)
    none = Estimate(0.0, 0.0, 0.0)
    measured = Validation(
        query=NIGHT.modality,
        gallery=DAY.modality,
        size=10,
        images=1_600,
        people=310,
        searches=3_100,
        non_mated=OutcomeRates(likely=share, uncertain=share, absent=share, correct=none),
        mated=OutcomeRates(likely=none, uncertain=share, absent=share, correct=none),
    )
    told = format_validation([measured])
    assert "310 people" in told
    assert cells(told.splitlines()[-1]) == [
        f"{Modality.INFRARED} to {Modality.VISIBLE}",
        "10 (1,600)",
        "1.23 (0.40 to 2.00)",
        "1.23 (0.40 to 2.00)",
        "0.00 (0.00 to 0.00)",
        "-",
        "1.23 (0.40 to 2.00)",
    ]
