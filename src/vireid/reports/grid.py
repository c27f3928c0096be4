"""Grids of runs: the variants of a base run.

Nothing is trained here; a plan is a list of runs, each with the name of its folder.

Example:
    >>> from vireid.data.layouts import DataSource
    >>> from vireid.methods import dlis
    >>> data = DataSource(layout="regdb", root=Path("data"))
    >>> base = Run(name="dlis", recipe=dlis.recipe(), data=data)
    >>> [one.folder for one in plan(base, ["palm=off,layer3", "center=0"], seeds=[0])]
    ['base,seed=0', 'palm=off,seed=0', 'palm=layer3,seed=0', 'center=0,seed=0']
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, get_origin, get_type_hints
from urllib.parse import quote_plus

from pydantic import TypeAdapter, ValidationError

from vireid.errors import ConfigError, RunError
from vireid.methods import Recipe
from vireid.runs import Run, RunFolder
from vireid.runs.names import options

__all__ = ["BASE", "PlannedRun", "plan", "refuse_foreign"]

BASE = "base"
"""Name of the variant without deviations."""
_MAX_NAME = 255  # bytes, the limit of common file systems

Deviation = tuple[str, object]
"""The flag of an option, and a value other than the base run's."""


@dataclass(frozen=True)
class PlannedRun:
    """One run of a grid.

    Attributes:
        variant: Its deviations from the base run, such as ``palm=off,center=0``, or :data:`BASE`.
        run: The run.
    """

    variant: str
    run: Run

    @property
    def folder(self) -> str:
        """The name of its folder, unique in the grid."""
        return quote_plus(f"{self.variant},seed={self.run.seed}", safe="=,")


def plan(
    base: Run, vary: Sequence[str], *, seeds: Sequence[int], product: bool = False
) -> list[PlannedRun]:
    """The runs of a grid, all variants of the first seed first.

    Args:
        base: The run that the variants deviate from; its seed does not matter.
        vary: ``OPTION=VALUE[,VALUE...]``: the flag of an option of the recipe, and values to try in
            addition to the base run's.
        seeds: Each variant is trained once with each seed.
        product: Every combination of values instead of one deviation at a time.

    Raises:
        ConfigError: If an option is unknown, a value does not fit it, values contradict one
            another, or the seeds are missing, negative or repeated.
    """
    if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise ConfigError(
            f"--seeds '{' '.join(map(str, seeds))}' cannot be trained; expected one or more "
            "different whole numbers from 0."
        )
    varied = _varied(base.recipe, vary).values()
    if product:
        combined = itertools.product(*([None, *deviations] for deviations in varied))
        variants = [[chosen for chosen in found if chosen] for found in combined]
    else:
        variants = [[], *([deviation] for deviations in varied for deviation in deviations)]
    runs = [replace(base, recipe=_deviating(base.recipe, variant)) for variant in variants]
    names = [_name(run, base) for run in runs]
    planned = [
        PlannedRun(name, replace(run, seed=seed))
        for seed in seeds
        for name, run in zip(names, runs, strict=True)
    ]
    for one in planned:
        if len(one.folder) > _MAX_NAME:
            raise ConfigError(
                f"The folder '{one.folder}' would have a name of {len(one.folder)} letters; "
                f"expected at most {_MAX_NAME}: vary fewer options at once."
            )
    return planned


def refuse_foreign(path: Path, run: Run) -> None:
    """Check that a folder is free for a run, or already holds it.

    Raises:
        RunError: If the folder holds another run or other files.
    """
    folder = RunFolder(path)
    if folder.config_file.exists():
        there = folder.read_config()
        if there != run:
            found, wanted = _all_options(there), _all_options(run)
            differences = [
                f"{name} '{found.get(name)}' and not '{wanted.get(name)}'"
                for name in {**wanted, **found}
                if found.get(name) != wanted.get(name)
            ]
            raise RunError(
                f"'{path}' is another run, with {', '.join(differences)}; expected the run of this "
                "grid: choose another folder with --out, or delete that run."
            )
    elif path.is_dir() and any(not p.match(".*.tmp") for p in path.iterdir()):
        raise RunError(
            f"'{path}' is not empty and has no config.yaml; expected a run of this grid, or "
            "nothing: choose another folder with --out."
        )


def _varied(recipe: Recipe[Any], vary: Sequence[str]) -> dict[str, list[Deviation]]:
    """The requested deviations, each once, by option."""
    sections = _sections(recipe)
    varied: dict[str, list[Deviation]] = {}
    for words in vary:
        name, _, values = words.partition("=")
        flag = name.replace("_", "-")
        if not values:
            raise ConfigError(
                f"--vary '{words}' has no value; expected OPTION=VALUE[,VALUE...], such as "
                "palm=off,layer3."
            )
        if flag not in sections:
            similar = difflib.get_close_matches(flag, sections, cutoff=0.5) or sorted(sections)
            raise ConfigError(
                f"--vary '{words}': this recipe has no option '{flag}'; expected one of its flags, "
                f"such as {', '.join(similar)}."
            )
        section, field = sections[flag]
        deviations = varied.setdefault(flag, [])
        for text in values.split(","):
            deviation = (flag, _typed(getattr(recipe, section), field, text, flag=flag))
            own = getattr(getattr(recipe, section), field)
            if deviation[1] != own and deviation not in deviations:
                deviations.append(deviation)
    return varied


def _sections(recipe: Recipe[Any]) -> dict[str, tuple[str, str]]:
    """The section of a recipe and the field of each option, by flag."""
    return {
        field.name.replace("_", "-"): (section.name, field.name)
        for section in fields(recipe)
        for field in fields(getattr(recipe, section.name))
    }


def _typed(section: object, field: str, text: str, *, flag: str) -> object:
    """Parse a value as config.yaml is parsed."""
    hint = get_type_hints(type(section), include_extras=True)[field]
    written: object = text
    if text == "None":
        written = None
    elif get_origin(hint) is tuple:
        written = text.split()
    try:
        return TypeAdapter(hint).validate_python(written)
    except ValidationError as error:
        expected = error.errors()[0]["msg"].removeprefix("Input should be ").split(", unable")[0]
        raise ConfigError(f"--vary {flag}: '{text}' does not fit; expected {expected}.") from error


def _deviating(recipe: Recipe[Any], variant: Sequence[Deviation]) -> Recipe[Any]:
    """The recipe with the deviations of a variant."""
    sections = _sections(recipe)
    changes: dict[str, dict[str, object]] = {}
    for flag, value in variant:
        section, field = sections[flag]
        changes.setdefault(section, {})[field] = value
    try:
        return replace(
            recipe, **{name: replace(getattr(recipe, name), **new) for name, new in changes.items()}
        )
    except ConfigError as error:
        words = " ".join(f"{flag}={value}" for flag, value in variant)
        raise ConfigError(f"--vary {words}: {error}") from error


def _name(run: Run, base: Run) -> str:
    """The deviations of a run, as its name."""
    defaults = options(base)
    return ",".join(f"{k}={v}" for k, v in options(run).items() if defaults[k] != v) or BASE


def _all_options(run: Run) -> dict[str, str]:
    """All options of a run, by flag."""
    return {"recipe": run.name, **options(run), "seed": str(run.seed), "device": run.device}
