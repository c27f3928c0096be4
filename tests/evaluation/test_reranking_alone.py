"""Re-ranking of one query without the others, and balanced neighbourhoods, against loops."""

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from vireid.errors import ConfigError, EvaluationError
from vireid.evaluation import KReciprocal, Ranking
from vireid.evaluation.reranking import rerank, rerank_alone

UNLIMITED = 2**40
Rows = NDArray[np.float32]


def lists_of(distance: NDArray[np.float64], side: list[bool], *, balanced: bool) -> list[list[int]]:
    """All images by distance from each, itself first; with ``balanced`` by side alternately."""
    found = []
    for i in range(len(side)):
        order = sorted(range(len(side)), key=lambda j: (j != i, distance[i, j], j))
        if balanced:
            own = [j for j in order if side[j] == side[i]]
            other = [j for j in order if side[j] != side[i]]
            pairs = itertools.zip_longest(own, other)
            order = [j for pair in pairs for j in pair if j is not None]
        found.append(order)
    return found


def reciprocal(c: int, k: int, lists: list[list[int]]) -> set[int]:
    """R(c, k)."""
    return {j for j in lists[c][: k + 1] if c in lists[j][: k + 1]}


def expanded(base: set[int], lists: list[list[int]], k1: int) -> set[int]:
    """R* of an image, from its R."""
    found = set(base)
    for c in base:
        inner = reciprocal(c, round(k1 / 2), lists)
        if 3 * len(inner & base) > 2 * len(inner):
            found |= inner
    return found


def alone_by_hand(query: Rows, bank: Rows, gallery: Rows, options: KReciprocal) -> list[float]:
    """1 - final distance of one query to each image of the gallery."""
    rows = np.concatenate([bank, gallery]).astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    side = [True] * len(bank) + [False] * len(gallery)
    n, k1, k2 = len(rows), options.k1, options.k2
    distance = np.maximum(2 - 2 * rows @ rows.T, 0)
    lists = lists_of(distance, side, balanced=options.balanced)
    encoding = np.zeros((n, n))
    for i in range(n):
        for j in expanded(reciprocal(i, k1, lists), lists, k1):
            encoding[i, j] = math.exp(-distance[i, j] / distance[i].max())
        encoding[i] /= encoding[i].sum()
    mean = np.stack([encoding[lists[i][:k2]].mean(axis=0) for i in range(n)])
    to_query = 2 - 2 * rows @ (query / np.linalg.norm(query))
    # The query is listed beside all others, as an image of the bank's side.
    with_query = np.zeros((n + 1, n + 1))
    with_query[:n, :n], with_query[n, :n], with_query[:n, n] = distance, to_query, to_query
    joined = lists_of(with_query, [*side, True], balanced=options.balanced)
    near = joined[n][1 : k1 + 1]
    found = expanded({j for j in near if n in joined[j][: k1 + 1]}, lists, k1)
    vector = np.zeros(n)
    for j in found:
        vector[j] = math.exp(-to_query[j] / to_query.max())
    vector /= 1 + vector.sum()
    vector = (vector + mean[near[: k2 - 1]].sum(axis=0)) / (1 + len(near[: k2 - 1]))
    result = []
    for g in range(len(bank), n):
        shared = np.minimum(vector, mean[g]).sum()
        jaccard = 1 - shared / (2 - shared)
        scaled = to_query[g] / to_query.max()
        result.append(1 - (1 - options.weight) * jaccard - options.weight * scaled)
    return result


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize(("k1", "k2"), [(4, 1), (5, 3), (9, 4)])
def test_one_query_alone_equals_loops(k1: int, k2: int, balanced: bool) -> None:
    rng = np.random.default_rng(k1)
    people = rng.normal(size=(4, 12))
    query, bank, gallery = (
        (people[rng.integers(0, 4, n)] + rng.normal(size=(n, 12)) / 2).astype(np.float32)
        for n in (3, 9, 14)
    )
    options = KReciprocal(k1=k1, k2=k2, weight=0.3, balanced=balanced)
    found = rerank_alone(query, bank, gallery, options, memory_limit_bytes=UNLIMITED)
    for row, own in zip(found, query, strict=True):
        np.testing.assert_allclose(row, alone_by_hand(own, bank, gallery, options), atol=2e-6)


def test_other_queries_change_nothing() -> None:
    rng = np.random.default_rng(0)
    query, bank, gallery = (rng.normal(size=(n, 8)).astype(np.float32) for n in (5, 6, 12))
    how = KReciprocal(k1=4, k2=2, balanced=True)
    together = rerank_alone(query, bank, gallery, how, memory_limit_bytes=UNLIMITED)
    apart = [
        rerank_alone(row[None], bank, gallery, how, memory_limit_bytes=UNLIMITED)[0]
        for row in query
    ]
    np.testing.assert_array_equal(together, apart)


def test_a_bank_may_be_empty() -> None:
    rng = np.random.default_rng(1)
    query, gallery = (rng.normal(size=(n, 8)).astype(np.float32) for n in (1, 6))
    found = rerank_alone(
        query, query[:0], gallery, KReciprocal(k1=3, k2=2), memory_limit_bytes=UNLIMITED
    )
    assert found.shape == (1, 6)
    assert ((found >= 0) & (found <= 1)).all()


def test_balanced_neighbourhoods_help_where_modalities_are_apart() -> None:
    """Two modalities with an offset: the nearest images of all are of one's own modality."""
    rng = np.random.default_rng(2)
    people = np.repeat(rng.normal(size=(6, 32)), 4, axis=0)
    offset = 1.5 * rng.normal(size=32)
    query, gallery = (
        (people + side * offset + 0.6 * rng.normal(size=people.shape)).astype(np.float32)
        for side in (-1, 1)
    )

    def right(options: KReciprocal) -> float:
        found = rerank(query, gallery, options, memory_limit_bytes=UNLIMITED)
        return float((found.argmax(axis=1) // 4 == np.arange(24) // 4).mean())

    plain, balanced = (KReciprocal(k1=8, k2=4, weight=0.0, balanced=b) for b in (False, True))
    assert right(balanced) > right(plain)


def test_a_bank_beyond_the_memory_limit_and_one_without_use_are_refused() -> None:
    rows = np.eye(4, dtype=np.float32)
    with pytest.raises(EvaluationError, match="bank of 4 and 4 gallery images needs up to"):
        rerank_alone(rows, rows, rows, KReciprocal(), memory_limit_bytes=10)
    with pytest.raises(ConfigError, match="without k-reciprocal"):
        Ranking(bank={})
