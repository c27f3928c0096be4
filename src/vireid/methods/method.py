"""What every method offers to the training loop and to the encoder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

import torch
from pydantic import ConfigDict
from torch import Tensor, nn

from vireid.errors import ConfigError
from vireid.nn import BackboneName
from vireid.types import CrossModalBatch, Modality

__all__ = ["Losses", "Method", "MethodConfig"]


class Losses(NamedTuple):
    """The losses of one batch, and what the collapse watch looks at.

    Attributes:
        terms: Loss terms by name, weighted; their sum is what is minimised.
        identity: Mean cross-entropy of one classifier against the plain labels, in nats:
            ln(classes) when the classifier knows nothing. Detached.
        accuracy: Share of images whose identity the classifiers' mean logits name. Detached.
        descriptors: Unit descriptors of the batch, ``[n, d]``, visible first. Detached.
    """

    terms: Mapping[str, Tensor]
    identity: Tensor
    accuracy: Tensor
    descriptors: Tensor

    @property
    def total(self) -> Tensor:
        """The scalar to minimise."""
        return torch.stack(list(self.terms.values())).sum()


@dataclass(frozen=True, kw_only=True)
class MethodConfig(ABC):
    """The options that every method has; each has its own besides."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    backbone: BackboneName = "resnet50"
    """The network of each stream."""
    weights: Literal["imagenet", "none"] | Path = "imagenet"
    """What the backbone starts from: imagenet (downloaded once), none (random), or a FILE
    (safetensors or a weights-only state dict in torchvision's keys)."""
    size: tuple[int, int] = (288, 144)
    """Height and width of the input, in pixels."""

    def __post_init__(self) -> None:
        height, width = self.size
        if min(self.size) < 32:
            raise ConfigError(
                f"The size '{height} {width}' is too small; expected HEIGHT WIDTH of at least 32 "
                "pixels each, such as --size 288 144."
            )

    @abstractmethod
    def build(self, *, classes: int) -> Method:
        """The network for a number of training identities."""

    def about(self) -> dict[str, str]:
        """What a result says of the network."""
        return {
            "backbone": self.backbone,
            "weights": str(self.weights),
            "size": "x".join(map(str, self.size)),
        }


class Method(nn.Module, ABC):
    """A network with its losses."""

    size: tuple[int, int]
    """Height and width of the images it takes, in pixels."""

    @abstractmethod
    def losses(self, batch: CrossModalBatch) -> Losses:
        """Losses of a training batch.

        Args:
            batch: Images and labels.
        """

    @abstractmethod
    def describe(self, images: Tensor, modality: Modality) -> Tensor:
        """Descriptors of images of one modality: ``[n, 3, H, W]`` to unit rows ``[n, d]``."""

    @abstractmethod
    def backbone_parameters(self) -> list[nn.Parameter]:
        """The trainable parameters that train with the backbone's learning rate."""

    def parameter_groups(self) -> dict[Literal["backbone", "heads"], list[nn.Parameter]]:
        """All trainable parameters, by the learning rate they train with."""
        backbone = self.backbone_parameters()
        taken = {id(p) for p in backbone}
        return {
            "backbone": backbone,
            "heads": [p for p in self.parameters() if p.requires_grad and id(p) not in taken],
        }
