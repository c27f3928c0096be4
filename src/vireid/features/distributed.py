"""Feature extraction by several processes, with the results of one.

The processes take whole batches: nothing is padded, and the model gets the same batches as in one
process.
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
    """The images that this process extracts.

    Args:
        records: All images, in the same order in every process.
        batch_size: Inference batch size.
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
    """Extract each image in one of the processes, and return all features in all of them.

    Args:
        extractor: The model, the same in every process.
        records: The images, in the same order in every process.
        batch_size: Inference batch size.
        flip: As :meth:`FeatureExtractor.extract`.
        progress: Show the progress of the main process on standard error.
        images: The open images of :func:`local_records`; they stay open.

    Returns:
        Unit features, row for row, equal to those of one process.

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
    """The indices of the images of each process: of each modality, batches in turn.

    The extractor forms batches of one modality in the order of the images. Only the last batch can
    be short, and it is the last one of its process too, so that the batches are those of one
    process.
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
