"""``vireid train RECIPE``: train a method into a run folder."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro
from tyro.extras import SubcommandApp

from vireid.cli._flags import Switch
from vireid.cli._memory import keep_memory
from vireid.data.cache import default_cache, open_images
from vireid.data.layouts import DataSource
from vireid.distributed.comm import broadcast
from vireid.distributed.launch import Processes, launch
from vireid.errors import ConfigError
from vireid.evaluation import evaluate, validation
from vireid.features import FeatureExtractor, TorchBackend, extract_distributed, local_records
from vireid.features.exported_backend import is_export
from vireid.methods import Method, Recipe, catalogue
from vireid.runs import Device, Precision, Run, RunFolder, Selection
from vireid.training import Validate, fit

__all__ = [
    "TRAINED_ALONE",
    "Conditions",
    "OutputOptions",
    "TrainingProcesses",
    "app",
    "by_recipe",
    "resume",
    "train_run",
]


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """Outputs of the training and the image cache."""

    keep: int = 2
    """Number of checkpoints to keep."""
    tensorboard: Switch = False
    """Also write the metrics for TensorBoard, into OUT/tensorboard."""
    cache: Path | None = None
    """Folder of the cache of decoded images; by default .vireid-cache in the data set's folder."""
    no_cache: Switch = False
    """Do not cache decoded images: decode them in every epoch."""


@dataclass(frozen=True, kw_only=True)
class TrainingProcesses(Processes):
    """How many processes share the training; none of it is in config.yaml."""

    sync_batchnorm: bool = True
    """Compute batch norm statistics over all processes, as one process would. Without it each
    process uses its own: faster, but the results differ."""


TRAINED_ALONE = TrainingProcesses()
"""One process."""


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """Data and execution."""

    data: DataSource
    select: Selection = "last"
    """Which epoch's network becomes the model: the last, or with --hold-out the one that is best
    on the validation identities. Never one that is best on a test gallery."""
    precision: Precision = "32-true"
    """Arithmetic of the network; bf16-mixed is bfloat16 autocast, faster where the processor
    knows it; 64-true is slow; it separates rounding from bugs."""
    device: Device = "auto"
    """Device; auto selects a GPU if there is one."""
    compile: Switch = False
    """Let torch.compile translate the network before the first step: for long runs on a GPU. On two
    cores it takes minutes, and what it then gains has not been measured."""

    def run(self, name: str, recipe: Recipe[Any], *, seed: int) -> Run:
        """A run of a recipe under these conditions."""
        return Run(
            name=name,
            recipe=recipe,
            # Whole, so that the run can be evaluated from any folder.
            data=self.data.at(self.data.root.absolute()),
            select=self.select,
            seed=seed,
            precision=self.precision,
            device=self.device,
            compile=self.compile,
        )


@dataclass(frozen=True, kw_only=True)
class Where(Conditions):
    """Data, output folder and execution."""

    out: Path
    """Run folder to create."""
    seed: int = 0
    """Random seed."""
    processes: TrainingProcesses = TRAINED_ALONE
    """Data-parallel training."""


ConditionsT = TypeVar("ConditionsT", bound=Conditions)


def app() -> SubcommandApp:
    """``vireid train`` with one sub-command a recipe, and ``--resume``."""
    verbs = by_recipe(_train, Where)
    verbs.command(is_default=True)(resume)
    return verbs


def by_recipe(
    verb: Callable[[str, ConditionsT, Recipe[Any], OutputOptions], object], given: type[ConditionsT]
) -> SubcommandApp:
    """A verb with one sub-command a recipe, each with the options of its own method as flags.

    Args:
        verb: Takes the recipe's name, what was given besides the recipe, the recipe with the
            options that were given, and what is kept.
        given: The flags that are the same for all recipes.
    """
    verbs = SubcommandApp()
    for name, entry in catalogue().items():
        verbs.command(name=name, help=entry.summary)(_of_recipe(verb, given, name, entry.recipe))
    return verbs


def _of_recipe(
    verb: Callable[[str, ConditionsT, Recipe[Any], OutputOptions], object],
    given: type[ConditionsT],
    name: str,
    default: Recipe[Any],
) -> Callable[..., None]:
    def command(
        where: ConditionsT, recipe: Recipe[Any] = default, keeping: OutputOptions = OutputOptions()
    ) -> None:
        verb(name, where, recipe, keeping)

    # The flags are read off the annotations.
    command.__annotations__["where"] = given
    command.__annotations__["recipe"] = Recipe[type(default.method)]  # type: ignore[misc]
    return command


def _train(name: str, where: Where, recipe: Recipe[Any], keeping: OutputOptions) -> None:
    run = where.run(name, recipe, seed=where.seed)
    train_run(run, where.out, keeping=keeping, processes=where.processes)


def resume(
    *,
    resume: Annotated[Path, tyro.conf.arg(metavar="RUN")],
    keeping: OutputOptions = OutputOptions(),
    processes: TrainingProcesses = TRAINED_ALONE,
) -> None:
    """Continue an interrupted run with the options in its config.yaml.

    Args:
        resume: Run folder to continue.
        keeping: Outputs of the training and the image cache.
        processes: Data-parallel training; the number of processes may differ from before.
    """
    if is_export(resume):
        raise ConfigError(
            f"'{resume}' is an export, which cannot be trained; expected a run folder; resume the"
            " run that it was made from."
        )
    run = RunFolder(resume).read_config()
    train_run(run, resume, resume=True, keeping=keeping, processes=processes)


def train_run(
    run: Run,
    out: Path,
    *,
    resume: bool = False,
    keeping: OutputOptions = OutputOptions(),
    processes: TrainingProcesses = TRAINED_ALONE,
) -> Path:
    """Train a run with its images packed, scored after each epoch where identities are held out.

    Args:
        run: What to train, on what, and how.
        out: The run folder.
        resume: Continue the run that is in ``out``.
        keeping: Outputs of the training and the image cache.
        processes: Data parallel training.

    Returns:
        ``out``.

    Raises:
        ProcessError: If a process is gone; the newest checkpoint is whole.
        VireidError: As :func:`vireid.training.fit`.
    """
    return launch(
        partial(_train_here, run, out, resume, keeping, processes.sync_batchnorm),
        processes=processes,
        device=run.device,
        recovery=f"continue with `vireid train --resume {out}`, by as many processes as you like",
    )


def _train_here(
    run: Run, out: Path, resume: bool, keeping: OutputOptions, sync_batchnorm: bool
) -> Path:
    """What each process does."""
    keep_memory()
    cache = None if keeping.no_cache else keeping.cache or default_cache(run.data.root)
    with _validator(run, cache) as validate:
        return fit(
            run,
            out,
            resume=resume,
            keep=keeping.keep,
            tensorboard=keeping.tensorboard,
            cache=cache,
            validate=validate,
            sync_batchnorm=sync_batchnorm,
        )


@contextlib.contextmanager
def _validator(run: Run, cache: Path | None) -> Iterator[Validate | None]:
    """What scores a network in training on the identities held out; None where there are none."""
    if not run.data.hold_out:
        yield None
        return
    protocol = validation(run.data.open())
    own = local_records(protocol.records)
    with open_images(own, size=run.recipe.method.size, cache=cache) as images:

        def validate(network: Method) -> Mapping[str, float]:
            # A copy, because an encoder freezes its network.
            backend = TorchBackend(
                copy.deepcopy(network).float(), device=run.device, precision=run.precision
            )
            extractor = FeatureExtractor(backend)
            described = extract_distributed(
                extractor, protocol.records, progress=False, images=images
            )

            def score() -> dict[str, float]:
                result = evaluate(described, protocol)
                return {"R-1": result.cmc(1).mean, "mAP": result.mean_ap.mean}

            found: dict[str, float] = broadcast(score)
            return found

        yield validate
