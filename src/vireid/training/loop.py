"""The training algorithm.

Every random draw is a function of (seed, epoch, step) and of nothing else, so a run that is stopped
anywhere and resumed is bit-equal, on a CPU, to one that is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vireid.errors import TrainingError
from vireid.methods import Losses, OptimizerStep
from vireid.runs import Run
from vireid.training.collapse import mean_cosines
from vireid.training.loggers import LoggerName
from vireid.training.optimization import current_phase, set_learning_rates
from vireid.training.session import RunSession, Validate
from vireid.types import CrossModalBatch

__all__ = ["fit"]


def fit(
    run: Run,
    out: Path,
    *,
    resume: bool = False,
    keep: int = 2,
    loggers: Sequence[LoggerName] = (),
    progress_bar: bool = True,
    cache: Path | None = None,
    validate: Validate | None = None,
    sync_batchnorm: bool = True,
) -> Path:
    """Train a method into a run folder.

    Within :func:`vireid.distributed.comm.process_group` every process calls this with the same
    arguments and works on its own identities of each batch; the result is that of one process with
    the whole batch, up to rounding. Only the main process writes files and messages.

    Args:
        run: The method, its data and its options.
        out: The run folder.
        resume: Continue the run in ``out`` from its newest intact checkpoint.
        keep: Number of checkpoints to keep.
        loggers: Also write the metrics for these tools, into ``out/tensorboard`` or ``out/wandb``.
        progress_bar: Show a bar with loss terms, images/s and the time left.
        cache: Folder of the packed image cache (:class:`~vireid.data.cache.PackedImages`); None
            decodes the images in every epoch.
        validate: Called with the network after each epoch, by all processes; it must not change the
            network. ``select="validation"`` requires it: the epoch with the highest mAP, the first
            of equals, then becomes the model.
        sync_batchnorm: Compute batch-norm statistics over the images of all processes.

    Returns:
        ``out``.

    Raises:
        RunError: If ``out`` is not empty and ``resume`` is false, the run cannot be resumed (by
            this number of processes), or another process is training into the folder.
        ConfigError: If the run selects by validation without ``validate``, or the processes cannot
            share this method or this batch.
        ProcessError: If the processes differ in their options or images.
        DatasetError: If the data set is not laid out as published.
        WeightsError: If the backbone's weights do not fit.
        TrainingError: If a loss is not finite.
        ExportError: If the package of a logger is not installed.
        SystemExit: With status 143 after SIGTERM or 130 after Ctrl-C, once the state is saved.
    """
    options = run.recipe.optimisation
    with RunSession(
        run,
        out,
        resume=resume,
        keep=keep,
        loggers=loggers,
        progress_bar=progress_bar,
        cache=cache,
        validate=validate,
        sync_batchnorm=sync_batchnorm,
    ) as session:
        fabric, model, optimizer = session.fabric, session.model, session.optimizer
        for epoch in session.epochs():
            phase, start = current_phase(session.network, options.epochs, epoch)
            for batch in session.batches():
                elapsed = epoch - start + session.state.step / session.data.steps
                set_learning_rates(optimizer.param_groups, options, elapsed, epochs=phase.epochs)
                metrics: dict[str, float] = {}
                for step in phase.steps:
                    # On one device Fabric calls a marked method without the precision's context.
                    with fabric.autocast():
                        losses: Losses = model.step_losses(batch, step.name)
                    _check_finite(losses, batch, session)
                    optimizer.zero_grad()
                    fabric.backward(losses.total)
                    _freeze_other_groups(optimizer.param_groups, step)
                    if options.clip > 0:
                        fabric.clip_gradients(
                            model, optimizer, max_norm=options.clip, error_if_nonfinite=False
                        )
                    optimizer.step()
                    metrics |= _metrics(losses, batch)
                session.state.add_step(metrics)
        session.finish()
    return out


def _freeze_other_groups(groups: Sequence[Mapping[str, Any]], step: OptimizerStep) -> None:
    """Drop the gradients of the groups that a step does not train."""
    for group in groups:
        if group["name"] not in step.groups:
            # Without a gradient there is no update, no weight decay and no change of moments.
            for parameter in group["params"]:
                parameter.grad = None


def _metrics(losses: Losses, batch: CrossModalBatch) -> dict[str, float]:
    """The metrics of one optimizer step."""
    seen: dict[str, Tensor] = {f"terms.{name}": term for name, term in losses.terms.items()}
    if losses.identity is not None:
        seen["identity_loss"] = losses.identity
    if losses.accuracy is not None:
        seen["accuracy"] = losses.accuracy
    if losses.features is not None:
        labels = torch.cat([batch.visible_labels, batch.infrared_labels])
        seen["cosine_same"], seen["cosine_different"] = mean_cosines(
            losses.features.detach(), labels, len(batch.visible_labels)
        )
    seen |= losses.metrics
    return {name: value.detach().item() for name, value in seen.items()}


def _check_finite(losses: Losses, batch: CrossModalBatch, session: RunSession) -> None:
    """Stop with the names of the batch's images if the loss is not finite."""
    if torch.isfinite(losses.total):
        return
    values = ", ".join(f"{name} {term.item():g}" for name, term in losses.terms.items())
    state = session.state
    raise TrainingError(
        f"The loss is not finite in epoch {state.epoch + 1}, step {state.step + 1} ({values}). The "
        f"batch holds {len(batch.names)} images: {', '.join(batch.names)}. The last "
        "checkpoint is intact. Train again with `vireid train RECIPE` and a lower --lr, with "
        "--clip 20 or with --precision 32-true."
    )
