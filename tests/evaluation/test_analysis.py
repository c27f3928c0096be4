from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vireid.data.provenance import relative_names
from vireid.errors import EvaluationError
from vireid.evaluation import (
    KReciprocal,
    Protocol,
    QueryExpansion,
    Ranking,
    Result,
    Trial,
    evaluate,
)
from vireid.evaluation.analysis import (
    BINS,
    WORST,
    CameraPair,
    Details,
    EqualError,
    Histogram,
    Search,
    search,
)
from vireid.types import Features, ImageRecord, Modality

ROOT = Path("/data")


@dataclass(frozen=True)
class Pair:
    """One query and one gallery image, as a list would hold them."""

    query: int
    gallery: int
    similarity: float
    correct: bool


def make(
    seed: int,
    *,
    queries: int = 14,
    gallery: int = 30,
    people: int = 4,
    size: int = 3,
    own_camera: bool = False,
    trials: int = 1,
) -> tuple[Features, Protocol]:
    """A search with many equal similarities, several cameras on both sides, and one closed pair."""
    rng = np.random.default_rng(seed)
    sides = [(Modality.INFRARED, (3, 6), queries), (Modality.VISIBLE, (1, 2, 3), gallery)]
    records = tuple(
        sorted(
            ImageRecord(
                ROOT / modality / f"{i:03d}.jpg",
                int(rng.integers(people)) * 7,
                int(rng.choice(cameras)),
                modality,
            )
            for modality, cameras, count in sides
            for i in range(count)
        )
    )
    ask = np.array([i for i, r in enumerate(records) if r.modality is Modality.INFRARED])
    show = np.array([i for i, r in enumerate(records) if r.modality is Modality.VISIBLE])
    protocol = Protocol(
        name="Toy",
        direction="infrared to visible",
        convention="drawn",
        cmc="image",
        records=records,
        trials=tuple(
            Trial(ask, np.sort(rng.choice(show, gallery * 2 // 3, replace=False)))
            for _ in range(trials)
        ),
        excluded_cameras=((3, 2),),
        excludes_own_camera=own_camera,
    )
    values = rng.integers(-1, 2, (len(records), size)).astype(np.float32)
    values[~values.any(axis=1)] = 1
    return Features(values, records), protocol


def lists(found: Search) -> dict[int, list[Pair]]:
    """The list of each query without excluded images, best first, wrong before right at a tie."""
    records, excluded = found.protocol.records, found.protocol.excluded_cameras
    ranked = {}
    for i, q in enumerate(found.trial.query.tolist()):
        kept = []
        for j, g in enumerate(found.trial.gallery.tolist()):
            query, image = records[q], records[g]
            correct = query.identity == image.identity
            own = correct and query.camera == image.camera
            if (query.camera, image.camera) in excluded:
                continue
            if own and found.protocol.excludes_own_camera:
                continue
            kept.append(Pair(q, g, float(found.similarity[i, j]), correct))
        ranked[q] = sorted(kept, key=lambda pair: (-pair.similarity, pair.correct))
    return ranked


def average_precision(ranked: list[Pair]) -> float | None:
    hits, precisions = 0, []
    for rank, pair in enumerate(ranked, start=1):
        if pair.correct:
            hits += 1
            precisions.append(hits / rank)
    return sum(precisions) / hits if hits else None


def first_match(ranked: list[Pair]) -> int:
    return next(rank for rank, pair in enumerate(ranked, start=1) if pair.correct)


cases = st.builds(
    make,
    st.integers(0, 2**32 - 1),
    queries=st.integers(1, 14),
    gallery=st.integers(2, 40),
    people=st.integers(1, 5),
    size=st.integers(1, 4),
    own_camera=st.booleans(),
)


@settings(deadline=None, max_examples=60)
@given(cases)
def test_a_search_is_the_ranking(case: tuple[Features, Protocol]) -> None:
    features, protocol = case
    found = search(features, protocol)
    unit = features.values.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    for i, ranked in enumerate(lists(found).values()):
        assert np.count_nonzero(~found.excluded[i]) == len(ranked)
        assert found.ranks.matches[i] == sum(pair.correct for pair in ranked)
        score = average_precision(ranked)
        if score is None:
            assert np.isnan(found.ranks.average_precision[i])
        else:
            assert found.ranks.average_precision[i] == pytest.approx(score)
            assert found.ranks.first_image[i] == first_match(ranked)
        for pair in ranked:
            assert pair.similarity == pytest.approx(unit[pair.query] @ unit[pair.gallery], abs=1e-6)


@settings(deadline=None, max_examples=60)
@given(cases)
def test_details_against_loops(case: tuple[Features, Protocol]) -> None:
    found = search(*case)
    ranked = lists(found)
    if not found.ranks.valid.any():
        with pytest.raises(EvaluationError, match="has an image of its identity"):
            Details.of(found)
        return
    details = Details.of(found)
    _check_histogram(details.histogram, [pair for row in ranked.values() for pair in row])
    _check_camera_pairs(details.camera_pairs, found, ranked)
    _check_worst(details, found, ranked)


def _check_histogram(histogram: Histogram, pairs: list[Pair]) -> None:
    values = [pair.similarity for pair in pairs]
    assert histogram.low < histogram.high  # even where all are equal, so that it can be drawn
    if len(set(values)) > 1:
        assert (histogram.low, histogram.high) == (min(values), max(values))
    counted: dict[bool, list[int]] = {True: [0] * BINS, False: [0] * BINS}
    edges = histogram.edges.tolist()
    for pair in pairs:
        for place in range(BINS):
            last = place == BINS - 1
            below = pair.similarity < edges[place + 1] or (last and pair.similarity == edges[-1])
            if edges[place] <= pair.similarity and below:
                counted[pair.correct][place] += 1
    assert histogram.same == tuple(counted[True])
    assert histogram.different == tuple(counted[False])
    assert sum(histogram.same) + sum(histogram.different) == len(pairs)


def _check_camera_pairs(
    pairs: tuple[CameraPair, ...], found: Search, ranked: dict[int, list[Pair]]
) -> None:
    records = found.protocol.records
    images = [records[g] for g in found.trial.gallery.tolist()]
    asked = sorted({records[q].camera_name for q in ranked})
    shown = sorted({image.camera_name for image in images})
    assert [(p.query_camera, p.gallery_camera) for p in pairs] == [
        (one, other) for one in asked for other in shown
    ]
    for pair in pairs:
        queries = [q for q in ranked if records[q].camera_name == pair.query_camera]
        there = {
            q: [p for p in ranked[q] if records[p.gallery].camera_name == pair.gallery_camera]
            for q in queries
        }
        scores = {q: average_precision(row) for q, row in there.items()}
        matched = {q: score for q, score in scores.items() if score is not None}
        assert pair.gallery == sum(image.camera_name == pair.gallery_camera for image in images)
        assert pair.queries == len(matched)
        if matched:
            assert pair.mean_ap == pytest.approx(sum(matched.values()) / len(matched))
            hits = sum(first_match(there[q]) == 1 for q in matched)
            assert pair.rank1 == pytest.approx(hits / len(matched))
        else:
            assert (pair.rank1, pair.mean_ap) == (None, None)
        existed = any(
            records[q].identity == image.identity and image.camera_name == pair.gallery_camera
            for q in queries
            for image in images
        )
        if not any(there.values()):
            assert pair.excluded == "all"
        else:
            assert pair.excluded == ("matches" if existed and not matched else "none")


def _check_worst(details: Details, found: Search, ranked: dict[int, list[Pair]]) -> None:
    records = found.protocol.records
    scores = [(average_precision(row), q) for q, row in ranked.items()]
    order = sorted((score, records[q].path, q) for score, q in scores if score is not None)
    assert len(details.worst) == min(len(order), WORST)
    for worst, (score, path, q) in zip(details.worst, order, strict=False):
        assert worst.name == path.relative_to(os.path.commonpath(_folders(found))).as_posix()
        assert (worst.identity, worst.camera) == (
            records[q].identity_name,
            records[q].camera_name,
        )
        assert worst.average_precision == pytest.approx(score)
        assert worst.first_match == first_match(ranked[q])
        wrong = [pair for pair in ranked[q] if not pair.correct]
        if not wrong:
            assert worst.nearest_wrong is None
            continue
        assert worst.nearest_wrong is not None
        assert worst.nearest_wrong.similarity == wrong[0].similarity
        nearest = records[wrong[0].gallery]
        assert worst.nearest_wrong.name.endswith(nearest.path.name)
        assert worst.nearest_wrong.identity == nearest.identity_name != worst.identity


def _folders(found: Search) -> list[Path]:
    return [record.path.parent for record in found.protocol.records]


def test_excluded_cameras_are_named() -> None:
    found = search(*make(0, queries=40, gallery=90, own_camera=True))
    kinds = {(p.query_camera, p.gallery_camera): p.excluded for p in Details.of(found).camera_pairs}
    assert kinds == {
        ("3", "1"): "none",
        ("3", "2"): "all",
        ("3", "3"): "matches",
        ("6", "1"): "none",
        ("6", "2"): "none",
        ("6", "3"): "none",
    }


@pytest.mark.parametrize(
    "ranking",
    [
        Ranking(),
        Ranking(similarity="euclidean"),
        Ranking(expansion=QueryExpansion()),
        Ranking(reranking=KReciprocal(k1=4, k2=2)),
    ],
)
def test_a_search_scores_as_the_evaluation_does(ranking: Ranking) -> None:
    features, protocol = make(3, size=8, trials=3)
    result = evaluate(features, protocol, ranking=ranking)
    for number, score in enumerate(result.trials):
        ranks = search(features, protocol, trial=number, ranking=ranking).ranks
        assert np.nanmean(ranks.average_precision) == pytest.approx(score.mean_ap, abs=1e-12)
    details = evaluate(features, protocol, ranking=ranking, details=True).details
    assert details == Details.of(search(features, protocol, ranking=ranking))


def test_details_are_of_the_first_trial_and_change_nothing_else() -> None:
    features, protocol = make(5, trials=2)
    result = evaluate(features, protocol, details=True)
    first = replace(protocol, trials=protocol.trials[:1])
    assert result.details == evaluate(features, first, details=True).details
    assert result.details != Details.of(search(features, protocol, trial=1))
    assert replace(result, details=None) == evaluate(features, protocol)


def test_the_order_of_features_does_not_matter() -> None:
    features, protocol = make(6)
    order = np.random.default_rng(0).permutation(len(protocol.records)).tolist()
    shuffled = Features(features.values[order], tuple(protocol.records[i] for i in order))
    assert Details.of(search(shuffled, protocol)) == Details.of(search(features, protocol))


def test_details_survive_json(tmp_path: Path) -> None:
    features, protocol = make(7)
    result = evaluate(features, protocol, details=True)
    assert result.details is not None
    assert any(pair.mean_ap is None for pair in result.details.camera_pairs)
    assert Result.from_json(result.to_json()) == result
    assert Result.load(result.save(tmp_path / "result.json")).details == result.details
    assert Result.from_json(evaluate(features, protocol).to_json()).details is None


@pytest.mark.parametrize("trial", [-1, 2])
def test_no_such_trial(trial: int) -> None:
    features, protocol = make(8, trials=2)
    with pytest.raises(EvaluationError, match=f"no trial {trial}; expected one of 0 to 1"):
        search(features, protocol, trial=trial)


def test_equal_error_by_hand() -> None:
    # Of 4 pairs of one person 1 lies below 0.75; of 8 of two people 2 lie above it.
    crossing = Histogram(0, 1, same=(0, 1, 0, 3), different=(4, 1, 1, 2))
    assert crossing.equal_error == (0.75, 0.25)
    # Missed 0/2 and taken 2/4 at 0.5, missed 1/2 and taken 0/4 at 1: equal half way.
    between = Histogram(0, 1.5, same=(0, 1, 1), different=(2, 2, 0))
    assert between.equal_error == (0.75, 0.25)
    apart = Histogram(0, 1, same=(0, 0, 0, 2), different=(5, 0, 0, 0))
    assert apart.equal_error == (0.5, 0.0)  # half way between 0.25 and 0.75
    upside_down = Histogram(0, 1, same=(2, 0), different=(0, 3))
    assert upside_down.equal_error == EqualError(0.5, 1)
    for same, different in (((1, 0), (0, 0)), ((0, 0), (0, 1))):
        assert Histogram(0, 1, same=same, different=different).equal_error is None


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=12).filter(any),
    st.integers(0, 2**32 - 1),
)
def test_equal_error_lies_where_the_rates_cross(same: list[int], seed: int) -> None:
    different = np.random.default_rng(seed).integers(0, 9, len(same)).tolist()
    different[0] += 1
    histogram = Histogram(-1, 1, tuple(same), tuple(different))
    found = histogram.equal_error
    assert found is not None
    for place, edge in enumerate(histogram.edges.tolist()):
        missed = sum(same[:place]) / sum(same)
        taken = sum(different[place:]) / sum(different)
        if edge < found.similarity - 1e-9:
            assert missed <= taken + 1e-12
            assert missed <= found.rate + 1e-12
        if edge > found.similarity + 1e-9:
            assert missed >= taken - 1e-12
            assert taken <= found.rate + 1e-12


def test_names_are_text_that_any_file_can_hold() -> None:
    paths = [ROOT / "a" / "ü.jpg", ROOT / "b" / os.fsdecode(b"\xff.jpg")]
    records = [ImageRecord(path, 1, 1, Modality.VISIBLE) for path in paths]
    assert relative_names(records) == ["a/ü.jpg", "b/\\xff.jpg"]
    assert "".join(relative_names(records)).encode()
