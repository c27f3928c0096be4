"""Run folders: what a training was asked to do, its checkpoints and the model it left."""

from vireid.runs.run import Run, RunFolder

__all__ = ["Run", "RunFolder"]
