"""Names of runs in a table: the recipe, and the options that distinguish them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vireid.methods import catalogue
from vireid.runs.config import Run

__all__ = ["flat", "options", "overrides", "row_names"]


def row_names(runs: Mapping[Path, Run]) -> dict[Path, str]:
    """Names for the rows of a table of runs.

    A name is the recipe's, followed by the options that differ between the runs of that recipe and
    from the recipe: ``dlis-cpu``, ``dlis-cpu, palm=off``, ``dlis-cpu, stripes=3``. Two runs have
    the same name exactly if they differ only in seed and device.

    Args:
        runs: The runs by folder.

    Returns:
        A name for each folder.
    """
    own = {path: options(run) for path, run in runs.items()}
    defaults = {name: _defaults(name) for name in {run.name for run in runs.values()}}
    found = {}
    for path, run in runs.items():
        others = [own[other] for other in runs if runs[other].name == run.name]
        distinct = [
            f"{name}={value}"
            for name, value in own[path].items()
            if defaults[run.name].get(name) != value
            and any(other.get(name) != value for other in others)
        ]
        found[path] = ", ".join([run.name, *distinct])
    return found


def overrides(runs: Iterable[Run]) -> dict[str, dict[str, str]]:
    """Options that all runs of a recipe override alike, which their row names omit.

    Args:
        runs: The runs of a table.

    Returns:
        Options with their values, by recipe; recipes without overrides are left out.
    """
    found: dict[str, dict[str, str]] = {}
    by_recipe: dict[str, list[dict[str, str]]] = {}
    for run in runs:
        by_recipe.setdefault(run.name, []).append(options(run))
    for recipe, of_runs in by_recipe.items():
        changed = {
            name: of_runs[0][name]
            for name, value in _defaults(recipe).items()
            if all(of_run.get(name) == of_runs[0].get(name) != value for of_run in of_runs)
        }
        if changed:
            found[recipe] = changed
    return found


def options(run: Run) -> dict[str, str]:
    """All that determines a run's result except its seed, by flag, as on the command line."""
    plain = asdict(run)
    hidden = ("name", "recipe", "seed", "device", "start", "adaptation")
    others = {k: v for k, v in plain.items() if k not in hidden}
    start = {"weights": str(run.start)} if run.start else {}
    adaptation = flat({"adaptation": plain["adaptation"]}) if run.adaptation else {}
    own = flat({"recipe": plain["recipe"], **others})
    return {"kind": run.recipe.method.kind} | own | start | adaptation


def _defaults(recipe: str) -> dict[str, str]:
    """The options of a recipe; empty where there is no recipe of that name."""
    known = catalogue().get(recipe)
    return {"kind": known.recipe.method.kind} | flat(asdict(known.recipe)) if known else {}


def flat(nested: Mapping[str, Any]) -> dict[str, str]:
    """Nested options as text by flag.

    Args:
        nested: Options by name, in groups or not.
    """
    found: dict[str, str] = {}
    for name, value in nested.items():
        if isinstance(value, Mapping):
            found |= flat(value)
        else:
            found[name.replace("_", "-")] = _text(value)
    return found


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    # All digits, so that runs that differ do not look equal.
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)
