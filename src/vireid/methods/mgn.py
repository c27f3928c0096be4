"""MGN: the multiple granularity network, with branches for whole, halves and thirds.

G. Wang, Y. Yuan, X. Chen, J. Li, X. Zhou: "Learning Discriminative Features with Multiple
Granularities for Person Re-Identification", ACM MM 2018.

The idea: combine global and local features. After the first block of layer3 the network has three
branches with separate layers: one for the whole person, one that adds two halves, one that adds
three thirds. Each of the eight parts has a separate reduction to 256 channels and a separate
classifier; the three of the whole person also have a triplet loss.

                                       ┌─ layer3' ─ layer4 (stride 2) ── max ── g1
    both ── stem .. layer3, block 1 ───┼─ layer3' ─ layer4 (stride 1) ── max ── g2, 2 halves
                                       └─ layer3' ─ layer4 (stride 1) ── max ── g3, 3 thirds

    f_i = ReLU(BN(Linear_i(max_i))),  i = 1..8
    L = mean_i CE_i + w · mean_{g1, g2, g3} triplet      (batch-hard, margin 1.2, w = 2)

The paper's recipe and its reproduction (seathiefwang/MGN-pytorch) differ; this module follows the
reproduction, which is what people run:

- the cross-entropies of the whole person are on the reduced 256-d features (in the paper on the
  2,048-d ones before; users of two reproductions report no improvement from that);
- Adam 2e-4, 160 epochs, a tenth at 120 and 140, random erasing (the paper, by notes on it: SGD
  0.01, 80 epochs, a tenth at 40 and 60, flips only), and weight 2 for the triplets.

Published (ResNet-50 from ImageNet, visible images only, R-1/mAP WITH re-ranking, not measured
here): Market-1501 96.6/94.2 (the paper's abstract), 94.6/92.2 (the reproduction with this recipe;
95.8/93.8 in its later runs). No figure for visible-infrared images exists; both modalities go
through the one network, an infrared image as three equal channels.

Changes: 4 images of each of 16 identities are 2 visible and 2 infrared ones. The heads are
initialised like TSLFN's (classifiers near 0). Features are not averaged over flipped images.

A test feature is the concatenation of the eight features. With ResNet-50 at 384x128: 69.6 million
parameters for 395 identities, features of 2,048 values.

Example:
    >>> import torch
    >>> from vireid.types import Modality
    >>> model = MGN(MGNConfig(backbone="resnet18", weights="none", size=(96, 48)), classes=10)
    >>> model.eval().extract_features(torch.randn(2, 3, 96, 48), Modality.VISIBLE).shape
    torch.Size([2, 2048])
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vireid.data.transforms import Augmentation
from vireid.distributed.gather import gather_batch
from vireid.errors import ConfigError
from vireid.losses import batch_hard_triplet_loss
from vireid.methods._checks import check_non_negative
from vireid.methods.method import Losses, Method, MethodConfig
from vireid.methods.recipe import Batch, Optimisation, Paper, Recipe
from vireid.nn import StripeHeads, build_stages
from vireid.nn.backbone import keep_resolution
from vireid.nn.branches import Branch, split_stages
from vireid.types import CrossModalBatch, Modality

__all__ = ["MGN", "PAPER", "MGNConfig", "recipe"]

PAPER = Paper(
    name="MGN",
    authors="Wang et al.",
    title="Learning Discriminative Features with Multiple Granularities for Person "
    "Re-Identification",
    venue="ACM MM",
    year=2018,
)

_GRANULARITIES = ((1,), (1, 2), (1, 3))
_PARTS = sum(map(sum, _GRANULARITIES))
# The parts that cover the whole person: the first of each branch.
_WHOLE = (0, 1, 4)


@dataclass(frozen=True, kw_only=True)
class MGNConfig(MethodConfig):
    """The options of MGN; the defaults are those of the reproduction."""

    kind: ClassVar[str] = "mgn"
    size: tuple[int, int] = (384, 128)
    """Height and width of the input, in pixels."""
    dim: int = 256
    """Length of each of the eight features."""
    triplet: float = 2.0
    """Weight of the batch-hard triplet loss on the features of the whole person."""
    margin: float = 1.2
    """Margin of that triplet loss."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dim < 1:
            raise ConfigError(f"Features of '{self.dim}' channels; expected 1 or more (--dim).")
        check_non_negative(self, "triplet", "margin")

    def build(self, *, classes: int) -> MGN:
        """Build the network for a number of training identities."""
        return MGN(self, classes=classes)


class MGN(Method):
    """One trunk, three branches, eight parts.

    Args:
        config: The options.
        classes: Number of training identities.
    """

    supports_distributed: ClassVar[bool] = True

    def __init__(self, config: MGNConfig, *, classes: int) -> None:
        super().__init__()
        self.config = config
        self.size = config.size
        stages, channels = build_stages(config.backbone, config.weights, last_stride=2)
        self.heads = StripeHeads(channels, stripes=_PARTS, dim=config.dim, classes=classes)
        self.trunk, behind = split_stages(stages)
        self.branches = nn.ModuleList(
            Branch(copy.deepcopy(behind), stripes) for stripes in _GRANULARITIES
        )
        for branch in self.branches[1:]:
            keep_resolution(branch)

    def forward(self, images: Tensor) -> Tensor:
        """Features of the eight parts of images of any modality.

        Args:
            images: ``[n, 3, H, W]``.

        Returns:
            Features, ``[n, 8, d]``, not negative: whole; whole, two halves; whole, three thirds.
        """
        x = self.trunk(images)
        return F.relu(self.heads(torch.cat([branch(x) for branch in self.branches], dim=1)))

    def losses(self, batch: CrossModalBatch) -> Losses:
        """Mean cross-entropy over the parts; mean triplet loss over those of the whole person."""
        features = gather_batch(self(torch.cat([batch.visible, batch.infrared])), batch)
        # The features are not negative, so that the LeakyReLU of the classifiers has no effect.
        logits = self.heads.classify(features).float()
        labels = torch.cat([batch.visible_labels, batch.infrared_labels])
        identity = F.cross_entropy(logits.transpose(1, 2), labels[:, None].expand(-1, _PARTS))
        triplets = [
            batch_hard_triplet_loss(features[:, view].float(), labels, margin=self.config.margin)
            for view in _WHOLE
        ]
        return Losses(
            terms={
                "identity": identity,
                "triplet": self.config.triplet * torch.stack(triplets).mean(),
            },
            identity=identity.detach(),
            accuracy=(logits.mean(1).argmax(1) == labels).float().mean(),
            features=_join(features),
        )

    def extract_features(self, images: Tensor, modality: Modality) -> Tensor:
        """The eight features, concatenated and normalised: ``[n, 8·d]``."""
        del modality
        return _join(self(images))

    def backbone_parameters(self) -> list[nn.Parameter]:
        """The trunk and the branches."""
        return [*self.trunk.parameters(), *self.branches.parameters()]


def _join(features: Tensor) -> Tensor:
    return F.normalize(features.float().flatten(1))


def recipe() -> Recipe[MGNConfig]:
    """MGN as reproduced: Adam 2e-4, a tenth at 120 and 140 of 160 epochs, 16 identities x 4."""
    return Recipe(
        method=MGNConfig(),
        batch=Batch(identities=16, images=2),
        augmentation=Augmentation(pad=0, erasing=0.5),
        optimisation=Optimisation(
            optimizer="adam", lr=2e-4, backbone_lr=2e-4, epochs=160, milestones=(120, 140)
        ),
    )
