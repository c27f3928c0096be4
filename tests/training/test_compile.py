"""A network compiled by torch.compile trains to the same result."""

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vireid.runs import Run, RunFolder
from vireid.training import fit


# torch's tracer reads the gradient of non-leaf tensors.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_a_compiled_network_trains_like_the_plain_one(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Double precision excludes rounding. The backend runs the traced graph as it is, without the
    # minutes of a C++ compiler.
    optimisation = replace(run.recipe.optimisation, epochs=1)
    short = replace(run, precision="64-true", recipe=replace(run.recipe, optimisation=optimisation))
    plain = fit(short, tmp_path / "plain", progress_bar=False)
    traced: list[torch.fx.GraphModule] = []

    def as_traced(graph: torch.fx.GraphModule, _: list[torch.Tensor]) -> Callable[..., object]:
        traced.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=as_traced))
    out = fit(replace(short, compile=True), tmp_path / "compiled", progress_bar=False)
    assert len(traced) >= 3  # streams, pool, heads
    [before], [after] = (RunFolder(path).read_metrics() for path in (plain, out))
    assert after["terms"] == pytest.approx(before["terms"], rel=1e-9)
    expected, _, _ = RunFolder(plain).read_model()
    found, _, _ = RunFolder(out).read_model()
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.allclose(found[name], tensor, rtol=1e-4, atol=1e-6), name


def test_the_config_records_compilation(run: Run, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.start(replace(run, compile=True))
    assert folder.read_config().compile
