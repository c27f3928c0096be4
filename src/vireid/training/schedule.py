"""Learning rates as a function of the place in training."""

from __future__ import annotations

import math

from vireid.methods import Optimisation

__all__ = ["rate_factor"]


def rate_factor(options: Optimisation, epoch: float) -> float:
    """What the learning rates are multiplied by.

    Args:
        options: Warm-up and schedule.
        epoch: Training time in epochs, with its fraction, from 0.

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
