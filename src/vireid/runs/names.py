"""What to call runs beside one another: the recipe, and the options that tell them apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vireid.methods import catalogue
from vireid.runs import Run

__all__ = ["options", "overrides", "row_names"]


def row_names(runs: Mapping[Path, Run]) -> dict[Path, str]:
    """Names for the rows of a table of runs.

    A name is the recipe's and, of the options in which the runs of that recipe differ, those that
    are not as in the recipe: ``dlis-cpu``, ``dlis-cpu, palm=off``, ``dlis-cpu, stripes=3``. Two
    runs have one name exactly where they differ in nothing but seed and device.

    Args:
        runs: The runs by folder.

    Returns:
        A name for each folder.
    """
    written = {path: options(run) for path, run in runs.items()}
    usual = {name: _usual(name) for name in {run.name for run in runs.values()}}
    found = {}
    for path, run in runs.items():
        others = [written[other] for other in runs if runs[other].name == run.name]
        telling = [
            f"{name}={value}"
            for name, value in written[path].items()
            if usual[run.name].get(name) != value
            and any(other.get(name) != value for other in others)
        ]
        found[path] = ", ".join([run.name, *telling])
    return found


def overrides(runs: Iterable[Run]) -> dict[str, dict[str, str]]:
    """Where all runs of a recipe depart from it alike, which their row names do not say.

    Args:
        runs: The runs of a table.

    Returns:
        Options with their values, by recipe; recipes that are kept to are left out.
    """
    found: dict[str, dict[str, str]] = {}
    by_recipe: dict[str, list[dict[str, str]]] = {}
    for run in runs:
        by_recipe.setdefault(run.name, []).append(options(run))
    for recipe, of_runs in by_recipe.items():
        changed = {
            name: of_runs[0][name]
            for name, value in _usual(recipe).items()
            if all(of_run.get(name) == of_runs[0].get(name) != value for of_run in of_runs)
        }
        if changed:
            found[recipe] = changed
    return found


def options(run: Run) -> dict[str, str]:
    """All that decides what a run learns but its seed, as the command line takes it, by flag."""
    plain = asdict(run)
    return _flat({k: v for k, v in plain.items() if k not in ("name", "seed", "device")})


def _usual(recipe: str) -> dict[str, str]:
    """The options of a recipe as it stands; none where there is no recipe of that name."""
    known = catalogue().get(recipe)
    return _flat(asdict(known.recipe)) if known else {}


def _flat(nested: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in nested.items():
        if isinstance(value, Mapping):
            found |= _flat(value)
        else:
            found[name.replace("_", "-")] = _written(value)
    return found


def _written(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    # All digits: runs that differ at all must not look equal.
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)
