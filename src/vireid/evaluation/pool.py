"""Pool the results of several trainings: RegDB reports the mean over its ten splits."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from vireid.errors import EvaluationError
from vireid.evaluation.result import Result

__all__ = ["pool"]


def pool(results: Sequence[Result], *, name: str) -> Result:
    """Combine the results of several trainings as the trials of one result.

    Args:
        results: Results of the same direction, convention and conditions, each of another split.
        name: Protocol name of the pooled result.

    Raises:
        EvaluationError: There is no result, conditions differ, or a split occurs twice.
    """
    if not results:
        raise EvaluationError("no result to pool; expected at least one")
    first = results[0]
    for other in results[1:]:
        unlike = [
            f"{field} '{getattr(first, field)}' and '{getattr(other, field)}'"
            for field in (
                "direction",
                "direct_transfer",
                "convention",
                "cmc_kind",
                "feature_size",
                "similarity",
                "query_expansion",
                "reranking",
                "test_time_augmentation",
                "standardisation",
            )
            if getattr(first, field) != getattr(other, field)
        ]
        if unlike:
            raise EvaluationError(
                f"'{first.protocol}' and '{other.protocol}' have {'; '.join(unlike)}; expected the "
                "same conditions in all results that are pooled"
            )
    splits = [result.data_fingerprint for result in results]
    for result in results:
        if splits.count(result.data_fingerprint) > 1:
            raise EvaluationError(
                f"'{result.protocol}' occurs more than once; expected each split once"
            )
    return replace(
        first,
        protocol=name,
        trials=tuple(trial for result in results for trial in result.trials),
        weights_fingerprint="",
        data_fingerprint=hashlib.sha256("".join(sorted(splits)).encode()).hexdigest(),
        data=first.data if all(result.data == first.data for result in results) else "",
        unmatched=tuple(dict.fromkeys(n for result in results for n in result.unmatched)),
        about={
            key: value
            for key, value in first.about.items()
            if all(result.about.get(key) == value for result in results)
        },
    )
