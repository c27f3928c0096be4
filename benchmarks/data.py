"""Speed of image loading: decoded in every epoch, from the packed cache, and as augmented batches.

The table also shows the speed of a training step: a loader that is a few times faster is never the
bottleneck.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import Case
from benchmarks.machine import machine_summary
from benchmarks.train import images_per_second
from vireid.data.cache import PackedImages
from vireid.data.image_stack import ImageStack
from vireid.data.layouts import DataSource
from vireid.methods import DLISConfig, Recipe
from vireid.nn import BackboneName
from vireid.runs import Run
from vireid.training.batches import TrainingSet

__all__ = ["Throughput", "report_data"]

_BATCH = 64
_SEED = 0


@dataclass(frozen=True, slots=True)
class Throughput:
    """Images per second in one epoch over all training images in random order.

    Attributes:
        images: Number of training images.
        decoding: Decoded from the files, with all threads.
        building: Building the cache.
        packed: From the cache, in the first epoch after opening it.
        packed_again: From the cache in later epochs, with all checksums verified.
        batches: Training batches: sampled, from the cache, augmented.
        step: Training steps, from batches in memory.
    """

    images: int
    decoding: float
    building: float
    packed: float
    packed_again: float
    batches: float
    step: float


def report_data(
    source: DataSource,
    size: tuple[int, int],
    repeats: int,
    out: Path | None = None,
    *,
    backbone: BackboneName = "resnet18",
) -> Throughput:
    """Measure and print.

    Args:
        source: The data set.
        size: Height and width of the images, in pixels.
        repeats: Number of epochs, of which the median counts.
        out: Parent folder of the temporary cache; the temporary folder by default.
        backbone: Backbone of each stream of the DLIS whose training step is timed.

    Returns:
        The measurement.
    """
    records = source.open().train()
    with ImageStack(records, size=size) as decoding:
        _epoch(decoding)  # afterwards the files are in the page cache, as in a second epoch
        decoded = _rate(decoding, repeats)
    with tempfile.TemporaryDirectory(prefix="vireid-bench-", dir=out) as folder:
        began = time.perf_counter()
        with PackedImages(records, size=size, folder=Path(folder)) as packed:
            building = len(records) / (time.perf_counter() - began)
            first = _rate(packed, 1)
            again = _rate(packed, repeats)
        batches = _batch_rate(source, size, repeats, Path(folder))
    step = images_per_second(Case(backbone=backbone, size=size), steps=repeats)
    found = Throughput(len(records), decoded, building, first, again, batches, step)
    print(machine_summary(), end="\n\n")
    print(f"{len(records):,} training images of '{source.layout}' at {size[0]}x{size[1]}\n")
    print("| an epoch | images/s | ratio |")
    print("|---|--:|--:|")
    for name, rate in (
        ("decoded from the files", decoded),
        ("from the packed cache, first epoch", first),
        ("from the packed cache, later epochs", again),
        ("augmented batches of 64, from the packed cache", batches),
        (f"training step of DLIS, {backbone}", step),
    ):
        print(f"| {name} | {rate:,.0f} | {rate / decoded:.1f} |")
    print(
        f"\nBuilding the cache: {building:,.0f} images/s. The loader alone delivers "
        f"{batches / step:.1f} times the speed of the step."
    )
    return found


def _batch_rate(source: DataSource, size: tuple[int, int], repeats: int, cache: Path) -> float:
    """Images per second in an epoch of training batches."""
    recipe = Recipe(method=DLISConfig(weights="none", size=size))
    run = Run(name="dlis", recipe=recipe, data=source, seed=_SEED, device="cpu")
    rates = []
    with TrainingSet(run, cache=cache) as training:
        training.open_images()
        for epoch in range(max(1, repeats)):
            began, images = time.perf_counter(), 0
            for batch in training.batches(epoch, 0, lambda tensor: tensor):
                images += len(batch.names)
            rates.append(images / (time.perf_counter() - began))
    return float(np.median(rates))


def _rate(images: ImageStack, repeats: int) -> float:
    return float(np.median([_epoch(images) for _ in range(max(1, repeats))]))


def _epoch(images: ImageStack) -> float:
    """Images per second over all images in random order."""
    began = time.perf_counter()
    for indices in _batches(len(images)):
        images.fetch(indices)
    return len(images) / (time.perf_counter() - began)


def _batches(count: int) -> Iterator[NDArray[np.int64]]:
    order = np.random.default_rng(_SEED).permutation(count)
    for start in range(0, count, _BATCH):
        yield order[start : start + _BATCH]
