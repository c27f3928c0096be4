"""Training: one readable loop, checkpoints that survive a kill, and the run folder."""

from vireid.training.loop import Validate, train
from vireid.training.run import Run, RunFolder

__all__ = ["Run", "RunFolder", "Validate", "train"]
