"""Training: the algorithm, augmented batches, and warnings when training collapses."""

from vireid.training.loggers import LoggerName
from vireid.training.loop import fit
from vireid.training.session import Validate

__all__ = ["LoggerName", "Validate", "fit"]
