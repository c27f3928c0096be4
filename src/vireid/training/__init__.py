"""Training: one loop, augmented batches, and warnings when training collapses."""

from vireid.training.loop import Validate, fit

__all__ = ["Validate", "fit"]
