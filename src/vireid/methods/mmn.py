"""MMN: a middle modality, generated from the images of both.

Y. Zhang, Y. Yan, Y. Lu, H. Wang: "Towards a Unified Middle Modality Learning for Visible-Infrared
Person Re-Identification", ACM MM 2021, pp. 788-796.

The idea: two small generators project visible and infrared images into one middle modality. The
images and their projections go through the network together; the projections of one identity from
both modalities are pulled together (distribution consistency loss).

    visible  ─┬────────────────┬─ stem_v ─┐                 ┌─ stripe 1 ─┬─ triplet
              └─ encoder_v ─┐  │          │                 │    ...     ├─ BN ─ Linear ─ CE
                            ├─ decoder    ├─ layer1..4 ─────┤            └─ consistency (middle)
              ┌─ encoder_t ─┘  │          │                 │
    infrared ─┴────────────────┴─ stem_t ─┘                 └─ stripe 4 ─ ...

    L = mean_p CE_p + mean_p mean_(a,b) triplet_p(a, b) + 0.2 mean_p DCL_p

with a the visible images or their projections, and b the infrared images or theirs.

Published (ResNet-50 from ImageNet, R-1/mAP, as table 2 of DEEN, CVPR 2023, quotes them, not
measured here): SYSU-MM01 all-search single-shot 70.6/66.9; RegDB visible to thermal 91.6/84.1.

Source of what: the two generators, what goes through the network, and the consistency loss are in
the paper's abstract; its text is not openly available, so everything else follows the authors'
published code, and no equation is cited: the layers of the generators and their initial weights,
four stripes with a batch norm and a classifier each, the batch-hard triplet loss (margin 0.3) on
the four combinations, the weight 0.2, and the consistency loss on features that a fixed random
projection (Linear, batch norm, ReLU, Linear, batch norm) has reduced to 256 numbers.

Chosen here: the consistency loss averages over all pairs of an identity instead of one draw of
them; a test feature is the normalised sum of the unit features of an image and of its projection
(``--feature both``). The product of two is the sum of the four similarities that the code computes,
divided by the lengths of both sums: it ranks differently where some images differ more from their
projections than others. The code also prints each similarity alone, and their minimum and maximum,
and does not say which one the paper reports; with ``--feature image`` the projection is not
computed, at half the cost.

With ResNet-50 and 395 identities: 26,761,622 parameters, features of 8192 values.

Example:
    >>> import torch
    >>> from vireid.types import Modality
    >>> model = MMN(MMNConfig(backbone="resnet18", weights="none", size=(64, 32)), classes=10)
    >>> model.eval().extract_features(torch.randn(2, 3, 64, 32), Modality.INFRARED).shape
    torch.Size([2, 2048])
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import product
from typing import ClassVar, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vireid.data.transforms import Augmentation
from vireid.distributed.gather import gather_batch
from vireid.losses import batch_hard_triplet_loss, distribution_consistency_loss
from vireid.methods._checks import check_non_negative
from vireid.methods.method import Losses, Method, MethodConfig
from vireid.methods.recipe import Batch, Optimisation, Paper, Recipe
from vireid.nn import StripePool, TwoStream, build_stages
from vireid.nn.middle_modality import MiddleModality
from vireid.nn.stripes import check_stripes
from vireid.types import CrossModalBatch, Modality

__all__ = ["MMN", "PAPER", "MMNConfig", "recipe"]

PAPER = Paper(
    name="MMN",
    authors="Zhang et al.",
    title="Towards a Unified Middle Modality Learning for Visible-Infrared Person "
    "Re-Identification",
    venue="ACM MM",
    year=2021,
)

_PROJECTED = 256
"""Length of the features that the consistency loss compares."""


@dataclass(frozen=True, kw_only=True)
class MMNConfig(MethodConfig):
    """The options of MMN; the defaults are those of the published code."""

    kind: ClassVar[str] = "mmn"
    size: tuple[int, int] = (384, 192)
    """Height and width of the input, in pixels."""
    middle: bool = True
    """Generate middle-modality images; without them it is the baseline with stripes."""
    stripes: int = 4
    """Number of horizontal stripes."""
    triplet: float = 1.0
    """Weight of the batch-hard triplet loss."""
    margin: float = 0.3
    """Margin of that triplet loss."""
    unit: bool = False
    """Compare L2-normalised features in the triplet loss."""
    consistency: float = 0.2
    """Weight of the distribution consistency loss."""
    feature: Literal["both", "image"] = "both"
    """What the feature of an image is: the sum of its own and its projection's, or its own alone.
    Training does not depend on it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_stripes(self.stripes, dim=1, height=self.size[0])
        check_non_negative(self, "triplet", "margin", "consistency")

    def on_cpu(self) -> Self:
        """The options for two CPU cores; large features would otherwise soon shrink to a point."""
        return replace(super().on_cpu(), unit=True)

    def build(self, *, classes: int) -> MMN:
        """Build the network for a number of training identities."""
        return MMN(self, classes=classes)


class MMN(Method):
    """Generators of the middle modality, separate stems, a shared trunk, stripes.

    Args:
        config: The options.
        classes: Number of training identities.
    """

    supports_distributed: ClassVar[bool] = True
    projection_1: Tensor
    projection_2: Tensor

    def __init__(self, config: MMNConfig, *, classes: int) -> None:
        super().__init__()
        self.config = config
        self.size = config.size
        stages, channels = build_stages(config.backbone, config.weights)
        self.middle = MiddleModality() if config.middle else None
        self.pool = StripePool(config.stripes)
        self.neck = nn.BatchNorm1d(config.stripes * channels)
        self.neck.bias.requires_grad_(False)
        self.classifier = nn.Parameter(torch.empty(config.stripes, channels, classes))
        nn.init.normal_(self.classifier, std=0.001)
        self.streams = TwoStream(stages, shared_from="layer1")
        # The authors' optimiser does not include these: a random projection that stays as it is.
        for name, size in (("projection_1", channels), ("projection_2", _PROJECTED)):
            bound = 1 / math.sqrt(size)
            self.register_buffer(name, torch.empty(_PROJECTED, size).uniform_(-bound, bound))

    def forward(
        self, images: Tensor, n_visible: int, *, middle: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Features of images and of their projections.

        Args:
            images: ``[n_v + n_t, 3, H, W]``, visible ones first.
            n_visible: n_v.
            middle: Whether to compute the projections too, if the network has them.

        Returns:
            Pooled features before and after the batch norm, ``[n, m, p, C]`` each: of the image
            itself, and (m = 2) of its projection.
        """
        views = [images]
        if middle and self.middle is not None:
            views.append(self.middle(images, n_visible))
        count = len(views)
        rows = torch.cat([v[:n_visible] for v in views] + [v[n_visible:] for v in views])
        pooled = self.pool(self.streams(rows, n_visible * count))
        necked = self.neck(pooled.flatten(1)).view_as(pooled)
        return _by_image(pooled, n_visible, count), _by_image(necked, n_visible, count)

    def losses(self, batch: CrossModalBatch) -> Losses:
        """Cross-entropy, triplet loss and distribution consistency loss, means over the stripes."""
        config = self.config
        images = torch.cat([batch.visible, batch.infrared])
        pooled, necked = (gather_batch(rows, batch) for rows in self(images, len(batch.visible)))
        logits = torch.einsum("nmpc,pck->nmpk", necked, self.classifier)
        # In float32 whatever the precision of the network: losses are differences of small numbers.
        pooled, necked, logits = pooled.float(), necked.float(), logits.float()
        labels = torch.cat([batch.visible_labels, batch.infrared_labels])
        n = len(batch.visible_labels)
        target = labels[:, None, None].expand(logits.shape[:3])
        terms = {"identity": F.cross_entropy(logits.flatten(0, 2), target.flatten())}
        if config.triplet > 0:
            compared = F.normalize(pooled, dim=3) if config.unit else pooled
            views = range(pooled.shape[1])
            triplets = [
                batch_hard_triplet_loss(
                    torch.cat([compared[:n, a, p], compared[n:, b, p]]),
                    labels,
                    margin=config.margin,
                )
                for a, b, p in product(views, views, range(config.stripes))
            ]
            terms["triplet"] = config.triplet * torch.stack(triplets).mean()
        if config.consistency > 0 and self.middle is not None:
            parts = [
                distribution_consistency_loss(
                    rows[:n], rows[n:], batch.visible_labels, batch.infrared_labels
                )
                for rows in (self.project(part) for part in pooled[:, 1].unbind(1))
            ]
            terms["consistency"] = config.consistency * torch.stack(parts).mean()
        return Losses(
            terms=terms,
            identity=terms["identity"].detach(),
            accuracy=(logits.mean((1, 2)).argmax(1) == labels).float().mean(),
            features=self._join(necked),
        )

    def project(self, rows: Tensor) -> Tensor:
        """The projection that the consistency loss compares features by.

        Args:
            rows: Features of one stripe, ``[n, C]``; its batch norms use their statistics.

        Returns:
            ``[n, 256]``, not normalised.
        """
        reduced = F.linear(F.normalize(rows), self.projection_1)
        hidden = F.relu(F.batch_norm(reduced, None, None, training=True))
        return F.batch_norm(F.linear(hidden, self.projection_2), None, None, training=True)

    def extract_features(self, images: Tensor, modality: Modality) -> Tensor:
        """L2-normalised features after the batch norm, ``[n, p·C]``."""
        n_visible = images.shape[0] if modality is Modality.VISIBLE else 0
        _, necked = self(images, n_visible, middle=self.config.feature == "both")
        return self._join(necked.float())

    def _join(self, necked: Tensor) -> Tensor:
        """Features ``[n, p·C]`` of the chosen views ``[n, m, p, C]``."""
        units = F.normalize(necked.flatten(2), dim=2)
        if self.config.feature == "image":
            return units[:, 0]
        return F.normalize(units.sum(1))

    def backbone_parameters(self) -> list[nn.Parameter]:
        """Both streams and the generators."""
        generators = [] if self.middle is None else list(self.middle.parameters())
        return [*self.streams.parameters(), *generators]


def _by_image(rows: Tensor, n_visible: int, count: int) -> Tensor:
    """``[m·n_v + m·n_t, …]``, view after view in each modality, to ``[n_v + n_t, m, …]``."""
    parts = (rows[: count * n_visible], rows[count * n_visible :])
    found = [
        part.reshape(count, -1, *part.shape[1:]).transpose(0, 1) for part in parts if part.shape[0]
    ]
    return found[0] if len(found) == 1 else torch.cat(found)


def recipe() -> Recipe[MMNConfig]:
    """MMN as its code trains: SGD 0.1 (backbone 0.01), 4 x (4 + 4), 81 epochs."""
    return Recipe(
        method=MMNConfig(),
        batch=Batch(identities=4, images=4),
        augmentation=Augmentation(erasing=0.5),
        optimisation=Optimisation(
            lr=0.1, backbone_lr=0.01, epochs=81, warmup=10.0, milestones=(20, 50)
        ),
    )
