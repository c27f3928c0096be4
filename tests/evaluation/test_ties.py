"""Few-valued features have exact ties; no order of rows or of columns may break one."""

from __future__ import annotations

from fractions import Fraction
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vireid.evaluation import ExternalFeatures, Ranking, Result, score_features, scoring, similarity
from vireid.evaluation.metrics import QueryRanks, rank_queries
from vireid.evaluation.similarity import similarities

VALUES = {"sign": (-1, 1), "binary": (0, 1), "ternary": (-1, 0, 1), "4 bits": tuple(range(-8, 8))}


def exact(query: NDArray[np.int64], gallery: NDArray[np.int64], kind: str) -> NDArray[np.float64]:
    """Similarities in exact arithmetic, replaced by their rank in each row."""
    rows = []
    norms = (gallery**2).sum(axis=1).tolist()
    for one in query:
        if kind == "cosine":  # the sign of the dot product times its square, by the gallery's norm
            dots = (gallery @ one).tolist()
            keys = [Fraction(dot * abs(dot), norm) for dot, norm in zip(dots, norms, strict=True)]
        else:
            keys = [Fraction(-n) for n in ((gallery - one) ** 2).sum(axis=1).tolist()]
        order = {key: float(number) for number, key in enumerate(sorted(set(keys)))}
        rows.append([order[key] for key in keys])
    return np.array(rows)


def figures(result: Result) -> tuple[object, ...]:
    (trial,) = result.trials
    return trial.cmc_by_image, trial.cmc_by_identity, trial.mean_ap, trial.mean_inp


def same(first: QueryRanks, second: QueryRanks) -> bool:
    return all(
        np.array_equal(getattr(first, name), getattr(second, name), equal_nan=True)
        for name in ("first_image", "first_identity", "average_precision", "matches")
    )


@settings(deadline=None, max_examples=150)
@given(
    seed=st.integers(0, 2**32),
    length=st.integers(24, 512),
    values=st.sampled_from(sorted(VALUES)),
    compared=st.sampled_from(["cosine", "euclidean"]),
    scale=st.sampled_from([1.0, 1 / 127, 1e-3, 30.0]),
    tile=st.sampled_from([1, 5, 1024]),
    block=st.sampled_from([1, 100, 64_000_000]),
)
def test_ranks_are_those_of_exact_arithmetic_in_any_order(
    seed: int, length: int, values: str, compared: str, scale: float, tile: int, block: int
) -> None:
    rng = np.random.default_rng(seed)
    query, gallery = (rng.choice(VALUES[values], (n, length)) for n in (6, 24))
    query[:, 0] = gallery[:, 0] = 1  # no row is zero
    gallery[3], gallery[4] = query[0], gallery[5]  # equal features
    # In float32, 3 times 1/127 is not exactly three times 1 times 1/127; powers of 2 are exact.
    step = np.float32(scale if values != "4 bits" else 2.0 ** round(np.log2(scale)))
    who, people = rng.integers(0, 5, 6), rng.integers(0, 5, 24)
    people[:5] = np.arange(5)
    how = Ranking(similarity="cosine" if compared == "cosine" else "euclidean")
    truth = rank_queries(exact(query, gallery, compared), who, people)
    found = similarities(query * step, gallery * step, similarity=how.similarity)
    assert same(rank_queries(found, who, people), truth)
    results = []
    for _ in range(2):
        rows, shown, columns = (rng.permutation(n) for n in (6, 24, length))
        asked = ExternalFeatures(query[rows][:, columns] * step, who[rows])
        given_ = ExternalFeatures(gallery[shown][:, columns] * step, people[shown])
        with patch.object(similarity, "_TILE", tile), patch.object(scoring, "_BLOCK_CELLS", block):
            results.append(figures(score_features(asked, given_, ranking=how)))
    assert results[0] == results[1]
    assert results[0][2] == pytest.approx(np.nanmean(truth.average_precision), abs=1e-12)


def test_orthogonal_features_tie() -> None:
    """Dot products of exactly 0, which summation order turns into 1e-17."""
    rng = np.random.default_rng(0)
    query = rng.choice([-1.0, 1.0], (1, 120)) / np.sqrt(120)
    gallery = np.stack([query[0] * rng.permutation([-1.0, 1.0] * 60) for _ in range(400)])
    assert set(similarities(query, gallery)[0].tolist()) == {0.0}


def test_close_cosines_stay_apart() -> None:
    """Only differences far below the resolution of float32 features are ties."""
    angle = np.pi / 2 - np.array([0.0, 1e-9, 2e-9, 1e-7])
    gallery = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    assert len(set(similarities(np.array([[1.0, 0.0]]), gallery)[0].tolist())) == 4
