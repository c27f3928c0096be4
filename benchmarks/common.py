"""Settings and measurements shared by the benchmarks of training and feature extraction."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from vireid.methods import DLIS, Batch, DLISConfig
from vireid.nn import BackboneName
from vireid.runs import Precision
from vireid.types import Modality

__all__ = ["Case", "Measurement"]

_SEED = 0
_CALIBRATION_IMAGES = 4
"""Images per modality that set the statistics of the batch norms."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A network and its settings."""

    backbone: BackboneName = "resnet50"
    """Backbone of each stream, with random weights."""
    size: tuple[int, int] = (288, 144)
    """Height and width of the images, in pixels."""
    batch: Batch = field(default_factory=Batch)
    """Identities per batch, and images per identity and modality."""
    precision: Precision = "32-true"
    """Precision of vireid; the reference uses float32."""
    threads: int = field(default_factory=torch.get_num_threads)
    """Number of threads of both sides."""

    @property
    def method(self) -> DLISConfig:
        """The paper-like DLIS."""
        return DLISConfig(backbone=self.backbone, weights="none", size=self.size)

    @property
    def images(self) -> int:
        """Images per batch."""
        return 2 * self.batch.identities * self.batch.images

    def network(self) -> DLIS:
        """The network with seeded weights; also sets the number of threads of this process."""
        torch.set_num_threads(self.threads)
        torch.manual_seed(_SEED)
        return self.method.build(classes=self.batch.identities).train()

    def evaluation_network(self) -> DLIS:
        """The network in evaluation mode, with batch norm statistics from a few images.

        With the initial statistics, activations would grow from block to block.
        """
        network = self.network()
        for norm in network.modules():
            if isinstance(norm, (nn.BatchNorm1d, nn.BatchNorm2d)):
                norm.momentum = 1.0
        with torch.no_grad():
            for modality in Modality:
                network.extract_features(torch.randn(_CALIBRATION_IMAGES, 3, *self.size), modality)
        return network.eval()

    def __str__(self) -> str:
        height, width = self.size
        return (
            f"DLIS, {self.backbone} at {height}x{width}, batches of {self.images}, "
            f"{self.precision}, {self.threads} threads"
        )


@dataclass(frozen=True, slots=True)
class Measurement:
    """The measurement of one side.

    Attributes:
        seconds: Seconds of each measured run.
        peak: Peak memory of its processes, in GiB.
    """

    seconds: tuple[float, ...]
    peak: float

    @property
    def median(self) -> float:
        """Median of the seconds."""
        return float(np.median(self.seconds))
