"""``vireid bench WHAT``: how fast a part is, beside a plain reference in the same run."""

from __future__ import annotations

from pathlib import Path

from tyro.extras import SubcommandApp

from vireid.bench.case import Case
from vireid.bench.data import Throughput, report_data
from vireid.bench.encode import EncodeTiming, report_encode
from vireid.bench.evaluation import Timing, report_evaluation
from vireid.bench.gallery import GalleryTiming, report_gallery
from vireid.bench.large import Loading, Quantised, report_large
from vireid.bench.train import StepTiming, report_step
from vireid.data.layouts import DataSource
from vireid.nn import BackboneName

__all__ = ["app", "data", "encode", "evaluation", "gallery", "large", "train"]

_DEFAULT = Case()


def app() -> SubcommandApp:
    """``vireid bench`` with one sub-command a part."""
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

    SYSU-MM01 and RegDB at their published sizes over random descriptors, and 4,000 queries in a
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

    Beside it a product of all descriptors in memory with the query, which stores nothing.
    Descriptors are those of made-up people.

    Args:
        sizes: How many entries.
        dimension: Length of the descriptors; DLIS's by default.
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
    """Images to descriptors by DLIS, against the same as published code is written.

    In torch, and where `vireid[export]` is installed by onnxruntime and OpenVINO too; in bfloat16
    where the processor has it. Made-up pictures, random weights. All must find the reference's
    descriptors but for their arithmetic, and how near they come stands beside how fast they are.

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
    """What a large gallery needs a row: loading descriptors, and searching quantised ones.

    Loading is `vireid gallery add --encoded` with its memory watched. Scalar (int8) and binary
    quantisation stand beside float32. Descriptors are those of made-up people.

    Args:
        sizes: How many entries to load.
        quantised: How many descriptors to quantise.
        dimension: Length of the descriptors; DLIS's by default.
        out: Where files are made for the while; the system's temporary folder by default.

    Returns:
        The measurements.
    """
    return report_large(sizes, quantised, dimension, out)
