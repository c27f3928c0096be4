"""The similarities that rank a trial, with or without post-processing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vireid.errors import ConfigError
from vireid.evaluation.protocol import Protocol, Trial
from vireid.evaluation.reranking import QueryExpansion, Reranker, expand
from vireid.evaluation.similarity import Similarity, similarities

__all__ = ["Ranking", "trial_similarity"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """How a gallery is ranked for a query.

    Attributes:
        similarity: How two features are compared.
        expansion: Query expansion; none by default.
        reranking: Re-ranking; none by default.
        memory_limit_bytes: Memory limit of re-ranking; a re-ranking that needs more is refused.

    Raises:
        ConfigError: Query expansion or re-ranking with another similarity than the cosine, for
            which neither is defined.
    """

    similarity: Similarity = "cosine"
    expansion: QueryExpansion | None = None
    reranking: Reranker | None = None
    memory_limit_bytes: int = 4 * 1024**3

    def __post_init__(self) -> None:
        if self.similarity != "cosine" and self.has_post_processing:
            raise ConfigError(
                f"query expansion and re-ranking need cosine similarity, not '{self.similarity}'; "
                "expected --similarity cosine with them"
            )

    @property
    def has_post_processing(self) -> bool:
        """Whether the similarity of two images depends on the other images of the gallery."""
        return self.expansion is not None or self.reranking is not None


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
        return ranking.reranking(query, gallery, memory_limit_bytes=ranking.memory_limit_bytes)
    return similarities(query, gallery, similarity=ranking.similarity)
