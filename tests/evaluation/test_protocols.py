from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat
from tests.helpers.trees import write_regdb, write_sysu

from vireid.data.layouts import RegDB, SysuMM01
from vireid.errors import EvaluationError
from vireid.evaluation import evaluate, protocols_for
from vireid.types import Descriptors, ImageRecord, Modality

OFFICIAL = Path(__file__).parents[3] / "shared" / "protocol" / "sysu_mm01"


@pytest.fixture(scope="module")
def sysu(tmp_path_factory: pytest.TempPathFactory) -> SysuMM01:
    root = tmp_path_factory.mktemp("tree") / "cam 1 ü" / "SYSU-MM01"
    # Identity 4 is seen by cameras 2 and 3 only: its four queries have no match.
    unseen = {(1, 3), (2, 5), (6, 2), (1, 4), (4, 4), (5, 4), (6, 4)}
    return SysuMM01(write_sysu(root, train=[1], val=[7], test=[2, 3, 4, 5], unseen=unseen))


def test_sysu_structure(sysu: SysuMM01) -> None:
    (protocol,) = protocols_for(sysu)
    assert protocol.name == "SYSU-MM01 all-search single-shot"
    assert protocol.direction == "infrared to visible"
    assert "official" in protocol.convention
    assert protocol.cmc == "identity"
    assert len(protocol.trials) == 10
    assert len(set(protocol.records)) == len(protocol.records)
    expected_queries = {r for r in sysu.test() if r.camera in (3, 6)}
    used = set()
    for number, trial in enumerate(protocol.trials):
        queries = [protocol.records[i] for i in trial.query]
        gallery = [protocol.records[i] for i in trial.gallery]
        used |= set(queries) | set(gallery)
        assert set(queries) == expected_queries
        assert len(queries) == len(expected_queries)
        cells = {(r.camera, r.identity) for r in sysu.test() if r.camera in (1, 2, 4, 5)}
        assert {(r.camera, r.identity) for r in gallery} == cells
        assert len(gallery) == len(cells)
        for record in gallery:
            entry = int(sysu.permutations().of(record.camera, record.identity)[number, 0])
            assert record.path.name == f"{entry:04d}.jpg"
    assert used == set(protocol.records)


def test_camera_three_never_sees_camera_two(sysu: SysuMM01) -> None:
    (protocol,) = protocols_for(sysu)
    mask = protocol.excluded(np.array([3, 6, 3]), np.array([1, 2, 4, 5]))
    assert mask is not None
    none = [False] * 4
    assert mask.tolist() == [[False, True, False, False], none, [False, True, False, False]]


def test_identity_seen_by_cameras_two_and_three_has_no_match(sysu: SysuMM01) -> None:
    (protocol,) = protocols_for(sysu)
    values = np.random.default_rng(0).standard_normal((len(protocol.records), 8))
    result = evaluate(Descriptors(values.astype(np.float32), protocol.records), protocol)
    assert {t.unmatched for t in result.trials} == {4}


def test_perfect_descriptors_score_one_hundred(sysu: SysuMM01) -> None:
    (protocol,) = protocols_for(sysu)
    values = np.eye(6, dtype=np.float32)[[r.identity for r in protocol.records]]
    result = evaluate(Descriptors(values, protocol.records), protocol)
    assert (result.cmc(1), result.mean_ap, result.mean_inp) == ((1, 0), (1, 0), (1, 0))


def test_regdb_both_directions(tmp_path: Path) -> None:
    forth, back = protocols_for(RegDB(write_regdb(tmp_path / "RegDB", identities=4), trial=2))
    assert (forth.direction, back.direction) == ("visible to thermal", "thermal to visible")
    assert forth.name == back.name == "RegDB trial 2"
    assert forth.cmc == back.cmc == "image"
    assert forth.excluded(np.array([1]), np.array([2])) is None
    for protocol, modality in ((forth, Modality.VISIBLE), (back, Modality.INFRARED)):
        (trial,) = protocol.trials
        assert len(trial.query) == len(trial.gallery) == 6
        assert {protocol.records[i].modality for i in trial.query} == {modality}
        assert {protocol.records[i].modality for i in trial.gallery} == {modality.other}
        assert len({r.identity for r in protocol.records}) == 2


@dataclass(frozen=True)
class Unknown:
    name: str = "market-1501"
    root: Path = Path()

    def train(self) -> tuple[ImageRecord, ...]:
        return ()

    def test(self) -> tuple[ImageRecord, ...]:
        return ()

    def describe(self) -> str:
        return ""


def test_unknown_layout() -> None:
    with pytest.raises(EvaluationError, match="market-1501"):
        protocols_for(Unknown())


@pytest.mark.skipif(not OFFICIAL.is_dir(), reason="the official split files are not at ../shared")
def test_official_structure_and_its_chance_level(tmp_path: Path) -> None:
    listed = [int(i) for i in (OFFICIAL / "test_id.txt").read_text().strip().split(",")]
    cells = loadmat(OFFICIAL / "rand_perm_cam.mat")["rand_perm_cam"]
    for camera in range(1, 7):
        for identity in listed:
            cell = cells[camera - 1, 0].flat[identity - 1]
            if not cell.size:
                continue
            folder = tmp_path / f"cam{camera}" / f"{identity:04d}"
            folder.mkdir(parents=True)
            for number in range(1, cell.shape[1] + 1):
                (folder / f"{number:04d}.jpg").touch()
    (tmp_path / "exp").mkdir()
    for name in ("test_id.txt", "train_id.txt", "val_id.txt", "rand_perm_cam.mat"):
        (tmp_path / "exp" / name).write_bytes((OFFICIAL / name).read_bytes())

    (protocol,) = protocols_for(SysuMM01(tmp_path))
    cameras = np.array([r.camera for r in protocol.records])
    for trial in protocol.trials:
        assert (len(trial.query), len(trial.gallery)) == (3803, 301)
        excluded = protocol.excluded(cameras[trial.query], cameras[trial.gallery])
        assert excluded is not None
        seen = 301 - excluded.sum(axis=1)
        assert set(seen[cameras[trial.query] == 3]) == {245}
        assert set(seen[cameras[trial.query] == 6]) == {301}

    rng = np.random.default_rng(0)
    values = rng.standard_normal((len(protocol.records), 64)).astype(np.float32)
    result = evaluate(Descriptors(values, protocol.records), protocol)
    chance = result.chance
    # The facts' 0.82 / 2.94 / 1.63 % are one random draw; the exact values are these.
    assert 100 * chance.cmc[0] == pytest.approx(1.04, abs=0.005)
    assert 100 * chance.mean_ap == pytest.approx(2.94, abs=0.005)
    assert 100 * chance.mean_inp == pytest.approx(1.66, abs=0.005)
    # Three standard errors of one draw with 3,803 queries.
    assert 100 * chance.cmc[0] == pytest.approx(0.82, abs=3 * 0.165)
    assert 100 * chance.mean_inp == pytest.approx(1.63, abs=0.1)
    # And random descriptors land there, in every column.
    assert result.at_chance
    assert {t.unmatched for t in result.trials} == {0}
    for rank in (1, 5, 10, 20):
        mean, std = result.cmc(rank)
        assert mean == pytest.approx(chance.cmc[rank - 1], abs=4 * std / 10**0.5)
