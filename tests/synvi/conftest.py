"""Small trees, rendered once for all tests."""

from pathlib import Path

import pytest

from vireid.synvi import Preset, render

TINY = Preset("tiny", train=2, val=1, test=2, images=(1, 1, 2, 1, 1, 2), scale=0.45)
TINY_REGDB = Preset("tiny", train=2, val=0, test=2, images=(2, 2))
TINY_WORLDS = Preset("tiny", 2, 2, 2, (1, 1, 1, 1, 1, 1), scale=0.4, oversampling=1, people=2)
SEED = 11


@pytest.fixture(scope="session")
def sysu_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree in SYSU-MM01 form, rendered in this process."""
    out = tmp_path_factory.mktemp("synvi") / "sysu"
    render(out, preset=TINY, seed=SEED, workers=1)
    return out


@pytest.fixture(scope="session")
def regdb_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree in RegDB form."""
    out = tmp_path_factory.mktemp("synvi") / "regdb"
    render(out, layout="regdb", preset=TINY_REGDB, seed=SEED, workers=1)
    return out


@pytest.fixture(scope="session")
def tiny() -> Preset:
    """The preset of `sysu_tree`."""
    return TINY


@pytest.fixture(scope="session")
def seed() -> int:
    """The seed of both trees."""
    return SEED


@pytest.fixture(scope="session")
def worlds_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree of three worlds, one for each split."""
    out = tmp_path_factory.mktemp("synvi") / "worlds"
    render(out, layout="worlds", preset=TINY_WORLDS, seed=SEED, workers=1)
    return out
