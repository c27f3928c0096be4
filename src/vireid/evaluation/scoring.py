"""From descriptors and a protocol to a :class:`~vireid.evaluation.result.Result`."""

from __future__ import annotations

import hashlib
import os
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields
from importlib import metadata
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vireid.errors import EvaluationError
from vireid.evaluation.chance import chance_level
from vireid.evaluation.metrics import QueryRanks, cmc_curve, mean_over, rank_queries
from vireid.evaluation.protocols import Protocol, Trial
from vireid.evaluation.result import Result, TrialScore
from vireid.types import Descriptors, ImageRecord

__all__ = ["data_fingerprint", "evaluate", "match_rows", "similarities"]

CMC_LENGTH = 50
_BLOCK_CELLS = 16_000_000  # similarities held at once, 64 MB
_TILE = 8192  # gallery rows widened to float64 at once


def evaluate(
    descriptors: Descriptors,
    protocol: Protocol,
    *,
    fingerprint: str = "",
    about: Mapping[str, str] | None = None,
) -> Result:
    """Score descriptors under a protocol.

    Each image is used from one descriptor, whatever the number of trials. The order of the
    descriptors does not matter: images are matched by path.

    Args:
        descriptors: Descriptors of at least the protocol's images.
        protocol: The protocol.
        fingerprint: Fingerprint of the weights the descriptors come from.
        about: What else the result should say: method, backbone, weights, seed.

    Raises:
        EvaluationError: An image is missing or appears twice, a descriptor is NaN, infinite or
            zero, or no query has a match.
    """
    values = match_rows(descriptors, protocol.records)
    identities = np.array([r.identity for r in protocol.records], dtype=np.int64)
    cameras = np.array([r.camera for r in protocol.records], dtype=np.int64)
    for trial in protocol.trials:
        if not len(trial.query) or not len(trial.gallery):
            raise EvaluationError(
                f"{protocol.name}, {protocol.direction}: a trial has {len(trial.query)} queries "
                f"and {len(trial.gallery)} gallery images; expected at least one of each"
            )
    ranks = _rank_trials(values, identities, cameras, protocol)
    scores = tuple(
        _score(found, trial, identities, cameras, protocol)
        for found, trial in zip(ranks, protocol.trials, strict=True)
    )
    return Result(
        protocol=protocol.name,
        direction=protocol.direction,
        convention=protocol.convention,
        cmc_kind=protocol.cmc,
        trials=scores,
        descriptor_size=values.shape[1],
        weights_fingerprint=fingerprint,
        data_fingerprint=data_fingerprint(protocol),
        about=dict(about or {}),
        versions={
            "python": platform.python_version(),
            "numpy": np.__version__,
            "vireid": metadata.version("vireid"),
        },
    )


def match_rows(descriptors: Descriptors, records: Sequence[ImageRecord]) -> NDArray[np.float32]:
    """The descriptors of ``records``, in their order, checked.

    Args:
        descriptors: Float ``[n, d]`` with their records.
        records: The images wanted, ``m``.

    Returns:
        ``[m, d]``.

    Raises:
        EvaluationError: As for :func:`evaluate`; the message names the first images.
    """
    values = descriptors.values
    if values.ndim != 2 or len(values) != len(descriptors.records):
        raise EvaluationError(
            f"descriptors of shape {values.shape} for {len(descriptors.records)} images; "
            "expected one row an image"
        )
    place = {record.path: row for row, record in enumerate(descriptors.records)}
    if len(place) < len(descriptors.records):
        counts = Counter(record.path for record in descriptors.records)
        twice = [path for path, count in counts.items() if count > 1]
        raise EvaluationError(
            f"{_named(twice)} more than once among the descriptors; expected every image once "
            "(padding of distributed loaders repeats images: cut it off)"
        )
    missing = [record.path for record in records if record.path not in place]
    if missing:
        raise EvaluationError(
            f"no descriptor for {_named(missing)}; expected all {len(records)} images of the "
            "protocol: encode protocol.records"
        )
    chosen = values[[place[record.path] for record in records]]
    finite = np.isfinite(chosen).all(axis=1)
    if not finite.all():
        bad = [records[i].path for i in np.flatnonzero(~finite).tolist()]
        raise EvaluationError(
            f"NaN or infinity in the descriptor of {_named(bad)}; expected finite numbers: look "
            "at these images and whether the network's weights are finite"
        )
    zero = ~chosen.any(axis=1)
    if zero.any():
        bad = [records[i].path for i in np.flatnonzero(zero).tolist()]
        raise EvaluationError(
            f"the descriptor of {_named(bad)} is all zero and has no direction; expected unit "
            "length: the network's last layer gives nothing for these images"
        )
    return chosen


def similarities(query: NDArray[np.floating], gallery: NDArray[np.floating]) -> NDArray[np.float32]:
    """Cosine similarities, summed in float64 and rounded to float32.

    The sum in float64 makes the rounded number independent of the BLAS library, its threads and
    the place of an image in the matrix; so equal descriptors give exactly equal similarities, and
    a result has the same bytes on every machine but for the rarest rounding.

    Args:
        query: ``[q, d]``, no zero row; normalised here.
        gallery: ``[g, d]``, no zero row; normalised here.

    Returns:
        ``[q, g]`` in [-1, 1].
    """
    left = _unit(query)
    out = np.empty((len(query), len(gallery)), dtype=np.float32)
    for begin in range(0, len(gallery), _TILE):
        tile = slice(begin, begin + _TILE)
        out[:, tile] = left @ _unit(gallery[tile]).T
    return out


def data_fingerprint(protocol: Protocol) -> str:
    """SHA-256 of the images' names (below their common folder), labels and the trials."""
    digest = hashlib.sha256()
    root = Path(os.path.commonpath([r.path.parent for r in protocol.records]))
    for record in protocol.records:
        name = record.path.relative_to(root).as_posix()
        line = f"{name}\0{record.identity}\0{record.camera}\0{record.modality}\n"
        digest.update(line.encode(errors="surrogateescape"))
    for trial in protocol.trials:
        digest.update(b"trial")
        digest.update(trial.query.astype("<i8").tobytes())
        digest.update(b"against")
        digest.update(trial.gallery.astype("<i8").tobytes())
    digest.update(repr(protocol.excluded_cameras).encode())
    return digest.hexdigest()


def _rank_trials(
    values: NDArray[np.float32],
    identities: NDArray[np.int64],
    cameras: NDArray[np.int64],
    protocol: Protocol,
) -> list[QueryRanks]:
    """Rank every trial; similarities are computed once for all trials, block by block."""
    query = np.unique(np.concatenate([t.query for t in protocol.trials]))
    gallery = np.unique(np.concatenate([t.gallery for t in protocol.trials]))
    step = max(1, _BLOCK_CELLS // len(gallery))
    parts: list[list[tuple[NDArray[np.int64], QueryRanks]]] = [[] for _ in protocol.trials]
    for begin in range(0, len(query), step):
        rows = query[begin : begin + step]
        similarity = similarities(values[rows], values[gallery])
        for trial, found in zip(protocol.trials, parts, strict=True):
            here = np.flatnonzero((trial.query >= rows[0]) & (trial.query <= rows[-1]))
            if not len(here):
                continue
            block = similarity[np.searchsorted(rows, trial.query[here])]
            block = np.take(block, np.searchsorted(gallery, trial.gallery), axis=1)
            excluded = protocol.excluded(cameras[trial.query[here]], cameras[trial.gallery])
            ranks = rank_queries(
                block, identities[trial.query[here]], identities[trial.gallery], excluded
            )
            found.append((here, ranks))
    return [_join(found, len(t.query)) for found, t in zip(parts, protocol.trials, strict=True)]


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


def _score(
    ranks: QueryRanks,
    trial: Trial,
    identities: NDArray[np.int64],
    cameras: NDArray[np.int64],
    protocol: Protocol,
) -> TrialScore:
    by_identity = protocol.cmc == "identity"
    first = ranks.first_identity if by_identity else ranks.first_image
    cmc = cmc_curve(first, CMC_LENGTH)
    # Queries of one identity and camera have the same odds: reckon each kind once.
    kinds, counts = np.unique(
        np.stack([identities[trial.query], cameras[trial.query]]), axis=1, return_counts=True
    )
    chance = chance_level(
        kinds[0],
        identities[trial.gallery],
        protocol.excluded(kinds[1], cameras[trial.gallery]),
        by_identity=by_identity,
        weights=counts,
        length=CMC_LENGTH,
    )
    return TrialScore(
        queries=len(trial.query),
        gallery=len(trial.gallery),
        unmatched=int(np.count_nonzero(~ranks.valid)),
        cmc=tuple(cmc.tolist()),
        mean_ap=mean_over(ranks.average_precision, ranks.valid),
        mean_inp=mean_over(ranks.inverse_negative_penalty, ranks.valid),
        chance=chance,
    )


def _unit(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    wide = rows.astype(np.float64)
    norm: NDArray[np.float64] = np.linalg.norm(wide, axis=1, keepdims=True)
    return wide / norm


def _named(paths: Sequence[Path], limit: int = 5) -> str:
    """The first few files and how many more."""
    shown = ", ".join(str(path) for path in paths[:limit])
    return shown if len(paths) <= limit else f"{shown} and {len(paths) - limit} more"
