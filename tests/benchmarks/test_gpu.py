"""The benchmark of GPUs, in a dry run on the CPU, and its time limits."""

from __future__ import annotations

import json
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from benchmarks.__main__ import gpu
from benchmarks.common import Case
from benchmarks.gpu import GpuBenchmark, Row, limited
from benchmarks.reference import ReferenceDLIS
from tests.helpers.exports import shallow_resnets
from torch import nn

from benchmarks import gpu as benchmark
from vireid.errors import ConfigError
from vireid.methods import DLIS

PLAN = GpuBenchmark(
    case=Case(), device="cpu", steps=1, data=None, epochs=1, weights="none", compiled=False
)


def test_a_dry_run_measures_every_section(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    threads = torch.get_num_threads()
    with shallow_resnets():
        rows = gpu(dry_run=True, out=tmp_path / "gpu.json")
    torch.set_num_threads(threads)
    measured = {(row.section, row.name) for row in rows if row.value is not None}
    for name in ("reference, float32", "float32", "tf32", "bfloat16"):
        assert ("training step", name) in measured
    assert {"loader", "encoding", "evaluation", "training"} <= {section for section, _ in measured}
    assert {("training", f"{name}, mAP") for name in ("dlis", "tslfn")} <= measured
    [compiled] = [row for row in rows if row.value is None]
    assert (compiled.name, compiled.note) == ("bfloat16, compiled", "not in a dry run")
    saved = json.loads((tmp_path / "gpu.json").read_text())
    assert len(saved["rows"]) == len(rows)
    assert "| training step | tf32 |" in capsys.readouterr().out


def test_the_reference_is_gone_when_the_peaks_of_the_others_are_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[weakref.ref[nn.Module]] = []
    alive: list[bool] = []

    def reference(network: DLIS) -> ReferenceDLIS:
        found = ReferenceDLIS(network)
        made.append(weakref.ref(found))
        return found

    def timed(plan: GpuBenchmark, work: Callable[[], None]) -> tuple[float, None]:
        alive.append(made[-1]() is not None)
        return 1.0, None

    monkeypatch.setattr(benchmark, "ReferenceDLIS", reference)
    monkeypatch.setattr(benchmark, "_time", timed)
    plan = replace(PLAN, case=Case(backbone="resnet18", size=(96, 48)))
    with shallow_resnets():
        for section in (benchmark._steps, benchmark._encode):
            alive.clear()
            assert [row.value is not None for row in section(plan)].count(True) == len(alive)
            assert alive == [True, *[False] * (len(alive) - 1)]


def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="use --dry-run"):
        gpu()


def endless(plan: GpuBenchmark) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        yield Row("section", "first", float(plan.steps), "s", note=folder)
        time.sleep(600)


def broken(plan: GpuBenchmark) -> Iterator[Row]:
    yield Row("section", "first", float(plan.steps), "s")
    raise RuntimeError("out of memory")


def test_what_was_measured_before_a_failure_is_kept() -> None:
    rows = list(limited("section", broken, PLAN, 600))
    assert [(row.value, row.note) for row in rows] == [
        (1.0, ""),
        (None, "RuntimeError: out of memory"),
    ]


def test_what_was_measured_before_the_limit_is_kept_and_its_files_are_removed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ahead, now = 0.0, time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: now() + ahead)
    found = limited("section", endless, PLAN, 600)
    first = next(found)
    assert (first.name, Path(first.note).is_dir()) == ("first", True)
    ahead = 600.0
    [last] = found
    assert (last.value, last.note) == (None, "stopped after 600 s")
    assert not Path(first.note).exists()
