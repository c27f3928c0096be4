"""What every method keeps to: one suite over the whole catalogue."""

import copy
import shutil
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from tests.helpers.trees import write_sysu
from tests.training.test_loop import same_run

from vireid.data.layouts import DataSource
from vireid.methods import AnyMethod, Batch, Method, MethodConfig, Optimisation, Recipe, catalogue
from vireid.nn.two_stream import PerModality
from vireid.runs import Run, RunFolder
from vireid.training import fit
from vireid.training.batches import TrainingSet
from vireid.types import Modality

SIZE = (96, 48)
# A recipe a method; the other recipes of a method are the same network.
PUBLISHED = sorted(name for name in catalogue() if not name.endswith(("-cpu", "-strong")))
# What else is made small for the tests.
SMALLER: dict[str, dict[str, Any]] = {"d2rl": {"width": 8}}
# One path for both modalities: published as single networks.
ONE_PATH = {"cmgan", "mgn", "pcb"}


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sysu(tmp_path_factory.mktemp("data") / "sysu", images=1)


@dataclass(frozen=True)
class Trained:
    """A short run of a method.

    Attributes:
        run: What was trained.
        out: Its folder; it has all checkpoints.
        start: The network as it was before the first step.
        end: The network as the run left it.
    """

    run: Run
    out: Path
    start: Method
    end: Method


@pytest.fixture(scope="session")
def trained(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Trains a recipe once for all tests."""

    @cache
    def by_name(name: str) -> Trained:
        run = short(name, tree)
        torch.manual_seed(run.seed)
        start = run.recipe.method.build(classes=CLASSES)
        out = tmp_path_factory.mktemp("runs") / name
        fit(run, out, keep=9, progress_bar=False)
        state, classes, _ = RunFolder(out).read_model()
        assert classes == CLASSES
        end = run.recipe.method.build(classes=classes)
        end.load_state_dict(state)
        return Trained(run, out, start, end)

    return by_name


CLASSES = 5


def small(name: str) -> MethodConfig:
    """A method's options with a backbone and an input small enough for a test."""
    given: MethodConfig = catalogue()[name].recipe.method
    return replace(given, backbone="efficientnet_lite0", size=SIZE, **SMALLER.get(name, {}))


def short(name: str, tree: Path) -> Run:
    """A few steps, without weight decay: what moves is moved by a gradient."""
    recipe: Recipe[Any] = Recipe(
        method=small(name),
        batch=Batch(identities=4, images=2),
        augmentation=catalogue()[name].recipe.augmentation,
        optimisation=Optimisation(
            optimizer="adam", lr=1e-3, backbone_lr=1e-3, epochs=2, weight_decay=0.0, clip=20.0
        ),
    )
    data = DataSource(layout="sysu-mm01", root=tree)
    return Run(name=name, recipe=recipe, data=data, seed=3, device="cpu")


def images(count: int = 5) -> torch.Tensor:
    return torch.randn(count, 3, *SIZE, generator=torch.Generator().manual_seed(0))


def test_every_recipe_has_one_for_two_cores() -> None:
    names = set(catalogue())
    assert {n + "-cpu" for n in names if not n.endswith("-cpu")} | set(PUBLISHED) <= names
    for name in names:
        if name.endswith("-cpu"):
            method = catalogue()[name].recipe.method
            assert (method.backbone, method.size) == ("efficientnet_lite0", (144, 72))
            assert method.kind == catalogue()[name.removesuffix("-cpu")].recipe.method.kind


@pytest.mark.parametrize("name", sorted(catalogue()))
def test_options_survive_a_config_file(name: str) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(Recipe[AnyMethod])
    recipe = catalogue()[name].recipe
    assert adapter.validate_python(adapter.dump_python(recipe, mode="json")) == recipe


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_parameter_has_one_rate_and_a_turn(name: str) -> None:
    model = small(name).build(classes=CLASSES)
    groups = model.parameter_groups()
    assert {"backbone", "heads"} <= set(groups)
    assert set(groups) - {"backbone", "heads"} == set(model.group_lrs())
    grouped = [id(p) for group in groups.values() for p in group]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == {id(p) for p in model.parameters() if p.requires_grad}
    for epochs in (2, 3, 16, 60):
        stages = model.phases(epochs)
        assert sum(stage.epochs for stage in stages) == epochs
        assert all(stage.epochs > 0 and stage.steps for stage in stages)
        trained = {group for stage in stages for turn in stage.steps for group in turn.groups}
        assert trained == set(groups)


@pytest.mark.parametrize("name", PUBLISHED)
def test_training_moves_every_trainable_part(name: str, trained: Any) -> None:
    found = trained(name)
    before, after = found.start.state_dict(), found.end.state_dict()
    parts = {n for n, p in found.start.named_parameters() if p.requires_grad}
    assert parts
    assert [n for n in sorted(parts) if torch.equal(before[n], after[n])] == []


@pytest.mark.parametrize("name", PUBLISHED)
def test_resumed_is_the_same_to_the_last_bit(name: str, trained: Any, tmp_path: Path) -> None:
    found = trained(name)
    again = tmp_path / "again"
    shutil.copytree(found.out, again)
    (again / "model.safetensors").unlink()
    for later in sorted((again / "checkpoints").iterdir())[1:]:
        later.unlink()
    fit(found.run, again, resume=True, progress_bar=False)
    assert same_run(again, found.out)


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("modality", Modality)
def test_a_feature_is_a_unit_vector_of_its_image_alone(
    name: str, modality: Modality, trained: Any
) -> None:
    model = trained(name).end.eval()
    with torch.inference_mode():
        together = model.extract_features(images(), modality)
        again = model.extract_features(images(), modality)
        alone = torch.cat([model.extract_features(image[None], modality) for image in images()])
        plainly = model.extract_features(
            images().contiguous(memory_format=torch.channels_last), modality
        )
    assert together.dtype == torch.float32
    assert not torch.allclose(together[0], together[1], atol=1e-2)
    assert torch.equal(together, again)
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(together, plainly, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(together.norm(dim=1), torch.ones(5))


@pytest.mark.parametrize("name", PUBLISHED)
def test_each_modality_takes_its_own_path(name: str, trained: Any) -> None:
    model = copy.deepcopy(trained(name).end).eval()
    with torch.inference_mode():
        visible, infrared = (model.extract_features(images(), m) for m in Modality)
        assert torch.equal(visible, infrared) == (name in ONE_PATH)
        separate = [m for m in model.modules() if isinstance(m, PerModality) and m.separate]
        for part in separate:
            for parameter in part.infrared.parameters():
                parameter.mul_(-0.5)
        if separate:
            assert torch.equal(model.extract_features(images(), Modality.VISIBLE), visible)
            changed = model.extract_features(images(), Modality.INFRARED)
            assert not torch.allclose(changed, infrared, atol=1e-3)


@pytest.mark.parametrize("name", PUBLISHED)
def test_losses_are_finite_scalars_and_what_is_watched_is_detached(name: str, trained: Any) -> None:
    found = trained(name)
    model = copy.deepcopy(found.end).train()
    with TrainingSet(found.run) as data:
        batch = next(iter(data.batches(0, 0, lambda x: x)))
    told = []
    for stage in model.phases(2):
        for turn in stage.steps:
            losses = model.step_losses(batch, turn.name)
            assert losses.total.isfinite()
            assert all(term.ndim == 0 for term in losses.terms.values())
            watched = [losses.identity, losses.accuracy, losses.features, *losses.metrics.values()]
            told += [losses.features] if losses.features is not None else []
            assert not any(x.requires_grad for x in watched if x is not None)
    # One turn at least tells identities apart, of every image of the batch.
    assert told
    for features in told:
        assert len(features) == len(batch.visible) + len(batch.infrared)
        torch.testing.assert_close(features.norm(dim=1), torch.ones(len(features)))
