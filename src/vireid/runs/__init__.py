"""Run folders: a training's configuration, its checkpoints and the trained network."""

from vireid.runs.config import Device, Precision, Run, RunOptions, Selection
from vireid.runs.folder import RunFolder

__all__ = ["Device", "Precision", "Run", "RunFolder", "RunOptions", "Selection"]
