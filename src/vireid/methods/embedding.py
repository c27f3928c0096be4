"""Two streams and one shared embedding, trained by identity and by a loss on pairs.

    visible  ── stream_v ─┐
                          ├─ mean ─ Linear+BN ─ embedding ─┬─ LeakyReLU+Linear ─ CE
    infrared ── stream_t ─┘                                └─ a loss on pairs

The shape of Ye et al.'s methods of 2018, TONE (AAAI) and BDTR (IJCAI); a method adds its pairs'
loss. Published on AlexNet: conv1 to fc6 a stream each, fc7 (the embedding, behind a ReLU) and fc8
(the classifier) shared, dropout between them. Here the backbone is a ResNet-50 and the streams end
where it does, so pooling takes fc6's place; embedding and classifier are those that the same
authors put on a ResNet-50 later (Linear + BatchNorm, LeakyReLU + Linear), which are
:class:`~vireid.nn.StripeHeads` with a single stripe, without dropout.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vireid.distributed.gather import gather_batch
from vireid.errors import ConfigError
from vireid.methods.method import Losses, Method, MethodConfig
from vireid.nn import StripeHeads, StripePool, TwoStream, build_stages
from vireid.nn.backbone import StageName
from vireid.types import CrossModalBatch, Modality

__all__ = ["EmbeddingConfig", "EmbeddingMethod"]


@dataclass(frozen=True, kw_only=True)
class EmbeddingConfig(MethodConfig):
    """The options of the network."""

    shared_from: StageName | None = None
    """First stage of the trunk that both modalities share; None: separate streams."""
    dim: int
    """Length of the embedding."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dim < 1:
            raise ConfigError(
                f"An embedding of length '{self.dim}'; expected 1 or more, such as --dim 1024."
            )


class EmbeddingMethod(Method):
    """Two streams, a shared embedding, a classifier.

    Args:
        config: The options.
        classes: Number of training identities.
    """

    supports_distributed: ClassVar[bool] = True

    def __init__(self, config: EmbeddingConfig, *, classes: int) -> None:
        super().__init__()
        self.size = config.size
        stages, channels = build_stages(config.backbone, config.weights)
        self.pool = StripePool(1)
        self.head = StripeHeads(channels, stripes=1, dim=config.dim, classes=classes)
        self.streams = TwoStream(stages, shared_from=config.shared_from)

    @abstractmethod
    def pair_terms(
        self, visible: Tensor, infrared: Tensor, visible_labels: Tensor, infrared_labels: Tensor
    ) -> Mapping[str, Tensor]:
        """The weighted terms that a method adds to the identity loss, by name.

        Args:
            visible: Embeddings of the visible images, float32 ``[n_v, d]``.
            infrared: Embeddings of the infrared images, float32 ``[n_t, d]``.
            visible_labels: Class indices, int64 ``[n_v]``.
            infrared_labels: Class indices, int64 ``[n_t]``.
        """

    def forward(self, images: Tensor, n_visible: int) -> Tensor:
        """Embed images.

        Args:
            images: ``[n_v + n_t, 3, H, W]``, visible ones first.
            n_visible: n_v.

        Returns:
            Embeddings, ``[n, d]``, not normalised.
        """
        return self.head(self.pool(self.streams(images, n_visible))).squeeze(1)  # type: ignore[no-any-return]

    def losses(self, batch: CrossModalBatch) -> Losses:
        """Cross-entropy over both modalities, and the terms of the method."""
        n = len(batch.visible_labels)
        images = torch.cat([batch.visible, batch.infrared])
        embeddings = gather_batch(self(images, len(batch.visible)), batch)
        logits = self.head.classify(embeddings[:, None]).squeeze(1)
        # In float32 whatever the precision of the network: losses are differences of small numbers.
        embeddings, logits = embeddings.float(), logits.float()
        labels = torch.cat([batch.visible_labels, batch.infrared_labels])
        identity = F.cross_entropy(logits, labels)
        terms = self.pair_terms(
            embeddings[:n], embeddings[n:], batch.visible_labels, batch.infrared_labels
        )
        return Losses(
            terms={"identity": identity, **terms},
            identity=identity.detach(),
            accuracy=(logits.argmax(1) == labels).float().mean(),
            features=F.normalize(embeddings),
        )

    def extract_features(self, images: Tensor, modality: Modality) -> Tensor:
        """Unit embeddings, ``[n, d]``."""
        n_visible = images.shape[0] if modality is Modality.VISIBLE else 0
        return F.normalize(self(images, n_visible).float())

    def backbone_parameters(self) -> list[nn.Parameter]:
        """Both streams."""
        return list(self.streams.parameters())
