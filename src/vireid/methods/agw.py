"""AGW: attention, generalised-mean pooling, weighted triplets; the field's usual baseline.

M. Ye, J. Shen, G. Lin, T. Xiang, L. Shao, S. C. H. Hoi: "Deep Learning for Person
Re-identification: A Survey and Outlook", TPAMI 2021.

The idea: a separate stem for each modality and one ResNet-50 trunk for both, with non-local blocks
in its middle; one generalised-mean pooled feature of the whole body; identity loss after a batch
norm ("BNNeck") and, before it, a triplet loss over all pairs, weighted by difficulty.

    visible  ── stem_v ─┐
                        ├─ layer1 ─ layer2 (+2 NL) ─ layer3 (+3 NL) ─ layer4 ─ GeM ─┬─ WRT
    infrared ── stem_t ─┘                                                           └─ BN ─ CE

    L = CE + WRT

Published (ResNet-50 from ImageNet, R-1/mAP; from the authors' repository, not measured here):
SYSU-MM01 all-search single-shot, seeded draw, 47.50/47.65; RegDB visible to thermal 70.05/66.37.

Where the paper and its code differ: the non-local blocks halve the channels as in Wang et al. (the
code, by an integer division, has a single one); an anchor is not a positive of itself, and the
weights of its negatives sum to 1 (in the softmax of the code it is, and they vanish where all
negatives are further than about 14; released_weights=True does as the code); the exponent of the
generalised mean is learned, as the paper says (the code fixes it at 3). A test feature is taken
after the batch norm.

Example:
    >>> import torch
    >>> from vireid.types import Modality
    >>> model = AGW(AGWConfig(backbone="resnet18", weights="none", size=(64, 32)), classes=10)
    >>> model.eval().extract_features(torch.randn(2, 3, 64, 32), Modality.INFRARED).shape
    torch.Size([2, 512])
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vireid.distributed.gather import gather_batch
from vireid.losses import weighted_regularised_triplet_loss
from vireid.methods.method import Losses, Method, MethodConfig
from vireid.methods.recipe import Batch, Optimisation, Paper, Recipe
from vireid.nn import GeM, TwoStream, build_stages, with_non_local
from vireid.types import CrossModalBatch, Modality

__all__ = ["AGW", "PAPER", "AGWConfig", "recipe"]

PAPER = Paper(
    name="AGW",
    authors="Ye et al.",
    title="Deep Learning for Person Re-identification: A Survey and Outlook",
    venue="TPAMI",
    year=2021,
)


@dataclass(frozen=True, kw_only=True)
class AGWConfig(MethodConfig):
    """The options of AGW; the defaults are the published ones."""

    kind: ClassVar[str] = "agw"
    non_local: bool = True
    """Insert non-local blocks after the last two blocks of layer2 and the last three of layer3."""
    squared: bool = False
    """Square the differences in the triplet loss, as CAJ does."""
    released_weights: bool = False
    """Weigh triplets as the authors' code does instead of their paper: an anchor is a positive of
    itself, and negatives further than about 14 count for almost nothing."""

    def build(self, *, classes: int) -> AGW:
        """Build the network for a number of training identities."""
        return AGW(self, classes=classes)


class AGW(Method):
    """Separate stems, a shared trunk with non-local blocks, one feature.

    Args:
        config: The options.
        classes: Number of training identities.
    """

    supports_distributed: ClassVar[bool] = True

    def __init__(self, config: AGWConfig, *, classes: int) -> None:
        super().__init__()
        self.config = config
        self.size = config.size
        stages, channels = build_stages(config.backbone, config.weights)
        self.pool = GeM(1)
        self.neck = nn.BatchNorm1d(channels)
        self.neck.bias.requires_grad_(False)
        self.classifier = nn.Linear(channels, classes, bias=False)
        nn.init.normal_(self.classifier.weight, std=0.001)
        if config.non_local:
            stages["layer2"] = with_non_local(stages["layer2"], 2)
            stages["layer3"] = with_non_local(stages["layer3"], 3)
        self.streams = TwoStream(stages, shared_from="layer1")

    def forward(self, images: Tensor, n_visible: int) -> tuple[Tensor, Tensor]:
        """Features of images.

        Args:
            images: ``[n_v + n_t, 3, H, W]``, visible ones first.
            n_visible: n_v.

        Returns:
            Pooled features before and after the batch norm, ``[n, C]`` each.
        """
        pooled = self.pool(self.streams(images, n_visible)).squeeze(1)
        return pooled, self.neck(pooled)

    def losses(self, batch: CrossModalBatch) -> Losses:
        """Cross-entropy after the batch norm, weighted triplet loss before it."""
        images = torch.cat([batch.visible, batch.infrared])
        pooled, necked = (
            gather_batch(rows, batch) for rows in self(images, batch.visible.shape[0])
        )
        # In float32 whatever the precision of the network: losses are differences of small numbers.
        logits = self.classifier(necked).float()
        labels = torch.cat([batch.visible_labels, batch.infrared_labels])
        identity = F.cross_entropy(logits, labels)
        return Losses(
            terms={
                "identity": identity,
                "triplet": weighted_regularised_triplet_loss(
                    pooled.float(),
                    labels,
                    squared=self.config.squared,
                    released=self.config.released_weights,
                ),
            },
            identity=identity.detach(),
            accuracy=(logits.argmax(1) == labels).float().mean(),
            features=F.normalize(necked.float()),
        )

    def extract_features(self, images: Tensor, modality: Modality) -> Tensor:
        """L2-normalised features after the batch norm, ``[n, C]``."""
        n_visible = images.shape[0] if modality is Modality.VISIBLE else 0
        return F.normalize(self(images, n_visible)[1].float())

    def backbone_parameters(self) -> list[nn.Parameter]:
        """Both streams with the non-local blocks."""
        return list(self.streams.parameters())


def recipe() -> Recipe[AGWConfig]:
    """AGW as published: SGD 0.1 (backbone 0.01), a tenth at epochs 20 and 50, 8 x (4 + 4)."""
    return Recipe(
        method=AGWConfig(),
        batch=Batch(identities=8, images=4),
        optimisation=Optimisation(
            lr=0.1, backbone_lr=0.01, epochs=81, warmup=10.0, milestones=(20, 50)
        ),
    )
