"""One network for both modalities, told apart at most by its input planes; identity loss on top.

    visible  ── planes ─┐
                        ├─ backbone ─ average pooling ─ (batch norm) ─┬─ feature
    infrared ── planes ─┘                                             └─ Linear ─ CE

The shape that deep zero-padding (ICCV 2017) and D2RL's feature level (CVPR 2019) share; a method
says what its planes are and which terms it adds. The feature is what the classifier reads: the
last layer that knows nothing of the training identities.

The batch norm before the classifier ("BNNeck", Luo et al., "Bag of Tricks and a Strong Baseline for
Deep Person Re-identification", CVPR workshops 2019) is in neither paper. At the rates for few steps
training needs it: without, D2RL's identity loss on SynVI demo was still ln(100) after two epochs
(accuracy 0.03; with lower rates 0.04), with it 3.4 (accuracy 0.29). So it is on in the recipes for
two cores, and off in the published ones.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vireid.distributed.gather import gather_batch
from vireid.methods.method import Losses, Method, MethodConfig
from vireid.nn import StripePool, build_stages, set_input_channels
from vireid.nn.input_channels import Colour
from vireid.types import CrossModalBatch, Modality

__all__ = ["OneStreamConfig", "OneStreamMethod"]


@dataclass(frozen=True, kw_only=True)
class OneStreamConfig(MethodConfig):
    """What the network is made of."""

    neck: bool = False
    """A batch norm between the pooled feature and the classifier."""

    def on_cpu(self) -> Self:
        """The options for two CPU cores, with the batch norm that training needs there."""
        return replace(super().on_cpu(), neck=True)


class OneStreamMethod(Method):
    """One backbone on some input planes, and one classifier.

    Args:
        config: Its options.
        classes: Number of training identities.
        stands_for: What each input plane stands for, as
            :func:`~vireid.nn.set_input_channels` takes it.
    """

    supports_distributed: ClassVar[bool] = True

    def __init__(
        self, config: OneStreamConfig, *, classes: int, stands_for: Sequence[Colour]
    ) -> None:
        super().__init__()
        self.size = config.size
        stages, channels = build_stages(config.backbone, config.weights)
        set_input_channels(stages["stem"], stands_for)
        self.backbone = nn.Sequential(*stages.values())
        self.pool = StripePool(1)
        self.neck = nn.BatchNorm1d(channels) if config.neck else nn.Identity()
        self.classifier = nn.Linear(channels, classes)
        nn.init.normal_(self.classifier.weight, std=0.001)

    @abstractmethod
    def planes(self, images: Tensor, modality: Modality) -> Tensor:
        """What the backbone reads of images of one modality.

        Args:
            images: ``[n, 3, H, W]``, normalised.
            modality: The modality that they have.

        Returns:
            ``[n, planes, H, W]``, normalised; 0 is an empty place.
        """

    def metric_terms(self, features: Tensor, labels: Tensor) -> Mapping[str, Tensor]:
        """The terms that a method adds to the identity loss, by name and weighted.

        Args:
            features: What the classifier reads, float32 ``[n, C]``, visible first.
            labels: Class indices, int64 ``[n]``.
        """
        del features, labels
        return {}

    def forward(self, planes: Tensor) -> Tensor:
        """What the classifier reads, ``[n, C]``, of :meth:`planes`."""
        return self.neck(self.pool(self.backbone(planes)).squeeze(1))  # type: ignore[no-any-return]

    def losses(self, batch: CrossModalBatch) -> Losses:
        """Cross-entropy over both modalities together, and the method's terms."""
        visible = self.planes(batch.visible, Modality.VISIBLE)
        infrared = self.planes(batch.infrared, Modality.INFRARED)
        features = gather_batch(self(torch.cat([visible, infrared])), batch)
        # Losses are means and differences of many small numbers: float32 whatever the network's.
        logits, features = self.classifier(features).float(), features.float()
        labels = torch.cat([batch.visible_labels, batch.infrared_labels])
        identity = F.cross_entropy(logits, labels)
        return Losses(
            terms={"identity": identity, **self.metric_terms(features, labels)},
            identity=identity.detach(),
            accuracy=(logits.argmax(1) == labels).float().mean(),
            features=F.normalize(features.detach()),
        )

    def extract_features(self, images: Tensor, modality: Modality) -> Tensor:
        """What the classifier reads, as unit rows ``[n, C]``."""
        return F.normalize(self(self.planes(images, modality)).float())

    def backbone_parameters(self) -> list[nn.Parameter]:
        """The backbone with its new stem."""
        return list(self.backbone.parameters())
