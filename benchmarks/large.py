"""Loading a large gallery from a file of features, and searching quantised features.

Loading runs `vireid gallery add --encoded` in its own process and monitors its memory: the peak
resident memory, which includes pages of the gallery's files that the system can reclaim at any
time, and the peak anonymous memory (RssAnon in /proc).

Quantised features are measured with Qdrant, the engine of galleries in a folder: the float32
features stay on disk, the quantised ones are searched, and ``OVERSAMPLING`` times as many
candidates are rescored with their float32 features. The features are those of
:mod:`benchmarks.gallery`.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import qdrant_edge as edge

from benchmarks.gallery import (
    LIMIT,
    THUMBNAIL_BYTES,
    Latency,
    image_info,
    query_features,
    synthetic_features,
    time_searches,
    top_rows,
)
from benchmarks.machine import in_fresh_process, machine_summary
from vireid.features import ExtractedBatch
from vireid.features.parquet import write_features
from vireid.gallery.store import OVERSAMPLING
from vireid.types import IndexedImage, ModelInfo

__all__ = ["FIRST", "Loading", "Quantised", "measure_loading", "measure_quantised", "report_large"]

FIRST = 5
"""A person has 20 images, which are easy to find as the LIMIT = 20 nearest; the order of the first
few is harder."""
_BLOCK = 1000
_POLL_INTERVAL = 0.02
"""Seconds between two measurements of the memory of a command."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """The measurement of loading a gallery from a file of features.

    Attributes:
        rows: Number of rows.
        encoded: Bytes per row of the file of features, with thumbnails of 6,000 bytes.
        kept: Bytes per row of the gallery's folder.
        rate: Rows per second of the whole command, including the start of Python.
        again: Rows per second of a second run, which finds that all rows exist.
        own: Peak anonymous memory, in MiB.
        peak: Peak resident memory, in MiB.
    """

    rows: int
    encoded: float
    kept: float
    rate: float
    again: float
    own: float
    peak: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantised:
    """The measurement of searching quantised features.

    Attributes:
        name: float32, scalar or binary.
        size: Bytes per row of the searched features, float32 or quantised.
        times: Latency of a search over all rows.
        alone: Recall@FIRST and recall@LIMIT against float32, without rescoring.
        again: The same with rescoring.
    """

    name: str
    size: float
    times: Latency
    alone: tuple[float, float]
    again: tuple[float, float]


def report_large(
    sizes: tuple[int, ...], quantised: int, dimension: int, out: Path | None = None
) -> tuple[list[Loading], list[Quantised]]:
    """Measure and print.

    Args:
        sizes: Numbers of rows to load.
        quantised: Number of rows to quantise.
        dimension: Length of a feature.
        out: Folder for temporary files; the temporary folder by default.

    Returns:
        The measurements.
    """
    print(machine_summary(), end="\n\n")
    print("| rows | rows/s | second run | RssAnon, MiB | peak, MiB | file B/row | folder B/row |")
    print("|--:|--:|--:|--:|--:|--:|--:|")
    loadings, ways = [], []
    for size in sizes:
        found = measure_loading(size, dimension, out)
        loadings.append(found)
        print(
            f"| {found.rows:,} | {found.rate:,.0f} | {found.again:,.0f} | {found.own:,.0f} |"
            f" {found.peak:,.0f} | {found.encoded:,.0f} | {found.kept:,.0f} |",
            flush=True,
        )
    print(f"\n{quantised:,} x {dimension:,}, sequential searches for {LIMIT}, without a graph\n")
    print(f"| features | B/row searched | p50 / p95, ms | recall@{FIRST} / @{LIMIT} | rescored |")
    print("|---|--:|--:|--:|--:|")
    for name in ("float32", "scalar", "binary"):
        way = measure_quantised(name, quantised, dimension, out)
        ways.append(way)
        alone, again = (" / ".join(f"{part:.4f}" for part in r) for r in (way.alone, way.again))
        print(f"| {way.name} | {way.size:,.0f} | {way.times} | {alone} | {again} |", flush=True)
    return loadings, ways


def measure_loading(rows: int, dimension: int, out: Path | None = None) -> Loading:
    """Load a gallery with the command, twice."""
    with tempfile.TemporaryDirectory(prefix="vireid-bench-", dir=out) as folder:
        file, place = Path(folder) / "people.parquet", Path(folder) / "people"
        network = ModelInfo("synthetic", dimension)
        write_features(file, _batches(rows, dimension), network)
        seconds, own, peak = _add(file, place)
        kept = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
        again, _, _ = _add(file, place)
        return Loading(
            rows=rows,
            encoded=file.stat().st_size / rows,
            kept=kept / rows,
            rate=rows / seconds,
            again=rows / again,
            own=own,
            peak=peak,
        )


def measure_quantised(name: str, rows: int, dimension: int, out: Path | None = None) -> Quantised:
    """Search quantised features in a new process."""
    with tempfile.TemporaryDirectory(prefix="vireid-bench-", dir=out) as folder:
        found, _ = in_fresh_process(_search_quantised, Path(folder), name, rows, dimension)
    return found


def _batches(rows: int, dimension: int) -> Iterator[ExtractedBatch]:
    """Batches of synthetic features."""
    thumbnails = np.random.default_rng(0)
    for start in range(0, rows, _BLOCK):
        values = synthetic_features(start // _BLOCK, dimension, rows=min(_BLOCK, rows - start))
        infos = [
            replace(
                image_info(start + row), path=Path(f"/synthetic/{start + row:08d}.jpg"), added=None
            )
            for row in range(len(values))
        ]
        yield ExtractedBatch(
            tuple(
                IndexedImage(info, value, thumbnails.bytes(THUMBNAIL_BYTES))
                for info, value in zip(infos, values, strict=True)
            )
        )


def _add(file: Path, place: Path) -> tuple[float, float, float]:
    """Run the command; return its seconds, its anonymous and its peak memory in MiB."""
    words = [sys.executable, "-m", "vireid", "gallery", "add", str(place), "--encoded", str(file)]
    began = time.perf_counter()
    own = peak = 0
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            # The process may end in between.
            with suppress(OSError):
                status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
                held = dict(re.findall(r"(RssAnon|VmHWM):\s+(\d+) kB", status))
                own = max(own, int(held.get("RssAnon", 0)))
                peak = max(peak, int(held.get("VmHWM", 0)))
            time.sleep(_POLL_INTERVAL)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, words)
    return time.perf_counter() - began, own / 1024, peak / 1024


def _search_quantised(folder: Path, name: str, rows: int, dimension: int) -> Quantised:
    """Fill a shard of the engine, quantise it, and search it."""
    kinds = {
        "float32": None,
        "scalar": edge.ScalarQuantizationConfig(
            edge.ScalarType.Int8, quantile=0.99, always_ram=True
        ),
        "binary": edge.BinaryQuantizationConfig(always_ram=True),
    }
    config = edge.EdgeConfig(
        vectors=edge.EdgeVectorParams(size=dimension, distance=edge.Distance.Dot, on_disk=True),
        hnsw_config=edge.HnswIndexConfig(m=0, ef_construct=4, full_scan_threshold=10_000),
        quantization_config=kinds[name],
        wal_enabled=False,
        # Seals all segments, which quantises them.
        optimizers=edge.EdgeOptimizersConfig(indexing_threshold=1, default_segment_number=1),
    )
    shard = edge.EdgeShard.create(str(folder), config)
    values = []
    for start in range(0, rows, _BLOCK):
        values.append(
            synthetic_features(start // _BLOCK, dimension, rows=min(_BLOCK, rows - start))
        )
        points = [edge.Point(start + row, v.tolist(), {}) for row, v in enumerate(values[-1])]
        shard.update(edge.UpdateOperation.upsert_points(points))
    shard.flush()
    while shard.optimize():
        shard.flush()
    everything = np.concatenate(values)
    queries = query_features(dimension)

    nearest = [top_rows(everything, query) for query in queries]

    def search(again: bool) -> tuple[Latency, tuple[float, float]]:
        how = edge.QuantizationSearchParams(rescore=again, oversampling=OVERSAMPLING)

        def one(query: np.ndarray) -> list[str]:
            request = edge.QueryRequest(
                limit=LIMIT,
                query=edge.Query.Nearest(query.tolist()),
                params=edge.SearchParams(quantization=how),
            )
            return [str(hit.id) for hit in shard.query(request)]

        times, found = time_searches(one, queries)
        return times, (recall(found, FIRST), recall(found, LIMIT))

    def recall(found: list[list[str]], count: int) -> float:
        pairs = zip(found, nearest, strict=True)
        return float(np.mean([len(set(a[:count]) & set(b[:count])) / count for a, b in pairs]))

    _, alone = search(False)
    times, again = search(True)
    searched = [path for path in folder.rglob("*quantized*") if path.is_file()]
    size = sum(path.stat().st_size for path in searched) / rows or 4.0 * dimension
    shard.close()
    return Quantised(name=name, size=size, times=times, alone=alone, again=again)
