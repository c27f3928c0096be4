"""Time of the evaluation, compared with the per-query loop of common evaluators.

For every trial the reference sorts the whole matrix and loops over the queries: it masks excluded
images, keeps the first image of each identity with ``np.unique``, and sums up the precision in
Python. Both sides get the same features and must give the same metrics.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import in_fresh_process, machine_summary
from vireid.evaluation import Protocol, evaluate
from vireid.evaluation.metrics import cmc_curve, mean_over, rank_queries
from vireid.evaluation.similarity import similarities
from vireid.types import Features, ImageRecord, Modality

__all__ = [
    "EvaluationCase",
    "Timing",
    "all_against_all",
    "cases",
    "measure_evaluation",
    "reference_loop",
    "report_evaluation",
    "sysu_protocol",
]

Figures = tuple[float, float, float, float]
"""Rank-1, Rank-20, mAP and mINP, means over the trials."""

_MAX_RANK = 20
_SIZE = 3072  # length of a DLIS feature
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Timing:
    """The measurement of one case.

    Attributes:
        case: Its name.
        reference: Seconds of the reference, from similarities to metrics; 0 if it was not run.
        ranking: Seconds of vireid, from similarities to metrics.
        end_to_end: Seconds of :func:`vireid.evaluation.evaluate`, from features to result.
        peak: Peak memory of ``end_to_end``, with Python and the features, in GiB.
    """

    case: str
    reference: float
    ranking: float
    end_to_end: float
    peak: float


@dataclass(frozen=True, slots=True)
class EvaluationCase:
    """A protocol of published size over random features.

    Attributes:
        name: Its name.
        build: Builds the protocol.
        compared: Whether to run the reference too.
    """

    name: str
    build: Callable[[], Protocol]
    compared: bool = True


def cases() -> tuple[EvaluationCase, ...]:
    """The cases, in order."""
    return (
        EvaluationCase(
            "SYSU-MM01 all-search single-shot, 10 trials", partial(sysu_protocol, shots=1)
        ),
        EvaluationCase(
            "SYSU-MM01 all-search multi-shot (10), 10 trials", partial(sysu_protocol, shots=10)
        ),
        EvaluationCase(
            "RegDB, 2,060 queries x 2,060 gallery images",
            partial(all_against_all, (2060, 2060), 206),
        ),
        EvaluationCase(
            "4,000 queries x 100,000 gallery images",
            partial(all_against_all, (4_000, 100_000), 2_000),
            compared=False,
        ),
    )


def report_evaluation(repeats: int = 3) -> list[Timing]:
    """Measure every case and print a table.

    Args:
        repeats: Number of runs of each side, of which the median counts.

    Returns:
        The measurements.
    """
    print(machine_summary(), end="\n\n")
    print(f"| case | loop, s | vireid, s | ratio | evaluate() from {_SIZE}-d, s | peak, GiB |")
    print("|---|--:|--:|--:|--:|--:|")
    timings = []
    for case in cases():
        timing = measure_evaluation(case, repeats)
        timings.append(timing)
        compared = (f"{timing.reference:.2f}", f"{timing.reference / timing.ranking:.1f}")
        reference, ratio = compared if case.compared else ("-", "-")
        print(
            f"| {case.name} | {reference} | {timing.ranking:.3f} | {ratio} "
            f"| {timing.end_to_end:.2f} | {timing.peak:.2f} |",
            flush=True,
        )
    return timings


def measure_evaluation(case: EvaluationCase, repeats: int) -> Timing:
    """Measure one case, each side in a fresh process.

    Raises:
        ArithmeticError: If the two sides disagree.
    """
    (found, ranking), _ = in_fresh_process(_ranking, case, repeats)
    end_to_end, peak = in_fresh_process(_whole, case, repeats if case.compared else 1)
    if not case.compared:
        return Timing(case.name, 0.0, ranking, end_to_end, peak)
    (expected, reference), _ = in_fresh_process(_reference, case, 1)
    # Not exactly: among millions of float32 similarities a few are equal, and argsort orders them
    # arbitrarily.
    if not np.allclose(found, expected, rtol=0, atol=1e-6):
        raise ArithmeticError(f"{case.name}: the reference finds {expected}, vireid {found}")
    return Timing(case.name, reference, ranking, end_to_end, peak)


def _whole(case: EvaluationCase, repeats: int) -> float:
    protocol, features = _data(case)
    return _median(lambda: evaluate(features, protocol), repeats)[1]


def _ranking(case: EvaluationCase, repeats: int) -> tuple[Figures, float]:
    """The metrics and the seconds, from similarities to metrics."""
    protocol, features = _data(case)
    trials = _trials(protocol, features)

    def figures() -> Figures:
        found = []
        for similarity, query, gallery, excluded in trials:
            ranks = rank_queries(similarity, query, gallery, excluded)
            by_identity = protocol.cmc == "identity"
            curve = cmc_curve(ranks.first_identity if by_identity else ranks.first_image)
            found.append(
                (
                    curve[0],
                    curve[_MAX_RANK - 1],
                    mean_over(ranks.average_precision, ranks.valid),
                    mean_over(ranks.inverse_negative_penalty, ranks.valid),
                )
            )
        return _means(found)

    return _median(figures, repeats if case.compared else 1)


def _reference(case: EvaluationCase, repeats: int) -> tuple[Figures, float]:
    protocol, features = _data(case)
    trials = _trials(protocol, features)

    def figures() -> Figures:
        return _means(
            [reference_loop(*trial, by_identity=protocol.cmc == "identity") for trial in trials]
        )

    return _median(figures, repeats)


def reference_loop(
    similarity: NDArray[np.float32],
    query: NDArray[np.int64],
    gallery: NDArray[np.int64],
    excluded: NDArray[np.bool_] | None,
    *,
    by_identity: bool,
) -> Figures:
    """Score one trial query by query, as common evaluators do.

    Args:
        similarity: ``[q, g]``.
        query: Identities, ``[q]``.
        gallery: Identities, ``[g]``.
        excluded: Bool ``[q, g]``, or None.
        by_identity: Whether the CMC counts identities instead of images.

    Returns:
        Rank-1, Rank-20, mAP and mINP over the queries with a match.
    """
    order = np.argsort(-similarity, axis=1)
    ranked = gallery[order]
    curves, precisions, penalties = [], [], []
    for i in range(len(query)):
        keep = np.ones(len(gallery), bool) if excluded is None else ~excluded[i][order[i]]
        shown = ranked[i][keep]
        right = shown == query[i]
        if not right.any():
            continue
        if by_identity:
            first = np.sort(np.unique(shown, return_index=True)[1])
            hits = (shown[first] == query[i]).cumsum()
        else:
            hits = right.cumsum()
        curves.append(np.minimum(hits, 1)[:_MAX_RANK])
        count = right.cumsum()
        last = np.flatnonzero(right)[-1]
        penalties.append(count[last] / (last + 1.0))
        precision = [hit / (rank + 1.0) for rank, hit in enumerate(count)]
        precisions.append((np.asarray(precision) * right).sum() / right.sum())
    curve = np.mean(np.asarray(curves), axis=0)
    return (curve[0], curve[-1], float(np.mean(precisions)), float(np.mean(penalties)))


_Trial = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_] | None]


def _trials(protocol: Protocol, features: Features) -> list[_Trial]:
    """Similarities, identities and exclusions of every trial: the input of both sides."""
    values, identities = features.values, protocol.identities
    return [
        (
            similarities(values[trial.query], values[trial.gallery]),
            identities[trial.query],
            identities[trial.gallery],
            protocol.excluded(trial.query, trial.gallery),
        )
        for trial in protocol.trials
    ]


def _data(case: EvaluationCase) -> tuple[Protocol, Features]:
    """The protocol, and features that rank about half of the identities first."""
    protocol = case.build()
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((int(protocol.identities.max()) + 1, _SIZE), np.float32)
    values = rng.standard_normal((len(protocol.records), _SIZE), np.float32)
    for row, identity in enumerate(protocol.identities):
        values[row] = 6 * values[row] + centres[identity]
    return protocol, Features(values, protocol.records)


def sysu_protocol(shots: int) -> Protocol:
    """SYSU-MM01 all-search over ten draws, with the published numbers of images and identities.

    Args:
        shots: Gallery images per identity and camera.
    """
    published = {1: (1374, 56), 2: (1565, 56), 3: (1883, 93)}
    published |= {4: (1918, 94), 5: (1918, 95), 6: (1920, 96)}
    cells = _cells(published)
    query = [r for (camera, _), images in cells.items() if camera in (3, 6) for r in images]
    gallery = [images for (camera, _), images in cells.items() if camera not in (3, 6)]
    rng = np.random.default_rng(1)
    draws = [
        (query, [images[i] for images in gallery for i in rng.permutation(len(images))[:shots]])
        for _ in range(10)
    ]
    return _of(draws, by_identity=True, excluded=((3, 2),))


def all_against_all(images: tuple[int, int], people: int) -> Protocol:
    """All queries against all gallery images.

    Args:
        images: Numbers of queries and gallery images.
        people: Number of identities.
    """
    queries, gallery = images
    cells = _cells({1: (gallery, people), 3: (queries, people)})

    def seen_by(camera: int) -> list[ImageRecord]:
        return [r for (number, _), found in cells.items() if number == camera for r in found]

    return _of([(seen_by(3), seen_by(1))], by_identity=False)


def _of(
    draws: Sequence[tuple[list[ImageRecord], list[ImageRecord]]],
    *,
    by_identity: bool,
    excluded: tuple[tuple[int, int], ...] = (),
) -> Protocol:
    return Protocol.of(
        draws,
        name="bench",
        direction="infrared to visible",
        convention="random draws",
        cmc="identity" if by_identity else "image",
        excluded_cameras=excluded,
    )


def _cells(
    published: Mapping[int, tuple[int, int]],
) -> dict[tuple[int, int], list[ImageRecord]]:
    """Images by camera and identity, distributed evenly over the identities."""
    cells: dict[tuple[int, int], list[ImageRecord]] = {}
    for camera, (images, people) in published.items():
        modality = Modality.INFRARED if camera in (3, 6) else Modality.VISIBLE
        for number in range(images):
            identity = number % people
            path = Path(f"/bench/cam{camera}/{identity:04d}/{number:06d}.jpg")
            record = ImageRecord(path, identity, camera, modality)
            cells.setdefault((camera, identity), []).append(record)
    return cells


def _means(figures: list[Figures]) -> Figures:
    first, later, mean_ap, mean_inp = (float(np.mean(column)) for column in np.array(figures).T)
    return first, later, mean_ap, mean_inp


def _median(work: Callable[[], _Result], repeats: int) -> tuple[_Result, float]:
    """The last result and the median of the seconds."""
    seconds = []
    for _ in range(max(1, repeats)):
        began = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - began)
    return result, float(np.median(seconds))
