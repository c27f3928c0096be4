"""Score features under a protocol: from features to a :class:`~vireid.evaluation.Result`."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from importlib import metadata

import numpy as np
from numpy.typing import NDArray

from vireid.data.provenance import relative_names
from vireid.errors import EvaluationError, many
from vireid.evaluation.analysis import Details, Search
from vireid.evaluation.bootstrap import ByIdentity
from vireid.evaluation.chance import chance_level
from vireid.evaluation.metrics import QueryRanks, cmc_curve, mean_over, rank_queries
from vireid.evaluation.protocol import Protocol, Trial
from vireid.evaluation.ranking import Ranking, trial_similarity
from vireid.evaluation.result import Result, TrialScore
from vireid.evaluation.similarity import match_rows, similarities
from vireid.types import Features

__all__ = ["data_fingerprint", "evaluate", "evaluate_with_search"]

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

    Images are matched by path, so the order of the features does not matter. The feature of an
    image serves all trials.

    Args:
        features: Features of at least the protocol's images.
        protocol: The protocol.
        ranking: How galleries are ranked; by cosine similarity by default.
        fingerprint: Fingerprint of the weights that computed the features.
        about: Further facts for the result: method, backbone, weights, seed.
        details: Add :class:`~vireid.evaluation.analysis.Details` of the first trial, whose full
            similarity matrix is then held in memory.

    Raises:
        EvaluationError: An image is missing or appears twice, a feature is NaN, infinite or
            zero, no query has a match, or re-ranking exceeds its memory limit.
    """
    if details:
        return evaluate_with_search(
            features, protocol, ranking=ranking, fingerprint=fingerprint, about=about
        )[0]
    how = ranking or Ranking()
    ranks, _ = _rank_trials(features, protocol, how, keep_first=False)
    return _result(features, protocol, how, ranks, fingerprint, about or {})


def evaluate_with_search(
    features: Features,
    protocol: Protocol,
    *,
    ranking: Ranking | None = None,
    fingerprint: str = "",
    about: Mapping[str, str] | None = None,
) -> tuple[Result, Search]:
    """Score features with details, and return the search of the first trial for figures.

    Arguments and errors are those of :func:`evaluate`.

    Returns:
        The result with details, and the first trial with its similarity matrix.
    """
    how = ranking or Ranking()
    ranks, first = _rank_trials(features, protocol, how, keep_first=True)
    result = _result(features, protocol, how, ranks, fingerprint, about or {})
    search = Search.of(protocol, protocol.trials[0], first, ranks[0])
    return replace(result, details=Details.of(search)), search


def data_fingerprint(protocol: Protocol) -> str:
    """SHA-256 of relative file names, labels, trials and exclusion rules."""
    digest = hashlib.sha256()
    for name, record in zip(relative_names(protocol.records), protocol.records, strict=True):
        role = "" if record.role == "person" else f"\0{record.role}"
        line = f"{name}\0{record.identity}\0{record.camera}\0{record.modality}{role}\n"
        digest.update(line.encode())
    for trial in protocol.trials:
        digest.update(b"trial")
        digest.update(trial.query.astype("<i8").tobytes())
        digest.update(b"against")
        digest.update(trial.gallery.astype("<i8").tobytes())
    digest.update(repr((protocol.excluded_cameras, protocol.excludes_own_camera)).encode())
    return digest.hexdigest()


def _result(
    features: Features,
    protocol: Protocol,
    how: Ranking,
    ranks: Sequence[QueryRanks],
    fingerprint: str,
    about: Mapping[str, str],
) -> Result:
    return Result(
        protocol=protocol.name,
        direction=protocol.direction,
        convention=protocol.convention,
        cmc_kind=protocol.cmc,
        trials=tuple(
            _score(found, trial, protocol)
            for found, trial in zip(ranks, protocol.trials, strict=True)
        ),
        feature_size=features.values.shape[1],
        similarity=how.similarity_name,
        query_expansion=str(how.expansion or "none"),
        reranking=how.reranking_name,
        test_time_augmentation=features.augmentation,
        standardisation=features.standardisation,
        weights_fingerprint=fingerprint,
        data_fingerprint=data_fingerprint(protocol),
        unmatched=_unmatched(ranks, protocol),
        junk=protocol.junk,
        distractors=protocol.distractors,
        about=dict(about),
        versions={
            "python": platform.python_version(),
            "numpy": np.__version__,
            "vireid": metadata.version("vireid"),
        },
    )


def _rank_trials(
    features: Features, protocol: Protocol, how: Ranking, *, keep_first: bool
) -> tuple[list[QueryRanks], NDArray[np.float32]]:
    """Rank all trials; also return the similarities of the first, ``[q, g]``, if requested."""
    values = match_rows(features, protocol.records, similarity=how.similarity)
    for trial in protocol.trials:
        if not len(trial.query) or not len(trial.gallery):
            raise EvaluationError(
                f"{protocol.name}, {protocol.direction}: a trial has"
                f" {many(len(trial.query), 'query', 'queries')} and"
                f" {many(len(trial.gallery), 'gallery image')}; expected at least one of each"
            )
    first = np.empty((0, 0), dtype=np.float32)
    if how.has_post_processing:
        # The gallery of a trial influences its similarities: rank each trial separately.
        ranks = []
        for trial in protocol.trials:
            similarity = trial_similarity(values, protocol, trial, how)
            ranks.append(_rank_block(similarity, trial.query, trial.gallery, protocol))
            if keep_first and trial is protocol.trials[0]:
                first = similarity
        return ranks, first
    # Compute similarities once for all trials, block by block.
    if keep_first:
        shape = (len(protocol.trials[0].query), len(protocol.trials[0].gallery))
        first = np.empty(shape, dtype=np.float32)
    query = np.unique(np.concatenate([t.query for t in protocol.trials]))
    gallery = np.unique(np.concatenate([t.gallery for t in protocol.trials]))
    step = max(1, _BLOCK_CELLS // len(gallery))
    parts: list[list[tuple[NDArray[np.int64], QueryRanks]]] = [[] for _ in protocol.trials]
    for begin in range(0, len(query), step):
        rows = query[begin : begin + step]
        found = similarities(values[rows], values, rows=gallery, similarity=how.similarity)
        for number, (trial, into) in enumerate(zip(protocol.trials, parts, strict=True)):
            here = np.flatnonzero((trial.query >= rows[0]) & (trial.query <= rows[-1]))
            if not len(here):
                continue
            block = found[np.searchsorted(rows, trial.query[here])]
            block = np.take(block, np.searchsorted(gallery, trial.gallery), axis=1)
            if keep_first and number == 0:
                first[here] = block
            into.append((here, _rank_block(block, trial.query[here], trial.gallery, protocol)))
    ranks = [_join(found, len(t.query)) for found, t in zip(parts, protocol.trials, strict=True)]
    return ranks, first


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
    """Concatenate the blocks of one trial in the order of its queries."""
    positions = np.concatenate([here for here, _ in parts])
    order = np.empty(queries, dtype=np.int64)
    order[positions] = np.arange(queries)
    return QueryRanks(
        *(
            np.concatenate([getattr(ranks, column.name) for _, ranks in parts])[order]
            for column in fields(QueryRanks)
        )
    )


def _score(ranks: QueryRanks, trial: Trial, protocol: Protocol) -> TrialScore:
    # First, because its error message counts the queries where none has a match.
    by_image = cmc_curve(ranks.first_image, CMC_LENGTH)
    # Queries of the same identity and camera have the same chance, unless one of them is in the
    # gallery, where it is left out: compute each kind once.
    shown = np.isin(trial.query, trial.gallery)
    kinds = np.stack([protocol.identities[trial.query], protocol.cameras[trial.query], shown])
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
    file_names = relative_names(protocol.records)
    return tuple(file_names[i] for i in np.flatnonzero(lost).tolist())
