"""PCB: the part-based convolutional baseline; one network, horizontal stripes.

Y. Sun, L. Zheng, Y. Yang, Q. Tian, S. Wang: "Beyond Part Models: Person Retrieval with Refined Part
Pooling (and a Strong Convolutional Baseline)", ECCV 2018.

The idea: keep the map of the last stage large, divide it into six equal horizontal stripes, average
each into a vector g, reduce it to a shorter h with layers that all stripes share, and train a
separate identity classifier for each stripe. As long as heads, shirts and shoes are at roughly
known heights, no body model is needed. DLIS has its stripes from here (via TSLFN).

    visible  ─┐             ┌─ g_1 ─┐                              ┌─ h_1 ─ Linear_1 ─ CE
              ├─ backbone ──┤  ...  ├─ dropout ─ Linear+BN+ReLU ───┤  ...
    infrared ─┘             └─ g_6 ─┘       (the same for all)     └─ h_6 ─ Linear_6 ─ CE

    L = sum_p CE_p

Published (ResNet-50 from ImageNet, visible images only, R-1/mAP, not measured here): Market-1501
92.3/77.4 (paper), about 93.0/78.0 (the authors' code). No figure for visible-infrared images
exists; both modalities go through the one network, an infrared image as three equal channels.

Changes: a batch has identities in both modalities instead of 64 random images, 32 of them with one
image in each, which is as close as the sampler gets. The refined part pooling, a second stage of
training, is omitted, as in the paper's "PCB" without "+RPP".

A test feature is the six averages g, each L2-normalised, concatenated, as in the authors' code; the
paper allows g or h and finds little difference (from memory, unverified). h (``--feature h``) is an
eighth as long with a ResNet-50, but its ReLU can make the whole feature zero: trained on SynVI
standard for a few epochs, 108 of its images had an h of zeros, which cannot be ranked. With
ResNet-50 at 384x128: 24.6 million parameters for 395 identities, features of 12,288 values (h:
1,536).

Example:
    >>> import torch
    >>> from vireid.types import Modality
    >>> model = PCB(PCBConfig(backbone="resnet18", weights="none", size=(96, 48)), classes=10)
    >>> model.eval().extract_features(torch.randn(2, 3, 96, 48), Modality.VISIBLE).shape
    torch.Size([2, 3072])
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vireid.data.transforms import Augmentation
from vireid.distributed.gather import gather_batch
from vireid.errors import ConfigError
from vireid.methods.method import Losses, Method, MethodConfig
from vireid.methods.recipe import Batch, Optimisation, Paper, Recipe
from vireid.nn import StripeHeads, StripePool, TwoStream, build_stages, join_stripes
from vireid.nn.backbone import StageName
from vireid.nn.stripes import check_stripes
from vireid.types import CrossModalBatch, Modality

__all__ = ["PAPER", "PCB", "PCBConfig", "recipe"]

PAPER = Paper(
    name="PCB",
    authors="Sun et al.",
    title="Beyond Part Models: Person Retrieval with Refined Part Pooling "
    "(and a Strong Convolutional Baseline)",
    venue="ECCV",
    year=2018,
)


@dataclass(frozen=True, kw_only=True)
class PCBConfig(MethodConfig):
    """The options of PCB; the defaults are the published ones."""

    kind: ClassVar[str] = "pcb"
    size: tuple[int, int] = (384, 128)
    """Height and width of the input, in pixels."""
    shared_from: StageName | None = "stem"
    """From this stage on both modalities use one trunk; stem: one network, as published."""
    stripes: int = 6
    """Number of horizontal stripes."""
    dim: int = 256
    """Length of a stripe's embedding h."""
    dropout: float = 0.5
    """Share of a pooled stripe's values that training leaves out."""
    feature: Literal["g", "h"] = "g"
    """What describes an image at test: the stripes' averages, or their embeddings behind them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_stripes(self.stripes, dim=self.dim, height=self.size[0])
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"The dropout '{self.dropout}' is not in [0, 1) (--dropout).")

    def build(self, *, classes: int) -> PCB:
        """Build the network for a number of training identities."""
        return PCB(self, classes=classes)


class PCB(Method):
    """One network, stripes.

    Args:
        config: The options.
        classes: Number of training identities.
    """

    supports_distributed: ClassVar[bool] = True

    def __init__(self, config: PCBConfig, *, classes: int) -> None:
        super().__init__()
        self.config = config
        self.size = config.size
        stages, channels = build_stages(config.backbone, config.weights)
        self.pool = StripePool(config.stripes)
        self.dropout = nn.Dropout(config.dropout)
        self.heads = StripeHeads(
            channels, stripes=config.stripes, dim=config.dim, classes=classes, shared=True
        )
        self.streams = TwoStream(stages, shared_from=config.shared_from)

    def forward(self, images: Tensor, n_visible: int) -> tuple[Tensor, Tensor]:
        """Averages and embeddings of the stripes of images.

        Args:
            images: ``[n_v + n_t, 3, H, W]``, visible ones first.
            n_visible: n_v.

        Returns:
            The averages g, ``[n, p, C]``, and the embeddings h, ``[n, p, d]``, not negative.
        """
        pooled = self.pool(self.streams(images, n_visible))
        return pooled, F.relu(self.heads(self.dropout(pooled)))

    def losses(self, batch: CrossModalBatch) -> Losses:
        """Cross-entropy summed over the stripes."""
        images = torch.cat([batch.visible, batch.infrared])
        pooled, embeddings = self(images, batch.visible.shape[0])
        features = gather_batch(self._join(pooled, embeddings), batch)
        embeddings = gather_batch(embeddings, batch)
        # The features are not negative, so that the LeakyReLU of the classifiers has no effect.
        logits = self.heads.classify(embeddings).float()
        labels = torch.cat([batch.visible_labels, batch.infrared_labels])
        identity = F.cross_entropy(
            logits.transpose(1, 2), labels[:, None].expand(-1, self.config.stripes)
        )
        return Losses(
            terms={"identity": self.config.stripes * identity},
            identity=identity.detach(),
            accuracy=(logits.mean(1).argmax(1) == labels).float().mean(),
            features=features,
        )

    def extract_features(self, images: Tensor, modality: Modality) -> Tensor:
        """The L2-normalised vectors of the stripes, concatenated and normalised: ``[n, p·d]``."""
        n_visible = images.shape[0] if modality is Modality.VISIBLE else 0
        return self._join(*self(images, n_visible))

    def _join(self, pooled: Tensor, embeddings: Tensor) -> Tensor:
        parts = pooled if self.config.feature == "g" else embeddings
        return join_stripes(parts.float())

    def backbone_parameters(self) -> list[nn.Parameter]:
        """The network before the stripes."""
        return list(self.streams.parameters())


def recipe() -> Recipe[PCBConfig]:
    """PCB as published: SGD 0.1 (backbone 0.01), a tenth at 40 of 60 epochs, flips only."""
    return Recipe(
        method=PCBConfig(),
        batch=Batch(identities=32, images=1),
        augmentation=Augmentation(pad=0),
        optimisation=Optimisation(lr=0.1, backbone_lr=0.01, epochs=60, milestones=(40,)),
    )
