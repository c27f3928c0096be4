"""``vireid ablate RECIPE``: train variants of a recipe side by side, and make one table of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro
from tyro.extras import SubcommandApp

from vireid.cli._flags import Switch
from vireid.cli.evaluate import evaluate
from vireid.cli.leaderboard import read_entries
from vireid.cli.train import Conditions, OutputOptions, by_recipe, train_run
from vireid.errors import TrainingError, first_few
from vireid.evaluation import Protocol, protocols_for
from vireid.evaluation.scoring import data_fingerprint
from vireid.files import clear_temporaries, write_atomic
from vireid.log import log
from vireid.methods import Batch, Recipe
from vireid.methods.ablations import Part, preset
from vireid.reports.ablation import ablation_section
from vireid.reports.grid import BASE, PlannedRun, plan, refuse_foreign
from vireid.reports.leaderboard import Entry, Row
from vireid.runs import Run, RunFolder
from vireid.runs.names import options, overrides
from vireid.training.batches import TrainingSet

__all__ = ["ablate", "app"]


@dataclass(frozen=True, kw_only=True)
class Grid(Conditions):
    """What to train on, what to vary, where to, and how it runs."""

    out: Path
    """The folder of the grid; each run gets a folder in it, and ablation.md is the table."""
    vary: Annotated[
        tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="OPTION=VALUE,...")
    ] = ()
    """An option of the recipe and the values to try in addition to its own, such as
    palm=off,layer3; flags take yes and no. Repeatable."""
    preset: Annotated[tuple[Part | Literal["all"], ...], tyro.conf.UseAppendAction] = ()
    """Recipes of DLIS: try the alternatives to a part of it."""
    grid: Switch = False
    """Train every combination of values; without it one option at a time deviates."""
    seeds: tuple[int, ...] = (0,)
    """Train each variant once with each of these seeds."""
    dry_run: Switch = False
    """Check everything and show the plan; train nothing."""


def app() -> SubcommandApp:
    """``vireid ablate`` with one sub-command a recipe."""
    return by_recipe(_ablate, Grid)


def _ablate(name: str, given: Grid, recipe: Recipe[Any], keeping: OutputOptions) -> None:
    ablate(
        given.run(name, recipe, seed=0),
        given.out,
        vary=[*given.vary, *(w for part in given.preset for w in preset(part, recipe.method))],
        seeds=given.seeds,
        product=given.grid,
        dry_run=given.dry_run,
        keeping=keeping,
    )


def ablate(
    base: Run,
    out: Path,
    *,
    vary: Sequence[str] = (),
    seeds: Sequence[int] = (0,),
    product: bool = False,
    dry_run: Switch = False,
    keeping: OutputOptions | None = None,
) -> Path:
    """Train and evaluate a run and its variants, one after the other, and make one table of them.

    What is finished already is left as it is and what was stopped goes on, so that the same call
    continues a grid. A run whose loss is not finite does not keep the others from being trained.

    Args:
        base: What the variants deviate from; ``seeds`` replaces its seed.
        out: The folder of the grid.
        vary: ``OPTION=VALUE[,VALUE...]``; see :func:`vireid.reports.grid.plan`.
        seeds: Each variant is trained once with each of them, all of the first seed first.
        product: Every combination of values, instead of one deviation at a time.
        dry_run: Check everything and print the plan only.
        keeping: What is kept on the disk meanwhile, and images.

    Returns:
        The table, ``out/ablation.md``; after a dry run it need not be there.

    Raises:
        ConfigError: An option, a value or a combination of values that cannot be trained.
        RunError: A folder of the grid holds something else.
        TrainingError: The loss of some runs was not finite; all others are done.
        VireidError: As :func:`vireid.training.fit`.
    """
    planned = plan(base, vary, seeds=seeds, product=product)
    for one in planned:
        refuse_foreign(out / one.folder, one.run)
    protocols = protocols_for(base.data.open())
    parameters = _parameters(planned)
    found = {one: _entries(out / one.folder, protocols) for one in planned}
    _show_plan(base, out, found, parameters)
    table, failed = out / "ablation.md", []
    if dry_run:
        return table
    try:
        for number, one in enumerate(planned, start=1):
            if found[one]:
                continue
            log(f"\nRun {number} of {len(planned)}: {one.folder}")
            try:
                _train(one.run, out / one.folder, keeping or OutputOptions())
            except TrainingError as error:
                log(f"{one.folder}: {error}")
                failed.append(one.folder)
                continue
            evaluate((out / one.folder,), figures=False)
            found[one] = _entries(out / one.folder, protocols)
            # After each run, so that a grid that is stopped has a table too.
            _write_table(table, base, found, parameters)
    except (KeyboardInterrupt, SystemExit):
        log(f"Stopped; the same `vireid ablate` goes on with the grid in '{out}'.")
        raise
    if any(found.values()):
        print(_write_table(table, base, found, parameters))
        print(f"The table is {table.resolve()}.")
    if failed:
        raise TrainingError(
            f"{len(failed)} of {len(planned)} runs have no result, because their loss was not "
            f"finite: {first_few(failed)}; the others are done: leave out what cannot be trained, "
            "or use smaller learning rates and another folder."
        )
    return table


def _parameters(planned: Sequence[PlannedRun]) -> dict[str, int]:
    """How many the network of each variant has; builds each, on the device that takes no memory."""
    classes: dict[Batch, int] = {}
    parameters: dict[str, int] = {}
    for variant, run in {one.variant: one.run for one in planned}.items():
        batch = run.recipe.batch
        if batch not in classes:
            with TrainingSet(run) as data:
                classes[batch] = data.classes
        with torch.device("meta"):
            network = replace(run.recipe.method, weights="none").build(classes=classes[batch])
        parameters[variant] = sum(parameter.numel() for parameter in network.parameters())
    return parameters


def _entries(path: Path, protocols: Sequence[Protocol]) -> list[Entry]:
    """What a run scored under each protocol; nothing where one of them is still to be evaluated."""
    folder = RunFolder(path)
    if not folder.model_file.exists() or not any(folder.results.glob("*.json")):
        return []
    weights = folder.read_model()[2]
    fitting = {
        (*entry.result.kind, entry.result.data_fingerprint): entry
        for entry in read_entries([path])
        if entry.result.weights_fingerprint == weights
        # As `vireid evaluate` scores when nothing is asked of it.
        and {entry.result.similarity, *entry.result.flags.values()} == {"cosine", "none"}
    }
    wanted = [(p.name, p.direction, p.convention, p.cmc, data_fingerprint(p)) for p in protocols]
    return [fitting[kind] for kind in wanted] if all(kind in fitting for kind in wanted) else []


def _show_plan(
    base: Run, out: Path, found: Mapping[PlannedRun, list[Entry]], parameters: Mapping[str, int]
) -> None:
    """How many runs there are, and each with its folder and how far it is."""
    finished = sum(map(bool, found.values()))
    print(
        f"{len(found)} runs in '{out}', {finished} of them finished: {base.name} in "
        f"{len(parameters)} variants, each with {len(found) // len(parameters)} seeds"
    )
    width = max(len(one.folder) for one in found)
    for one, entries in found.items():
        state = "finished" if entries else _state(RunFolder(out / one.folder), one.run)
        print(f"  {one.folder:{width}}  {parameters[one.variant]:>11,} parameters  {state}")


def _state(folder: RunFolder, run: Run) -> str:
    if folder.model_file.exists():
        return "trained, to be evaluated"
    if folder.config_file.exists():
        return f"{len(folder.read_metrics())} of {run.recipe.optimisation.epochs} epochs trained"
    return "to be trained"


def _train(run: Run, path: Path, keeping: OutputOptions) -> None:
    """Train a run, or go on with it; a finished one is left as it is."""
    folder = RunFolder(path)
    if folder.model_file.exists():
        return
    begun = folder.config_file.exists()
    if not begun:
        # A kill may have left the beginning of a config.yaml, and a new run wants an empty folder.
        clear_temporaries(path)
    train_run(run, path, resume=begun, keeping=keeping)


def _write_table(
    path: Path,
    base: Run,
    found: Mapping[PlannedRun, list[Entry]],
    parameters: Mapping[str, int],
) -> str:
    """Write the page of all that is finished; returns its text."""
    usual = options(base)
    told = {name: usual[name] for name in ("backbone", "size", "epochs")}
    told |= overrides([base]).get(base.name, {})
    parts = [
        f"# Ablation of {base.name}",
        f"The base run is {base.name} with {', '.join(f'{k}={v}' for k, v in told.items())}; the "
        "others differ from it in what their names say.",
    ]
    if missing := [one.folder for one, entries in found.items() if not entries]:
        parts.append(f"{len(missing)} of {len(found)} runs are not finished: {first_few(missing)}.")
    done = {one: entries for one, entries in found.items() if entries}
    for of_protocol in zip(*done.values(), strict=True):
        rows: dict[str, list[Entry]] = {}
        for one, entry in zip(done, of_protocol, strict=True):
            rows.setdefault(one.variant, []).append(entry)
        parts.append(
            ablation_section(
                [Row(variant, tuple(entries)) for variant, entries in rows.items()],
                base=BASE,
                parameters=parameters,
            )
        )
    text = "\n\n".join(parts) + "\n"
    write_atomic(path, text.encode(errors="surrogateescape"))
    return text
