"""How long a training step of DLIS takes, beside the same step as published code is written.

The sides train in turns, each in a process of its own. vireid's is what `vireid train` runs, with
packed images, augmentation, metrics and all; the reference is :mod:`benchmarks.reference`, which
decodes its images in every step. Both are trained on made-up pictures.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.common import Case, Side
from benchmarks.floor import Demand, Rates, demand, measure_rates
from benchmarks.machine import in_fresh_process, machine_summary
from benchmarks.reference import PlainDLIS, plain_optimizer, read_plainly
from benchmarks.synthetic import write_pictures
from vireid.cli._memory import keep_memory
from vireid.data.cache import default_cache
from vireid.data.layouts import DataSource
from vireid.methods import Optimisation, Recipe
from vireid.runs import Run, RunFolder
from vireid.training import fit
from vireid.types import CrossModalBatch, Modality

__all__ = ["StepTiming", "images_a_second", "measure_step", "report_step"]

_COMPARED = 4
"""Images of either modality, of two identities, on which the sides' losses are compared."""
_TOLERANCE = {"32-true": 1e-4, "bf16-mixed": 0.05}
"""How far the losses of the two sides may be apart, of the larger one."""


@dataclass(frozen=True, slots=True)
class StepTiming:
    """Both sides.

    Attributes:
        plain: The reference.
        vireid: What `vireid train` runs.
        difference: How far apart the losses of one batch are, of the larger one.
        demand: What a step asks of the machine.
        rates: What the machine does at best.
    """

    plain: Side
    vireid: Side
    difference: float
    demand: Demand
    rates: Rates

    @property
    def ratio(self) -> float:
        """How many times faster vireid is."""
        return self.plain.median / self.vireid.median


def report_step(case: Case, *, steps: int, repeats: int) -> StepTiming:
    """Measure and print.

    Args:
        case: What is trained.
        steps: Steps of a process that count, after one that does not.
        repeats: Processes of each side.

    Returns:
        The measurement.
    """
    print(f"{machine_summary()}\n\n{case}\n", flush=True)
    timing = measure_step(case, steps=steps, repeats=repeats)
    print(
        f"Median of {repeats * steps} steps a side: {repeats} processes in turns, {steps} steps "
        "each after one to warm up. The losses of one batch differ by "
        f"{timing.difference:.1e} of their size.\n"
    )
    print("| a step | images/s | ratio | peak, GiB | s, lowest to highest |")
    print("|---|--:|--:|--:|--:|")
    for name, side in (("plain reference", timing.plain), ("vireid", timing.vireid)):
        print(
            f"| {name} | {case.images / side.median:.1f} "
            f"| {timing.plain.median / side.median:.2f} | {side.peak:.2f} "
            f"| {side.median:.2f}, {min(side.seconds):.2f} to {max(side.seconds):.2f} |"
        )
    print(timing.rates.table(timing.demand, timing.plain.median, case.images, case.precision))
    return timing


def measure_step(case: Case, *, steps: int, repeats: int) -> StepTiming:
    """Measure both sides, each in fresh processes.

    Args:
        case: What is trained.
        steps: Steps of a process that count, after one that does not.
        repeats: Processes of each side.

    Raises:
        ArithmeticError: The losses of the two sides disagree.
    """
    (difference, asked, rates), _ = in_fresh_process(_compare, case)
    if difference > _TOLERANCE[case.precision]:
        raise ArithmeticError(f"The losses of the two sides differ by {difference:.1e} of them.")
    with tempfile.TemporaryDirectory(prefix="vireid-bench-") as name:
        folder = Path(name)
        data = write_pictures(
            folder, identities=case.batch.identities, images=case.batch.images, split="train"
        )
        seconds: dict[_Work, list[float]] = {_plain: [], _vireid: []}
        peaks = {_plain: 0.0, _vireid: 0.0}
        for repeat in range(repeats):
            for work in (_plain, _vireid):
                out = folder / f"run-{repeat}"
                found, peak = in_fresh_process(work, case, data, steps, out)
                seconds[work] += found
                peaks[work] = max(peaks[work], peak)
    plain, own = (Side(tuple(seconds[work]), peaks[work]) for work in (_plain, _vireid))
    return StepTiming(plain, own, difference, asked, rates)


def images_a_second(case: Case, *, steps: int) -> float:
    """How many images vireid trains on in a second, without a reference.

    Args:
        case: What is trained.
        steps: How many count, after one that does not.
    """
    with tempfile.TemporaryDirectory(prefix="vireid-bench-") as name:
        folder = Path(name)
        data = write_pictures(
            folder, identities=case.batch.identities, images=case.batch.images, split="train"
        )
        seconds, _ = in_fresh_process(_vireid, case, data, steps, folder / "run")
    return case.images / float(np.median(seconds))


_Work = Callable[[Case, DataSource, int, Path], list[float]]


def _plain(case: Case, data: DataSource, steps: int, out: Path) -> list[float]:
    """Seconds of the reference's steps."""
    del out
    options, plain = Optimisation(), PlainDLIS(case.network())
    stepper = plain_optimizer(
        plain, lr=options.lr, backbone_lr=options.backbone_lr, decay=options.weight_decay
    )
    records = {m: [r for r in data.open().train() if r.modality is m] for m in Modality}
    # The pictures are those of one batch.
    labels = {m: torch.tensor([r.identity - 1 for r in own]) for m, own in records.items()}
    seconds = []
    for _ in range(1 + steps):
        began = time.perf_counter()
        visible, infrared = (read_plainly(records[m], case.size, training=True) for m in Modality)
        terms = plain.losses(visible, infrared, *(labels[m] for m in Modality))
        total = terms["identity"] + terms["center"]
        stepper.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        stepper.step()
        total.item()
        seconds.append(time.perf_counter() - began)
    return seconds[1:]


def _vireid(case: Case, data: DataSource, steps: int, out: Path) -> list[float]:
    """Seconds of vireid's steps: of epochs, for the pictures are those of one batch."""
    keep_memory()
    torch.set_num_threads(case.threads)
    recipe = Recipe(
        method=case.method, batch=case.batch, optimisation=Optimisation(epochs=1 + steps)
    )
    run = Run(name="dlis", recipe=recipe, data=data, precision=case.precision, device="cpu")
    fit(run, out, keep=1, progress_bar=False, cache=default_cache(data.root))
    return [line["seconds"] for line in RunFolder(out).read_metrics()][1:]


def _compare(case: Case) -> tuple[float, Demand, Rates]:
    """How far the losses of a few images are apart, and the floor of a step."""
    network = case.network()
    plain = PlainDLIS(network)
    labels = torch.arange(_COMPARED) // 2
    images = torch.randn(2, _COMPARED, 3, *case.size)
    batch = CrossModalBatch(images[0], images[1], labels, labels)
    with torch.no_grad():
        expected = sum(float(term) for term in plain.losses(*batch[:4]).values())
        network.to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=case.precision == "bf16-mixed"):
            found = float(network.losses(batch).total)
    difference = abs(found - expected) / max(abs(found), abs(expected))
    del plain

    def step() -> None:
        network.losses(batch).total.backward()  # type: ignore[no-untyped-call]

    # Both grow with the number of images; what grows with that of parameters alone is little.
    asked = demand(step).times(case.images / (2 * _COMPARED))
    return difference, asked, measure_rates()
