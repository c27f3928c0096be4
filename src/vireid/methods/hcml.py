"""HCML: hierarchical cross-modality metric learning on TONE's features.

M. Ye, X. Lan, J. Li, P. C. Yuen: "Hierarchical Discriminative Learning for Visible Thermal Person
Re-Identification", AAAI 2018, its second stage (the first is :mod:`vireid.methods.tone`).

The idea: TONE is trained, then fixed; a metric is learned on its features in two layers. A
transformation for each modality, V and T, moves the images of an identity in that modality to their
center; a metric M for both modalities moves the visible and the infrared center of an identity
together and those of different identities apart. All three are learned jointly.

    visible  ── TONE ─ unit ─ PCA ─ V ─┐
                                       ├─ M ─ distance           (fitted once TONE is trained)
    infrared ── TONE ─ unit ─ PCA ─ T ─┘

    F(V, T, M) = log-logistic loss over pairs of centers + 0.2 · the same within each modality
                 (+ shrinkage, below); in full in :mod:`vireid.methods.hierarchical_metric`

Published (on TONE with AlexNet, R-1/mAP; not measured here): RegDB, one split of the authors'
repository, 23.4/23.9 where TONE has 15.7/18.0; in the paper, unverified, RegDB 24.44/20.08 and
SYSU-MM01 all-search single-shot 14.32/16.16.

Changes, in addition to those in :mod:`~vireid.methods.tone`, and why. TONE's features of its own
training images separate their identities almost perfectly, and a metric that separates these
further ranks new identities worse (measured, below):

- Features are scaled by 4, and a pair counts as near below half the mean squared distance between
  the centers of one identity (published: below the mean over all pairs, unscaled). So all pairs of
  one identity, which carry the information, attract, and of the others only the near ones repel.
- V, T and M are regularised towards the identity matrix, which gives the Euclidean distance.
- Gradients are those of F, with step sizes by backtracking; the gradients of V and T in the
  published code differ (that of T is multiplied by V), with step sizes 0.1 · 0.95^k.
- A feature is the L2-normalised row (x - mean) W V M^1/2 W^T, with the principal components W: the
  cosine of two features is that of the angle between them under M. The paper uses the distance
  under M, which gives the same order as the cosine for rows of equal length, and which was worse
  here. Rotated back by W^T, a feature is as long as TONE's.

These were chosen with TONE trained by ``tone-cpu`` on SynVI demo, infrared queries and all visible
images of 120 people of SynVI standard that are not in the demo. TONE's own distance has mAP 5.43,
the published form 4.15 (4.43 by cosine), this one 5.97. With 130 further people, not used for the
choice: from infrared 5.01 -> 5.44, 95 % interval of the difference over people 0.07 to 0.78; from
visible 5.06 -> 5.64, 0.23 to 0.98; R-1 is equal within half a point. On the demo's 60 test
identities 15.12 -> 15.75, not significant with so few people (-0.73 to 1.81). Both trained on SynVI
standard (docs/benchmarks/synvi.md), over its 100 test identities: 20.10 -> 21.65, 0.77 to 2.34. All
of it synthetic, with one seed.

With ResNet-50 and 395 identities: TONE's 52,025,867 parameters, features of 2,048 values.

Example:
    >>> import torch
    >>> from vireid.types import Modality
    >>> model = HCML(HCMLConfig(backbone="resnet18", weights="none", size=(64, 32)), classes=10)
    >>> model.eval().extract_features(torch.randn(2, 3, 64, 32), Modality.INFRARED).shape
    torch.Size([2, 2048])
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from vireid.errors import ConfigError
from vireid.methods import tone
from vireid.methods._checks import check_non_negative, check_positive
from vireid.methods.hierarchical_metric import fit_metric
from vireid.methods.recipe import Recipe
from vireid.types import Modality

__all__ = ["HCML", "PAPER", "HCMLConfig", "recipe"]

PAPER = replace(tone.PAPER, name="HCML")


@dataclass(frozen=True, kw_only=True)
class HCMLConfig(tone.TONEOptions):
    """The options of TONE and of the metric."""

    kind: ClassVar[str] = "hcml"
    components: int = 600
    """Principal components in which the metric is learned; fewer where TONE's embedding is shorter
    or there are fewer training images."""
    intra: float = 0.2
    """lambda, the weight of the loss within each modality."""
    scale: float = 4.0
    """What unit features are multiplied by; the larger, the less do pairs count that are right
    by far."""
    threshold: float = 0.5
    """Below which squared distance a pair counts as near, in mean squared distances of the centres
    of one identity."""
    shrinkage: float = 0.05
    """rho, how strongly all matrices are drawn to the identity."""
    intra_images: int = 8
    """How many images of an identity and modality the loss within modalities sees at most."""
    iterations: int = 50
    """Maximum number of optimisation steps of the metric."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("components", 1), ("intra_images", 1), ("iterations", 1)):
            if getattr(self, name) < least:
                raise ConfigError(
                    f"'{getattr(self, name)}' is too few; expected {least} or more "
                    f"(--{name.replace('_', '-')})."
                )
        check_non_negative(self, "intra", "threshold", "shrinkage")
        check_positive(self, "scale")

    def build(self, *, classes: int) -> HCML:
        """Build the network for a number of training identities."""
        return HCML(self, classes=classes)


class HCML(tone.TONE):
    """TONE with a metric fitted to its features.

    Before :meth:`fit` its features are those of TONE.

    Args:
        config: The options.
        classes: Number of training identities.

    Attributes:
        mean: Mean of TONE's training features, ``[d]``.
        visible_map: Matrix that multiplies a centred visible feature, ``[d, d]``.
        infrared_map: Matrix that multiplies a centred infrared feature, ``[d, d]``.
    """

    needs_fit: ClassVar[bool] = True
    mean: Tensor
    visible_map: Tensor
    infrared_map: Tensor

    def __init__(self, config: HCMLConfig, *, classes: int) -> None:
        super().__init__(config, classes=classes)
        self.metric_config = config
        self.register_buffer("mean", torch.zeros(config.dim))
        self.register_buffer("visible_map", torch.eye(config.dim))
        self.register_buffer("infrared_map", torch.eye(config.dim))

    def extract_features(self, images: Tensor, modality: Modality) -> Tensor:
        """L2-normalised rows whose cosines are those of the metric, ``[n, d]``."""
        own = self.visible_map if modality is Modality.VISIBLE else self.infrared_map
        features = super().extract_features(images, modality)
        # Half precision would lose the differences that the metric emphasises.
        with torch.autocast(features.device.type, enabled=False):
            return functional.normalize((features - self.mean) @ own)

    @torch.no_grad()
    def fit(
        self, visible: Tensor, infrared: Tensor, visible_labels: Tensor, infrared_labels: Tensor
    ) -> None:
        """Fit the metric, in float64 on the CPU.

        Args:
            visible: TONE's features of all visible training images, ``[n_v, d]``.
            infrared: TONE's features of all infrared training images, ``[n_t, d]``.
            visible_labels: Class indices, int64 ``[n_v]``.
            infrared_labels: Class indices, int64 ``[n_t]``.
        """
        config = self.metric_config
        rows = torch.cat([visible, infrared]).to("cpu", torch.float64)
        mean = rows.mean(0)
        rows = rows - mean
        components = min(config.components, rows.shape[1], rows.shape[0] - 1)
        basis = torch.linalg.eigh(rows.T @ rows).eigenvectors[:, -components:]
        projected = config.scale * rows @ basis
        V, T, M = fit_metric(
            projected[: len(visible)],
            projected[len(visible) :],
            visible_labels.cpu(),
            infrared_labels.cpu(),
            threshold=config.threshold,
            intra=config.intra,
            shrinkage=config.shrinkage,
            images=config.intra_images,
            iterations=config.iterations,
        )
        values, vectors = torch.linalg.eigh(M)
        root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
        self.mean.copy_(mean)
        self.visible_map.copy_(basis @ V @ root @ basis.T)
        self.infrared_map.copy_(basis @ T @ root @ basis.T)


def recipe() -> Recipe[HCMLConfig]:
    """TONE as published, with the metric fitted after training."""
    given = tone.recipe()
    return Recipe(method=HCMLConfig(), batch=given.batch, optimisation=given.optimisation)
