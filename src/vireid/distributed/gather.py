"""Gathers the shards of a batch from all processes."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from vireid.distributed.comm import rank, world_size
from vireid.types import CrossModalBatch

__all__ = ["gather_batch"]


def gather_batch(rows: Tensor, batch: CrossModalBatch) -> Tensor:
    """Gather a network's outputs for the images of every process.

    Every process then computes the same loss of the whole batch. The gradient of its own rows is
    passed back multiplied by the world size s, because data-parallel training averages gradients
    over the processes: layers before this function have in each process the gradient of its own
    images only. Layers after it (classifiers) have the whole gradient in each process, which the
    average does not change.

    Args:
        rows: ``[n_v + n_t, …]`` of this process's images, visible ones first.
        batch: Their batch; all processes have the same number of images of each modality.

    Returns:
        ``[s·(n_v + n_t), …]``, the visible ones of all processes first, each by rank: in the order
        of the batch's labels. ``rows`` itself with one process.
    """
    if world_size() == 1:
        return rows
    gathered: Tensor = _Gather.apply(rows)
    of_ranks = gathered.view(world_size(), *rows.shape)
    n = len(batch.visible)
    return torch.cat([of_ranks[:, :n].flatten(0, 1), of_ranks[:, n:].flatten(0, 1)])


class _Gather(torch.autograd.Function):
    """The rows of all processes, by rank."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        rows = rows.contiguous()
        gathered = [torch.empty_like(rows) for _ in range(world_size())]
        dist.all_gather(gathered, rows)
        return torch.cat(gathered)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        own: Tensor = gradients[0].chunk(world_size())[rank()]
        return own * world_size()
