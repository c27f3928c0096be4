from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import beta

from vireid.openset.tail import (
    LEVELS,
    MAX_IMAGES,
    MIN_OBSERVED,
    TAIL,
    GenuineComparisons,
    ImageSet,
    ImpostorTail,
    compare_genuine,
    compare_impostors,
    resample_people,
)


def image_set(
    rng: np.random.Generator, person: list[int], people: int, *, size: int = 5
) -> ImageSet:
    values = rng.normal(size=(len(person), size))
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    camera = rng.integers(0, 4, len(person))
    return ImageSet(values.astype(np.float32), np.array(person), camera, people)


def uniform_people(rng: np.random.Generator, people: int, images: int, *, size: int) -> ImageSet:
    return image_set(rng, np.repeat(np.arange(people), images).tolist(), people, size=size)


def some_tail(seed: int = 0) -> ImpostorTail:
    rng = np.random.default_rng(seed)
    first = image_set(rng, rng.integers(0, 9, 60).tolist(), 9, size=3)
    return compare_impostors(first, image_set(rng, rng.integers(0, 9, 70).tolist(), 9, size=3))


def weights(tail: ImpostorTail, counts: list[float]) -> list[float]:
    found = []
    for one, other in tail.person.T.tolist():
        share = counts[one] * counts[other]
        found.append(share / (tail.images[0, one] * tail.images[1, other]))
    return found


def total_weight(tail: ImpostorTail, counts: list[float]) -> float:
    people = range(tail.images.shape[1])
    return sum(
        counts[one] * counts[other]
        for one in people
        for other in people
        if one != other and tail.images[0, one] and tail.images[1, other]
    )


def test_tail_is_the_highest_impostor_scores() -> None:
    rng = np.random.default_rng(1)
    first = image_set(rng, [0, 0, 1, 2, 2, 2, 4] * 6, 6)
    second = image_set(rng, [3, 0, 0, 1, 2, 5] * 8, 6)
    tail = compare_impostors(first, second)
    first, second = first.subsample(), second.subsample()  # all images, ordered by person
    pairs = {}
    for i, one in enumerate(first.person.tolist()):
        for j, other in enumerate(second.person.tolist()):
            if one != other:
                pairs[i, j] = float(first.values[i] @ second.values[j])
    kept = {(int(i), int(j)): s for (i, j), s in zip(tail.image.T, tail.score, strict=True)}
    expected = {pair for pair, score in pairs.items() if score >= tail.start - 1e-6}
    assert kept.keys() == expected
    assert len(kept) == pytest.approx(TAIL * len(pairs), abs=2)
    for (i, j), score in kept.items():
        assert score == pytest.approx(pairs[i, j], abs=1e-6)
    np.testing.assert_array_equal(tail.person[0], first.person[tail.image[0]])
    np.testing.assert_array_equal(tail.person[1], second.person[tail.image[1]])
    assert (np.diff(tail.score) <= 0).all()
    assert tail.images.tolist() == [[12, 6, 18, 0, 6, 0], [16, 8, 8, 8, 0, 8]]


def test_subsample_is_even_and_keeps_everybody() -> None:
    person = np.array([7] * 3 * MAX_IMAGES + [2] * 3 + [5] * MAX_IMAGES)
    values = np.arange(len(person), dtype=np.float32)[:, None]
    whole = ImageSet(values, person, np.ones_like(person), 9)
    thin = whole.subsample()
    assert thin.images.tolist() == [0, 0, 3, 0, 0, MAX_IMAGES // 3, 0, MAX_IMAGES // 3, 0]
    np.testing.assert_array_equal(person[thin.values[:, 0].astype(int)], thin.person)
    steps = np.diff(thin.values[thin.person == 7, 0])
    assert set(steps.tolist()) <= {8.0, 9.0, 10.0}
    assert thin.values[thin.person == 7, 0][[0, -1]].tolist() == [0, 3 * MAX_IMAGES - 1]


@pytest.mark.parametrize("seed", range(4))
def test_fit_of_a_resample_equals_loops(seed: int) -> None:
    tail = some_tail(seed)
    counts = np.random.default_rng(seed).integers(0, 3, 9).astype(float)
    found = tail.thresholds(counts[None])
    weight = weights(tail, counts.tolist())
    total, before, a0, a1 = sum(weight), 0.0, 0.0, 0.0
    for score, share in zip(tail.score.tolist(), weight, strict=True):
        excess = score - tail.start
        a0 += share * excess / total
        a1 += share * excess * (before + share / 2) / total**2
        before += share
    k, scale = a0 / (a0 - 2 * a1) - 2, 2 * a0 * a1 / (a0 - 2 * a1)
    beyond = total / total_weight(tail, counts.tolist())
    for level, estimate in zip(LEVELS, found, strict=True):
        ratio = min(level / beyond, 1.0)
        expected = tail.start + scale * (1 - ratio**k) / k
        assert estimate.low == pytest.approx(expected, abs=1e-9)
        assert estimate.high == pytest.approx(expected, abs=1e-9)


def test_exponential_tail_is_recovered() -> None:
    # Scores of one pair of images each, spaced as an exponential distribution has them.
    count = 20_000
    people = 1001
    ranks = (np.arange(count) + 0.5) / count
    one = np.arange(count) % people
    other = (one + 1 + np.arange(count) // people) % people
    tail = ImpostorTail(
        start=0.3,
        score=0.3 - 0.04 * np.log(ranks),
        image=np.stack([one, other]),
        person=np.stack([one, other]),
        images=np.ones((2, people)),
    )
    beyond = count / (people * (people - 1))
    for level, found in zip(LEVELS, tail.thresholds(np.ones((1, people))), strict=True):
        assert found.value == pytest.approx(0.3 - 0.04 * np.log(level / beyond), abs=0.003)


def test_equal_scores_have_one_threshold() -> None:
    same = np.full((80, 4), 0.5, dtype=np.float32)
    person = np.repeat(np.arange(40), 2)
    collapsed = ImageSet(same, person, np.ones_like(person), 40)
    tail = compare_impostors(collapsed, collapsed)
    for found in tail.thresholds(resample_people(40, resamples=5, seed=0)):
        assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("seed", range(4))
def test_observed_fmr_and_effective_images_equal_loops(seed: int) -> None:
    tail = some_tail(seed)
    weight = weights(tail, [1.0] * 9)
    seen: set[frozenset[int]] = set()
    firsts = []
    for index, pair in enumerate(tail.person.T.tolist()):
        if frozenset(pair) not in seen:
            firsts.append(index)
        seen.add(frozenset(pair))
    share = sum(weight[: firsts[MIN_OBSERVED - 1] + 1])
    assert tail.observed_fmr() == pytest.approx(share / total_weight(tail, [1.0] * 9))
    # So few people have no hundred pairs: it is taken where the last pair of people comes in.
    last = weight[: firsts[-1] + 1]
    for gallery in (0, 1):
        cells = {
            (tail.image[1 - gallery, n], tail.person[gallery, n]): (
                last[n] * tail.images[gallery, tail.person[gallery, n]]
            )
            for n in range(len(last))
        }
        expected = sum(cells.values()) / sum(last)
        found = tail.effective_images(gallery, np.ones((1, 9)))
        assert found.value == pytest.approx(expected)
        assert found.low == pytest.approx(expected)


def test_copies_count_once_and_independent_images_each() -> None:
    rng = np.random.default_rng(2)
    query = uniform_people(rng, 60, 1, size=8)
    one = uniform_people(rng, 60, 1, size=8)
    rows = np.repeat(np.arange(60), 5)
    copies = ImageSet(one.values[rows], one.person[rows], one.camera[rows], 60)
    everyone = np.ones((1, 60))
    assert compare_impostors(query, copies).effective_images(1, everyone).value == pytest.approx(
        1.0, abs=0.05
    )
    unrelated = (
        compare_impostors(query, uniform_people(rng, 60, 5, size=8))
        .effective_images(1, everyone)
        .value
    )
    assert 4.0 < unrelated <= 5.0


@pytest.mark.parametrize("images", [1, 2, 3])
@pytest.mark.parametrize("other_camera", [False, True])
def test_genuine_comparisons_equal_all_choices(images: int, other_camera: bool) -> None:
    rng = np.random.default_rng(images)
    query = image_set(rng, rng.integers(0, 4, 12).tolist(), 4)
    gallery = image_set(rng, rng.integers(0, 4, 30).tolist(), 4)
    expected: dict[tuple[int, float], float] = {}
    searches = 0
    for q, person in enumerate(query.person.tolist()):
        for camera in range(4):
            if other_camera and (camera == 0 or query.camera[q] in (0, camera)):
                continue
            rows = [
                j for j in range(30) if gallery.person[j] == person and gallery.camera[j] == camera
            ]
            choices = list(combinations(rows, images))
            searches += bool(choices)
            for choice in choices:
                best = max(round(float(query.values[q] @ gallery.values[j]), 5) for j in choice)
                expected[person, best] = expected.get((person, best), 0.0) + 1 / len(choices)
    found = compare_genuine(query, gallery, images=images, other_camera=other_camera)
    got: dict[tuple[int, float], float] = {}
    for score, who, chance in zip(found.score, found.person, found.weight, strict=True):
        key = int(who), round(float(score), 5)
        got[key] = got.get(key, 0.0) + float(chance)
    assert got == pytest.approx(expected)
    assert found.searches == searches
    assert found.people == len({person for person, _ in expected})


def test_at_most_the_missed_share_is_below_the_threshold() -> None:
    # Ten people, of whom one has many pairs: all count the same.
    score = np.array([0.1] * 50 + [0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    person = np.array([0] * 50 + list(range(1, 10)))
    comparisons = GenuineComparisons(score, person, np.ones(59))
    everyone = np.ones((1, 10))
    assert comparisons.threshold(0.05, everyone).value == 0.1
    assert comparisons.threshold(0.0999, everyone).value == 0.1
    assert comparisons.threshold(0.11, everyone).value == 0.2
    assert comparisons.threshold(0.45, everyone).value == 0.5
    twice = everyone.copy()
    twice[0, 1] = 0  # without the second person
    assert comparisons.threshold(0.12, np.concatenate([everyone, twice])).high == pytest.approx(
        0.2975, abs=0.01
    )


@given(st.data())
def test_genuine_threshold_keeps_its_share(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 40))
    score = np.array(data.draw(st.lists(st.floats(-1, 1), min_size=count, max_size=count)))
    person = np.array(data.draw(st.lists(st.integers(0, 5), min_size=count, max_size=count)))
    missed = data.draw(st.floats(0.01, 0.5))
    floor = (
        GenuineComparisons(score, person, np.ones(count)).threshold(missed, np.ones((1, 6))).value
    )
    shares = [np.mean(score[person == one] < floor) for one in np.unique(person)]
    assert np.mean(shares) <= missed + 1e-9
    assert floor in score


def test_resamples_are_deterministic() -> None:
    drawn = resample_people(30, resamples=7, seed=3)
    assert drawn.shape == (7, 30)
    assert (drawn.sum(axis=1) == 30).all()
    np.testing.assert_array_equal(drawn, resample_people(30, resamples=7, seed=3))
    assert (drawn != resample_people(30, resamples=7, seed=4)).any()


def clustered_people(
    rng: np.random.Generator, centres: NDArray[np.float64], images: int
) -> ImageSet:
    """Images clustered by person; the centres are uniform on the sphere."""
    person = np.repeat(np.arange(len(centres)), images)
    values = centres[person] + 0.7 * rng.normal(size=(len(person), centres.shape[1]))
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    return ImageSet(values.astype(np.float32), person, np.ones_like(person), len(centres))


def test_conservative_thresholds_hold_on_a_known_distribution() -> None:
    # Features of different people are uniform on the sphere and independent, so that
    # (1 + cosine) / 2 has a beta distribution; those of one person resemble each other.
    size, people, repeats = 16, 60, 40
    shares = np.empty((repeats, 2, len(LEVELS)))
    for repeat in range(repeats):
        rng = np.random.default_rng(repeat)
        centres = rng.normal(size=(people, size))

        tail = compare_impostors(
            clustered_people(rng, centres, 2), clustered_people(rng, centres, 3)
        )
        found = tail.thresholds(resample_people(people, resamples=80, seed=0))
        for index, end in enumerate(("value", "high")):
            limits = np.array([getattr(estimate, end) for estimate in found])
            half = (size - 1) / 2
            shares[repeat, index] = beta.sf((1 + np.minimum(limits, 1)) / 2, half, half)
    levels = np.array(LEVELS)
    counted = levels >= 1e-4
    # The estimate is right on average as far as there is something to count ...
    ratio = (shares[:, 0] / levels).mean(axis=0)
    assert ((ratio[counted] > 0.8) & (ratio[counted] < 1.4)).all()
    # ... and its careful end stays within the share in nearly all repeats, far beyond that too: a
    # coverage of 95 % gives fewer than 34 of 40 in 1 of 300 cases.
    kept = (shares[:, 1] <= levels).sum(axis=0)
    assert (kept >= 34).all(), kept
