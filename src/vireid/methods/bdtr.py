"""BDTR: bi-directional dual-constrained top-ranking (the method of the DCTR paper).

M. Ye, Z. Wang, X. Lan, P. C. Yuen: "Visible Thermal Person Re-Identification via Dual-Constrained
Top-Ranking", IJCAI 2018.

The idea: the first rank is what counts. With one visible and one infrared image of each person in a
batch, the match of an anchor in the other modality should be nearer, by a margin, than the nearest
impostor there; from visible to infrared and from infrared to visible. A second constraint separates
the match and that impostor, which are of one modality.

    visible  ── stream_v ─┐
                          ├─ mean ─ Linear+BN ─ embedding ─┬─ LeakyReLU+Linear ─ CE
    infrared ── stream_t ─┘                                └─ top-ranking

    L = CE + L_cross + 0.1 · L_intra, on L2-normalised embeddings, both directions summed:
    L_cross = mean_a max(0, 0.5 + d(a, p) - d(a, n))       p: a's match, n: the nearest impostor
    L_intra = mean_a max(0, 0.1 - d(p, n))

Published (AlexNet, R-1/mAP, as DEEN's Table 2 reports them; not measured here): SYSU-MM01
all-search single-shot 17.0/19.7; RegDB visible to thermal 33.6/32.8, thermal to visible 32.9/32.0.

Changes: a ResNet-50 instead of AlexNet, 288x144 pixels instead of 227x227, and what
follows from it (:mod:`vireid.methods.embedding`; the code has a batch norm after each stream's
fc6, here it follows the shared layer); pad, crop and flip as in all recipes here (the code
crops). As in the published code a batch is 64 identities x (1 + 1) images; for two cores 32.

With these margins the second constraint has hardly any effect: trained on SynVI demo with
``bdtr-cpu``, L_intra was 0.000 in every epoch, since two people of one modality are further apart
than 0.1 from the start.

With ResNet-50 and 395 identities: 49,521,163 parameters, features of 1,024 values.

Example:
    >>> import torch
    >>> from vireid.types import Modality
    >>> model = BDTR(BDTRConfig(backbone="resnet18", weights="none", size=(64, 32)), classes=10)
    >>> model.eval().extract_features(torch.randn(2, 3, 64, 32), Modality.INFRARED).shape
    torch.Size([2, 1024])
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from vireid.losses import top_ranking_loss
from vireid.methods._checks import check_non_negative
from vireid.methods.embedding import EmbeddingConfig, EmbeddingMethod
from vireid.methods.recipe import Batch, Optimisation, Paper, Recipe

__all__ = ["BDTR", "PAPER", "BDTRConfig", "recipe"]

PAPER = Paper(
    name="BDTR",
    authors="Ye et al.",
    title="Visible Thermal Person Re-Identification via Dual-Constrained Top-Ranking",
    venue="IJCAI",
    year=2018,
)


@dataclass(frozen=True, kw_only=True)
class BDTRConfig(EmbeddingConfig):
    """The options of BDTR; the defaults are the published ones."""

    kind: ClassVar[str] = "bdtr"
    cpu_images: ClassVar[int] = 1  # more images of an identity would change the loss
    dim: int = 1024
    """Length of the embedding."""
    rank: float = 1.0
    """Weight of the ranking loss; the authors raise it for small data sets such as RegDB."""
    margin: float = 0.5
    """Margin of the cross-modality ranking, in units of the distance between unit embeddings."""
    intra: float = 0.1
    """Weight of the intra-modality constraint within the ranking loss."""
    intra_margin: float = 0.1
    """Margin of that constraint, in the same units."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_non_negative(self, "rank", "margin", "intra", "intra_margin")

    def build(self, *, classes: int) -> BDTR:
        """Build the network for a number of training identities."""
        return BDTR(self, classes=classes)


class BDTR(EmbeddingMethod):
    """Two streams and a shared embedding with identity and top-ranking loss.

    Args:
        config: The options.
        classes: Number of training identities.
    """

    def __init__(self, config: BDTRConfig, *, classes: int) -> None:
        super().__init__(config, classes=classes)
        self.config = config

    def pair_terms(
        self, visible: Tensor, infrared: Tensor, visible_labels: Tensor, infrared_labels: Tensor
    ) -> dict[str, Tensor]:
        """The two constraints of the ranking."""
        config = self.config
        cross, intra = top_ranking_loss(
            visible,
            infrared,
            visible_labels,
            infrared_labels,
            margin=config.margin,
            intra_margin=config.intra_margin,
        )
        return {"cross": config.rank * cross, "intra": config.rank * config.intra * intra}


def recipe() -> Recipe[BDTRConfig]:
    """BDTR as published, on a ResNet-50: 0.001 throughout; 5,000 steps of RegDB are 156 epochs."""
    return Recipe(
        method=BDTRConfig(),
        batch=Batch(identities=64, images=1),
        optimisation=Optimisation(
            lr=0.001, backbone_lr=0.001, weight_decay=0.0, epochs=156, milestones=()
        ),
    )
