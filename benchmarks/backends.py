"""The backends that ``python -m benchmarks encode`` measures, each run in a process of its own.

The plain reference, vireid in torch, and its exports to OpenVINO and ONNX, all with the same
weights. Reading the files is part of each.
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
from benchmarks.reference import PlainDLIS, read_plainly
from vireid.cli._memory import keep_memory
from vireid.data.images import read_image
from vireid.data.layouts import DataSource
from vireid.export import write_graphs
from vireid.export.graph import NetworkPath, network_graph
from vireid.export.parity import Picture
from vireid.features import FeatureExtractor, TorchBackend
from vireid.features.exported_backend import Interface, open_graphs
from vireid.features.runtimes import ExportPrecision, Format, multiplies_bytes
from vireid.features.torch_backend import FeatureBackend
from vireid.runs import Precision
from vireid.types import ImageRecord, Modality

__all__ = ["CALIBRATED", "ExtractedBatch", "Way", "Work", "plain_way", "torch_way", "write_exports"]

CALIBRATED = 8
"""Images a modality that int8 is calibrated with."""
_AT_LEAST = 3.0
"""Seconds: whoever is done sooner describes all images again."""
_SAME = 1 - 1e-6
_ROUNDED = 0.9
_ANY = 0.5
"""Lowest cosine to the reference's feature of an image: in float32, in bfloat16, and in int8,
of which no more is asked than that it is the same network, and nothing where its sums overflow."""


@dataclass(frozen=True, slots=True, eq=False)
class ExtractedBatch:
    """What a process measured.

    Attributes:
        seconds: To describe all images once.
        values: Their features, ``[n, d]``.
    """

    seconds: float
    values: NDArray[np.float32]


Work = Callable[[Case, DataSource], ExtractedBatch]


@dataclass(frozen=True, slots=True, eq=False)
class Way:
    """A way of describing images.

    Attributes:
        name: What it is called.
        work: Describes all images of a data set; pickled, and called in a process of its own.
        cosine: The lowest between its feature of an image and the reference's that is borne.
    """

    name: str
    work: Work
    cosine: float


def plain_way() -> Way:
    """The reference, which decodes in the thread that computes."""
    return Way("plain reference", _plain, 1.0)


def torch_way(precision: Precision) -> Way:
    """What vireid runs from a run folder.

    Args:
        precision: Arithmetic of the network.
    """
    return Way(f"torch, {precision}", partial(_torch, precision), _bound(precision))


def write_exports(
    case: Case, data: DataSource, folder: Path, precisions: Sequence[ExportPrecision]
) -> list[Way]:
    """Export the network as `vireid export` does; how long that takes is not measured.

    Args:
        case: The network.
        data: Images; some of them calibrate int8.
        folder: Where to.
        precisions: Of OpenVINO; ONNX is written in float32 besides.

    Returns:
        The ways of describing with the exports.
    """
    network = case.settled()
    backend = TorchBackend(network, device="cpu")
    graphs = {
        m: network_graph(NetworkPath(network, m), case.size, name=str(case)) for m in Modality
    }
    calibration = [
        Picture(read_image(record.path), modality)
        for modality in Modality
        for record in [r for r in data.open().test() if r.modality is modality][:CALIBRATED]
    ]

    def written(format: Format, precision: ExportPrecision) -> Way:
        out = folder / f"{format}-{precision}"
        out.mkdir()
        some = calibration if precision == "int8" else ()
        names = write_graphs(out, graphs, case.size, format, some, backend.fingerprint)
        files = {modality: out / name for modality, name in names.items()}
        runtime = {"onnx": "onnxruntime", "openvino": "OpenVINO"}[format]
        return Way(
            f"{runtime}, {precision}",
            partial(_exported, files, precision),
            _bound(precision),
        )

    return [written("onnx", "f32"), *(written("openvino", each) for each in precisions)]


def _bound(precision: Precision | ExportPrecision) -> float:
    if precision == "int8":
        return _ANY if multiplies_bytes() else -1.0
    return _ROUNDED if precision in ("bf16", "bf16-mixed") else _SAME


def _plain(case: Case, data: DataSource) -> ExtractedBatch:
    network = PlainDLIS(case.settled()).eval()

    @torch.no_grad()
    def describe_all(records: tuple[ImageRecord, ...]) -> NDArray[np.float32]:
        rows = np.empty((len(records), _dimension(case)), np.float32)
        for modality in Modality:
            own = [i for i, r in enumerate(records) if r.modality is modality]
            for start in range(0, len(own), case.images):
                some = own[start : start + case.images]
                images = read_plainly([records[i] for i in some], case.size, training=False)
                rows[some] = network.extract_features(images, modality).numpy()
        return rows

    return _timed(describe_all, data)


def _torch(precision: Precision, case: Case, data: DataSource) -> ExtractedBatch:
    keep_memory()
    backend = TorchBackend(case.settled(), device="cpu", precision=precision)
    return _timed(_by_encoder(backend, case), data)


def _exported(
    files: Mapping[Modality, Path], precision: ExportPrecision, case: Case, data: DataSource
) -> ExtractedBatch:
    torch.set_num_threads(case.threads)
    interface = Interface(size=case.size, dimension=_dimension(case))
    backend = open_graphs(files, interface, precision=precision, fingerprint="benchmark")
    return _timed(_by_encoder(backend, case), data)


_DescribeAll = Callable[[tuple[ImageRecord, ...]], NDArray[np.float32]]


def _by_encoder(backend: FeatureBackend, case: Case) -> _DescribeAll:
    extractor = FeatureExtractor(backend)
    return lambda some: extractor.extract(some, batch_size=case.images, progress=False).values


def _timed(describe_all: _DescribeAll, data: DataSource) -> ExtractedBatch:
    """Describe all images to warm up, in the batches that count, and then as often as it takes."""
    records = data.open().test()
    values = describe_all(records)
    times = 0
    began = now = time.perf_counter()
    while times == 0 or now - began < _AT_LEAST:
        values = describe_all(records)
        times += 1
        now = time.perf_counter()
    return ExtractedBatch((now - began) / times, values)


def _dimension(case: Case) -> int:
    return case.method.stripes * case.method.dim
