from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat
from tests.helpers.trees import write_regdb, write_sysu

from vireid.data.layouts import RegDB, SysuMM01
from vireid.errors import ConfigError, EvaluationError
from vireid.evaluation import Protocol, Settings, evaluate, protocols_for, validation
from vireid.evaluation.protocols import Draw, Search, sysu_mm01
from vireid.types import Features, ImageRecord, Modality

OFFICIAL = Path(__file__).parents[3] / "shared" / "protocol" / "sysu_mm01"


@pytest.fixture(scope="module")
def sysu(tmp_path_factory: pytest.TempPathFactory) -> SysuMM01:
    root = tmp_path_factory.mktemp("tree") / "cam 1 ü" / "SYSU-MM01"
    # Identity 4 is seen by cameras 2 and 3 only: its four queries have no match.
    unseen = {(1, 3), (2, 5), (6, 2), (1, 4), (4, 4), (5, 4), (6, 4)}
    tree = write_sysu(root, train=[1], val=[7, 8], test=[2, 3, 4, 5], images=11, unseen=unseen)
    return SysuMM01(tree)


def gallery(protocol: Protocol, trial: int) -> list[ImageRecord]:
    return [protocol.records[i] for i in protocol.trials[trial].gallery]


@pytest.mark.parametrize("search", ["all", "indoor"])
@pytest.mark.parametrize("shots", [1, 10])
@pytest.mark.parametrize("draw", ["official", "seeded"])
def test_sysu_structure(sysu: SysuMM01, search: Search, shots: int, draw: Draw) -> None:
    protocol = sysu_mm01(sysu, search=search, shots=10 if shots == 10 else 1, draw=draw)
    assert protocol.name.startswith(f"SYSU-MM01 {search}-search")
    assert ("multi-shot" in protocol.name) == (shots == 10)
    assert protocol.direction == "infrared to visible"
    assert draw in protocol.convention
    assert protocol.cmc == "identity"
    assert len(protocol.trials) == 10
    assert len(set(protocol.records)) == len(protocol.records)
    cameras = (1, 2, 4, 5) if search == "all" else (1, 2)
    cells = {(r.camera, r.identity) for r in sysu.test() if r.camera in cameras}
    for number, trial in enumerate(protocol.trials):
        queries = {protocol.records[i] for i in trial.query}
        assert queries == {r for r in sysu.test() if r.camera in (3, 6)}
        assert len(trial.query) == len(queries)
        shown = gallery(protocol, number)
        assert len(set(shown)) == len(shown)
        counts = dict.fromkeys(cells, 0)
        for record in shown:
            counts[record.camera, record.identity] += 1
        assert set(counts.values()) == {shots}


def test_official_draws_are_the_first_entries_of_the_permutations(sysu: SysuMM01) -> None:
    permutations = sysu.permutations()
    for shots in (1, 10):
        protocol = sysu_mm01(sysu, shots=10 if shots == 10 else 1)
        for number in range(10):
            shown: dict[tuple[int, int], set[str]] = {}
            for r in gallery(protocol, number):
                shown.setdefault((r.camera, r.identity), set()).add(r.path.name)
            for (camera, identity), found in shown.items():
                entries = permutations.of(camera, identity)[number, :shots].tolist()
                assert found == {f"{entry:04d}.jpg" for entry in entries}


def test_seeded_draws_are_those_of_the_common_code(sysu: SysuMM01) -> None:
    """Its steps by hand: seed, identities sorted, cameras in order, one choice each."""
    for search, cameras in (("all", (1, 2, 4, 5)), ("indoor", (1, 2))):
        protocol = sysu_mm01(sysu, search="all" if search == "all" else "indoor", draw="seeded")
        for trial in range(10):
            random.seed(trial)
            expected = []
            for identity in ("0002", "0003", "0004", "0005"):
                for camera in cameras:
                    folder = sysu.root / f"cam{camera}" / identity
                    if folder.is_dir():
                        files = sorted(str(path) for path in folder.iterdir())
                        expected.append(random.choice(files))
            assert sorted(str(r.path) for r in gallery(protocol, trial)) == sorted(expected)


def test_one_run_scores_every_setting_from_one_set_of_images(sysu: SysuMM01) -> None:
    settings = Settings(search=("all", "indoor"), shots=(1, 10), draw=("official", "seeded"))
    protocols = protocols_for(sysu, settings)
    assert len({(p.name, p.convention) for p in protocols}) == 8
    needed = {record for protocol in protocols for record in protocol.records}
    assert needed <= set(sysu.test())
    (default,) = protocols_for(sysu)
    assert (default.name, default.convention) == (protocols[0].name, protocols[0].convention)


def test_synthetic_people_are_named(tmp_path: Path) -> None:
    tree = write_regdb(tmp_path / "tree")
    (tree / "synvi.json").touch()
    assert {p.name for p in protocols_for(RegDB(tree))} == {"SynVI as RegDB trial 1"}
    sysu_tree = write_sysu(tmp_path / "sysu")
    (sysu_tree / "synvi.json").touch()
    (protocol,) = protocols_for(SysuMM01(sysu_tree))
    assert protocol.name == "SynVI as SYSU-MM01 all-search single-shot"


def test_camera_three_never_sees_camera_two(sysu: SysuMM01) -> None:
    (protocol,) = protocols_for(sysu)
    first = {camera: protocol.cameras.tolist().index(camera) for camera in range(1, 7)}
    rows = np.array([first[3], first[6], first[3]])
    mask = protocol.excluded(rows, np.array([first[camera] for camera in (1, 2, 4, 5)]))
    assert mask is not None
    none = [False] * 4
    assert mask.tolist() == [[False, True, False, False], none, [False, True, False, False]]


def test_queries_without_a_match_are_counted_and_named(sysu: SysuMM01) -> None:
    (protocol,) = protocols_for(sysu)
    values = np.random.default_rng(0).standard_normal((len(protocol.records), 8))
    result = evaluate(Features(values.astype(np.float32), protocol.records), protocol)
    assert {t.unmatched for t in result.trials} == {12}
    assert result.unmatched == tuple(f"cam3/0004/{n:04d}.jpg" for n in range(1, 13))
    assert "12 queries a trial have no match" in str(result)
    assert "'cam3/0004/0001.jpg', 'cam3/0004/0002.jpg'" in str(result)


def test_perfect_features_score_one_hundred(sysu: SysuMM01) -> None:
    (protocol,) = protocols_for(sysu)
    values = np.eye(6, dtype=np.float32)[[r.identity for r in protocol.records]]
    result = evaluate(Features(values, protocol.records), protocol)
    assert (result.cmc(1), result.mean_ap, result.mean_inp) == ((1, 0), (1, 0), (1, 0))


def test_validation_searches_the_identities_held_out(sysu: SysuMM01) -> None:
    held = SysuMM01(sysu.root, hold_out=True)
    protocol = validation(held)
    assert set(protocol.identities.tolist()) == {7, 8}
    assert len(protocol.trials) == 10
    assert {len(trial.gallery) for trial in protocol.trials} == {8}
    assert protocol.excluded_cameras == ((3, 2),)
    assert not {r.identity for r in protocol.records} & {r.identity for r in held.test()}
    with pytest.raises(EvaluationError, match=r"holds out 0 infrared .* --hold-out"):
        validation(sysu)


def test_regdb_both_directions(tmp_path: Path) -> None:
    forth, back = protocols_for(RegDB(write_regdb(tmp_path / "RegDB", identities=4), trial=2))
    assert (forth.direction, back.direction) == ("visible to thermal", "thermal to visible")
    assert forth.name == back.name == "RegDB trial 2"
    assert forth.cmc == back.cmc == "image"
    assert forth.excluded(np.array([0]), np.array([7])) is None
    for protocol, modality in ((forth, Modality.VISIBLE), (back, Modality.INFRARED)):
        (trial,) = protocol.trials
        assert len(trial.query) == len(trial.gallery) == 6
        assert {protocol.records[i].modality for i in trial.query} == {modality}
        assert {protocol.records[i].modality for i in trial.gallery} == {modality.other}
        assert len({r.identity for r in protocol.records}) == 2


@pytest.mark.parametrize(
    ("settings", "flag"),
    [
        (Settings(shots=(10,)), "--shots"),
        (Settings(search=("indoor",)), "--search"),
        (Settings(draw=("official", "seeded")), "--draw"),
    ],
)
def test_draws_of_sysu_are_refused_elsewhere(tmp_path: Path, settings: Settings, flag: str) -> None:
    layout = RegDB(write_regdb(tmp_path), trial=1)
    with pytest.raises(ConfigError, match=f"{flag} applies to SYSU-MM01, but '.*regdb.*remove it"):
        protocols_for(layout, settings)


def test_own_camera_is_excluded_with_its_identity_only() -> None:
    seen = ((5, 1), (5, 2), (6, 1))
    records = [
        ImageRecord(Path(f"/{modality}/{identity}/{camera}.jpg"), identity, camera, modality)
        for modality in (Modality.INFRARED, Modality.VISIBLE)
        for identity, camera in seen
    ]
    protocol = Protocol.of(
        [(records[:3], records[3:])],
        name="p",
        direction="d",
        convention="c",
        cmc="identity",
        excludes_own_camera=True,
    )
    (trial,) = protocol.trials
    mask = protocol.excluded(trial.query, trial.gallery)
    assert mask is not None
    for i, q in enumerate(trial.query):
        for j, g in enumerate(trial.gallery):
            one, other = protocol.records[q], protocol.records[g]
            same = one.identity == other.identity and one.camera == other.camera
            assert mask[i, j] == same


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> SysuMM01:
    """The published test set with empty files for images."""
    root = tmp_path_factory.mktemp("official")
    listed = [int(i) for i in (OFFICIAL / "test_id.txt").read_text().strip().split(",")]
    cells = loadmat(OFFICIAL / "rand_perm_cam.mat")["rand_perm_cam"]
    for camera in range(1, 7):
        for identity in listed:
            cell = cells[camera - 1, 0].flat[identity - 1]
            if not cell.size:
                continue
            folder = root / f"cam{camera}" / f"{identity:04d}"
            folder.mkdir(parents=True)
            for number in range(1, cell.shape[1] + 1):
                (folder / f"{number:04d}.jpg").touch()
    (root / "exp").mkdir()
    for name in ("test_id.txt", "train_id.txt", "val_id.txt", "rand_perm_cam.mat"):
        (root / "exp" / name).write_bytes((OFFICIAL / name).read_bytes())
    return SysuMM01(root)


@pytest.mark.skipif(not OFFICIAL.is_dir(), reason="the official split files are not at ../shared")
class TestOfficialFiles:
    @pytest.mark.parametrize("draw", ["official", "seeded"])
    @pytest.mark.parametrize(
        ("search", "shots", "images", "people", "unmatched"),
        [
            ("all", 1, 301, 96, 0),
            ("all", 10, 3010, 96, 0),
            ("indoor", 1, 112, 56, 3803 - 2208),
            ("indoor", 10, 1120, 56, 3803 - 2208),
        ],
    )
    def test_counts(
        self,
        official: SysuMM01,
        draw: Draw,
        search: Search,
        shots: int,
        images: int,
        people: int,
        unmatched: int,
    ) -> None:
        protocol = sysu_mm01(official, search=search, shots=10 if shots == 10 else 1, draw=draw)
        cameras, identities = protocol.cameras, protocol.identities
        for trial in protocol.trials:
            assert (len(trial.query), len(trial.gallery)) == (3803, images)
            assert set(cameras[trial.query]) == {3, 6}
            assert set(cameras[trial.gallery]) == ({1, 2, 4, 5} if search == "all" else {1, 2})
            assert len(set(identities[trial.query])) == 96
            assert len(set(identities[trial.gallery])) == people
        trial = protocol.trials[0]
        excluded = protocol.excluded(trial.query, trial.gallery)
        assert excluded is not None
        same = identities[trial.query][:, None] == identities[trial.gallery]
        assert np.count_nonzero(~(same & ~excluded).any(axis=1)) == unmatched
        if shots == 1:
            seen = images - excluded.sum(axis=1)
            assert set(seen[cameras[trial.query] == 3]) == {245 if search == "all" else 56}
            assert set(seen[cameras[trial.query] == 6]) == {images}

    def test_chance_level(self, official: SysuMM01) -> None:
        (protocol,) = protocols_for(official)
        rng = np.random.default_rng(0)
        values = rng.standard_normal((len(protocol.records), 64)).astype(np.float32)
        result = evaluate(Features(values, protocol.records), protocol)
        chance = result.chance
        # The facts' 0.82 / 2.94 / 1.63 % are one random draw; the exact values are these.
        assert 100 * chance.cmc[0] == pytest.approx(1.04, abs=0.005)
        assert 100 * chance.mean_ap == pytest.approx(2.94, abs=0.005)
        assert 100 * chance.mean_inp == pytest.approx(1.66, abs=0.005)
        # Three standard errors of one draw with 3,803 queries.
        assert 100 * chance.cmc[0] == pytest.approx(0.82, abs=3 * 0.165)
        assert 100 * chance.mean_inp == pytest.approx(1.63, abs=0.1)
        # And random features land there, in every column.
        assert result.at_chance
        assert {t.unmatched for t in result.trials} == {0}
        for rank in (1, 5, 10, 20):
            mean, std = result.cmc(rank)
            assert mean == pytest.approx(chance.cmc[rank - 1], abs=4 * std / 10**0.5)
