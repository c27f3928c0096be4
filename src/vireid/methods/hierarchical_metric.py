"""The metric of HCML: a transformation for each modality, and a shared metric.

x and z are the centers of identities in the visible and the infrared modality, r and s the
differences of images from their center, d_M(a, b)^2 = (a - b) M (a - b)^T:

    F(V, T, M) = sum_ij w_ij log(1 + exp( y_ij (d_M(x_i V, z_j T)^2 - mu) ))          cross
               + lambda [ mean log(1 + exp |r V|^2) + mean log(1 + exp |s T|^2) ]     intra
               + rho/2 ( |V - I|^2 + |T - I|^2 + |M - I|^2 )                          shrinkage

over all pairs of centers, y = 1 for those of one identity and -1 otherwise; w gives both kinds
equal weight. The slope of the logistic loss weights pairs by difficulty: at most w for a wrong
pair, almost 0 for one that is correct by a wide margin.

V and T descend along their gradients; M takes the accelerated proximal gradient steps of MLAPG
(Liao and Li, "Efficient PSD Constrained Asymmetric Metric Learning for Person Re-Identification",
ICCV 2015), which keep it positive semi-definite. Step sizes come from backtracking, without tuning.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import grad_and_value
from torch.nn.functional import softplus

from vireid.errors import TrainingError

__all__ = ["Metric", "Objective", "fit_metric"]

# The initial step size of MLAPG, halved by backtracking.
_FIRST_STEP = 2.0**8


class Metric(NamedTuple):
    """A fitted metric on rows of length k, each float64 ``[k, k]``.

    Attributes:
        V: Transformation of the visible modality, ``x V``.
        T: Transformation of the infrared modality, ``z T``.
        M: The shared metric, symmetric and positive semi-definite.
    """

    V: Tensor
    T: Tensor
    M: Tensor


@dataclass(frozen=True, eq=False)
class Objective:
    """F of the module's equation.

    Attributes:
        visible: Centers of the visible images of each identity, ``[i, k]``.
        infrared: Centers of the infrared images of each identity, ``[j, k]``.
        visible_rest: Differences of visible images from their centers, ``[n, k]``.
        infrared_rest: Differences of infrared images from their centers, ``[m, k]``.
        same: Which pairs of centers are of one identity, bool ``[i, j]``.
        mu: Squared distance below which a pair counts as near.
        intra: lambda.
        shrinkage: rho.
    """

    visible: Tensor
    infrared: Tensor
    visible_rest: Tensor
    infrared_rest: Tensor
    same: Tensor
    mu: float
    intra: float
    shrinkage: float

    def __call__(self, V: Tensor, T: Tensor, M: Tensor) -> Tensor:
        """F, a scalar."""
        return self.cross(V, T, M) + self.within(V, T) + self.shrink(V, T, M)

    def cross(self, V: Tensor, T: Tensor, M: Tensor) -> Tensor:
        """The loss over pairs of centers."""
        beyond = squared_distances(self.visible @ V, self.infrared @ T, M) - self.mu
        return softplus(beyond[self.same]).mean() + softplus(-beyond[~self.same]).mean()

    def within(self, V: Tensor, T: Tensor) -> Tensor:
        """The weighted losses within the two modalities."""
        visible, infrared = (self.visible_rest @ V).square(), (self.infrared_rest @ T).square()
        return self.intra * (softplus(visible.sum(1)).mean() + softplus(infrared.sum(1)).mean())

    def shrink(self, *matrices: Tensor) -> Tensor:
        """Weighted squared distance of matrices from the identity."""
        identity = torch.eye(len(matrices[0]), dtype=matrices[0].dtype)
        return self.shrinkage / 2 * torch.stack([m - identity for m in matrices]).square().sum()


def squared_distances(a: Tensor, b: Tensor, M: Tensor) -> Tensor:
    """(a_i - b_j) M (a_i - b_j)^T for the rows ``[i, k]`` and ``[j, k]`` and a symmetric M."""
    own = ((a @ M) * a).sum(1)[:, None] + ((b @ M) * b).sum(1)[None, :]
    return own - 2 * a @ M @ b.T


def fit_metric(
    visible: Tensor,
    infrared: Tensor,
    visible_labels: Tensor,
    infrared_labels: Tensor,
    *,
    threshold: float,
    intra: float,
    shrinkage: float,
    images: int,
    iterations: int,
) -> Metric:
    """Fit V, T and M to labelled rows; deterministic.

    Args:
        visible: Rows of visible images, float64 ``[n, k]``.
        infrared: Rows of infrared images, float64 ``[m, k]``.
        visible_labels: Class indices, int64 ``[n]``.
        infrared_labels: Class indices, int64 ``[m]``; at least one must be in both modalities.
        threshold: mu, relative to the mean squared distance between the centers of one identity.
        intra: lambda.
        shrinkage: rho.
        images: Maximum images per identity and modality in the intra term, evenly spaced in their
            order.
        iterations: Maximum number of steps; it stops when F falls by less than a ten-thousandth.

    Raises:
        TrainingError: If a row is not finite, or no identity is in both modalities.
    """
    x, visible_rest, visible_ids = _centers(visible, visible_labels, images)
    z, infrared_rest, infrared_ids = _centers(infrared, infrared_labels, images)
    same = visible_ids[:, None] == infrared_ids[None, :]
    identity = torch.eye(visible.shape[1], dtype=visible.dtype)
    F = Objective(
        visible=x,
        infrared=z,
        visible_rest=visible_rest,
        infrared_rest=infrared_rest,
        same=same,
        mu=threshold * float(squared_distances(x, z, identity)[same].mean()),
        intra=intra,
        shrinkage=shrinkage,
    )
    V = T = M = before = identity
    step_M = step_VT = _FIRST_STEP
    pace = 0.0
    last = float(F(V, T, M))
    if not math.isfinite(last):
        raise TrainingError(
            f"HCML's metric cannot be fitted: its objective is '{last}' at the start; expected "
            "finite features and at least two identities with images of both modalities. Look "
            "for a diverging loss in metrics.jsonl, and start again: `vireid train RECIPE` with a "
            "lower --lr."
        )
    for _ in range(iterations):
        faster = (1 + math.sqrt(1 + 4 * pace**2)) / 2
        ahead = M + (pace - 1) / faster * (M - before)
        before, pace = M, faster
        M, step_M = _shared_step(partial(_for_metric, F, V, T), ahead, step_M)
        V, T, step_VT = _own_step(partial(_for_transformations, F, M), V, T, 2 * step_VT)
        now = float(F(V, T, M))
        if abs(last - now) < 1e-4 * last:
            break
        last = now
    return Metric(V, T, M)


def _centers(rows: Tensor, labels: Tensor, images: int) -> tuple[Tensor, Tensor, Tensor]:
    """Centers of the identities, differences of some images from them, and the identities."""
    identities = torch.unique(labels)
    centers, rest = [], []
    for identity in identities:
        own = rows[labels == identity]
        center = own.mean(0)
        some = torch.linspace(0, len(own) - 1, min(images, len(own))).round().long()
        centers.append(center)
        rest.append(own[some] - center)
    return torch.stack(centers), torch.cat(rest), identities


def _for_metric(F: Objective, V: Tensor, T: Tensor, M: Tensor) -> Tensor:
    """The terms of F that depend on M."""
    return F.cross(V, T, M) + F.shrink(M)


def _for_transformations(F: Objective, M: Tensor, V: Tensor, T: Tensor) -> Tensor:
    """The terms of F that depend on V and T."""
    return F.cross(V, T, M) + F.within(V, T) + F.shrink(V, T)


def _shared_step(F: Callable[[Tensor], Tensor], M: Tensor, step: float) -> tuple[Tensor, float]:
    """A proximal step for which F is below its quadratic bound, and its size."""
    slope, value = grad_and_value(F)(M)
    while True:
        moved = _semi_definite(M - step * slope)
        change = moved - M
        bound = value + (change * slope).sum() + change.square().sum() / (2 * step)
        if F(moved) <= bound + _rounding(value):
            return moved, step
        step /= 2


def _own_step(
    F: Callable[[Tensor, Tensor], Tensor], V: Tensor, T: Tensor, step: float
) -> tuple[Tensor, Tensor, float]:
    """A gradient step of both for which F decreases sufficiently, and its size."""
    (of_V, of_T), value = grad_and_value(F, argnums=(0, 1))(V, T)
    steepness = of_V.square().sum() + of_T.square().sum()
    while True:
        moved = V - step * of_V, T - step * of_T
        if F(*moved) <= value - step / 2 * steepness + _rounding(value):
            return *moved, step
        step /= 2


def _semi_definite(M: Tensor) -> Tensor:
    """The nearest symmetric, positive semi-definite matrix."""
    values, vectors = torch.linalg.eigh((M + M.T) / 2)
    moved: Tensor = (vectors * values.clamp(min=0)) @ vectors.T
    return moved


def _rounding(value: Tensor) -> float:
    """Rounding error of float64; without it backtracking would not end at the optimum."""
    return 1e-12 * max(1.0, abs(float(value)))
