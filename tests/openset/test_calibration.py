from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vireid.errors import ConfigError, GalleryError
from vireid.gallery.filters import Hit
from vireid.openset.calibration import Answer, Calibration, PairVerdict, Verdict
from vireid.openset.statistics import (
    CameraView,
    EffectiveImages,
    ErrorRates,
    Estimate,
    GenuineScores,
    ImpostorScores,
)
from vireid.openset.tail import LEVELS
from vireid.types import ImageInfo, Modality

VIS, INF = Modality.VISIBLE, Modality.INFRARED
NIGHT, DAY = CameraView(INF), CameraView(VIS)
YARD, HALL = CameraView(INF, "yard"), CameraView(VIS, "hall")
ORDER = [Verdict.ABSENT, Verdict.UNCERTAIN, Verdict.LIKELY]
PAIR_ORDER = [PairVerdict.DIFFERENT, PairVerdict.UNCERTAIN, PairVerdict.SAME]


def near(value: float) -> Estimate:
    return Estimate(value, value - 0.01, value + 0.01)


def impostor_scores(first: CameraView, second: CameraView, start: float) -> ImpostorScores:
    """Thresholds rise by 0.1 per decade of FMR, from start (upper end + 0.01) at 1 in 100."""
    return ImpostorScores(
        first=first,
        second=second,
        people=50,
        pairs=10_000,
        thresholds=tuple(near(start + 0.05 * level) for level in range(len(LEVELS))),
        observed_fmr=1e-4,
    )


def genuine_scores(query: CameraView, gallery: CameraView, limit: float) -> GenuineScores:
    return GenuineScores(
        query=query, gallery=gallery, people=50, searches=500, threshold=near(limit)
    )


def toy_calibration() -> Calibration:
    """Infrared to visible and back, with own thresholds for the cameras yard and hall."""
    return Calibration(
        fingerprint="f",
        rates=ErrorRates(),
        people=50,
        images=500,
        impostors=(impostor_scores(NIGHT, DAY, 0.3), impostor_scores(YARD, HALL, 0.4)),
        genuine=(
            genuine_scores(NIGHT, DAY, 0.1),
            genuine_scores(DAY, NIGHT, 0.2),
            genuine_scores(YARD, HALL, 0.15),
        ),
        effective_images=(
            EffectiveImages(query=INF, gallery=VIS, images=8.0, effective=near(4.0)),
            EffectiveImages(query=VIS, gallery=INF, images=4.0, effective=near(2.0)),
        ),
    )


def hit(score: float, found: CameraView = DAY) -> Hit:
    name = f"{score}{found}"
    entry = ImageInfo(
        sha256=hashlib.sha256(name.encode()).hexdigest(),
        path=Path(name),
        modality=found.modality,
        added=datetime(2024, 5, 31, tzinfo=UTC),
        camera=found.camera,
    )
    return Hit(entry, score)


def answer(
    *scores: float,
    images: int | None = None,
    found: CameraView = DAY,
    query: CameraView = NIGHT,
    people: int | None = None,
) -> Answer:
    hits = [hit(score, found) for score in scores]
    counted = {found.modality: len(hits) if images is None else images}
    answered = toy_calibration().answer(hits, query=query, images=counted, people=people)
    assert answered is not None
    return answered


def test_match_threshold_depends_on_the_number_of_images_searched() -> None:
    # FPIR 1 % among 100 images is FMR 1e-4: two decades further, plus the upper end of 0.01.
    limit = 0.3 + 0.05 * 4 + 0.01
    assert answer(limit + 1e-9, images=100).verdict is Verdict.LIKELY
    assert answer(limit - 1e-9, images=100).verdict is Verdict.UNCERTAIN
    assert answer(limit + 1e-9, images=101).verdict is Verdict.UNCERTAIN
    assert answer(limit - 1e-9, images=99).verdict is Verdict.LIKELY
    found = toy_calibration().match_threshold(NIGHT, DAY, images={VIS: 100})
    assert found is not None
    assert found.high == pytest.approx(limit)
    assert found.value == pytest.approx(limit - 0.01)


def test_thresholds_are_interpolated_between_levels() -> None:
    found = impostor_scores(NIGHT, DAY, 0.3)
    assert found.threshold(1e-3).value == pytest.approx(0.4)
    assert found.threshold(10**-3.25).value == pytest.approx(0.425)
    assert found.threshold(0.5).high == pytest.approx(0.31)
    assert found.threshold(1e-9).low == pytest.approx(0.99)
    assert found.threshold(0.99e-9).low == math.inf


def test_verdict_on_a_search_is_that_of_its_best_hit() -> None:
    mixed = answer(0.6, 0.3, 0.05, images=100)
    assert mixed.verdict is Verdict.LIKELY
    assert mixed.hits == (PairVerdict.SAME, PairVerdict.UNCERTAIN, PairVerdict.DIFFERENT)
    assert answer(0.3, 0.05).verdict is Verdict.UNCERTAIN
    # Below the lower end of 0.1.
    assert answer(0.0899, 0.05).verdict is Verdict.ABSENT
    assert answer(0.0901, 0.05).verdict is Verdict.UNCERTAIN


def test_two_cameras_have_thresholds_of_their_own() -> None:
    for query, found, match, non_match in (
        (NIGHT, DAY, 0.31, 0.09),
        (YARD, HALL, 0.41, 0.14),
        (YARD, DAY, 0.31, 0.09),
        (YARD, CameraView(VIS, "gate"), 0.31, 0.09),
        (HALL, YARD, 0.41, 0.19),  # no genuine scores in this direction
    ):
        high = toy_calibration().match_threshold(query, found, images={found.modality: 1})
        low = toy_calibration().non_match_threshold(query, found)
        assert high is not None
        assert low is not None
        assert high.high == pytest.approx(match)
        assert low.low == pytest.approx(non_match)
    assert answer(0.35, found=DAY, query=YARD).verdict is Verdict.LIKELY
    assert answer(0.35, found=HALL, query=YARD).verdict is Verdict.UNCERTAIN
    assert answer(0.12, found=HALL, query=YARD).verdict is Verdict.ABSENT


def test_an_unlisted_image_may_be_the_person() -> None:
    # All hits come from the hall, whose threshold is above 0.12; those of other cameras are lower.
    assert answer(0.12, found=HALL, query=YARD, images=1).verdict is Verdict.ABSENT
    assert answer(0.12, found=HALL, query=YARD, images=2).verdict is Verdict.UNCERTAIN
    assert answer(0.12, 0.05, found=HALL, query=YARD, images=3).verdict is Verdict.ABSENT
    assert answer(images=1).verdict is Verdict.UNCERTAIN


def test_images_of_known_people_count_by_their_effective_number() -> None:
    def counted(images: int, people: int | None) -> float:
        found = toy_calibration().match_threshold(NIGHT, DAY, images={VIS: images}, people=people)
        assert found is not None
        return float(10 ** ((found.value - 0.3) / 0.1))

    assert counted(80, None) == pytest.approx(80)
    assert counted(80, 10) == pytest.approx(40)  # 8 images each, as in the calibration, count as 4
    assert counted(20, 10) == pytest.approx(20)  # two images each are two at most
    assert counted(60, 10) == pytest.approx(40)
    assert counted(160, 10) == pytest.approx(80)  # more than in the calibration: in proportion
    assert counted(80, 500) == pytest.approx(80)
    assert counted(80, 0) == pytest.approx(40)


def test_both_modalities_may_be_searched_at_once() -> None:
    both = replace(
        toy_calibration(),
        impostors=(*toy_calibration().impostors, impostor_scores(NIGHT, NIGHT, 0.5)),
        genuine=(*toy_calibration().genuine, genuine_scores(NIGHT, NIGHT, 0.3)),
        effective_images=(
            *toy_calibration().effective_images,
            EffectiveImages(query=INF, gallery=INF, images=2.0, effective=near(2.0)),
        ),
    )
    hits = [hit(0.55, DAY), hit(0.55, NIGHT)]
    answered = both.answer(hits, query=NIGHT, images={VIS: 60, INF: 40})
    assert answered is not None
    assert answered.hits == (PairVerdict.SAME, PairVerdict.UNCERTAIN)
    alone = both.match_threshold(NIGHT, DAY, images={VIS: 100, INF: 0})
    assert both.match_threshold(NIGHT, DAY, images={VIS: 60, INF: 40}) == alone


def test_no_verdict_without_calibrated_modalities() -> None:
    calibration = toy_calibration()
    assert calibration.answer([], query=NIGHT, images={}) is None
    assert calibration.answer([], query=NIGHT, images={VIS: 0}) is None
    assert calibration.answer([hit(0.9)], query=DAY, images={VIS: 5}) is None
    assert calibration.answer([hit(0.9)], query=NIGHT, images={VIS: 5, INF: 1}) is None
    assert calibration.pair(0.9, DAY, DAY) is None
    assert calibration.match_threshold(DAY, DAY, images={VIS: 1}) is None
    assert calibration.match_threshold(NIGHT, DAY, images={}) is None
    assert calibration.non_match_threshold(DAY, DAY) is None


def test_pair_outside_a_search() -> None:
    judge = toy_calibration().pair
    assert judge(0.32, NIGHT, DAY) is PairVerdict.SAME
    assert judge(0.30, NIGHT, DAY) is PairVerdict.UNCERTAIN
    assert judge(0.08, NIGHT, DAY) is PairVerdict.DIFFERENT
    assert judge(0.12, YARD, HALL) is PairVerdict.DIFFERENT


def test_extrapolation_is_noted() -> None:
    assert answer(0.5, images=100).note == ""
    note = answer(0.5, images=20_000).note
    assert note == (
        "Calibrated for searches among up to 100 images of different people; this one counts as "
        "20,000, so that its threshold is extrapolated."
    )


def test_nothing_is_likely_below_the_smallest_level() -> None:
    close = replace(toy_calibration(), impostors=(impostor_scores(NIGHT, DAY, 0.2),))
    most = close.answer([hit(0.95)], query=NIGHT, images={VIS: 10**7})
    more = close.answer([hit(1.0)], query=NIGHT, images={VIS: 10**7 + 1})
    assert most is not None
    assert more is not None
    assert most.verdict is Verdict.LIKELY
    assert more.verdict is Verdict.UNCERTAIN


def test_match_threshold_below_non_match_threshold_wins() -> None:
    crossed = replace(
        toy_calibration(),
        genuine=tuple(replace(one, threshold=near(0.9)) for one in toy_calibration().genuine),
    )
    answered = crossed.answer([hit(0.4)], query=NIGHT, images={VIS: 1})
    assert answered == Answer(Verdict.LIKELY, (PairVerdict.SAME,))


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_non_finite_score_is_refused(score: float) -> None:
    with pytest.raises(GalleryError, match=r"is not finite; expected a cosine"):
        toy_calibration().answer([hit(0.3), hit(score)], query=NIGHT, images={VIS: 9})
    with pytest.raises(GalleryError, match=r"is not finite; expected a cosine"):
        toy_calibration().pair(score, NIGHT, DAY)


def test_more_hits_than_images_are_refused() -> None:
    with pytest.raises(GalleryError, match=r"2 visible hits cannot come from a search among 1 vis"):
        answer(0.3, 0.2, images=1)
    with pytest.raises(GalleryError, match=r"1 visible hits cannot come .* among 0 visible"):
        toy_calibration().answer([hit(0.3)], query=NIGHT, images={INF: 5})


scores = st.lists(st.floats(-1, 1), min_size=1, max_size=6)
views = st.sampled_from([DAY, HALL, CameraView(VIS, "gate")])


@given(st.data(), scores, st.integers(0, 10_000), views)
def test_verdicts_are_monotonic_in_the_score(
    data: st.DataObject, given_scores: list[float], more: int, found: CameraView
) -> None:
    place = data.draw(st.integers(0, len(given_scores) - 1))
    raised = list(given_scores)
    raised[place] = data.draw(st.floats(given_scores[place], 1))
    before, after = (
        answer(*sorted(some, reverse=True), images=len(some) + more, found=found, query=YARD)
        for some in (given_scores, raised)
    )
    assert ORDER.index(after.verdict) >= ORDER.index(before.verdict)
    for old, new in zip(before.hits, after.hits, strict=True):
        assert PAIR_ORDER.index(new) >= PAIR_ORDER.index(old)


@given(scores, st.integers(0, 10_000), st.integers(0, 10_000), st.integers(1, 50))
def test_more_images_or_people_never_raise_a_verdict(
    some: list[float], few: int, more: int, people: int
) -> None:
    listed = sorted(some, reverse=True)
    first = answer(*listed, images=len(some) + few, people=people)
    for second in (
        answer(*listed, images=len(some) + few + more, people=people),
        answer(*listed, images=len(some) + few, people=people + more),
        answer(*listed, images=len(some) + few),
    ):
        for old, new in zip(first.hits, second.hits, strict=True):
            assert PAIR_ORDER.index(new) <= PAIR_ORDER.index(old)
        if first.verdict is not Verdict.LIKELY:
            assert second.verdict is not Verdict.LIKELY


@settings(max_examples=25)
@given(st.lists(st.floats(-1, 1), min_size=3, max_size=3), st.text())
def test_json_round_trip(numbers: list[float], name: str) -> None:
    whole = toy_calibration()
    changed = replace(
        whole,
        fingerprint=name,
        impostors=(
            *whole.impostors,
            replace(whole.impostors[0], first=CameraView(INF, name), second=CameraView(VIS, name)),
        ),
        genuine=(*whole.genuine[:-1], replace(whole.genuine[-1], threshold=Estimate(*numbers))),
    )
    assert Calibration.from_json(changed.to_json(), fingerprint=name) == changed


def test_calibration_of_another_network_is_refused() -> None:
    with pytest.raises(GalleryError, match=r"of the network 'f', not of 'g', .*gallery calibrate"):
        Calibration.from_json(toy_calibration().to_json(), fingerprint="g")


def damaged() -> Iterator[tuple[str, str]]:
    whole = toy_calibration().to_json()
    yield whole[: len(whole) // 2], "the whole"
    yield "", "the whole"
    for field, value, message in (
        ("rates", {"false_match": 2.0}, "--false-match 2.0"),
        ("rates", {"missed": 0.0}, "--missed 0.0"),
        ("rates", {"own_images": 0}, "--own-images 0"),
        ("people", "many", "people"),
        ("effective_images", None, "effective_images"),
        ("genuine", [], "no thresholds of infrared to visible searches"),
        ("impostors", [], "no thresholds of infrared to visible searches"),
        ("more", 1, "more"),
    ):
        yield json.dumps({**json.loads(whole), field: value}), message
    short = json.loads(whole)
    short["impostors"][0]["thresholds"].pop()
    yield json.dumps(short), "14 thresholds; expected 15"
    unknown = json.loads(whole)
    unknown["genuine"][0]["threshold"]["low"] = math.nan
    yield json.dumps(unknown), r"genuine\.0\.threshold\.low"


@pytest.mark.parametrize(("text", "message"), list(damaged()))
def test_damaged_json_is_refused(text: str, message: str) -> None:
    with pytest.raises(GalleryError, match=f"is damaged .*{message}.*gallery calibrate"):
        Calibration.from_json(text, fingerprint="f")


@pytest.mark.parametrize("rate", [0.0, -0.1, 0.51, math.nan])
def test_invalid_rates_are_refused(rate: float) -> None:
    with pytest.raises(ConfigError, match=r"--false-match .* is not an error rate"):
        ErrorRates(false_match=rate)
    with pytest.raises(ConfigError, match=r"--missed .* is not an error rate"):
        ErrorRates(missed=rate)
