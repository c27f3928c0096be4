"""torch.compile translates the network, and the run comes out the same."""

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vireid.runs import Run, RunFolder
from vireid.training import fit


# torch's own tracer looks at what has no gradient.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_a_translated_network_trains_as_the_plain_one(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In double what differs is no rounding. The backend runs what was traced as it is, without the
    # minutes that a C++ compiler takes.
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


def test_a_run_says_whether_it_was_translated(run: Run, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.start(replace(run, compile=True))
    assert folder.read_config().compile
