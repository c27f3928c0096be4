"""One trial looked at closely: its similarities, its camera pairs and its worst queries.

A :class:`Search` is one trial with its whole similarity matrix; the pictures of a result are drawn
from it. :class:`Details` is the little of it that a result keeps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from vireid.errors import EvaluationError
from vireid.evaluation.metrics import NO_MATCH, QueryRanks, mean_over, rank_queries
from vireid.evaluation.protocol import Protocol, Trial, names
from vireid.evaluation.ranking import Ranking, trial_similarity
from vireid.evaluation.similarity import match_rows
from vireid.types import Features

__all__ = [
    "CameraPair",
    "Details",
    "EqualError",
    "Histogram",
    "Mistaken",
    "Search",
    "WorstQuery",
    "search",
]

BINS = 80
WORST = 20


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Search:
    """One trial of a protocol, searched.

    Attributes:
        protocol: The protocol.
        trial: Its trial.
        similarity: By which the gallery is ranked, float32 ``[q, g]``; larger is nearer.
        excluded: Bool ``[q, g]``, True where the image is removed from the query's list.
        correct: Bool ``[q, g]``, True where the image shows the query's identity, excluded or not.
        ranks: Where each query found its identity.
    """

    protocol: Protocol
    trial: Trial
    similarity: NDArray[np.float32]
    excluded: NDArray[np.bool_]
    correct: NDArray[np.bool_]
    ranks: QueryRanks

    def worst_first(self) -> list[int]:
        """Rows of the matched queries by rising AP, ties by file name."""
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
    """Search one trial, as :func:`vireid.evaluation.evaluate` does, and keep the whole matrix.

    Args:
        features: Features of at least the protocol's images.
        protocol: The protocol.
        trial: Which of its trials, from 0.
        ranking: How the gallery is ranked; by the cosine and nothing else by default.

    Raises:
        EvaluationError: The protocol has no such trial; otherwise as
            :func:`vireid.evaluation.evaluate`, but that no query need have a match.
    """
    if not 0 <= trial < len(protocol.trials):
        raise EvaluationError(
            f"{protocol.name} has no trial {trial}; expected one of 0 to {len(protocol.trials) - 1}"
        )
    how = ranking or Ranking()
    values = match_rows(features, protocol.records, similarity=how.similarity)
    chosen = protocol.trials[trial]
    similarity = trial_similarity(values, protocol, chosen, how)
    wanted, shown = protocol.identities[chosen.query], protocol.identities[chosen.gallery]
    excluded = protocol.excluded(chosen.query, chosen.gallery)
    return Search(
        protocol=protocol,
        trial=chosen,
        similarity=similarity,
        excluded=np.zeros(similarity.shape, dtype=np.bool_) if excluded is None else excluded,
        correct=wanted[:, None] == shown,
        ranks=rank_queries(similarity, wanted, shown, excluded),
    )


class EqualError(NamedTuple):
    """Where as many pairs of one identity are missed as pairs of two are taken for one.

    Attributes:
        similarity: The threshold.
        rate: The share of each kind that is on its wrong side, in [0, 1].
    """

    similarity: float
    rate: float


@dataclass(frozen=True, slots=True)
class Histogram:
    """Similarities of all pairs of a query and an image in its list, in bins of equal width.

    A bin holds its lower end but not its upper one; the last holds both.

    Attributes:
        low: Lower end of the first bin: the smallest similarity, unless all are equal.
        high: Upper end of the last bin: the largest similarity, unless all are equal.
        same: Pairs of one identity in each bin.
        different: Pairs of two identities in each bin.
    """

    low: float
    high: float
    same: tuple[int, ...]
    different: tuple[int, ...]

    @property
    def edges(self) -> NDArray[np.float64]:
        """Ends of the bins, ``[bins + 1]``."""
        return np.linspace(self.low, self.high, len(self.same) + 1)

    @property
    def equal_error(self) -> EqualError | None:
        """The equal error, as exact as a bin is wide; None where a kind of pairs is missing."""
        same, different = sum(self.same), sum(self.different)
        if not same or not different:
            return None
        missed = np.concatenate([[0], np.cumsum(self.same)])  # pairs below each edge
        taken = different - np.concatenate([[0], np.cumsum(self.different)])  # at or above it
        gap = missed * different - taken * same  # whole numbers, rising; zero where rates are equal
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
    """The queries of one camera, searched among the images of one camera alone.

    Attributes:
        query_camera: The queries' camera.
        gallery_camera: The images' camera.
        queries: Queries with a correct image there that is not excluded.
        gallery: The camera's images in the gallery.
        excluded: ``all`` where the protocol removes every image from every list, ``matches`` where
            it removes every correct one, else ``none``.
        rank1: Rank-1 over those queries, in [0, 1]; None where there are none.
        mean_ap: mAP over those queries, in [0, 1]; None where there are none.
    """

    query_camera: int
    gallery_camera: int
    queries: int
    gallery: int
    excluded: Literal["none", "matches", "all"]
    rank1: float | None
    mean_ap: float | None


@dataclass(frozen=True, slots=True)
class Mistaken:
    """The nearest image of somebody else.

    Attributes:
        name: Its file, below the folder that all images share.
        identity: Whom it shows.
        similarity: Its similarity with the query.
    """

    name: str
    identity: int
    similarity: float


@dataclass(frozen=True, slots=True)
class WorstQuery:
    """A query that went badly.

    Attributes:
        name: Its file, below the folder that all images share.
        identity: Whom it shows.
        camera: What camera saw it.
        average_precision: Its AP, in (0, 1].
        first_match: Rank of its first correct image, from 1.
        mistaken: The nearest wrong image; None where its list holds none.
    """

    name: str
    identity: int
    camera: int
    average_precision: float
    first_match: int
    mistaken: Mistaken | None


@dataclass(frozen=True, slots=True)
class Details:
    """What a result keeps of its first trial.

    Attributes:
        histogram: Similarities of pairs of one and of two identities.
        camera_pairs: Scores of every pair of cameras, by query camera, then gallery camera.
        worst: The queries of lowest AP, worst first, ties by file name; at most 20.
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
    together, _ = np.histogram(every, edges)
    of_same, _ = np.histogram(same, edges)
    different = together - of_same
    return Histogram(low, high, tuple(of_same.tolist()), tuple(different.tolist()))


def _camera_pairs(found: Search) -> tuple[CameraPair, ...]:
    identities, cameras = found.protocol.identities, found.protocol.cameras
    query, gallery = found.trial.query, found.trial.gallery
    pairs = []
    for gallery_camera in np.unique(cameras[gallery]).tolist():
        shown = np.flatnonzero(cameras[gallery] == gallery_camera)
        excluded, correct = found.excluded[:, shown], found.correct[:, shown]
        ranks = rank_queries(
            found.similarity[:, shown], identities[query], identities[gallery[shown]], excluded
        )
        for query_camera in np.unique(cameras[query]).tolist():
            asked = cameras[query] == query_camera
            matched = asked & ranks.valid
            pair = CameraPair(
                query_camera=query_camera,
                gallery_camera=gallery_camera,
                queries=int(np.count_nonzero(matched)),
                gallery=len(shown),
                excluded=_what_is_excluded(excluded[asked], correct[asked]),
                rank1=float(np.mean(ranks.first_image[matched] == 1)) if matched.any() else None,
                mean_ap=mean_over(ranks.average_precision, matched) if matched.any() else None,
            )
            pairs.append(pair)
    return tuple(sorted(pairs, key=lambda pair: (pair.query_camera, pair.gallery_camera)))


def _what_is_excluded(
    excluded: NDArray[np.bool_], correct: NDArray[np.bool_]
) -> Literal["none", "matches", "all"]:
    if excluded.all():
        return "all"
    return "matches" if correct.any() and excluded[correct].all() else "none"


def _worst(found: Search) -> tuple[WorstQuery, ...]:
    records, called = found.protocol.records, names(found.protocol.records)
    worst = []
    for row in found.worst_first()[:WORST]:
        place = int(found.trial.query[row])
        query = WorstQuery(
            name=called[place],
            identity=records[place].identity,
            camera=records[place].camera,
            average_precision=float(found.ranks.average_precision[row]),
            first_match=int(found.ranks.first_image[row]),
            mistaken=_mistaken(found, row, called),
        )
        worst.append(query)
    return tuple(worst)


def _mistaken(found: Search, row: int, called: Sequence[str]) -> Mistaken | None:
    wrong = np.flatnonzero(~found.excluded[row] & ~found.correct[row])
    if not len(wrong):
        return None
    nearest = wrong[np.argmax(found.similarity[row, wrong])]
    place = int(found.trial.gallery[nearest])
    return Mistaken(
        name=called[place],
        identity=found.protocol.records[place].identity,
        similarity=float(found.similarity[row, nearest]),
    )
