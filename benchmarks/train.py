"""Time of a training step of DLIS, compared with a reference implementation.

The two sides alternate, each in its own process. vireid runs what `vireid train` runs, with packed
images, augmentation and metrics; :mod:`benchmarks.reference` decodes its images in every step. Both
train on synthetic images.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.common import Case, Measurement
from benchmarks.machine import in_fresh_process, machine_summary
from benchmarks.reference import ReferenceDLIS, load_images, reference_optimizer
from benchmarks.roofline import HardwareLimits, OperationCount, count_operations, measure_limits
from benchmarks.synthetic import write_images
from vireid.cli._memory import keep_memory
from vireid.data.cache import default_cache
from vireid.data.layouts import DataSource
from vireid.methods import Optimisation, Recipe
from vireid.runs import Run, RunFolder
from vireid.training import fit
from vireid.types import CrossModalBatch, Modality

__all__ = ["StepTiming", "images_per_second", "measure_step", "report_step"]

_COMPARED = 4
"""Images per modality, of two identities, on which the losses are compared."""
_TOLERANCE = {"64-true": 1e-4, "32-true": 1e-4, "bf16-mixed": 0.05}
"""Largest relative difference between the losses of the two sides."""


@dataclass(frozen=True, slots=True)
class StepTiming:
    """The measurements of both sides.

    Attributes:
        reference: The reference.
        vireid: `vireid train`.
        difference: Relative difference between the losses of one batch.
        count: Operations of a step.
        limits: Peak rates of the machine.
    """

    reference: Measurement
    vireid: Measurement
    difference: float
    count: OperationCount
    limits: HardwareLimits

    @property
    def ratio(self) -> float:
        """Speed of vireid relative to the reference."""
        return self.reference.median / self.vireid.median


def report_step(case: Case, *, steps: int, repeats: int) -> StepTiming:
    """Measure and print.

    Args:
        case: The network and its settings.
        steps: Measured steps per process, after one warm-up step.
        repeats: Processes of each side.

    Returns:
        The measurement.
    """
    print(f"{machine_summary()}\n\n{case}\n", flush=True)
    timing = measure_step(case, steps=steps, repeats=repeats)
    print(
        f"Median of {repeats * steps} steps per side: {repeats} alternating processes, {steps} "
        "steps each after one warm-up step. The losses of one batch differ by "
        f"{timing.difference:.1e} relative.\n"
    )
    print("| side | images/s | ratio | peak, GiB | s per step, min to max |")
    print("|---|--:|--:|--:|--:|")
    for name, side in (("reference", timing.reference), ("vireid", timing.vireid)):
        print(
            f"| {name} | {case.images / side.median:.1f} "
            f"| {timing.reference.median / side.median:.2f} | {side.peak:.2f} "
            f"| {side.median:.2f}, {min(side.seconds):.2f} to {max(side.seconds):.2f} |"
        )
    print(timing.limits.table(timing.count, timing.reference.median, case.images, case.precision))
    return timing


def measure_step(case: Case, *, steps: int, repeats: int) -> StepTiming:
    """Measure both sides, each in fresh processes.

    Args:
        case: The network and its settings.
        steps: Measured steps per process, after one warm-up step.
        repeats: Processes of each side.

    Raises:
        ArithmeticError: The losses of the two sides disagree.
    """
    (difference, count, limits), _ = in_fresh_process(_compare, case)
    if difference > _TOLERANCE[case.precision]:
        raise ArithmeticError(f"The losses of the two sides differ by {difference:.1e} relative.")
    with tempfile.TemporaryDirectory(prefix="vireid-bench-") as name:
        folder = Path(name)
        data = write_images(
            folder, identities=case.batch.identities, images=case.batch.images, split="train"
        )
        seconds: dict[_Work, list[float]] = {_reference: [], _vireid: []}
        peaks = {_reference: 0.0, _vireid: 0.0}
        for repeat in range(repeats):
            for work in (_reference, _vireid):
                out = folder / f"run-{repeat}"
                found, peak = in_fresh_process(work, case, data, steps, out)
                seconds[work] += found
                peaks[work] = max(peaks[work], peak)
    reference, own = (
        Measurement(tuple(seconds[work]), peaks[work]) for work in (_reference, _vireid)
    )
    return StepTiming(reference, own, difference, count, limits)


def images_per_second(case: Case, *, steps: int) -> float:
    """Images per second of training with vireid, without a reference.

    Args:
        case: The network and its settings.
        steps: Measured steps, after one warm-up step.
    """
    with tempfile.TemporaryDirectory(prefix="vireid-bench-") as name:
        folder = Path(name)
        data = write_images(
            folder, identities=case.batch.identities, images=case.batch.images, split="train"
        )
        seconds, _ = in_fresh_process(_vireid, case, data, steps, folder / "run")
    return case.images / float(np.median(seconds))


_Work = Callable[[Case, DataSource, int, Path], list[float]]


def _reference(case: Case, data: DataSource, steps: int, out: Path) -> list[float]:
    """Seconds of the reference's steps."""
    del out
    options, reference = Optimisation(), ReferenceDLIS(case.network())
    stepper = reference_optimizer(
        reference, lr=options.lr, backbone_lr=options.backbone_lr, decay=options.weight_decay
    )
    records = {m: [r for r in data.open().train() if r.modality is m] for m in Modality}
    # The data set is a single batch.
    labels = {m: torch.tensor([r.identity - 1 for r in own]) for m, own in records.items()}
    seconds = []
    for _ in range(1 + steps):
        began = time.perf_counter()
        visible, infrared = (load_images(records[m], case.size, training=True) for m in Modality)
        terms = reference.losses(visible, infrared, *(labels[m] for m in Modality))
        total = terms["identity"] + terms["center"]
        stepper.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        stepper.step()
        total.item()
        seconds.append(time.perf_counter() - began)
    return seconds[1:]


def _vireid(case: Case, data: DataSource, steps: int, out: Path) -> list[float]:
    """Seconds of vireid's steps, which are epochs: the data set is a single batch."""
    keep_memory()
    torch.set_num_threads(case.threads)
    recipe = Recipe(
        method=case.method, batch=case.batch, optimisation=Optimisation(epochs=1 + steps)
    )
    run = Run(name="dlis", recipe=recipe, data=data, precision=case.precision, device="cpu")
    fit(run, out, keep=1, progress_bar=False, cache=default_cache(data.root))
    return [line["seconds"] for line in RunFolder(out).read_metrics()][1:]


def _compare(case: Case) -> tuple[float, OperationCount, HardwareLimits]:
    """The relative difference between the losses of a few images, and the limits of a step."""
    network = case.network()
    reference = ReferenceDLIS(network)
    labels = torch.arange(_COMPARED) // 2
    images = torch.randn(2, _COMPARED, 3, *case.size)
    batch = CrossModalBatch(images[0], images[1], labels, labels)
    with torch.no_grad():
        expected = sum(float(term) for term in reference.losses(*batch[:4]).values())
        network.to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=case.precision == "bf16-mixed"):
            found = float(network.losses(batch).total)
    difference = abs(found - expected) / max(abs(found), abs(expected))
    del reference

    def step() -> None:
        network.losses(batch).total.backward()  # type: ignore[no-untyped-call]

    # Both scale with the number of images; what scales with the parameters is negligible.
    count = count_operations(step).scaled(case.images / (2 * _COMPARED))
    return difference, count, measure_limits()
