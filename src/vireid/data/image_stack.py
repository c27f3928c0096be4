"""Many images at once, resized to one size, as tensors."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vireid.data.images import read_converted
from vireid.data.tone_mapping import AUTO, ToneMapping
from vireid.errors import ConfigError, many
from vireid.files import Closeable
from vireid.log import log, printable
from vireid.types import ImageRecord

__all__ = ["ImageStack", "log_converted"]


class ImageStack(Closeable):
    """The images of a set of records, resized to one size, decoded on every access.

    Several threads decode. It may be used from several threads. Close it, or use it as a context
    manager, to end its threads, and to say on standard error how many images were converted.

    Args:
        records: The images; a position in this sequence is an image's index.
        size: Height and width to resize to, in pixels (bilinear, antialiased).
        tone_mapping: How more than 8 bits are mapped to 8.
        threads: Number of decoding threads; by default one per processor, at most 8.

    Attributes:
        records: The images.
        size: Height and width, in pixels.

    Raises:
        ConfigError: If a size or the number of threads is out of range.
    """

    def __init__(
        self,
        records: Sequence[ImageRecord],
        *,
        size: tuple[int, int],
        tone_mapping: ToneMapping = AUTO,
        threads: int | None = None,
    ) -> None:
        if min(size) < 1:
            raise ConfigError(f"--size {size[0]} {size[1]} is out of range; expected at least 1 1.")
        if threads is None:
            threads = min(8, os.cpu_count() or 1)
        if threads < 1:
            raise ConfigError(f"{threads} threads are out of range; expected at least 1.")
        self.records = tuple(records)
        self.size = size
        self._tone_mappings = [tone_mapping.of(r.camera_name) for r in records]
        self._threads = threads
        self._remarks: dict[int, tuple[str, ...]] = {}
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="vireid-images")

    def __len__(self) -> int:
        return len(self.records)

    def name(self, index: int) -> str:
        """The file of one image, for messages."""
        return str(self.records[index].path)

    def fetch(self, indices: Iterable[int] | NDArray[np.integer] | Tensor) -> Tensor:
        """Return images by index; repeats are allowed.

        Args:
            indices: Indices of the images, ``[n]``.

        Returns:
            uint8 ``[n, 3, H, W]``, a new tensor in channels-last memory.

        Raises:
            ImageError: If an image cannot be read; it names the first of ``indices`` that fails.
            IndexError: If an index is out of range.
        """
        wanted = _as_indices(indices)
        if ((wanted < 0) | (wanted >= len(self))).any():
            raise IndexError(f"indices {wanted.min()} to {wanted.max()} are not within {len(self)}")
        pixels = np.empty((len(wanted), *self.size, 3), dtype=np.uint8)
        for _ in self._pool.map(self._read, wanted.tolist(), pixels):
            pass
        return torch.from_numpy(pixels).permute(0, 3, 1, 2)

    def close(self) -> None:
        """End the threads; the stack cannot be used again."""
        self._pool.shutdown(cancel_futures=True)
        log_converted(Counter(chain.from_iterable(self._remarks.values())))
        self._remarks.clear()

    def _read(self, index: int, into: NDArray[np.uint8]) -> None:
        """Read the pixels of one image into an array ``[H, W, 3]``."""
        path = self.records[index].path
        into[:], remarks = read_converted(path, self.size, self._tone_mappings[index])
        if remarks:
            self._remarks[index] = remarks


def log_converted(remarks: Mapping[str, int]) -> None:
    """Say how many images were converted to 8 bits, and how.

    Args:
        remarks: The numbers of images by their ``REMARKS``.
    """
    for remark, number in remarks.items():
        log(printable(f"{many(number, 'image')} {remark}."))


def _as_indices(indices: Iterable[int] | NDArray[np.integer] | Tensor) -> NDArray[np.int64]:
    if isinstance(indices, Tensor):
        indices = indices.numpy(force=True)
    values = indices if isinstance(indices, np.ndarray) else np.fromiter(indices, dtype=np.int64)
    return values.astype(np.int64)
