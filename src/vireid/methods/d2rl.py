"""D2RL: translate every image to four channels, then train one network on those.

Z. Wang, Z. Wang, Y. Zheng, Y.-Y. Chuang, S. Satoh: "Learning to Reduce Dual-level Discrepancy for
Infrared-Visible Person Re-identification", CVPR 2019.

The idea: reduce the modality discrepancy in the image and the appearance discrepancy in the
feature. Image level: a translator (VAE-GAN) generates the infrared version of a visible image and
the visible version of an infrared one, so that every image has four channels. Feature level: one
network for both modalities on the four channels.

    V ── E_v ─┐                 ┌─ G_v ── V'        visible:  (V, T')  ─┐            ┌─ CE
              ├─ z ~ N(m, 1) ───┤                                       ├─ network ──┤
    T ── E_t ─┘                 └─ G_t ── T'        infrared: (V', T)  ─┘            └─ triplet

    translators      L_G = a·|G_v(z_v) - V| + b·KL(z_v) + c·(D_t(T') - 1)^2 + d·|G_v(E_t(T')) - V|
                           + the same from T                    (a, b, c, d the options' weights)
    discriminators   L_D = ((D_v(V) - 1)^2 + D_v(V')^2) / 2 + the same of D_t
    identities       L   = CE + batch-hard triplet

|.| is the mean absolute difference, all means are over pixels, and KL(z) = m^2 / 2 for the latents
in both directions. In the first phase, a share of the epochs, translators and discriminators
alternate; the second trains the identity network.

Published (R-1/mAP; as quoted in table 2 of DEEN, CVPR 2023): SYSU-MM01 all-search
single-shot 28.9/29.2; RegDB visible to thermal 43.4/44.1. With ResNet-50, 395 identities and the
defaults: 26,239,697 parameters, of which the translators have 1,701,380 and the discriminators,
unused after training, 217,794; features of 2048 values.

Changes and choices (only the abstract of the paper was available):

- The paper trains both levels jointly in the end. Here the translators are fixed in the second
  phase, so that their output stays a recognisable image, and a step costs little more than that of
  other methods.
- The translator is UNIT's (:mod:`vireid.nn.translator`), including the unit variance of the latent,
  the least-squares adversarial terms (whose gradient does not vanish when a discriminator wins) and
  the weights of all terms (from its released configuration). The latent is sampled in the first
  phase only; features and figures use its mean, so that a feature is a function of the image.
- The filter of the infrared channel starts as the sum of those of the colours
  (:mod:`vireid.nn.input_channels`).
- The triplet loss is on L2-normalised features, which are what is ranked. On features without
  normalisation, whose distances outweigh the identity loss at first, nothing was learned on SynVI
  demo (six epochs of the recipe for two cores, before it had the batch norm).
- The feature is the input of the classifier. The recipe for two cores has a batch norm before it
  (:mod:`vireid.methods.one_stream` says why).
- Batch, learning rates and schedule of the paper are unknown; those below are chosen.

Example:
    >>> import torch
    >>> from vireid.types import Modality
    >>> config = D2RLConfig(backbone="resnet18", weights="none", size=(64, 32), width=8)
    >>> model = D2RL(config, classes=10).eval()
    >>> model.extract_features(torch.randn(2, 3, 64, 32), Modality.INFRARED).shape
    torch.Size([2, 512])
    >>> model.translate(torch.randn(2, 3, 64, 32), Modality.VISIBLE).shape
    torch.Size([2, 3, 64, 32])
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vireid.data.pixels import denormalise, grey
from vireid.data.transforms import normalise
from vireid.errors import ConfigError
from vireid.losses import batch_hard_triplet_loss
from vireid.methods._checks import check_non_negative, check_positive
from vireid.methods.method import Losses, OptimizerStep, Phase
from vireid.methods.one_stream import OneStreamConfig, OneStreamMethod
from vireid.methods.recipe import Batch, Optimisation, Paper, Recipe
from vireid.nn import PatchDiscriminator, Translator
from vireid.nn.input_channels import BLUE, GREEN, GREY, RED
from vireid.types import CrossModalBatch, Modality

__all__ = ["D2RL", "PAPER", "D2RLConfig", "recipe"]

PAPER = Paper(
    name="D2RL",
    authors="Wang et al.",
    title="Learning to Reduce Dual-level Discrepancy for Infrared-Visible Person Re-identification",
    venue="CVPR",
    year=2019,
)

_CHANNELS: Mapping[str, int] = {Modality.VISIBLE: 3, Modality.INFRARED: 1}


@dataclass(frozen=True, kw_only=True)
class D2RLConfig(OneStreamConfig):
    """The options of D2RL."""

    kind: ClassVar[str] = "d2rl"
    share: float = 0.5
    """Fraction of the epochs that train the translators; the rest train the identities."""
    width: int = 32
    """Channels of the translators at full resolution."""
    halvings: int = 2
    """How often an encoder halves the image's height and width."""
    reduction: int = 1
    """The translators work on images downscaled by this factor."""
    translator_lr: float = 1e-4
    """Learning rate of the translators and of the discriminators."""
    reconstruction: float = 10.0
    """Weight of the reconstruction loss."""
    cycle: float = 10.0
    """Weight of the cycle consistency loss."""
    kl: float = 0.01
    """Weight of the latents' divergence from the standard normal distribution."""
    adversarial: float = 1.0
    """Weight of the adversarial loss."""
    margin: float = 0.3
    """Margin of the triplet loss."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.share < 1:
            raise ConfigError(
                f"The translators' share '{self.share}' of the epochs is not in [0, 1) (--share)."
            )
        if self.width < 4 or self.width % 4:
            raise ConfigError(
                f"The translators' width '{self.width}' is no multiple of 4 (--width)."
            )
        if self.halvings < 0 or self.reduction < 1:
            raise ConfigError(
                f"'{self.halvings}' halvings of images reduced '{self.reduction}' times; "
                "expected 0 or more (--halvings) and 1 or more (--reduction)."
            )
        check_positive(self, "translator_lr")
        check_non_negative(self, "reconstruction", "cycle", "kl", "adversarial", "margin")

    def on_cpu(self) -> Self:
        """The options for two CPU cores: small, fast translators for six of sixteen epochs."""
        return replace(
            super().on_cpu(), share=0.4, width=16, halvings=1, reduction=2, translator_lr=2e-3
        )

    def build(self, *, classes: int) -> D2RL:
        """Build the network for a number of training identities."""
        return D2RL(self, classes=classes)


class D2RL(OneStreamMethod):
    """Translators in both directions, their discriminators, and one network on four channels.

    Args:
        config: The options.
        classes: Number of training identities.
    """

    supports_distributed: ClassVar[bool] = False

    def __init__(self, config: D2RLConfig, *, classes: int) -> None:
        super().__init__(config, classes=classes, input_colours=(RED, GREEN, BLUE, GREY))
        self.config = config
        self.translator = Translator(_CHANNELS, width=config.width, halvings=config.halvings)
        self.discriminators = nn.ModuleDict(
            {m: PatchDiscriminator(count, width=config.width) for m, count in _CHANNELS.items()}
        )

    def phases(self, epochs: int) -> tuple[Phase, ...]:
        """First translators and discriminators, alternating; then the identities."""
        first = min(round(self.config.share * epochs), epochs - 1)
        steps = tuple(OptimizerStep(name, (name,)) for name in ("translators", "discriminators"))
        identities = Phase(epochs - first, (OptimizerStep("identities", ("backbone", "heads")),))
        return (Phase(first, steps), identities) if first else (identities,)

    def step_losses(self, batch: CrossModalBatch, step: str) -> Losses:
        """Losses of the steps ``translators``, ``discriminators`` and ``identities``."""
        if step == "identities":
            return self.losses(batch)
        real = {
            Modality.VISIBLE: self._resized(batch.visible, Modality.VISIBLE),
            Modality.INFRARED: self._resized(batch.infrared, Modality.INFRARED),
        }
        return self._translators(real) if step == "translators" else self._discriminators(real)

    def _translators(self, real: Mapping[Modality, Tensor]) -> Losses:
        """L_G of the images of each modality."""
        ways = [self._one_way(images, modality) for modality, images in real.items()]
        return Losses(
            terms={
                name: getattr(self.config, name) * torch.stack([way[name] for way in ways]).sum()
                for name in ways[0]
            }
        )

    def _one_way(self, images: Tensor, modality: Modality) -> dict[str, Tensor]:
        """The unweighted terms of L_G that start from one modality."""
        way = self.translator
        mean = way.encode(images, modality).float()
        latent = _sample(mean)
        made = way.decode(latent, modality.other)
        mean_of_made = way.encode(made, modality.other).float()
        back = way.decode(_sample(mean_of_made), modality)
        judged = self.discriminators[modality.other](made).float()
        return {
            "reconstruction": F.l1_loss(way.decode(latent, modality).float(), images),
            "kl": (mean.square().mean() + mean_of_made.square().mean()) / 2,
            "adversarial": (judged - 1).square().mean(),
            "cycle": F.l1_loss(back.float(), images),
        }

    def _discriminators(self, real: Mapping[Modality, Tensor]) -> Losses:
        """L_D of the images of each modality, and the accuracy over patches."""
        terms, accuracies = [], []
        for modality, images in real.items():
            with torch.no_grad():
                mean = self.translator.encode(real[modality.other], modality.other)
                made = self.translator.decode(_sample(mean.float()), modality)
            judge = self.discriminators[modality]
            on_real, on_made = judge(images).float(), judge(made).float()
            terms.append(((on_real - 1).square().mean() + on_made.square().mean()) / 2)
            accuracies += [(on_real > 0.5).float().mean(), (on_made < 0.5).float().mean()]
        return Losses(
            terms={"discriminators": torch.stack(terms).sum()},
            metrics={"discriminators_accuracy": torch.stack(accuracies).mean()},
        )

    def metric_terms(self, features: Tensor, labels: Tensor) -> Mapping[str, Tensor]:
        """Batch-hard triplet loss on L2-normalised features."""
        triplet = batch_hard_triplet_loss(F.normalize(features), labels, margin=self.config.margin)
        return {"triplet": triplet}

    def input_channels(self, images: Tensor, modality: Modality) -> Tensor:
        """Red, green, blue and infrared; the channels of the other modality are translated."""
        other = self.translate(images, modality)
        visible, infrared = (images, other) if modality is Modality.VISIBLE else (other, images)
        return torch.cat([visible, grey(infrared)], dim=1)

    @torch.no_grad()
    def translate(self, images: Tensor, modality: Modality) -> Tensor:
        """Translate images into the other modality, from the mean latent: ``[n, 3, H, W]``."""
        mean = self.translator.encode(self._resized(images, modality), modality)
        made = self.translator.decode(mean, modality.other).float()
        large = F.interpolate(made, images.shape[2:], mode="bilinear")
        return normalise((large.expand(-1, 3, -1, -1) + 1) * 127.5)

    def _resized(self, images: Tensor, modality: Modality) -> Tensor:
        """The input of the translator: ``[n, 3 or 1, h, w]`` in [-1, 1]."""
        step = 2**self.config.halvings
        sides = (max(1, round(s / self.config.reduction / step)) for s in images.shape[2:])
        size = tuple(step * side for side in sides)
        images = denormalise(images)[:, : _CHANNELS[modality]]
        return F.adaptive_avg_pool2d(images, size) * 2 - 1

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """``backbone``, ``heads``, ``translators`` and ``discriminators``."""
        return {
            "backbone": self.backbone_parameters(),
            "heads": [*self.neck.parameters(), *self.classifier.parameters()],
            "translators": list(self.translator.parameters()),
            "discriminators": list(self.discriminators.parameters()),
        }

    def group_lrs(self) -> Mapping[str, float]:
        """That of the translators and discriminators."""
        return dict.fromkeys(("translators", "discriminators"), self.config.translator_lr)


def _sample(mean: Tensor) -> Tensor:
    """Sample a latent with unit variance around its mean."""
    return mean + torch.randn_like(mean)


def recipe() -> Recipe[D2RLConfig]:
    """D2RL for ImageNet weights and a GPU: half of the epochs for each level."""
    return Recipe(
        method=D2RLConfig(),
        batch=Batch(identities=8, images=4),
        optimisation=Optimisation(
            optimizer="adam",
            lr=3.5e-3,
            backbone_lr=3.5e-4,
            epochs=120,
            warmup=5.0,
            milestones=(40,),
        ),
    )
