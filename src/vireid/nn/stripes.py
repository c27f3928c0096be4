"""The heads of the stripes: an embedding and a classifier for each, as batched products."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["StripeHeads"]


class StripeHeads(nn.Module):
    """For each stripe Linear + BatchNorm (the embedding), LeakyReLU(0.1) + Linear (the classifier).

    Stripes share nothing; both modalities share everything. The p linear layers are one batched
    product and the p batch norms one BatchNorm1d over p·d channels, which is the same arithmetic
    as p separate layers.

    Source: Zhu et al., "Hetero-Center Loss for Cross-Modality Person Re-Identification",
    Neurocomputing 2020 (TSLFN): layers and initialisation.

    Args:
        channels: C, channels of a pooled stripe.
        stripes: p.
        dim: d, length of a stripe's embedding.
        classes: Number of training identities.
        bias: Whether the batch norm learns a bias; it stays 0 otherwise (as in the BNNeck of Luo
            et al., "Bag of Tricks for Person Re-Identification", CVPR workshops 2019).
    """

    def __init__(
        self, channels: int, *, stripes: int, dim: int, classes: int, bias: bool = True
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(stripes, channels, dim))
        self.bias = nn.Parameter(torch.zeros(stripes, 1, dim))
        self.norm = nn.BatchNorm1d(stripes * dim)
        self.classifier_weight = nn.Parameter(torch.empty(stripes, dim, classes))
        self.classifier_bias = nn.Parameter(torch.zeros(stripes, 1, classes))
        # He's initialisation over the fan-out, as the ancestor's: std = sqrt(2 / d).
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
        embedded = torch.baddbmm(self.bias, pooled.transpose(0, 1), self.weight).transpose(0, 1)
        normed: Tensor = self.norm(embedded.flatten(1))
        return normed.view_as(embedded)

    def classify(self, embeddings: Tensor) -> Tensor:
        """Logits of every stripe.

        Args:
            embeddings: ``[n, p, d]``.

        Returns:
            ``[n, p, classes]``.
        """
        active = F.leaky_relu(embeddings, 0.1).transpose(0, 1)
        return torch.baddbmm(self.classifier_bias, active, self.classifier_weight).transpose(0, 1)
