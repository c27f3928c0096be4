"""``vireid compare RUN_A RUN_B``: whether a difference between two systems is one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from vireid.errors import EvaluationError
from vireid.evaluation import Comparison, Result
from vireid.evaluation import compare as compare_results
from vireid.runs import RunFolder

__all__ = ["compare"]


def compare(
    first: Annotated[Path, tyro.conf.Positional],
    second: Annotated[Path, tyro.conf.Positional],
    /,
) -> list[Comparison]:
    """Compare two evaluated runs by a paired bootstrap over identities.

    For each protocol that both were evaluated under: both scores, their difference with a 95 %
    interval, and whether that is a difference or may be due to the people who happen to be in the
    test set. What another training seed would change, it cannot see: train several.

    Args:
        first: A run folder that `vireid evaluate` was run on, or a result file of it.
        second: The same, to compare with the first.

    Returns:
        One comparison a protocol.
    """
    if first.is_file() and second.is_file():
        # Named one by one, they may differ in treatment: whether re-ranking helps is a question.
        comparisons = [compare_results(Result.load(first), Result.load(second))]
    else:
        comparisons = _in_common(first, second)
    for comparison in comparisons:
        print(comparison, end="\n\n")
    return comparisons


def _in_common(first: Path, second: Path) -> list[Comparison]:
    before, after = _results(first), _results(second)
    shared = [name for name in before if name in after]
    if not shared:
        raise EvaluationError(
            f"'{first}' and '{second}' were evaluated under no protocol in common: the one under "
            f"{_listed(before)}, the other under {_listed(after)}; expected one: evaluate both "
            "with the same options"
        )
    return [compare_results(before[name], after[name]) for name in shared]


def _results(path: Path) -> dict[str, Result]:
    """The saved results of a run, or the one of a file, by what tells protocols apart."""
    if path.is_file():
        found = [Result.load(path)]
    else:
        files = sorted(RunFolder(path).results.glob("*.json"))
        if not files:
            raise EvaluationError(
                f"'{path}' has no results; expected RUN/results/*.json: run `vireid evaluate "
                f"{path}` first"
            )
        found = [Result.load(file) for file in files]
    return {_key(result): result for result in found}


def _key(result: Result) -> str:
    return ", ".join([*result.kind[:3], *(k for k in result.flags.values() if k != "none")])


def _listed(results: dict[str, Result]) -> str:
    return "; ".join(f"'{name}'" for name in results)
