from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.evaluation.test_bootstrap import noisy, toy

from vireid.errors import EvaluationError
from vireid.evaluation import Result, pool


def splits(count: int = 3) -> list[Result]:
    return [
        replace(noisy(1.4, seed, toy(name=f"RegDB trial {seed}")), data_fingerprint=f"{seed}")
        for seed in range(1, count + 1)
    ]


def test_mean_and_deviation_are_over_trainings() -> None:
    results = splits()
    mean = pool(results, name="RegDB, three trials")
    scores = [result.mean_ap.mean for result in results]
    assert mean.protocol == "RegDB, three trials"
    assert mean.mean_ap.mean == pytest.approx(np.mean(scores), abs=1e-15)
    assert mean.mean_ap.std == pytest.approx(np.std(scores, ddof=1), abs=1e-15)
    assert len(mean.trials) == 3
    assert mean.about == {"data": "toy"}  # the seeds differ, so no seed is named
    assert Result.from_json(mean.to_json()) == mean
    low, high = mean.interval("mAP") or (1.0, 0.0)
    assert low < mean.mean_ap.mean < high
    again = pool(results[::-1], name="RegDB, three trials")
    assert again.data_fingerprint == mean.data_fingerprint


def test_what_cannot_be_pooled() -> None:
    first, second, _ = splits()
    with pytest.raises(EvaluationError, match="reranking 'none' and 'k-reciprocal'"):
        pool([first, replace(second, reranking="k-reciprocal")], name="p")
    with pytest.raises(EvaluationError, match="'RegDB trial 1' occurs more than once"):
        pool([first, second, first], name="p")
    with pytest.raises(EvaluationError, match="at least one"):
        pool([], name="p")
