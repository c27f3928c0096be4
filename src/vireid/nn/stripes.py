"""Heads of the stripes: an embedding and a classifier for each, as batched products."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vireid.errors import ConfigError

__all__ = ["StripeHeads", "check_stripes", "join_stripes"]


def check_stripes(stripes: int, *, dim: int, height: int) -> None:
    """Refuse numbers of stripes that do not fit the map.

    Args:
        stripes: p.
        dim: d, length of a stripe's embedding.
        height: Height of the input, in pixels; the map has a 16th of its rows.

    Raises:
        ConfigError: If there is no stripe, no dimension, or more stripes than rows.
    """
    if stripes < 1 or dim < 1:
        raise ConfigError(
            f"'{stripes}' stripes of '{dim}' channels; expected 1 or more of each "
            "(--stripes, --dim)."
        )
    if stripes > -(-height // 16):
        raise ConfigError(
            f"'{stripes}' stripes do not fit a map of {-(-height // 16)} rows, which "
            f"images of height {height} give; lower --stripes or raise --size."
        )


class StripeHeads(nn.Module):
    """For each stripe Linear + BatchNorm (the embedding), LeakyReLU(0.1) + Linear (the classifier).

    Stripes share no layers, or those of the embedding only; both modalities share all. The p
    linear layers are one batched product and the p batch norms one BatchNorm1d over p·d channels,
    which is equivalent to p separate layers.

    Sources: Zhu et al., "Hetero-Center Loss for Cross-Modality Person Re-Identification",
    Neurocomputing 2020 (TSLFN): layers and initialisation. Sun et al., "Beyond Part Models",
    ECCV 2018 (PCB): one embedding's layers for all stripes.

    Args:
        channels: C, channels of a pooled stripe.
        stripes: p.
        dim: d, length of a stripe's embedding.
        classes: Number of training identities.
        bias: Whether to train the bias of the batch norm; otherwise it stays 0 (as in the BNNeck of
            Luo et al., "Bag of Tricks for Person Re-Identification", CVPR workshops 2019).
        shared: Whether all stripes share one Linear + BatchNorm.
    """

    def __init__(
        self,
        channels: int,
        *,
        stripes: int,
        dim: int,
        classes: int,
        bias: bool = True,
        shared: bool = False,
    ) -> None:
        super().__init__()
        embeddings = 1 if shared else stripes
        self.weight = nn.Parameter(torch.empty(embeddings, channels, dim))
        self.bias = nn.Parameter(torch.zeros(embeddings, 1, dim))
        self.norm = nn.BatchNorm1d(embeddings * dim)
        self.classifier_weight = nn.Parameter(torch.empty(stripes, dim, classes))
        self.classifier_bias = nn.Parameter(torch.zeros(stripes, 1, classes))
        # He initialisation over the fan-out, as in TSLFN: std = sqrt(2 / d).
        nn.init.normal_(self.weight, std=math.sqrt(2.0 / dim))
        nn.init.normal_(self.norm.weight, mean=1.0, std=0.01)
        self.norm.bias.requires_grad_(bias)
        nn.init.normal_(self.classifier_weight, std=0.001)

    def forward(self, pooled: Tensor) -> Tensor:
        """Embed the stripes.

        Args:
            pooled: ``[n, p, C]``.

        Returns:
            Embeddings, ``[n, p, d]``, not normalised.
        """
        # Stripes that share layers are stacked in the batch dimension.
        rows = pooled.reshape(-1, len(self.weight), pooled.shape[2])
        embedded = torch.baddbmm(self.bias, rows.transpose(0, 1), self.weight).transpose(0, 1)
        normed: Tensor = self.norm(embedded.flatten(1))
        return normed.view(*pooled.shape[:2], -1)

    def classify(self, embeddings: Tensor) -> Tensor:
        """Logits of every stripe.

        Args:
            embeddings: ``[n, p, d]``.

        Returns:
            ``[n, p, classes]``.
        """
        active = F.leaky_relu(embeddings, 0.1).transpose(0, 1)
        return torch.baddbmm(self.classifier_bias, active, self.classifier_weight).transpose(0, 1)


def join_stripes(embeddings: Tensor) -> Tensor:
    """Concatenate the normalised embeddings of the stripes, with equal weight.

    Args:
        embeddings: ``[n, p, d]``.

    Returns:
        Unit rows, ``[n, p·d]``.
    """
    return F.normalize(F.normalize(embeddings, dim=2).flatten(1), dim=1)
