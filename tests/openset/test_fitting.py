from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom
from tests.openset.synthetic import synthetic_people

from vireid.errors import ConfigError, EvaluationError
from vireid.openset.calibration import Calibration
from vireid.openset.fitting import calibrate, cross_validate
from vireid.openset.statistics import CameraView, ErrorRates
from vireid.types import Features, Modality

VIS, INF = Modality.VISIBLE, Modality.INFRARED
NIGHT, DAY = CameraView(INF), CameraView(VIS)


def test_invalid_rates_are_refused_first() -> None:
    nobody = synthetic_people(1, people=0)
    with pytest.raises(ConfigError, match=r"--false-match 0\.0 is not an error rate"):
        calibrate(nobody, fingerprint="f", rates=ErrorRates(false_match=0.0))
    with pytest.raises(ConfigError, match="--missed nan is not an error rate"):
        calibrate(nobody, fingerprint="f", rates=ErrorRates(missed=math.nan))
    with pytest.raises(ConfigError, match="--own-images 0 is too few"):
        calibrate(nobody, fingerprint="f", rates=ErrorRates(own_images=0))


def test_minimum_number_of_people() -> None:
    found = calibrate(synthetic_people(1, people=30), fingerprint="f", resamples=20)
    assert (found.people, found.images, found.fingerprint) == (30, 150, "f")
    # One camera a modality: images of one modality may be of one tracklet and are not compared.
    assert [(f.query, f.gallery) for f in found.effective_images] == [(INF, VIS), (VIS, INF)]
    views = [(str(i.first), str(i.second), i.people, i.pairs) for i in found.impostors]
    assert views == [
        ("infrared", "visible", 30, 30 * 29 * 6),
        ("infrared camera 11", "visible camera 1", 30, 30 * 29 * 6),
    ]
    assert {(m.people, m.searches) for m in found.genuine} == {(30, 60), (30, 90)}
    assert Calibration.from_json(found.to_json(), fingerprint="f") == found
    assert calibrate(synthetic_people(1, people=30), fingerprint="f", resamples=20) == found


def test_too_few_people() -> None:
    message = (
        "Of 29 people 29 are seen in both modalities, and their images make 4,872 infrared-visible "
        "pairs of different people; expected at least 30 people and 5,000 pairs"
    )
    with pytest.raises(EvaluationError, match=message):
        calibrate(synthetic_people(1, people=29), fingerprint="f")
    with pytest.raises(EvaluationError, match=r"30 people 30 .* 870 infrared-visible pairs"):
        calibrate(synthetic_people(1, people=30, visible=1, infrared=1), fingerprint="f")
    with pytest.raises(
        EvaluationError, match=r"40 people 0 are seen in both modalities, and .* 0 "
    ):
        calibrate(synthetic_people(1, people=40, infrared=0), fingerprint="f")
    with pytest.raises(
        EvaluationError, match=r"40 people 0 .* with at least 3 images from a camera"
    ):
        calibrate(synthetic_people(1, people=40), fingerprint="f", rates=ErrorRates(own_images=3))
    with pytest.raises(EvaluationError, match=r"no image to calibrate with"):
        calibrate(synthetic_people(1, people=0), fingerprint="f")
    with pytest.raises(EvaluationError, match=r"59 people cannot be halved .* at least 60"):
        cross_validate(synthetic_people(1, people=59), fingerprint="f", sizes=(10,))


def test_damaged_features_are_refused() -> None:
    whole = synthetic_people(1, people=30)
    values = whole.values.copy()
    for bad in (math.nan, math.inf, 0.0, 2.0):
        values[7] = bad
        with pytest.raises(EvaluationError, match=r"'1-visible-2\.png' are not of length 1"):
            calibrate(Features(values, whole.records), fingerprint="f")
    flipped = replace(whole, augmentation="horizontal flip")
    with pytest.raises(EvaluationError, match=r"'horizontal flip'"):
        calibrate(flipped, fingerprint="f")
    with pytest.raises(EvaluationError, match=r"with standardisation \('mean by modality'\)"):
        calibrate(replace(whole, standardisation="mean by modality"), fingerprint="f")


def test_cameras_have_the_names_of_the_gallery() -> None:
    people = synthetic_people(1, people=40, visible=6, infrared=4, cameras={VIS: 2, INF: 2})
    names = {1: "hall", 2: "gate", 11: "yard"}
    found = calibrate(people, fingerprint="f", cameras=names, resamples=20)
    pairs = {(str(i.first), str(i.second)) for i in found.impostors if i.first.camera}
    assert ("infrared camera yard", "visible camera gate") in pairs
    assert ("infrared camera 12", "visible camera hall") in pairs
    # Impostors on one camera are compared; one person on one camera is not.
    assert ("visible camera gate", "visible camera gate") in pairs
    own = {(m.query, m.gallery) for m in found.genuine}
    assert (CameraView(VIS, "gate"), CameraView(VIS, "hall")) in own
    assert (CameraView(VIS, "gate"), CameraView(VIS, "gate")) not in own
    assert {(f.query, f.gallery) for f in found.effective_images} == {
        (VIS, VIS),
        (VIS, INF),
        (INF, VIS),
        (INF, INF),
    }


def test_images_without_a_camera_count_for_their_modality_only() -> None:
    whole = synthetic_people(1, people=30, visible=4)
    nowhere = Features(whole.values, tuple(replace(record, camera=0) for record in whole.records))
    found = calibrate(nowhere, fingerprint="f", resamples=20)
    assert [(i.first, i.second) for i in found.impostors] == [(NIGHT, DAY)]


def test_non_match_threshold_rises_with_own_images() -> None:
    people = synthetic_people(4, people=60, visible=4, infrared=4)
    one, four = (
        calibrate(people, fingerprint="f", rates=ErrorRates(own_images=n), resamples=40)
        for n in (1, 4)
    )
    lower, higher = one.non_match_threshold(DAY, NIGHT), four.non_match_threshold(NIGHT, DAY)
    assert lower is not None
    assert higher is not None
    assert higher.low > lower.high
    night, day = split(synthetic_people(5, people=400, visible=4, infrared=1))
    best = np.einsum("nd,nkd->nk", night, day.reshape(400, 4, -1)).max(axis=1)
    absent = int((best < higher.low).sum())
    assert 0.01 * 400 < absent <= binom.ppf(0.999, 400, 0.05)


def highest(query: NDArray[np.float32], gallery: NDArray[np.float32]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = (query @ gallery.T).max(axis=1)
    return found


def split(people: Features) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    night = np.array([record.modality is INF for record in people.records])
    return people.values[night], people.values[~night]


@pytest.mark.parametrize("known", [False, True])
def test_chosen_rates_hold_for_unseen_people(known: bool) -> None:
    likely, absent, searches, mated = 0, 0, 0, 0
    for seed in range(15):
        found = calibrate(synthetic_people(seed, people=60), fingerprint="f", resamples=40)
        size = (20, 60, 150)[seed % 3]
        gallery = synthetic_people(1_000 + seed, people=size)
        _, shown = split(gallery)
        limit = found.match_threshold(
            NIGHT, DAY, images={VIS: len(shown)}, people=size if known else None
        )
        low = found.non_match_threshold(NIGHT, DAY)
        assert limit is not None
        assert low is not None
        impostors, _ = split(synthetic_people(2_000 + seed, people=200, infrared=1))
        likely += int((highest(impostors, shown) >= limit.high).sum())
        searches += len(impostors)
        # Mated searches in galleries of a single image.
        night, day = split(synthetic_people(3_000 + seed, people=200, visible=1, infrared=1))
        absent += int((np.einsum("nd,nd->n", night, day) < low.low).sum())
        mated += len(night)
    assert 0 < likely <= binom.ppf(0.999, searches, 0.01)
    assert 0.01 * mated < absent <= binom.ppf(0.999, mated, 0.05)
