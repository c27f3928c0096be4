from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from itertools import combinations

import numpy as np
import pytest
from tests.gallery.crowds import crowd

from vireid.gallery.entry import Entry, Hit
from vireid.openset.calibration import Calibration, Verdict
from vireid.openset.fitting import calibrate, check
from vireid.openset.statistics import Estimate, View
from vireid.openset.validation import Measured, Rates, measure
from vireid.types import Features, ImageRecord, Modality

PEOPLE = range(1, 7)
CAMERAS = {Modality.VISIBLE: 2, Modality.INFRARED: 2}


def few(seed: int = 5) -> Features:
    return crowd(seed, people=6, visible=4, infrared=2, cameras=CAMERAS, noise=0.9, size=6)


@cache
def taught() -> Calibration:
    # Rates that high give every verdict among so few people.
    teachers = crowd(1, people=60, visible=4, infrared=2, cameras=CAMERAS, noise=0.9, size=6)
    return calibrate(teachers, fingerprint="f", false_match=0.5, missed=0.5, draws=30)


def view(record: ImageRecord) -> View:
    return View(record.modality, str(record.camera))


@cache
def limits(query: View, found: View, images: int, people: int | None) -> tuple[float, float]:
    """From where a hit is likely, and below where unlike."""
    high = taught().likely(query, found, images={found.modality: images}, people=people)
    low = taught().unlike(query, found)
    assert high is not None
    assert low is not None
    return high.high, low.low


def answered(
    data: Features, query: int, shown: list[int], *, images: int, people: int | None
) -> tuple[Verdict, bool]:
    """The verdict on a search by hand, and whether the best likely image shows the person."""
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


def said(data: Features, query: int, shown: list[int], *, people: int | None) -> Verdict:
    """The verdict of the calibration on the same search, all images listed."""
    hits = []
    for row in shown:
        found = data.records[row]
        entry = Entry(
            sha256=f"{row:064x}",
            name=str(row),
            modality=found.modality,
            added=datetime(2024, 1, 1, tzinfo=UTC),
            camera=str(found.camera),
        )
        hits.append(Hit(entry, float(data.values[query] @ data.values[row])))
    answer = taught().answer(
        sorted(hits, key=lambda hit: -hit.score),
        query=view(data.records[query]),
        images={hits[0].entry.modality: len(hits)},
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
    there: bool,
    known: bool,
    asking: bool,
) -> dict[str, float]:
    """Every search in every gallery of so many of some people, each made."""
    each = 4 if searched is Modality.VISIBLE else 2
    totals = {"likely": 0.0, "uncertain": 0.0, "absent": 0.0, "right": 0.0}
    for person in people:
        mine = dict.fromkeys(totals, 0.0)
        searches = 0
        for row, record in enumerate(data.records):
            if (record.identity, record.modality) != (person, query):
                continue
            others = [other for other in people if other != person]
            galleries = list(combinations(others, size - there))
            searches += 1
            for gallery in galleries:
                shown = [
                    place
                    for place, image in enumerate(data.records)
                    if image.modality is searched
                    and (
                        image.identity in gallery
                        or (
                            there
                            and image.identity == person
                            and (query is not searched or image.camera != record.camera)
                        )
                    )
                ]
                known_people = size if known else None
                verdict, right = answered(data, row, shown, images=size * each, people=known_people)
                if asking and len(shown) == size * each:
                    assert said(data, row, shown, people=known_people) is verdict
                name = {
                    Verdict.LIKELY: "likely",
                    Verdict.UNCERTAIN: "uncertain",
                    Verdict.ABSENT: "absent",
                }[verdict]
                mine[name] += 1 / len(galleries)
                mine["right"] += right / len(galleries)
        for name, sum_of_mine in mine.items():
            totals[name] += sum_of_mine / searches
    best = totals["right"] / totals["likely"] if totals["likely"] and there else 0.0
    return {name: total / len(people) for name, total in totals.items()} | {"right": best}


def rates(found: Rates) -> dict[str, Estimate]:
    return {
        "likely": found.likely,
        "uncertain": found.uncertain,
        "absent": found.absent,
        "right": found.right,
    }


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("there", [False, True])
def test_every_rate_equals_searches_made_one_by_one(there: bool, known: bool) -> None:
    data = few()
    measured = measure([(taught(), data)], sizes=(1, 3, 6), people_known=known)
    assert [(m.query, m.searched, m.size) for m in measured] == [
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
        found = rates(one.there if there else one.not_there)
        query, searched = one.query, one.searched
        each = 4 if searched is Modality.VISIBLE else 2
        assert (one.people, one.images) == (6, one.size * each)
        assert one.searches == 6 * (4 if query is Modality.VISIBLE else 2)
        everybody = list(PEOPLE)

        def loops(people: list[int], one: Measured = one, asking: bool = False) -> dict[str, float]:
            return by_loops(
                data,
                one.query,
                one.searched,
                one.size,
                people,
                there=there,
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
    assert seen == {"likely", "uncertain", "absent", *(["right"] if there else [])}


def test_two_halves_are_one_measurement() -> None:
    first, second = few(5), few(6)
    apart = [measure([(taught(), data)], sizes=(2,)) for data in (first, second)]
    together = measure([(taught(), first), (taught(), second)], sizes=(2,))
    for one, other, both in zip(*apart, together, strict=True):
        assert both.people == one.people + other.people
        assert both.searches == one.searches + other.searches
        middle = (one.there.likely.value + other.there.likely.value) / 2
        assert both.there.likely.value == pytest.approx(middle)
        assert both.there.likely.low <= both.there.likely.value <= both.there.likely.high


def test_directions_without_a_calibration_are_left_out() -> None:
    bare = Calibration(
        fingerprint="f",
        false_match=0.01,
        missed=0.05,
        own_images=1,
        people=40,
        images=240,
        impostors=taught().impostors,
        mates=taught().mates,
        frames=tuple(f for f in taught().frames if f.query is not f.searched),
    )
    found = measure([(bare, few())], sizes=(2,))
    assert [(m.query, m.searched) for m in found] == [
        (Modality.VISIBLE, Modality.INFRARED),
        (Modality.INFRARED, Modality.VISIBLE),
    ]


def test_people_are_halved_and_everybody_is_searched_for() -> None:
    people = crowd(3, people=61)
    found = check(people, fingerprint="f", sizes=(5, 20, 40))
    assert [m.size for m in found] == [5, 20, 5, 20]
    for one in found:
        assert one.people == 61
        for rate in (*rates(one.not_there).values(), *rates(one.there).values()):
            assert 0 <= rate.low <= rate.value <= rate.high <= 1
        assert one.not_there.likely.value < 0.03
        assert one.there.likely.value > one.not_there.likely.value
        parts = one.there.likely.value, one.there.uncertain.value, one.there.absent.value
        assert np.sum(parts) == pytest.approx(1.0)
