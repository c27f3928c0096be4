"""The training loop, top to bottom.

Every random draw is a function of (seed, epoch, step) and of nothing else, so that a run that was
stopped anywhere and resumed is bit-equal, on a CPU, to one that was not.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer

from vireid.data.sampler import Part
from vireid.distributed.comm import (
    any_rank,
    broadcast,
    check_same_on_all_ranks,
    is_main_process,
    rank,
    world_size,
)
from vireid.distributed.sync_norm import convert_sync_batchnorm
from vireid.errors import ConfigError, RunError, TrainingError
from vireid.log import log
from vireid.methods import Losses, Method, Optimisation, Phase
from vireid.nn import use_fast_convolutions
from vireid.runs import Run, RunFolder, checkpoint
from vireid.runs.checkpoint import Progress
from vireid.training.batches import TrainingSet, mix_seed
from vireid.training.collapse import collapse, cosines
from vireid.training.fabric import (
    check_distributed,
    check_parts,
    equalise_buffers,
    open_fabric,
    separate_parts,
)
from vireid.training.progress import EpochBar, TensorBoard, format_epoch
from vireid.training.schedule import rate_factor
from vireid.types import CrossModalBatch, Modality

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.wrappers import _FabricModule, _FabricOptimizer

__all__ = ["Validate", "build_optimizer", "fit"]

Validate = Callable[[Method], Mapping[str, float]]
"""Scores a network in training on identities that are held out; the scores hold ``mAP``."""


def fit(
    run: Run,
    out: Path,
    *,
    resume: bool = False,
    keep: int = 2,
    tensorboard: bool = False,
    progress_bar: bool = True,
    cache: Path | None = None,
    validate: Validate | None = None,
    sync_batchnorm: bool = True,
) -> Path:
    """Train a method and leave a run folder.

    Within :func:`vireid.distributed.comm.process_group` every process calls this with the same
    arguments, and
    works on its own identities of each batch; what comes out is what one process would make of the
    whole batch, up to rounding. The first process alone writes files and speaks.

    Args:
        run: What to train, on what, and how.
        out: The run folder.
        resume: Continue the run that is in ``out`` from its newest whole checkpoint.
        keep: How many checkpoints to keep.
        tensorboard: Also write the metrics for TensorBoard, into ``out/tensorboard``.
        progress_bar: Show a bar with loss terms and images/s.
        cache: Where decoded images are kept (:class:`~vireid.data.cache.PackedImages`); None
            decodes them in every epoch.
        validate: Called with the network after each epoch; it must leave the network as it is. A
            run with ``select="validation"`` needs it: the epoch of the highest mAP then becomes
            the model, the earlier one of equals. All processes call it.
        sync_batchnorm: Let batch norms see the images of all processes, as one process would.

    Returns:
        ``out``.

    Raises:
        RunError: If ``out`` is not empty and ``resume`` is false, it cannot be resumed (by this
            number of processes), or another process is training into it.
        ConfigError: If the run selects by validation and ``validate`` is missing, or the processes
            cannot share this method or this batch.
        ProcessError: If the processes have other options or other images than one another.
        DatasetError: If the data set is not laid out as published.
        WeightsError: If the backbone's weights do not fit.
        TrainingError: If a loss is not finite.
        SystemExit: With status 143 after SIGTERM, once the state is saved.
    """
    folder = RunFolder(out)
    broadcast(lambda: _check(folder, run, resume=resume, validates=validate is not None))
    epochs = run.recipe.optimisation.epochs
    part = Part(rank(), world_size())
    fabric = open_fabric(run)
    fabric.launch()

    with (
        TrainingSet(run, cache=cache, part=part) as data,
        _sigterm() as stopped,
        contextlib.ExitStack() as holding,
    ):
        if data.report:
            log(data.report)
        _check_same(run, data, sync_batchnorm=sync_batchnorm)
        saved = broadcast(lambda: _newest(folder)) if resume else None
        network, optimizer, place = _begin(run, saved, data.classes, sync_batchnorm=sync_batchnorm)
        broadcast(lambda: holding.enter_context(folder.alone()))
        books = _Books(run, folder, network, optimizer, keep=keep, tensorboard=tensorboard)
        if saved:
            log(f"Resuming '{out}' at epoch {place.epoch + 1}, step {place.step + 1}.")
        model, stepper = fabric.setup(network, optimizer)
        model.mark_forward_method("step_losses")
        model.train()
        data.preload(progress=progress_bar)

        while place.epoch < epochs:
            bar = EpochBar(place.epoch, epochs, data.steps, done=place.step, show=progress_bar)
            for batch in data.batches(place.epoch, place.step, fabric.to_device):
                seen = _step(
                    run,
                    batch,
                    fabric=fabric,
                    model=model,
                    optimizer=stepper,
                    place=place,
                    steps=data.steps,
                )
                place.add(seen)
                bar.update(place.means, len(batch.visible_labels) + len(batch.infrared_labels))
                # All have to leave after the same step, whenever each of them is told to.
                if any_rank(bool(stopped)):
                    break
            bar.close()
            if place.step == data.steps:
                line = _summary(place, bar, stepper)
                if validate is not None:
                    equalise_buffers(network)
                    line["validation"] = dict(validate(network))
                    if run.select == "validation":
                        books.keep_best(line, place, classes=data.classes)
                place.finish_epoch(line)
                if warning := collapse(place.history, classes=data.classes, steps=data.steps):
                    line["warning"] = warning
                    log(warning)
                log(format_epoch(line, epochs))
                books.log(line)
            books.save(place)
            if any_rank(bool(stopped)) and place.epoch < epochs:
                _leave(f"Stopped by SIGTERM; continue with `vireid train --resume {out}`.")
        if is_main_process():
            log(_finish(run, folder, network, place, data=data, fabric=fabric))
        if stopped:
            _leave("Stopped by SIGTERM.")  # whoever trains several runs must not go on to the next
    return out


def _begin(
    run: Run, saved: str | None, classes: int, *, sync_batchnorm: bool
) -> tuple[Method, Optimizer, Progress]:
    """The network and its optimiser as they are before the next step."""
    torch.manual_seed(run.seed)
    # A checkpoint replaces what training started from, which need not be there any more.
    start = replace(run.recipe.method, weights="none") if saved else run.recipe.method
    network = use_fast_convolutions(start.build(classes=classes)).to(
        memory_format=torch.channels_last
    )
    check_distributed(network, run.name)
    if run.precision == "64-true":
        network.double()  # before it is given the state that it had
    if sync_batchnorm and world_size() > 1:
        convert_sync_batchnorm(network)
    if run.compile:
        # Part by part, in place: names of parameters stay, and losses are computed as ever.
        for part in network.children():
            part.compile()
    optimizer = build_optimizer(network, run.recipe.optimisation)
    place = Progress(parts=separate_parts(network, sync_batchnorm=sync_batchnorm))
    if saved:
        parts, place = place.parts, checkpoint.load(Path(saved), network, optimizer)
        check_parts(place.parts, parts)
    return network, optimizer, place


class _Books:
    """The run folder while training goes on; the first process alone writes to it.

    Args:
        run: What goes into ``config.yaml``.
        folder: The run folder.
        network: What is trained.
        optimizer: Its optimiser.
        keep: How many checkpoints stay.
        tensorboard: Whether the metrics are written for TensorBoard too.
    """

    def __init__(
        self,
        run: Run,
        folder: RunFolder,
        network: Method,
        optimizer: Optimizer,
        *,
        keep: int,
        tensorboard: bool,
    ) -> None:
        self._folder, self._network, self._optimizer = folder, network, optimizer
        self._keep = keep
        self._board: TensorBoard | None = None
        if is_main_process():
            folder.start(run)
        if tensorboard and is_main_process():
            self._board = TensorBoard(folder.path / "tensorboard")

    def save(self, place: Progress) -> None:
        """Write a checkpoint, and the metrics so far."""
        if is_main_process():
            checkpoint.write(
                self._folder.checkpoints, self._network, self._optimizer, place, keep=self._keep
            )
            self._folder.write_metrics(place.history)

    def log(self, line: Mapping[str, Any]) -> None:
        """Write an epoch for TensorBoard."""
        if self._board is not None:
            self._board.log(line)

    def keep_best(self, line: Mapping[str, Any], place: Progress, *, classes: int) -> None:
        """Write an epoch's network if it is better in validation than all before it."""
        mean_ap: float = line["validation"]["mAP"]
        is_best = all(mean_ap > before["validation"]["mAP"] for before in place.history)
        if is_best and is_main_process():
            self._folder.write_model(self._network.state_dict(), classes=classes, best=True)


def _step(
    run: Run,
    batch: CrossModalBatch,
    *,
    fabric: Fabric,
    model: _FabricModule,
    optimizer: _FabricOptimizer,
    place: Progress,
    steps: int,
) -> dict[str, float]:
    """One optimisation step, turn by turn; returns what the metrics report of it."""
    options = run.recipe.optimisation
    phase, before = _phase(model, options.epochs, place.epoch)
    epoch = place.epoch - before + place.step / steps
    # What draws inside of the network (dropout) draws for this process's images alone.
    torch.manual_seed(mix_seed(run.seed, place.epoch, place.step, rank()))
    for group in optimizer.param_groups:
        factor = rate_factor(replace(options, epochs=phase.epochs), epoch)
        group["lr"] = group["base_lr"] * factor
    dtype = optimizer.param_groups[0]["params"][0].dtype
    batch = batch._replace(visible=batch.visible.to(dtype), infrared=batch.infrared.to(dtype))
    seen: dict[str, float] = {}
    for step in phase.steps:
        # On one device Fabric calls a marked method as it is, without the precision's context.
        with fabric.autocast():
            losses: Losses = model.step_losses(batch, step.name)
        total = losses.total
        if not torch.isfinite(total):
            raise TrainingError(_not_finite(losses, batch, place))
        optimizer.zero_grad()
        fabric.backward(total)
        for group in optimizer.param_groups:
            if group["name"] not in step.groups:
                # An optimiser leaves alone what has no gradient: no step, no decay, no moment.
                for parameter in group["params"]:
                    parameter.grad = None
        if options.clip > 0:
            fabric.clip_gradients(model, optimizer, max_norm=options.clip, error_if_nonfinite=False)
        optimizer.step()
        seen |= _observe(losses, batch)
    return seen


def _phase(model: Method | _FabricModule, epochs: int, epoch: int) -> tuple[Phase, int]:
    """The phase that an epoch belongs to, and the epochs before that phase."""
    before = 0
    phases: tuple[Phase, ...] = model.phases(epochs)
    for phase in phases:
        if epoch < before + phase.epochs:
            return phase, before
        before += phase.epochs
    raise ValueError(f"Phases {phases} do not add up to {epochs} epochs.")


def build_optimizer(model: Method, options: Optimisation) -> Optimizer:
    """The optimiser of a recipe, one group of parameters a learning rate."""
    rates = {"backbone": options.backbone_lr, "heads": options.lr, **model.group_lrs()}
    groups: list[dict[str, Any]] = [
        {"params": parameters, "name": name, "lr": rates[name], "base_lr": rates[name]}
        for name, parameters in model.parameter_groups().items()
    ]
    if options.optimizer == "sgd":
        return SGD(
            groups, momentum=0.9, nesterov=True, weight_decay=options.weight_decay, fused=True
        )
    kind = Adam if options.optimizer == "adam" else AdamW
    return kind(groups, weight_decay=options.weight_decay, fused=True)


def _finish(
    run: Run,
    folder: RunFolder,
    network: Method,
    place: Progress,
    *,
    data: TrainingSet,
    fabric: Fabric,
) -> str:
    """Fit what is fitted last, write the model, and say which one it is."""
    chosen = ""
    if run.select == "validation":
        network.load_state_dict(folder.read_model(best=True)[0])
        best = max(place.history, key=lambda line: line["validation"]["mAP"])  # first of equals
        mean_ap = 100 * best["validation"]["mAP"]
        chosen = f", of epoch {best['epoch']} by validation mAP {mean_ap:.2f}"
    if network.needs_fit:
        _fit(network, data, fabric)
    name = folder.write_model(network.state_dict(), classes=data.classes)
    return f"Finished: '{folder.path}', weights {name}{chosen}."


@torch.no_grad()
def _fit(network: Method, data: TrainingSet, fabric: Fabric) -> None:
    """Let a method fit its last stage to the features of all training images."""
    network.eval()
    found: dict[Modality, tuple[Tensor, Tensor]] = {}
    for modality in Modality:
        rows, labels = [], []
        for images, own in data.plain(modality, fabric.to_device):
            with fabric.autocast():
                rows.append(network.extract_features(images, modality).float())
            labels.append(own)
        found[modality] = torch.cat(rows), torch.cat(labels)
    visible, infrared = found[Modality.VISIBLE], found[Modality.INFRARED]
    network.fit(visible[0], infrared[0], visible[1], infrared[1])


def _check_same(run: Run, data: TrainingSet, *, sync_batchnorm: bool) -> None:
    """Refuse processes that would train something else than one another."""
    anywhere = replace(run, data=run.data.at(Path()))
    check_same_on_all_ranks(
        "options", f"{anywhere} {sync_batchnorm}", mend="start all of them by the same command"
    )
    check_same_on_all_ranks(
        "training images",
        data.listing,
        mend=f"let '{run.data.root}' hold the same files on every machine",
    )


def _check(folder: RunFolder, run: Run, *, resume: bool, validates: bool) -> None:
    """Refuse to resume another run, to write over one, and to select by what is not measured."""
    if run.select == "validation" and not validates:
        raise ConfigError(
            "select='validation' needs the argument validate=; expected a function that scores the "
            "network on held-out identities: vireid.cli.train.train_run passes one."
        )
    if resume and folder.read_config() != run:
        raise RunError(
            f"The run '{folder.path}' was made with other options than these; a resumed run "
            f"takes all of them from its config.yaml: `vireid train --resume {folder.path}`."
        )
    if not resume and folder.path.exists() and any(folder.path.iterdir()):
        raise RunError(
            f"'{folder.path}' is not empty; continue the run that is there with `vireid train "
            f"--resume {folder.path}`, or choose another folder with --out."
        )


def _newest(folder: RunFolder) -> str | None:
    """The newest whole checkpoint; without any, training starts at its beginning."""
    path, damaged = checkpoint.newest(folder.checkpoints)
    for warning in damaged:
        log(warning)
    return str(path) if path else None


def _observe(losses: Losses, batch: CrossModalBatch) -> dict[str, float]:
    """What the metrics report of one step."""
    seen: dict[str, Tensor] = {f"terms.{name}": term for name, term in losses.terms.items()}
    if losses.identity is not None:
        seen["identity_loss"] = losses.identity
    if losses.accuracy is not None:
        seen["accuracy"] = losses.accuracy
    if losses.features is not None:
        labels = torch.cat([batch.visible_labels, batch.infrared_labels])
        seen["cosine_same"], seen["cosine_different"] = cosines(
            losses.features, labels, len(batch.visible_labels)
        )
    seen |= losses.metrics
    return {name: value.detach().item() for name, value in seen.items()}


def _summary(place: Progress, bar: EpochBar, optimizer: Optimizer) -> dict[str, Any]:
    """A line of ``metrics.jsonl``."""
    means = place.means
    return {
        "epoch": place.epoch + 1,
        "terms": {k.removeprefix("terms."): v for k, v in means.items() if "terms." in k},
        **{k: v for k, v in means.items() if "terms." not in k},
        "lr": max(float(group["lr"]) for group in optimizer.param_groups),
        "seconds": round(bar.seconds, 3),
        "images_per_second": round(bar.rate, 1),
    }


def _not_finite(losses: Losses, batch: CrossModalBatch, place: Progress) -> str:
    values = ", ".join(f"{name} {term.item():g}" for name, term in losses.terms.items())
    return (
        f"The loss is not finite in epoch {place.epoch + 1}, step {place.step + 1} ({values}). The "
        f"batch holds {len(batch.names)} images: {', '.join(batch.names)}. Lower --lr, clip "
        "gradients with --clip 20, or use --precision 32-true; the last checkpoint is whole."
    )


def _leave(words: str) -> NoReturn:
    """End the process as SIGTERM asked."""
    log(words)
    raise SystemExit(128 + signal.SIGTERM)


@contextlib.contextmanager
def _sigterm() -> Iterator[list[int]]:
    """A list that is no longer empty once SIGTERM came."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        # Only the main thread may install a handler; elsewhere the caller owns the process.
        yield received
        return
    before = signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
    try:
        yield received
    finally:
        signal.signal(signal.SIGTERM, before)
