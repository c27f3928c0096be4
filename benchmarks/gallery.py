"""Speed of a gallery in a folder, compared with a matrix product in memory.

The reference holds all features in one float32 array and sorts `values @ query`: it has no storage,
no filters and no durability, and no search without an index is much faster on the same processor.

Features are synthetic: unit vectors around a centre for each person, with an offset for each
modality. Uniformly random vectors are unlike those of any network, and hard for a graph, since all
distances are nearly equal. The recall is that of these synthetic people.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import in_fresh_process, machine_summary
from vireid.gallery import EVERYTHING, Filters, open_gallery
from vireid.types import ImageInfo, IndexedImage, Modality, ModelInfo

__all__ = [
    "GalleryTiming",
    "Latency",
    "image_info",
    "measure_gallery",
    "query_features",
    "report_gallery",
    "synthetic_features",
    "time_searches",
    "top_rows",
]

LIMIT = 20
QUERIES = 200
CAMERAS = 6
_IMAGES = 20
"""Images per person."""
_SUBSPACE = 40
"""Dimension of the subspace of the centres, so that some people are more alike than others. The
centres of 310 people of SynVI standard, in the features of a trained CAJ, have cosines with a
standard deviation of 0.16 = 1 / sqrt(40). With orthogonal centres the recall of the graph is 0.75
to 0.9."""
_BLOCK = 1000
"""Images per block of generated features and per batch of added rows."""
_SEED = 0
THUMBNAIL_BYTES = 6_000
"""About the size of a JPEG of 144 x 288 pixels."""
_ADDED = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Median and 95th percentile of the duration of a search, in milliseconds."""

    p50: float
    p95: float

    def __str__(self) -> str:
        return f"{self.p50:.1f} / {self.p95:.1f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GalleryTiming:
    """The measurement of one size.

    Attributes:
        rows: Number of entries.
        ingest: Rows per second, with each batch flushed to disk.
        size: Size of the folder, in MiB.
        cold: Seconds to open the gallery in a new process and answer the first search.
        reference: Searches with the product in memory.
        exact: Exact searches.
        filtered: Exact searches among the entries of one camera.
        memory: Peak memory of the exact searches, in GiB, with Python and the queries.
        indexing: Seconds to build the graph.
        graph: Searches with the graph.
        recall: Recall@LIMIT of the graph against the exact search, in [0, 1].
    """

    rows: int
    ingest: float
    size: float
    cold: float
    reference: Latency
    exact: Latency
    filtered: Latency
    memory: float
    indexing: float
    graph: Latency
    recall: float


def report_gallery(
    sizes: tuple[int, ...], dimension: int, out: Path | None = None
) -> list[GalleryTiming]:
    """Measure galleries of several sizes and print tables.

    Args:
        sizes: Numbers of rows.
        dimension: Length of a feature.
        out: Folder for the temporary galleries; the temporary folder by default.

    Returns:
        The measurements.
    """
    print(machine_summary(), end="\n\n")
    timings = []
    for size in sizes:
        timing = measure_gallery(size, dimension, out)
        timings.append(timing)
        print(f"{size:,} x {dimension:,}, {QUERIES} sequential searches for {LIMIT}\n")
        print("| what | gallery | product in memory |")
        print("|---|--:|--:|")
        for name, figure, reference in (
            ("rows/s added and flushed", f"{timing.ingest:,.0f}", ""),
            ("exact search, p50 / p95, ms", timing.exact, timing.reference),
            ("exact search of one camera in six, p50 / p95, ms", timing.filtered, ""),
            ("graph search, p50 / p95, ms", timing.graph, ""),
            (f"recall@{LIMIT} of the graph", f"{timing.recall:.4f}", ""),
            ("building the graph, s", f"{timing.indexing:.1f}", ""),
            ("opening and first search, s", f"{timing.cold:.2f}", ""),
            ("peak memory, GiB", f"{timing.memory:.2f}", ""),
            ("folder, MiB", f"{timing.size:,.0f}", f"{size * dimension * 4 / 2**20:,.0f}"),
        ):
            print(f"| {name} | {figure} | {reference} |", flush=True)
        print()
    return timings


def measure_gallery(rows: int, dimension: int, out: Path | None = None) -> GalleryTiming:
    """Measure one size; each step runs in its own process."""
    with tempfile.TemporaryDirectory(prefix="vireid-bench-", dir=out) as folder:
        place = Path(folder) / "gallery"
        seconds, _ = in_fresh_process(_fill, place, rows, dimension)
        size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
        reference, _ = in_fresh_process(_reference, rows, dimension)
        cold, _ = in_fresh_process(_cold, place, dimension)
        (exact, best), memory = in_fresh_process(_searches, place, dimension, EVERYTHING, True)
        own = Filters(cameras=("camera 1",))
        (filtered, _), _ = in_fresh_process(_searches, place, dimension, own, True)
        indexing, _ = in_fresh_process(_index, place)
        (graph, found), _ = in_fresh_process(_searches, place, dimension, EVERYTHING, False)
    kept = [len(set(a) & set(b)) / len(a) for a, b in zip(best, found, strict=True)]
    return GalleryTiming(
        rows=rows,
        ingest=rows / seconds,
        size=size / 2**20,
        cold=cold,
        reference=reference,
        exact=exact,
        filtered=filtered,
        memory=memory,
        indexing=indexing,
        graph=graph,
        recall=float(np.mean(kept)),
    )


def synthetic_features(
    block: int, dimension: int, *, rows: int = _BLOCK, draw: int = 0
) -> NDArray[np.float32]:
    """Features of synthetic people, deterministic for each block.

    The cosine of two images of a person is about 0.6, of two people about 0.1.

    Args:
        block: Index of the block of people.
        dimension: d.
        rows: Number of rows, 20 per person, half of them of each modality.
        draw: Index of the draw of images of these people.

    Returns:
        Unit features, float32 ``[rows, d]``.
    """
    who = np.random.default_rng([_SEED, 0, block])
    shared = np.random.default_rng([_SEED, 1])
    offsets = shared.standard_normal((2, dimension), dtype=np.float32)
    looks = shared.standard_normal((_SUBSPACE, dimension), dtype=np.float32) / math.sqrt(_SUBSPACE)
    centres = who.standard_normal((-(-rows // _IMAGES), _SUBSPACE), dtype=np.float32) @ looks
    which = np.arange(rows)
    noise = np.random.default_rng([_SEED, 2, block, draw])
    values = 0.75 * centres[which // _IMAGES] + 0.3 * offsets[which % 2]
    values += 0.6 * noise.standard_normal(values.shape, dtype=np.float32)
    unit: NDArray[np.float32] = values / np.linalg.norm(values, axis=1, keepdims=True)
    return unit


def _fill(place: Path, rows: int, dimension: int) -> float:
    """Create a gallery; return the seconds of adding."""
    thumbnails = np.random.default_rng(_SEED)
    model = ModelInfo(fingerprint="synthetic", dimension=dimension)
    seconds = 0.0
    with open_gallery(place, model=model, create=True) as gallery:
        for start in range(0, rows, _BLOCK):
            values = synthetic_features(start // _BLOCK, dimension, rows=min(_BLOCK, rows - start))
            batch = [
                IndexedImage(image_info(start + row), value, thumbnails.bytes(THUMBNAIL_BYTES))
                for row, value in enumerate(values)
            ]
            began = time.perf_counter()
            gallery.add(batch)
            seconds += time.perf_counter() - began
    return seconds


def image_info(row: int) -> ImageInfo:
    """The facts of a synthetic image, by its number."""
    return ImageInfo(
        # Spread over the whole range of ids, like those of real files.
        sha256=f"{row * 0x9E3779B97F4A7C15 % 2**64:016x}{row:048x}",
        path=Path(f"{row:08d}.jpg"),
        modality=list(Modality)[row % 2],
        added=_ADDED,
        camera=f"camera {row % CAMERAS + 1}",
    )


def query_features(dimension: int) -> NDArray[np.float32]:
    """Features of further images of people in the gallery."""
    return synthetic_features(0, dimension, rows=QUERIES, draw=1)


def _searches(
    place: Path, dimension: int, filters: Filters, exact: bool
) -> tuple[Latency, list[list[str]]]:
    """The latency of searches, and the ids that each returned."""
    queries = query_features(dimension)
    with open_gallery(place) as gallery:

        def search(query: NDArray[np.float32]) -> list[str]:
            [hits] = gallery.search(query[None], filters=filters, limit=LIMIT, exact=exact)
            return [hit.info.id for hit in hits]

        return time_searches(search, queries)


def _reference(rows: int, dimension: int) -> Latency:
    values = np.concatenate(
        [
            synthetic_features(start // _BLOCK, dimension, rows=min(_BLOCK, rows - start))
            for start in range(0, rows, _BLOCK)
        ]
    )
    return time_searches(partial(top_rows, values), query_features(dimension))[0]


def top_rows(values: NDArray[np.float32], query: NDArray[np.float32]) -> list[str]:
    """The LIMIT nearest rows of an array to a query, best first."""
    scores = values @ query
    best = np.argpartition(-scores, LIMIT)[:LIMIT]
    return [str(row) for row in best[np.argsort(-scores[best], kind="stable")]]


def time_searches(
    search: Callable[[NDArray[np.float32]], list[str]], queries: NDArray[np.float32]
) -> tuple[Latency, list[list[str]]]:
    """Search with each query; return the latency and the results."""
    search(queries[0])  # afterwards the files are in the page cache
    seconds, found = [], []
    for query in queries:
        began = time.perf_counter()
        found.append(search(query))
        seconds.append(time.perf_counter() - began)
    p50, p95 = np.percentile(seconds, [50, 95]) * 1000
    return Latency(p50=float(p50), p95=float(p95)), found


def _cold(place: Path, dimension: int) -> float:
    [query] = query_features(dimension)[:1]
    began = time.perf_counter()
    with open_gallery(place) as gallery:
        gallery.search(query[None], limit=LIMIT)
        return time.perf_counter() - began


def _index(place: Path) -> float:
    with open_gallery(place, write=True) as gallery:
        began = time.perf_counter()
        gallery.index()
        return time.perf_counter() - began
