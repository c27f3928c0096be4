"""The flags of a ranking, which ``vireid evaluate`` and ``vireid score`` share; no torch here."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import tyro

from vireid.cli._flags import DEFAULT
from vireid.errors import ConfigError
from vireid.evaluation import KReciprocal, PluginReranker, QueryExpansion, Ranking, Reranker
from vireid.evaluation.similarity import Similarity
from vireid.plugins import declared, origin, plugins

__all__ = ["post_processing", "ranking_from_flags"]

DEFAULTS = KReciprocal()


def post_processing(
    *,
    rerank: Annotated[str, DEFAULT, tyro.conf.arg(metavar="{k-reciprocal|PLUGIN}")] = "",
    expand: Annotated[int, DEFAULT] = 0,
    memory_limit: Annotated[float, DEFAULT] = 4.0,
    k1: Annotated[int, DEFAULT] = DEFAULTS.k1,
    k2: Annotated[int, DEFAULT] = DEFAULTS.k2,
    rerank_weight: Annotated[float, DEFAULT] = DEFAULTS.weight,
    balanced: Annotated[bool, DEFAULT] = DEFAULTS.balanced,
    standardise_pairs: Annotated[bool, DEFAULT] = False,
) -> Ranking:
    """Build a ranking from the values of flags.

    Args:
        rerank: Re-rank by k-reciprocal (Zhong et al., CVPR 2017) with all queries, or by the
            re-ranker of a plugin.
        expand: Number of gallery images for query expansion (alpha 3); 0 disables it.
        memory_limit: Memory limit of re-ranking in GiB; a re-ranking that needs more is refused.
        k1: Of k-reciprocal: number of neighbours among which reciprocal ones are searched.
        k2: Of k-reciprocal: number of nearest images to average over.
        rerank_weight: Of k-reciprocal: lambda, the weight of the original distance.
        balanced: Of k-reciprocal: take neighbours alternately from both modalities.
        standardise_pairs: Of mixed galleries: standardise similarities by pair of modalities, by
            mean and deviation among the gallery's images.

    Raises:
        ConfigError: A value is out of range, or there is no such re-ranker.
    """
    if expand < 0 or memory_limit <= 0:
        raise ConfigError(
            f"--expand {expand} or --memory-limit {memory_limit} is out of range; expected 0 or "
            "more neighbours, and more than 0 GiB"
        )
    options = KReciprocal(k1=k1, k2=k2, weight=rerank_weight, balanced=balanced)
    if rerank != "k-reciprocal" and options != DEFAULTS:
        raise ConfigError(
            "--k1, --k2, --rerank-weight or --balanced is given without --rerank k-reciprocal; "
            "expected both; add it, or remove them"
        )
    return Ranking(
        expansion=QueryExpansion(neighbours=expand) if expand else None,
        reranking=_reranker(rerank, options) if rerank else None,
        memory_limit_bytes=int(memory_limit * 1024**3),
        standardise_pairs=standardise_pairs,
    )


def _reranker(name: str, options: KReciprocal) -> Reranker:
    own = declared("rerankers", name)
    if name == "k-reciprocal" and own is None:
        return options
    if name == "k-reciprocal" or own is None:
        known = ", ".join(dict.fromkeys(["k-reciprocal", *plugins("rerankers")]))
        raise ConfigError(
            f"The re-ranker '{name}' is {'built in, and declared again' if own else 'unknown'}; "
            f"expected one of {known}; one of your own needs its package, or --plugin FILE.py."
        )
    return PluginReranker(own, f"{origin('rerankers', name)}")


def ranking_from_flags(
    *,
    similarity: Annotated[Similarity, DEFAULT] = "cosine",
    rerank: Annotated[str, DEFAULT, tyro.conf.arg(metavar="{k-reciprocal|PLUGIN}")] = "",
    expand: Annotated[int, DEFAULT] = 0,
    memory_limit: Annotated[float, DEFAULT] = 4.0,
    k1: Annotated[int, DEFAULT] = DEFAULTS.k1,
    k2: Annotated[int, DEFAULT] = DEFAULTS.k2,
    rerank_weight: Annotated[float, DEFAULT] = DEFAULTS.weight,
    balanced: Annotated[bool, DEFAULT] = DEFAULTS.balanced,
    standardise_pairs: Annotated[bool, DEFAULT] = False,
) -> Ranking:
    """Build a ranking from the values of flags.

    Args:
        similarity: cosine, or euclidean as in the official demo of SYSU-MM01.
        rerank: Re-rank by k-reciprocal (Zhong et al., CVPR 2017) with all queries, or by the
            re-ranker of a plugin.
        expand: Number of gallery images for query expansion (alpha 3); 0 disables it.
        memory_limit: Memory limit of re-ranking in GiB; a re-ranking that needs more is refused.
        k1: Of k-reciprocal: number of neighbours among which reciprocal ones are searched.
        k2: Of k-reciprocal: number of nearest images to average over.
        rerank_weight: Of k-reciprocal: lambda, the weight of the original distance.
        balanced: Of k-reciprocal: take neighbours alternately from both modalities.
        standardise_pairs: Of mixed galleries: standardise similarities by pair of modalities, by
            mean and deviation among the gallery's images.

    Raises:
        ConfigError: A value is out of range, or post-processing needs another similarity.
    """
    plain = post_processing(
        rerank=rerank,
        expand=expand,
        memory_limit=memory_limit,
        k1=k1,
        k2=k2,
        rerank_weight=rerank_weight,
        balanced=balanced,
        standardise_pairs=standardise_pairs,
    )
    return replace(plain, similarity=similarity)
