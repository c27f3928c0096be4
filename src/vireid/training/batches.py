"""Augmented training batches, the same ones for the same (seed, epoch, step)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vireid.data.cache import open_images
from vireid.data.image_stack import ImageStack
from vireid.data.prefetch import prefetch
from vireid.data.sampler import (
    WHOLE_BATCH,
    BatchIndices,
    BatchShard,
    CrossModalSampler,
    class_indices,
)
from vireid.data.tone_mapping import ToneMapping
from vireid.data.transforms import augment, normalise
from vireid.errors import ConfigError
from vireid.files import Closeable
from vireid.runs import Run
from vireid.types import CrossModalBatch, Modality

__all__ = ["TrainingImages", "TrainingSet", "mix_seed"]


def mix_seed(*numbers: int) -> int:
    """One seed from several numbers, each of which matters."""
    state = np.random.SeedSequence(numbers).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


class TrainingImages(Closeable):
    """The training images of a run and their augmentation, without their labels.

    Args:
        run: The data and the augmentation.
        cache: Folder of the packed image cache; None decodes the images each time.
        shard: The shard of each batch that this process works on.
        progress: Show a bar while the cache is built.

    Attributes:
        layout: The data set.
        records: The images, visible ones first.
        visible: Number of visible images.

    Raises:
        DatasetError: If the data set is not laid out as published.
        ConfigError: If the tone mapping names a camera that the data set does not have.
    """

    def __init__(
        self,
        run: Run,
        *,
        cache: Path | None = None,
        shard: BatchShard = WHOLE_BATCH,
        progress: bool = False,
    ) -> None:
        self._run, self._cache, self._shard, self._progress = run, cache, shard, progress
        self._images: ImageStack | None = None
        self._dtype = torch.float64 if run.precision == "64-true" else torch.float32
        # Only from pinned memory does a copy to a GPU not wait for it.
        self._pinned = run.device != "cpu" and torch.cuda.is_available()
        self.layout = run.data.open()
        records = self.layout.train()
        self._tone_mapping = ToneMapping.parse(run.tone_mapping)
        cameras = {*self.layout.camera_names.values(), *(r.camera_name for r in records)}
        if unknown := self._tone_mapping.unknown(cameras):
            raise ConfigError(unknown)
        by_modality = [[r for r in records if r.modality is m] for m in Modality]
        self.records = [record for own in by_modality for record in own]
        self.visible = len(by_modality[0])

    def close(self) -> None:
        """End the threads that decode images."""
        if self._images is not None:
            self._images.close()

    def open_images(self) -> ImageStack:
        """The images in the order of ``records``; the first call builds what the cache lacks.

        Raises:
            ImageError: If an image cannot be read.
        """
        if self._images is None:
            self._images = open_images(
                self.records,
                size=self._run.recipe.method.size,
                cache=self._cache,
                tone_mapping=self._tone_mapping,
                progress=self._progress,
            )
        return self._images

    def augmented(
        self,
        plan: Sequence[BatchIndices],
        epoch: int,
        first_step: int,
        to_device: Callable[[Tensor], Tensor],
    ) -> Iterator[CrossModalBatch]:
        """Planned batches of an epoch from a step on, each decoded during the step before.

        Args:
            plan: The images and the labels of all batches of the epoch.
            epoch: From 0.
            first_step: From 0; skipping the batches before it changes nothing in the others.
            to_device: Moves a tensor to the network's device.

        Yields:
            P·K visible images (twice as many with ``joint``, the second views last) and P·K
            infrared ones; with several processes, those of this process's identities.
        """
        plan = plan[first_step:]
        decoded = prefetch(self._decode, [indices.shard(self._shard) for indices in plan])
        for step, (indices, (visible, infrared, names)) in enumerate(
            zip(plan, decoded, strict=True), start=first_step
        ):
            generator = torch.Generator().manual_seed(mix_seed(self._run.seed, epoch, step))
            labels = to_device(torch.from_numpy(indices.labels))
            batch = CrossModalBatch(to_device(visible), to_device(infrared), labels, labels, names)
            batch = self._augment(batch, generator)
            yield batch._replace(
                visible=batch.visible.to(self._dtype), infrared=batch.infrared.to(self._dtype)
            )

    def _decode(self, indices: BatchIndices) -> tuple[Tensor, Tensor, tuple[str, ...]]:
        """The pixels of the visible and of the infrared images, and all names."""
        rows = np.concatenate([indices.visible, indices.infrared + self.visible])
        pixels = self.open_images().fetch(rows)
        if self._pinned:
            pixels = pixels.pin_memory()
        count = len(indices.visible)
        names = tuple(str(self.records[row].path) for row in rows)
        return pixels[:count], pixels[count:], names

    def _augment(self, batch: CrossModalBatch, generator: torch.Generator) -> CrossModalBatch:
        """Augment the images of a batch; ``joint`` adds a second view of the visible ones."""
        how = self._run.recipe.augmentation
        varied = partial(
            augment, generator=generator, memory_format=torch.channels_last, shard=self._shard
        )
        visible = varied(batch.visible, Modality.VISIBLE, how)
        infrared = varied(batch.infrared, Modality.INFRARED, how)
        augmented = batch._replace(visible=visible, infrared=infrared)
        if not how.joint:
            return augmented
        # Its random numbers are drawn last, so that it does not change those of the others.
        second = varied(batch.visible, Modality.VISIBLE, how.second_view())
        # Each process has first and second views of its own identities.
        by_process = batch.visible_labels.view(self._shard.world_size, -1)
        return augmented._replace(
            visible=torch.cat([visible, second]),
            visible_labels=torch.cat([by_process, by_process], dim=1).flatten(),
            names=batch.names[: len(visible)] + batch.names,
        )


class TrainingSet(TrainingImages):
    """The training images of a run with their labels, and its sampler.

    Args:
        run: The data and the batches.
        cache: Folder of the packed image cache; None decodes the images each time.
        shard: The shard of each batch that this process works on.
        progress: Show a bar while the cache is built.

    Attributes:
        classes: Number of training identities.
        steps: Batches an epoch.
        report: What is unusual about the identities, as a sentence, or an empty string.

    Raises:
        DatasetError: If the data set is not laid out as published.
        ConfigError: If there are fewer identities than a batch needs, or their number in a batch is
            not a multiple of the number of processes; or the tone mapping names a camera that the
            data set does not have.
    """

    def __init__(
        self,
        run: Run,
        *,
        cache: Path | None = None,
        shard: BatchShard = WHOLE_BATCH,
        progress: bool = False,
    ) -> None:
        if run.recipe.batch.identities % shard.world_size:
            raise ConfigError(
                f"{shard.world_size} processes cannot share '{run.recipe.batch.identities}' "
                "identities a batch; expected a multiple of the number of processes: use as many "
                "processes (--devices) as divide the identities."
            )
        super().__init__(run, cache=cache, shard=shard, progress=progress)
        classes = class_indices(self.records)
        self._labels = np.array([classes[r.identity] for r in self.records])
        self._sampler = CrossModalSampler(
            self._labels[: self.visible],
            self._labels[self.visible :],
            identities=run.recipe.batch.identities,
            images=run.recipe.batch.images,
            seed=run.seed,
        )
        self.classes = len(classes)
        self.steps = self._sampler.report.batches
        self.report = str(self._sampler.report)

    @property
    def listing(self) -> str:
        """All images with their labels, in order; independent of where the data set is."""
        return "\n".join(
            f"{os.path.relpath(r.path, self._run.data.root)} {r.identity} {r.camera} {r.modality}"
            for r in self.records
        )

    def batches(
        self, epoch: int, first_step: int, to_device: Callable[[Tensor], Tensor]
    ) -> Iterator[CrossModalBatch]:
        """The batches of an epoch from a step on; see :meth:`TrainingImages.augmented`.

        Args:
            epoch: From 0.
            first_step: From 0.
            to_device: Moves a tensor to the network's device.
        """
        return self.augmented(self._sampler.epoch(epoch), epoch, first_step, to_device)

    def plain(
        self, modality: Modality, to_device: Callable[[Tensor], Tensor], *, batch_size: int = 64
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """All images of a modality, once, normalised and not augmented.

        Args:
            modality: The modality.
            to_device: Moves a tensor to the network's device.
            batch_size: Images at a time.

        Yields:
            float32 ``[n, 3, H, W]`` and their class indices, int64 ``[n]``.
        """
        own = [i for i, r in enumerate(self.records) if r.modality is modality]
        for start in range(0, len(own), batch_size):
            rows = own[start : start + batch_size]
            images = to_device(self.open_images().fetch(rows))
            ready = normalise(images, memory_format=torch.channels_last).to(self._dtype)
            yield ready, to_device(torch.from_numpy(self._labels[rows]))
