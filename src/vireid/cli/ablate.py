"""``vireid ablate RECIPE``: train variants of a recipe, and compare them in one table."""

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
from vireid.cli.train import OutputOptions, by_recipe, train_run
from vireid.errors import TrainingError, first_few, many
from vireid.evaluation import Protocol, protocols_for
from vireid.evaluation.result import OWN_DATA
from vireid.evaluation.scoring import data_fingerprint
from vireid.files import clear_temporaries, require_writable, write_atomic
from vireid.log import echo, log
from vireid.methods import Batch, Recipe
from vireid.methods.ablations import Part, preset
from vireid.reports.ablation import ablation_section
from vireid.reports.grid import BASE, PlannedRun, plan, refuse_foreign
from vireid.reports.leaderboard import Entry, Row
from vireid.runs import Run, RunFolder, RunOptions
from vireid.runs.names import options, overrides
from vireid.training.batches import TrainingSet

__all__ = ["ablate", "app"]


@dataclass(frozen=True, kw_only=True)
class AblateOptions(RunOptions):
    """Data, what to vary, output folder and execution."""

    out: Path
    """Folder of the grid, with one run folder for each run and the table ablation.md."""
    vary: Annotated[
        tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="OPTION=VALUE,...")
    ] = ()
    """An option of the recipe and the values to try in addition to its own, such as
    palm=off,layer3; flags take yes and no."""
    preset: Annotated[tuple[Part | Literal["all"], ...], tyro.conf.UseAppendAction] = ()
    """Recipes of DLIS: try the alternatives to one of its parts."""
    grid: Switch = False
    """Train every combination of values; by default each variant changes one option."""
    seeds: tuple[int, ...] = (0,)
    """Train each variant once with each of these seeds."""
    dry_run: Switch = False
    """Check everything and print the plan, without training."""


def app() -> SubcommandApp:
    """``vireid ablate`` with one sub-command for each recipe."""
    return by_recipe(_ablate, AblateOptions)


def _ablate(name: str, given: AblateOptions, recipe: Recipe[Any], output: OutputOptions) -> None:
    ablate(
        given.run(name, recipe),
        given.out,
        vary=[*given.vary, *(w for part in given.preset for w in preset(part, recipe.method))],
        seeds=given.seeds,
        product=given.grid,
        dry_run=given.dry_run,
        output=output,
    )


def ablate(
    base: Run,
    out: Path,
    *,
    vary: Sequence[str] = (),
    seeds: Sequence[int] = (0,),
    product: bool = False,
    dry_run: bool = False,
    output: OutputOptions | None = None,
) -> Path:
    """Train and evaluate a run and its variants, one after the other, and write one table.

    Finished runs are skipped and interrupted ones resumed, so that the same call continues a grid.
    If the loss of a run is not finite, the others are still trained.

    Args:
        base: The run that the variants deviate from; ``seeds`` replaces its seed.
        out: The folder of the grid.
        vary: ``OPTION=VALUE[,VALUE...]``; see :func:`vireid.reports.grid.plan`.
        seeds: Each variant is trained once with each seed, all of the first seed first.
        product: Train every combination of values instead of changing one option at a time.
        dry_run: Check everything and print the plan, without training.
        output: Outputs of the training and the image cache.

    Returns:
        The table, ``out/ablation.md``; a dry run does not write it.

    Raises:
        ConfigError: If an option, a value or a combination of values cannot be trained.
        RunError: If a folder of the grid holds something else.
        TrainingError: If the loss of some runs was not finite; all others are done.
        VireidError: As :func:`vireid.training.fit`.
    """
    planned = plan(base, vary, seeds=seeds, product=product)
    for one in planned:
        refuse_foreign(out / one.folder, one.run)
    if not dry_run:
        require_writable(out, folder=True)
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
                _train(one.run, out / one.folder, output or OutputOptions())
            except TrainingError as error:
                log(f"{one.folder}: {error}")
                failed.append(one.folder)
                continue
            evaluate((out / one.folder,), figures=False)
            found[one] = _entries(out / one.folder, protocols)
            # After each run, so that an interrupted grid has a table too.
            _save(_text(base, found, parameters), table)
    except (KeyboardInterrupt, SystemExit) as stopped:
        text = f"run the same `vireid ablate` again to continue the grid in '{out}'."
        if isinstance(stopped, KeyboardInterrupt):
            raise KeyboardInterrupt(text) from None
        log(f"Stopped; {text}")
        raise
    if any(found.values()):
        text = _text(base, found, parameters)
        # Printed first, in case the disk is full.
        echo(text)
        _save(text, table)
        echo(f"The table is in {table.resolve()}.")
    if failed:
        raise TrainingError(
            f"{len(failed)} of {len(planned)} runs have no result, because their loss was not "
            f"finite: {first_few(failed)}; the others are done: leave these variants out, or use "
            "smaller learning rates and another folder."
        )
    return table


def _parameters(planned: Sequence[PlannedRun]) -> dict[str, int]:
    """The number of parameters of each variant's network, built on the meta device."""
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
    """A run's results under each protocol; empty until it is evaluated under all of them."""
    folder = RunFolder(path)
    if not folder.model_file.exists() or not any(folder.results.glob("*.json")):
        return []
    weights = folder.read_model()[2]
    matching = {
        (*entry.result.kind, entry.result.data_fingerprint): entry
        for entry in read_entries([path])
        if entry.result.weights_fingerprint == weights
        # The defaults of `vireid evaluate`.
        and {entry.result.similarity, *entry.result.flags.values()} == {"cosine", "none"}
    }
    wanted = [
        (p.name, p.direction, p.convention, p.cmc, OWN_DATA, data_fingerprint(p)) for p in protocols
    ]
    return [matching[kind] for kind in wanted] if all(kind in matching for kind in wanted) else []


def _show_plan(
    base: Run, out: Path, found: Mapping[PlannedRun, list[Entry]], parameters: Mapping[str, int]
) -> None:
    """Print the number of runs, and the folder and the state of each."""
    finished = sum(map(bool, found.values()))
    echo(
        f"{many(len(found), 'run')} in '{out}', {finished} of them finished: {base.name} in"
        f" {many(len(parameters), 'variant')}, each with"
        f" {many(len(found) // len(parameters), 'seed')}"
    )
    width = max(len(one.folder) for one in found)
    for one, entries in found.items():
        state = "finished" if entries else _state(RunFolder(out / one.folder), one.run)
        echo(f"  {one.folder:{width}}  {parameters[one.variant]:>11,} parameters  {state}")


def _state(folder: RunFolder, run: Run) -> str:
    if folder.model_file.exists():
        return "trained, to be evaluated"
    if folder.config_file.exists():
        epochs = many(run.recipe.optimisation.epochs, "epoch")
        return f"{len(folder.read_metrics())} of {epochs} trained"
    return "to be trained"


def _train(run: Run, path: Path, output: OutputOptions) -> None:
    """Train or resume a run, unless it is finished."""
    folder = RunFolder(path)
    if folder.model_file.exists():
        return
    started = folder.config_file.exists()
    if not started:
        # A killed process may have left a temporary file, and a new run needs an empty folder.
        clear_temporaries(path)
    train_run(run, path, resume=started, output=output)


def _save(text: str, table: Path) -> None:
    write_atomic(table, text.encode(errors="surrogateescape"))


def _text(base: Run, found: Mapping[PlannedRun, list[Entry]], parameters: Mapping[str, int]) -> str:
    """The page of all finished runs."""
    own = options(base)
    listed = {name: own[name] for name in ("backbone", "size", "epochs")}
    listed |= overrides([base]).get(base.name, {})
    parts = [
        f"# Ablation of {base.name}",
        f"The base run is {base.name} with {', '.join(f'{k}={v}' for k, v in listed.items())}; the "
        "others differ from it in the options of their names.",
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
    return "\n\n".join(parts) + "\n"
