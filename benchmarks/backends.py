"""The backends that ``python -m benchmarks encode`` measures, each in its own process.

The reference, vireid in torch, and its exports to OpenVINO and ONNX, all with the same
weights. Each includes reading the files.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.common import Case
from benchmarks.reference import ReferenceDLIS, load_images
from vireid.cli._memory import keep_memory
from vireid.data.images import read_image
from vireid.data.layouts import DataSource
from vireid.export import write_graphs
from vireid.export.graph import NetworkPath, network_graph
from vireid.export.parity import LoadedImage
from vireid.features import FeatureExtractor, TorchBackend
from vireid.features.exported_backend import Interface, open_graphs
from vireid.features.runtimes import ExportPrecision, Format, supports_int8
from vireid.features.torch_backend import FeatureBackend
from vireid.runs import Precision
from vireid.types import ImageRecord, Modality

__all__ = [
    "CALIBRATION_IMAGES",
    "BackendCase",
    "TimedFeatures",
    "Work",
    "reference_case",
    "torch_case",
    "write_exports",
]

CALIBRATION_IMAGES = 8
"""Images per modality for the calibration of int8."""
_MIN_SECONDS = 3.0
"""Seconds: a faster backend extracts all features repeatedly."""
_MIN_COSINE_FLOAT32 = 1 - 1e-6
_MIN_COSINE_BFLOAT16 = 0.9
_MIN_COSINE_INT8 = 0.5
"""Minimum cosine to the reference's feature of an image: in float32, in bfloat16, and in int8,
which need only be the same network, and is not checked where its sums overflow."""


@dataclass(frozen=True, slots=True, eq=False)
class TimedFeatures:
    """Features, and the time to extract them.

    Attributes:
        seconds: Seconds to extract the features of all images.
        values: Features, ``[n, d]``.
    """

    seconds: float
    values: NDArray[np.float32]


Work = Callable[[Case, DataSource], TimedFeatures]


@dataclass(frozen=True, slots=True, eq=False)
class BackendCase:
    """A backend to measure.

    Attributes:
        name: Its name in the table.
        work: Extracts the features of a data set; pickled, and called in its own process.
        cosine: Minimum cosine between its feature of an image and the reference's.
    """

    name: str
    work: Work
    cosine: float


def reference_case() -> BackendCase:
    """The reference, which decodes images in the main thread."""
    return BackendCase("reference", _reference, 1.0)


def torch_case(precision: Precision) -> BackendCase:
    """The torch backend.

    Args:
        precision: Precision of the network.
    """
    return BackendCase(f"torch, {precision}", partial(_torch, precision), _bound(precision))


def write_exports(
    case: Case, data: DataSource, folder: Path, precisions: Sequence[ExportPrecision]
) -> list[BackendCase]:
    """Export the network as `vireid export` does, without measuring the time.

    Args:
        case: The network.
        data: Images, some for the calibration of int8.
        folder: The target folder.
        precisions: Precisions of OpenVINO; ONNX is written in float32 as well.

    Returns:
        The exported backends.
    """
    network = case.evaluation_network()
    backend = TorchBackend(network, device="cpu")
    graphs = {
        m: network_graph(NetworkPath(network, m), case.size, name=str(case)) for m in Modality
    }
    calibration = [
        LoadedImage(read_image(record.path), modality)
        for modality in Modality
        for record in [r for r in data.open().test() if r.modality is modality][:CALIBRATION_IMAGES]
    ]

    def written(format: Format, precision: ExportPrecision) -> BackendCase:
        out = folder / f"{format}-{precision}"
        out.mkdir()
        some = calibration if precision == "int8" else ()
        names = write_graphs(out, graphs, case.size, format, some, backend.fingerprint)
        files = {modality: out / name for modality, name in names.items()}
        runtime = {"onnx": "onnxruntime", "openvino": "OpenVINO"}[format]
        return BackendCase(
            f"{runtime}, {precision}",
            partial(_exported, files, precision),
            _bound(precision),
        )

    return [written("onnx", "f32"), *(written("openvino", each) for each in precisions)]


def _bound(precision: Precision | ExportPrecision) -> float:
    if precision == "int8":
        return _MIN_COSINE_INT8 if supports_int8() else -1.0
    return _MIN_COSINE_BFLOAT16 if precision in ("bf16", "bf16-mixed") else _MIN_COSINE_FLOAT32


def _reference(case: Case, data: DataSource) -> TimedFeatures:
    network = ReferenceDLIS(case.evaluation_network()).eval()

    @torch.no_grad()
    def extract_all(records: tuple[ImageRecord, ...]) -> NDArray[np.float32]:
        rows = np.empty((len(records), _dimension(case)), np.float32)
        for modality in Modality:
            own = [i for i, r in enumerate(records) if r.modality is modality]
            for start in range(0, len(own), case.images):
                some = own[start : start + case.images]
                images = load_images([records[i] for i in some], case.size, training=False)
                rows[some] = network.extract_features(images, modality).numpy()
        return rows

    return _timed(extract_all, data)


def _torch(precision: Precision, case: Case, data: DataSource) -> TimedFeatures:
    keep_memory()
    backend = TorchBackend(case.evaluation_network(), device="cpu", precision=precision)
    return _timed(_by_extractor(backend, case), data)


def _exported(
    files: Mapping[Modality, Path], precision: ExportPrecision, case: Case, data: DataSource
) -> TimedFeatures:
    torch.set_num_threads(case.threads)
    interface = Interface(size=case.size, dimension=_dimension(case))
    backend = open_graphs(files, interface, precision=precision, fingerprint="benchmark")
    return _timed(_by_extractor(backend, case), data)


_ExtractAll = Callable[[tuple[ImageRecord, ...]], NDArray[np.float32]]


def _by_extractor(backend: FeatureBackend, case: Case) -> _ExtractAll:
    extractor = FeatureExtractor(backend)
    return lambda some: extractor.extract(some, batch_size=case.images, progress=False).values


def _timed(extract_all: _ExtractAll, data: DataSource) -> TimedFeatures:
    """Extract all features once as a warm-up, then repeatedly for long enough to measure."""
    records = data.open().test()
    values = extract_all(records)
    times = 0
    began = now = time.perf_counter()
    while times == 0 or now - began < _MIN_SECONDS:
        values = extract_all(records)
        times += 1
        now = time.perf_counter()
    return TimedFeatures((now - began) / times, values)


def _dimension(case: Case) -> int:
    return case.method.stripes * case.method.dim
