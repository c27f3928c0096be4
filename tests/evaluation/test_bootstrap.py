from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from vireid.errors import EvaluationError
from vireid.evaluation import Protocol, Result, compare, evaluate
from vireid.evaluation.bootstrap import METRICS, ByIdentity, Metric, interval, resample
from vireid.types import Features, ImageRecord, Modality


def trials(rng: np.random.Generator, people: int, count: int) -> list[ByIdentity]:
    found = []
    for _ in range(count):
        queries = rng.integers(1, 9, people)
        found.append(
            ByIdentity(
                identity=tuple(range(10, 10 + people)),
                queries=tuple(queries.tolist()),
                rank1=tuple(rng.integers(0, queries + 1).tolist()),
                ap=tuple((rng.random(people) * queries).tolist()),
                inp=tuple((rng.random(people) * queries).tolist()),
            )
        )
    return found


def slow(
    systems: list[list[ByIdentity]], metric: Metric, draws: int, seed: int
) -> NDArray[np.float64]:
    """Every draw as a bag of people, every query of theirs counted one by one."""
    people = systems[0][0].identity
    rng = np.random.default_rng(seed)
    bags = rng.multinomial(len(people), [1 / len(people)] * len(people), size=draws)
    field = {"R-1": "rank1", "mAP": "ap", "mINP": "inp"}[metric]
    rows = []
    for bag in bags.tolist():
        row = []
        for system in systems:
            of_trials = []
            for trial in system:
                total = sum(n * s for n, s in zip(bag, getattr(trial, field), strict=True))
                count = sum(n * q for n, q in zip(bag, trial.queries, strict=True))
                of_trials.append(total / count)
            row.append(sum(of_trials) / len(of_trials))
        rows.append(row)
    return np.array(rows)


@pytest.mark.parametrize("metric", METRICS)
def test_equals_loops(metric: Metric) -> None:
    rng = np.random.default_rng(3)
    systems = [trials(rng, 7, 3), trials(rng, 7, 3)]
    found = resample(systems, metric, draws=50, seed=5)
    expected = slow(systems, metric, 50, 5)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_identities_that_are_matched_in_some_trials_only() -> None:
    whole = ByIdentity((1, 2, 3), (2, 2, 2), (2, 1, 0), (2.0, 1.0, 0.5), (2.0, 1.0, 0.5))
    partly = ByIdentity((1, 3), (2, 2), (2, 0), (2.0, 0.5), (2.0, 0.5))
    padded = ByIdentity((1, 2, 3), (2, 0, 2), (2, 0, 0), (2.0, 0.0, 0.5), (2.0, 0.0, 0.5))
    found = resample([[whole, partly]], "mAP", draws=400)
    # A draw of identity 2 alone leaves the second trial without a query: 1 in 27.
    assert 360 < len(found) < 400
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found, resample([[whole, padded]], "mAP", draws=400))


def test_the_interval_covers_as_often_as_it_says() -> None:
    """Many samples of people from one population: its mean is inside in about 95 % of them."""
    rng = np.random.default_rng(0)
    inside = 0
    for number in range(300):
        # Each person has a level of their own: queries of one person resemble each other.
        level = rng.beta(2, 3, size=60)
        queries = np.full(60, 20)
        hits = rng.binomial(queries, level)
        sample = ByIdentity(
            tuple(range(60)),
            tuple(queries.tolist()),
            tuple(hits.tolist()),
            (0.0,) * 60,
            (0.0,) * 60,
        )
        low, high = interval(resample([[sample]], "R-1", draws=400, seed=number)[:, 0])
        inside += low <= 2 / 5 <= high
    # Three standard deviations of a binomial of 300 at 95 %, and the percentile method's small
    # bias with 60 people.
    assert 0.90 <= inside / 300 <= 0.99


def test_too_few_and_different_people() -> None:
    one = ByIdentity((4,), (2,), (1,), (1.0,), (1.0,))
    two = ByIdentity((4, 5), (2, 2), (1, 1), (1.0, 1.0), (1.0, 1.0))
    with pytest.raises(EvaluationError, match="at least 2"):
        resample([[one]], "mAP")
    with pytest.raises(EvaluationError, match="different identities"):
        resample([[one], [two]], "mAP")


PEOPLE = 60


def toy(people: int = PEOPLE, name: str = "Toy") -> Protocol:
    records = [
        ImageRecord(Path(f"/d/{modality}/{identity}/{n}.jpg"), identity, 1, modality)
        for modality in Modality
        for identity in range(people)
        for n in range(4)
    ]
    visible = [r for r in records if r.modality is Modality.VISIBLE]
    infrared = [r for r in records if r.modality is Modality.INFRARED]
    return Protocol.of(
        [(infrared, visible)], name=name, direction="infrared to visible", convention="all",
        cmc="image",
    )  # fmt: skip


def noisy(noise: float, seed: int, protocol: Protocol) -> Result:
    rng = np.random.default_rng(seed)
    centres: NDArray[np.float64] = np.random.default_rng(99).standard_normal((PEOPLE, 24))
    values = np.stack([centres[i] for i in protocol.identities])
    values = values + noise * rng.standard_normal(values.shape)
    about = {"seed": str(seed), "data": "toy"}
    return evaluate(Features(values.astype(np.float32), protocol.records), protocol, about=about)


def test_a_large_difference_is_said_to_be_one() -> None:
    protocol = toy()
    comparison = compare(noisy(1.6, 1, protocol), noisy(1.0, 2, protocol))
    for difference in comparison.differences:
        assert difference.is_significant
        assert difference.second > difference.first
        assert 0 < difference.interval.low <= difference.interval.high
        assert difference.p <= 0.01
    text = str(comparison)
    assert "seed: 1 -> 2" in text
    assert "data:" not in text
    assert text.count("  significant") == 3
    back = compare(comparison.second, comparison.first)
    for one, other in zip(comparison.differences, back.differences, strict=True):
        assert other.p == one.p
        assert other.interval == pytest.approx((-one.interval.high, -one.interval.low))


def test_no_difference_is_said_to_be_none() -> None:
    protocol = toy()
    first = noisy(1.4, 1, protocol)
    same = compare(first, first)
    assert [d.p for d in same.differences] == [1, 1, 1]
    assert str(same).count("not significant") == 3
    # Networks of equal quality: at 5 % about one in twenty comparisons errs.
    found = [
        compare(noisy(1.4, seed, protocol), noisy(1.4, 100 + seed, protocol)).differences[1]
        for seed in range(40)
    ]
    assert sum(difference.is_significant for difference in found) <= 7


def test_pairing_sees_what_two_separate_intervals_do_not() -> None:
    protocol = toy()
    first, second = noisy(1.4, 1, protocol), noisy(1.3, 1, protocol)
    mean_ap = compare(first, second).differences[1]
    one, other = first.interval("mAP"), second.interval("mAP")
    assert one is not None
    assert other is not None
    assert one.high > other.low
    assert mean_ap.is_significant


def test_what_cannot_be_compared() -> None:
    protocol = toy()
    first = noisy(1.0, 1, protocol)
    with pytest.raises(EvaluationError, match="same protocol"):
        compare(first, noisy(1.0, 1, toy(name="Other")))
    with pytest.raises(EvaluationError, match="different images"):
        compare(first, noisy(1.0, 1, toy(people=50)))
