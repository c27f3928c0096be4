"""The benchmarks of training and feature extraction, and their roofline estimates."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.backends import TimedFeatures
from benchmarks.common import Case
from benchmarks.encode import report_encode
from benchmarks.reference import load_images
from benchmarks.roofline import (
    HardwareLimits,
    OperationCount,
    count_operations,
    fast_bfloat16,
    measure_limits,
)
from benchmarks.synthetic import write_images
from benchmarks.train import report_step
from PIL import Image
from tests.helpers.exports import shallow_resnets
from torch import nn
from torch.nn import functional as F

from benchmarks import backends, common, encode, roofline, train
from vireid.data.image_stack import ImageStack
from vireid.data.transforms import normalise
from vireid.methods import Batch
from vireid.types import Modality

SMALL = Case(backbone="mobilenet_v2", size=(96, 32), batch=Batch(identities=2, images=1), threads=1)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Both sides in this process, which is faster."""
    for module in (encode, train):
        monkeypatch.setattr(module, "in_fresh_process", lambda work, *given: (work(*given), 0.1))
        monkeypatch.setattr(module, "measure_limits", lambda: HardwareLimits(1e11, 1e11, 1e10))
    for module in (train, backends):
        monkeypatch.setattr(module, "keep_memory", lambda: None)
    monkeypatch.setattr(backends, "_MIN_SECONDS", 0.0)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("here")
def test_a_step_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    timing = report_step(SMALL, steps=1, repeats=1)
    assert timing.difference < 1e-4
    assert timing.ratio > 0
    assert min(*timing.reference.seconds, *timing.vireid.seconds) > 0
    assert "| vireid |" in capsys.readouterr().out


@pytest.mark.usefixtures("here")
def test_encoding_is_measured_in_torch_and_exported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Batch norm statistics of few images would amplify rounding errors.
    monkeypatch.setattr(common, "_CALIBRATION_IMAGES", 32)
    with shallow_resnets():
        timing = report_encode(replace(SMALL, backbone="resnet18"), images=8, repeats=1)
    rows = {row.name: row for row in timing.rows}
    bfloat16 = fast_bfloat16()
    assert list(rows) == [
        "torch, 32-true",
        *(["torch, bf16-mixed"] if bfloat16 else []),
        "onnxruntime, f32",
        "OpenVINO, f32",
        *(["OpenVINO, bf16"] if bfloat16 else []),
        "OpenVINO, int8",
    ]
    for name, row in rows.items():
        assert len(row.side.seconds) == 1
        assert timing.ratio(row) == timing.reference.median / row.side.median > 0
        if name.endswith(("32-true", "f32")):
            assert row.difference < 1e-5
            assert row.cosine > 1 - 1e-6
        if name == "torch, bf16-mixed":
            assert row.difference > 1e-4
    # Float32 would be closer.
    assert 1e-4 < rows["OpenVINO, int8"].difference < 0.5
    printed = capsys.readouterr()
    assert "limit: arithmetic only" in printed.out
    assert "openvino" in printed.out.splitlines()[0]
    for name in ("reference", *rows):
        assert f"\n| {name} | " in printed.out
        # Logged as it was measured.
        assert printed.err.count(f"{name}: ") == 1


@pytest.mark.usefixtures("here")
def test_without_the_packages_torch_alone_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(encode, "fast_bfloat16", lambda: False)
    timing = report_encode(SMALL, images=8, repeats=1)
    assert [row.name for row in timing.rows] == ["torch, 32-true"]
    printed = capsys.readouterr()
    assert "pip install 'vireid[export]'" in printed.err
    assert "no bfloat16" in printed.err


@pytest.mark.parametrize("wrong", [1.0, np.nan])
def test_disagreeing_sides_are_refused(wrong: float, monkeypatch: pytest.MonkeyPatch) -> None:
    def synthetic(work, *arguments):  # type: ignore[no-untyped-def]
        if work is backends._reference:
            return TimedFeatures(1.0, np.zeros((8, 3072), np.float32)), 0.1
        if work is encode._roofline:
            return (None, None), 0.1
        if work is backends.write_exports:
            return [], 0.1
        if isinstance(work, partial):
            return TimedFeatures(1.0, np.full((8, 3072), wrong, np.float32)), 0.1
        return (0.5, None, None), 0.1

    for module in (encode, train):
        monkeypatch.setattr(module, "in_fresh_process", synthetic)
    with pytest.raises(ArithmeticError, match="features of 'torch, 32-true' differ"):
        encode.measure_encode(SMALL, images=8, repeats=1)
    with pytest.raises(ArithmeticError, match="losses of the two sides differ"):
        train.measure_step(SMALL, steps=1, repeats=1)


def test_operations_are_those_counted_by_hand() -> None:
    conv, x = nn.Conv2d(3, 5, 3, padding=1, bias=False), torch.randn(2, 3, 6, 4)
    with torch.no_grad():
        found = count_operations(lambda: F.relu(conv(x)))
    assert found.operations == 2 * (2 * 5 * 6 * 4) * 3 * 9
    assert found.traffic == 2 * (2 * 5 * 6 * 4) * 4
    assert found.scaled(3).operations == 3 * found.operations


def test_both_sides_load_the_same_synthetic_images(tmp_path: Path) -> None:
    source = write_images(tmp_path, identities=2, images=3, split="test")
    records = source.open().test()
    assert len(records) == 12
    assert {r.modality for r in records if r.identity == 2} == set(Modality)
    with Image.open(records[0].path) as image:
        assert image.size == (110, 270)
    with ImageStack(records, size=(96, 32)) as stack:
        expected = normalise(stack.fetch(range(12)))
    found = load_images(records, (96, 32), training=False)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert load_images(records, (96, 32), training=True).shape == found.shape


def test_limits_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roofline, "_SIDE", 64)
    monkeypatch.setattr(roofline, "_BYTES", 2**20)
    found = measure_limits()
    assert min(found.float32, found.bfloat16, found.memory) > 0
    text = found.table(OperationCount(2 * found.float32, 0), 6.0, 64, "32-true")
    # Two seconds of products, beside a reference of six.
    assert text.splitlines()[0] == "| limit: arithmetic only | 32.0 | 3.00 | |"
