"""The packed image cache: every image decoded and resized once, for all epochs and later runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vireid.data._packs import PackFolder
from vireid.data.image_stack import ImageStack, log_converted
from vireid.data.images import read_resized
from vireid.data.layouts import folder_of
from vireid.data.tone_mapping import AUTO, ToneMapping
from vireid.errors import CacheError
from vireid.log import log
from vireid.types import ImageRecord

__all__ = ["PackedImages", "default_cache", "open_images"]


def default_cache(root: Path) -> Path:
    """The folder of a data set's packed images unless another is given.

    Re-identification data sets come with agreements that also say when to delete them. The copies
    of their images are therefore inside the data set's folder, and are deleted with it.

    Args:
        root: The folder of the data set, or the file that lists or holds its images.
    """
    return folder_of(root) / ".vireid-cache"


def open_images(
    records: Sequence[ImageRecord],
    *,
    size: tuple[int, int],
    cache: Path | None,
    tone_mapping: ToneMapping = AUTO,
    progress: bool = False,
) -> ImageStack:
    """Open images for repeated use, from a packed cache if possible.

    Where it is not, a message on standard error says why, and images are decoded each time.

    Args:
        records: The images; a position in this sequence is an image's index.
        size: Height and width to resize to, in pixels (bilinear, antialiased).
        cache: The folder of the packed cache; None decodes each time, without a message.
        tone_mapping: How more than 8 bits are mapped to 8.
        progress: Show a bar with images/s on standard error while the cache is built.

    Raises:
        ConfigError: If a size is out of range.
        ImageError: If an image cannot be read.
    """
    if cache is not None:
        try:
            return PackedImages(
                records, size=size, folder=cache, tone_mapping=tone_mapping, progress=progress
            )
        except CacheError as error:
            log(f"Images are decoded each time: {error}")
    return ImageStack(records, size=size, tone_mapping=tone_mapping)


class PackedImages(ImageStack):
    """The images of a set of records, resized to one size, read from a packed image cache.

    Opening it builds the cache if images are missing from it, were read with another tone mapping,
    or their files have changed (length, or time of the last change of content or attributes);
    unchanged rows are copied, the rest is decoded. Images of other records stay in the cache until
    their files change or are gone, so that all splits of a data set share it. How many images were
    converted to 8 bits, and how, is said on standard error at each opening. Only one process
    builds at a time; a killed build leaves the previous cache as it was.

    An image's checksum is compared when it is first fetched. A damaged image is decoded instead,
    and the next opening rebuilds the whole cache.

    Args:
        records: The images; a position in this sequence is an image's index.
        size: Height and width to resize to, in pixels (bilinear, antialiased).
        folder: The cache. Files below its parent folder are known by their relative paths, so that
            a data set can be moved with the cache inside it.
        tone_mapping: How more than 8 bits are mapped to 8.
        threads: Threads that decode and read; as in :class:`~vireid.data.image_stack.ImageStack`.
        progress: Show a bar with images/s on standard error while building.

    Raises:
        CacheError: If the cache has to be built but cannot be written, or there is no space.
        ConfigError: If a size or the number of threads is out of range.
        ImageError: If an image cannot be read.
    """

    def __init__(
        self,
        records: Sequence[ImageRecord],
        *,
        size: tuple[int, int],
        folder: Path,
        tone_mapping: ToneMapping = AUTO,
        threads: int | None = None,
        progress: bool = False,
    ) -> None:
        super().__init__(records, size=size, tone_mapping=tone_mapping, threads=threads)
        self._folder = PackFolder(folder, size)
        self._names = [self._folder.name(record.path) for record in self.records]
        self._damaged = False
        # Before decoding: a file that changes during it is then found changed next time.
        needed = {
            name: self._folder.stamp(name, str(how))
            for name, how in zip(self._names, self._tone_mappings, strict=True)
        }
        try:
            self._pack = self._folder.find(needed) or self._folder.build(
                needed, threads=self._threads, progress=progress
            )
        except OSError as error:
            raise CacheError(
                f"'{folder}' cannot hold the packed images ({error.strerror}); choose another"
                " folder with `vireid train --cache`."
            ) from error
        log_converted(Counter(r for name in self._names for r in self._pack.remarks[name]))

    def close(self) -> None:
        """End the threads and close the cache; the stack cannot be used again."""
        super().close()
        self._pack.close()

    def _read(self, index: int, into: NDArray[np.uint8]) -> None:
        name = self._names[index]
        if self._pack.read(name, into):
            return
        into[:] = read_resized(self.records[index].path, self.size, self._tone_mappings[index])
        if not self._damaged:
            self._damaged = True
            self._folder.invalidate()
            log(
                f"The packed image cache '{self._folder.path}' is damaged, first noticed at"
                f" '{name}'; damaged images are decoded instead, and the next run rebuilds it."
            )
