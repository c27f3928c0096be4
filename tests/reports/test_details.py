from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch
from tests.reports import toys

from vireid.errors import EvaluationError
from vireid.evaluation import Result, evaluate
from vireid.evaluation.analysis import CameraPair, Details, Histogram
from vireid.reports import camera_pair_figure, similarity_figure


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    protocol = toys.drawn(tmp_path_factory.mktemp("drawn"))
    return evaluate(toys.features(protocol, 1.6), protocol, details=True)


def test_similarities_are_the_histogram(result: Result) -> None:
    assert result.details is not None
    histogram = result.details.histogram
    figure = similarity_figure(result)
    (axes,) = figure.axes
    drawn = {
        str(patch.get_label()): patch for patch in axes.patches if isinstance(patch, StepPatch)
    }
    for name, counts in (
        ("different people", histogram.different),
        ("same person", histogram.same),
    ):
        shares, edges, _ = drawn[f"{name}  ({sum(counts):,} pairs)"].get_data()
        merged = len(histogram.same) // len(shares)
        expected = [
            100 * sum(counts[i : i + merged]) / sum(counts) for i in range(0, len(counts), merged)
        ]
        np.testing.assert_allclose(shares, expected)
        np.testing.assert_allclose(edges, histogram.edges[::merged])
    equal = histogram.equal_error
    assert equal is not None
    assert set(np.asarray(axes.lines[0].get_xdata()).tolist()) == {equal.similarity}
    assert f"{100 * equal.rate:.1f} % at {equal.similarity:.2f}" in str(axes.lines[0].get_label())
    assert "first of 3 trials" in axes.get_title("left")
    assert toys.opened(figure).width == 310


def test_bins_are_merged_only_where_pairs_are_few(result: Result) -> None:
    for pairs, bins in ((2000, 80), (1999, 40), (999, 20), (499, 10), (1, 10)):
        histogram = Histogram(-1, 1, same=(pairs, *[0] * 79), different=tuple([7] * 80))
        details = Details(histogram, (), ())
        (axes,) = similarity_figure(replace(result, details=details)).axes
        assert {len(p.get_data()[0]) for p in axes.patches if isinstance(p, StepPatch)} == {bins}


def test_similarities_of_one_kind_only(result: Result) -> None:
    alone = Details(Histogram(0, 1, same=tuple([40] * 80), different=tuple([0] * 80)), (), ())
    figure = similarity_figure(replace(result, details=alone))
    assert not figure.axes[0].lines
    (only,) = figure.axes[0].get_legend_handles_labels()[1]
    assert only == "same person  (3,200 pairs)"


@pytest.mark.parametrize(
    ("changes", "label"),
    [
        ({}, "cosine similarity"),
        ({"similarity": "euclidean"}, "minus the Euclidean distance"),
        ({"query_expansion": "mean"}, "cosine similarity after query expansion"),
        ({"query_expansion": "mean", "reranking": "k"}, "similarity after re-ranking"),
    ],
)
def test_similarities_say_what_they_are(
    changes: dict[str, Any], label: str, result: Result
) -> None:
    (axes,) = similarity_figure(replace(result, **changes)).axes
    assert axes.get_xlabel() == label
    title = " ".join(axes.get_title("left").split())
    assert ("with re-ranking" in title) == ("reranking" in changes)


def test_camera_pairs_are_the_table(result: Result) -> None:
    assert result.details is not None
    figure = camera_pair_figure(result)
    (axes,) = figure.axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["camera 3", "camera 6"]
    columns = [tick.get_text().split("\n") for tick in axes.get_xticklabels()]
    assert [camera for camera, _ in columns] == [f"camera {camera}" for camera in (1, 2, 4, 5)]
    at: dict[tuple[int, int], list[str]] = {}
    for text in axes.texts:
        x, y = text.get_position()
        at.setdefault((round(x), round(y)), []).append(text.get_text())
    for place, pair in enumerate(result.details.camera_pairs):
        row, column = divmod(place, 4)
        assert columns[column][1] == f"{pair.gallery} images"
        if pair.mean_ap is None or pair.rank1 is None:
            assert (pair.query_camera, pair.gallery_camera) == ("3", "2")
            assert at[column, row] == ["excluded"]
        else:
            assert at[column, row] == [
                f"mAP {100 * pair.mean_ap:.1f} %",
                f"R-1 {100 * pair.rank1:.1f} %",
                f"{pair.queries} queries",
            ]
    assert toys.opened(figure).height > 100


def test_camera_pairs_without_a_score_say_why(result: Result) -> None:
    assert result.details is not None
    kinds: tuple[Literal["none", "matches", "all"], ...] = ("all", "matches", "none")
    pairs = tuple(CameraPair("1", str(n), 0, 5, kind, None, None) for n, kind in enumerate(kinds))
    figure = camera_pair_figure(
        replace(result, details=replace(result.details, camera_pairs=pairs))
    )
    assert toys.texts(figure)[:3] == ["excluded", "matches\nexcluded", "no\nmatch"]


@pytest.mark.parametrize("draw", [similarity_figure, camera_pair_figure])
def test_figures_of_details_need_them(draw: Callable[[Result], Figure], result: Result) -> None:
    with pytest.raises(EvaluationError, match="keeps no details"):
        draw(replace(result, details=None))
