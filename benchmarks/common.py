"""What the benchmarks of training and encoding have in common."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from vireid.methods import DLIS, Batch, DLISConfig
from vireid.nn import BackboneName
from vireid.runs import Precision
from vireid.types import Modality

__all__ = ["Case", "Side"]

_SEED = 0
_SETTLING = 4
"""Images."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A network, and how it runs."""

    backbone: BackboneName = "resnet50"
    """The network of each stream, from random weights."""
    size: tuple[int, int] = (288, 144)
    """Height and width of the images, in pixels."""
    batch: Batch = field(default_factory=Batch)
    """Identities of a batch, and images of each in either modality."""
    precision: Precision = "32-true"
    """Arithmetic of vireid's side; the reference's is float32."""
    threads: int = field(default_factory=torch.get_num_threads)
    """Threads of both sides."""

    @property
    def method(self) -> DLISConfig:
        """DLIS in its paper-like form."""
        return DLISConfig(backbone=self.backbone, weights="none", size=self.size)

    @property
    def images(self) -> int:
        """Images of a batch."""
        return 2 * self.batch.identities * self.batch.images

    def network(self) -> DLIS:
        """The network, the same each time, with this process's threads set."""
        torch.set_num_threads(self.threads)
        torch.manual_seed(_SEED)
        return self.method.build(classes=self.batch.identities).train()

    def settled(self) -> DLIS:
        """The same in evaluation mode, its batch norms having seen a few images.

        With the statistics that they start from, numbers would grow from block to block.
        """
        network = self.network()
        for norm in network.modules():
            if isinstance(norm, (nn.BatchNorm1d, nn.BatchNorm2d)):
                norm.momentum = 1.0
        with torch.no_grad():
            for modality in Modality:
                network.extract_features(torch.randn(_SETTLING, 3, *self.size), modality)
        return network.eval()

    def __str__(self) -> str:
        height, width = self.size
        return (
            f"DLIS, {self.backbone} at {height}x{width}, batches of {self.images}, "
            f"{self.precision}, {self.threads} threads"
        )


@dataclass(frozen=True, slots=True)
class Side:
    """One side, measured.

    Attributes:
        seconds: Of every run that counts.
        peak: The most memory that one of its processes held, in GiB.
    """

    seconds: tuple[float, ...]
    peak: float

    @property
    def median(self) -> float:
        """Seconds of a run."""
        return float(np.median(self.seconds))
