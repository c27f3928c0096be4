"""Matching of clusters across modalities.

Centres are compared by CSLS (Conneau et al., "Word Translation Without Parallel Data", ICLR 2018),
which lowers the similarity of centres that are near to many ("hubs"):

    csls(x, y) = 2 cos(x, y) - r(x) - r(y),  r: mean cosine to the k nearest of the other modality

The matches are those of the assignment with the highest sum (Hungarian method), the surest first:
mutual nearest centres, then the others, both by the margin over the second best.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

__all__ = ["Matches", "match"]

_MOST_PAIRS = 5_000**2
"""Pairs of clusters up to which the Hungarian method, whose time is cubic, is used."""


class Matches(NamedTuple):
    """Matched clusters, the surest first.

    Attributes:
        visible: Visible clusters, int64 ``[m]``.
        infrared: The infrared cluster of each, int64 ``[m]``.
        mutual: How many are mutual nearest centres; they come first.
    """

    visible: NDArray[np.int64]
    infrared: NDArray[np.int64]
    mutual: int

    def first(self, share: float) -> Matches:
        """The surest matches, at least one: a share of all, and none beyond."""
        count = max(1, round(share * len(self.visible)))
        return Matches(self.visible[:count], self.infrared[:count], min(self.mutual, count))


def match(
    visible: NDArray[np.float32], infrared: NDArray[np.float32], *, neighbours: int = 10
) -> Matches:
    """Match clusters one to one.

    Args:
        visible: Centres of the visible clusters, unit, ``[v, d]``.
        infrared: Centres of the infrared clusters, unit, ``[t, d]``.
        neighbours: k of CSLS.

    Returns:
        ``min(v, t)`` matches; only the mutual nearest centres, where there are more than 25 million
        pairs of clusters.
    """
    if not len(visible) or not len(infrared):
        none = np.zeros(0, dtype=np.int64)
        return Matches(none, none, 0)
    score = _csls(visible @ infrared.T, neighbours)
    forth, back = score.argmax(axis=1), score.argmax(axis=0)
    if score.size <= _MOST_PAIRS:
        rows, columns = (found.astype(np.int64) for found in linear_sum_assignment(-score))
    else:
        rows = np.flatnonzero(back[forth] == np.arange(len(forth)))
        columns = forth[rows]
    mutual = (forth[rows] == columns) & (back[columns] == rows)
    margin = score[rows, columns] - np.maximum(
        _best_other(score, rows, columns), _best_other(score.T, columns, rows)
    )
    order = np.lexsort((-margin, ~mutual))
    return Matches(rows[order], columns[order], int(np.count_nonzero(mutual)))


def _csls(cosine: NDArray[np.float32], neighbours: int) -> NDArray[np.float32]:
    """CSLS of all pairs, ``[v, t]``."""

    def hubness(rows: NDArray[np.float32]) -> NDArray[np.float32]:
        k = min(neighbours, rows.shape[1])
        mean: NDArray[np.float32] = np.partition(rows, -k, axis=1)[:, -k:].mean(axis=1)
        return mean

    score: NDArray[np.float32] = 2 * cosine - hubness(cosine)[:, None] - hubness(cosine.T)[None]
    return score


def _best_other(
    score: NDArray[np.float32], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> NDArray[np.float32]:
    """The best score in each row beside that of its column, ``[m]``."""
    found = np.empty(len(rows), dtype=np.float32)
    for i, (row, column) in enumerate(zip(rows.tolist(), columns.tolist(), strict=True)):
        others = np.delete(score[row], column)
        found[i] = others.max(initial=-4.0)
    return found
