"""What every method offers to the training loop and to the encoder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Literal, NamedTuple

import torch
from pydantic import ConfigDict
from torch import Tensor, nn

from vireid.errors import ConfigError
from vireid.nn import BackboneName
from vireid.types import CrossModalBatch, Modality

__all__ = ["Losses", "Method", "MethodConfig", "OptimizerStep", "Phase"]


class Losses(NamedTuple):
    """The losses of one batch, and what the collapse watch looks at.

    A step that tells no identities apart (a discriminator's, a translator's) has terms only.

    Attributes:
        terms: Loss terms by name, weighted; their sum is what is minimised.
        identity: Mean cross-entropy of one classifier against the plain labels, in nats:
            ln(classes) when the classifier knows nothing. Detached.
        accuracy: Share of images whose identity the classifiers' mean logits name. Detached.
        features: Unit features of the batch, ``[n, d]``, visible first. Detached.
        seen: Other scalars for the metrics, by name, such as a discriminator's accuracy. Detached.
    """

    terms: Mapping[str, Tensor]
    identity: Tensor | None = None
    accuracy: Tensor | None = None
    features: Tensor | None = None
    seen: Mapping[str, Tensor] = MappingProxyType({})

    @property
    def total(self) -> Tensor:
        """The scalar to minimise."""
        return torch.stack(list(self.terms.values())).sum()


class OptimizerStep(NamedTuple):
    """A part of an optimisation step: some losses, minimised by some of the parameters.

    Attributes:
        name: What :meth:`Method.step_losses` is asked for.
        trains: The groups of :meth:`Method.parameter_groups` that move; all others stay as they
            are, whatever gradient reaches them.
    """

    name: str
    trains: tuple[str, ...]


class Phase(NamedTuple):
    """A part of training; warm-up and schedule of the learning rates begin anew in each.

    Attributes:
        epochs: How long it takes.
        steps: What an optimisation step is made of, in order.
    """

    epochs: int
    steps: tuple[OptimizerStep, ...]


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
    """A network with its losses, and how it is optimised.

    Most methods have one phase of one step, and write :meth:`losses`, :meth:`describe` and
    :meth:`backbone_parameters` only. An adversary alternates steps (:meth:`phases`,
    :meth:`step_losses`); what is fitted once training is over is :meth:`fit`.
    """

    size: tuple[int, int]
    """Height and width of the images it takes, in pixels."""
    fits: ClassVar[bool] = False
    """Whether :meth:`fit` does anything."""
    shareable: bool = False
    """Whether several processes can train it: it takes one optimizer step a batch, and computes its
    losses from :func:`vireid.distributed.gather.gather_batch`."""

    @abstractmethod
    def losses(self, batch: CrossModalBatch) -> Losses:
        """Losses of a training batch.

        Args:
            batch: Images and labels.
        """

    @abstractmethod
    def extract_features(self, images: Tensor, modality: Modality) -> Tensor:
        """Features of images of one modality: ``[n, 3, H, W]`` to unit rows ``[n, d]``."""

    @abstractmethod
    def backbone_parameters(self) -> list[nn.Parameter]:
        """The trainable parameters that train with the backbone's learning rate."""

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """All trainable parameters by group: ``backbone``, ``heads``, and those of own rates."""
        backbone = self.backbone_parameters()
        taken = {id(p) for p in backbone}
        return {
            "backbone": backbone,
            "heads": [p for p in self.parameters() if p.requires_grad and id(p) not in taken],
        }

    def own_rates(self) -> Mapping[str, float]:
        """Learning rates of the groups other than ``backbone`` and ``heads``."""
        return {}

    def phases(self, epochs: int) -> tuple[Phase, ...]:
        """How training goes; the epochs of the phases add up to ``epochs``."""
        return (Phase(epochs, (OptimizerStep("identities", tuple(self.parameter_groups())),)),)

    def step_losses(self, batch: CrossModalBatch, step: str) -> Losses:
        """Losses of one optimizer step.

        Args:
            batch: Images and labels.
            step: The name of the optimizer step.
        """
        del step
        return self.losses(batch)

    def fit(
        self, visible: Tensor, infrared: Tensor, visible_labels: Tensor, infrared_labels: Tensor
    ) -> None:
        """Fit what is learnt after training, once; its outcome belongs into buffers.

        Args:
            visible: What :meth:`describe` makes of all visible training images, ``[n_v, d]``.
            infrared: The same of all infrared ones, ``[n_t, d]``.
            visible_labels: Class indices, int64 ``[n_v]``.
            infrared_labels: Class indices, int64 ``[n_t]``.
        """

    def translate(self, images: Tensor, modality: Modality) -> Tensor | None:
        """What the method makes of images in the other modality; None where it does not do that.

        Args:
            images: ``[n, 3, H, W]``, normalised.
            modality: The modality that they have.

        Returns:
            ``[n, 3, H, W]``, normalised alike.
        """
        del images, modality
        return None
