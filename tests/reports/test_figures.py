from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image
from tests.reports import toys

from vireid.errors import EvaluationError, ImageError
from vireid.evaluation import Protocol, evaluate
from vireid.evaluation.analysis import search
from vireid.reports import (
    AttentionPanel,
    attention_figure,
    camera_pair_figure,
    cmc_figure,
    png,
    ranking_figure,
    ranking_lists,
    similarity_figure,
    training_figure,
)
from vireid.types import Modality


@pytest.fixture(scope="module")
def protocol(tmp_path_factory: pytest.TempPathFactory) -> Protocol:
    return toys.drawn(tmp_path_factory.mktemp("cam drawn ü"))


def test_cmc_shows_the_results_and_chance(protocol: Protocol) -> None:
    results = toys.results(protocol)
    figure = cmc_figure(results, ranks=10)
    (axes,) = figure.axes
    labels = [line.get_label() for line in axes.lines]
    assert [str(label).split("  ")[0] for label in labels] == [
        "DLIS",
        "TSLFN",
        "untrained",
        "chance",
    ]
    drawn = np.asarray(axes.lines[0].get_ydata())
    np.testing.assert_allclose(drawn, 100 * np.array(results["DLIS"].curve[:10]))
    chance = np.asarray(axes.lines[-1].get_ydata())
    np.testing.assert_allclose(chance, 100 * np.array(results["DLIS"].chance.cmc[:10]))
    assert toys.opened(figure).width == 310


def test_cmc_refuses_to_mix_protocols(protocol: Protocol) -> None:
    result = evaluate(toys.features(protocol, 1.0), protocol)
    with pytest.raises(EvaluationError, match="2 protocols"):
        cmc_figure({"a": result, "b": replace(result, protocol="Other")})
    with pytest.raises(EvaluationError, match="0 protocols"):
        cmc_figure({})


def test_ranking_lists_are_the_ranking(protocol: Protocol) -> None:
    features = toys.features(protocol, 1.6)
    lists = ranking_lists(search(features, protocol, trial=1), count=6, depth=8)
    assert len(lists) == 6
    assert len({found.query.identity for found in lists}) == 6
    scores = [found.average_precision for found in lists]
    assert scores == sorted(scores, reverse=True)
    trial = protocol.trials[1]
    row = {record: i for i, record in enumerate(features.records)}
    for found in lists:
        query = features.values[row[found.query]].astype(np.float64)
        kept = [
            record
            for record in (protocol.records[i] for i in trial.gallery)
            if (found.query.camera, record.camera) != (3, 2)
        ]
        ranked = sorted(kept, key=lambda r: -float(query @ features.values[row[r]]))
        assert [hit.record for hit in found.hits] == ranked[:8]
        for hit in found.hits:
            assert hit.correct == (hit.record.identity == found.query.identity)
            assert hit.similarity == pytest.approx(
                float(query @ features.values[row[hit.record]]), abs=1e-6
            )
        shown = [record.identity for record in ranked]
        assert found.matches == shown.count(found.query.identity)
        assert found.first_match == shown.index(found.query.identity) + 1


def test_ranking_lists_hold_the_best_and_the_worst(protocol: Protocol) -> None:
    one_trial = search(toys.features(protocol, 1.6), protocol)
    every = ranking_lists(one_trial, count=len(protocol.trials[0].query))
    assert len({found.query for found in every}) == len(every)
    few = ranking_lists(one_trial, count=6)
    assert few[0].average_precision == every[0].average_precision
    assert few[-1].average_precision <= every[-len(every) // 4].average_precision
    assert few == ranking_lists(one_trial, count=6)
    (one,) = ranking_lists(one_trial, count=1)
    assert one in every


def test_worst_lists_go_up_from_the_worst_one_of_each_person(protocol: Protocol) -> None:
    one_trial = search(toys.features(protocol, 1.6), protocol)
    every = ranking_lists(one_trial, count=len(protocol.trials[0].query))
    worst_of: dict[int, float] = {}
    for found in every:
        score = worst_of.get(found.query.identity, 1.0)
        worst_of[found.query.identity] = min(score, found.average_precision)
    lists = ranking_lists(one_trial, choose="worst", count=5)
    assert [found.average_precision for found in lists] == sorted(worst_of.values())[:5]
    assert len({found.query.identity for found in lists}) == 5
    people = len(worst_of)
    more = ranking_lists(one_trial, choose="worst", count=people + 2)
    assert len({found.query for found in more}) == people + 2
    assert len({found.query.identity for found in more[:people]}) == people


def test_tied_images_stand_wrong_before_right(protocol: Protocol) -> None:
    collapsed = toys.features(protocol, 0.0)
    collapsed.values[:] = collapsed.values[0]
    for found in ranking_lists(search(collapsed, protocol), depth=1000):
        correct = [hit.correct for hit in found.hits]
        assert correct == sorted(correct)


def test_ranking_figure_frames_and_marks(protocol: Protocol) -> None:
    lists = ranking_lists(search(toys.features(protocol, 1.6), protocol), count=3, depth=5)
    figure = ranking_figure(lists)
    texts = toys.texts(figure)
    right = sum(hit.correct for found in lists for hit in found.hits)
    assert texts.count("\N{CHECK MARK}") == right
    assert texts.count("\N{BALLOT X}") == 15 - right
    assert f"{lists[0].hits[0].similarity:.2f}\ncamera {lists[0].hits[0].record.camera}" in texts
    worst = lists[-1]
    assert (
        f"AP {100 * worst.average_precision:.0f} %\nfirst match: {worst.first_match}"
        f"\ncamera {worst.query.camera}"
    ) in texts
    assert toys.opened(figure).size[0] > 200


def test_figures_show_the_names_of_cameras_as_they_are_written(protocol: Protocol) -> None:
    """Also those that matplotlib would take for formulas."""
    records = [replace(r, camera_name=f"$\\gate {r.camera}$") for r in protocol.records]
    named = replace(protocol, records=tuple(records))
    features = toys.features(named, 1.6)
    rankings = ranking_figure(ranking_lists(search(features, named), count=2, depth=2))
    captions = [text for text in toys.texts(rankings) if "camera" in text]
    assert len(captions) == 2 * 3
    assert all(re.search(r"camera \$\\gate [1-6]\$$", text) for text in captions)
    pairs = camera_pair_figure(evaluate(features, named, details=True))
    (axes,) = pairs.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "camera $\\gate 3$",
        "camera $\\gate 6$",
    ]
    for figure in (rankings, pairs):
        assert toys.opened(figure).size[0] > 100


def test_ranking_figure_names_an_image_that_is_gone(tmp_path: Path) -> None:
    protocol = toys.drawn(tmp_path, people=3)
    lists = ranking_lists(search(toys.features(protocol, 1.0), protocol), count=1)
    lists[0].query.path.unlink()
    with pytest.raises(ImageError, match=lists[0].query.path.name):
        ranking_figure(lists)


def test_a_long_title_is_broken_and_stays_inside(protocol: Protocol) -> None:
    result = replace(toys.results(protocol)["DLIS"], protocol="A protocol of many words " * 6)
    figure = cmc_figure({"DLIS": result})
    figure.draw_without_rendering()
    (title,) = [
        text for text in figure.findobj(Text) if str(text.get_text()).startswith("A protocol")
    ]
    box = title.get_window_extent()
    assert title.get_text().count("\n") >= 2
    assert 0 <= box.x0 < box.x1 <= figure.bbox.width
    assert 0 <= box.y0 < box.y1 <= figure.bbox.height


@pytest.mark.parametrize("as_array", [False, True])
def test_attention(as_array: bool) -> None:
    grid = (18, 9)
    panels = []
    for modality in Modality:
        image = toys.person(2, modality, 1)
        panels.append(
            AttentionPanel(
                modality.value,
                np.asarray(image) if as_array else image,
                toys.attention(grid),
                grid,
            )
        )
    figure = attention_figure(panels)
    assert len(figure.axes) == 12
    titles = toys.texts(figure)
    for part in ("head", "chest", "hip", "knee", "foot"):
        assert part in titles
    assert [axes.get_ylabel() for axes in figure.axes[::6]] == ["visible", "infrared"]
    assert toys.opened(figure).height > 100


def test_attention_is_drawn_where_it_points() -> None:
    grid = (6, 3)
    everything_at = np.zeros((18, 18))
    everything_at[:, 5 * 3 + 2] = 1  # every position looks at the lower right corner
    grey = Image.new("RGB", (30, 60), (100, 100, 100))
    figure = attention_figure([AttentionPanel("x", grey, everything_at, grid)])
    overlay = np.asarray(figure.axes[1].images[0].get_array())
    brightness = overlay.sum(axis=2)
    row, column = np.unravel_index(np.argmax(brightness), brightness.shape)
    assert row > 5 / 6 * brightness.shape[0]
    assert column > 2 / 3 * brightness.shape[1]
    assert "18.0" in figure.axes[1].get_xlabel()


def test_uniform_attention_stays_dark() -> None:
    grey = Image.new("RGB", (30, 60), (100, 100, 100))
    figure = attention_figure([AttentionPanel("x", grey, np.full((18, 18), 1 / 18), (6, 3))])
    overlay = np.asarray(figure.axes[1].images[0].get_array())
    assert overlay.max() - overlay.min() < 1e-6


@pytest.mark.parametrize("bad", [np.ones((4, 4)), np.full((18, 18), np.nan)])
def test_attention_that_does_not_fit(bad: np.ndarray) -> None:
    panel = AttentionPanel("visible", Image.new("RGB", (9, 18)), bad, (6, 3))
    with pytest.raises(EvaluationError, match="'visible'"):
        attention_figure([panel])


def test_training_curves() -> None:
    figure = training_figure({"DLIS": toys.history(), "TSLFN": toys.history(5)})
    titles = [axes.get_title("left") for axes in figure.axes]
    assert titles == [
        "identity (loss term)",
        "center (loss term)",
        "accuracy",
        "cosine same",
        "cosine different",
    ]
    assert [len(np.asarray(line.get_xdata())) for line in figure.axes[0].lines] == [12, 5]
    assert toys.opened(training_figure({})).width > 0


def test_a_method_has_one_colour_in_every_figure(protocol: Protocol) -> None:
    results = toys.results(protocol)
    curves = cmc_figure({"TSLFN": results["TSLFN"], "DLIS": results["DLIS"]})
    training = training_figure({"TSLFN": toys.history(), "DLIS": toys.history()})
    colours = []
    for figure in (curves, training):
        lines = {str(line.get_label()).split("  ")[0]: line for line in figure.axes[0].lines}
        colours.append({name: lines[name].get_color() for name in ("DLIS", "TSLFN")})
    assert colours[0] == colours[1]
    assert colours[0]["DLIS"] != colours[0]["TSLFN"]


def test_the_dark_rendering_leaves_the_figure_as_it_was(protocol: Protocol) -> None:
    figure = _ranking(protocol)
    light = png(figure, dpi=40)
    assert png(figure, dpi=40, dark=True) != light
    assert png(figure, dpi=40) == light


def _cmc(protocol: Protocol) -> Figure:
    return cmc_figure(toys.results(protocol))


def _ranking(protocol: Protocol) -> Figure:
    found = search(toys.features(protocol, 1.0), protocol)
    return ranking_figure(ranking_lists(found, count=2))


def _similarities(protocol: Protocol) -> Figure:
    return similarity_figure(evaluate(toys.features(protocol, 1.0), protocol, details=True))


def _cameras(protocol: Protocol) -> Figure:
    return camera_pair_figure(evaluate(toys.features(protocol, 1.0), protocol, details=True))


@pytest.mark.parametrize("draw", [_cmc, _ranking, _similarities, _cameras])
def test_figures_are_reproducible_and_change_nothing_global(
    draw: Callable[[Protocol], Figure], protocol: Protocol
) -> None:
    before = mpl.rcParams.copy()
    assert png(draw(protocol)) == png(draw(protocol))
    assert mpl.rcParams.copy() == before
    # pyplot keeps the figures it knows of; asking it is only fair where somebody imported it.
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or pyplot.get_fignums() == []
