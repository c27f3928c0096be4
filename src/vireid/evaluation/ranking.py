"""The similarities that rank a trial, with or without post-processing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vireid.errors import ConfigError
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

__all__ = ["Ranking", "trial_similarity"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """How a gallery is ranked for a query.

    Attributes:
        similarity: How two features are compared.
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
        if self.similarity != "cosine" and self.has_post_processing:
            raise ConfigError(
                f"query expansion and re-ranking need cosine similarity, not '{self.similarity}'; "
                "expected --similarity cosine with them"
            )

    @property
    def has_post_processing(self) -> bool:
        """Whether the similarity of two images depends on the other images of the gallery."""
        return self.expansion is not None or self.reranking is not None

    @property
    def reranking_name(self) -> str:
        """The re-ranking, as results name it."""
        if self.reranking is None:
            return "none"
        if self.bank is None:
            return f"{self.reranking}, transductive: with the other queries"
        images = sum(map(len, self.bank.values()))
        return f"{self.reranking}, each query alone, with {images:,} unlabelled training images"


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
    return similarities(query, gallery, similarity=ranking.similarity)
