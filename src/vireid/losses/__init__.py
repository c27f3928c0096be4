"""Losses, as pure functions of embeddings and labels."""

from vireid.losses.center_pair_mining import center_pair_mining_loss, orthogonality_loss
from vireid.losses.contrastive import contrastive_loss
from vireid.losses.distribution_consistency import distribution_consistency_loss
from vireid.losses.hetero_center import hetero_center_loss
from vireid.losses.ranking import batch_hard_triplet_loss, weighted_regularised_triplet_loss
from vireid.losses.supervised_contrastive import (
    cross_modal_contrastive_loss,
    supervised_contrastive_loss,
)
from vireid.losses.top_ranking import top_ranking_loss

__all__ = [
    "batch_hard_triplet_loss",
    "center_pair_mining_loss",
    "contrastive_loss",
    "cross_modal_contrastive_loss",
    "distribution_consistency_loss",
    "hetero_center_loss",
    "orthogonality_loss",
    "supervised_contrastive_loss",
    "top_ranking_loss",
    "weighted_regularised_triplet_loss",
]
