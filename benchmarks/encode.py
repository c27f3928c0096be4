"""Speed of feature extraction, compared with a reference implementation.

All backends extract the features of the same synthetic images with the same weights; the table
shows their speed and the deviation of their features from those of :mod:`benchmarks.reference`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.backends import (
    CALIBRATION_IMAGES,
    BackendCase,
    TimedFeatures,
    reference_case,
    torch_case,
    write_exports,
)
from benchmarks.common import Case, Measurement
from benchmarks.machine import in_fresh_process, machine_summary
from benchmarks.roofline import (
    HardwareLimits,
    OperationCount,
    count_operations,
    fast_bfloat16,
    measure_limits,
)
from benchmarks.synthetic import write_images
from vireid.data.layouts import DataSource
from vireid.errors import ExportError
from vireid.features.runtimes import ExportPrecision
from vireid.log import log
from vireid.optional_packages import require_packages
from vireid.runs import Precision
from vireid.types import Modality

__all__ = ["EncodeTiming", "Row", "measure_encode", "report_encode"]

_IDENTITIES = 4
_PACKAGES = ("openvino", "nncf", "onnx", "onnxscript", "onnxruntime")


@dataclass(frozen=True, slots=True)
class Row:
    """The measurement of a backend.

    Attributes:
        name: Its name.
        side: Seconds for all images, and memory.
        difference: Largest absolute difference to the reference's features.
        cosine: Smallest cosine between its feature of an image and the reference's.
    """

    name: str
    side: Measurement
    difference: float
    cosine: float


@dataclass(frozen=True, slots=True)
class EncodeTiming:
    """The measurements of all backends.

    Attributes:
        reference: The reference.
        rows: The backends of vireid, in torch and exported.
        count: Operations for all images.
        limits: Peak rates of the machine.
    """

    reference: Measurement
    rows: tuple[Row, ...]
    count: OperationCount
    limits: HardwareLimits

    def ratio(self, row: Row) -> float:
        """Speed of a backend relative to the reference."""
        return self.reference.median / row.side.median


def report_encode(case: Case, *, images: int, repeats: int) -> EncodeTiming:
    """Measure and print.

    Args:
        case: The network and its settings; its batch is the inference batch.
        images: Number of images, half of them visible.
        repeats: Processes of each backend.

    Returns:
        The measurement.
    """
    runtimes = [] if _missing() else ["openvino", "nncf", "onnxruntime"]
    print(f"{machine_summary(*runtimes)}\n\n{case}; {images} images\n", flush=True)
    timing = measure_encode(case, images=images, repeats=repeats)
    print(
        f"Median of {repeats} alternating processes per row, each after a warm-up over all images. "
        "Differences and cosines are between a feature and the reference's of the same image; "
        f"int8 is calibrated with {CALIBRATION_IMAGES} images per modality. Weights are random.\n"
    )
    print("| backend | images/s | ratio | peak, GiB | largest difference | lowest cosine |")
    print("|---|--:|--:|--:|--:|--:|")
    reference = Row("reference", timing.reference, 0.0, 1.0)
    for row in (reference, *timing.rows):
        print(
            f"| {row.name} | {images / row.side.median:.1f} | {timing.ratio(row):.2f} "
            f"| {row.side.peak:.2f} | {row.difference:.1e} | {row.cosine:.4f} |"
        )
    print(timing.limits.table(timing.count, timing.reference.median, images, "32-true"))
    return timing


def measure_encode(case: Case, *, images: int, repeats: int) -> EncodeTiming:
    """Measure all backends, each in fresh processes.

    Args:
        case: The network and its settings.
        images: Number of images, half of them visible.
        repeats: Processes of each backend.

    Raises:
        ArithmeticError: The features of a backend differ from the reference's by more than the
            rounding of its arithmetic.
    """
    (count, limits), _ = in_fresh_process(_roofline, case, images)
    with tempfile.TemporaryDirectory(prefix="vireid-bench-") as name:
        folder = Path(name)
        each = max(1, images // (2 * _IDENTITIES))
        data = write_images(folder, identities=_IDENTITIES, images=each, split="test")
        reference, *cases = _cases(case, data, folder)
        measured: dict[BackendCase, list[tuple[TimedFeatures, float]]] = {
            backend: [] for backend in (reference, *cases)
        }
        for repeat in range(1, repeats + 1):
            for backend, found in measured.items():
                found.append(in_fresh_process(backend.work, case, data))
                speed = images / found[-1][0].seconds
                log(f"{backend.name}: {speed:.1f} images/s ({repeat} of {repeats})")
    expected = measured[reference][-1][0].values
    rows = [_row(backend, measured[backend], expected) for backend in cases]
    return EncodeTiming(_side(measured[reference]), tuple(rows), count, limits)


def _cases(case: Case, data: DataSource, folder: Path) -> list[BackendCase]:
    """The reference, and all backends that this machine can run."""
    bfloat16 = fast_bfloat16()
    in_torch: list[Precision] = [case.precision]
    exported: list[ExportPrecision] = ["f32", "int8"]
    if bfloat16:
        in_torch = list(dict.fromkeys([*in_torch, "bf16-mixed"]))
        exported.insert(1, "bf16")
    else:
        log("This processor has no bfloat16; skipping its rows.")
    cases = [reference_case(), *map(torch_case, in_torch)]
    if error := _missing():
        log(f"Skipping exports. {error}")
        return cases
    log("Exporting the network (not measured) …")
    # In its own process: child processes inherit the peak memory of the one that starts them.
    found, _ = in_fresh_process(write_exports, case, data, folder, exported)
    return [*cases, *found]


def _row(
    backend: BackendCase,
    measured: Sequence[tuple[TimedFeatures, float]],
    expected: NDArray[np.float32],
) -> Row:
    found = measured[-1][0].values
    difference = float(np.abs(found - expected).max())
    wide, other = found.astype(np.float64), expected.astype(np.float64)
    # Rows are normalised up to rounding; compare their directions only.
    lengths = np.linalg.norm(wide, axis=1) * np.linalg.norm(other, axis=1)
    with np.errstate(invalid="ignore"):
        cosine = float(((wide * other).sum(axis=1) / lengths).min())
    # Also refuses NaN.
    if not cosine >= backend.cosine:
        raise ArithmeticError(
            f"The features of '{backend.name}' differ from the reference's by up to "
            f"{difference:.1e}, with a cosine down to {cosine:.4f}; expected {backend.cosine:g} or "
            "more."
        )
    return Row(backend.name, _side(measured), difference, cosine)


def _side(measured: Sequence[tuple[TimedFeatures, float]]) -> Measurement:
    return Measurement(
        tuple(timed.seconds for timed, _ in measured), max(peak for _, peak in measured)
    )


def _missing() -> ExportError | None:
    """The error that says which packages exports need; None if all are installed."""
    try:
        require_packages(*_PACKAGES, purpose="Measuring exports")
    except ExportError as error:
        return error
    return None


def _roofline(case: Case, images: int) -> tuple[OperationCount, HardwareLimits]:
    network = case.evaluation_network()
    some = torch.zeros(2, 3, *case.size)
    with torch.no_grad():
        count = count_operations(lambda: network.extract_features(some, Modality.VISIBLE))
    return count.scaled(images / len(some)), measure_limits()
