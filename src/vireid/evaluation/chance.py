"""Expected scores of a random ranking of the same queries and gallery, in closed form.

A query with G correct images among N (after exclusion) scores, on average over all orders,

- Rank-1 = G / N,
- AP  = (1/N) sum_k [1/k + (G-1)/(N-1) (k-1)/k] = (1/N) [H_N + (G-1)/(N-1) (N - H_N)],
- INP = sum_r (G/r) C(r-1, G-1) / C(N, G),
- CMC by image at r = 1 - C(N-G, r) / C(N, r),
- CMC by identity at r = P(fewer than r wrong identities before the first correct image).

For the last, give every image an independent uniform arrival time. At the arrival t of the first
correct image u = (1-t)^G is uniform, and an identity with n images has arrived before with
probability 1 - u^(n/G); the curve is therefore an integral over u of the distribution function of
a sum of independent Bernoulli variables.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vireid.errors import EvaluationError
from vireid.evaluation.metrics import NO_MATCH

__all__ = ["Chance", "chance_by_identity", "chance_by_image", "chance_level"]


@dataclass(frozen=True, slots=True)
class Chance:
    """The expected scores of a random ranking, each in [0, 1].

    Attributes:
        cmc: Expected CMC; entry r - 1 is Rank-r.
        mean_ap: Expected mAP.
        mean_inp: Expected mINP.
    """

    cmc: tuple[float, ...]
    mean_ap: float
    mean_inp: float


@lru_cache(maxsize=4096)
def chance_by_image(matches: int, kept: int, length: int) -> Chance:
    """Expected CMC by image, AP and INP of a query with ``matches`` correct of ``kept`` images."""
    rank = np.arange(1, kept + 1, dtype=np.float64)
    harmonic = float(np.sum(1 / rank))
    others = (matches - 1) / (kept - 1) if kept > 1 else 0.0
    ap = (harmonic + others * (kept - harmonic)) / kept
    # P(last correct image at rank r) = C(r-1, G-1) / C(N, G): G/N at r = N, then downwards.
    falling = np.arange(kept, matches, -1, dtype=np.float64)
    steps = np.concatenate([[matches / kept], (falling - matches) / (falling - 1)])
    last = np.cumprod(steps)
    inp = float(np.sum(last * matches / np.arange(kept, matches - 1, -1)))
    # P(no match within r) = prod_{j < r} (N - G - j) / (N - j), 0 from r = N - G + 1 on.
    drawn = np.arange(length, dtype=np.float64)
    left = np.maximum(kept - matches - drawn, 0)
    cmc = 1 - np.cumprod(left / np.maximum(kept - drawn, 1))
    return Chance(tuple(cmc.tolist()), ap, inp)


@lru_cache(maxsize=4096)
def chance_by_identity(matches: int, others: tuple[int, ...], length: int) -> tuple[float, ...]:
    """Expected CMC by identity of a query.

    Args:
        matches: Number of correct images, at least 1.
        others: Number of images of each wrong identity, each at least 1.
        length: Number of ranks.

    Returns:
        ``length`` probabilities, exact to about 1e-6 (128 Gauss-Legendre nodes).
    """
    node, weight = np.polynomial.legendre.leggauss(128)
    u = (node + 1) / 2
    before = np.zeros((len(u), length))  # P(k wrong identities before), k < length, by node
    before[:, 0] = 1
    for size in others:
        absent = (u ** (size / matches))[:, None]
        shifted = before[:, :-1] * (1 - absent)
        before *= absent
        before[:, 1:] += shifted
    curve = np.minimum(np.cumsum((weight / 2) @ before), 1.0)
    return tuple(curve.tolist())


def chance_level(
    query_identities: NDArray[np.int64],
    gallery_identities: NDArray[np.int64],
    excluded: NDArray[np.bool_] | None = None,
    *,
    by_identity: bool,
    weights: Sequence[int] | NDArray[np.int64] | None = None,
    length: int = 50,
) -> Chance:
    """Expected scores of a random ranking, averaged over the queries that have a match.

    Args:
        query_identities: ``[q]``; equivalent queries may be given once, with a weight.
        gallery_identities: ``[g]``.
        excluded: Bool ``[q, g]``, True where the image is removed from the query's list.
        by_identity: Count identities in the CMC rather than images.
        weights: Number of queries that each row represents, ``[q]``; 1 by default.
        length: Number of ranks of the CMC.

    Raises:
        EvaluationError: No query has a match.
    """
    identities, inverse = np.unique(gallery_identities, return_inverse=True)
    all_sizes = np.bincount(inverse, minlength=len(identities))
    rows: list[tuple[tuple[float, ...], float, float]] = []
    repeats: list[int] = []
    for i, identity in enumerate(query_identities):
        weight = 1 if weights is None else int(weights[i])
        sizes = all_sizes
        if excluded is not None:
            sizes = np.bincount(inverse[~excluded[i]], minlength=len(identities))
        own = identities == identity
        matches = int(sizes[own].sum())
        if not matches:
            continue
        one = chance_by_image(matches, int(sizes.sum()), length)
        cmc = one.cmc
        if by_identity:
            wrong = tuple(sorted(int(size) for size in sizes[~own] if size))
            # Rank-1 is the same in both kinds of CMC, and exact by image.
            cmc = one.cmc[:1] + chance_by_identity(matches, wrong, length)[1:]
        rows.append((cmc, one.mean_ap, one.mean_inp))
        repeats.append(weight)
    if not rows:
        raise EvaluationError(NO_MATCH.format(queries=len(query_identities)))

    def mean(values: Iterable[float]) -> float:
        products = (value * weight for value, weight in zip(values, repeats, strict=True))
        return math.fsum(products) / sum(repeats)

    return Chance(
        cmc=tuple(mean(row[0][r] for row in rows) for r in range(length)),
        mean_ap=mean(row[1] for row in rows),
        mean_inp=mean(row[2] for row in rows),
    )
