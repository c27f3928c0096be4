"""The optimizer of a recipe, its phases and its learning rates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch.optim import SGD, Adam, AdamW, Optimizer

from vireid.methods import Method, Optimisation, Phase

__all__ = ["build_optimizer", "current_phase", "rate_factor", "set_learning_rates"]


def build_optimizer(model: Method, options: Optimisation) -> Optimizer:
    """The optimizer of a recipe, with one parameter group for each learning rate."""
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


def current_phase(model: Method, epochs: int, epoch: int) -> tuple[Phase, int]:
    """The phase that contains an epoch, and the phase's first epoch.

    Raises:
        ValueError: If the phases are shorter than the training.
    """
    phases, start = model.phases(epochs), 0
    for phase in phases:
        if epoch < start + phase.epochs:
            return phase, start
        start += phase.epochs
    raise ValueError(f"Phases {phases} do not add up to {epochs} epochs.")


def set_learning_rates(
    groups: Sequence[dict[str, Any]], options: Optimisation, epoch: float, *, epochs: int
) -> None:
    """Set the learning rate of each parameter group.

    Args:
        groups: The parameter groups of :func:`build_optimizer`.
        options: Warm-up and schedule.
        epoch: Epochs since the start of the phase, with the fraction.
        epochs: Length of the phase.
    """
    factor = rate_factor(replace(options, epochs=epochs), epoch)
    for group in groups:
        group["lr"] = group["base_lr"] * factor


def rate_factor(options: Optimisation, epoch: float) -> float:
    """The factor that multiplies the learning rates.

    Args:
        options: Warm-up and schedule.
        epoch: Epochs since the start, with the fraction.

    Returns:
        A factor in (0, 1].
    """
    if epoch < options.warmup:
        return 0.1 + 0.9 * epoch / options.warmup
    if options.schedule == "step":
        # 0.1 ** 0 and so on: a tenth from each milestone on.
        return float(0.1 ** sum(epoch >= milestone for milestone in options.milestones))
    done = (epoch - options.warmup) / max(options.epochs - options.warmup, 1e-9)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
