"""``python -m benchmarks WHAT``: benchmark a part against a reference implementation."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from tyro.extras import SubcommandApp

from benchmarks.common import Case
from benchmarks.data import Throughput, report_data
from benchmarks.encode import EncodeTiming, report_encode
from benchmarks.evaluation import Timing, report_evaluation
from benchmarks.gallery import GalleryTiming, report_gallery
from benchmarks.large import Loading, Quantised, report_large
from benchmarks.train import StepTiming, report_step
from vireid.cli import run_app
from vireid.data.layouts import DataSource
from vireid.nn import BackboneName

__all__ = ["app", "data", "encode", "evaluation", "gallery", "large", "main", "train"]

_DEFAULT = Case()


def app() -> SubcommandApp:
    """``python -m benchmarks`` with one sub-command a part."""
    parts = SubcommandApp()
    parts.command(evaluation)
    parts.command(data)
    parts.command(gallery)
    parts.command(large)
    parts.command(train)
    parts.command(encode)
    return parts


def evaluation(*, repeats: int = 3) -> list[Timing]:
    """Evaluation against the per-query loop that the field's evaluators are.

    SYSU-MM01 and RegDB at their published sizes over random features, and 4,000 queries in a
    gallery of 100,000. Both sides start from the same similarities and must find the same figures.

    Args:
        repeats: How often vireid's side is run; the median counts. The loop is run once.

    Returns:
        The measurements.
    """
    return report_evaluation(repeats)


def data(
    source: DataSource,
    *,
    size: tuple[int, int] = (288, 144),
    repeats: int = 3,
    backbone: BackboneName = "resnet18",
    out: Path | None = None,
) -> Throughput:
    """An epoch over the training images from the packed cache against decoding the files.

    And as augmented batches, against what a training step of DLIS takes.

    Args:
        source: The data set.
        size: Height and width of the images, in pixels.
        repeats: How often an epoch is run; the median counts.
        backbone: The network of each stream of the DLIS whose step is timed.
        out: Where the cache is built for the while; the system's temporary folder by default.

    Returns:
        The measurement.
    """
    return report_data(source, size, repeats, out, backbone=backbone)


def gallery(
    *,
    sizes: tuple[int, ...] = (20_000, 100_000),
    dimension: int = 3072,
    out: Path | None = None,
) -> list[GalleryTiming]:
    """A gallery in a folder: adding, searching exactly and by the graph, memory and disk.

    Beside it a product of all features in memory with the query, which stores nothing.
    Features are those of made-up people.

    Args:
        sizes: How many entries.
        dimension: Length of the features; DLIS's by default.
        out: Where the galleries are made for the while; the system's temporary folder by default.

    Returns:
        The measurements.
    """
    return report_gallery(sizes, dimension, out)


def train(*, case: Case = _DEFAULT, steps: int = 1, repeats: int = 3) -> StepTiming:
    """A training step of DLIS, with its images, against the step as published code is written.

    Made-up pictures, random weights. The reference runs two whole networks one after the other on
    NCHW tensors in float32, goes through stripes and identities in loops, and decodes each image
    in every step. Both sides must find the same losses.

    Args:
        case: The network, and how it runs.
        steps: Steps of a process that count, after one that does not.
        repeats: Processes of each side, in turns.

    Returns:
        The measurement.
    """
    return report_step(case, steps=steps, repeats=repeats)


def encode(*, case: Case = _DEFAULT, count: int = 64, repeats: int = 3) -> EncodeTiming:
    """Images to features by DLIS, against the same as published code is written.

    In torch, and where `vireid[export]` is installed by onnxruntime and OpenVINO too; in bfloat16
    where the processor has it. Made-up pictures, random weights. All must find the reference's
    features but for their arithmetic, and how near they come stands beside how fast they are.

    Args:
        case: The network, and how it runs.
        count: How many images are described, half of them visible.
        repeats: Processes of each row, in turns.

    Returns:
        The measurement.
    """
    return report_encode(case, images=count, repeats=repeats)


def large(
    *,
    sizes: tuple[int, ...] = (20_000, 100_000),
    quantised: int = 20_000,
    dimension: int = 3072,
    out: Path | None = None,
) -> tuple[list[Loading], list[Quantised]]:
    """What a large gallery needs a row: loading features, and searching quantised ones.

    Loading is `vireid gallery add --encoded` with its memory watched. Scalar (int8) and binary
    quantisation stand beside float32. Features are those of made-up people.

    Args:
        sizes: How many entries to load.
        quantised: How many features to quantise.
        dimension: Length of the features; DLIS's by default.
        out: Where files are made for the while; the system's temporary folder by default.

    Returns:
        The measurements.
    """
    return report_large(sizes, quantised, dimension, out)


def main(args: Sequence[str] | None = None) -> int:
    """Run one benchmark.

    Args:
        args: The words after ``python -m benchmarks``; those of the process by default.

    Returns:
        The exit status: 0, or 2 after an error.
    """
    return run_app(
        app(),
        args,
        prog="python -m benchmarks",
        description=(
            "Benchmark a part of vireid against a reference implementation in the same run."
        ),
    )


if __name__ == "__main__":
    sys.exit(main())
