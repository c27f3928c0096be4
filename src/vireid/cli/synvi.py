"""``vireid synvi``: render synthetic people."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated, Literal

import tyro

from vireid.errors import ConfigError, many
from vireid.log import echo

__all__ = ["require_renderer", "synvi"]


def require_renderer() -> None:
    """Check that the packages that render are installed.

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
    layout: Literal["sysu-mm01", "regdb", "worlds", "video"] = "sysu-mm01",
    preset: Literal["demo", "standard", "pretrain"] = "demo",
    seed: int = 0,
    workers: int | None = None,
) -> None:
    """Render SynVI: synthetic people in the layout of SYSU-MM01 or RegDB.

    Run the same command again to continue after an interruption. The same seed gives the same
    bytes. Results on synthetic people say nothing about real people.

    Args:
        out: Output folder.
        layout: Data set whose layout is written; worlds: a manifest of people in visible,
            near-infrared and thermal images of random cameras, to train networks for other data;
            video: frames of people who walk past six such cameras, with boxes and identities.
        preset: demo, 160 identities (worlds: 80), takes 1 to 3 minutes on two cores; standard, 410
            identities, 6 to 20 minutes; pretrain (worlds), 2,200 identities, 10 to 30 minutes. Of
            video, demo is 10 people and half a minute a camera, standard 25 people and four
            minutes. The first call takes up to 30 seconds more.
        seed: Random seed.
        workers: Number of processes; one per core by default.
    """
    require_renderer()
    from vireid import synvi as renderer

    if layout == "video":
        done = renderer.render_video(out, preset=preset, seed=seed, workers=workers)
    else:
        done = renderer.render(out, layout=layout, preset=preset, seed=seed, workers=workers)
    echo(
        f"'{out}' has {many(done.images, 'image')} of"
        f" {many(done.identities, 'identity', 'identities')}; rendered "
        f"{done.rendered:,} of them in {done.seconds:.0f} s."
    )
