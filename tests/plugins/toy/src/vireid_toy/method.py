"""A method: one convolution per modality, a shared embedding, a loss of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vireid.methods import Entry, Losses, Method, MethodConfig, Paper, Recipe
from vireid.types import CrossModalBatch, Modality
from vireid_toy.losses import center_distance


@dataclass(frozen=True, kw_only=True)
class ToyConfig(MethodConfig):
    """The options of the toy method."""

    kind: ClassVar[str] = "toy"
    dim: int = 16
    """Length of a feature."""
    center: float = 0.5
    """Weight of the distance of the modalities."""

    def build(self, *, classes: int) -> Toy:
        """The network."""
        return Toy(self, classes)

    def on_cpu(self) -> Self:
        """It is small already."""
        return replace(self, size=(64, 32))

    def about(self) -> dict[str, str]:
        """What results say of it."""
        return {**super().about(), "backbone": "one convolution"}


class Toy(Method):
    """The network."""

    def __init__(self, config: ToyConfig, classes: int) -> None:
        super().__init__()
        self.config, self.size = config, config.size
        self.stems = nn.ModuleList(nn.Conv2d(3, 8, 5, stride=4) for _ in Modality)
        self.embedding = nn.Linear(8 * 4, config.dim)
        self.classifier = nn.Linear(config.dim, classes)

    def embed(self, images: Tensor, modality: Modality) -> Tensor:
        """Embeddings, ``[n, dim]``."""
        stem = self.stems[list(Modality).index(modality)]
        stripes = F.adaptive_avg_pool2d(stem(images).relu(), (4, 1))
        embedded: Tensor = self.embedding(stripes.flatten(1))
        return embedded

    def losses(self, batch: CrossModalBatch) -> Losses:
        """Cross-entropy and the distance of the modalities."""
        visible = self.embed(batch.visible, Modality.VISIBLE)
        infrared = self.embed(batch.infrared, Modality.INFRARED)
        embeddings = torch.cat([visible, infrared])
        labels = torch.cat([batch.visible_labels, batch.infrared_labels])
        logits = self.classifier(embeddings)
        identity = F.cross_entropy(logits, labels)
        return Losses(
            terms={
                "identity": identity,
                "center": self.config.center * center_distance(visible, infrared),
            },
            identity=identity.detach(),
            accuracy=(logits.argmax(1) == labels).float().mean(),
            features=F.normalize(embeddings),
        )

    def extract_features(self, images: Tensor, modality: Modality) -> Tensor:
        """Unit embeddings, ``[n, dim]``."""
        return F.normalize(self.embed(images, modality))

    def backbone_parameters(self) -> list[nn.Parameter]:
        """The stems."""
        return list(self.stems.parameters())


PAPER = Paper(name="Toy", authors="Nobody", title="None", venue="none", year=2026)
TOY = Entry(Recipe(method=ToyConfig(weights="none", size=(96, 48))), PAPER, "A toy method.")
