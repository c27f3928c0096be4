from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom
from tests.gallery.crowds import crowd

from vireid.errors import ConfigError, EvaluationError
from vireid.openset.calibration import Calibration
from vireid.openset.fitting import calibrate, check
from vireid.openset.statistics import View
from vireid.types import Features, Modality

VIS, INF = Modality.VISIBLE, Modality.INFRARED
NIGHT, DAY = View(INF), View(VIS)


def test_rates_that_are_none_are_refused_before_anything_is_learnt() -> None:
    nobody = crowd(1, people=0)
    with pytest.raises(ConfigError, match=r"--false-match 0\.0 is no rate of error"):
        calibrate(nobody, fingerprint="f", false_match=0.0)
    with pytest.raises(ConfigError, match="--missed nan is no rate of error"):
        calibrate(nobody, fingerprint="f", missed=math.nan)
    with pytest.raises(ConfigError, match="--own-images 0 is too few"):
        calibrate(nobody, fingerprint="f", own_images=0)


def test_enough_people_are_just_enough() -> None:
    found = calibrate(crowd(1, people=30), fingerprint="f", draws=20)
    assert (found.people, found.images, found.fingerprint) == (30, 150, "f")
    # One camera a modality: images of one modality can be of one walk and say nothing.
    assert [(f.query, f.searched) for f in found.frames] == [(INF, VIS), (VIS, INF)]
    views = [(str(i.first), str(i.second), i.people, i.pairs) for i in found.impostors]
    assert views == [
        ("infrared", "visible", 30, 30 * 29 * 6),
        ("infrared camera 11", "visible camera 1", 30, 30 * 29 * 6),
    ]
    assert {(m.people, m.searches) for m in found.mates} == {(30, 60), (30, 90)}
    assert Calibration.from_json(found.to_json(), fingerprint="f") == found
    assert calibrate(crowd(1, people=30), fingerprint="f", draws=20) == found


def test_too_few_people_say_how_many_are_needed() -> None:
    told = (
        "Of 29 people 29 are seen in both modalities, and their images make 4,872 infrared-visible "
        "pairs of different people; expected at least 30 people and 5,000 pairs"
    )
    with pytest.raises(EvaluationError, match=told):
        calibrate(crowd(1, people=29), fingerprint="f")
    with pytest.raises(EvaluationError, match=r"30 people 30 .* 870 infrared-visible pairs"):
        calibrate(crowd(1, people=30, visible=1, infrared=1), fingerprint="f")
    with pytest.raises(
        EvaluationError, match=r"40 people 0 are seen in both modalities, and .* 0 "
    ):
        calibrate(crowd(1, people=40, infrared=0), fingerprint="f")
    with pytest.raises(
        EvaluationError, match=r"40 people 0 .* with at least 3 images from a camera"
    ):
        calibrate(crowd(1, people=40), fingerprint="f", own_images=3)
    with pytest.raises(EvaluationError, match=r"no image to calibrate with"):
        calibrate(crowd(1, people=0), fingerprint="f")
    with pytest.raises(EvaluationError, match=r"59 people cannot be halved .* at least 60"):
        check(crowd(1, people=59), fingerprint="f", sizes=(10,))


def test_damaged_features_are_refused() -> None:
    whole = crowd(1, people=30)
    values = whole.values.copy()
    for bad in (math.nan, math.inf, 0.0, 2.0):
        values[7] = bad
        with pytest.raises(EvaluationError, match=r"'1-visible-2\.png' are not of length 1"):
            calibrate(Features(values, whole.records), fingerprint="f")
    flipped = replace(whole, augmentation="horizontal flip")
    with pytest.raises(EvaluationError, match=r"'horizontal flip'"):
        calibrate(flipped, fingerprint="f")


def test_cameras_are_called_as_the_gallery_calls_them() -> None:
    people = crowd(1, people=40, visible=6, infrared=4, cameras={VIS: 2, INF: 2})
    names = {1: "hall", 2: "gate", 11: "yard"}
    found = calibrate(people, fingerprint="f", cameras=names, draws=20)
    pairs = {(str(i.first), str(i.second)) for i in found.impostors if i.first.camera}
    assert ("infrared camera yard", "visible camera gate") in pairs
    assert ("infrared camera 12", "visible camera hall") in pairs
    # Strangers on one camera say something of strangers; one person there, nothing.
    assert ("visible camera gate", "visible camera gate") in pairs
    own = {(m.query, m.searched) for m in found.mates}
    assert (View(VIS, "gate"), View(VIS, "hall")) in own
    assert (View(VIS, "gate"), View(VIS, "gate")) not in own
    assert {(f.query, f.searched) for f in found.frames} == {
        (VIS, VIS),
        (VIS, INF),
        (INF, VIS),
        (INF, INF),
    }


def test_images_without_a_camera_count_for_their_modality_only() -> None:
    whole = crowd(1, people=30, visible=4)
    nowhere = Features(whole.values, tuple(replace(record, camera=0) for record in whole.records))
    found = calibrate(nowhere, fingerprint="f", draws=20)
    assert [(i.first, i.second) for i in found.impostors] == [(NIGHT, DAY)]


def test_the_best_of_several_images_is_more_alike() -> None:
    people = crowd(4, people=60, visible=4, infrared=4)
    one, four = (calibrate(people, fingerprint="f", own_images=count, draws=40) for count in (1, 4))
    lower, higher = one.unlike(DAY, NIGHT), four.unlike(NIGHT, DAY)
    assert lower is not None
    assert higher is not None
    assert higher.low > lower.high
    night, day = split(crowd(5, people=400, visible=4, infrared=1))
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
def test_the_chosen_rates_hold_for_people_nobody_has_seen(known: bool) -> None:
    likely, absent, searches, owners = 0, 0, 0, 0
    for seed in range(15):
        found = calibrate(crowd(seed, people=60), fingerprint="f", draws=40)
        size = (20, 60, 150)[seed % 3]
        gallery = crowd(1_000 + seed, people=size)
        _, shown = split(gallery)
        limit = found.likely(NIGHT, DAY, images={VIS: len(shown)}, people=size if known else None)
        floor = found.unlike(NIGHT, DAY)
        assert limit is not None
        assert floor is not None
        strange, _ = split(crowd(2_000 + seed, people=200, infrared=1))
        likely += int((highest(strange, shown) >= limit.high).sum())
        searches += len(strange)
        # One image of each of other people, who are alone in their galleries.
        night, day = split(crowd(3_000 + seed, people=200, visible=1, infrared=1))
        absent += int((np.einsum("nd,nd->n", night, day) < floor.low).sum())
        owners += len(night)
    assert 0 < likely <= binom.ppf(0.999, searches, 0.01)
    assert 0.01 * owners < absent <= binom.ppf(0.999, owners, 0.05)
