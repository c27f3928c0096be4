"""DLIS with PALM.

Y. Wu, S. Wan, D. Wu, C. Wang, C. Yuan, X. Qin, H. Wu, X. Zhao: "Position Attention-Guided Learning
for Infrared-Visible Person Re-identification", ICIC 2020, pp. 387-397.

The idea: two ResNet-50 streams, one per modality; a position-attention module (PALM) that lets
every position of the map attend to all others; horizontal stripes for local features; cross-entropy
and hetero-center loss on each stripe.

    visible  ── stream_v ─┐
                          ├─ PALM ─ 6 stripes ─ Linear+BN ─ embeddings ─┬─ LeakyReLU+Linear ─ CE
    infrared ── stream_t ─┘                                             └─ hetero-center

    L = sum_p [ CE_p + lambda · HC_p ]

The paper's text is not openly available. Where its public summaries are silent, the choice follows
the nearest ancestor, TSLFN with hetero-center loss (Zhu et al., Neurocomputing 2020), and is an
option below; docs/dlis.md lists which is which. This is a reconstruction: no figure of the paper
is claimed as reproduced. With ``palm="off"`` it is TSLFN.

Example:
    >>> import torch
    >>> from vireid.types import Modality
    >>> model = DLIS(DLISConfig(backbone="resnet18", weights="none", size=(144, 72)), classes=10)
    >>> model.eval().extract_features(torch.randn(2, 3, 144, 72), Modality.VISIBLE).shape
    torch.Size([2, 3072])
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vireid.data.transforms import Augmentation
from vireid.distributed.gather import gather_batch
from vireid.errors import ConfigError
from vireid.losses import (
    batch_hard_triplet_loss,
    cross_modal_contrastive_loss,
    hetero_center_loss,
)
from vireid.methods._checks import check_non_negative, check_positive
from vireid.methods.method import Losses, Method, MethodConfig
from vireid.methods.recipe import Batch, Optimisation, Paper, Recipe
from vireid.nn import PALM, GeM, StripeHeads, StripePool, TwoStream, build_stages, join_stripes
from vireid.nn.backbone import StageName, output_channels
from vireid.nn.palm import PalmBranch
from vireid.nn.stripes import check_stripes
from vireid.nn.two_stream import PerModality
from vireid.types import CrossModalBatch, Modality

__all__ = [
    "DLIS",
    "PAPER",
    "DLISConfig",
    "recipe",
    "strong_recipe",
    "transfer_recipe",
    "without_palm",
]

PAPER = Paper(
    name="DLIS",
    authors="Wu et al.",
    title="Position Attention-Guided Learning for Infrared-Visible Person Re-identification",
    venue="ICIC",
    year=2020,
)


@dataclass(frozen=True, kw_only=True)
class DLISConfig(MethodConfig):
    """The options of DLIS; the defaults are the reconstruction."""

    kind: ClassVar[str] = "dlis"
    shared_from: StageName | None = None
    """First stage of the trunk that both modalities share; None: separate streams."""
    frozen: StageName | None = None
    """Last stage of the backbone that keeps its initial weights, with all stages before it."""
    frozen_norms: bool = False
    """Let the backbone's batch norms keep their initial weights and statistics."""
    palm: Literal["off", "layer3", "layer4", "stripes"] = "layer4"
    """Where PALM is applied: behind a stage, or behind layer4 within each stripe; off: TSLFN."""
    palm_branch: PalmBranch = "gamma"
    """How what PALM adds is scaled: by a learned scalar (gamma), by a BatchNorm, or by a BatchNorm
    after its mean over the image is subtracted (centred). All start at zero."""
    palm_position: Literal["none", "relative"] = "none"
    """Whether PALM's logits depend on positions: relative learns a bias for each offset."""
    palm_scaled: bool = False
    """Divide PALM's logits by the square root of the query dimension."""
    palm_shared: bool = True
    """Share one PALM between the modalities; without it each has its own."""
    palm_lr: Literal["heads", "backbone"] = "heads"
    """Which learning rate PALM trains with."""
    stripes: int = 6
    """Number of horizontal stripes."""
    dim: int = 512
    """Length of a stripe's embedding."""
    embedding_bias: bool = True
    """Learn the bias of the stripes' batch norm; without it a batch's embeddings have zero mean and
    cannot collapse to one point."""
    pooling: Literal["average", "gem"] = "average"
    """How a stripe is pooled."""
    feature: Literal["embedding", "pooled", "both"] = "embedding"
    """What the feature of an image is: the embeddings of the stripes, the pooled stripes before the
    embedding, or both with equal weight. Training does not depend on it."""
    center: float = 0.5
    """lambda, the weight of the hetero-center loss."""
    center_reduction: Literal["sum", "mean"] = "sum"
    """Sum or mean over the identities of a batch."""
    center_gate: float = 0.5
    """Scales the hetero-center loss from 0, while the identity loss is ln(classes), to its full
    weight, once the identity loss is this fraction below it; 0: always full weight."""
    smoothing: float = 0.0
    """Label smoothing of the cross-entropy."""
    triplet: float = 0.0
    """Weight of a batch-hard triplet loss on the whole feature."""
    margin: float = 0.3
    """Margin of that triplet loss."""
    contrast: float = 0.0
    """Weight of a supervised contrastive loss on the whole feature, across modalities and, at half
    the weight, among all images."""
    temperature: float = 0.1
    """Temperature of that contrastive loss."""
    identity: float = 1.0
    """Weight of the identity loss, which is summed over the stripes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_stripes(self.stripes, dim=self.dim, height=self.size[0])
        if not 0 <= self.center_gate < 1:
            raise ConfigError(
                f"The center-loss gate '{self.center_gate}' is not in [0, 1) (--center-gate)."
            )
        if not 0 <= self.smoothing < 1:
            raise ConfigError(f"Label smoothing '{self.smoothing}' is not in [0, 1) (--smoothing).")
        check_non_negative(self, "center", "triplet", "margin", "contrast", "identity")
        check_positive(self, "temperature")

    def on_cpu(self) -> Self:
        """The options for two CPU cores; PALM would otherwise soon attend to a single position."""
        return replace(super().on_cpu(), palm_scaled=True, palm_lr="backbone")

    def build(self, *, classes: int) -> DLIS:
        """Build the network for a number of training identities."""
        return DLIS(self, classes=classes)

    def about(self) -> dict[str, str]:
        """What a result says of the network."""
        return {**super().about(), "palm": self.palm}


class DLIS(Method):
    """Two streams, PALM, stripes.

    Args:
        config: The options.
        classes: Number of training identities.
    """

    supports_distributed: ClassVar[bool] = True

    def __init__(self, config: DLISConfig, *, classes: int) -> None:
        super().__init__()
        self.config = config
        self.size = config.size
        stages, channels = build_stages(config.backbone, config.weights)
        self.pool = (GeM if config.pooling == "gem" else StripePool)(config.stripes)
        self.heads = StripeHeads(
            channels,
            stripes=config.stripes,
            dim=config.dim,
            classes=classes,
            bias=config.embedding_bias,
        )
        # PALM is initialised last: with one seed, all other weights are the same without it.
        after: dict[StageName, PerModality] = {}
        if config.palm != "off":
            stage: StageName = "layer3" if config.palm == "layer3" else "layer4"
            width = channels if stage == "layer4" else output_channels(stages[stage])
            after[stage] = PerModality(
                self._palm(width), None if config.palm_shared else self._palm(width)
            )
        self.streams = TwoStream(
            stages,
            shared_from=config.shared_from,
            after=after,
            frozen=config.frozen,
            frozen_norms=config.frozen_norms,
        )

    def _palm(self, channels: int) -> PALM:
        height, width = self.size
        return PALM(
            channels,
            branch=self.config.palm_branch,
            scaled=self.config.palm_scaled,
            stripes=self.config.stripes if self.config.palm == "stripes" else None,
            grid=(
                # Every backbone halves four times, rounding up.
                (-(-height // 16), -(-width // 16))
                if self.config.palm_position == "relative"
                else None
            ),
        )

    def forward(self, images: Tensor, n_visible: int) -> Tensor:
        """Embed the stripes of images.

        Args:
            images: ``[n_v + n_t, 3, H, W]``, visible ones first.
            n_visible: n_v.

        Returns:
            Embeddings, ``[n, p, d]``, not normalised.
        """
        return self.heads(self.pool(self.streams(images, n_visible)))  # type: ignore[no-any-return]

    def losses(self, batch: CrossModalBatch) -> Losses:
        """Cross-entropy and hetero-center loss summed over the stripes (and a triplet loss)."""
        config = self.config
        n = len(batch.visible_labels)
        images = torch.cat([batch.visible, batch.infrared])
        embeddings = gather_batch(self(images, len(batch.visible)), batch)
        logits = self.heads.classify(embeddings)
        # In float32 whatever the precision of the network: losses are differences of small numbers.
        embeddings, logits = embeddings.float(), logits.float()
        labels = torch.cat([batch.visible_labels, batch.infrared_labels])
        target = labels[:, None].expand(-1, config.stripes).flatten()
        flat = logits.flatten(0, 1)
        features = join_stripes(embeddings)
        with torch.no_grad():
            identity = F.cross_entropy(flat, target)
            accuracy = (logits.mean(1).argmax(1) == labels).float().mean()
        smoothed = F.cross_entropy(flat, target, label_smoothing=config.smoothing)
        terms = {"identity": config.identity * config.stripes * smoothed}
        if config.center > 0:
            terms["center"] = (
                config.center
                * self._center_gate(identity)
                * hetero_center_loss(
                    embeddings[:n],
                    embeddings[n:],
                    batch.visible_labels,
                    batch.infrared_labels,
                    reduction=config.center_reduction,
                )
            )
        if config.triplet > 0:
            terms["triplet"] = config.triplet * batch_hard_triplet_loss(
                features, labels, margin=config.margin
            )
        if config.contrast > 0:
            terms["contrast"] = config.contrast * cross_modal_contrastive_loss(
                features[:n],
                features[n:],
                batch.visible_labels,
                batch.infrared_labels,
                temperature=config.temperature,
            )
        return Losses(terms=terms, identity=identity, accuracy=accuracy, features=features)

    def _center_gate(self, identity: Tensor) -> Tensor | float:
        """The center-loss gate: the factor of the hetero-center loss, in [0, 1].

        The classifiers start near 0 and so pass on almost no gradient: at first the hetero-center
        loss would act alone and collapse all embeddings to one point, from which the identity loss
        does not recover. The gate opens as the identity loss falls.
        """
        if self.config.center_gate == 0:
            return 1.0
        uniform = math.log(self.heads.classifier_weight.shape[2])
        return ((uniform - identity) / (self.config.center_gate * uniform)).clamp(0, 1)

    def extract_features(self, images: Tensor, modality: Modality) -> Tensor:
        """The stripes' unit vectors, concatenated and normalised again.

        Returns:
            ``[n, p·d]``; with ``feature="pooled"`` ``[n, p·C]``, with "both" ``[n, p·d + p·C]``.
        """
        n_visible = images.shape[0] if modality is Modality.VISIBLE else 0
        pooled = self.pool(self.streams(images, n_visible))
        kind = self.config.feature
        parts = []
        if kind != "pooled":
            parts.append(join_stripes(self.heads(pooled).float()))
        if kind != "embedding":
            parts.append(join_stripes(pooled.float()))
        return F.normalize(torch.cat(parts, dim=1), dim=1) if len(parts) > 1 else parts[0]

    def backbone_parameters(self) -> list[nn.Parameter]:
        """The streams, with PALM if ``palm_lr`` says so."""
        palms = [p for m in self.modules() if isinstance(m, PALM) for p in m.parameters()]
        known = {id(p) for p in palms}
        trained = (p for p in self.streams.parameters() if p.requires_grad)
        own = [p for p in trained if id(p) not in known]
        return own + palms if self.config.palm_lr == "backbone" else own


def recipe() -> Recipe[DLISConfig]:
    """The paper-like recipe, after the published code of TSLFN, for ImageNet weights and a GPU."""
    return Recipe(method=DLISConfig())


def strong_recipe() -> Recipe[DLISConfig]:
    """DLIS with improvements of later work: good results in few epochs, on a CPU too.

    Separate stems and a shared trunk, a PALM whose logits depend on offsets and whose output has
    mean 0 over the positions (docs/research/palm.md), label smoothing, batch-hard triplet loss,
    channel augmentation (Ye et al., ICCV 2021), Adam with warm-up and cosine decay.
    """
    return Recipe(
        method=DLISConfig(
            shared_from="layer1",
            palm_branch="centred",
            palm_position="relative",
            palm_scaled=True,
            palm_lr="backbone",
            dim=256,
            embedding_bias=False,
            center_reduction="mean",
            smoothing=0.1,
            triplet=1.0,
        ),
        batch=Batch(identities=8, images=4),
        augmentation=Augmentation(channel=0.5),
        optimisation=Optimisation(
            optimizer="adam",
            lr=2e-3,
            backbone_lr=3.5e-4,
            epochs=30,
            warmup=1.0,
            schedule="cosine",
            clip=20.0,
        ),
    )


def transfer_recipe() -> Recipe[DLISConfig]:
    """DLIS that learns from synthetic people what holds for other cameras and people too.

    One trunk for both modalities, small rates, a supervised contrastive loss across modalities,
    because thousands of identities with few images each teach a classifier nothing at first, and
    photometric augmentation (docs/models.md has what was measured). PALM is off: it takes a fifth
    of the time of a step, and is not shown to help (docs/research/palm.md).
    """
    return Recipe(
        method=DLISConfig(
            shared_from="stem",
            palm="off",
            dim=256,
            embedding_bias=False,
            center_reduction="mean",
            smoothing=0.1,
            contrast=1.0,
            identity=0.05,
        ),
        batch=Batch(identities=15, images=2),
        augmentation=Augmentation(pad=5, channel=0.5, photometric=0.25),
        optimisation=Optimisation(
            optimizer="adamw",
            lr=1e-3,
            backbone_lr=6e-4,
            weight_decay=1e-3,
            epochs=4,
            warmup=0.1,
            schedule="cosine",
            clip=10.0,
        ),
    )


def without_palm(recipe: Recipe[DLISConfig]) -> Recipe[DLISConfig]:
    """The same recipe with PALM off."""
    return replace(recipe, method=replace(recipe.method, palm="off"))
