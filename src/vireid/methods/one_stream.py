"""One network for both modalities, which differ in their input channels at most.

    visible  ── channels ─┐
                          ├─ backbone ─ average pooling ─ (batch norm) ─┬─ feature
    infrared ── channels ─┘                                             └─ Linear ─ CE

The common part of deep zero-padding (ICCV 2017) and of D2RL's feature level (CVPR 2019); a method
defines its input channels and the loss terms that it adds. The feature is the input of the
classifier, the last layer that does not depend on the training identities.

The batch norm before the classifier ("BNNeck", Luo et al., "Bag of Tricks and a Strong Baseline for
Deep Person Re-identification", CVPR workshops 2019) is in neither paper. With learning rates for
few steps training needs it: without it, D2RL's identity loss on SynVI demo was still ln(100) after
two epochs (accuracy 0.03; with lower learning rates 0.04), with it 3.4 (accuracy 0.29). So the
recipes for two cores have it, and the published ones do not.
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
    """The options of the network."""

    neck: bool = False
    """A batch norm between the pooled feature and the classifier."""

    def on_cpu(self) -> Self:
        """The options for two CPU cores, with the batch norm that training needs there."""
        return replace(super().on_cpu(), neck=True)


class OneStreamMethod(Method):
    """One backbone with given input channels, and one classifier.

    Args:
        config: The options.
        classes: Number of training identities.
        input_colours: Colour of each input channel, as
            :func:`~vireid.nn.set_input_channels` takes it.
    """

    supports_distributed: ClassVar[bool] = True

    def __init__(
        self, config: OneStreamConfig, *, classes: int, input_colours: Sequence[Colour]
    ) -> None:
        super().__init__()
        self.size = config.size
        stages, channels = build_stages(config.backbone, config.weights)
        set_input_channels(stages["stem"], input_colours)
        self.backbone = nn.Sequential(*stages.values())
        self.pool = StripePool(1)
        self.neck = nn.BatchNorm1d(channels) if config.neck else nn.Identity()
        self.classifier = nn.Linear(channels, classes)
        nn.init.normal_(self.classifier.weight, std=0.001)

    @abstractmethod
    def input_channels(self, images: Tensor, modality: Modality) -> Tensor:
        """The input of the backbone for images of one modality.

        Args:
            images: ``[n, 3, H, W]``, normalised.
            modality: Modality of the images.

        Returns:
            ``[n, c, H, W]``, normalised; 0 where a channel is empty.
        """

    def metric_terms(self, features: Tensor, labels: Tensor) -> Mapping[str, Tensor]:
        """The weighted terms that a method adds to the identity loss, by name.

        Args:
            features: Input of the classifier, float32 ``[n, C]``, visible first.
            labels: Class indices, int64 ``[n]``.
        """
        del features, labels
        return {}

    def forward(self, channels: Tensor) -> Tensor:
        """Map :meth:`input_channels` to the input of the classifier, ``[n, C]``."""
        return self.neck(self.pool(self.backbone(channels)).squeeze(1))  # type: ignore[no-any-return]

    def losses(self, batch: CrossModalBatch) -> Losses:
        """Cross-entropy over both modalities, and the terms of the method."""
        visible = self.input_channels(batch.visible, Modality.VISIBLE)
        infrared = self.input_channels(batch.infrared, Modality.INFRARED)
        features = gather_batch(self(torch.cat([visible, infrared])), batch)
        # In float32 whatever the precision of the network: losses are differences of small numbers.
        logits, features = self.classifier(features).float(), features.float()
        labels = torch.cat([batch.visible_labels, batch.infrared_labels])
        identity = F.cross_entropy(logits, labels)
        return Losses(
            terms={"identity": identity, **self.metric_terms(features, labels)},
            identity=identity.detach(),
            accuracy=(logits.argmax(1) == labels).float().mean(),
            features=F.normalize(features),
        )

    def extract_features(self, images: Tensor, modality: Modality) -> Tensor:
        """The L2-normalised input of the classifier, ``[n, C]``."""
        return F.normalize(self(self.input_channels(images, modality)).float())

    def backbone_parameters(self) -> list[nn.Parameter]:
        """The backbone with its modified stem."""
        return list(self.backbone.parameters())
