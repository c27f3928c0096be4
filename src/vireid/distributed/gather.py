"""The whole batch of several processes, of which each has worked on a part."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from vireid.distributed.comm import rank, world_size
from vireid.types import CrossModalBatch

__all__ = ["gather_batch"]


def gather_batch(rows: Tensor, batch: CrossModalBatch) -> Tensor:
    """Gather what a network made of the images of every process.

    Every process then computes the loss of the whole batch, and the same one. The gradient that
    comes back to its own rows is therefore the loss's, and it is handed on ``size`` times as large:
    data parallel training averages the gradients of the processes, and what is behind this
    function has in each the gradient of its own part only. What comes after it (classifiers) has
    the whole gradient in each, which the average leaves as it is.

    Args:
        rows: ``[n_v + n_t, …]`` of this process's images, visible ones first.
        batch: The batch that they are from; all processes have as many images of each modality.

    Returns:
        ``[size·(n_v + n_t), …]``, visible ones of all processes first, each by rank: row for row
        the batch's labels. ``rows`` itself where there is one process.
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
        held = [torch.empty_like(rows) for _ in range(world_size())]
        dist.all_gather(held, rows)
        return torch.cat(held)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        own: Tensor = gradients[0].chunk(world_size())[rank()]
        return own * world_size()
