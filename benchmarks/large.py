"""What a large gallery needs a row: loading from a file of features, and quantised features.

Loading is the command itself, `vireid gallery add --encoded`, in a process of its own whose memory
is watched. Beside the most that it holds in all, which includes pages of the gallery's files that
the system may take back at any time, stands the most that is its own (RssAnon of /proc).

Quantised features are measured on the engine of galleries in a folder, which is Qdrant's: the
float32 features stay on the disk, the quantised ones are searched, and as many candidates as
``OVERSAMPLING`` says are compared again by their float32 features. Of the made-up people of
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
    THUMBNAIL,
    Times,
    best_of,
    entry_of,
    people,
    queries_of,
    timed,
)
from benchmarks.machine import in_fresh_process, machine_summary
from vireid.features import ExtractedBatch
from vireid.features.parquet import write_features
from vireid.gallery.store import OVERSAMPLING
from vireid.types import IndexedImage, ModelInfo

__all__ = ["FIRST", "Loading", "Quantised", "measure_loading", "measure_quantised", "report_large"]

FIRST = 5
"""A person has 20 images, and the nearest LIMIT = 20 are theirs, which is easy to find; which of
them are the nearest FIRST is not."""
_BLOCK = 1000
_GLANCE = 0.02
"""Seconds between two looks at how much memory a command holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """Loading a gallery from a file of features, measured.

    Attributes:
        rows: How many there are.
        encoded: Bytes a row of the file of features, with thumbnails of 6,000 bytes.
        kept: Bytes a row of the gallery's folder.
        rate: Rows a second of the whole command, with the start of Python.
        again: The same of the command run once more, which finds all rows there.
        own: Most memory that was the process's own, in MiB.
        peak: Most memory with the pages of files, in MiB.
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
    """Searching features quantised in one way, measured.

    Attributes:
        name: float32, scalar or binary.
        size: Bytes a row that searching looks at first: the float32 or the quantised feature.
        times: Of a search through all rows.
        alone: Of the FIRST and of the LIMIT best of float32, the part that is among as many best
            by the quantised features alone.
        again: The same when candidates are compared again.
    """

    name: str
    size: float
    times: Times
    alone: tuple[float, float]
    again: tuple[float, float]


def report_large(
    sizes: tuple[int, ...], quantised: int, dimension: int, out: Path | None = None
) -> tuple[list[Loading], list[Quantised]]:
    """Measure and print.

    Args:
        sizes: How many rows to load.
        quantised: How many rows to quantise.
        dimension: Of the features.
        out: Where files are made for the while; the temporary folder by default.

    Returns:
        The measurements.
    """
    print(machine_summary(), end="\n\n")
    print(
        "| rows loaded | rows/s | again, rows/s | own MiB | peak MiB | file B/row | folder B/row |"
    )
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
    print(f"\n{quantised:,} x {dimension:,}, searched one by one for {LIMIT}, without a graph\n")
    print(
        f"| features | B/row searched | p50 / p95, ms | recall@{FIRST} / @{LIMIT} alone "
        "| compared again |"
    )
    print("|---|--:|--:|--:|--:|")
    for name in ("float32", "scalar", "binary"):
        way = measure_quantised(name, quantised, dimension, out)
        ways.append(way)
        alone, again = (" / ".join(f"{part:.4f}" for part in r) for r in (way.alone, way.again))
        print(f"| {way.name} | {way.size:,.0f} | {way.times} | {alone} | {again} |", flush=True)
    return loadings, ways


def measure_loading(rows: int, dimension: int, out: Path | None = None) -> Loading:
    """Load a gallery by the command, twice."""
    with tempfile.TemporaryDirectory(prefix="vireid-bench-", dir=out) as folder:
        file, place = Path(folder) / "people.parquet", Path(folder) / "people"
        network = ModelInfo("synthetic", dimension)
        write_features(file, _described(rows, dimension), network)
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
    """Search quantised features; in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="vireid-bench-", dir=out) as folder:
        found, _ = in_fresh_process(_search_quantised, Path(folder), name, rows, dimension)
    return found


def _described(rows: int, dimension: int) -> Iterator[ExtractedBatch]:
    """Made-up people as an encoder describes them."""
    thumbnails = np.random.default_rng(0)
    for start in range(0, rows, _BLOCK):
        values = people(start // _BLOCK, dimension, rows=min(_BLOCK, rows - start))
        infos = [
            replace(
                entry_of(start + row), path=Path(f"/synthetic/{start + row:08d}.jpg"), added=None
            )
            for row in range(len(values))
        ]
        yield ExtractedBatch(
            tuple(
                IndexedImage(info, value, thumbnails.bytes(THUMBNAIL))
                for info, value in zip(infos, values, strict=True)
            )
        )


def _add(file: Path, place: Path) -> tuple[float, float, float]:
    """Run the command; its seconds, its own memory and its peak, in MiB."""
    words = [sys.executable, "-m", "vireid", "gallery", "add", str(place), "--encoded", str(file)]
    began = time.perf_counter()
    own = peak = 0
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            # It may end between the two.
            with suppress(OSError):
                status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
                held = dict(re.findall(r"(RssAnon|VmHWM):\s+(\d+) kB", status))
                own = max(own, int(held.get("RssAnon", 0)))
                peak = max(peak, int(held.get("VmHWM", 0)))
            time.sleep(_GLANCE)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, words)
    return time.perf_counter() - began, own / 1024, peak / 1024


def _search_quantised(folder: Path, name: str, rows: int, dimension: int) -> Quantised:
    """Fill a shard of the engine, have it quantised, and search it."""
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
        # All segments are sealed, which is when they are quantised.
        optimizers=edge.EdgeOptimizersConfig(indexing_threshold=1, default_segment_number=1),
    )
    shard = edge.EdgeShard.create(str(folder), config)
    values = []
    for start in range(0, rows, _BLOCK):
        values.append(people(start // _BLOCK, dimension, rows=min(_BLOCK, rows - start)))
        points = [edge.Point(start + row, v.tolist(), {}) for row, v in enumerate(values[-1])]
        shard.update(edge.UpdateOperation.upsert_points(points))
    shard.flush()
    while shard.optimize():
        shard.flush()
    everything = np.concatenate(values)
    queries = queries_of(dimension)

    nearest = [best_of(everything, query) for query in queries]

    def search(again: bool) -> tuple[Times, tuple[float, float]]:
        how = edge.QuantizationSearchParams(rescore=again, oversampling=OVERSAMPLING)

        def one(query: np.ndarray) -> list[str]:
            request = edge.QueryRequest(
                limit=LIMIT,
                query=edge.Query.Nearest(query.tolist()),
                params=edge.SearchParams(quantization=how),
            )
            return [str(hit.id) for hit in shard.query(request)]

        times, found = timed(one, queries)
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
