"""``python -m benchmarks WHAT``: benchmark a part against a reference implementation."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro
from tyro.extras import SubcommandApp

from benchmarks.common import Case
from benchmarks.data import Throughput, report_data
from benchmarks.encode import EncodeTiming, report_encode
from benchmarks.evaluation import Timing, report_evaluation
from benchmarks.gallery import GalleryTiming, report_gallery
from benchmarks.gpu import GpuBenchmark, Row, report_gpu
from benchmarks.large import Loading, Quantised, report_large
from benchmarks.train import StepTiming, report_step
from benchmarks.video import Detection, report_video
from vireid.cli import run_app
from vireid.cli._flags import Switch
from vireid.data.layouts import DataSource
from vireid.errors import ConfigError
from vireid.features import load
from vireid.methods import Batch
from vireid.nn import BackboneName
from vireid.video import load_detector

__all__ = [
    "app",
    "data",
    "encode",
    "evaluation",
    "gallery",
    "gpu",
    "large",
    "main",
    "train",
    "video",
]

_DEFAULT = Case()


def app() -> SubcommandApp:
    """``python -m benchmarks`` with one sub-command per benchmark."""
    parts = SubcommandApp()
    parts.command(evaluation)
    parts.command(data)
    parts.command(gallery)
    parts.command(large)
    parts.command(train)
    parts.command(encode)
    parts.command(video)
    parts.command(gpu)
    return parts


def evaluation(*, repeats: int = 3) -> list[Timing]:
    """Benchmark the evaluation against the per-query loop of common evaluators.

    SYSU-MM01 and RegDB at their published sizes with random features, and 4,000 queries against a
    gallery of 100,000. Both sides start from the same similarities and must give the same metrics.

    Args:
        repeats: Number of runs of vireid's side, of which the median counts. The loop runs once.

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
    """Benchmark an epoch of training images from the packed cache against decoding the files.

    Also measures augmented batches against the speed of a training step of DLIS.

    Args:
        source: The data set.
        size: Height and width of the images, in pixels.
        repeats: Number of epochs, of which the median counts.
        backbone: Backbone of each stream of the DLIS whose training step is timed.
        out: Folder for the temporary cache; the system's temporary folder by default.

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
    """Benchmark a gallery in a folder: adding, exact and graph search, memory and disk.

    The reference is a matrix product of all features in memory with the query. The features are
    synthetic.

    Args:
        sizes: Numbers of entries.
        dimension: Length of a feature; that of DLIS by default.
        out: Folder for the temporary galleries; the system's temporary folder by default.

    Returns:
        The measurements.
    """
    return report_gallery(sizes, dimension, out)


def train(*, case: Case = _DEFAULT, steps: int = 1, repeats: int = 3) -> StepTiming:
    """Benchmark a training step of DLIS, with image loading, against a reference implementation.

    Synthetic images, random weights. The reference, written as published code is, runs two networks
    one after the other on NCHW tensors in float32, loops over stripes and identities, and decodes
    each image in every step. Both sides must give the same losses.

    Args:
        case: The network and its settings.
        steps: Measured steps per process, after one warm-up step.
        repeats: Processes of each side, alternating.

    Returns:
        The measurement.
    """
    return report_step(case, steps=steps, repeats=repeats)


def encode(*, case: Case = _DEFAULT, count: int = 64, repeats: int = 3) -> EncodeTiming:
    """Benchmark feature extraction with DLIS against a reference implementation.

    In torch, and with onnxruntime and OpenVINO if `vireid[export]` is installed; also in bfloat16
    if the processor supports it. Synthetic images, random weights. All backends must give the
    reference's features within the rounding of their arithmetic; the table shows the deviation.

    Args:
        case: The network and its settings.
        count: Number of images, half of them visible.
        repeats: Processes per row, alternating.

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
    """Benchmark a large gallery: loading features, and searching quantised ones.

    Loading is `vireid gallery add --encoded`, with its memory use. Scalar (int8) and binary
    quantisation are compared with float32. The features are synthetic.

    Args:
        sizes: Numbers of entries to load.
        quantised: Number of features to quantise.
        dimension: Length of a feature; that of DLIS by default.
        out: Folder for temporary files; the system's temporary folder by default.

    Returns:
        The measurements.
    """
    return report_large(sizes, quantised, dimension, out)


def video(
    trees: Annotated[tuple[Path, ...], tyro.conf.Positional],
    /,
    *,
    detectors: tuple[str, ...] = ("nanodet",),
    model: str = "",
) -> dict[str, dict[str, Detection]]:
    """Measure detection, tracking and search on SynVI videos, whose people are known.

    Args:
        trees: What `vireid synvi OUT --layout video` wrote; people of all are searched together.
        detectors: Detectors, as `vireid detect --detector` takes them.
        model: The model that searches tracklets of infrared cameras in those of visible ones, such
            as synvi-lite0; none by default.

    Returns:
        What each detector finds, by band.
    """
    found = {name: load_detector(name) for name in detectors}
    return report_video(trees, found, load(model) if model else None)


def gpu(
    *,
    data: Path | None = None,
    epochs: int = 10,
    weights: Literal["imagenet", "none"] | Path = "imagenet",
    minutes: float = 8.0,
    dry_run: Switch = False,
    out: Path = Path("gpu.json"),
) -> list[Row]:
    """Measure a GPU: training steps, loader, encoding, evaluation, and trainings on SynVI.

    DLIS with ResNet-50 at 288x144 and batches of 64, beside the plain reference. Each section has a
    time limit of its own, and the file is written after each.

    Args:
        data: SynVI standard: `vireid synvi DIR --preset standard` renders it.
        epochs: Epochs of the trainings of dlis and tslfn.
        weights: Initial weights of their backbones: imagenet, none, or a file.
        minutes: Time limit of everything.
        dry_run: Run every section on the CPU with a tiny network, to test the script.
        out: The JSON file.

    Returns:
        The measurements.
    """
    if dry_run:
        case = Case(backbone="resnet18", size=(96, 32), batch=Batch(identities=2, images=1))
        plan = GpuBenchmark(
            case=case, device="cpu", steps=1, data=None, epochs=1, weights="none", compiled=False
        )
        return report_gpu(plan, out, minutes=minutes, processes=False)
    if not torch.cuda.is_available():
        raise ConfigError("There is no GPU that torch can use; expected one: use --dry-run.")
    plan = GpuBenchmark(
        case=_DEFAULT, device="cuda", steps=20, data=data, epochs=epochs, weights=weights
    )
    return report_gpu(plan, out, minutes=minutes)


def main(args: Sequence[str] | None = None) -> int:
    """Run one benchmark.

    Args:
        args: The arguments after ``python -m benchmarks``; those of the process by default.

    Returns:
        The exit status: 0, or 2 after an error.
    """
    return run_app(
        app,
        args,
        prog="python -m benchmarks",
        description=(
            "Benchmark a part of vireid against a reference implementation in the same run."
        ),
    )


if __name__ == "__main__":
    sys.exit(main())
