"""Losses as pure functions of embeddings and labels."""

from vireid.losses.hetero_center import hetero_center_loss
from vireid.losses.ranking import batch_hard_triplet_loss, weighted_regularised_triplet_loss

__all__ = [
    "batch_hard_triplet_loss",
    "hetero_center_loss",
    "weighted_regularised_triplet_loss",
]
