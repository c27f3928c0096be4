"""``vireid synvi``: render synthetic people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro

from vireid.data import synvi as renderer

__all__ = ["synvi"]


def synvi(
    out: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    layout: Literal["sysu-mm01", "regdb"] = "sysu-mm01",
    preset: Literal["demo", "standard"] = "demo",
    seed: int = 0,
    workers: int | None = None,
) -> None:
    """Render SynVI, synthetic people in the exact layout of SYSU-MM01 or RegDB.

    Interrupted, it goes on where it was when called again. The same seed gives the same bytes.
    Its numbers say nothing about real people.

    Args:
        out: The folder to write to.
        layout: Which published data set's form to write.
        preset: demo renders in about a minute on two cores; standard is for experiments.
        seed: Seed of every random draw.
        workers: Processes; one a core by default.
    """
    print(renderer.render(out, layout=layout, preset=preset, seed=seed, workers=workers))
