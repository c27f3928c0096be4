"""Training: one loop, augmented batches, and warnings when training collapses."""

from vireid.training.loop import Validate, train

__all__ = ["Validate", "train"]
