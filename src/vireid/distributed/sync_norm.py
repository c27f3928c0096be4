"""Batch normalisation over the images of several processes, on CPUs too.

torch's own SyncBatchNorm runs on GPUs only. This one uses operations that every device has, so that
the tests on CPUs cover the code that runs on GPUs.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from vireid.distributed.comm import world_size

__all__ = ["SyncBatchNorm", "convert_sync_batchnorm"]


def convert_sync_batchnorm(network: nn.Module) -> None:
    """Replace every batch norm of a network, in place, by one over the images of all processes.

    Parameters, buffers and their names stay the same.
    """
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, _BatchNorm) and not isinstance(child, SyncBatchNorm):
                setattr(module, name, SyncBatchNorm.like(child))


class SyncBatchNorm(_BatchNorm):
    """A batch norm whose statistics in training are over the images of all processes.

    All processes must have the same number of images (and positions). In evaluation it is a plain
    batch norm. Variances are combined as in Chan et al., "Updating Formulae and a Pairwise
    Algorithm for Computing Sample Variances", 1979, for parts of equal size.
    """

    @classmethod
    def like(cls, norm: _BatchNorm) -> SyncBatchNorm:
        """A replacement for a batch norm, with its parameters and buffers.

        Args:
            norm: A BatchNorm1d, 2d or 3d.
        """
        assert norm.track_running_stats
        made = cls(norm.num_features, norm.eps, norm.momentum, norm.affine, device="meta")
        made.weight, made.bias = norm.weight, norm.bias
        made.running_mean, made.running_var = norm.running_mean, norm.running_var
        made.num_batches_tracked = norm.num_batches_tracked
        return made.train(norm.training)

    def _check_input_dim(self, input: Tensor) -> None:
        """Accept any number of positions."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise.

        Args:
            input: ``[n, C, …]``.

        Returns:
            The same shape.
        """
        if not self.training or world_size() == 1:
            return super().forward(input)
        assert self.num_batches_tracked is not None
        assert self.running_mean is not None
        assert self.running_var is not None
        mean, variance = _statistics(input)
        self.num_batches_tracked.add_(1)
        share = self.momentum or 1.0 / float(self.num_batches_tracked)
        count = world_size() * input.numel() // input.shape[1]
        # Running statistics estimate those of the population: unbiased, as in BatchNorm.
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        unbiased = variance * (count / max(count - 1, 1))
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), share)
        normed: Tensor = _Normalise.apply(input, mean, variance, self.weight, self.bias, self.eps)
        return normed


@torch.no_grad()
def _statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of each channel over all processes, float32 at least, ``[C]``."""
    # Otherwise the statistics would be in half precision.
    x = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
    own = torch.stack(torch.ops.aten.batch_norm_update_stats(x, None, None, 0.0))
    gathered = [torch.empty_like(own) for _ in range(world_size())]
    dist.all_gather(gathered, own)
    means, variances = torch.stack(gathered).unbind(1)
    mean = means.mean(0)
    return mean, (variances + (means - mean).square()).mean(0)


class _Normalise(torch.autograd.Function):
    """Normalisation with statistics that depend on the rows of all processes."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        mean: Tensor,
        variance: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        eps: float,
    ) -> Tensor:
        ctx.save_for_backward(x, mean, variance, weight)
        ctx.eps = eps
        # With given statistics batch_norm runs in evaluation mode.
        return F.batch_norm(x, mean, variance, weight, bias, training=False, eps=eps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, mean, variance, weight = ctx.saved_tensors
        scale = weight if weight is not None else torch.ones_like(mean)
        # With given statistics: dy · weight / std, sum dy · (x - mean) / std, and sum dy.
        direct, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradients[0], x, scale, mean, variance, None, None, False, ctx.eps, [True] * 3
        )
        sums = torch.stack([of_weight, of_bias])
        dist.all_reduce(sums)
        sums /= world_size() * x.numel() // x.shape[1]
        deviation = (variance + ctx.eps).rsqrt()
        # The gradient through the statistics: each row changes the mean and the variance of all.
        slope = -scale * deviation.square() * sums[0]
        offset = -scale * deviation * sums[1] - slope * mean
        shape = (-1, *[1] * (x.ndim - 2))
        passed = direct.add_(torch.addcmul(offset.view(shape), x, slope.view(shape)).to(x.dtype))
        if weight is None:
            return passed, None, None, None, None, None
        return passed, None, None, of_weight, of_bias, None
