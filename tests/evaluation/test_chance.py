from __future__ import annotations

from itertools import combinations, permutations
from math import comb

import numpy as np
import pytest

from vireid.errors import EvaluationError
from vireid.evaluation.chance import chance_by_identity, chance_by_image, chance_level
from vireid.evaluation.metrics import cmc_curve, mean_over, rank_queries


@pytest.mark.parametrize(("matches", "kept"), [(1, 1), (1, 7), (3, 7), (7, 7), (2, 9), (5, 10)])
def test_closed_forms_equal_all_orders(matches: int, kept: int) -> None:
    places = list(combinations(range(1, kept + 1), matches))
    ap = np.mean([sum((k + 1) / r for k, r in enumerate(p)) / matches for p in places])
    inp = np.mean([matches / p[-1] for p in places])
    cmc = [np.mean([p[0] <= r for p in places]) for r in range(1, 13)]
    one = chance_by_image(matches, kept, 12)
    assert one.mean_ap == pytest.approx(ap, abs=1e-12)
    assert one.mean_inp == pytest.approx(inp, abs=1e-12)
    np.testing.assert_allclose(one.cmc, cmc, atol=1e-12)


@pytest.mark.parametrize(("matches", "kept"), [(3, 245), (4, 301), (10, 2060)])
def test_closed_forms_as_written_in_the_literature(matches: int, kept: int) -> None:
    k = np.arange(1, kept + 1)
    ap = np.mean(1 / k + (matches - 1) / (kept - 1) * (k - 1) / k)
    inp = sum(
        matches / r * comb(r - 1, matches - 1) / comb(kept, matches)
        for r in range(matches, kept + 1)
    )
    one = chance_by_image(matches, kept, 50)
    assert one.cmc[0] == pytest.approx(matches / kept, rel=1e-12)
    assert one.mean_ap == pytest.approx(ap, rel=1e-12)
    assert one.mean_inp == pytest.approx(inp, rel=1e-10)


@pytest.mark.parametrize(("own", "others"), [(1, (1, 1)), (2, (1, 3)), (2, (1, 1, 2)), (1, ())])
def test_by_identity_equals_all_orders(own: int, others: tuple[int, ...]) -> None:
    images = [0] * own + [i for i, size in enumerate(others, 1) for _ in range(size)]
    firsts = [len(set(order[: order.index(0)])) for order in permutations(images)]
    expected = [np.mean([first <= r for first in firsts]) for r in range(6)]
    np.testing.assert_allclose(chance_by_identity(own, others, 6), expected, atol=2e-4)


def test_equals_random_rankings() -> None:
    rng = np.random.default_rng(0)
    gallery = np.repeat(np.arange(30), rng.integers(1, 6, 30))
    query = np.repeat(np.arange(32), 5)  # two identities have no match
    excluded = rng.random((32, len(gallery)))[query] < 0.2
    runs = 200
    mean_ap, mean_inp, by_image, by_identity = [], [], [], []
    for _ in range(runs):
        ranks = rank_queries(rng.random(excluded.shape), query, gallery, excluded)
        mean_ap.append(mean_over(ranks.average_precision, ranks.valid))
        mean_inp.append(mean_over(ranks.inverse_negative_penalty, ranks.valid))
        by_image.append(cmc_curve(ranks.first_image, 40))
        by_identity.append(cmc_curve(ranks.first_identity, 40))

    def agrees(samples: list[float], expected: float) -> None:
        error = np.std(samples, ddof=1) / np.sqrt(runs)
        assert abs(np.mean(samples) - expected) < 4.5 * error + 1e-9

    kinds, first, counts = np.unique(query, return_index=True, return_counts=True)
    for name, curves in (("image", by_image), ("identity", by_identity)):
        chance = chance_level(
            kinds, gallery, excluded[first], by_identity=name == "identity", weights=counts
        )
        agrees(mean_ap, chance.mean_ap)
        agrees(mean_inp, chance.mean_inp)
        for rank in (1, 2, 5, 10, 20, 30):
            agrees([float(c[rank - 1]) for c in curves], chance.cmc[rank - 1])


def test_weights_stand_for_repeats() -> None:
    gallery = np.array([1, 1, 2, 3])
    once = chance_level(np.array([1, 2]), gallery, by_identity=True, weights=[2, 1])
    repeated = chance_level(np.array([1, 1, 2]), gallery, by_identity=True)
    assert once.mean_ap == pytest.approx(repeated.mean_ap, rel=1e-14)
    np.testing.assert_allclose(once.cmc, repeated.cmc, rtol=1e-14)


def test_nobody_has_a_match() -> None:
    with pytest.raises(EvaluationError, match="none of the 2 queries"):
        chance_level(np.array([8, 9]), np.array([1, 2]), by_identity=False)
