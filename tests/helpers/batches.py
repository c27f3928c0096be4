"""Training batches of random pixels."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from vireid.types import CrossModalBatch

__all__ = ["random_batch"]


def random_batch(
    visible: Sequence[int] = (0, 0, 3, 3),
    infrared: Sequence[int] = (0, 0, 3, 3),
    *,
    size: tuple[int, int] = (64, 32),
) -> CrossModalBatch:
    """A batch that is the same at each call, and sets the seed of all that follows.

    Args:
        visible: Labels of the visible images.
        infrared: Labels of the infrared images.
        size: Height and width of the images.
    """
    torch.manual_seed(1)
    return CrossModalBatch(
        visible=torch.randn(len(visible), 3, *size),
        infrared=torch.randn(len(infrared), 3, *size),
        visible_labels=torch.tensor(visible),
        infrared_labels=torch.tensor(infrared),
    )
