"""The contract of methods: ``pytest --pyargs vireid.testing.contract``.

Tests every method that plugins declare: those of installed packages, and of files in the
environment variable VIREID_PLUGINS. Each is trained for a few steps on tiny images; its network
gets a small backbone and an input of 96x48. Needs pytest.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter

from vireid.data.layouts import DataSource
from vireid.methods import AnyMethod, Batch, Method, MethodConfig, Optimisation, Recipe, catalogue
from vireid.plugins import plugins
from vireid.runs import Run, RunFolder
from vireid.testing.people import IDENTITIES, write_people
from vireid.testing.runs import same_run
from vireid.training import fit
from vireid.training.batches import TrainingSet
from vireid.types import Modality

SIZE = (96, 48)
"""Height and width of the input, in pixels."""


@dataclass(frozen=True)
class Trained:
    """A short run of a method.

    Attributes:
        run: What was trained.
        out: Its folder; it has all checkpoints.
        start: The network before the first step.
        end: The trained network.
    """

    run: Run
    out: Path
    start: Method
    end: Method


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test for the recipes that the module lists, or for those of plugins.

    The tests of a recipe follow one another and share its training.
    """
    if "recipe" in metafunc.fixturenames:
        known = catalogue()
        own = [name for name in plugins("methods") if name in known]
        metafunc.parametrize("recipe", getattr(metafunc.module, "RECIPES", own), scope="module")


def small(recipe: str, **changes: Any) -> MethodConfig:
    """A method's options with a backbone and an input small enough for a test.

    Args:
        recipe: The recipe's name.
        changes: Further options.
    """
    given: MethodConfig = catalogue()[recipe].recipe.method
    return replace(given, backbone="efficientnet_lite0", size=SIZE, **changes)


def images(count: int = 5) -> torch.Tensor:
    """Random images, ``[count, 3, H, W]``."""
    return torch.randn(count, 3, *SIZE, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def options(recipe: str) -> MethodConfig:
    """The options of the recipe's method, made small."""
    return small(recipe)


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images to train on."""
    return write_people(tmp_path_factory.mktemp("data") / "people")


@pytest.fixture(scope="module")
def trained(
    recipe: str, options: MethodConfig, people: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Trained]:
    """A few steps of the recipe, without weight decay; its files are removed afterwards."""
    chosen: Recipe[Any] = Recipe(
        method=options,
        batch=Batch(identities=4, images=2),
        augmentation=catalogue()[recipe].recipe.augmentation,
        optimisation=Optimisation(
            optimizer="adam", lr=1e-3, backbone_lr=1e-3, epochs=2, weight_decay=0.0, clip=20.0
        ),
    )
    data = DataSource(layout="manifest", root=people)
    run = Run(name=recipe, recipe=chosen, data=data, seed=3, device="cpu")
    torch.manual_seed(run.seed)
    start = options.build(classes=IDENTITIES)
    runs = tmp_path_factory.mktemp("runs")
    out = fit(run, runs / recipe, keep=9, progress_bar=False)
    state, classes, _ = RunFolder(out).read_model()
    assert classes == IDENTITIES
    end = options.build(classes=classes)
    end.load_state_dict(state)
    yield Trained(run, out, start, end)
    shutil.rmtree(runs)


def test_a_method_is_declared() -> None:
    """There is something to test."""
    assert plugins("methods"), (
        "no plugin declares a method: install its package, or set VIREID_PLUGINS=FILE.py"
    )


def test_options_survive_a_config_file(recipe: str) -> None:
    """config.yaml gives the same options, and those of the recipe for two CPU cores."""
    adapter: TypeAdapter[Any] = TypeAdapter(Recipe[AnyMethod])
    for name in (recipe, f"{recipe}-cpu"):
        given = catalogue()[name].recipe
        assert adapter.validate_python(adapter.dump_python(given, mode="json")) == given


def test_every_parameter_has_one_learning_rate_and_a_step(options: MethodConfig) -> None:
    """Each trainable parameter is in one group, and each group is trained in some step."""
    model = options.build(classes=IDENTITIES)
    groups = model.parameter_groups()
    assert {"backbone", "heads"} <= set(groups)
    assert set(groups) - {"backbone", "heads"} == set(model.group_lrs())
    grouped = [id(p) for group in groups.values() for p in group]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == {id(p) for p in model.parameters() if p.requires_grad}
    for epochs in (2, 3, 16, 60):
        phases = model.phases(epochs)
        assert sum(phase.epochs for phase in phases) == epochs
        assert all(phase.epochs > 0 and phase.steps for phase in phases)
        trained = {group for phase in phases for step in phase.steps for group in step.groups}
        assert trained == set(groups)


def test_training_moves_every_trainable_part(trained: Trained) -> None:
    """No parameter is without a gradient."""
    before, after = trained.start.state_dict(), trained.end.state_dict()
    parts = {name for name, p in trained.start.named_parameters() if p.requires_grad}
    assert parts
    assert [name for name in sorted(parts) if torch.equal(before[name], after[name])] == []


def test_resumed_is_the_same_to_the_last_bit(trained: Trained, tmp_path: Path) -> None:
    """A run that is resumed from its first checkpoint ends with the same bits."""
    again = tmp_path / "again"
    shutil.copytree(trained.out, again)
    (again / "model.safetensors").unlink()
    for later in sorted((again / "checkpoints").iterdir())[1:]:
        later.unlink()
    fit(trained.run, again, resume=True, progress_bar=False)
    assert same_run(again, trained.out)


@pytest.mark.parametrize("modality", Modality)
def test_a_feature_is_a_unit_vector_of_its_image_alone(
    modality: Modality, trained: Trained
) -> None:
    """A feature does not depend on the batch, on chance or on the memory format."""
    model = trained.end.eval()
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


def test_losses_are_finite_scalars_and_what_is_watched_is_detached(trained: Trained) -> None:
    """At least one step has the features of every image of the batch, as unit vectors."""
    model = copy.deepcopy(trained.end).train()
    with TrainingSet(trained.run) as data:
        batch = next(iter(data.batches(0, 0, lambda x: x)))
    watched_features = []
    for phase in model.phases(2):
        for step in phase.steps:
            losses = model.step_losses(batch, step.name)
            assert losses.total.isfinite()
            assert all(term.ndim == 0 for term in losses.terms.values())
            watched = [losses.identity, losses.accuracy, *losses.metrics.values()]
            watched_features += [losses.features] if losses.features is not None else []
            assert not any(x.requires_grad for x in watched if x is not None)
    assert watched_features
    for features in watched_features:
        assert len(features) == len(batch.visible) + len(batch.infrared)
        torch.testing.assert_close(features.norm(dim=1), torch.ones(len(features)))
