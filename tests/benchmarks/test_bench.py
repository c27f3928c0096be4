"""The benchmarks measure what they say, and their reference is what the field does."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from benchmarks.data import report_data
from benchmarks.evaluation import (
    EvaluationCase,
    all_against_all,
    cases,
    measure_evaluation,
    reference_loop,
    sysu_protocol,
)
from tests.helpers.trees import write_sysu

from benchmarks import data, evaluation
from vireid.data.layouts import DataSource
from vireid.evaluation.metrics import cmc_curve, mean_over, rank_queries


@pytest.mark.parametrize("by_identity", [True, False])
@pytest.mark.parametrize("seed", range(20))
def test_the_common_evaluator_finds_the_same_figures(seed: int, by_identity: bool) -> None:
    rng = np.random.default_rng(seed)
    query, gallery = rng.integers(0, 30, 25), rng.integers(0, 28, 90)
    # All different, for the common evaluator settles ties by chance.
    similarity = rng.permutation(25 * 90).reshape(25, 90).astype(np.float32)
    excluded = rng.random((25, 90)) < 0.3
    found = reference_loop(similarity, query, gallery, excluded, by_identity=by_identity)
    ranks = rank_queries(similarity, query, gallery, excluded)
    curve = cmc_curve(ranks.first_identity if by_identity else ranks.first_image)
    expected = (
        curve[0],
        curve[19],
        mean_over(ranks.average_precision, ranks.valid),
        mean_over(ranks.inverse_negative_penalty, ranks.valid),
    )
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_cases_have_the_published_sizes() -> None:
    single, multi = sysu_protocol(shots=1), sysu_protocol(shots=10)
    for protocol, images in ((single, 301), (multi, 3010)):
        assert len(protocol.trials) == 10
        for trial in protocol.trials:
            assert (len(trial.query), len(trial.gallery)) == (3803, images)
    (trial,) = all_against_all((2060, 2060), 206).trials
    assert (len(trial.query), len(trial.gallery)) == (2060, 2060)
    assert [case.compared for case in cases()] == [True, True, True, False]


def test_both_sides_are_measured_in_processes_of_their_own() -> None:
    timing = measure_evaluation(
        EvaluationCase("small", partial(all_against_all, (30, 60), 10)), repeats=1
    )
    assert timing.case == "small"
    assert min(timing.reference, timing.ranking, timing.end_to_end) > 0
    assert 0.01 < timing.peak < 4


def test_sides_that_disagree_are_no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    def here(work, *arguments):  # type: ignore[no-untyped-def]
        return work(*arguments), 0.1

    monkeypatch.setattr(evaluation, "in_fresh_process", here)
    monkeypatch.setattr(evaluation, "reference_loop", lambda *_, **__: (0.0, 0.0, 0.0, 0.0))
    with pytest.raises(ArithmeticError, match="the reference finds"):
        measure_evaluation(
            EvaluationCase("small", partial(all_against_all, (30, 60), 10)), repeats=1
        )


def test_images_from_cache_and_from_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = DataSource(layout="sysu-mm01", root=write_sysu(tmp_path / "tree"))
    monkeypatch.setattr(data, "images_per_second", lambda case, steps: 7.0 * steps)
    found = report_data(source, (96, 32), repeats=1, out=tmp_path)
    assert found.images == len(source.open().train())
    assert min(found.decoding, found.building, found.packed, found.packed_again) > 0
    assert found.batches > 0
    assert found.step == 7
    text = capsys.readouterr().out
    assert "from the packed cache, later epochs" in text
    assert f"delivers {found.batches / 7:.1f} times the speed of the step" in text
    assert [path.name for path in tmp_path.iterdir()] == ["tree"]
