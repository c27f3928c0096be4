"""Standardisation against float64 loops, what changes nothing in it, and what results say of it."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import vireid.standardisation
from vireid.cli import main
from vireid.errors import EvaluationError
from vireid.evaluation import Result, pool
from vireid.standardisation import MIN_CAMERA_IMAGES, FeatureStatistics, Standardisation
from vireid.types import Features, ImageRecord, Modality

VISIBLE, INFRARED = Modality.VISIBLE, Modality.INFRARED
SOURCE = "unlabelled images"


@pytest.fixture
def images() -> tuple[NDArray[np.float32], list[Modality], list[str]]:
    """300 features of two modalities around two means; one camera with 110 images, one with 40."""
    rng = np.random.default_rng(0)
    modalities = [VISIBLE] * 150 + [INFRARED] * 150
    cameras = ["a"] * 110 + ["b"] * 40 + [""] * 150
    means = rng.normal(size=(2, 12))[[0] * 150 + [1] * 150]
    values = means + rng.normal(size=(300, 12)) * rng.uniform(0.1, 2, size=12)
    values[:110] += rng.normal(size=12)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    order = rng.permutation(300)
    return (
        values[order].astype(np.float32),
        [modalities[i] for i in order],
        [cameras[i] for i in order],
    )


def by_loops(
    values: NDArray[np.float32], modalities: list[Modality], cameras: list[str], *, divide: bool
) -> list[list[float]]:
    def group(row: int) -> list[int]:
        every = range(len(values))
        mine = [i for i in every if modalities[i] is modalities[row]]
        camera = [i for i in mine if cameras[i] == cameras[row]]
        return camera if cameras[row] and len(camera) >= MIN_CAMERA_IMAGES else mine

    rows = []
    for row, feature in enumerate(values.astype(np.float64).tolist()):
        others = values[group(row)].astype(np.float64).tolist()
        new = []
        for number, value in enumerate(feature):
            column = [other[number] for other in others]
            mean = math.fsum(column) / len(column)
            variance = math.fsum((x - mean) ** 2 for x in column) / len(column)
            new.append((value - mean) / (math.sqrt(variance) if divide else 1))
        norm = math.sqrt(math.fsum(x * x for x in new))
        rows.append([x / norm for x in new])
    return rows


@pytest.mark.parametrize("divide", [False, True])
@pytest.mark.parametrize("block", [7, 4096])
def test_it_is_the_formula_in_loops(
    images: tuple[NDArray[np.float32], list[Modality], list[str]],
    divide: bool,
    block: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(vireid.standardisation, "_BLOCK", block)
    fitted = Standardisation.fit(*images, source=SOURCE, divide=divide)
    found = fitted.apply(*images)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, by_loops(*images, divide=divide), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found.astype(np.float64), axis=1), 1, atol=1e-6)
    assert set(fitted.groups) == {(VISIBLE, ""), (VISIBLE, "a"), (INFRARED, "")}
    what = "mean and deviation" if divide else "mean"
    assert (
        str(fitted)
        == f"{what} by modality and by 1 camera of 150 infrared and 150 visible {SOURCE}"
    )


def test_the_threshold_of_a_camera(
    images: tuple[NDArray[np.float32], list[Modality], list[str]],
) -> None:
    values, modalities, _ = images
    for count in (MIN_CAMERA_IMAGES - 1, MIN_CAMERA_IMAGES):
        rows = [i for i, m in enumerate(modalities) if m is VISIBLE]
        cameras = ["a" if i in rows[:count] else "" for i in range(300)]
        fitted = Standardisation.fit(values, modalities, cameras, source=SOURCE)
        assert ((VISIBLE, "a") in fitted.groups) is (count == MIN_CAMERA_IMAGES)


@pytest.mark.parametrize("divide", [False, True])
def test_a_constant_added_to_a_modality_changes_nothing(
    images: tuple[NDArray[np.float32], list[Modality], list[str]], divide: bool
) -> None:
    values, modalities, cameras = images
    wide = values.astype(np.float64)
    shift = np.random.default_rng(1).normal(size=(2, 12))
    moved = wide + shift[[int(m is VISIBLE) for m in modalities]]
    plain, shifted = (
        Standardisation.fit(v, modalities, cameras, source=SOURCE, divide=divide).apply(
            v, modalities, cameras
        )
        for v in (wide, moved)
    )
    np.testing.assert_allclose(shifted, plain, atol=1e-6)


def test_standardised_features_around_their_mean_are_a_fixed_point() -> None:
    # Pairs on both sides of the mean: the final normalisation leaves their mean 0.
    rng = np.random.default_rng(0)
    around = rng.normal(size=(50, 6))
    values = np.concatenate([around, -around]) + 3
    modalities, cameras = [VISIBLE] * 100, [""] * 100
    once = Standardisation.fit(values, modalities, cameras, source=SOURCE)
    first = once.apply(values, modalities, cameras)
    again = Standardisation.fit(first, modalities, cameras, source=SOURCE)
    np.testing.assert_allclose(again.groups[VISIBLE, ""].mean, 0, atol=1e-7)
    np.testing.assert_allclose(again.apply(first, modalities, cameras), first, atol=1e-6)


def test_before_normalisation_mean_and_deviation_are_0_and_1(
    images: tuple[NDArray[np.float32], list[Modality], list[str]],
) -> None:
    values = images[0].astype(np.float64)
    mean, variance = FeatureStatistics.of(values)[1:]
    again = FeatureStatistics.of((values - mean) / np.sqrt(variance))
    np.testing.assert_allclose(again.mean, 0, atol=1e-12)
    np.testing.assert_allclose(again.variance, 1, atol=1e-12)


def test_merged_statistics_are_those_of_all_images() -> None:
    values = np.random.default_rng(0).normal(100, 1, size=(17, 3))
    parts = [FeatureStatistics.of(part) for part in np.split(values, [1, 6])]
    found = parts[0].merged(parts[1]).merged(parts[2])
    expected = FeatureStatistics.of(values)
    assert found.images == 17
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-14)
    np.testing.assert_allclose(found.variance, expected.variance, rtol=1e-12)


def test_a_number_that_hardly_varies_does_not_decide() -> None:
    values = np.random.default_rng(0).normal(size=(200, 4))
    values[:, 3] = 5
    fitted = Standardisation.fit(values, [VISIBLE] * 200, [""] * 200, source=SOURCE, divide=True)
    other = np.array([[1.0, 1.0, 1.0, 5.0 + 1e-6]])
    assert abs(fitted.apply(other, [VISIBLE], [""])[0, 3]) < 0.01


def test_what_cannot_be_standardised_is_named(
    images: tuple[NDArray[np.float32], list[Modality], list[str]],
) -> None:
    values, modalities, cameras = images
    fitted = Standardisation.fit(values, modalities, cameras, source=SOURCE)
    visible = Standardisation.fit(values[:2], [VISIBLE] * 2, [""] * 2, source=SOURCE)
    with pytest.raises(EvaluationError, match="no infrared image is among unlabelled images"):
        visible.apply(values[:1], [INFRARED], [""])
    with pytest.raises(EvaluationError, match="features of 3 numbers, and 12 in those of"):
        fitted.apply(values[:, :3], modalities, cameras)
    one = Standardisation.fit(values[:1], [VISIBLE], [""], source=SOURCE)
    with pytest.raises(EvaluationError, match="1 feature equals the mean of 1 image of"):
        one.apply(values[:1], [VISIBLE], [""])
    values[3, 2] = np.nan
    with pytest.raises(EvaluationError, match="NaN or infinity in the features of unlabelled"):
        Standardisation.fit(values, modalities, cameras, source=SOURCE)
    features = Features(values[:1], (ImageRecord(Path("a"), 1, 0, VISIBLE),), standardisation="x")
    with pytest.raises(EvaluationError, match="are standardised already"):
        fitted.features(features)


def write(file: Path, people: range, modality: Modality, shift: float) -> NDArray[np.float64]:
    """Features of three images of each person, which lie around a mean of the modality."""
    rng = np.random.default_rng(len(people) + int(modality is VISIBLE))
    identities = np.repeat(list(people), 3)
    own = np.random.default_rng(7).normal(size=(1000, 8))[identities]
    features = own + 0.1 * rng.normal(size=own.shape) + shift * np.eye(8)[int(modality is VISIBLE)]
    modalities = [str(modality)] * len(features)
    np.savez(file, features=features, identities=identities, modalities=modalities)
    assert isinstance(features, np.ndarray)
    return features


def test_score_names_the_statistics(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    query, gallery, other = (tmp_path / f"{name}.npz" for name in ("q", "g", "other é"))
    write(query, range(30), INFRARED, 9)
    write(gallery, range(30), VISIBLE, 9)
    parts = [write(tmp_path / "x", range(50, 90), m, 9) for m in (INFRARED, VISIBLE)]
    np.savez(
        other,
        features=np.concatenate(parts),
        modalities=["ir"] * 120 + ["RGB"] * 120,
    )
    words = ["score", "--query", str(query), "--gallery", str(gallery), "--out", str(tmp_path)]
    words += ["--query-modality", "infrared"]
    given: dict[str, list[str]] = {
        "none": [],
        "unlabelled": ["--standardise", str(other)],
        "deviation": ["--standardise", str(other), "--deviation"],
        "test": ["--standardise", "test"],
    }
    results = {}
    for name, options in given.items():
        before = set(tmp_path.glob("*.json"))
        assert main([*words, *options]) == 0
        [file] = set(tmp_path.glob("*.json")) - before
        results[name] = Result.load(file)
    printed = capsys.readouterr().out
    assert results["none"].standardisation == "none"
    text = "by modality of 120 infrared and 120 visible features of 'other é.npz'"
    assert results["unlabelled"].standardisation == f"mean {text}"
    assert results["deviation"].standardisation == f"mean and deviation {text}"
    assert f"standardisation mean {text}" in printed
    assert results["test"].standardisation == (
        "mean by modality of 90 infrared and 90 visible test images,"
        " transductive: 180 are test images"
    )
    assert results["unlabelled"].post_processing == ["standardisation"]
    assert results["test"].post_processing == ["transductive standardisation"]
    assert "result (with transductive standardisation)" in printed
    scores = {name: result.cmc(1).mean for name, result in results.items()}
    assert scores["none"] < 0.9
    assert scores["unlabelled"] == scores["test"] == 1
    with pytest.raises(EvaluationError, match="standardisation 'none' and 'mean"):
        pool([results["none"], results["unlabelled"]], name="both")


def test_score_refuses_statistics_of_unknown_modality(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    query, gallery = tmp_path / "q.npz", tmp_path / "g.npz"
    write(query, range(5), INFRARED, 0)
    write(gallery, range(5), VISIBLE, 0)
    words = ["score", "--query", str(query), "--gallery", str(gallery)]
    assert main([*words, "--standardise", "test"]) == 2
    assert "add --query-modality" in capsys.readouterr().err
    np.savez(tmp_path / "x.npz", features=np.ones((2, 8)))
    words += ["--query-modality", "infrared"]
    assert main([*words, "--deviation"]) == 2
    assert "--deviation is given without --standardise" in capsys.readouterr().err
    words += ["--standardise", str(tmp_path / "x.npz")]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert re.search(r"the modality '' in '.*x\.npz'; expected an array 'modalities'", error)
