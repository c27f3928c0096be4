"""The interface of a method: its options, losses, optimizer steps and features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Literal, NamedTuple, Self

import torch
from pydantic import ConfigDict
from torch import Tensor, nn

from vireid.errors import ConfigError
from vireid.nn import BackboneName
from vireid.types import CrossModalBatch, Modality

__all__ = ["Losses", "Method", "MethodConfig", "OptimizerStep", "Phase"]

MAX_SIDE = 4_096
"""Maximum height and width of an input, in pixels."""

MAX_NUMBER = 65_536
"""Maximum of a whole number among the options of a method, such as the length of a feature."""


class Losses(NamedTuple):
    """The losses of one batch, and the quantities that the collapse warning monitors.

    An optimizer step without an identity classifier (a discriminator's, a translator's) has terms
    only.

    Attributes:
        terms: Weighted loss terms by name; their sum is minimised.
        identity: Mean cross-entropy of one classifier without label smoothing, in nats:
            ln(classes) for a uniform prediction. Detached.
        accuracy: Share of images that the mean logits of the classifiers classify correctly.
            Detached.
        features: L2-normalised features of the batch, ``[n, d]``, visible first; with gradients,
            for a loss that the caller adds.
        metrics: Other scalars to log by name, such as a discriminator's accuracy. Detached.
    """

    terms: Mapping[str, Tensor]
    identity: Tensor | None = None
    accuracy: Tensor | None = None
    features: Tensor | None = None
    metrics: Mapping[str, Tensor] = MappingProxyType({})

    @property
    def total(self) -> Tensor:
        """The scalar to minimise."""
        return torch.stack(list(self.terms.values())).sum()


class OptimizerStep(NamedTuple):
    """One optimizer step on a batch: a loss, minimised with respect to some of the parameters.

    Attributes:
        name: The argument of :meth:`Method.step_losses`.
        groups: The groups of :meth:`Method.parameter_groups` to update; all other parameters stay
            unchanged.
    """

    name: str
    groups: tuple[str, ...]


class Phase(NamedTuple):
    """A phase of training; the learning rate schedule restarts in each.

    Attributes:
        epochs: Number of epochs.
        steps: The optimizer steps on each batch, in order.
    """

    epochs: int
    steps: tuple[OptimizerStep, ...]


@dataclass(frozen=True, kw_only=True)
class MethodConfig(ABC):
    """The options that all methods share."""

    kind: ClassVar[str]
    """The name of the method in config.yaml; every method has its own."""
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    backbone: BackboneName = "resnet50"
    """The network of each stream."""
    weights: Literal["imagenet", "none"] | Path = "imagenet"
    """Initial weights of the backbone: imagenet (downloaded once), none (random), or a FILE
    with torchvision's keys (safetensors, or a state dict or checkpoint of torch.save)."""
    size: tuple[int, int] = (288, 144)
    """Height and width of the input, in pixels."""

    cpu_images: ClassVar[int] = 4
    """Images per identity and modality in a batch of a -cpu recipe."""

    def __post_init__(self) -> None:
        height, width = self.size
        if not 32 <= min(self.size) <= max(self.size) <= MAX_SIDE:
            raise ConfigError(
                f"The size '{height} {width}' is out of range; expected HEIGHT WIDTH of 32 to "
                f"{MAX_SIDE} pixels each, such as --size 288 144."
            )
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int) and value > MAX_NUMBER:
                raise ConfigError(
                    f"'{field.name}' is {value}; expected a whole number of at most {MAX_NUMBER}."
                )

    @abstractmethod
    def build(self, *, classes: int) -> Method:
        """Build the network for a number of training identities."""

    def on_cpu(self) -> Self:
        """The options for two CPU cores: a small backbone, with packaged weights, and input."""
        return replace(self, backbone="efficientnet_lite0", size=(144, 72))

    def about(self) -> dict[str, str]:
        """The description of the network that results carry."""
        return {
            "backbone": self.backbone,
            "weights": str(self.weights),
            "size": "x".join(map(str, self.size)),
        }


class Method(nn.Module, ABC):
    """A network, its losses, and how it is optimised.

    Most methods need one optimizer step per batch and define :meth:`losses`,
    :meth:`extract_features` and :meth:`backbone_parameters` only. Adversarial methods alternate
    steps (:meth:`phases`, :meth:`step_losses`); :meth:`fit` is called once after training.
    """

    size: tuple[int, int]
    """Height and width of the input, in pixels."""
    needs_fit: ClassVar[bool] = False
    """Whether the method implements :meth:`fit`."""
    supports_distributed: ClassVar[bool] = False
    """Whether several processes can train it: it takes one optimizer step per batch and computes
    its losses from :func:`vireid.distributed.gather.gather_batch`."""

    @abstractmethod
    def losses(self, batch: CrossModalBatch) -> Losses:
        """Losses of a training batch.

        Args:
            batch: Images and labels.
        """

    @abstractmethod
    def extract_features(self, images: Tensor, modality: Modality) -> Tensor:
        """Extract the features of images of one modality.

        Args:
            images: ``[n, 3, H, W]``, normalised.
            modality: Modality of the images.

        Returns:
            L2-normalised rows, ``[n, d]``.
        """

    @abstractmethod
    def backbone_parameters(self) -> list[nn.Parameter]:
        """The trainable parameters that use the backbone's learning rate."""

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Trainable parameters by group: ``backbone``, ``heads``, those of :meth:`group_lrs`."""
        backbone = self.backbone_parameters()
        taken = {id(p) for p in backbone}
        return {
            "backbone": backbone,
            "heads": [p for p in self.parameters() if p.requires_grad and id(p) not in taken],
        }

    def group_lrs(self) -> Mapping[str, float]:
        """Learning rates of the groups other than ``backbone`` and ``heads``."""
        return {}

    def phases(self, epochs: int) -> tuple[Phase, ...]:
        """The phases of training; their epochs add up to ``epochs``."""
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
        """Fit the part of the model that is estimated after training; store it in buffers.

        Args:
            visible: Features of all visible training images, ``[n_v, d]``.
            infrared: Features of all infrared training images, ``[n_t, d]``.
            visible_labels: Class indices, int64 ``[n_v]``.
            infrared_labels: Class indices, int64 ``[n_t]``.
        """

    def translate(self, images: Tensor, modality: Modality) -> Tensor | None:
        """Translate images into the other modality.

        Args:
            images: ``[n, 3, H, W]``, normalised.
            modality: Modality of the images.

        Returns:
            ``[n, 3, H, W]``, normalised; None if the method does not translate images.
        """
        del images, modality
        return None
