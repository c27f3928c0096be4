"""Images that cannot be adapted to, or only in part, are told apart in one sentence."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.helpers.unlabelled import write_people

from vireid.adaptation.messages import lacking_clusters, lacking_images, warning_of
from vireid.adaptation.monitor import describe_clusters, wrong_sides
from vireid.cli import main
from vireid.types import Modality


def report(visible: list[int], infrared: list[int]) -> dict[str, Any]:
    """The report of a round from the sizes of its clusters, 0 for an image in none."""
    found: dict[str, Any] = {
        "separation": 0.0,
        "visible_wrong_side": 0.0,
        "infrared_wrong_side": 0.0,
    }
    for modality, sizes in zip(Modality, (visible, infrared), strict=True):
        labels = np.concatenate(
            [np.full(max(size, 1), n if size else -1) for n, size in enumerate(sizes)]
        )
        rows = np.eye(4, dtype=np.float32)[np.maximum(labels, 0) % 4]
        found |= describe_clusters(rows, labels, modality)
        found[f"{modality}_neighbourhood"] = 0.1
    return found


SOUND = report([5] * 12, [5] * 12)


def test_sound_clusters_have_no_warning() -> None:
    assert warning_of(SOUND, []) == ""
    assert warning_of(SOUND, [SOUND]) == ""
    assert lacking_clusters(SOUND) == ""


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (report([5] * 12, [5]), "The infrared images make 1 cluster; expected at least 2"),
        (report([0] * 12, [5] * 12), "The visible images make 0 clusters; expected at least 2"),
    ],
)
def test_too_few_clusters_are_an_error(found: dict[str, Any], said: str) -> None:
    assert said in lacking_clusters(found)


def test_one_image_a_person() -> None:
    found = report([3, 3, *[0] * 40], [5] * 4)
    assert "only 13% of the visible images are in a cluster" in warning_of(found, [])


def test_neighbourhoods_wider_than_people() -> None:
    found = SOUND | {"infrared_neighbourhood": 0.25}
    assert "`vireid adapt --k1` is 25% of the infrared images" in warning_of(found, [])
    assert warning_of(found, [SOUND]) == ""


def test_one_tiny_modality() -> None:
    found = report([5] * 40, [5, 5, 5])
    assert "40 visible and 3 infrared clusters cannot be the same people" in warning_of(found, [])
    assert lacking_images({Modality.VISIBLE: 40, Modality.INFRARED: 1}).startswith(
        "Adaptation got 1 infrared image among 41; expected images of both modalities"
    )


def test_one_huge_cluster() -> None:
    found = report([90, *[3] * 12], [5] * 12)
    assert "one cluster holds 71% of the visible images" in warning_of(found, [])


def test_clusters_that_swallow_each_other() -> None:
    found = report([12] * 5, [5] * 12)
    assert "the visible clusters fell from 12 to 5" in warning_of(found, [SOUND])


@pytest.mark.parametrize(
    ("gap", "wrong", "said"), [(1.5, 0.0, False), (1.5, 0.2, True), (0.0, 0.2, False)]
)
def test_wrong_modalities(gap: float, wrong: float, said: bool) -> None:
    """They are seen where the modalities lie apart, and not where a network made them one."""
    rng = np.random.default_rng(0)
    features = (rng.normal(size=(600, 16)) / 4).astype(np.float32)
    features[:300, 0] += gap
    swapped = round(wrong * 300)
    features[:swapped, 0], features[300 : 300 + swapped, 0] = (
        features[300 : 300 + swapped, 0].copy(),
        features[:swapped, 0].copy(),
    )
    found = wrong_sides(features, 300)
    if gap:
        assert abs(found["visible_wrong_side"] - wrong) < 0.02
    warning = warning_of(SOUND | found, [])
    assert ("20% of the visible images and 20% of the infrared images look like" in warning) == said


def test_commands_that_cannot_adapt_end_in_one_sentence(
    finished: Path, cameras: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*words: str) -> str:
        out = str(tmp_path / "out")
        shutil.rmtree(out, ignore_errors=True)
        assert main(["adapt", *words, "--out", out, "--device", "cpu"]) == 2
        return capsys.readouterr().err.splitlines()[-1]

    day = str(cameras / "day")
    assert "0 infrared images" in said(str(finished), day)
    assert "--layout is 'None'" in said(str(finished))
    assert "--root not given" in said(str(finished), "--layout", "regdb")
    assert "is unknown; expected one of" in said("imagenet", day, "--recipe", "none")
    assert "`vireid adapt --cut 1` makes one cluster" in said(str(finished), day, "--cut", "1")
    assert "several phases" in said("imagenet", day, str(cameras / "night"), "--recipe", "hcml-cpu")


def test_duplicates_count_once(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_people(tmp_path, people=2, images=1)
    shutil.copy(root / "day" / "p0_0.png", root / "day" / "copy.png")
    (root / "night" / "bad.png").write_bytes(b"no image")
    words = ["adapt", str(finished), str(root / "day"), str(root / "night")]
    assert main([*words, "--out", str(tmp_path / "a"), "--device", "cpu"]) == 2
    assert "With --skip-bad, bad images are left out" in capsys.readouterr().err
    assert main([*words, "--out", str(tmp_path / "b"), "--device", "cpu", "--skip-bad"]) == 2
    printed = capsys.readouterr()
    assert "1 image with the same bytes as another counted once" in printed.out
    assert "1 image was skipped" in printed.out
    assert "The visible images make 0 clusters" in printed.err
