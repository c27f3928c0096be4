"""TONE: two streams, one embedding, identity and contrastive loss.

M. Ye, X. Lan, J. Li, P. C. Yuen: "Hierarchical Discriminative Learning for Visible Thermal Person
Re-Identification", AAAI 2018, its first stage (the second is :mod:`vireid.methods.hcml`).

The idea: low-level layers are separate for each modality, because its images look different; the
last layers are shared, so that both modalities share one embedding space. There the cross-entropy
distinguishes identities, and the contrastive loss moves the visible and infrared images of a person
together and those of two people a margin apart.

    visible  ── stream_v ─┐
                          ├─ mean ─ Linear+BN ─ embedding ─┬─ LeakyReLU+Linear ─ CE
    infrared ── stream_t ─┘                                └─ contrastive

    L = CE + 0.2 · 1/2 mean( y d^2 + (1 - y) max(0, 0.5 - d)^2 )      over visible-infrared pairs

Published (AlexNet, R-1/mAP; not measured here): RegDB, one split of the authors' repository,
15.7/18.0; in the paper, unverified, RegDB 16.87/14.92 and SYSU-MM01 all-search single-shot
12.52/14.42.

Changes: a ResNet-50 instead of AlexNet, 288x144 pixels instead of 227x227, and what follows from it
(:mod:`vireid.methods.embedding`); batches of 16 identities x (4 + 4) images instead of 64 pairs;
pad, crop and flip as in all recipes here (the code crops). The code uses 64 pairs per step, half of
them of one identity and half random; here all pairs of a batch count, with equal total weight for
both kinds. The code normalises each channel of the features over the batch, but test features over
their channels; here the distance is that of L2-normalised embeddings in training too.

With ResNet-50 and 395 identities: 52,025,867 parameters, features of 2,048 values.

Example:
    >>> import torch
    >>> from vireid.types import Modality
    >>> model = TONE(TONEConfig(backbone="resnet18", weights="none", size=(64, 32)), classes=10)
    >>> model.eval().extract_features(torch.randn(2, 3, 64, 32), Modality.INFRARED).shape
    torch.Size([2, 2048])
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from vireid.losses import contrastive_loss
from vireid.methods._checks import check_non_negative
from vireid.methods.embedding import EmbeddingConfig, EmbeddingMethod
from vireid.methods.recipe import Batch, Optimisation, Paper, Recipe

__all__ = ["PAPER", "TONE", "TONEConfig", "TONEOptions", "recipe"]

PAPER = Paper(
    name="TONE",
    authors="Ye et al.",
    title="Hierarchical Discriminative Learning for Visible Thermal Person Re-Identification",
    venue="AAAI",
    year=2018,
)


@dataclass(frozen=True, kw_only=True)
class TONEOptions(EmbeddingConfig):
    """The options of TONE, which HCML, its second stage, has too."""

    dim: int = 2048
    """Length of the embedding."""
    contrastive: float = 0.2
    """Weight of the contrastive loss."""
    margin: float = 0.5
    """Distance that images of two identities should have at least, between 0 and 2."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_non_negative(self, "contrastive", "margin")


@dataclass(frozen=True, kw_only=True)
class TONEConfig(TONEOptions):
    """TONE; the defaults are the published ones."""

    kind: ClassVar[str] = "tone"

    def build(self, *, classes: int) -> TONE:
        """Build the network for a number of training identities."""
        return TONE(self, classes=classes)


class TONE(EmbeddingMethod):
    """Two streams and a shared embedding with identity and contrastive loss.

    Args:
        config: The options.
        classes: Number of training identities.
    """

    def __init__(self, config: TONEOptions, *, classes: int) -> None:
        super().__init__(config, classes=classes)
        self.config = config

    def pair_terms(
        self, visible: Tensor, infrared: Tensor, visible_labels: Tensor, infrared_labels: Tensor
    ) -> dict[str, Tensor]:
        """The contrastive loss."""
        loss = contrastive_loss(
            visible, infrared, visible_labels, infrared_labels, margin=self.config.margin
        )
        return {"contrastive": self.config.contrastive * loss}


def recipe() -> Recipe[TONEConfig]:
    """TONE as published, on a ResNet-50: 0.001 throughout; 1,500 steps of RegDB are 47 epochs."""
    return Recipe(
        method=TONEConfig(),
        batch=Batch(identities=16, images=4),
        optimisation=Optimisation(
            lr=0.001, backbone_lr=0.001, weight_decay=0.0, epochs=47, milestones=()
        ),
    )
