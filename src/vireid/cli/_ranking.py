"""The flags of a ranking, which ``vireid evaluate`` and ``vireid score`` share; no torch here."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from vireid.cli._flags import DEFAULT
from vireid.errors import ConfigError
from vireid.evaluation import KReciprocal, QueryExpansion, Ranking
from vireid.evaluation.similarity import Similarity

__all__ = ["post_processing", "ranking_from_flags"]


def post_processing(
    *,
    rerank: Annotated[bool, DEFAULT] = False,
    expand: Annotated[int, DEFAULT] = 0,
    memory_limit: Annotated[float, DEFAULT] = 4.0,
) -> Ranking:
    """Build a ranking from the values of flags.

    Args:
        rerank: Apply k-reciprocal re-ranking (Zhong et al., CVPR 2017; k1 20, k2 6, lambda 0.3).
        expand: Number of gallery images for query expansion (alpha 3); 0 disables it.
        memory_limit: Memory limit of re-ranking in GiB; a re-ranking that needs more is refused.

    Raises:
        ConfigError: A value is out of range.
    """
    if expand < 0 or memory_limit <= 0:
        raise ConfigError(
            f"--expand {expand} or --memory-limit {memory_limit} is out of range; expected 0 or "
            "more neighbours, and more than 0 GiB"
        )
    return Ranking(
        expansion=QueryExpansion(neighbours=expand) if expand else None,
        reranking=KReciprocal() if rerank else None,
        memory_limit_bytes=int(memory_limit * 1024**3),
    )


def ranking_from_flags(
    *,
    similarity: Annotated[Similarity, DEFAULT] = "cosine",
    rerank: Annotated[bool, DEFAULT] = False,
    expand: Annotated[int, DEFAULT] = 0,
    memory_limit: Annotated[float, DEFAULT] = 4.0,
) -> Ranking:
    """Build a ranking from the values of flags.

    Args:
        similarity: cosine, or euclidean as in the official demo of SYSU-MM01.
        rerank: Apply k-reciprocal re-ranking (Zhong et al., CVPR 2017; k1 20, k2 6, lambda 0.3).
        expand: Number of gallery images for query expansion (alpha 3); 0 disables it.
        memory_limit: Memory limit of re-ranking in GiB; a re-ranking that needs more is refused.

    Raises:
        ConfigError: A value is out of range, or post-processing needs another similarity.
    """
    plain = post_processing(rerank=rerank, expand=expand, memory_limit=memory_limit)
    return replace(plain, similarity=similarity)
