"""How fast images become descriptors, beside the same as published code is written.

Both sides describe the same made-up pictures with the same weights, and must find the same
descriptors. The reference (:mod:`vireid.bench.plain`) decodes in the thread that computes.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from vireid.bench.case import Case, Side
from vireid.bench.floor import Demand, Rates, demand, measure_rates
from vireid.bench.machine import describe, in_fresh_process
from vireid.bench.made_up import write_pictures
from vireid.bench.plain import PlainDLIS, read_plainly
from vireid.data.layouts import DataSource
from vireid.encoder import Encoder, TorchDescriber
from vireid.memory import keep_memory
from vireid.types import ImageRecord, Modality

__all__ = ["EncodeTiming", "measure_encode", "report_encode"]

_IDENTITIES = 4
_TOLERANCE = {"32-true": 1e-4, "bf16-mixed": 0.05}
"""How far a number of a descriptor may be from the reference's."""


@dataclass(frozen=True, slots=True)
class EncodeTiming:
    """Both sides.

    Attributes:
        plain: The reference; seconds are of all images.
        vireid: :meth:`vireid.encoder.Encoder.encode`.
        difference: The largest between two numbers of the sides' descriptors.
        demand: What describing all images asks of the machine.
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


def report_encode(case: Case, *, images: int, repeats: int) -> EncodeTiming:
    """Measure and print.

    Args:
        case: The network, and how it runs; its batch is that of a forward pass.
        images: How many are described, half of them visible.
        repeats: Processes of each side.

    Returns:
        The measurement.
    """
    print(f"{describe()}\n\n{case}; {images} images\n", flush=True)
    timing = measure_encode(case, images=images, repeats=repeats)
    print(
        f"Median of {repeats} processes a side, in turns, each after a batch to warm up. The "
        f"descriptors differ by at most {timing.difference:.1e}.\n"
    )
    print("| describing | images/s | ratio | peak, GiB |")
    print("|---|--:|--:|--:|")
    for name, side in (("plain reference", timing.plain), ("vireid", timing.vireid)):
        print(
            f"| {name} | {images / side.median:.1f} | {timing.plain.median / side.median:.2f} "
            f"| {side.peak:.2f} |"
        )
    print(timing.rates.table(timing.demand, timing.plain.median, images, case.precision))
    return timing


def measure_encode(case: Case, *, images: int, repeats: int) -> EncodeTiming:
    """Measure both sides, each in fresh processes.

    Args:
        case: The network, and how it runs.
        images: How many are described, half of them visible.
        repeats: Processes of each side.

    Raises:
        ArithmeticError: The descriptors of the two sides disagree.
    """
    (asked, rates), _ = in_fresh_process(_floor, case, images)
    seconds: dict[_Work, list[float]] = {_plain: [], _vireid: []}
    peaks = {_plain: 0.0, _vireid: 0.0}
    found: dict[_Work, NDArray[np.float32]] = {}
    with tempfile.TemporaryDirectory(prefix="vireid-bench-") as name:
        each = max(1, images // (2 * _IDENTITIES))
        data = write_pictures(Path(name), identities=_IDENTITIES, images=each, split="test")
        for _ in range(repeats):
            for work in (_plain, _vireid):
                (took, found[work]), peak = in_fresh_process(work, case, data)
                seconds[work].append(took)
                peaks[work] = max(peaks[work], peak)
    difference = float(np.abs(found[_plain] - found[_vireid]).max())
    if difference > _TOLERANCE[case.precision]:
        raise ArithmeticError(f"The sides' descriptors differ by {difference:.1e}.")
    plain, own = (Side(tuple(seconds[work]), peaks[work]) for work in (_plain, _vireid))
    return EncodeTiming(plain, own, difference, asked, rates)


_Work = Callable[[Case, DataSource], tuple[float, NDArray[np.float32]]]


def _plain(case: Case, data: DataSource) -> tuple[float, NDArray[np.float32]]:
    network = PlainDLIS(case.settled()).eval()
    records = data.open().test()

    @torch.no_grad()
    def describe_all(records: tuple[ImageRecord, ...]) -> NDArray[np.float32]:
        rows = np.empty((len(records), case.method.stripes * case.method.dim), np.float32)
        for modality in Modality:
            own = [i for i, r in enumerate(records) if r.modality is modality]
            for start in range(0, len(own), case.images):
                some = own[start : start + case.images]
                images = read_plainly([records[i] for i in some], case.size, training=False)
                rows[some] = network.describe(images, modality).numpy()
        return rows

    return _timed(describe_all, records, case)


def _vireid(case: Case, data: DataSource) -> tuple[float, NDArray[np.float32]]:
    keep_memory()
    encoder = Encoder(TorchDescriber(case.settled(), device="cpu", precision=case.precision))
    return _timed(
        lambda some: encoder.encode(some, batch_size=case.images, progress=False).values,
        data.open().test(),
        case,
    )


def _timed(
    work: Callable[[tuple[ImageRecord, ...]], NDArray[np.float32]],
    records: tuple[ImageRecord, ...],
    case: Case,
) -> tuple[float, NDArray[np.float32]]:
    """Seconds for all images, after one batch."""
    work(records[: case.images])
    began = time.perf_counter()
    values = work(records)
    return time.perf_counter() - began, values


def _floor(case: Case, images: int) -> tuple[Demand, Rates]:
    network = case.settled()
    some = torch.zeros(2, 3, *case.size)
    with torch.no_grad():
        asked = demand(lambda: network.describe(some, Modality.VISIBLE))
    return asked.times(images / len(some)), measure_rates()
