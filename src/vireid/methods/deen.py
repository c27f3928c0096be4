"""DEEN: further embeddings of each image, generated inside the network.

Y. Zhang, H. Wang: "Diverse Embedding Expansion Network and Low-Light Cross-Modality Benchmark for
Visible-Infrared Person Re-identification", CVPR 2023, arXiv 2303.14481.

The idea: with few training images and a large gap between the modalities, generate more embeddings
instead of images. Behind layer3 a block of dilated convolutions adds two further maps of each
image (DEE, eq. 1), which go through layer4 with the original one. They are to differ from the
original ones and to approach those of the other modality (CPM loss, eqs. 3 to 5), and to be
orthogonal to each other (eq. 6). Blocks behind layer1, layer2 and layer3 aggregate the input of the
stage into its output (MFA, eqs. 7 to 9).

    visible  ── stem_v ─┐                                                ┌─ pool ─┬─ triplet, CPM
                        ├─ layer1 ─ MFA ─ layer2 ─ MFA ─ layer3 ─ MFA ─ DEE ─ layer4 (3 maps)
    infrared ── stem_t ─┘                                                └─ pool ─┴─ BN ─ CE

    L = CE + triplet + 0.8 CPM + 0.01 orthogonality                                    (eq. 10)

Published (ResNet-50 from ImageNet, R-1/mAP, tables 2 and 3 of the paper, not measured here):
SYSU-MM01 all-search single-shot 74.7/71.8; RegDB visible to thermal 91.1/85.1; LLCM infrared to
visible 54.9/62.9 (the repository replaced its LLCM figures later).

Where the paper and the authors' code differ, the default is the code, which made the figures, with
an option for the paper's form: the similarities of MFA are divided by their number (softmax in
eq. 7: ``--softmax``); CPM compares each distance by a hinge of its own (all in one in eq. 3:
``--no-released-pairs``). Also the code's: the mean of the dilated convolutions (eq. 1 adds them),
dropout of 1 %, orthogonality at 0.01 and divided by the number of embeddings (the paper finds 0.1
best), and a test feature that joins the unit vectors of all maps before and after the batch norm,
whose product is the mean of the code's six similarities. The code's test script also adds the
features of the mirror image: `vireid evaluate --flip`. Table 6 of the paper finds three branches
best; the code generates two embeddings of each image. The schedule is the paper's (a tenth at
epochs 20, 60 and 120; in the code the second is at 80 and the third out of reach).

Chosen here: MFA compares single positions (see :mod:`vireid.nn.aggregation`). The code turns half
of all images grey; here half of the visible ones become one channel or luminance. It erases 20 to
80 % of an image of SYSU-MM01, here 2 to 40 % as of the other data sets, and fills in ImageNet's
mean without normalisation, here with it. For RegDB the authors
remove layer4; that is not offered, only the place of DEE (``--expand-after layer2``).

With ResNet-50 and 395 identities: 42,035,744 parameters, features of 12,288 values.

Example:
    >>> import torch
    >>> from vireid.types import Modality
    >>> model = DEEN(DEENConfig(backbone="resnet18", weights="none", size=(64, 32)), classes=10)
    >>> model.eval().extract_features(torch.randn(2, 3, 64, 32), Modality.INFRARED).shape
    torch.Size([2, 3072])
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vireid.data.transforms import Augmentation
from vireid.distributed.gather import gather_batch
from vireid.errors import ConfigError
from vireid.losses import batch_hard_triplet_loss, center_pair_mining_loss, orthogonality_loss
from vireid.methods._checks import check_non_negative
from vireid.methods.method import Losses, Method, MethodConfig
from vireid.methods.recipe import Batch, Optimisation, Paper, Recipe
from vireid.nn import StripePool, build_stages
from vireid.nn.aggregation import FeatureAggregation
from vireid.nn.backbone import StageName, output_channels
from vireid.nn.expansion import EmbeddingExpansion
from vireid.nn.two_stream import PerModality
from vireid.types import CrossModalBatch, Modality

__all__ = ["DEEN", "PAPER", "DEENConfig", "recipe"]

PAPER = Paper(
    name="DEEN",
    authors="Zhang and Wang",
    title="Diverse Embedding Expansion Network and Low-Light Cross-Modality Benchmark for "
    "Visible-Infrared Person Re-identification",
    venue="CVPR",
    year=2023,
)

_AGGREGATED: tuple[StageName, ...] = ("layer1", "layer2", "layer3")


@dataclass(frozen=True, kw_only=True)
class DEENConfig(MethodConfig):
    """The options of DEEN; the defaults are those of the published code."""

    kind: ClassVar[str] = "deen"
    size: tuple[int, int] = (384, 144)
    """Height and width of the input, in pixels."""
    branches: int = 2
    """Embeddings that DEE generates of each image; 0: no DEE."""
    expand_after: StageName = "layer3"
    """The stage behind which DEE is."""
    aggregation: bool = True
    """Aggregate the inputs of layer1, layer2 and layer3 into their outputs (MFA)."""
    softmax: bool = False
    """Normalise the similarities of MFA by softmax, as the paper says, instead of dividing them by
    their number, as the code does."""
    triplet: float = 1.0
    """Weight of the batch-hard triplet loss."""
    margin: float = 0.3
    """Margin of that triplet loss."""
    unit: bool = False
    """Compare L2-normalised features in the triplet loss, CPM and orthogonality."""
    pairs: float = 0.8
    """lambda_1, the weight of the center-guided pair mining loss (CPM)."""
    pair_margin: float = 0.2
    """alpha, the margin of that loss."""
    released_pairs: bool = True
    """Compare each distance of CPM by a hinge of its own, as the code does; without it all in one,
    as the paper says."""
    orthogonality: float = 0.01
    """lambda_2, the weight of the orthogonality loss between the generated embeddings."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.branches < 0:
            raise ConfigError(
                f"'{self.branches}' generated embeddings; expected 0 or more (--branches)."
            )
        check_non_negative(self, "triplet", "margin", "pairs", "pair_margin", "orthogonality")

    def on_cpu(self) -> Self:
        """The options for two CPU cores; large features would otherwise soon shrink to a point."""
        return replace(super().on_cpu(), unit=True)

    def build(self, *, classes: int) -> DEEN:
        """Build the network for a number of training identities."""
        return DEEN(self, classes=classes)


class DEEN(Method):
    """Separate stems, a shared trunk with MFA and DEE, one feature a map.

    Args:
        config: The options.
        classes: Number of training identities.
    """

    supports_distributed: ClassVar[bool] = True

    def __init__(self, config: DEENConfig, *, classes: int) -> None:
        super().__init__()
        self.config = config
        self.size = config.size
        stages, channels = build_stages(config.backbone, config.weights)
        widths = {name: output_channels(stage) for name, stage in stages.items()}
        self.pool = StripePool(1)
        self.neck = nn.BatchNorm1d(channels)
        self.neck.bias.requires_grad_(False)
        self.classifier = nn.Linear(channels, classes, bias=False)
        nn.init.normal_(self.classifier.weight, std=0.001)
        stem = stages.pop("stem")
        self.stem = PerModality(stem, copy.deepcopy(stem))
        self.stages = nn.ModuleDict({str(name): stage for name, stage in stages.items()})
        self.aggregation = nn.ModuleDict()
        low = widths["stem"]
        for name in _AGGREGATED if config.aggregation else ():
            self.aggregation[name] = FeatureAggregation(
                widths[name], low, stride=_stride(stages[name]), softmax=config.softmax
            )
            low = widths[name]
        self.expansion = (
            EmbeddingExpansion(widths[config.expand_after], branches=config.branches)
            if config.branches
            else None
        )

    def forward(self, images: Tensor, n_visible: int) -> tuple[Tensor, Tensor]:
        """Embeddings of images, the original one first, then those that DEE generates.

        Args:
            images: ``[n_v + n_t, 3, H, W]``, visible ones first.
            n_visible: n_v.

        Returns:
            Pooled features before and after the batch norm, ``[n, 1 + b, C]`` each.
        """
        x = self._expand(self.stem(images, n_visible), "stem")
        for name, stage in self.stages.items():
            low, x = x, stage(x)
            if name in self.aggregation:
                x = self.aggregation[name](x, low)
            x = self._expand(x, name)
        pooled = self.pool(x).squeeze(1)
        count = 1 + self.config.branches
        found = (
            y.reshape(count, -1, y.shape[1]).transpose(0, 1) for y in (pooled, self.neck(pooled))
        )
        return next(found), next(found)

    def _expand(self, x: Tensor, name: str) -> Tensor:
        if self.expansion is None or name != self.config.expand_after:
            return x
        return self.expansion(x)  # type: ignore[no-any-return]

    def losses(self, batch: CrossModalBatch) -> Losses:
        """Cross-entropy, triplet loss, center-guided pair mining and orthogonality."""
        config = self.config
        images = torch.cat([batch.visible, batch.infrared])
        pooled, necked = (gather_batch(rows, batch) for rows in self(images, len(batch.visible)))
        # In float32 whatever the precision of the network: losses are differences of small numbers.
        logits = self.classifier(necked).float()
        pooled, necked = pooled.float(), necked.float()
        labels = torch.cat([batch.visible_labels, batch.infrared_labels])
        every = labels[:, None].expand(pooled.shape[:2]).flatten()
        n = len(batch.visible_labels)
        compared = F.normalize(pooled, dim=2) if config.unit else pooled
        terms = {"identity": F.cross_entropy(logits.flatten(0, 1), every)}
        if config.triplet > 0:
            terms["triplet"] = config.triplet * batch_hard_triplet_loss(
                compared.flatten(0, 1), every, margin=config.margin
            )
        original, *generated = compared.unbind(1)
        if config.pairs > 0 and generated:
            mined = [
                center_pair_mining_loss(
                    original[:n],
                    original[n:],
                    rows[:n],
                    rows[n:],
                    batch.visible_labels,
                    batch.infrared_labels,
                    margin=config.pair_margin,
                    released=config.released_pairs,
                )
                for rows in generated
            ]
            terms["pairs"] = config.pairs * torch.stack(mined).sum()
        if config.orthogonality > 0 and len(generated) > 1:
            terms["orthogonality"] = config.orthogonality * orthogonality_loss(compared[:, 1:])
        return Losses(
            terms=terms,
            identity=terms["identity"].detach(),
            accuracy=(logits.mean(1).argmax(1) == labels).float().mean(),
            features=_join(pooled, necked),
        )

    def extract_features(self, images: Tensor, modality: Modality) -> Tensor:
        """Unit features of all maps, before and after the batch norm, joined: ``[n, 2(1+b)C]``."""
        n_visible = images.shape[0] if modality is Modality.VISIBLE else 0
        pooled, necked = self(images, n_visible)
        return _join(pooled.float(), necked.float())

    def backbone_parameters(self) -> list[nn.Parameter]:
        """Everything before the pooling, as in the authors' code."""
        heads = {id(p) for part in (self.neck, self.classifier) for p in part.parameters()}
        return [p for p in self.parameters() if id(p) not in heads]


def _join(pooled: Tensor, necked: Tensor) -> Tensor:
    """Features ``[n, 2·m·C]`` from those before and after the batch norm, ``[n, m, C]`` each."""
    units = F.normalize(torch.cat([pooled, necked], dim=1), dim=2)
    return F.normalize(units.flatten(1))


def _stride(stage: nn.Module) -> int:
    """What a stage divides the resolution by; none halves twice."""
    convolutions = (m for m in stage.modules() if isinstance(m, nn.Conv2d))
    return 2 if any(layer.stride == (2, 2) for layer in convolutions) else 1


def recipe() -> Recipe[DEENConfig]:
    """DEEN as published: SGD 0.1 (backbone 0.01), 6 x (4 + 4), 150 epochs."""
    return Recipe(
        method=DEENConfig(),
        batch=Batch(identities=6, images=4),
        augmentation=Augmentation(erasing=0.5, channel=0.5),
        optimisation=Optimisation(
            lr=0.1, backbone_lr=0.01, epochs=150, warmup=10.0, milestones=(20, 60, 120)
        ),
    )
