"""``vireid synvi``: render synthetic people."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated, Literal

import tyro

from vireid.errors import ConfigError

__all__ = ["require_renderer", "synvi"]


def require_renderer() -> None:
    """Refuse to go on where the packages that render are not installed.

    Raises:
        ConfigError: One of them is missing.
    """
    missing = [name for name in ("anny", "warp") if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"synthetic people need the packages anny and warp, and {' and '.join(missing)} cannot "
            "be found; install them with `pip install 'vireid[synvi]'`."
        )


def synvi(
    out: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    layout: Literal["sysu-mm01", "regdb"] = "sysu-mm01",
    preset: Literal["demo", "standard"] = "demo",
    seed: int = 0,
    workers: int | None = None,
) -> None:
    """Render SynVI: synthetic people in the layout of SYSU-MM01 or RegDB.

    Run the same command again to continue after an interruption. The same seed gives the same
    bytes. Results on synthetic people say nothing about real people.

    Args:
        out: Output folder.
        layout: Data set whose layout is written.
        preset: demo renders in about a minute on two cores; standard is for experiments.
        seed: Random seed.
        workers: Number of processes; one per core by default.
    """
    require_renderer()
    from vireid import synvi as renderer

    print(renderer.render(out, layout=layout, preset=preset, seed=seed, workers=workers))
