"""``vireid train RECIPE``: train a method into a run folder."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro
from tyro.extras import SubcommandApp

from vireid.cli._flags import Switch
from vireid.cli._memory import keep_memory
from vireid.data.cache import default_cache, open_images
from vireid.data.file_kind import mistaken_for
from vireid.data.tone_mapping import ToneMapping
from vireid.distributed.comm import broadcast
from vireid.distributed.launch import Processes, launch
from vireid.errors import ConfigError, WeightsError
from vireid.evaluation import evaluate, validation
from vireid.features import FeatureExtractor, TorchBackend, local_records
from vireid.features.exported_backend import is_export
from vireid.log import on_stop
from vireid.methods import Method, Recipe, catalogue
from vireid.models import installed_models
from vireid.runs import Device, Run, RunFolder, RunOptions, start_from
from vireid.runs.start import BACKBONE_FACTOR
from vireid.training import LoggerName, Validate, fit

__all__ = [
    "OutputOptions",
    "TrainingProcesses",
    "app",
    "by_recipe",
    "require_recipe",
    "resume",
    "train_run",
]


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """Outputs of the training and the image cache."""

    keep: int = 2
    """Number of checkpoints to keep."""
    log: tuple[LoggerName, ...] = ()
    """Also write the metrics for TensorBoard (into OUT/tensorboard) or Weights & Biases (into
    OUT/wandb; nothing is uploaded unless WANDB_MODE is 'online')."""
    cache: Path | None = None
    """Folder of the cache of decoded images; by default .vireid-cache in the data set's folder."""
    no_cache: Switch = False
    """Do not cache decoded images: decode them in every epoch."""


@dataclass(frozen=True, kw_only=True)
class TrainingProcesses(Processes):
    """Processes that share the training; not part of config.yaml."""

    sync_batchnorm: bool = True
    """Compute batch norm statistics over all processes, as one process would. Without it each
    process uses its own: faster, but the results differ."""


TRAINED_ALONE = TrainingProcesses()
"""One process."""


@dataclass(frozen=True, kw_only=True)
class TrainOptions(RunOptions):
    """Data, output folder and execution."""

    out: Path
    """Run folder to create."""
    start: Annotated[str | None, tyro.conf.arg(metavar="RUN")] = None
    """Start from the trained network of this run or installed model (`vireid models`), which must
    be the recipe's network, instead of --weights. Classifiers are made anew for the training
    identities."""
    backbone_factor: float | None = None
    """With --start, factor on the backbone's learning rate; 0.1 by default."""
    seed: int = 0
    """Random seed."""
    processes: TrainingProcesses = TRAINED_ALONE
    """Data-parallel training."""


OptionsT = TypeVar("OptionsT", bound=RunOptions)
Command = Callable[[str, OptionsT, Recipe[Any], OutputOptions], object]
"""Takes a recipe's name, the options of the run, the recipe with its flags, and the outputs."""


def app() -> SubcommandApp:
    """``vireid train`` with one sub-command for each recipe, and ``--resume``."""
    commands = by_recipe(_train, TrainOptions)
    commands.command(is_default=True)(resume)
    return commands


def require_recipe(words: Sequence[str]) -> None:
    """Refuse arguments that name neither a recipe nor a run to resume.

    Args:
        words: The arguments after `train`.

    Raises:
        ConfigError: If they do not.
    """
    known = catalogue()
    given = words[0] if words else ""
    flags = {word.partition("=")[0] for word in words}
    if given in known or flags & {"--help", "-h", "--resume"}:
        return
    names = ", ".join(name for name in known if not name.endswith("-cpu"))
    raise ConfigError(
        f"'{given}' is no recipe; expected `vireid train RECIPE …` with one of {names}, or such a "
        "name with -cpu, or `vireid train --resume RUN`."
    )


def by_recipe(command: Command[OptionsT], options: type[OptionsT]) -> SubcommandApp:
    """One sub-command for each recipe, with the options of its method as flags.

    Args:
        command: What each sub-command runs.
        options: The flags that all recipes share.
    """
    commands = SubcommandApp()
    for name, entry in catalogue().items():
        run = _of_recipe(command, options, name, entry.recipe)
        commands.command(name=name, help=entry.summary)(run)
    return commands


def _of_recipe(
    command: Command[OptionsT], options: type[OptionsT], name: str, default: Recipe[Any]
) -> Callable[..., None]:
    def run(
        training: OptionsT, recipe: Recipe[Any] = default, output: OutputOptions = OutputOptions()
    ) -> None:
        command(name, training, recipe, output)

    # tyro reads the flags from the annotations.
    run.__annotations__["training"] = options
    run.__annotations__["recipe"] = Recipe[type(default.method)]  # type: ignore[misc]
    return run


def _train(name: str, options: TrainOptions, recipe: Recipe[Any], output: OutputOptions) -> None:
    run = options.run(name, recipe, seed=options.seed)
    if options.start is not None:
        _refuse_export(Path(options.start))
        factor = BACKBONE_FACTOR if options.backbone_factor is None else options.backbone_factor
        run = start_from(run, options.start, backbone_factor=factor)
    elif options.backbone_factor is not None:
        raise ConfigError(
            f"'--backbone-factor {options.backbone_factor}' has no effect without --start; expected"
            " both; set the backbone's learning rate with --backbone-lr."
        )
    train_run(run, options.out, output=output, processes=options.processes)


def resume(
    *,
    resume: Annotated[Path, tyro.conf.arg(metavar="RUN")],
    root: Path | None = None,
    device: Device | None = None,
    output: OutputOptions = OutputOptions(),
    processes: TrainingProcesses = TRAINED_ALONE,
) -> None:
    """Continue an interrupted run with the options in its config.yaml.

    Args:
        resume: Run folder to continue.
        root: Current folder of the data set, if it was moved; config.yaml then names it.
        device: Device; the one in config.yaml by default.
        output: Outputs of the training and the image cache.
        processes: Data-parallel training; the number of processes may differ from before.
    """
    _refuse_export(resume)
    if str(resume) in installed_models() and not resume.exists():
        raise ConfigError(
            f"'{resume}' is an installed model, which cannot be resumed; expected a run folder;"
            f" `vireid train RECIPE --start {resume}` trains a new run that starts from it."
        )
    run = RunFolder(resume).read_config()
    run = replace(run, data=run.data.at(root and root.absolute()), device=device or run.device)
    if run.adaptation:
        # Imported here because its libraries take a second.
        from vireid.cli.adapt import continue_adaptation

        if processes != TRAINED_ALONE:
            raise ConfigError(
                f"'{resume}' is an adaptation, which one process continues; expected no options of"
                " several processes: remove them."
            )
        continue_adaptation(resume, run, output=output)
        return
    train_run(run, resume, resume=True, output=output, processes=processes)


def _refuse_export(path: Path) -> None:
    if is_export(path):
        raise ConfigError(
            f"'{path}' is an export, which cannot be trained; expected a run folder: give the run "
            "that it was made from."
        )


def train_run(
    run: Run,
    out: Path,
    *,
    resume: bool = False,
    output: OutputOptions = OutputOptions(),
    processes: TrainingProcesses = TRAINED_ALONE,
) -> Path:
    """Train a run with cached images, and validate each epoch where identities are held out.

    Args:
        run: The method, its data and its options.
        out: The run folder.
        resume: Continue the run in ``out``.
        output: Outputs of the training and the image cache.
        processes: Data-parallel training.

    Returns:
        ``out``.

    Raises:
        ProcessError: If a process was lost; the newest checkpoint is intact.
        VireidError: As :func:`vireid.training.fit`.
    """
    RunFolder(out).require_writable()
    again = f"continue with `vireid train --resume {out}`"
    started = RunFolder(out).config_file.exists
    with on_stop(lambda: f"the checkpoints are kept: {again}." if started() else ""):
        return launch(
            partial(_train_here, run, out, resume, output, processes.sync_batchnorm),
            processes=processes,
            device=run.device,
            recovery=f"{again}, with any number of processes",
        )


def _train_here(
    run: Run, out: Path, resume: bool, output: OutputOptions, sync_batchnorm: bool
) -> Path:
    """The task of each process."""
    keep_memory()
    cache = None if output.no_cache else output.cache or default_cache(run.data.root)
    with _naming(run.recipe.method.weights), _validator(run, cache) as validate:
        return fit(
            run,
            out,
            resume=resume,
            keep=output.keep,
            loggers=output.log,
            cache=cache,
            validate=validate,
            sync_batchnorm=sync_batchnorm,
        )


@contextlib.contextmanager
def _naming(weights: Path | str) -> Iterator[None]:
    """Say what a file seems to be that holds no weights."""
    try:
        yield
    except WeightsError as error:
        expected = "weights (a safetensors file, or one of torch.save)"
        is_file = isinstance(weights, Path) and weights.is_file()
        mistake = mistaken_for(expected, Path(weights)) if is_file else ""
        raise WeightsError(mistake or str(error)) from error


@contextlib.contextmanager
def _validator(run: Run, cache: Path | None) -> Iterator[Validate | None]:
    """Scores networks on the held-out identities; None if there are none."""
    if not run.data.hold_out:
        yield None
        return
    protocol = validation(run.data.open())
    own = local_records(protocol.records)
    with open_images(
        own,
        size=run.recipe.method.size,
        cache=cache,
        tone_mapping=ToneMapping.parse(run.tone_mapping),
    ) as images:

        def validate(network: Method) -> Mapping[str, float]:
            # A copy, because the backend freezes its network.
            backend = TorchBackend(
                copy.deepcopy(network).float(), device=run.device, precision=run.precision
            )
            extractor = FeatureExtractor(backend)
            features = extractor.extract(
                protocol.records, progress=False, distributed=True, stack=images
            )

            def score() -> dict[str, float]:
                result = evaluate(features, protocol)
                return {"R-1": result.cmc(1).mean, "mAP": result.mean_ap.mean}

            found: dict[str, float] = broadcast(score)
            return found

        yield validate
