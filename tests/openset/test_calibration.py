from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vireid.errors import ConfigError, GalleryError
from vireid.gallery.entry import Entry, Hit
from vireid.openset.calibration import Answer, Calibration, PairVerdict, Verdict
from vireid.openset.statistics import Estimate, Frames, GenuineScores, ImpostorScores, View
from vireid.openset.tail import LEVELS
from vireid.types import Modality

VIS, INF = Modality.VISIBLE, Modality.INFRARED
NIGHT, DAY = View(INF), View(VIS)
YARD, HALL = View(INF, "yard"), View(VIS, "hall")
ORDER = [Verdict.ABSENT, Verdict.UNCERTAIN, Verdict.LIKELY]
PAIR_ORDER = [PairVerdict.DIFFERENT, PairVerdict.UNCERTAIN, PairVerdict.SAME]


def near(value: float) -> Estimate:
    return Estimate(value, value - 0.01, value + 0.01)


def strangers(first: View, second: View, start: float) -> ImpostorScores:
    """A tenth of the pairs is 0.1 more alike; carefully, from start + 0.01 at 1 in 100 on."""
    return ImpostorScores(
        first=first,
        second=second,
        people=50,
        pairs=10_000,
        likely=tuple(near(start + 0.05 * place) for place in range(len(LEVELS))),
        seen=1e-4,
    )


def mates(query: View, searched: View, limit: float) -> GenuineScores:
    return GenuineScores(
        query=query, searched=searched, people=50, searches=500, unlike=near(limit)
    )


def by_hand() -> Calibration:
    """Night to day and back; of yard and hall the calibration knows more."""
    return Calibration(
        fingerprint="f",
        false_match=0.01,
        missed=0.05,
        own_images=1,
        people=50,
        images=500,
        impostors=(strangers(NIGHT, DAY, 0.3), strangers(YARD, HALL, 0.4)),
        mates=(mates(NIGHT, DAY, 0.1), mates(DAY, NIGHT, 0.2), mates(YARD, HALL, 0.15)),
        frames=(
            Frames(query=INF, searched=VIS, images=8.0, independent=near(4.0)),
            Frames(query=VIS, searched=INF, images=4.0, independent=near(2.0)),
        ),
    )


def hit(score: float, found: View = DAY) -> Hit:
    name = f"{score}{found}"
    entry = Entry(
        sha256=hashlib.sha256(name.encode()).hexdigest(),
        name=name,
        modality=found.modality,
        added=datetime(2024, 5, 31, tzinfo=UTC),
        camera=found.camera,
    )
    return Hit(entry, score)


def answer(
    *scores: float,
    images: int | None = None,
    found: View = DAY,
    query: View = NIGHT,
    people: int | None = None,
) -> Answer:
    hits = [hit(score, found) for score in scores]
    counted = {found.modality: len(hits) if images is None else images}
    answered = by_hand().answer(hits, query=query, images=counted, people=people)
    assert answered is not None
    return answered


def test_a_hit_is_likely_from_the_threshold_of_what_is_searched() -> None:
    # Among 100 images 1 % is a pair in 10,000: two tenths further, with the careful 0.01.
    limit = 0.3 + 0.05 * 4 + 0.01
    assert answer(limit + 1e-9, images=100).verdict is Verdict.LIKELY
    assert answer(limit - 1e-9, images=100).verdict is Verdict.UNCERTAIN
    assert answer(limit + 1e-9, images=101).verdict is Verdict.UNCERTAIN
    assert answer(limit - 1e-9, images=99).verdict is Verdict.LIKELY
    found = by_hand().likely(NIGHT, DAY, images={VIS: 100})
    assert found is not None
    assert found.high == pytest.approx(limit)
    assert found.value == pytest.approx(limit - 0.01)


def test_thresholds_lie_between_those_of_the_levels() -> None:
    found = strangers(NIGHT, DAY, 0.3)
    assert found.at(1e-3).value == pytest.approx(0.4)
    assert found.at(10**-3.25).value == pytest.approx(0.425)
    assert found.at(0.5).high == pytest.approx(0.31)
    assert found.at(1e-9).low == pytest.approx(0.99)
    assert found.at(0.99e-9).low == math.inf


def test_a_search_is_answered_by_its_best_hit() -> None:
    mixed = answer(0.6, 0.3, 0.05, images=100)
    assert mixed.verdict is Verdict.LIKELY
    assert mixed.hits == (PairVerdict.SAME, PairVerdict.UNCERTAIN, PairVerdict.DIFFERENT)
    assert answer(0.3, 0.05).verdict is Verdict.UNCERTAIN
    # Below the careful end of 0.1.
    assert answer(0.0899, 0.05).verdict is Verdict.ABSENT
    assert answer(0.0901, 0.05).verdict is Verdict.UNCERTAIN


def test_two_cameras_have_thresholds_of_their_own() -> None:
    for query, found, likely, unlike in (
        (NIGHT, DAY, 0.31, 0.09),
        (YARD, HALL, 0.41, 0.14),
        (YARD, DAY, 0.31, 0.09),
        (YARD, View(VIS, "gate"), 0.31, 0.09),
        (HALL, YARD, 0.41, 0.19),  # one of one person, in this order, is not known of them
    ):
        high = by_hand().likely(query, found, images={found.modality: 1})
        low = by_hand().unlike(query, found)
        assert high is not None
        assert low is not None
        assert high.high == pytest.approx(likely)
        assert low.low == pytest.approx(unlike)
    assert answer(0.35, found=DAY, query=YARD).verdict is Verdict.LIKELY
    assert answer(0.35, found=HALL, query=YARD).verdict is Verdict.UNCERTAIN
    assert answer(0.12, found=HALL, query=YARD).verdict is Verdict.ABSENT


def test_what_is_not_listed_may_be_the_person() -> None:
    # All that is listed comes from the hall, where 0.12 is little; elsewhere it is not.
    assert answer(0.12, found=HALL, query=YARD, images=1).verdict is Verdict.ABSENT
    assert answer(0.12, found=HALL, query=YARD, images=2).verdict is Verdict.UNCERTAIN
    assert answer(0.12, 0.05, found=HALL, query=YARD, images=3).verdict is Verdict.ABSENT
    assert answer(images=1).verdict is Verdict.UNCERTAIN


def test_frames_of_one_person_count_less_where_people_are_known() -> None:
    def counted(images: int, people: int | None) -> float:
        found = by_hand().likely(NIGHT, DAY, images={VIS: images}, people=people)
        assert found is not None
        return float(10 ** ((found.value - 0.3) / 0.1))

    assert counted(80, None) == pytest.approx(80)
    assert counted(80, 10) == pytest.approx(40)  # 8 images each, as in the calibration, count 4
    assert counted(20, 10) == pytest.approx(20)  # two images each are two at most
    assert counted(60, 10) == pytest.approx(40)
    assert counted(160, 10) == pytest.approx(80)  # beyond what was calibrated, in proportion
    assert counted(80, 500) == pytest.approx(80)
    assert counted(80, 0) == pytest.approx(40)


def test_both_modalities_may_be_searched_at_once() -> None:
    both = replace(
        by_hand(),
        impostors=(*by_hand().impostors, strangers(NIGHT, NIGHT, 0.5)),
        mates=(*by_hand().mates, mates(NIGHT, NIGHT, 0.3)),
        frames=(
            *by_hand().frames,
            Frames(query=INF, searched=INF, images=2.0, independent=near(2.0)),
        ),
    )
    hits = [hit(0.55, DAY), hit(0.55, NIGHT)]
    answered = both.answer(hits, query=NIGHT, images={VIS: 60, INF: 40})
    assert answered is not None
    assert answered.hits == (PairVerdict.SAME, PairVerdict.UNCERTAIN)
    alone = both.likely(NIGHT, DAY, images={VIS: 100, INF: 0})
    assert both.likely(NIGHT, DAY, images={VIS: 60, INF: 40}) == alone


def test_no_verdict_where_nothing_is_known() -> None:
    calibration = by_hand()
    assert calibration.answer([], query=NIGHT, images={}) is None
    assert calibration.answer([], query=NIGHT, images={VIS: 0}) is None
    assert calibration.answer([hit(0.9)], query=DAY, images={VIS: 5}) is None
    assert calibration.answer([hit(0.9)], query=NIGHT, images={VIS: 5, INF: 1}) is None
    assert calibration.pair(0.9, DAY, DAY) is None
    assert calibration.likely(DAY, DAY, images={VIS: 1}) is None
    assert calibration.likely(NIGHT, DAY, images={}) is None
    assert calibration.unlike(DAY, DAY) is None


def test_a_pair_that_nobody_searched_for() -> None:
    judge = by_hand().pair
    assert judge(0.32, NIGHT, DAY) is PairVerdict.SAME
    assert judge(0.30, NIGHT, DAY) is PairVerdict.UNCERTAIN
    assert judge(0.08, NIGHT, DAY) is PairVerdict.DIFFERENT
    assert judge(0.12, YARD, HALL) is PairVerdict.DIFFERENT


def test_more_than_was_seen_is_said() -> None:
    assert answer(0.5, images=100).note == ""
    note = answer(0.5, images=20_000).note
    assert note == (
        "Calibrated for searches among up to 100 images of different people; this one counts as "
        "20,000, so that its threshold is extrapolated."
    )


def test_beyond_all_thresholds_nothing_is_likely() -> None:
    close = replace(by_hand(), impostors=(strangers(NIGHT, DAY, 0.2),))
    most = close.answer([hit(0.95)], query=NIGHT, images={VIS: 10**7})
    more = close.answer([hit(1.0)], query=NIGHT, images={VIS: 10**7 + 1})
    assert most is not None
    assert more is not None
    assert most.verdict is Verdict.LIKELY
    assert more.verdict is Verdict.UNCERTAIN


def test_a_threshold_of_likely_below_that_of_unlike_wins() -> None:
    crossed = replace(
        by_hand(), mates=tuple(replace(one, unlike=near(0.9)) for one in by_hand().mates)
    )
    answered = crossed.answer([hit(0.4)], query=NIGHT, images={VIS: 1})
    assert answered == Answer(Verdict.LIKELY, (PairVerdict.SAME,))


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_is_refused(score: float) -> None:
    with pytest.raises(GalleryError, match=r"is no number; expected a cosine"):
        by_hand().answer([hit(0.3), hit(score)], query=NIGHT, images={VIS: 9})
    with pytest.raises(GalleryError, match=r"is no number; expected a cosine"):
        by_hand().pair(score, NIGHT, DAY)


def test_more_hits_than_images_are_refused() -> None:
    with pytest.raises(GalleryError, match=r"2 visible hits cannot come from a search among 1 vis"):
        answer(0.3, 0.2, images=1)
    with pytest.raises(GalleryError, match=r"1 visible hits cannot come .* among 0 visible"):
        by_hand().answer([hit(0.3)], query=NIGHT, images={INF: 5})


scores = st.lists(st.floats(-1, 1), min_size=1, max_size=6)
views = st.sampled_from([DAY, HALL, View(VIS, "gate")])


@given(st.data(), scores, st.integers(0, 10_000), views)
def test_a_higher_score_never_has_a_lesser_verdict(
    data: st.DataObject, given_scores: list[float], more: int, found: View
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
def test_text_gives_the_same_again(numbers: list[float], name: str) -> None:
    whole = by_hand()
    changed = replace(
        whole,
        fingerprint=name,
        impostors=(
            *whole.impostors,
            replace(whole.impostors[0], first=View(INF, name), second=View(VIS, name)),
        ),
        mates=(*whole.mates[:-1], replace(whole.mates[-1], unlike=Estimate(*numbers))),
    )
    assert Calibration.from_json(changed.to_json(), fingerprint=name) == changed


def test_the_calibration_of_another_network_is_refused() -> None:
    with pytest.raises(GalleryError, match=r"of the network 'f', not of 'g', .*gallery calibrate"):
        Calibration.from_json(by_hand().to_json(), fingerprint="g")


def damaged() -> Iterator[tuple[str, str]]:
    whole = by_hand().to_json()
    yield whole[: len(whole) // 2], "the whole"
    yield "", "the whole"
    for field, value, told in (
        ("false_match", 2.0, "--false-match 2.0"),
        ("missed", 0.0, "--missed 0.0"),
        ("own_images", 0, "--own-images 0"),
        ("people", "many", "people"),
        ("frames", None, "frames"),
        ("mates", [], "no thresholds of infrared to visible searches"),
        ("impostors", [], "no thresholds of infrared to visible searches"),
        ("more", 1, "more"),
    ):
        yield json.dumps({**json.loads(whole), field: value}), told
    short = json.loads(whole)
    short["impostors"][0]["likely"].pop()
    yield json.dumps(short), "14 thresholds; expected 15"
    unknown = json.loads(whole)
    unknown["mates"][0]["unlike"]["low"] = math.nan
    yield json.dumps(unknown), r"mates\.0\.unlike\.low"


@pytest.mark.parametrize(("text", "told"), list(damaged()))
def test_a_damaged_text_is_refused(text: str, told: str) -> None:
    with pytest.raises(GalleryError, match=f"is damaged .*{told}.*gallery calibrate"):
        Calibration.from_json(text, fingerprint="f")


@pytest.mark.parametrize("rate", [0.0, -0.1, 0.51, math.nan])
def test_rates_that_are_none_are_refused(rate: float) -> None:
    with pytest.raises(ConfigError, match=r"--false-match .* is no rate of error"):
        replace(by_hand(), false_match=rate)
    with pytest.raises(ConfigError, match=r"--missed .* is no rate of error"):
        replace(by_hand(), missed=rate)
