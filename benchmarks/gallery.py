"""How fast a gallery in a folder takes rows and answers, beside a plain product in memory.

The reference holds all features in one float32 array and takes `values @ query` and the best
of it: nothing is stored, filtered or safe from a kill, and no search without an index can be
faster by much on the same processor.

Features are those of made-up people: unit vectors around a centre a person, with an offset that
all images of one modality share. Wholly random ones would be unlike any network's, and hard on
graphs, since all are then equally far from one another: recall is that of these made-up people.
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
    "Times",
    "best_of",
    "entry_of",
    "measure_gallery",
    "people",
    "queries_of",
    "report_gallery",
    "timed",
]

LIMIT = 20
QUERIES = 200
CAMERAS = 6
_IMAGES = 20
"""Images a person."""
_LOOKS = 40
"""Directions that centres lie in, so that some people look more alike than others. The centres of
310 people of SynVI standard have, in the features of a trained CAJ, cosines that deviate by
0.16 = 1 / sqrt(40). With centres at right angles the graph finds 0.75 to 0.9 only."""
_BLOCK = 1000
"""People are drawn, and rows added, by so many images at once."""
_SEED = 0
THUMBNAIL = 6_000
"""Bytes of a thumbnail, about what a JPEG of 144 x 288 pixels has."""
_ADDED = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Milliseconds that half and 95 % of the searches took at most."""

    half: float
    most: float

    def __str__(self) -> str:
        return f"{self.half:.1f} / {self.most:.1f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GalleryTiming:
    """One size, measured.

    Attributes:
        rows: How many entries there are.
        ingest: Rows a second, each batch flushed to the disk.
        size: Of the folder, in MiB.
        cold: Seconds to open the gallery in a new process and answer the first search.
        reference: Searches by the product in memory.
        exact: Searches that compare every feature.
        filtered: The same among the entries of one camera.
        memory: Peak of the process that searched exactly, in GiB, with Python and the queries.
        indexing: Seconds to build the graph.
        graph: Searches by the graph.
        recall: Of the LIMIT best of the exact search, the part that the graph finds, in [0, 1].
    """

    rows: int
    ingest: float
    size: float
    cold: float
    reference: Times
    exact: Times
    filtered: Times
    memory: float
    indexing: float
    graph: Times
    recall: float


def report_gallery(
    sizes: tuple[int, ...], dimension: int, out: Path | None = None
) -> list[GalleryTiming]:
    """Measure galleries of several sizes and print what was found.

    Args:
        sizes: How many rows.
        dimension: Of the features.
        out: Where the galleries are made for the while; the temporary folder by default.

    Returns:
        The measurements.
    """
    print(machine_summary(), end="\n\n")
    timings = []
    for size in sizes:
        timing = measure_gallery(size, dimension, out)
        timings.append(timing)
        print(f"{size:,} x {dimension:,}, {QUERIES} searches for {LIMIT}, one after the other\n")
        print("| what | gallery | product in memory |")
        print("|---|--:|--:|")
        for name, figure, reference in (
            ("rows/s taken and flushed", f"{timing.ingest:,.0f}", ""),
            ("exact search, p50 / p95, ms", timing.exact, timing.reference),
            ("of one camera in six, ms", timing.filtered, ""),
            ("by the graph, ms", timing.graph, ""),
            (f"recall@{LIMIT} of the graph", f"{timing.recall:.4f}", ""),
            ("building the graph, s", f"{timing.indexing:.1f}", ""),
            ("opening and first answer, s", f"{timing.cold:.2f}", ""),
            ("peak memory of searching, GiB", f"{timing.memory:.2f}", ""),
            ("folder, MiB", f"{timing.size:,.0f}", f"{size * dimension * 4 / 2**20:,.0f}"),
        ):
            print(f"| {name} | {figure} | {reference} |", flush=True)
        print()
    return timings


def measure_gallery(rows: int, dimension: int, out: Path | None = None) -> GalleryTiming:
    """Measure one size; each step runs in a process of its own."""
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


def people(block: int, dimension: int, *, rows: int = _BLOCK, draw: int = 0) -> NDArray[np.float32]:
    """Features of made-up people, the same for the same block.

    The cosine of two images of a person is about 0.6, of two people about 0.1.

    Args:
        block: Which people.
        dimension: d.
        rows: How many rows; each person has 20, half of them of either modality.
        draw: Which pictures of these people.

    Returns:
        Unit features, float32 ``[rows, d]``.
    """
    who = np.random.default_rng([_SEED, 0, block])
    shared = np.random.default_rng([_SEED, 1])
    offsets = shared.standard_normal((2, dimension), dtype=np.float32)
    looks = shared.standard_normal((_LOOKS, dimension), dtype=np.float32) / math.sqrt(_LOOKS)
    centres = who.standard_normal((-(-rows // _IMAGES), _LOOKS), dtype=np.float32) @ looks
    which = np.arange(rows)
    noise = np.random.default_rng([_SEED, 2, block, draw])
    values = 0.75 * centres[which // _IMAGES] + 0.3 * offsets[which % 2]
    values += 0.6 * noise.standard_normal(values.shape, dtype=np.float32)
    unit: NDArray[np.float32] = values / np.linalg.norm(values, axis=1, keepdims=True)
    return unit


def _fill(place: Path, rows: int, dimension: int) -> float:
    """Make a gallery; returns the seconds that adding took."""
    thumbnails = np.random.default_rng(_SEED)
    model = ModelInfo(fingerprint="made-up", dimension=dimension)
    seconds = 0.0
    with open_gallery(place, model=model, create=True) as gallery:
        for start in range(0, rows, _BLOCK):
            values = people(start // _BLOCK, dimension, rows=min(_BLOCK, rows - start))
            batch = [
                IndexedImage(entry_of(start + row), value, thumbnails.bytes(THUMBNAIL))
                for row, value in enumerate(values)
            ]
            began = time.perf_counter()
            gallery.add(batch)
            seconds += time.perf_counter() - began
    return seconds


def entry_of(row: int) -> ImageInfo:
    """The entry of a made-up image, by its number."""
    return ImageInfo(
        # Spread over the whole range of ids, as those of real files are.
        sha256=f"{row * 0x9E3779B97F4A7C15 % 2**64:016x}{row:048x}",
        path=Path(f"{row:08d}.jpg"),
        modality=list(Modality)[row % 2],
        added=_ADDED,
        camera=f"camera {row % CAMERAS + 1}",
    )


def queries_of(dimension: int) -> NDArray[np.float32]:
    """Further pictures of people who are in the gallery."""
    return people(0, dimension, rows=QUERIES, draw=1)


def _searches(
    place: Path, dimension: int, filters: Filters, exact: bool
) -> tuple[Times, list[list[str]]]:
    """Time searches, and give the ids that each found."""
    queries = queries_of(dimension)
    with open_gallery(place) as gallery:

        def search(query: NDArray[np.float32]) -> list[str]:
            [hits] = gallery.search(query[None], filters=filters, limit=LIMIT, exact=exact)
            return [hit.info.id for hit in hits]

        return timed(search, queries)


def _reference(rows: int, dimension: int) -> Times:
    values = np.concatenate(
        [
            people(start // _BLOCK, dimension, rows=min(_BLOCK, rows - start))
            for start in range(0, rows, _BLOCK)
        ]
    )
    return timed(partial(best_of, values), queries_of(dimension))[0]


def best_of(values: NDArray[np.float32], query: NDArray[np.float32]) -> list[str]:
    """The LIMIT rows of an array that are nearest to a query, best first."""
    scores = values @ query
    best = np.argpartition(-scores, LIMIT)[:LIMIT]
    return [str(row) for row in best[np.argsort(-scores[best], kind="stable")]]


def timed(
    search: Callable[[NDArray[np.float32]], list[str]], queries: NDArray[np.float32]
) -> tuple[Times, list[list[str]]]:
    """Search with each of several queries; what half and most took, and what was found."""
    search(queries[0])  # the files are in the system's memory afterwards
    seconds, found = [], []
    for query in queries:
        began = time.perf_counter()
        found.append(search(query))
        seconds.append(time.perf_counter() - began)
    half, most = np.percentile(seconds, [50, 95]) * 1000
    return Times(half=float(half), most=float(most)), found


def _cold(place: Path, dimension: int) -> float:
    [query] = queries_of(dimension)[:1]
    began = time.perf_counter()
    with open_gallery(place) as gallery:
        gallery.search(query[None], limit=LIMIT)
        return time.perf_counter() - began


def _index(place: Path) -> float:
    with open_gallery(place, write=True) as gallery:
        began = time.perf_counter()
        gallery.index()
        return time.perf_counter() - began
