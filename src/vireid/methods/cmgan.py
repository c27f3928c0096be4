"""cmGAN: features from which a discriminator cannot predict the modality.

P. Dai, R. Ji, H. Wang, Q. Wu, Y. Huang: "Cross-Modality Person Re-Identification with Generative
Adversarial Training", IJCAI 2018.

The idea: a generator, which is the feature network, and a discriminator are adversaries. The
discriminator learns to predict from a feature whether its image was visible or infrared; the
generator learns identities, and features that the discriminator cannot classify. Such features
describe the person, not the modality.

    visible  ─┐                                          ┌─ identity classifier ─ CE_id
              ├─ one ResNet-50 ─ average ─ BN ─ feature ─┼─ unit length ───────── triplets
    infrared ─┘           (generator)                    └─ 1000 ─ 500 ─ 2 ────── CE_modality
                                                             (discriminator)

    L_G = alpha · L_triplet + beta · CE_id          L_D = CE_modality
    the generator minimises L_G - gamma · L_D, the discriminator L_D

    L_triplet: for each anchor, max(0, 1.4 + distance to its furthest positive - distance to its
    nearest negative), both in the other modality; mean over visible plus mean over infrared
    anchors: BDTR's cross-modality top-ranking loss with another margin

Published (unverified): SYSU-MM01 all-search single-shot 26.97/27.80 (R-1/mAP); not on RegDB.

The paper's text is not openly available. Discriminator, alpha, beta, gamma, K and the learning
rates are those of its unofficial ports (sshkhr/cmGAN, pineb1ue/cmGAN); the ports disagree on which
side takes K steps, here it is the discriminator. Chosen here: triplets are the hardest of the
batch, on L2-normalised features (1.4 is about the distance between two unrelated ones); the
identity classifier is linear (that of the ports has a hidden layer, which a feature for retrieval
does not pass); input size, last stride and the P x K batch are those of all methods here.

Changes, each after a measurement on SynVI demo with the CPU recipe (synthetic people, one seed,
72x36 pixels unless stated otherwise):

- The BN, without learned scale and bias. On the plain averages, identities were hardly learned as
  soon as gamma was large enough to matter (final cross-entropy above 4.3, of ln(100) = 4.6).
- In the recipe for two cores the generator makes the discriminator undecided (``confusion="even"``)
  rather than wrong, with gamma 1 and K 1. With the paper's minimax at gamma 0.05, K 5 (144x72) the
  accuracy of the discriminator was 100 % from the second epoch on: it is then so confident that the
  gradient of the generator vanishes. At gamma 1 minimax overshot: the accuracy was 0 %, with
  opposite features of the two modalities (mean cosine -0.5).
- The result at 144x72 in 16 epochs: the accuracy of the discriminator was 89 % in the first epoch
  and 50 to 64 % from the sixth on (50 % by guessing), with a training accuracy of the identities of
  94 to 100 %; mAP 26.8 against 16.5 before. Only this discriminator is undecided: a linear
  classifier fitted afterwards to the features of two thirds of the training identities predicted
  the modality of 98 % of the images of the others.

Both modalities pass through the network in one batch. In separate batches, the batch norms would
give both the same mean and variance in training, and that, not the features, would mislead the
discriminator.

With ResNet-50 and 395 identities: 26,867,889 parameters (of them 2,550,502 in the discriminator),
features of 2,048 values.

Example:
    >>> import torch
    >>> from vireid.types import Modality
    >>> config = CmGANConfig(backbone="resnet18", weights="none", size=(64, 32))
    >>> model = config.build(classes=10).eval()
    >>> model.extract_features(torch.randn(2, 3, 64, 32), Modality.VISIBLE).shape
    torch.Size([2, 512])
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vireid.losses import top_ranking_loss
from vireid.methods._checks import check_non_negative, check_positive
from vireid.methods.method import Losses, Method, MethodConfig, OptimizerStep, Phase
from vireid.methods.recipe import Batch, Optimisation, Paper, Recipe
from vireid.nn import ModalityClassifier, StripePool, TwoStream, build_stages
from vireid.nn.backbone import StageName
from vireid.types import CrossModalBatch, Modality

__all__ = ["PAPER", "CmGAN", "CmGANConfig", "recipe"]

PAPER = Paper(
    name="cmGAN",
    authors="Dai et al.",
    title="Cross-Modality Person Re-Identification with Generative Adversarial Training",
    venue="IJCAI",
    year=2018,
)


@dataclass(frozen=True, kw_only=True)
class CmGANConfig(MethodConfig):
    """The options of cmGAN; the defaults are those of its port."""

    kind: ClassVar[str] = "cmgan"
    shared_from: StageName | None = "stem"
    """From this stage on both modalities use one trunk: stem is one network for both; None: wholly
    separate streams."""
    alpha: float = 1.0
    """Weight of the cross-modality triplet loss."""
    beta: float = 1.0
    """Weight of the identity loss."""
    gamma: float = 0.05
    """Weight of the discriminator in the loss of the generator; 0: no adversarial loss."""
    confusion: Literal["minimax", "even"] = "minimax"
    """What the generator is after: minimax, that the discriminator is wrong (its loss, negated);
    even, that it is undecided (its cross-entropy against half and half; Tzeng et al.,
    "Simultaneous Deep Transfer Across Domains and Tasks", ICCV 2015)."""
    margin: float = 1.4
    """Margin of the triplet loss, on distances from 0 to 2."""
    discriminator_steps: int = 5
    """K: moves of the discriminator before each move of the generator, on the same features."""
    discriminator_lr: float = 1e-3
    """Learning rate of the discriminator."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_non_negative(self, "alpha", "beta", "gamma", "margin")
        check_positive(self, "discriminator_steps", "discriminator_lr")

    def on_cpu(self) -> Self:
        """The options for two CPU cores, chosen for about 270 steps."""
        return replace(
            super().on_cpu(),
            confusion="even",
            gamma=1.0,
            discriminator_steps=1,
            discriminator_lr=3e-4,
        )

    def build(self, *, classes: int) -> CmGAN:
        """Build the network for a number of training identities."""
        return CmGAN(self, classes=classes)


class CmGAN(Method):
    """A feature network and an adversarial discriminator.

    Args:
        config: The options.
        classes: Number of training identities.
    """

    def __init__(self, config: CmGANConfig, *, classes: int) -> None:
        super().__init__()
        self.config = config
        self.size = config.size
        stages, channels = build_stages(config.backbone, config.weights)
        self.streams = TwoStream(stages, shared_from=config.shared_from)
        self.pool = StripePool(1)
        self.neck = nn.BatchNorm1d(channels, affine=False)
        self.classifier = nn.Linear(channels, classes)
        nn.init.normal_(self.classifier.weight, std=0.001)
        self.discriminator = ModalityClassifier(channels)
        self._cached: tuple[Tensor, Tensor] | None = None

    def forward(self, images: Tensor, n_visible: int) -> Tensor:
        """Features of images.

        Args:
            images: ``[n_v + n_t, 3, H, W]``, visible ones first.
            n_visible: n_v.

        Returns:
            ``[n, C]``; in training each channel has mean 0 and variance 1 over the batch.
        """
        return self.neck(self.pool(self.streams(images, n_visible)).squeeze(1))  # type: ignore[no-any-return]

    def phases(self, epochs: int) -> tuple[Phase, ...]:
        """One phase; for each batch the discriminator takes K steps, then the generator one."""
        moves = (
            OptimizerStep("discriminator", ("discriminator",)),
        ) * self.config.discriminator_steps
        return (Phase(epochs, (*moves, OptimizerStep("generator", ("backbone", "heads")))),)

    def step_losses(self, batch: CrossModalBatch, step: str) -> Losses:
        """The discriminator's loss, or the generator's."""
        if step == "generator":
            self._cached = None
            return self.losses(batch)
        # The generator does not change during the discriminator's steps: one pass serves all K.
        first = self._cached is None or self._cached[0] is not batch.visible
        if first:
            with torch.no_grad():
                self._cached = batch.visible, self._features(batch)
        assert self._cached is not None
        n = len(batch.visible)
        own, either = self._log_probabilities(self._cached[1], n)
        # An undecided prediction counts as correct by half.
        right = torch.heaviside((own - either).detach(), own.new_tensor(0.5))
        # Only before its first step has it not been trained on these features.
        metrics = {"modality_accuracy": _balanced(right, n)} if first else {}
        return Losses({"modality": -_balanced(own, n)}, metrics=metrics)

    def losses(self, batch: CrossModalBatch) -> Losses:
        """Loss of the generator: triplets, identities, and the adversarial term."""
        config = self.config
        n = len(batch.visible)
        features = self._features(batch)
        # In float32 whatever the precision of the network: losses are differences of small numbers.
        logits = self.classifier(features).float()
        labels = torch.cat([batch.visible_labels, batch.infrared_labels])
        identity = F.cross_entropy(logits, labels)
        triplet, _ = top_ranking_loss(
            features[:n],
            features[n:],
            batch.visible_labels,
            batch.infrared_labels,
            margin=config.margin,
        )
        own, either = self._log_probabilities(features, n)
        confusion = _balanced(own if config.confusion == "minimax" else -either, n)
        return Losses(
            terms={
                "triplet": config.alpha * triplet,
                "identity": config.beta * identity,
                "confusion": config.gamma * confusion,
            },
            identity=identity.detach(),
            accuracy=(logits.argmax(1) == labels).float().mean(),
            features=F.normalize(features.float()),
        )

    def _features(self, batch: CrossModalBatch) -> Tensor:
        images = torch.cat([batch.visible, batch.infrared])
        return self(images, len(batch.visible))  # type: ignore[no-any-return]

    def _log_probabilities(self, features: Tensor, n_visible: int) -> tuple[Tensor, Tensor]:
        """Log-probabilities of the discriminator for each feature, ``[n]`` each.

        That of the correct modality, and the mean over both modalities.
        """
        log_probabilities = self.discriminator(features).float().log_softmax(1)
        own = torch.cat([log_probabilities[:n_visible, 0], log_probabilities[n_visible:, 1]])
        return own, log_probabilities.mean(1)

    def extract_features(self, images: Tensor, modality: Modality) -> Tensor:
        """Unit features, ``[n, C]``."""
        n_visible = images.shape[0] if modality is Modality.VISIBLE else 0
        return F.normalize(self(images, n_visible).float())

    def backbone_parameters(self) -> list[nn.Parameter]:
        """The feature network."""
        return list(self.streams.parameters())

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """The backbone, the identity classifier, and the discriminator."""
        return {
            "backbone": self.backbone_parameters(),
            "heads": list(self.classifier.parameters()),
            "discriminator": list(self.discriminator.parameters()),
        }

    def group_lrs(self) -> Mapping[str, float]:
        """That of the discriminator."""
        return {"discriminator": self.config.discriminator_lr}


def _balanced(values: Tensor, n_visible: int) -> Tensor:
    """The mean of the means of both modalities: chance level is 0.5 in any batch."""
    return (values[:n_visible].mean() + values[n_visible:].mean()) / 2


def recipe() -> Recipe[CmGANConfig]:
    """The recipe of the port: SGD, 0.0001 for the generator and 0.001 for the discriminator."""
    return Recipe(
        method=CmGANConfig(),
        batch=Batch(identities=8, images=4),
        optimisation=Optimisation(lr=1e-4, backbone_lr=1e-4, epochs=200, milestones=()),
    )
