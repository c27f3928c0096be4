"""The configuration of a training run, as ``config.yaml`` holds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import ConfigDict

from vireid.data.layouts import DataSource
from vireid.errors import ConfigError
from vireid.methods import AnyMethod, Recipe
from vireid.types import Device

__all__ = ["Device", "Precision", "Run", "Selection"]

Precision = Literal["32-true", "bf16-mixed", "64-true"]
Selection = Literal["last", "validation"]


@dataclass(frozen=True, kw_only=True)
class Run:
    """Everything that decides a training run."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: str
    """The recipe's name."""
    recipe: Recipe[AnyMethod]
    """What is trained, and how."""
    data: DataSource
    """What it is trained on."""
    select: Selection = "last"
    """Which epoch's network becomes the model."""
    seed: int = 0
    """Seed of every random draw."""
    precision: Precision = "32-true"
    """Arithmetic of the network; bf16-mixed is bfloat16 autocast, 64-true trains in double."""
    device: Device = "auto"
    """auto takes a GPU when there is one."""
    compile: bool = False
    """Whether torch.compile translates the network's parts before the first step."""

    def __post_init__(self) -> None:
        if self.select == "validation" and not self.data.hold_out:
            raise ConfigError(
                "--select validation chooses by identities that are held out of training; add "
                "--hold-out, or leave --select at 'last'."
            )
