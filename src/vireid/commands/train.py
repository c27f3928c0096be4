"""``vireid train RECIPE``: train a method into a run folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Protocol

import tyro
from tyro.extras import SubcommandApp

from vireid.data.layouts import LayoutName
from vireid.methods import DLISConfig, Recipe, dlis, tslfn
from vireid.training import Run, RunFolder
from vireid.training import train as run_training
from vireid.training.run import Device, Precision

__all__ = ["app", "recipes", "resume"]


def recipes() -> dict[str, Recipe[DLISConfig]]:
    """The recipes by name."""
    return {
        "dlis": dlis.recipe(),
        "dlis-strong": dlis.strong_recipe(),
        "tslfn": tslfn.recipe(),
        "tslfn-strong": tslfn.strong_recipe(),
    }


_HELP = {
    "dlis": "DLIS with PALM, the paper-like recipe (two ResNet-50 streams, SGD, 60 epochs).",
    "dlis-strong": "DLIS with what later work found: good results in few epochs, on a CPU too.",
    "tslfn": "TSLFN with hetero-center loss: the dlis recipe with PALM off.",
    "tslfn-strong": "The dlis-strong recipe with PALM off.",
}


@dataclass(frozen=True, kw_only=True)
class Where:
    """What to train on, where to, and how it runs."""

    layout: LayoutName
    """The data set's published layout."""
    root: Path
    """Where the data set lies."""
    out: Path
    """The run folder to make."""
    trial: int = 1
    """RegDB: which of the ten splits."""
    seed: int = 0
    """Seed of every random draw."""
    precision: Precision = "32-true"
    """Arithmetic of the network; bf16-mixed is bfloat16 autocast, faster where the processor
    knows it."""
    device: Device = "auto"
    """auto takes a GPU when there is one."""
    keep: int = 2
    """How many checkpoints to keep."""
    tensorboard: bool = False
    """Also write the metrics for TensorBoard, into OUT/tensorboard."""


class _Verb(Protocol):
    def __call__(self, where: Where, recipe: Recipe[DLISConfig]) -> None: ...


def app() -> SubcommandApp:
    """``vireid train`` with one sub-command a recipe, and ``--resume``."""
    verbs = SubcommandApp()
    for name, recipe in recipes().items():
        verbs.command(name=name, help=_HELP[name])(_verb(name, recipe))
    verbs.command(is_default=True)(resume)
    return verbs


def _verb(name: str, default: Recipe[DLISConfig]) -> _Verb:
    def verb(where: Where, recipe: Recipe[DLISConfig] = default) -> None:
        run = Run(
            name=name,
            recipe=recipe,
            layout=where.layout,
            root=where.root,
            trial=where.trial,
            seed=where.seed,
            precision=where.precision,
            device=where.device,
        )
        run_training(run, where.out, keep=where.keep, tensorboard=where.tensorboard)

    return verb


def resume(
    *,
    resume: Annotated[Path, tyro.conf.arg(metavar="RUN")],
    keep: int = 2,
    tensorboard: bool = False,
) -> None:
    """Continue a run that was stopped, with the options in its config.yaml.

    Args:
        resume: The run folder to continue.
        keep: How many checkpoints to keep.
        tensorboard: Also write the metrics for TensorBoard.
    """
    run = RunFolder(resume).read_config()
    run_training(run, resume, resume=True, keep=keep, tensorboard=tensorboard)
