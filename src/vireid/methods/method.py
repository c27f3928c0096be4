"""What every method offers to the training loop and to the encoder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from vireid.types import CrossModalBatch, Modality

__all__ = ["Losses", "Method"]


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
    def parameter_groups(self) -> dict[Literal["backbone", "heads"], list[nn.Parameter]]:
        """All trainable parameters, by the learning rate they train with."""
