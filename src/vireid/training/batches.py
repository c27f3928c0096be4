"""From a data set to augmented batches, the same ones for the same (seed, epoch, step)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

import numpy as np
import torch
from torch import Tensor

from vireid.data.images import ImageStack
from vireid.data.sampler import BatchIndices, CrossModalSampler, class_indices
from vireid.data.transforms import augment
from vireid.training.run import Run
from vireid.types import CrossModalBatch, ImageRecord, Modality

__all__ = ["TrainingSet", "mix_seed"]


def mix_seed(*numbers: int) -> int:
    """One seed from several numbers, each of which matters."""
    state = np.random.SeedSequence(numbers).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


class TrainingSet:
    """The training images of a run, its sampler and its augmentation.

    Args:
        run: Which data, which batches.

    Attributes:
        classes: Number of training identities.
        steps: Batches an epoch.
        report: What is unusual about the identities, as a sentence, or an empty string.

    Raises:
        DatasetError: If the data set is not laid out as published.
        ConfigError: If there are fewer identities than a batch needs.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        records = run.open_layout().train()
        classes = class_indices(records)

        def pick(modality: Modality) -> tuple[list[ImageRecord], ImageStack]:
            chosen = [r for r in records if r.modality is modality]
            return chosen, ImageStack(chosen, size=run.recipe.method.size)

        visible, self._visible = pick(Modality.VISIBLE)
        infrared, self._infrared = pick(Modality.INFRARED)
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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._visible.close()
        self._infrared.close()

    def preload(self, *, progress: bool) -> None:
        """Decode the images into memory, if they fit."""
        self._visible.preload(progress=progress)
        self._infrared.preload(progress=progress)

    def batches(
        self, epoch: int, first_step: int, to_device: Callable[[Tensor], Tensor]
    ) -> Iterator[CrossModalBatch]:
        """The batches of an epoch from a step on, decoded one ahead of the step that uses them.

        Args:
            epoch: From 0.
            first_step: From 0; the batches before it are left out and change nothing.
            to_device: Moves a tensor to where the network is.
        """
        plan = self._sampler.epoch(epoch)[first_step:]
        with ThreadPoolExecutor(max_workers=1) as pool:
            pending = pool.submit(self._decode, plan[0]) if plan else None
            for offset, indices in enumerate(plan):
                assert pending is not None
                visible, infrared = pending.result()
                if offset + 1 < len(plan):
                    pending = pool.submit(self._decode, plan[offset + 1])
                seed = mix_seed(self._run.seed, epoch, first_step + offset)
                generator = torch.Generator().manual_seed(seed)

                def ready(
                    images: Tensor, modality: Modality, random: torch.Generator = generator
                ) -> Tensor:
                    return augment(
                        to_device(images),
                        modality,
                        self._run.recipe.augmentation,
                        random,
                        memory_format=torch.channels_last,
                    )

                labels = to_device(torch.from_numpy(indices.labels))
                yield CrossModalBatch(
                    visible=ready(visible, Modality.VISIBLE),
                    infrared=ready(infrared, Modality.INFRARED),
                    visible_labels=labels,
                    infrared_labels=labels,
                    names=(
                        *(self._visible.name(int(i)) for i in indices.visible),
                        *(self._infrared.name(int(i)) for i in indices.infrared),
                    ),
                )

    def _decode(self, indices: BatchIndices) -> tuple[Tensor, Tensor]:
        return self._visible.fetch(indices.visible), self._infrared.fetch(indices.infrared)
