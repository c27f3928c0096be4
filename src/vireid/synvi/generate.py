"""Renders a tree: in parallel, resumable, with the same bytes for the same seed."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Protocol

from tqdm import tqdm

from vireid.errors import ConfigError, DatasetError
from vireid.files import clear_temporaries, write_atomic
from vireid.log import log, on_stop
from vireid.synvi.body import Body, BodyModel
from vireid.synvi.body_data import cache_file
from vireid.synvi.layouts import CARD, index_files
from vireid.synvi.presets import COMPANIONS, Frame, Layout, Plan, Preset, PresetName, resolve
from vireid.synvi.worker import Bodies, Renderer, compile_kernels, render_task, start_worker

__all__ = [
    "MARKER",
    "SynviSummary",
    "Tree",
    "bodies_of",
    "claim",
    "is_whole",
    "prepare",
    "read_plan",
    "render",
]

MARKER = ".synvi-plan.json"  # exists while the tree is unfinished


@dataclass(frozen=True, slots=True)
class SynviSummary:
    """What a call of `render` did.

    Attributes:
        out: The tree.
        layout: Its form.
        preset: Name of the preset.
        seed: The seed.
        identities: Number of identities of the tree.
        images: Number of images of the tree.
        rendered: Number of images that this call rendered.
        seconds: Duration of this call.
    """

    out: Path
    layout: Layout | Literal["video"]
    preset: str
    seed: int
    identities: int
    images: int
    rendered: int
    seconds: float


def _fingerprint_in(path: Path) -> dict[str, Any] | None:
    """The plan stated in a marker or a data card, or None if the file does not exist."""
    try:
        stated = json.loads(path.read_text(encoding="utf-8"))
        return {key: stated[key] for key in ("generator", "layout", "preset", "seed")}
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        message = (
            f"{path} does not state the plan of the tree ({error!r}); "
            "delete the folder and render it again."
        )
        raise DatasetError(message) from error


class Tree(Protocol):
    """What a tree consists of."""

    def fingerprint(self) -> dict[str, Any]:
        """What must be equal to continue it, as JSON values."""


def claim(root: Path, plan: Tree) -> None:
    """Check that the folder is new, empty or of the same plan, and mark it with the plan."""
    if root.exists() and not root.is_dir():
        raise ConfigError(f"{root} is a file; give a folder that is new, empty or a SynVI tree.")
    ours = plan.fingerprint()
    stated = _fingerprint_in(root / MARKER) or _fingerprint_in(root / CARD)
    if stated is None:
        if root.is_dir() and any(not p.name.startswith(f".{MARKER}") for p in root.iterdir()):
            message = (
                f"{root} holds files but is not a SynVI tree; give a folder that is new or empty."
            )
            raise DatasetError(message)
        content = json.dumps(ours, indent=2) + "\n"
        write_atomic(root / MARKER, content.encode("utf-8"))
    elif stated != ours:
        different = "; ".join(
            f"{key} {_short(stated[key])} there, {_short(ours[key])} requested"
            for key in ours
            if stated[key] != ours[key]
        )
        message = (
            f"{root} was rendered by another plan ({different}). Use the same options, "
            "another folder, or delete this one."
        )
        raise DatasetError(message)


def _short(value: Any) -> str:
    """A plan's value for a message: the name of a preset, with its numbers."""
    if isinstance(value, dict):
        numbers = ", ".join(f"{k}={v}" for k, v in value.items() if k != "name")
        return f"{value.get('name')!r} ({numbers})"
    return repr(value)


def read_plan(tree: Path) -> Plan:
    """The plan by which a tree was rendered, from its data card.

    Args:
        tree: A finished SynVI tree.

    Returns:
        The plan.
    """
    stated = _fingerprint_in(tree / CARD)
    if stated is None:
        message = f"{tree} has no {CARD}: it is not a finished SynVI tree. Render it first."
        raise DatasetError(message)
    try:
        values = {**stated["preset"], "images": tuple(stated["preset"]["images"])}
        plan = resolve(stated["layout"], Preset(**values), int(stated["seed"]))
    except (TypeError, ValueError, KeyError) as error:
        raise DatasetError(f"{tree / CARD} is damaged ({error}); render the tree again.") from error
    if plan.fingerprint() != stated:
        message = (
            f"{tree} was rendered by generator {stated['generator']}, this is "
            f"{plan.fingerprint()['generator']}; render it again to use it."
        )
        raise DatasetError(message)
    return plan


def is_whole(image: Path) -> bool:
    """Whether a rendered image exists and is complete, which it is not always after a power cut.

    Args:
        image: A JPEG or BMP file.
    """
    try:
        with image.open("rb") as file:
            if image.suffix == ".bmp":
                stated = int.from_bytes(file.read(6)[2:], "little")
                return 0 < stated == file.seek(0, os.SEEK_END)
            file.seek(-2, os.SEEK_END)
            return file.read() == b"\xff\xd9"
    except OSError:
        return False


def _pending(root: Path, plan: Plan) -> list[list[Frame]]:
    """The missing images, by identity."""
    pending = []
    for number in plan.numbers():
        missing = [f for f in plan.frames(number) if not is_whole(root / f.path)]
        if missing:
            pending.append(missing)
    return pending


def bodies_of(model: BodyModel, plan: Plan, tasks: list[list[Frame]]) -> Iterator[Bodies]:
    """The rest shapes of the people in the images of each task."""

    @lru_cache(COMPANIONS + 2)
    def body(number: int) -> Body:
        return model.body(plan.identity(number).phenotype)

    for frames in tasks:
        numbers = {frame.identity for frame in frames}
        numbers |= {company[0] for company in map(plan.companion, frames) if company}
        yield {number: body(number) for number in sorted(numbers)}


def prepare(plan: Plan) -> tuple[BodyModel, Renderer]:
    """Load the body model and compile the kernels, which takes long on the first call only."""
    if not cache_file().is_file():
        log("Preparing the body model and compiling the renderer: once, less than a minute.")
    with ThreadPoolExecutor(1) as thread:
        # warp compiles its kernels once; doing it here keeps the workers from doing it all at once.
        compiled = thread.submit(compile_kernels)
        model = BodyModel()
        compiled.result()
    return model, Renderer.build(plan, model.template)


def _render_here(root: Path, plan: Plan, tasks: list[list[Frame]]) -> Iterator[int]:
    """Render in this process; yields the number of images done at a time."""
    model, renderer = prepare(plan)
    for frames, bodies in zip(tasks, bodies_of(model, plan, tasks), strict=True):
        for frame in frames:
            yield renderer.render(root, bodies, [frame])


def _render_in_pool(
    root: Path, plan: Plan, tasks: list[list[Frame]], workers: int
) -> Iterator[int]:
    """Render in `workers` processes; yields the number of images done at a time."""
    model, _ = prepare(plan)
    pool = ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=start_worker,
        initargs=(plan, model.template),
    )
    running: set[Future[int]] = set()
    done: set[Future[int]] = set()
    try:
        for frames, bodies in zip(tasks, bodies_of(model, plan, tasks), strict=True):
            running.add(pool.submit(render_task, root, bodies, frames))
            if len(running) >= 3 * workers:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                yield sum(future.result() for future in done)
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            yield sum(future.result() for future in done)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _render_all(root: Path, plan: Plan, tasks: list[list[Frame]], workers: int) -> None:
    total = sum(len(frames) for frames in tasks)
    counts = (
        _render_here(root, plan, tasks)
        if workers == 1
        else _render_in_pool(root, plan, tasks, workers)
    )
    done = 0
    try:
        with on_stop(lambda: f"{done} of {total} images are rendered; the same command continues."):
            # The bar starts with the first images, so that its estimate leaves the preparation out.
            done = next(counts)
            interval = 0.2 if sys.stderr.isatty() else 10.0
            with tqdm(
                total=total,
                initial=done,
                unit="img",
                desc="SynVI",
                file=sys.stderr,
                mininterval=interval,
            ) as bar:
                for count in counts:
                    done += count
                    bar.update(count)
    except BrokenProcessPool as error:
        message = (
            f"a rendering worker died (killed, or out of memory) when {done} of {total} images "
            f"were done. Nothing is lost: run the same command again to continue in {root}; with "
            "too little memory, with fewer workers."
        )
        raise DatasetError(message) from error


def _write_index(root: Path, plan: Plan) -> None:
    """Write the lists, then the data card, which completes the tree."""
    for path, content in index_files(plan).items():
        target = root / path
        if not target.is_file() or target.read_bytes() != content:
            if path == CARD:
                os.sync()  # the images were not flushed
            write_atomic(target, content)
    clear_temporaries(root)
    (root / MARKER).unlink(missing_ok=True)


def render(
    out: Path,
    *,
    layout: Layout = "sysu-mm01",
    preset: PresetName | Preset = "demo",
    seed: int = 0,
    workers: int | None = None,
) -> SynviSummary:
    """Render a SynVI tree, or what is missing of one.

    An interrupted call, even by SIGKILL, leaves only complete files; the same call continues from
    there and ends with the same bytes as an uninterrupted one.

    Args:
        out: The folder to fill: new, empty, or a SynVI tree of the same plan.
        layout: The published form to write, `sysu-mm01` or `regdb`.
        preset: How much to render.
        seed: The same seed gives the same bytes.
        workers: Number of processes; None for one per core.

    Returns:
        A summary.

    Raises:
        ConfigError: An option is out of range, or a needed package is not installed.
        DatasetError: The folder holds something else, or a worker died.
    """
    start = time.perf_counter()
    plan = resolve(layout, preset, seed)
    if workers is not None and workers < 1:
        raise ConfigError(f"workers={workers}; expected at least 1, or None for one per core.")
    root = Path(out)
    claim(root, plan)
    clear_temporaries(root)
    tasks = _pending(root, plan)
    total = sum(len(frames) for frames in tasks)
    if workers is None:
        workers = len(os.sched_getaffinity(0))
    workers = min(workers, max(1, len(tasks)))
    if tasks:
        _render_all(root, plan, tasks, workers)
    _write_index(root, plan)
    return SynviSummary(
        out=root,
        layout=plan.layout,
        preset=plan.preset.name,
        seed=seed,
        identities=plan.preset.identities,
        images=len(plan.all_frames()),
        rendered=total,
        seconds=time.perf_counter() - start,
    )
