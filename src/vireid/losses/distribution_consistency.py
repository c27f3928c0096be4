"""The distribution consistency loss: two modalities' features of one identity should coincide."""

from __future__ import annotations

from torch import Tensor

from vireid.losses._pairs import distances

__all__ = ["distribution_consistency_loss"]


def distribution_consistency_loss(
    visible: Tensor, infrared: Tensor, visible_labels: Tensor, infrared_labels: Tensor
) -> Tensor:
    r"""Mean distance of the visible-infrared pairs of one identity, L2-normalised.

    .. math:: L = \operatorname{mean}_{y_i = y_j} \lVert x_i^V - x_j^T \rVert_2

    Source: Zhang et al., "Towards a Unified Middle Modality Learning for Visible-Infrared Person
    Re-Identification", ACM MM 2021 (MMN). Its published code pairs the i-th visible with the i-th
    infrared image of a batch, which show one identity; that is one draw of these pairs.

    Args:
        visible: ``[n_v, d]``.
        infrared: ``[n_t, d]``.
        visible_labels: Class indices, int64 ``[n_v]``.
        infrared_labels: Class indices, int64 ``[n_t]``.

    Returns:
        A scalar in [0, 2]; 0 without a pair.
    """
    same = visible_labels[:, None] == infrared_labels[None, :]
    distance = distances(visible, infrared, unit=True)
    return (distance * same).sum() / same.sum().clamp(min=1)
