"""``vireid compare RUN_A RUN_B``: whether the difference of two systems is significant."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from vireid.errors import EvaluationError
from vireid.evaluation import Comparison, Result
from vireid.evaluation import compare as compare_results
from vireid.log import echo
from vireid.runs import resolve_model

__all__ = ["compare"]


def compare(
    first: Annotated[Path, tyro.conf.Positional],
    second: Annotated[Path, tyro.conf.Positional],
    /,
) -> list[Comparison]:
    """Compare two evaluated runs by a paired bootstrap over identities.

    Prints, for each protocol of both runs, their scores and the difference with its 95 % interval
    and p-value. The intervals cover the choice of test identities, not that of the training seed:
    train several.

    Args:
        first: An evaluated run folder, the name of an evaluated installed model, or a result file.
        second: The run, model or result file to compare with it.

    Returns:
        One comparison per protocol.
    """
    if first.is_file() and second.is_file():
        # Files may differ in post-processing, to test whether re-ranking helps.
        comparisons = [compare_results(Result.load(first), Result.load(second))]
    else:
        comparisons = _in_common(first, second)
    for comparison in comparisons:
        echo(comparison, end="\n\n")
    return comparisons


def _in_common(first: Path, second: Path) -> list[Comparison]:
    before, after = _results(first), _results(second)
    shared = [name for name in before if name in after]
    if not shared:
        raise EvaluationError(
            f"'{first}' and '{second}' have no protocol in common: {_listed(before)} and "
            f"{_listed(after)}; expected the same: evaluate both with the same options"
        )
    return [compare_results(before[name], after[name]) for name in shared]


def _results(path: Path) -> dict[str, Result]:
    """The results of a run, or of a result file, by protocol and post-processing."""
    if path.is_file():
        found = [Result.load(path)]
    else:
        files = sorted(resolve_model(path).results.glob("*.json"))
        if not files:
            raise EvaluationError(
                f"'{path}' has no results; expected RUN/results/*.json: run `vireid evaluate "
                f"{path}` first"
            )
        found = [Result.load(file) for file in files]
    return {_key(result): result for result in found}


def _key(result: Result) -> str:
    used = [kind for kind in result.flags.values() if kind != "none"]
    # The folder of the data may have another name on another machine.
    data = [f"images {result.data_fingerprint[:8]}"] if result.data else []
    return ", ".join([result.heading, result.convention, *data, *used])


def _listed(results: dict[str, Result]) -> str:
    return "; ".join(f"'{name}'" for name in results)
