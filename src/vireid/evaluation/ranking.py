"""The similarities that rank a trial, with or without post-processing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from vireid.errors import ConfigError, EvaluationError, many
from vireid.evaluation.protocol import Protocol, Trial
from vireid.evaluation.reranking import (
    KReciprocal,
    QueryExpansion,
    Reranker,
    expand,
    rerank_alone,
)
from vireid.evaluation.similarity import Similarity, similarities
from vireid.types import Modality

__all__ = ["Ranking", "pair_statistics", "trial_similarity"]

PAIRS = ", standardised by pair of modalities"
"""What results say of the similarity."""
_PAIRED = 2_000
"""Most images of a modality whose similarities are measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """How a gallery is ranked for a query.

    Attributes:
        similarity: How two features are compared.
        standardise_pairs: Standardise similarities by pair of modalities, for mixed galleries
            (:func:`pair_statistics`).
        expansion: Query expansion; none by default.
        reranking: Re-ranking; none by default.
        bank: Features of unlabelled images of both modalities, by modality: each query is re-ranked
            alone, with those of its own modality instead of the other queries.
        memory_limit_bytes: Memory limit of re-ranking; a re-ranking that needs more is refused.

    Raises:
        ConfigError: Query expansion or re-ranking with another similarity than the cosine, for
            which neither is defined.
    """

    similarity: Similarity = "cosine"
    standardise_pairs: bool = False
    expansion: QueryExpansion | None = None
    reranking: Reranker | None = None
    bank: Mapping[Modality, NDArray[np.float32]] | None = None
    memory_limit_bytes: int = 4 * 1024**3

    def __post_init__(self) -> None:
        if self.bank is not None and not isinstance(self.reranking, KReciprocal):
            raise ConfigError(
                "a bank of unlabelled images is given without k-reciprocal re-ranking, which uses"
                " it; expected both, or neither"
            )
        if self.standardise_pairs and (self.expansion or self.reranking):
            raise ConfigError(
                "--standardise-pairs is given with query expansion or re-ranking, which compare "
                "features in their own way; expected one of them: remove the other"
            )
        if self.similarity != "cosine" and (self.expansion or self.reranking):
            raise ConfigError(
                f"query expansion and re-ranking need cosine similarity, not '{self.similarity}'; "
                "expected --similarity cosine with them"
            )

    @property
    def has_post_processing(self) -> bool:
        """Whether the similarity of two images depends on the other images of the gallery."""
        return self.standardise_pairs or bool(self.expansion or self.reranking)

    @property
    def similarity_name(self) -> str:
        """The similarity, as results name it."""
        return f"{self.similarity}{PAIRS if self.standardise_pairs else ''}"

    @property
    def reranking_name(self) -> str:
        """The re-ranking, as results name it."""
        if self.reranking is None:
            return "none"
        if self.bank is None:
            return f"{self.reranking}, transductive: with the other queries"
        images = sum(map(len, self.bank.values()))
        return (
            f"{self.reranking}, each query alone, with {many(images, 'unlabelled training image')}"
        )


def trial_similarity(
    values: NDArray[np.float32], protocol: Protocol, trial: Trial, ranking: Ranking
) -> NDArray[np.float32]:
    """Compute the similarities that rank one trial.

    Args:
        values: Features of the protocol's records, ``[records, d]``.
        protocol: The protocol.
        trial: One of its trials.
        ranking: How to rank.

    Returns:
        ``[q, g]``; larger is nearer.

    Raises:
        EvaluationError: Re-ranking exceeds the memory limit.
    """
    query, gallery = values[trial.query], values[trial.gallery]
    if ranking.expansion is not None:
        excluded = protocol.excluded(trial.query, trial.gallery)
        query = expand(query, gallery, ranking.expansion, excluded=excluded)
    if ranking.reranking is not None:
        limit = ranking.memory_limit_bytes
        if ranking.bank is not None and isinstance(ranking.reranking, KReciprocal):
            bank = ranking.bank[protocol.records[trial.query[0]].modality]
            return rerank_alone(query, bank, gallery, ranking.reranking, memory_limit_bytes=limit)
        return ranking.reranking(query, gallery, memory_limit_bytes=limit)
    found = similarities(query, gallery, similarity=ranking.similarity)
    return (
        _standardised(found, gallery, protocol, trial, ranking)
        if ranking.standardise_pairs
        else found
    )


def pair_statistics(
    first: NDArray[np.floating],
    second: NDArray[np.floating] | None = None,
    *,
    similarity: Similarity = "cosine",
) -> tuple[float, float]:
    """Mean and deviation of the similarities of the images of one or two modalities.

    Args:
        first: Features of images of one modality, ``[n, d]``; of more than 2,000 images, 2,000 in
            even steps are taken.
        second: Features of another modality, ``[m, d]``; None: the pairs within ``first``, without
            those of an image with itself.
        similarity: How two features are compared.

    Raises:
        EvaluationError: There is no pair, or all are equally similar.
    """
    own = _evenly(first)
    found = similarities(own, own if second is None else _evenly(second), similarity=similarity)
    pairs = found[~np.eye(len(own), dtype=np.bool_)] if second is None else found.ravel()
    deviation = float(pairs.std(dtype=np.float64)) if len(pairs) else 0.0
    if not deviation:
        raise EvaluationError(
            f"the similarities of {len(pairs):,} pairs of gallery images have no deviation to "
            "standardise by; expected several different images of each modality: remove "
            "--standardise-pairs"
        )
    return float(pairs.mean(dtype=np.float64)), deviation


def _evenly(rows: NDArray[np.floating]) -> NDArray[np.floating]:
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), _PAIRED)).astype(np.int64))]


def _standardised(
    found: NDArray[np.float32],
    gallery: NDArray[np.float32],
    protocol: Protocol,
    trial: Trial,
    ranking: Ranking,
) -> NDArray[np.float32]:
    """Similarities ``[q, g]`` minus the mean of their pair of modalities, by its deviation.

    The statistics are those of the gallery's images among themselves: they depend on no query.
    """
    kinds = np.array([record.modality for record in protocol.records])
    rows = {modality: gallery[kinds[trial.gallery] == modality] for modality in Modality}
    if not all(map(len, rows.values())):
        raise EvaluationError(
            f"{protocol.name}, {protocol.direction}: the gallery has one modality, and "
            "--standardise-pairs makes the similarities to two comparable; expected it with "
            "--gallery-modality both: add it, or remove --standardise-pairs"
        )
    values = found.astype(np.float64)
    for query, other in product(Modality, Modality):
        cells = np.ix_(kinds[trial.query] == query, kinds[trial.gallery] == other)
        if not cells[0].size:
            continue
        mean, deviation = pair_statistics(
            rows[query], None if query == other else rows[other], similarity=ranking.similarity
        )
        values[cells] = (values[cells] - mean) / deviation
    return values.astype(np.float32)
