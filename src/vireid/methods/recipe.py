"""A recipe: the options of a method and of its training, and the paper it is from."""

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

_CPU_BATCH = 64
"""Images in a batch of a -cpu recipe."""


@dataclass(frozen=True, kw_only=True)
class Paper:
    """The publication of a method."""

    name: str
    """Name of the method in the literature."""
    authors: str
    """First author, "et al."."""
    title: str
    """Title of the paper."""
    venue: str
    """Conference or journal, without the year."""
    year: int
    """Year of publication."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The cross-modality P x K sampler."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    identities: int = 4
    """P: identities per batch."""
    images: int = 8
    """K: images per identity and modality; a batch has 2·P·K images."""

    def __post_init__(self) -> None:
        if self.identities < 2 or self.images < 1:
            raise ConfigError(
                f"A batch of '{self.identities}' identities x '{self.images}' images is not "
                "possible; expected at least 2 identities (--identities) and 1 image (--images)."
            )


@dataclass(frozen=True, kw_only=True)
class Optimisation:
    """The optimiser and its learning rate schedule."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    """sgd: Nesterov momentum 0.9."""
    lr: float = 0.01
    """Learning rate of the heads, and of PALM unless --palm-lr backbone."""
    backbone_lr: float = 0.001
    """Learning rate of the backbone."""
    weight_decay: float = 5e-4
    """Weight decay of all parameters."""
    epochs: int = 60
    """Number of training epochs."""
    warmup: float = 0.0
    """Epochs over which the learning rates rise linearly from a tenth to their full value."""
    schedule: Literal["step", "cosine"] = "step"
    """step: divided by 10 at each milestone; cosine: falls to a hundredth at the end."""
    milestones: tuple[int, ...] = (30,)
    """Epochs at which the step schedule lowers the learning rates."""
    clip: float = 0.0
    """Maximum norm of the gradient; 0: no clipping."""

    def __post_init__(self) -> None:
        check_positive(self, "lr", "backbone_lr")
        if self.epochs < 1:
            raise ConfigError(f"'{self.epochs}' epochs of training; expected 1 or more (--epochs).")
        check_non_negative(self, "weight_decay", "warmup", "clip")


@dataclass(frozen=True, kw_only=True)
class Recipe(Generic[ConfigT_co]):
    """All options that determine a training run except the data set and the seed."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    method: ConfigT_co
    """The options of the method."""
    batch: Batch = field(default_factory=Batch)
    """The sampler."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    """Augmentation of training images."""
    optimisation: Optimisation = field(default_factory=Optimisation)
    """Optimiser and schedule."""


def on_cpu(recipe: Recipe[ConfigT]) -> Recipe[ConfigT]:
    """Derive the recipe that trains on two CPU cores within minutes, the same for all methods.

    Losses and augmentation stay. The backbone is EfficientNet-Lite0, whose ImageNet weights need no
    download, the input has a quarter of the pixels, a batch 64 images (8 x (4 + 4) as a rule), and
    the optimiser is Adam with learning rates for few steps. Options that a method needs besides are
    those of its :meth:`~vireid.methods.method.MethodConfig.on_cpu`.
    """
    return replace(
        recipe,
        method=recipe.method.on_cpu(),
        batch=Batch(
            identities=_CPU_BATCH // (2 * recipe.method.cpu_images),
            images=recipe.method.cpu_images,
        ),
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
