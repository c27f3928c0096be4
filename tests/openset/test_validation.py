from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from tests.openset.synthetic import synthetic_people

from vireid.gallery.filters import Hit
from vireid.openset.calibration import Calibration, Verdict
from vireid.openset.fitting import calibrate, cross_validate
from vireid.openset.statistics import CameraView, ErrorRates, Estimate
from vireid.openset.validation import OutcomeRates, Validation, validate
from vireid.types import Features, ImageInfo, ImageRecord, Modality

PEOPLE = range(1, 7)
CAMERAS = {Modality.VISIBLE: 2, Modality.INFRARED: 2}


def few(seed: int = 5) -> Features:
    return synthetic_people(
        seed, people=6, visible=4, infrared=2, cameras=CAMERAS, noise=0.9, size=6
    )


@cache
def calibration() -> Calibration:
    # OutcomeRates that high give every verdict among so few people.
    people = synthetic_people(
        1, people=60, visible=4, infrared=2, cameras=CAMERAS, noise=0.9, size=6
    )
    return calibrate(
        people, fingerprint="f", rates=ErrorRates(false_match=0.5, missed=0.5), resamples=30
    )


def view(record: ImageRecord) -> CameraView:
    return CameraView(record.modality, str(record.camera))


@cache
def limits(
    query: CameraView, found: CameraView, images: int, people: int | None
) -> tuple[float, float]:
    """The match and the non-match threshold."""
    high = calibration().match_threshold(
        query, found, images={found.modality: images}, people=people
    )
    low = calibration().non_match_threshold(query, found)
    assert high is not None
    assert low is not None
    return high.high, low.low


def loop_verdict(
    data: Features, query: int, shown: list[int], *, images: int, people: int | None
) -> tuple[Verdict, bool]:
    """The verdict by a plain loop, and whether the best likely image shows the person."""
    asked = data.records[query]
    likely: list[tuple[float, bool]] = []
    different = True
    for row in shown:
        found = data.records[row]
        score = float(data.values[query] @ data.values[row])
        high, low = limits(view(asked), view(found), images, people)
        if score >= high:
            likely.append((score, found.identity == asked.identity))
        different &= score < min(low, high)
    verdict = Verdict.LIKELY if likely else Verdict.ABSENT if different else Verdict.UNCERTAIN
    return verdict, bool(likely) and max(likely)[1]


def calibrated_verdict(
    data: Features, query: int, shown: list[int], *, people: int | None
) -> Verdict:
    """The verdict of the calibration on the same search, all images listed."""
    hits = []
    for row in shown:
        found = data.records[row]
        entry = ImageInfo(
            sha256=f"{row:064x}",
            path=Path(str(row)),
            modality=found.modality,
            added=datetime(2024, 1, 1, tzinfo=UTC),
            camera=str(found.camera),
        )
        hits.append(Hit(entry, float(data.values[query] @ data.values[row])))
    answer = calibration().answer(
        sorted(hits, key=lambda hit: -hit.score),
        query=view(data.records[query]),
        images={data.records[shown[0]].modality: len(hits)},
        people=people,
    )
    assert answer is not None
    return answer.verdict


def by_loops(
    data: Features,
    query: Modality,
    searched: Modality,
    size: int,
    people: list[int],
    *,
    mated: bool,
    known: bool,
    asking: bool,
) -> dict[str, float]:
    """Rates by making every search in every gallery of a given number of people."""
    each = 4 if searched is Modality.VISIBLE else 2
    totals = {"likely": 0.0, "uncertain": 0.0, "absent": 0.0, "correct": 0.0}
    for person in people:
        mine = dict.fromkeys(totals, 0.0)
        searches = 0
        for row, record in enumerate(data.records):
            if (record.identity, record.modality) != (person, query):
                continue
            others = [other for other in people if other != person]
            galleries = list(combinations(others, size - mated))
            searches += 1
            for gallery in galleries:
                shown = [
                    index
                    for index, image in enumerate(data.records)
                    if image.modality is searched
                    and (
                        image.identity in gallery
                        or (
                            mated
                            and image.identity == person
                            and (query is not searched or image.camera != record.camera)
                        )
                    )
                ]
                known_people = size if known else None
                verdict, right = loop_verdict(
                    data, row, shown, images=size * each, people=known_people
                )
                if asking and len(shown) == size * each:
                    assert calibrated_verdict(data, row, shown, people=known_people) is verdict
                name = {
                    Verdict.LIKELY: "likely",
                    Verdict.UNCERTAIN: "uncertain",
                    Verdict.ABSENT: "absent",
                }[verdict]
                mine[name] += 1 / len(galleries)
                mine["correct"] += right / len(galleries)
        for name, sum_of_mine in mine.items():
            totals[name] += sum_of_mine / searches
    best = totals["correct"] / totals["likely"] if totals["likely"] and mated else 0.0
    return {name: total / len(people) for name, total in totals.items()} | {"correct": best}


def rates(found: OutcomeRates) -> dict[str, Estimate]:
    return {
        "likely": found.likely,
        "uncertain": found.uncertain,
        "absent": found.absent,
        "correct": found.correct,
    }


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("mated", [False, True])
def test_rates_equal_exhaustive_searches(mated: bool, known: bool) -> None:
    data = few()
    measured = validate([(calibration(), data)], sizes=(1, 3, 6), people_known=known)
    assert [(m.query, m.gallery, m.size) for m in measured] == [
        (query, searched, size)
        for query, searched in (
            (Modality.VISIBLE, Modality.INFRARED),
            (Modality.INFRARED, Modality.VISIBLE),
            (Modality.VISIBLE, Modality.VISIBLE),
            (Modality.INFRARED, Modality.INFRARED),
        )
        for size in (1, 3)
    ]
    seen: set[str] = set()
    for one in measured:
        found = rates(one.mated if mated else one.non_mated)
        query, searched = one.query, one.gallery
        each = 4 if searched is Modality.VISIBLE else 2
        assert (one.people, one.images) == (6, one.size * each)
        assert one.searches == 6 * (4 if query is Modality.VISIBLE else 2)
        everybody = list(PEOPLE)

        def loops(
            people: list[int], one: Validation = one, asking: bool = False
        ) -> dict[str, float]:
            return by_loops(
                data,
                one.query,
                one.gallery,
                one.size,
                people,
                mated=mated,
                known=known,
                asking=asking,
            )

        whole = loops(everybody, asking=True)
        without = [loops([p for p in everybody if p != gone]) for gone in everybody]
        for name, estimate in found.items():
            assert estimate.value == pytest.approx(whole[name], abs=1e-9)
            seen |= {name} if 0 < whole[name] < 1 else set()
            left = [rate[name] for rate in without]
            mean = sum(left) / 6
            half = 1.96 * (5 / 6 * sum((value - mean) ** 2 for value in left)) ** 0.5
            assert estimate.low == pytest.approx(max(0.0, whole[name] - half), abs=1e-9)
            assert estimate.high == pytest.approx(min(1.0, whole[name] + half), abs=1e-9)
    assert seen == {"likely", "uncertain", "absent", *(["correct"] if mated else [])}


def test_folds_are_pooled() -> None:
    first, second = few(5), few(6)
    apart = [validate([(calibration(), data)], sizes=(2,)) for data in (first, second)]
    together = validate([(calibration(), first), (calibration(), second)], sizes=(2,))
    for one, other, both in zip(*apart, together, strict=True):
        assert both.people == one.people + other.people
        assert both.searches == one.searches + other.searches
        middle = (one.mated.likely.value + other.mated.likely.value) / 2
        assert both.mated.likely.value == pytest.approx(middle)
        assert both.mated.likely.low <= both.mated.likely.value <= both.mated.likely.high


def test_uncalibrated_directions_are_skipped() -> None:
    bare = Calibration(
        fingerprint="f",
        rates=ErrorRates(),
        people=40,
        images=240,
        impostors=calibration().impostors,
        genuine=calibration().genuine,
        effective_images=tuple(
            f for f in calibration().effective_images if f.query is not f.gallery
        ),
    )
    found = validate([(bare, few())], sizes=(2,))
    assert [(m.query, m.gallery) for m in found] == [
        (Modality.VISIBLE, Modality.INFRARED),
        (Modality.INFRARED, Modality.VISIBLE),
    ]


def test_cross_validation_searches_for_everybody() -> None:
    people = synthetic_people(3, people=61)
    found = cross_validate(people, fingerprint="f", sizes=(5, 20, 40))
    assert [m.size for m in found] == [5, 20, 5, 20]
    for one in found:
        assert one.people == 61
        for rate in (*rates(one.non_mated).values(), *rates(one.mated).values()):
            assert 0 <= rate.low <= rate.value <= rate.high <= 1
        assert one.non_mated.likely.value < 0.03
        assert one.mated.likely.value > one.non_mated.likely.value
        parts = one.mated.likely.value, one.mated.uncertain.value, one.mated.absent.value
        assert np.sum(parts) == pytest.approx(1.0)
