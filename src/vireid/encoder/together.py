"""Describing images by several processes, so that the descriptors are those of one process.

Whole batches are shared out, and no image is in two of them: nothing has to be padded, and the
batches that a network sees are the ones that it sees in one process.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from vireid.data.images import ImageStack
from vireid.encoder.encoder import Encoder
from vireid.processes import exchange, is_first, rank, size
from vireid.types import Descriptors, ImageRecord, Modality

__all__ = ["encode_together", "own_records"]


def own_records(records: Sequence[ImageRecord], *, batch_size: int = 64) -> list[ImageRecord]:
    """The images that this process describes.

    Args:
        records: All images, in the same order in every process.
        batch_size: Images a forward pass.
    """
    return [records[index] for index in _shares(records, batch_size)[rank()]]


def encode_together(
    encoder: Encoder,
    records: Sequence[ImageRecord],
    *,
    batch_size: int = 64,
    flip: bool = False,
    progress: bool = True,
    images: ImageStack | None = None,
) -> Descriptors:
    """Describe images, each once, by one of the processes; all of them get all descriptors.

    Args:
        encoder: The network, the same in every process.
        records: The images, in the same order in every process.
        batch_size: Images a forward pass.
        flip: As :meth:`Encoder.encode`.
        progress: Show a bar on standard error, of the first process's part.
        images: The images of :func:`own_records`, where the caller keeps them open.

    Returns:
        Unit descriptors, row for row, equal to those that one process computes.

    Raises:
        ImageError: If an image cannot be read.
    """
    shares = _shares(records, batch_size)
    own = encoder.encode(
        [records[index] for index in shares[rank()]],
        batch_size=batch_size,
        flip=flip,
        progress=progress and is_first(),
        images=images,
    )
    if size() == 1:
        return own
    parts = exchange(
        torch.from_numpy(own.values).reshape(len(shares[rank()]), encoder.dimension),
        [len(share) for share in shares],
    )
    values = torch.empty(len(records), encoder.dimension)
    for share, rows in zip(shares, parts, strict=True):
        values[share] = rows
    return Descriptors(values.numpy(), tuple(records), own.augmentation)


def _shares(records: Sequence[ImageRecord], batch_size: int) -> list[list[int]]:
    """Positions of the images of every process: of each modality, batches by turns.

    The encoder makes batches of images of one modality in their order. Only the last one can be
    short, and it is the last of its process too, so that every process makes the same batches of
    its images as one process makes of all.
    """
    if size() == 1:
        return [list(range(len(records)))]
    shares: list[list[int]] = [[] for _ in range(size())]
    turn = 0
    for modality in Modality:
        own = [index for index, record in enumerate(records) if record.modality is modality]
        for at in range(0, len(own), batch_size):
            shares[turn % size()] += own[at : at + batch_size]
            turn += 1
    return shares
