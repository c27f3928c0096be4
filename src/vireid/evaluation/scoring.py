"""From features and a protocol to a :class:`~vireid.evaluation.result.Result`."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import fields
from importlib import metadata

import numpy as np
from numpy.typing import NDArray

from vireid.errors import EvaluationError
from vireid.evaluation.analysis import Details, search
from vireid.evaluation.bootstrap import ByIdentity
from vireid.evaluation.chance import chance_level
from vireid.evaluation.metrics import QueryRanks, cmc_curve, mean_over, rank_queries
from vireid.evaluation.protocol import Protocol, Trial, names
from vireid.evaluation.ranking import Ranking, trial_similarity
from vireid.evaluation.result import Result, TrialScore
from vireid.evaluation.similarity import match_rows, similarities
from vireid.types import Features

__all__ = ["data_fingerprint", "evaluate"]

CMC_LENGTH = 50
_BLOCK_CELLS = 64_000_000  # similarities held at once, 256 MB


def evaluate(
    features: Features,
    protocol: Protocol,
    *,
    ranking: Ranking | None = None,
    fingerprint: str = "",
    about: Mapping[str, str] | None = None,
    details: bool = False,
) -> Result:
    """Score features under a protocol.

    Each image is used from one feature, whatever the number of trials. The order of the
    features does not matter: images are matched by path.

    Args:
        features: Features of at least the protocol's images.
        protocol: The protocol.
        ranking: How galleries are ranked; by the cosine and nothing else by default.
        fingerprint: Fingerprint of the weights the features come from.
        about: What else the result should say: method, backbone, weights, seed.
        details: Keep :class:`~vireid.evaluation.analysis.Details` of the first trial, which is
            searched once more for them, its whole similarity matrix at once.

    Raises:
        EvaluationError: An image is missing or appears twice, a feature is NaN, infinite or
            zero, no query has a match, or re-ranking does not fit into its memory limit.
    """
    how = ranking or Ranking()
    values = match_rows(features, protocol.records, similarity=how.similarity)
    for trial in protocol.trials:
        if not len(trial.query) or not len(trial.gallery):
            raise EvaluationError(
                f"{protocol.name}, {protocol.direction}: a trial has {len(trial.query)} queries "
                f"and {len(trial.gallery)} gallery images; expected at least one of each"
            )
    ranks = _rank_treated(values, protocol, how) if how.treated else _rank(values, protocol, how)
    scores = tuple(
        _score(found, trial, protocol) for found, trial in zip(ranks, protocol.trials, strict=True)
    )
    return Result(
        protocol=protocol.name,
        direction=protocol.direction,
        convention=protocol.convention,
        cmc_kind=protocol.cmc,
        trials=scores,
        feature_size=values.shape[1],
        similarity=how.similarity,
        query_expansion=str(how.expansion or "none"),
        reranking=str(how.reranking or "none"),
        test_time_augmentation=features.augmentation,
        weights_fingerprint=fingerprint,
        data_fingerprint=data_fingerprint(protocol),
        unmatched=_unmatched(ranks, protocol),
        about=dict(about or {}),
        versions={
            "python": platform.python_version(),
            "numpy": np.__version__,
            "vireid": metadata.version("vireid"),
        },
        details=Details.of(search(features, protocol, ranking=how)) if details else None,
    )


def data_fingerprint(protocol: Protocol) -> str:
    """SHA-256 of the images' names (below their common folder), labels and the trials."""
    digest = hashlib.sha256()
    for name, record in zip(names(protocol.records), protocol.records, strict=True):
        line = f"{name}\0{record.identity}\0{record.camera}\0{record.modality}\n"
        digest.update(line.encode())
    for trial in protocol.trials:
        digest.update(b"trial")
        digest.update(trial.query.astype("<i8").tobytes())
        digest.update(b"against")
        digest.update(trial.gallery.astype("<i8").tobytes())
    digest.update(repr((protocol.excluded_cameras, protocol.excludes_own_camera)).encode())
    return digest.hexdigest()


def _rank(values: NDArray[np.float32], protocol: Protocol, how: Ranking) -> list[QueryRanks]:
    """Rank every trial; similarities are computed once for all trials, block by block."""
    query = np.unique(np.concatenate([t.query for t in protocol.trials]))
    gallery = np.unique(np.concatenate([t.gallery for t in protocol.trials]))
    step = max(1, _BLOCK_CELLS // len(gallery))
    parts: list[list[tuple[NDArray[np.int64], QueryRanks]]] = [[] for _ in protocol.trials]
    for begin in range(0, len(query), step):
        rows = query[begin : begin + step]
        found = similarities(values[rows], values, rows=gallery, similarity=how.similarity)
        for trial, into in zip(protocol.trials, parts, strict=True):
            here = np.flatnonzero((trial.query >= rows[0]) & (trial.query <= rows[-1]))
            if not len(here):
                continue
            block = found[np.searchsorted(rows, trial.query[here])]
            block = np.take(block, np.searchsorted(gallery, trial.gallery), axis=1)
            into.append((here, _rank_block(block, trial.query[here], trial.gallery, protocol)))
    return [_join(found, len(t.query)) for found, t in zip(parts, protocol.trials, strict=True)]


def _rank_treated(
    values: NDArray[np.float32], protocol: Protocol, how: Ranking
) -> list[QueryRanks]:
    """Rank every trial by itself, because its gallery decides the similarities."""
    return [
        _rank_block(
            trial_similarity(values, protocol, trial, how), trial.query, trial.gallery, protocol
        )
        for trial in protocol.trials
    ]


def _rank_block(
    similarity: NDArray[np.float32],
    query: NDArray[np.int64],
    gallery: NDArray[np.int64],
    protocol: Protocol,
) -> QueryRanks:
    identities = protocol.identities
    return rank_queries(
        similarity, identities[query], identities[gallery], protocol.excluded(query, gallery)
    )


def _join(parts: list[tuple[NDArray[np.int64], QueryRanks]], queries: int) -> QueryRanks:
    """Put the blocks of one trial back into the order of its queries."""
    place = np.concatenate([here for here, _ in parts])
    order = np.empty(queries, dtype=np.int64)
    order[place] = np.arange(queries)
    return QueryRanks(
        *(
            np.concatenate([getattr(ranks, column.name) for _, ranks in parts])[order]
            for column in fields(QueryRanks)
        )
    )


def _score(ranks: QueryRanks, trial: Trial, protocol: Protocol) -> TrialScore:
    # First, because without any match it says of how many queries.
    by_image = cmc_curve(ranks.first_image, CMC_LENGTH)
    # Queries of one identity and camera have the same odds: reckon each kind once.
    kinds = np.stack([protocol.identities[trial.query], protocol.cameras[trial.query]])
    _, some, counts = np.unique(kinds, axis=1, return_index=True, return_counts=True)
    representatives = trial.query[some]
    chance = chance_level(
        protocol.identities[representatives],
        protocol.identities[trial.gallery],
        protocol.excluded(representatives, trial.gallery),
        by_identity=protocol.cmc == "identity",
        weights=counts,
        length=CMC_LENGTH,
    )
    return TrialScore(
        queries=len(trial.query),
        gallery=len(trial.gallery),
        unmatched=int(np.count_nonzero(~ranks.valid)),
        cmc_by_identity=tuple(cmc_curve(ranks.first_identity, CMC_LENGTH).tolist()),
        cmc_by_image=tuple(by_image.tolist()),
        mean_ap=mean_over(ranks.average_precision, ranks.valid),
        mean_inp=mean_over(ranks.inverse_negative_penalty, ranks.valid),
        chance=chance,
        by_identity=_by_identity(ranks, protocol.identities[trial.query]),
    )


def _by_identity(ranks: QueryRanks, identities: NDArray[np.int64]) -> ByIdentity:
    valid = ranks.valid
    people, group = np.unique(identities[valid], return_inverse=True)

    def sums(values: NDArray[np.float64]) -> list[float]:
        totals: list[float] = np.bincount(group, weights=values[valid]).tolist()
        return totals

    return ByIdentity(
        identity=tuple(people.tolist()),
        queries=tuple(np.bincount(group).tolist()),
        rank1=tuple(int(hits) for hits in sums((ranks.first_image == 1).astype(np.float64))),
        ap=tuple(sums(ranks.average_precision)),
        inp=tuple(sums(ranks.inverse_negative_penalty)),
    )


def _unmatched(ranks: Sequence[QueryRanks], protocol: Protocol) -> tuple[str, ...]:
    """Names of the queries without a match in at least one trial."""
    lost = np.zeros(len(protocol.records), dtype=np.bool_)
    for found, trial in zip(ranks, protocol.trials, strict=True):
        lost[trial.query[~found.valid]] = True
    if not lost.any():
        return ()
    called = names(protocol.records)
    return tuple(called[i] for i in np.flatnonzero(lost).tolist())
