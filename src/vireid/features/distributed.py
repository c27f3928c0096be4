"""Describing images by several processes, so that the features are those of one process.

Whole batches are shared out, and no image is in two of them: nothing has to be padded, and the
batches that a network sees are the ones that it sees in one process.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from vireid.data.image_stack import ImageStack
from vireid.distributed.comm import all_gather_rows, is_main_process, rank, world_size
from vireid.features.extractor import FeatureExtractor
from vireid.types import Features, ImageRecord, Modality

__all__ = ["extract_distributed", "local_records"]


def local_records(records: Sequence[ImageRecord], *, batch_size: int = 64) -> list[ImageRecord]:
    """The images that this process describes.

    Args:
        records: All images, in the same order in every process.
        batch_size: Images a forward pass.
    """
    return [records[index] for index in _shares(records, batch_size)[rank()]]


def extract_distributed(
    extractor: FeatureExtractor,
    records: Sequence[ImageRecord],
    *,
    batch_size: int = 64,
    flip: bool = False,
    progress: bool = True,
    images: ImageStack | None = None,
) -> Features:
    """Describe images, each once, by one of the processes; all of them get all features.

    Args:
        extractor: The network, the same in every process.
        records: The images, in the same order in every process.
        batch_size: Images a forward pass.
        flip: As :meth:`FeatureExtractor.extract`.
        progress: Show a bar on standard error, of the first process's part.
        images: The images of :func:`local_records`, where the caller keeps them open.

    Returns:
        Unit features, row for row, equal to those that one process computes.

    Raises:
        ImageError: If an image cannot be read.
    """
    shares = _shares(records, batch_size)
    own = extractor.extract(
        [records[index] for index in shares[rank()]],
        batch_size=batch_size,
        flip=flip,
        progress=progress and is_main_process(),
        images=images,
    )
    if world_size() == 1:
        return own
    parts = all_gather_rows(
        torch.from_numpy(own.values).reshape(len(shares[rank()]), extractor.dimension),
        [len(share) for share in shares],
    )
    values = torch.empty(len(records), extractor.dimension)
    for share, rows in zip(shares, parts, strict=True):
        values[share] = rows
    return Features(values.numpy(), tuple(records), own.augmentation)


def _shares(records: Sequence[ImageRecord], batch_size: int) -> list[list[int]]:
    """Positions of the images of every process: of each modality, batches by turns.

    The encoder makes batches of images of one modality in their order. Only the last one can be
    short, and it is the last of its process too, so that every process makes the same batches of
    its images as one process makes of all.
    """
    if world_size() == 1:
        return [list(range(len(records)))]
    shares: list[list[int]] = [[] for _ in range(world_size())]
    turn = 0
    for modality in Modality:
        own = [index for index, record in enumerate(records) if record.modality is modality]
        for at in range(0, len(own), batch_size):
            shares[turn % world_size()] += own[at : at + batch_size]
            turn += 1
    return shares
