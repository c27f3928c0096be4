"""A recipe: a method's options together with how it is trained, and the paper it is from."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar, Generic, Literal, TypeVar

from pydantic import ConfigDict

from vireid.data.transforms import Augmentation
from vireid.errors import ConfigError
from vireid.methods._checks import check_non_negative, check_positive
from vireid.methods.method import MethodConfig

__all__ = ["Batch", "Optimisation", "Paper", "Recipe", "on_cpu"]

ConfigT = TypeVar("ConfigT", bound=MethodConfig)
ConfigT_co = TypeVar("ConfigT_co", covariant=True)


@dataclass(frozen=True, kw_only=True)
class Paper:
    """Where a method is from."""

    name: str
    """What the field calls it."""
    authors: str
    """The first one, "et al."."""
    title: str
    """The paper's."""
    venue: str
    """Conference or journal, without the year."""
    year: int
    """Of publication."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The cross-modality P x K batch."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    identities: int = 4
    """P: identities a batch."""
    images: int = 8
    """K: images an identity and modality; a batch holds 2·P·K images."""

    def __post_init__(self) -> None:
        if self.identities < 2 or self.images < 1:
            raise ConfigError(
                f"A batch of '{self.identities}' identities x '{self.images}' images cannot be "
                "drawn; expected at least 2 identities (--identities) and 1 image (--images)."
            )


@dataclass(frozen=True, kw_only=True)
class Optimisation:
    """Optimiser and schedule."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    """sgd: Nesterov momentum 0.9."""
    lr: float = 0.01
    """Learning rate of the heads and of PALM."""
    backbone_lr: float = 0.001
    """Learning rate of the backbone."""
    weight_decay: float = 5e-4
    """Weight decay of all parameters."""
    epochs: int = 60
    """How long to train."""
    warmup: float = 0.0
    """Epochs over which the learning rates rise linearly from a tenth."""
    schedule: Literal["step", "cosine"] = "step"
    """step: a tenth from each milestone on; cosine: falls to a hundredth at the end."""
    milestones: tuple[int, ...] = (30,)
    """Epochs of the step schedule."""
    clip: float = 0.0
    """Largest norm of the gradient; 0: no clipping."""

    def __post_init__(self) -> None:
        check_positive(self, "lr", "backbone_lr")
        if self.epochs < 1:
            raise ConfigError(f"'{self.epochs}' epochs of training; expected 1 or more (--epochs).")
        check_non_negative(self, "weight_decay", "warmup", "clip")


@dataclass(frozen=True, kw_only=True)
class Recipe(Generic[ConfigT_co]):
    """Everything that decides what a training run does, but the data and the seed."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    method: ConfigT_co
    """The method's own options."""
    batch: Batch = field(default_factory=Batch)
    """The sampler."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    """What happens to a training image."""
    optimisation: Optimisation = field(default_factory=Optimisation)
    """Optimiser and schedule."""


def on_cpu(recipe: Recipe[ConfigT]) -> Recipe[ConfigT]:
    """A recipe cut down to what two cores do in minutes, the same way for all methods.

    What a method is (network, losses, augmentation) stays; the backbone is the one whose ImageNet
    weights need no download, the input a quarter of the pixels, the batch 8 x (4 + 4), and the
    optimiser Adam at rates for few steps.
    """
    return replace(
        recipe,
        method=replace(recipe.method, backbone="efficientnet_lite0", size=(144, 72)),
        batch=Batch(identities=8, images=4),
        optimisation=Optimisation(
            optimizer="adam",
            lr=3e-3,
            backbone_lr=1e-3,
            epochs=16,
            warmup=1.0,
            schedule="cosine",
            clip=20.0,
        ),
    )
