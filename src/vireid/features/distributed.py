"""Sharing the images among the processes of a distributed run, and gathering their features.

The processes take whole batches: nothing is padded, and the model gets the same batches as in one
process.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from vireid.distributed.comm import all_gather_rows, rank, world_size
from vireid.types import ImageRecord, Modality

__all__ = ["gather_features", "local_records", "shares_of"]


def local_records(records: Sequence[ImageRecord], *, batch_size: int = 64) -> list[ImageRecord]:
    """The images that this process extracts.

    Args:
        records: All images, in the same order in every process.
        batch_size: Inference batch size.
    """
    return [records[index] for index in shares_of(records, batch_size)[rank()]]


def shares_of(records: Sequence[ImageRecord], batch_size: int) -> list[list[int]]:
    """The indices of the images of each process: of each modality, batches in turn.

    The extractor forms batches of one modality in the order of the images. Only the last batch can
    be short, and it is the last one of its process too, so that the batches are those of one
    process.

    Args:
        records: All images, in the same order in every process.
        batch_size: Inference batch size.
    """
    if world_size() == 1:
        return [list(range(len(records)))]
    shares: list[list[int]] = [[] for _ in range(world_size())]
    batch = 0
    for modality in Modality:
        own = [index for index, record in enumerate(records) if record.modality is modality]
        for at in range(0, len(own), batch_size):
            shares[batch % world_size()] += own[at : at + batch_size]
            batch += 1
    return shares


def gather_features(
    own: NDArray[np.float32], shares: Sequence[Sequence[int]]
) -> NDArray[np.float32]:
    """The features of all processes in each of them.

    Args:
        own: The features of this process's share, float32 ``[n, d]``; n may be 0.
        shares: The indices of the images of each process.

    Returns:
        All features, in the order of the images.
    """
    if world_size() == 1:
        return own
    parts = all_gather_rows(torch.from_numpy(own), [len(share) for share in shares])
    values = np.empty((sum(map(len, shares)), own.shape[1]), dtype=np.float32)
    for share, rows in zip(shares, parts, strict=True):
        values[share] = rows.numpy()
    return values
