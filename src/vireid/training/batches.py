"""From a data set to augmented batches, the same ones for the same (seed, epoch, step)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vireid.data.cache import open_images
from vireid.data.image_stack import ImageStack
from vireid.data.sampler import WHOLE, BatchIndices, CrossModalSampler, Part, class_indices
from vireid.data.transforms import augment, normalise
from vireid.errors import ConfigError
from vireid.files import Closeable
from vireid.runs import Run
from vireid.types import CrossModalBatch, Modality

__all__ = ["TrainingSet", "mix_seed"]


def mix_seed(*numbers: int) -> int:
    """One seed from several numbers, each of which matters."""
    state = np.random.SeedSequence(numbers).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


class TrainingSet(Closeable):
    """The training images of a run, its sampler and its augmentation.

    Args:
        run: Which data, which batches.
        cache: The folder of the packed image cache; None decodes the images each time.
        part: Which part of each batch this process works on.

    Attributes:
        classes: Number of training identities.
        steps: Batches an epoch.
        report: What is unusual about the identities, as a sentence, or an empty string.

    Raises:
        DatasetError: If the data set is not laid out as published.
        ConfigError: If there are fewer identities than a batch needs, or the processes cannot share
            those of a batch.
    """

    def __init__(self, run: Run, *, cache: Path | None = None, part: Part = WHOLE) -> None:
        if run.recipe.batch.identities % part.size:
            raise ConfigError(
                f"{part.size} processes cannot share '{run.recipe.batch.identities}' identities a "
                "batch; expected a number that they divide: raise --identities, or lower --devices."
            )
        self._run = run
        self._cache = cache
        self._part = part
        records = run.data.open().train()
        classes = class_indices(records)
        visible = [r for r in records if r.modality is Modality.VISIBLE]
        infrared = [r for r in records if r.modality is Modality.INFRARED]
        self._images = ImageStack(visible + infrared, size=run.recipe.method.size)
        self._first_infrared = len(visible)
        self._labels = torch.tensor([classes[r.identity] for r in self._images.records])
        self._sampler = CrossModalSampler(
            np.array([classes[r.identity] for r in visible]),
            np.array([classes[r.identity] for r in infrared]),
            identities=run.recipe.batch.identities,
            images=run.recipe.batch.images,
            seed=run.seed,
        )
        self.classes = len(classes)
        self.steps = self._sampler.report.batches
        self.report = str(self._sampler.report)

    def close(self) -> None:
        """End the threads that decode images."""
        self._images.close()

    @property
    def listing(self) -> str:
        """All images in their order, with what is told of them; the same wherever they lie."""
        return "\n".join(
            f"{os.path.relpath(r.path, self._run.data.root)} {r.identity} {r.camera} {r.modality}"
            for r in self._images.records
        )

    def preload(self, *, progress: bool) -> None:
        """Take the images from the cache from now on, built first where it is not there.

        Args:
            progress: Show a bar while building.

        Raises:
            ImageError: If an image cannot be read.
        """
        decoding = self._images
        self._images = open_images(
            decoding.records, size=decoding.size, cache=self._cache, progress=progress
        )
        decoding.close()

    def batches(
        self, epoch: int, first_step: int, to_device: Callable[[Tensor], Tensor]
    ) -> Iterator[CrossModalBatch]:
        """The batches of an epoch from a step on, decoded one ahead of the step that uses them.

        Args:
            epoch: From 0.
            first_step: From 0; the batches before it are left out and change nothing.
            to_device: Moves a tensor to where the network is.

        Yields:
            P·K visible images (twice as many with ``joint``, the second views last) and P·K
            infrared ones; of several processes each has those of its own identities.
        """
        plan = self._sampler.epoch(epoch)[first_step:]
        own = [indices.part(self._part) for indices in plan]
        with ThreadPoolExecutor(max_workers=1) as pool:
            pending = pool.submit(self._decode, own[0]) if own else None
            for offset, indices in enumerate(plan):
                assert pending is not None
                visible, infrared = pending.result()
                if offset + 1 < len(plan):
                    pending = pool.submit(self._decode, own[offset + 1])
                seed = mix_seed(self._run.seed, epoch, first_step + offset)
                generator = torch.Generator().manual_seed(seed)
                yield self._batch(indices, to_device(visible), to_device(infrared), generator)

    def _batch(
        self, indices: BatchIndices, visible: Tensor, infrared: Tensor, random: torch.Generator
    ) -> CrossModalBatch:
        """Augment the images of a batch; with ``joint``, the visible ones are in it twice."""
        how = self._run.recipe.augmentation
        varied = partial(
            augment, generator=random, memory_format=torch.channels_last, part=self._part
        )
        labels = torch.from_numpy(indices.labels).to(visible.device)
        own = self._rows(indices.part(self._part))
        names = tuple(self._images.name(int(i)) for i in own)
        batch = CrossModalBatch(
            visible=varied(visible, Modality.VISIBLE, how),
            infrared=varied(infrared, Modality.INFRARED, how),
            visible_labels=labels,
            infrared_labels=labels,
            names=names,
        )
        if not how.joint:
            return batch
        # It takes its random numbers last: with and without it, the others are the same.
        second = varied(visible, Modality.VISIBLE, how.second_view())
        # Each process has first and second views of its own identities.
        of_parts = labels.view(self._part.size, -1)
        return batch._replace(
            visible=torch.cat([batch.visible, second]),
            visible_labels=torch.cat([of_parts, of_parts], dim=1).flatten(),
            names=names[: len(visible)] + names,
        )

    def plain(
        self, modality: Modality, to_device: Callable[[Tensor], Tensor], *, batch_size: int = 64
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """All images of a modality, once, as they are: normalised, not augmented.

        Args:
            modality: Which.
            to_device: Moves a tensor to where the network is.
            batch_size: Images at a time.

        Yields:
            float32 ``[n, 3, H, W]`` and their class indices, int64 ``[n]``.
        """
        own = [i for i, r in enumerate(self._images.records) if r.modality is modality]
        for start in range(0, len(own), batch_size):
            rows = own[start : start + batch_size]
            images = to_device(self._images.fetch(rows))
            ready = normalise(images, memory_format=torch.channels_last)
            yield ready, to_device(self._labels[rows])

    def _rows(self, indices: BatchIndices) -> NDArray[np.int64]:
        """Indices of a batch's images, visible ones first."""
        return np.concatenate([indices.visible, indices.infrared + self._first_infrared])

    def _decode(self, indices: BatchIndices) -> tuple[Tensor, Tensor]:
        images = self._images.fetch(self._rows(indices))
        count = len(indices.visible)
        return images[:count], images[count:]
