"""RegDB's ten published splits, read as lists of a tree that has all of its files."""

from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat

from vireid.data.layouts import RegDB
from vireid.evaluation import protocols_for
from vireid.types import Modality

STORED = Path(__file__).parents[3] / "shared" / "protocol" / "regdb" / "RegDB_split.mat"
PEOPLE, IMAGES = 412, 10


@pytest.fixture(scope="module")
def regdb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Empty files by the published counts, and the lists that the stored splits make."""
    root = tmp_path_factory.mktemp("RegDB")
    stored = loadmat(STORED)
    (root / "idx").mkdir()
    for folder in ("Visible", "Thermal"):
        for identity in range(1, PEOPLE + 1):
            (root / folder / str(identity)).mkdir(parents=True)
            for number in range(IMAGES):
                (root / folder / str(identity) / f"{number}.bmp").touch()
        for split, key in (("train", "TrainIdx"), ("test", "TestIdx")):
            for trial, row in enumerate(stored[key].astype(int).tolist(), 1):
                lines = [
                    f"{folder}/{identity}/{number}.bmp {label}\n"
                    for label, identity in enumerate(sorted(row))
                    for number in range(IMAGES)
                ]
                name = f"{split}_{folder.lower()}_{trial}.txt"
                (root / "idx" / name).write_text("".join(lines))
    return root


@pytest.mark.skipif(not STORED.is_file(), reason="the official split file is not at ../shared")
def test_ten_disjoint_halves(regdb: Path) -> None:
    stored = loadmat(STORED)
    assert RegDB(regdb).problems() == ()
    seen = set()
    for trial in range(1, 11):
        layout = RegDB(regdb, trial=trial)
        train, test = layout.train(), layout.test()
        halves = [{record.identity for record in half} for half in (train, test)]
        assert halves[0] == set(stored["TrainIdx"][trial - 1].astype(int).tolist())
        assert halves[1] == set(stored["TestIdx"][trial - 1].astype(int).tolist())
        assert not halves[0] & halves[1]
        assert halves[0] | halves[1] == set(range(1, PEOPLE + 1))
        assert len(halves[0]) == len(halves[1]) == 206
        seen.add(frozenset(halves[0]))
        for half in (train, test):
            for modality in Modality:
                assert sum(record.modality is modality for record in half) == 2060
    assert len(seen) == 10


@pytest.mark.skipif(not STORED.is_file(), reason="the official split file is not at ../shared")
def test_both_directions_have_the_published_sizes(regdb: Path) -> None:
    for protocol in protocols_for(RegDB(regdb, trial=7)):
        (trial,) = protocol.trials
        assert (len(trial.query), len(trial.gallery)) == (2060, 2060)
        counts = np.bincount(protocol.identities[trial.gallery])
        assert set(counts[counts > 0]) == {IMAGES}
