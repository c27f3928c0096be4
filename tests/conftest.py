"""Settings of all tests, and runs that many of them share."""

import gc
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings
from tests.helpers.trees import write_sysu

from vireid.data.layouts import DataSource
from vireid.methods import Batch, DLISConfig, Optimisation, Recipe
from vireid.runs import Run
from vireid.training import fit

# Two cores shared with others: a slow example is no failure.
settings.register_profile("vireid", deadline=None)
settings.load_profile("vireid")


def pytest_collection_finish() -> None:
    """Exclude what is imported by now from garbage collections, which it makes slow."""
    gc.freeze()


RECIPE = Recipe(
    method=DLISConfig(
        backbone="mobilenet_v2",
        weights="none",
        size=(64, 32),
        stripes=2,
        dim=8,
        shared_from="layer2",
        center_reduction="mean",
    ),
    batch=Batch(identities=4, images=2),
    optimisation=Optimisation(optimizer="adam", lr=1e-3, backbone_lr=1e-3, epochs=3, clip=5.0),
)


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sysu(tmp_path_factory.mktemp("data") / "sysu", images=2)


@pytest.fixture(scope="session")
def run(tree: Path) -> Run:
    data = DataSource(layout="sysu-mm01", root=tree)
    return Run(name="dlis", recipe=RECIPE, data=data, seed=4, device="cpu")


@pytest.fixture(scope="session")
def finished(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run, uninterrupted."""
    return fit(run, tmp_path_factory.mktemp("runs") / "whole", progress_bar=False)


@pytest.fixture(scope="session")
def longer(run: Run) -> Run:
    """The same with more epochs, so that a kill reaches it in training."""
    optimisation = replace(run.recipe.optimisation, epochs=5)
    return replace(run, recipe=replace(run.recipe, optimisation=optimisation))


@pytest.fixture(scope="session")
def finished_longer(longer: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The longer run, uninterrupted."""
    return fit(longer, tmp_path_factory.mktemp("runs") / "whole", progress_bar=False)
