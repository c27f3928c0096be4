"""Phases, optimizer steps, and the fit after training."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from vireid.data.image_stack import ImageStack
from vireid.data.sampler import class_indices
from vireid.data.transforms import normalise
from vireid.methods import DLIS, DLISConfig, Losses, OptimizerStep, Phase
from vireid.runs import Run, RunFolder
from vireid.testing import metrics, same_run
from vireid.training import fit
from vireid.types import CrossModalBatch, Modality

pytestmark = pytest.mark.usefixtures("unlisted_methods")
BOTH = (OptimizerStep("judge", ("judge",)), OptimizerStep("people", ("backbone", "heads")))


@pytest.fixture
def unlisted_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train methods that no run folder can name; otherwise that is refused before the start."""
    monkeypatch.setattr("vireid.training.session.require_readable", lambda run: None)


class Judged(DLIS):
    """DLIS with a modality discriminator that it learns to deceive."""

    def __init__(self, config: "JudgedConfig", *, classes: int) -> None:
        super().__init__(config, classes=classes)
        self.plan = config.plan
        self.judge = nn.Linear(config.stripes * config.dim, 1)
        self.seen: list[tuple[str, dict[str, Tensor]]] = []
        torch.nn.init.zeros_(self.judge.weight)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        groups = super().parameter_groups()
        own = {id(p) for p in self.judge.parameters()}
        groups["heads"] = [p for p in groups["heads"] if id(p) not in own]
        return {**groups, "judge": list(self.judge.parameters())}

    def group_lrs(self) -> Mapping[str, float]:
        return {"judge": 0.5}

    def phases(self, epochs: int) -> tuple[Phase, ...]:
        return tuple(Phase(n, steps) for n, steps in self.plan)

    def step_losses(self, batch: CrossModalBatch, step: str) -> Losses:
        self.seen.append((step, {k: v.clone() for k, v in self.named_parameters()}))
        found = self.losses(batch)
        assert found.features is not None
        embeddings = self(torch.cat([batch.visible, batch.infrared]), len(batch.visible))
        verdict = self.judge(embeddings.flatten(1)).mean()
        if step == "judge":
            return Losses(terms={"verdict": verdict}, metrics={"verdict_size": verdict.abs()})
        return found._replace(terms={**found.terms, "wrong": -verdict})


class Measured(DLIS):
    """DLIS with a fit after training, on all training images."""

    needs_fit = True

    def __init__(self, config: "MeasuredConfig", *, classes: int) -> None:
        super().__init__(config, classes=classes)
        self.register_buffer("means", torch.zeros(2, config.stripes * config.dim))
        self.labels: tuple[Tensor, ...] = ()

    def fit(
        self, visible: Tensor, infrared: Tensor, visible_labels: Tensor, infrared_labels: Tensor
    ) -> None:
        assert isinstance(self.means, Tensor)
        self.means.copy_(torch.stack([visible.mean(0), infrared.mean(0)]))
        self.labels = (visible_labels, infrared_labels)


@dataclass(frozen=True, kw_only=True)
class JudgedConfig(DLISConfig):
    plan: tuple[tuple[int, tuple[OptimizerStep, ...]], ...] = ((3, BOTH),)

    def build(self, *, classes: int) -> Judged:
        built = Judged(self, classes=classes)
        BUILT.append(built)
        return built


@dataclass(frozen=True, kw_only=True)
class MeasuredConfig(DLISConfig):
    def build(self, *, classes: int) -> Measured:
        built = Measured(self, classes=classes)
        BUILT.append(built)
        return built


BUILT: list[Judged | Measured] = []


def of(run: Run, kind: type[DLISConfig], **options: object) -> Run:
    """The run with another method with the same options."""
    given = run.recipe.method
    assert isinstance(given, DLISConfig)
    fields = {f.name: getattr(given, f.name) for f in dataclasses.fields(given)}
    method = kind(**{**fields, **options})
    return replace(run, recipe=replace(run.recipe, method=method))


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
def test_each_step_moves_its_own_parameters_only(run: Run, tmp_path: Path) -> None:
    fit(of(run, JudgedConfig), tmp_path / "run", progress_bar=False)
    network = BUILT[-1]
    assert isinstance(network, Judged)
    assert [name for name, _ in network.seen[:4]] == ["judge", "people"] * 2
    last = ("judge", {k: v.detach() for k, v in network.named_parameters()})
    for (step, before), (_, after) in zip(network.seen, [*network.seen[1:], last], strict=True):
        moved = {name for name, p in after.items() if not torch.equal(p, before[name])}
        judges = {"judge.weight", "judge.bias"}
        assert moved
        assert moved <= judges if step == "judge" else not moved & judges
    lines = metrics(tmp_path / "run")
    assert set(lines[0]["terms"]) == {"verdict", "identity", "center", "wrong"}
    assert {"accuracy", "cosine_same", "verdict_size"} <= set(lines[0])
    # A constant gradient of 1 on the bias: Adam moves it by the rate of its own group.
    first, then = (parameters["judge.bias"] for _, parameters in network.seen[:2])
    assert (first - then).item() == pytest.approx(0.5, rel=1e-3)


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
def test_phases_follow_each_other_and_rates_restart(run: Run, tmp_path: Path) -> None:
    alone, people = BOTH[:1], BOTH[1:]
    phased = of(run, JudgedConfig, plan=((1, alone), (2, people)))
    optimisation = replace(run.recipe.optimisation, schedule="step", milestones=(1,))
    phased = replace(phased, recipe=replace(phased.recipe, optimisation=optimisation))
    fit(phased, tmp_path / "run", progress_bar=False)
    lines = metrics(tmp_path / "run")
    assert [set(line["terms"]) for line in lines] == [
        {"verdict"},
        {"identity", "center", "wrong"},
        {"identity", "center", "wrong"},
    ]
    assert ["accuracy" in line for line in lines] == [False, True, True]
    assert [line["lr"] for line in lines] == pytest.approx([0.5, 0.5, 0.05])


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
def test_phases_that_do_not_add_up(run: Run, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="do not add up to 3 epochs"):
        fit(of(run, JudgedConfig, plan=((1, BOTH),)), tmp_path / "run", progress_bar=False)


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
def test_fit_sees_every_training_image_unaugmented(run: Run, tmp_path: Path) -> None:
    measured = of(run, MeasuredConfig)
    out = fit(measured, tmp_path / "run", progress_bar=False)
    network = BUILT[-1]
    assert isinstance(network, Measured)
    assert isinstance(network.means, Tensor)
    records = run.data.open().train()
    classes = class_indices(records)
    network.eval()
    for row, modality in enumerate(Modality):
        own = [r for r in records if r.modality is modality]
        assert network.labels[row].tolist() == [classes[r.identity] for r in own]
        with torch.no_grad(), ImageStack(own, size=network.size) as stack:
            described = network.extract_features(normalise(stack.fetch(range(len(own)))), modality)
        torch.testing.assert_close(network.means[row], described.mean(0), rtol=1e-4, atol=1e-5)
    state, _, _ = RunFolder(out).read_model()
    assert torch.equal(state["means"], network.means)


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
def test_fit_does_not_change_training(run: Run, finished: Path, tmp_path: Path) -> None:
    out = fit(of(run, MeasuredConfig), tmp_path / "run", progress_bar=False)
    assert metrics(out) == metrics(finished)
    assert not same_run(out, finished)  # its model also holds the means
