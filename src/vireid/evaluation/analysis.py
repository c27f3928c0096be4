"""Analysis of one trial: similarity histogram, scores by camera pair, and worst queries.

A :class:`Search` is one ranked trial with its full similarity matrix, from which figures are drawn.
:class:`Details` is the part of it that a result stores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from vireid.data.provenance import relative_names
from vireid.errors import EvaluationError
from vireid.evaluation.metrics import NO_MATCH, QueryRanks, mean_over, rank_queries
from vireid.evaluation.protocol import Protocol, Trial
from vireid.evaluation.ranking import Ranking, trial_similarity
from vireid.evaluation.similarity import match_rows
from vireid.types import Features

__all__ = [
    "CameraPair",
    "Details",
    "EqualError",
    "Histogram",
    "Search",
    "WorstQuery",
    "WrongMatch",
    "search",
]

BINS = 80
WORST = 20


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Search:
    """One ranked trial of a protocol.

    Attributes:
        protocol: The protocol.
        trial: The trial.
        similarity: The similarities that rank the gallery, float32 ``[q, g]``; larger is nearer.
        ranks: Ranks of the correct images, query by query.
        excluded: Bool ``[q, g]``, True where the protocol removes the image from the query's list.
        correct: Bool ``[q, g]``, True where the image shows the query's identity, excluded or not.
    """

    protocol: Protocol
    trial: Trial
    similarity: NDArray[np.float32]
    ranks: QueryRanks
    excluded: NDArray[np.bool_]
    correct: NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        protocol: Protocol,
        trial: Trial,
        similarity: NDArray[np.float32],
        ranks: QueryRanks | None = None,
    ) -> Self:
        """The search with these similarities, ranked here unless the ranks are given."""
        query, gallery = (protocol.identities[side] for side in (trial.query, trial.gallery))
        excluded = protocol.excluded(trial.query, trial.gallery)
        return cls(
            protocol=protocol,
            trial=trial,
            similarity=similarity,
            ranks=ranks or rank_queries(similarity, query, gallery, excluded),
            excluded=np.zeros(similarity.shape, dtype=np.bool_) if excluded is None else excluded,
            correct=query[:, None] == gallery,
        )

    def worst_first(self) -> list[int]:
        """Rows of the matched queries by ascending AP, ties by file name."""
        scores = self.ranks.average_precision.tolist()
        records, query = self.protocol.records, self.trial.query.tolist()
        matched = np.flatnonzero(self.ranks.valid).tolist()
        return sorted(matched, key=lambda row: (scores[row], records[query[row]]))


def search(
    features: Features,
    protocol: Protocol,
    *,
    trial: int = 0,
    ranking: Ranking | None = None,
) -> Search:
    """Rank one trial as :func:`vireid.evaluation.evaluate` does, and keep the similarity matrix.

    Args:
        features: Features of at least the protocol's images.
        protocol: The protocol.
        trial: Index of the trial, from 0.
        ranking: How the gallery is ranked; by cosine similarity by default.

    Raises:
        EvaluationError: The protocol has no such trial; otherwise as
            :func:`vireid.evaluation.evaluate`, except that no query needs a match.
    """
    if not 0 <= trial < len(protocol.trials):
        raise EvaluationError(
            f"{protocol.name} has no trial {trial}; expected one of 0 to {len(protocol.trials) - 1}"
        )
    how = ranking or Ranking()
    values = match_rows(features, protocol.records, similarity=how.similarity)
    chosen = protocol.trials[trial]
    return Search.of(protocol, chosen, trial_similarity(values, protocol, chosen, how))


class EqualError(NamedTuple):
    """The equal error rate of verification (1:1 comparison) and its threshold.

    Attributes:
        similarity: The threshold.
        rate: Both the share of genuine pairs below it and that of impostor pairs at or above it,
            in [0, 1].
    """

    similarity: float
    rate: float


@dataclass(frozen=True, slots=True)
class Histogram:
    """Histogram of the similarities of each query and the images in its list.

    Bins have equal width and include their lower edge; the last includes its upper edge too.

    Attributes:
        low: Lower edge of the first bin: the smallest similarity, unless all are equal.
        high: Upper edge of the last bin: the largest similarity, unless all are equal.
        same: Number of pairs of the same identity in each bin.
        different: Number of pairs of different identities in each bin.
    """

    low: float
    high: float
    same: tuple[int, ...]
    different: tuple[int, ...]

    @property
    def edges(self) -> NDArray[np.float64]:
        """Edges of the bins, ``[bins + 1]``."""
        return np.linspace(self.low, self.high, len(self.same) + 1)

    @property
    def equal_error(self) -> EqualError | None:
        """The equal error rate, to one bin width; None where one kind of pairs is missing."""
        same, different = sum(self.same), sum(self.different)
        if not same or not different:
            return None
        missed = np.concatenate([[0], np.cumsum(self.same)])  # pairs below each edge
        taken = different - np.concatenate([[0], np.cumsum(self.different)])  # at or above it
        gap = missed * different - taken * same  # integers, ascending; 0 where both rates are equal
        first = int(np.searchsorted(gap, 0))
        if gap[first] == 0:
            last = int(np.searchsorted(gap, 0, side="right")) - 1
            middle = (self.edges[first] + self.edges[last]) / 2
            return EqualError(float(middle), float(missed[first] / same))
        around = slice(first - 1, first + 1)
        return EqualError(
            float(np.interp(0, gap[around], self.edges[around])),
            float(np.interp(0, gap[around], missed[around] / same)),
        )


@dataclass(frozen=True, slots=True)
class CameraPair:
    """Scores of the queries of one camera against the gallery images of one camera only.

    Attributes:
        query_camera: Name of the camera of the queries, or ``unknown``.
        gallery_camera: Name of the camera of the gallery images, or ``unknown``.
        queries: Number of queries with a correct image from that camera that is not excluded.
        gallery: Number of gallery images from that camera.
        excluded: ``all`` if the protocol excludes every image for every query, ``matches`` if it
            excludes every correct one, else ``none``.
        rank1: Rank-1 over those queries, in [0, 1]; None where there are none.
        mean_ap: mAP over those queries, in [0, 1]; None where there are none.
    """

    query_camera: str
    gallery_camera: str
    queries: int
    gallery: int
    excluded: Literal["none", "matches", "all"]
    rank1: float | None
    mean_ap: float | None


@dataclass(frozen=True, slots=True)
class WrongMatch:
    """The most similar gallery image of another identity.

    Attributes:
        name: Its file, relative to the common folder of all images.
        identity: Name of its identity.
        similarity: Its similarity to the query.
    """

    name: str
    identity: str
    similarity: float


@dataclass(frozen=True, slots=True)
class WorstQuery:
    """A query with a low average precision.

    Attributes:
        name: Its file, relative to the common folder of all images.
        identity: Name of its identity.
        camera: Name of its camera; empty if unknown.
        average_precision: Its AP, in (0, 1].
        first_match: Rank of its first correct image, from 1.
        nearest_wrong: The most similar image of another identity; None where there is none.
    """

    name: str
    identity: str
    camera: str
    average_precision: float
    first_match: int
    nearest_wrong: WrongMatch | None


@dataclass(frozen=True, slots=True)
class Details:
    """What a result stores about its first trial.

    Attributes:
        histogram: Similarities of pairs of the same and of different identities.
        camera_pairs: Scores of every pair of cameras, by query camera, then gallery camera.
        worst: The queries with the lowest AP, worst first, ties by file name; at most 20.
    """

    histogram: Histogram
    camera_pairs: tuple[CameraPair, ...]
    worst: tuple[WorstQuery, ...]

    @classmethod
    def of(cls, found: Search) -> Self:
        """The details of a search.

        Raises:
            EvaluationError: No query has a match.
        """
        if not found.ranks.valid.any():
            raise EvaluationError(NO_MATCH.format(queries=len(found.trial.query)))
        return cls(_histogram(found), _camera_pairs(found), _worst(found))


def _histogram(found: Search) -> Histogram:
    kept = ~found.excluded
    every, same = found.similarity[kept], found.similarity[kept & found.correct]
    low, high = float(every.min()), float(every.max())
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, BINS + 1)
    total, _ = np.histogram(every, edges)
    of_same, _ = np.histogram(same, edges)
    different = total - of_same
    return Histogram(low, high, tuple(of_same.tolist()), tuple(different.tolist()))


def _camera_pairs(found: Search) -> tuple[CameraPair, ...]:
    identities, cameras = found.protocol.identities, found.protocol.cameras
    names = {r.camera: r.camera_name or "unknown" for r in found.protocol.records}
    query, gallery = found.trial.query, found.trial.gallery
    pairs = {}
    for gallery_camera in np.unique(cameras[gallery]).tolist():
        columns = np.flatnonzero(cameras[gallery] == gallery_camera)
        excluded, correct = found.excluded[:, columns], found.correct[:, columns]
        ranks = rank_queries(
            found.similarity[:, columns], identities[query], identities[gallery[columns]], excluded
        )
        for query_camera in np.unique(cameras[query]).tolist():
            rows = cameras[query] == query_camera
            matched = rows & ranks.valid
            pairs[query_camera, gallery_camera] = CameraPair(
                query_camera=names[query_camera],
                gallery_camera=names[gallery_camera],
                queries=int(np.count_nonzero(matched)),
                gallery=len(columns),
                excluded=_kind_of_exclusion(excluded[rows], correct[rows]),
                rank1=float(np.mean(ranks.first_image[matched] == 1)) if matched.any() else None,
                mean_ap=mean_over(ranks.average_precision, matched) if matched.any() else None,
            )
    return tuple(pairs[cameras_of] for cameras_of in sorted(pairs))


def _kind_of_exclusion(
    excluded: NDArray[np.bool_], correct: NDArray[np.bool_]
) -> Literal["none", "matches", "all"]:
    if excluded.all():
        return "all"
    return "matches" if correct.any() and excluded[correct].all() else "none"


def _worst(found: Search) -> tuple[WorstQuery, ...]:
    records, file_names = found.protocol.records, relative_names(found.protocol.records)
    worst = []
    for row in found.worst_first()[:WORST]:
        index = int(found.trial.query[row])
        query = WorstQuery(
            name=file_names[index],
            identity=records[index].identity_name,
            camera=records[index].camera_name,
            average_precision=float(found.ranks.average_precision[row]),
            first_match=int(found.ranks.first_image[row]),
            nearest_wrong=_nearest_wrong(found, row, file_names),
        )
        worst.append(query)
    return tuple(worst)


def _nearest_wrong(found: Search, row: int, file_names: Sequence[str]) -> WrongMatch | None:
    wrong = np.flatnonzero(~found.excluded[row] & ~found.correct[row])
    if not len(wrong):
        return None
    nearest = wrong[np.argmax(found.similarity[row, wrong])]
    index = int(found.trial.gallery[nearest])
    return WrongMatch(
        name=file_names[index],
        identity=found.protocol.records[index].identity_name,
        similarity=float(found.similarity[row, nearest]),
    )
