"""What a GPU does with vireid, beside the plain reference: one script of at most eight minutes.

Training steps of DLIS in several precisions, augmented batches, feature extraction, evaluation and
short trainings on SynVI. Each section runs in a process of its own with a time limit; what it had
measured by then is kept, and the JSON file is written after every section.
"""

from __future__ import annotations

import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from benchmarks.common import Case
from benchmarks.machine import machine_summary
from benchmarks.reference import ReferenceDLIS, reference_optimizer
from benchmarks.synthetic import write_images
from vireid.data.layouts import DataSource
from vireid.evaluation import evaluate, protocols_for
from vireid.features import load
from vireid.files import write_atomic
from vireid.methods import DLISConfig, Optimisation, Recipe, catalogue
from vireid.runs import Run
from vireid.testing import write_people
from vireid.training import fit
from vireid.training.batches import TrainingSet
from vireid.training.optimization import build_optimizer
from vireid.types import CrossModalBatch, Features, ImageRecord, Modality

__all__ = ["GpuBenchmark", "Row", "limited", "report_gpu"]

_STEPS = {"float32": "32", "tf32": "32", "bfloat16": "bf16", "bfloat16, compiled": "bf16"}


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement.

    Attributes:
        section: What was measured.
        name: The side or the setting.
        value: The measurement; None if there is none.
        unit: Its unit.
        peak: Peak memory of the device, in GiB; None on a CPU.
        note: Why there is no value, or how it was measured.
    """

    section: str
    name: str
    value: float | None
    unit: str
    peak: float | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class GpuBenchmark:
    """What to measure.

    Attributes:
        case: The network and its settings.
        device: The device, ``cuda`` or ``cpu``.
        steps: Timed steps, and batches of other sections.
        data: SynVI standard in the layout of SYSU-MM01; None: tiny images.
        epochs: Epochs of the trainings.
        weights: Initial weights of the backbones of the trainings.
        compiled: Whether to compile.
    """

    case: Case
    device: str
    steps: int
    data: Path | None
    epochs: int
    weights: Literal["imagenet", "none"] | Path
    compiled: bool = True


def report_gpu(
    plan: GpuBenchmark, out: Path, *, minutes: float, processes: bool = True
) -> list[Row]:
    """Measure all sections, print the table, and write JSON.

    Args:
        plan: What to measure.
        out: The JSON file, written after every section.
        minutes: Time limit of all sections.
        processes: Run each section in a process of its own, with a time limit.

    Returns:
        The measurements.
    """
    device = torch.cuda.get_device_name() if plan.device == "cuda" else "no GPU: a dry run"
    head = f"{device}; {machine_summary()}"
    print(f"{head}\n{plan.case}\n", flush=True)
    end, rows = time.monotonic() + 60 * minutes, list[Row]()
    for name, (work, share) in _SECTIONS.items():
        seconds = min(60 * minutes * share, end - time.monotonic())
        found = limited(name, work, plan, seconds) if processes else work(plan)
        for row in found:
            rows.append(row)
            print(f"  {row.section}, {row.name}: {_cell(row)}", flush=True)
        text = {"machine": head, "case": str(plan.case), "rows": [asdict(row) for row in rows]}
        write_atomic(out, (json.dumps(text, indent=2) + "\n").encode())
    print(f"\n{_table(rows)}\n\n'{out}' has them as JSON.")
    return rows


def limited(
    name: str,
    work: Callable[[GpuBenchmark], Iterator[Row]],
    plan: GpuBenchmark,
    seconds: float,
) -> Iterator[Row]:
    """The rows of a section, from a process that ends at a time limit.

    Args:
        name: Name of the section.
        work: Measures it.
        plan: Its argument.
        seconds: The limit.

    Yields:
        What it measured, and a row without a value where it failed or was stopped.
    """
    end = time.monotonic() + seconds
    receiver, sender = multiprocessing.Pipe(duplex=False)
    note = f"stopped after {seconds:.0f} s"
    # A killed process leaves its temporary files: here they are removed.
    with tempfile.TemporaryDirectory(
        prefix="vireid-bench-", ignore_cleanup_errors=True
    ) as temporary:
        process = multiprocessing.get_context("spawn").Process(
            target=_send, args=(sender, work, plan, temporary)
        )
        process.start()
        sender.close()
        try:
            while receiver.poll(max(0.0, end - time.monotonic())):
                found = receiver.recv()
                if not isinstance(found, Row):
                    note = str(found)
                    break
                yield found
        except EOFError:
            note = "its process ended without a result"
        finally:
            process.kill()
            process.join()
    if note:
        yield Row(name, "section", None, "", note=note)


def _send(
    sender: Connection,
    work: Callable[[GpuBenchmark], Iterator[Row]],
    plan: Any,
    temporary: str,
) -> None:
    tempfile.tempdir = temporary
    note = ""
    try:
        for row in work(plan):
            sender.send(row)
    except Exception as error:  # whatever fails, the other sections are measured
        note = f"{type(error).__name__}: {error}"
    sender.send(note)


def _steps(plan: GpuBenchmark) -> Iterator[Row]:
    """Training steps on one batch in the device's memory."""
    case = plan.case
    labels = torch.arange(case.batch.identities).repeat_interleave(case.batch.images)
    labels = labels.to(plan.device)
    images = torch.randn(2, case.images // 2, 3, *case.size)
    yield _reference_step(plan, images, labels)
    by_pixel = [x.to(plan.device, memory_format=torch.channels_last) for x in images]
    batch = CrossModalBatch(by_pixel[0], by_pixel[1], labels, labels)
    for name, kind in _STEPS.items():
        if "compiled" in name and not plan.compiled:
            yield Row("training step", name, None, "images/s", note="not in a dry run")
            continue
        network = case.network().to(plan.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if "compiled" in name:
            for child in network.children():
                child.compile()
        _set_tf32(name == "tf32")

        def loss(network: Any = network, half: bool = kind == "bf16") -> torch.Tensor:
            # bfloat16 has float32's range: gradients need no scaler.
            with torch.autocast(plan.device, torch.bfloat16, enabled=half):
                return network.losses(batch).total  # type: ignore[no-any-return]

        yield _timed_step(plan, name, loss, build_optimizer(network, Optimisation()))


def _reference_step(plan: GpuBenchmark, images: torch.Tensor, labels: torch.Tensor) -> Row:
    options = Optimisation()
    reference = ReferenceDLIS(plan.case.network()).to(plan.device)
    optimizer = reference_optimizer(
        reference, lr=options.lr, backbone_lr=options.backbone_lr, decay=options.weight_decay
    )
    visible, infrared = images.to(plan.device)
    _set_tf32(False)
    return _timed_step(
        plan,
        "reference, float32",
        lambda: sum(reference.losses(visible, infrared, labels, labels).values()),
        optimizer,
    )


def _timed_step(
    plan: GpuBenchmark, name: str, loss: Callable[[], Any], optimizer: torch.optim.Optimizer
) -> Row:
    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    seconds, peak = _time(plan, step)
    return Row("training step", name, plan.case.images / seconds, "images/s", peak)


def _loader(plan: GpuBenchmark) -> Iterator[Row]:
    """Augmented batches on the device, from the packed cache."""
    case = plan.case
    with tempfile.TemporaryDirectory(prefix="vireid-bench-") as name:
        folder = Path(name)
        people, images = case.batch.identities, case.batch.images * max(1, plan.steps // 4)
        data = write_images(folder, identities=people, images=images, split="train")
        recipe = Recipe(method=case.method, batch=case.batch)
        run = Run(name="dlis", recipe=recipe, data=data, device=plan.device)  # type: ignore[arg-type]
        with TrainingSet(run, cache=folder / "cache") as loaded:
            for label in ("first epoch", "second epoch"):
                began, count = time.perf_counter(), 0
                for batch in loaded.batches(0, 0, lambda x: x.to(plan.device, non_blocking=True)):
                    count += len(batch.visible) + len(batch.infrared)
                _synchronize(plan)
                yield Row("loader", label, count / (time.perf_counter() - began), "images/s")


def _encode(plan: GpuBenchmark) -> Iterator[Row]:
    """Features of images in the device's memory."""
    case = plan.case
    network = case.evaluation_network()
    pixels = torch.randn(case.images, 3, *case.size)
    _set_tf32(False)
    yield _timed_encoding(plan, "reference, float32", ReferenceDLIS(network).eval(), pixels)
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    network.to(memory_format=torch.channels_last)
    yield _timed_encoding(plan, "float32", network, pixels)
    yield _timed_encoding(plan, "bfloat16", network, pixels, half=True)


def _timed_encoding(
    plan: GpuBenchmark, name: str, network: Any, pixels: torch.Tensor, *, half: bool = False
) -> Row:
    network, images = network.to(plan.device), pixels.to(plan.device)

    def extract() -> None:
        with torch.inference_mode(), torch.autocast(plan.device, torch.bfloat16, enabled=half):
            network.extract_features(images, Modality.VISIBLE)

    seconds, peak = _time(plan, extract)
    return Row("encoding", name, len(images) / seconds, "images/s", peak)


def _evaluation(plan: GpuBenchmark) -> Iterator[Row]:
    """An evaluation of random features, on the CPU."""
    data = plan.data and DataSource(layout="sysu-mm01", root=plan.data)
    with tempfile.TemporaryDirectory(prefix="vireid-bench-") as name:
        tiny = DataSource(layout="manifest", root=write_people(Path(name)))
        protocol = protocols_for((data or tiny).open())[0]
        records: Sequence[ImageRecord] = protocol.records
        values = np.random.default_rng(0).standard_normal((len(records), 64), dtype=np.float32)
        began = time.perf_counter()
        evaluate(Features(values, tuple(records)), protocol)
        yield Row("evaluation", protocol.name, time.perf_counter() - began, "s")


def _trainings(plan: GpuBenchmark) -> Iterator[Row]:
    """Short trainings of DLIS and TSLFN on SynVI standard, and their figures."""
    if plan.device == "cuda" and plan.data is None:
        hint = "no SynVI standard: `vireid synvi DIR --preset standard`, then --data DIR"
        yield Row("training", "dlis, tslfn", None, "", note=hint)
        return
    with tempfile.TemporaryDirectory(prefix="vireid-bench-") as name:
        folder = Path(name)
        data = DataSource(layout="manifest", root=write_people(folder / "people"))
        if plan.data is not None:
            data = DataSource(layout="sysu-mm01", root=plan.data)
        for recipe in ("dlis", "tslfn"):
            given: Recipe[DLISConfig] = catalogue()[recipe].recipe
            method = replace(
                given.method,
                backbone=plan.case.backbone,
                size=plan.case.size,
                stripes=plan.case.method.stripes,
                weights=plan.weights,
            )
            short = replace(
                given,
                method=method,
                batch=plan.case.batch,
                optimisation=replace(given.optimisation, epochs=plan.epochs),
            )
            run = Run(
                name=recipe,
                recipe=short,
                data=data,
                device=plan.device,  # type: ignore[arg-type]
                precision="bf16-mixed" if plan.device == "cuda" else "32-true",
            )
            began = time.perf_counter()
            out = fit(run, folder / recipe, keep=1, progress_bar=False, cache=folder / "cache")
            note = f"{plan.epochs} epochs, weights {plan.weights}, {run.precision}"
            yield Row("training", f"{recipe}, time", time.perf_counter() - began, "s", note=note)
            extractor = load(out, device=plan.device)  # type: ignore[arg-type]
            protocol = protocols_for(data.open())[0]
            result = evaluate(extractor.extract(protocol.records), protocol)
            yield Row("training", f"{recipe}, R-1", 100 * result.cmc(1).mean, "%")
            yield Row("training", f"{recipe}, mAP", 100 * result.mean_ap.mean, "%")


_SECTIONS: dict[str, tuple[Callable[[GpuBenchmark], Iterator[Row]], float]] = {
    "training step": (_steps, 0.3),
    "encoding": (_encode, 0.1),
    "loader": (_loader, 0.1),
    "evaluation": (_evaluation, 0.1),
    "training": (_trainings, 1.0),
}
"""The sections in order, each with its largest share of the time."""


def _time(plan: GpuBenchmark, work: Callable[[], None]) -> tuple[float, float | None]:
    """Seconds of one call, the mean over the timed ones, and peak memory in GiB."""
    on_gpu = plan.device == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    for _ in range(3 if on_gpu else 0):
        work()
    _synchronize(plan)
    began = time.perf_counter()
    for _ in range(plan.steps):
        work()
    _synchronize(plan)
    seconds = (time.perf_counter() - began) / plan.steps
    return seconds, torch.cuda.max_memory_allocated() / 1024**3 if on_gpu else None


def _synchronize(plan: GpuBenchmark) -> None:
    if plan.device == "cuda":
        torch.cuda.synchronize()


def _set_tf32(used: bool) -> None:
    torch.backends.cuda.matmul.allow_tf32 = used
    torch.backends.cudnn.allow_tf32 = used


def _cell(row: Row) -> str:
    value = row.note if row.value is None else f"{row.value:,.1f} {row.unit}"
    return value if row.peak is None else f"{value}, {row.peak:.1f} GiB"


def _table(rows: Sequence[Row]) -> str:
    lines = ["| section | side | value | unit | peak, GiB | note |", "|---|---|--:|---|--:|---|"]
    for row in rows:
        value = "" if row.value is None else f"{row.value:,.1f}"
        peak = "" if row.peak is None else f"{row.peak:.1f}"
        lines.append(f"| {row.section} | {row.name} | {value} | {row.unit} | {peak} | {row.note} |")
    return "\n".join(lines)
