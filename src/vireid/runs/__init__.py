"""Run folders: a training's configuration, its checkpoints and the trained network."""

from vireid.runs.config import Adaptation, Device, Precision, Run, RunOptions, Selection, Start
from vireid.runs.folder import RunFolder
from vireid.runs.resolve import resolve_model
from vireid.runs.start import start_from

__all__ = [
    "Adaptation",
    "Device",
    "Precision",
    "Run",
    "RunFolder",
    "RunOptions",
    "Selection",
    "Start",
    "resolve_model",
    "start_from",
]
