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
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.wrappers import _FabricModule, _FabricOptimizer
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer

from vireid.errors import ConfigError, RunError, TrainingError
from vireid.methods import Losses, Method, Optimisation
from vireid.say import say
from vireid.training import checkpoint
from vireid.training.batches import TrainingSet, mix_seed
from vireid.training.checkpoint import Progress
from vireid.training.narrate import EpochBar, TensorBoard, sentence
from vireid.training.run import Run, RunFolder
from vireid.training.schedule import rate_factor
from vireid.training.watch import collapse, cosines
from vireid.types import CrossModalBatch

__all__ = ["Validate", "build_optimizer", "train"]

Validate = Callable[[Method], Mapping[str, float]]
"""Scores a network in training on identities that are held out; the scores hold ``mAP``."""


def train(
    run: Run,
    out: Path,
    *,
    resume: bool = False,
    keep: int = 2,
    tensorboard: bool = False,
    progress_bar: bool = True,
    cache: Path | None = None,
    validate: Validate | None = None,
) -> Path:
    """Train a method and leave a run folder.

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
            the model, the earlier one of equals.

    Returns:
        ``out``.

    Raises:
        RunError: If ``out`` is not empty and ``resume`` is false, or it cannot be resumed.
        ConfigError: If the run selects by validation and ``validate`` is missing.
        DatasetError: If the data set is not laid out as published.
        WeightsError: If the backbone's weights do not fit.
        TrainingError: If a loss is not finite.
        SystemExit: With status 143 after SIGTERM, once the state is saved.
    """
    folder = RunFolder(out)
    _check(folder, run, resume=resume, validates=validate is not None)
    epochs = run.recipe.optimisation.epochs
    fabric = Fabric(accelerator=run.device, devices=1, precision=run.precision)
    fabric.launch()

    with TrainingSet(run, cache=cache) as data, _sigterm() as stopped:
        if data.report:
            say(data.report)
        saved = _newest(folder) if resume else None
        torch.manual_seed(run.seed)
        # A checkpoint replaces what training started from, which need not be there any more.
        start = replace(run.recipe.method, weights="none") if saved else run.recipe.method
        network = start.build(classes=data.classes).to(memory_format=torch.channels_last)
        optimizer = build_optimizer(network, run.recipe.optimisation)
        folder.start(run)
        place = checkpoint.load(saved, network, optimizer) if saved else Progress()
        if saved:
            say(f"Resuming '{out}' at epoch {place.epoch + 1}, step {place.step + 1}.")
        model, stepper = fabric.setup(network, optimizer)
        model.mark_forward_method("losses")
        model.train()
        board = TensorBoard(out / "tensorboard") if tensorboard else None
        data.preload(progress=progress_bar)

        while place.epoch < epochs:
            bar = EpochBar(place.epoch, epochs, data.steps, done=place.step, show=progress_bar)
            for batch in data.batches(place.epoch, place.step, fabric.to_device):
                losses = _step(
                    run,
                    batch,
                    fabric=fabric,
                    model=model,
                    optimizer=stepper,
                    place=place,
                    steps=data.steps,
                )
                place.add(_observe(losses, batch))
                bar.update(place.means, len(losses.descriptors))
                if stopped:
                    break
            bar.close()
            if place.step == data.steps:
                line = _summary(place, bar, stepper)
                if validate is not None:
                    line["validation"] = dict(validate(network))
                    _keep_best(run, folder, network, line, place, classes=data.classes)
                place.finish_epoch(line)
                if warning := collapse(place.history, classes=data.classes, steps=data.steps):
                    line["warning"] = warning
                    say(warning)
                say(sentence(line, epochs))
                if board is not None:
                    board.log(line)
            checkpoint.write(folder.checkpoints, network, optimizer, place, keep=keep)
            folder.write_metrics(place.history)
            if stopped and place.epoch < epochs:
                say(f"Stopped by SIGTERM; continue with `vireid train --resume {out}`.")
                raise SystemExit(128 + signal.SIGTERM)
        say(_finish(run, folder, network, place, classes=data.classes))
    return out


def _step(
    run: Run,
    batch: CrossModalBatch,
    *,
    fabric: Fabric,
    model: _FabricModule,
    optimizer: _FabricOptimizer,
    place: Progress,
    steps: int,
) -> Losses:
    """One optimisation step."""
    options = run.recipe.optimisation
    epoch = place.epoch + place.step / steps
    torch.manual_seed(mix_seed(run.seed, place.epoch, place.step))
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * rate_factor(options, epoch)
    losses: Losses = model.losses(batch)
    total = losses.total
    if not torch.isfinite(total):
        raise TrainingError(_not_finite(losses, batch, place))
    optimizer.zero_grad()
    fabric.backward(total)
    if options.clip > 0:
        fabric.clip_gradients(model, optimizer, max_norm=options.clip, error_if_nonfinite=False)
    optimizer.step()
    return losses


def build_optimizer(model: Method, options: Optimisation) -> Optimizer:
    """The optimiser of a recipe, one group of parameters a learning rate."""
    rates = {"backbone": options.backbone_lr, "heads": options.lr}
    groups: list[dict[str, Any]] = [
        {"params": parameters, "lr": rates[name], "base_lr": rates[name]}
        for name, parameters in model.parameter_groups().items()
    ]
    if options.optimizer == "sgd":
        return SGD(groups, momentum=0.9, nesterov=True, weight_decay=options.weight_decay)
    kind = Adam if options.optimizer == "adam" else AdamW
    return kind(groups, weight_decay=options.weight_decay)


def _keep_best(
    run: Run,
    folder: RunFolder,
    network: Method,
    line: Mapping[str, Any],
    place: Progress,
    *,
    classes: int,
) -> None:
    """Write an epoch's network if it is better on the validation identities than all before it."""
    mean_ap: float = line["validation"]["mAP"]
    is_best = all(mean_ap > before["validation"]["mAP"] for before in place.history)
    if run.select == "validation" and is_best:
        folder.write_model(network.state_dict(), classes=classes, best=True)


def _finish(run: Run, folder: RunFolder, network: Method, place: Progress, *, classes: int) -> str:
    """Write the model, and say which one it is."""
    state, chosen = network.state_dict(), ""
    if run.select == "validation":
        state, _, _ = folder.read_model(best=True)
        best = max(place.history, key=lambda line: line["validation"]["mAP"])  # first of equals
        mean_ap = 100 * best["validation"]["mAP"]
        chosen = f", of epoch {best['epoch']} by validation mAP {mean_ap:.2f}"
    name = folder.write_model(state, classes=classes)
    return f"Finished: '{folder.path}', weights {name}{chosen}."


def _check(folder: RunFolder, run: Run, *, resume: bool, validates: bool) -> None:
    """Refuse to resume another run, to write over one, and to select by what is not measured."""
    if run.select == "validation" and not validates:
        raise ConfigError(
            "select='validation' needs the argument validate=; expected a function that scores the "
            "network on held-out identities: vireid.commands.train.train_run passes one."
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


def _newest(folder: RunFolder) -> Path | None:
    """The newest whole checkpoint; without any, training starts at its beginning."""
    path, damaged = checkpoint.newest(folder.checkpoints)
    for warning in damaged:
        say(warning)
    return path


def _observe(losses: Losses, batch: CrossModalBatch) -> dict[str, float]:
    """What the metrics report of one step."""
    labels = torch.cat([batch.visible_labels, batch.infrared_labels])
    same, different = cosines(losses.descriptors, labels, len(batch.visible_labels))
    seen: Mapping[str, Tensor] = {
        **{f"terms.{name}": term for name, term in losses.terms.items()},
        "identity_loss": losses.identity,
        "accuracy": losses.accuracy,
        "cosine_same": same,
        "cosine_different": different,
    }
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
