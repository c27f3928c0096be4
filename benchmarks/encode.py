"""How fast images become features, beside the same as published code is written.

All ways describe the same made-up pictures with the same weights, and how far their features
are from the reference's stands beside how fast they are. The reference is
:mod:`benchmarks.reference`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.backends import CALIBRATED, ExtractedBatch, Way, plain_way, torch_way, write_exports
from benchmarks.common import Case, Side
from benchmarks.floor import Demand, Rates, demand, fast_bfloat16, measure_rates
from benchmarks.machine import in_fresh_process, machine_summary
from benchmarks.synthetic import write_pictures
from vireid.data.layouts import DataSource
from vireid.errors import ExportError
from vireid.features.optional_packages import require_packages
from vireid.features.runtimes import ExportPrecision
from vireid.log import log
from vireid.runs import Precision
from vireid.types import Modality

__all__ = ["EncodeTiming", "Row", "measure_encode", "report_encode"]

_IDENTITIES = 4
_PACKAGES = ("openvino", "nncf", "onnx", "onnxscript", "onnxruntime")


@dataclass(frozen=True, slots=True)
class Row:
    """A way of describing, measured.

    Attributes:
        name: What it is called.
        side: Seconds are of all images.
        difference: The largest between a number of its features and the reference's.
        cosine: The lowest between its feature of an image and the reference's.
    """

    name: str
    side: Side
    difference: float
    cosine: float


@dataclass(frozen=True, slots=True)
class EncodeTiming:
    """All ways of describing.

    Attributes:
        plain: The reference.
        rows: vireid's ways, in torch and exported.
        demand: What describing all images asks of the machine.
        rates: What the machine does at best.
    """

    plain: Side
    rows: tuple[Row, ...]
    demand: Demand
    rates: Rates

    def ratio(self, row: Row) -> float:
        """How many times faster than the reference a way is."""
        return self.plain.median / row.side.median


def report_encode(case: Case, *, images: int, repeats: int) -> EncodeTiming:
    """Measure and print.

    Args:
        case: The network, and how it runs; its batch is that of a forward pass.
        images: How many are described, half of them visible.
        repeats: Processes of each way.

    Returns:
        The measurement.
    """
    runtimes = [] if _missing() else ["openvino", "nncf", "onnxruntime"]
    print(f"{machine_summary(*runtimes)}\n\n{case}; {images} images\n", flush=True)
    timing = measure_encode(case, images=images, repeats=repeats)
    print(
        f"Median of {repeats} processes a row, in turns, each after all images once to warm up. "
        "Differences and cosines are between a feature and the reference's of the same image; "
        f"int8 is calibrated with {CALIBRATED} of the pictures a modality, and these weights are "
        "random.\n"
    )
    print("| describing | images/s | ratio | peak, GiB | largest difference | lowest cosine |")
    print("|---|--:|--:|--:|--:|--:|")
    reference = Row("plain reference", timing.plain, 0.0, 1.0)
    for row in (reference, *timing.rows):
        print(
            f"| {row.name} | {images / row.side.median:.1f} | {timing.ratio(row):.2f} "
            f"| {row.side.peak:.2f} | {row.difference:.1e} | {row.cosine:.4f} |"
        )
    print(timing.rates.table(timing.demand, timing.plain.median, images, "32-true"))
    return timing


def measure_encode(case: Case, *, images: int, repeats: int) -> EncodeTiming:
    """Measure all ways, each in fresh processes.

    Args:
        case: The network, and how it runs.
        images: How many are described, half of them visible.
        repeats: Processes of each way.

    Raises:
        ArithmeticError: A way finds other features than the reference, beyond the rounding of
            its arithmetic. Of int8 nothing is demanded here; the table says how near it comes.
    """
    (asked, rates), _ = in_fresh_process(_floor, case, images)
    with tempfile.TemporaryDirectory(prefix="vireid-bench-") as name:
        folder = Path(name)
        each = max(1, images // (2 * _IDENTITIES))
        data = write_pictures(folder, identities=_IDENTITIES, images=each, split="test")
        plain, *ways = _ways(case, data, folder)
        measured: dict[Way, list[tuple[ExtractedBatch, float]]] = {
            way: [] for way in (plain, *ways)
        }
        for turn in range(1, repeats + 1):
            for way, found in measured.items():
                found.append(in_fresh_process(way.work, case, data))
                speed = images / found[-1][0].seconds
                log(f"{way.name}: {speed:.1f} images/s ({turn} of {repeats})")
    expected = measured[plain][-1][0].values
    rows = [_row(way, measured[way], expected) for way in ways]
    return EncodeTiming(_side(measured[plain]), tuple(rows), asked, rates)


def _ways(case: Case, data: DataSource, folder: Path) -> list[Way]:
    """The reference, and what there is beside it on this machine."""
    bfloat16 = fast_bfloat16()
    in_torch: list[Precision] = [case.precision]
    exported: list[ExportPrecision] = ["f32", "int8"]
    if bfloat16:
        in_torch = list(dict.fromkeys([*in_torch, "bf16-mixed"]))
        exported.insert(1, "bf16")
    else:
        log("This processor has no bfloat16: rows of it are left out.")
    ways = [plain_way(), *map(torch_way, in_torch)]
    if error := _missing():
        log(f"Exports are left out. {error}")
        return ways
    log("Exporting the network, which is not measured …")
    # In a process of its own: what starts the others must stay small, or their peaks would be its.
    found, _ = in_fresh_process(write_exports, case, data, folder, exported)
    return [*ways, *found]


def _row(
    way: Way, measured: Sequence[tuple[ExtractedBatch, float]], expected: NDArray[np.float32]
) -> Row:
    found = measured[-1][0].values
    difference = float(np.abs(found - expected).max())
    wide, other = found.astype(np.float64), expected.astype(np.float64)
    # Rows are unit rows but for their rounding, which is no difference of direction.
    lengths = np.linalg.norm(wide, axis=1) * np.linalg.norm(other, axis=1)
    with np.errstate(invalid="ignore"):
        cosine = float(((wide * other).sum(axis=1) / lengths).min())
    # Also where a number is none.
    if not cosine >= way.cosine:
        raise ArithmeticError(
            f"The features of '{way.name}' differ from the reference's by up to "
            f"{difference:.1e}, at a cosine down to {cosine:.4f}; expected {way.cosine:g} or more."
        )
    return Row(way.name, _side(measured), difference, cosine)


def _side(measured: Sequence[tuple[ExtractedBatch, float]]) -> Side:
    return Side(
        tuple(described.seconds for described, _ in measured), max(peak for _, peak in measured)
    )


def _missing() -> ExportError | None:
    """What is missing before exports can be measured; None: nothing."""
    try:
        require_packages(*_PACKAGES, purpose="Measuring exports")
    except ExportError as error:
        return error
    return None


def _floor(case: Case, images: int) -> tuple[Demand, Rates]:
    network = case.settled()
    some = torch.zeros(2, 3, *case.size)
    with torch.no_grad():
        asked = demand(lambda: network.extract_features(some, Modality.VISIBLE))
    return asked.times(images / len(some)), measure_rates()
