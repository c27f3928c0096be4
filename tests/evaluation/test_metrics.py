from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vireid.errors import EvaluationError
from vireid.evaluation import metrics
from vireid.evaluation.metrics import QueryRanks, cmc_curve, mean_over, rank_queries

Case = tuple[NDArray[np.floating], NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_] | None]


@dataclass(frozen=True)
class Slow:
    first_image: int
    first_identity: int
    ap: float | None
    inp: float | None
    matches: int


def slow_query(
    similarity: list[float], identity: int, gallery: list[int], excluded: list[bool]
) -> Slow:
    """One query by the book: make the list, walk down it, count."""
    kept = [j for j in range(len(gallery)) if not excluded[j]]
    # At equal similarity the wrong image (False) comes before the right one (True).
    ranking = sorted(kept, key=lambda j: (-similarity[j], gallery[j] == identity))
    hits, precisions, first_image, last = 0, [], 0, 0
    identities: list[int] = []
    for rank, j in enumerate(ranking, start=1):
        if gallery[j] not in identities:
            identities.append(gallery[j])
        if gallery[j] == identity:
            hits += 1
            precisions.append(hits / rank)
            first_image = first_image or rank
            last = rank
    if not hits:
        return Slow(0, 0, None, None, 0)
    first_identity = identities.index(identity) + 1
    return Slow(first_image, first_identity, sum(precisions) / hits, hits / last, hits)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Small searches with many ties, few identities, and exclusions that may remove everything."""
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    queries, gallery = draw(st.integers(1, 12)), draw(st.integers(1, 30))
    people = draw(st.integers(1, 8))
    levels = draw(st.sampled_from([1, 2, 4, 1000]))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    similarity = (rng.integers(-levels, levels + 1, (queries, gallery)) / levels).astype(dtype)
    share = draw(st.sampled_from([None, 0.0, 0.3, 0.9, 1.0]))
    excluded = None if share is None else rng.random((queries, gallery)) < share
    return (
        similarity,
        rng.integers(-1, people, queries),
        rng.integers(0, people, gallery) * 1000,
        excluded,
    )


def _assert_equals_loops(ranks: QueryRanks, case: Case) -> None:
    similarity, query, gallery, excluded = case
    mask = np.zeros(similarity.shape, dtype=bool) if excluded is None else excluded
    for i, identity in enumerate(query.tolist()):
        slow = slow_query(
            similarity[i].astype(np.float64).tolist(), identity, gallery.tolist(), mask[i].tolist()
        )
        assert ranks.matches[i] == slow.matches
        assert ranks.first_image[i] == slow.first_image
        assert ranks.first_identity[i] == slow.first_identity
        if slow.matches:
            assert ranks.average_precision[i] == pytest.approx(slow.ap, rel=0, abs=1e-12)
            assert ranks.inverse_negative_penalty[i] == pytest.approx(slow.inp, rel=0, abs=1e-12)
        else:
            assert np.isnan(ranks.average_precision[i])
            assert np.isnan(ranks.inverse_negative_penalty[i])
            assert not ranks.valid[i]


@settings(max_examples=2000, deadline=None)
@given(cases())
def test_equals_hand_written_loops(case: Case) -> None:
    similarity, query, gallery, excluded = case
    query = query * 1000  # identities that are not there, too
    before = similarity.copy()
    ranks = rank_queries(similarity, query, gallery, excluded)
    _assert_equals_loops(ranks, (similarity, query, gallery, excluded))
    np.testing.assert_array_equal(similarity, before)


@pytest.mark.parametrize("seed", range(3))
def test_equals_loops_on_continuous_similarities(seed: int) -> None:
    rng = np.random.default_rng(seed)
    case = (
        rng.standard_normal((40, 350)).astype(np.float32),
        rng.integers(0, 20, 40),
        rng.integers(0, 20, 350),
        rng.random((40, 350)) < 0.2,
    )
    _assert_equals_loops(rank_queries(*case), case)


@settings(max_examples=200, deadline=None)
@given(cases(), st.integers(0, 2**32 - 1))
def test_order_of_input_does_not_matter(case: Case, seed: int) -> None:
    similarity, query, gallery, excluded = case
    query = query * 1000
    rng = np.random.default_rng(seed)
    rows, columns = rng.permutation(len(query)), rng.permutation(len(gallery))
    straight = rank_queries(similarity, query, gallery, excluded)
    shuffled = rank_queries(
        similarity[rows][:, columns],
        query[rows],
        gallery[columns],
        None if excluded is None else excluded[rows][:, columns],
    )
    for name in QueryRanks.__slots__:
        np.testing.assert_array_equal(getattr(straight, name)[rows], getattr(shuffled, name))
    if straight.valid.any():
        assert mean_over(straight.average_precision, straight.valid) == mean_over(
            shuffled.average_precision, shuffled.valid
        )


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    case = (rng.random((50, 20)), rng.integers(0, 9, 50), rng.integers(0, 9, 20), None)
    whole = rank_queries(*case)
    monkeypatch.setattr(metrics, "_BLOCK_CELLS", 60)
    for name in QueryRanks.__slots__:
        np.testing.assert_array_equal(getattr(whole, name), getattr(rank_queries(*case), name))


def test_by_hand() -> None:
    # Ranking: 3, 7, 3, 8, 7 -> hits at 2 and 5; identities in order 3, 7, 8.
    similarity = np.array([[0.9, 0.8, 0.7, 0.6, 0.5]])
    ranks = rank_queries(similarity, np.array([7]), np.array([3, 7, 3, 8, 7]))
    assert ranks.first_image.tolist() == [2]
    assert ranks.first_identity.tolist() == [2]
    assert ranks.average_precision[0] == pytest.approx((1 / 2 + 2 / 5) / 2)
    assert ranks.inverse_negative_penalty[0] == pytest.approx(2 / 5)
    # Identity 8 is the fourth image but the third identity.
    ranks = rank_queries(similarity, np.array([8]), np.array([3, 7, 3, 8, 7]))
    assert (ranks.first_image[0], ranks.first_identity[0]) == (4, 3)


def test_a_collapsed_model_scores_nothing() -> None:
    gallery = np.repeat(np.arange(10), 3)
    ranks = rank_queries(np.ones((10, 30), dtype=np.float32), np.arange(10), gallery)
    assert (ranks.first_image == 28).all()
    assert (ranks.first_identity == 10).all()
    assert cmc_curve(ranks.first_identity, 20)[8] == 0


def test_cmc_saturates_beyond_a_small_gallery() -> None:
    curve = cmc_curve(np.array([1, 3, 0, 3]), 20)
    assert curve.shape == (20,)
    np.testing.assert_allclose(curve[:4], [1 / 3, 1 / 3, 1, 1])
    assert (curve[2:] == 1).all()


def test_cmc_leaves_out_late_ranks_and_unmatched() -> None:
    np.testing.assert_allclose(cmc_curve(np.array([1, 60, 0]), 50)[-1], 1 / 2)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite_names_the_query(bad: float) -> None:
    similarity = np.zeros((3, 4))
    similarity[1, 2] = bad
    with pytest.raises(EvaluationError, match="query 1 "):
        rank_queries(similarity, np.arange(3), np.arange(4))


def test_no_match_at_all() -> None:
    ranks = rank_queries(np.zeros((2, 3)), np.array([8, 9]), np.array([1, 2, 3]))
    assert not ranks.valid.any()
    with pytest.raises(EvaluationError, match="none of the 2 queries"):
        cmc_curve(ranks.first_image)
    with pytest.raises(EvaluationError, match="none of the 2 queries"):
        mean_over(ranks.average_precision, ranks.valid)


@pytest.mark.parametrize("shape", [(2, 3), (0, 4), (3, 0)])
def test_wrong_shapes(shape: tuple[int, int]) -> None:
    with pytest.raises(EvaluationError, match="shape"):
        rank_queries(np.zeros(shape), np.arange(3 if all(shape) else shape[0]), np.arange(shape[1]))


def test_wrong_mask() -> None:
    with pytest.raises(EvaluationError, match="mask"):
        rank_queries(np.zeros((2, 3)), np.arange(2), np.arange(3), np.zeros((3, 2), dtype=bool))
