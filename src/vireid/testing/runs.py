"""Comparison of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vireid.runs import RunFolder

__all__ = ["WALL_CLOCK", "metrics", "same_run"]

WALL_CLOCK = ("seconds", "images_per_second")
"""The metrics that depend on the clock."""


def metrics(run: Path) -> list[dict[str, Any]]:
    """The metrics of a run that do not depend on the clock, by epoch.

    Args:
        run: The run folder.
    """
    lines = RunFolder(run).read_metrics()
    return [{k: v for k, v in line.items() if k not in WALL_CLOCK} for line in lines]


def same_run(a: Path, b: Path) -> bool:
    """Whether two finished runs have the same bits and metrics.

    Args:
        a: A run folder.
        b: Another.
    """
    model = (a / "model.safetensors").read_bytes() == (b / "model.safetensors").read_bytes()
    return model and metrics(a) == metrics(b)
