"""Features in the official form of SYSU-MM01 score as evaluate() scores the same features."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.io import loadmat, savemat
from tests.helpers.matlab_files import FEATURES
from tests.helpers.trees import write_sysu

from vireid.data.layouts import SysuMM01
from vireid.errors import DatasetError, EvaluationError
from vireid.evaluation import Ranking, Settings, evaluate, protocols_for
from vireid.evaluation.official import SysuSplits, read_official
from vireid.evaluation.protocols import sysu_mm01_protocols
from vireid.types import Features, ImageRecord

OFFICIAL = Path(__file__).parents[3] / "shared" / "protocol" / "sysu_mm01"
EVERY = Settings(search=("all", "indoor"), shots=(1, 10), draw=("official", "seeded"))
NAME = "feat cam1 ü"

Cells = NDArray[Any]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Indoors identity 4 is never seen, so that its queries have no match in indoor-search.
    unseen = {(1, 3), (2, 5), (6, 2), (1, 4), (2, 4)}
    folder = tmp_path_factory.mktemp("tree") / "SYSU-MM01"
    return write_sysu(folder, train=[1], val=[7], test=[2, 3, 4, 5], images=11, unseen=unseen)


@pytest.fixture(scope="module")
def features(root: Path) -> Features:
    test = SysuMM01(root).test()
    rng = np.random.default_rng(0)
    values = rng.standard_normal((len(test), 6)) * rng.uniform(0.2, 5, (len(test), 1))
    return Features(values.astype(np.float32), test)


@pytest.fixture(scope="module")
def feature_folder(features: Features, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_features(tmp_path_factory.mktemp("feature_folder") / NAME, features)


def write_features(
    stem: Path, features: Features, *, form: Literal["column", "row"] = "column"
) -> Path:
    """Write features as the official README asks for, with empty cells for all other people."""
    people = int(features.identities.max())
    for camera in range(1, 7):
        cells = np.empty((people, 1) if form == "column" else (1, people), dtype=object)
        for identity in range(1, people + 1):
            rows = [
                row
                for row, record in enumerate(features.records)
                if (record.camera, record.identity) == (camera, identity)
            ]
            rows.sort(key=lambda row: features.records[row].path.name)
            cells.flat[identity - 1] = features.values[rows] if rows else np.zeros((0, 0))
        savemat(f"{stem}_cam{camera}.mat", {"feature": cells})
    return stem


class TestSplits:
    def test_images_are_those_of_the_data_set(self, root: Path) -> None:
        expected = [
            ImageRecord(r.path.relative_to(root), r.identity, r.camera, r.modality)
            for r in SysuMM01(root).test()
        ]
        assert sorted(SysuSplits.read(root / "exp").test()) == sorted(expected)

    def test_identities_as_matlab_file(self, root: Path, tmp_path: Path) -> None:
        for name in ("test_id.mat", "rand_perm_cam.mat"):
            shutil.copy(root / "exp" / name, tmp_path)
        found = SysuSplits.read(tmp_path)
        assert found.test() == SysuSplits.read(root / "exp").test()

    def test_files_missing(self, root: Path, tmp_path: Path) -> None:
        with pytest.raises(DatasetError, match=r"nowhere' does not exist.*--splits"):
            SysuSplits.read(tmp_path / "nowhere")
        with pytest.raises(DatasetError, match=r"test_id\.txt' does not exist"):
            SysuSplits.read(tmp_path)
        shutil.copy(root / "exp" / "test_id.txt", tmp_path)
        with pytest.raises(DatasetError, match=r"rand_perm_cam\.mat' does not exist"):
            SysuSplits.read(tmp_path)

    @pytest.mark.parametrize(
        "damage",
        [
            lambda cell: cell[:9],
            lambda cell: np.where(cell == 1, 2, cell),
            lambda cell: cell + 1,
        ],
    )
    def test_no_permutations(
        self, root: Path, tmp_path: Path, damage: Callable[[Cells], Cells]
    ) -> None:
        exp = shutil.copytree(root / "exp", tmp_path / "exp")
        table = loadmat(exp / "rand_perm_cam.mat")["rand_perm_cam"]
        table[4, 0][2, 0] = damage(table[4, 0][2, 0])
        savemat(exp / "rand_perm_cam.mat", {"rand_perm_cam": table})
        with pytest.raises(DatasetError, match="for camera 5, identity 3, that is not 10 perm"):
            SysuSplits.read(exp)

    def test_files_of_two_copies(self, root: Path, tmp_path: Path) -> None:
        exp = shutil.copytree(root / "exp", tmp_path / "exp")
        (exp / "test_id.txt").write_text("2,6,9")
        with pytest.raises(DatasetError, match="no permutations of the test identities '6', '9';"):
            SysuSplits.read(exp)


class TestFigures:
    @pytest.mark.parametrize("similarity", ["cosine", "euclidean"])
    def test_every_setting_is_bit_equal(
        self, root: Path, feature_folder: Path, features: Features, similarity: Any
    ) -> None:
        splits = SysuSplits.read(root / "exp")
        described = read_official(feature_folder, splits.test())
        ours = sysu_mm01_protocols(splits, EVERY)
        theirs = protocols_for(SysuMM01(root), EVERY)
        assert len(ours) == len(theirs) == 8
        ranking = Ranking(similarity=similarity)
        for one, other in zip(ours, theirs, strict=True):
            result = evaluate(described, one, ranking=ranking)
            assert result == evaluate(features, other, ranking=ranking)
            assert len(result.trials) == 10

    def test_rows_or_columns_of_cells(
        self, root: Path, feature_folder: Path, features: Features, tmp_path: Path
    ) -> None:
        across = write_features(tmp_path / "across", features, form="row")
        assert loadmat(f"{across}_cam1.mat")["feature"].shape == (1, 5)
        assert loadmat(f"{feature_folder}_cam1.mat")["feature"].shape == (5, 1)
        test = SysuSplits.read(root / "exp").test()
        one, other = read_official(feature_folder, test), read_official(across, test)
        assert one.records == other.records
        assert one.values.tobytes() == other.values.tobytes()

    def test_only_the_cameras_of_the_records_are_read(
        self, root: Path, feature_folder: Path, tmp_path: Path
    ) -> None:
        for camera in (1, 3):
            shutil.copy(f"{feature_folder}_cam{camera}.mat", tmp_path)
        test = SysuSplits.read(root / "exp").test()
        found = read_official(tmp_path / NAME, [r for r in test if r.camera in (1, 3)])
        assert set(found.cameras.tolist()) == {1, 3}


class TestWhatIsRefused:
    @pytest.fixture
    def stem(self, feature_folder: Path, tmp_path: Path) -> Path:
        for file in feature_folder.parent.iterdir():
            shutil.copy(file, tmp_path)
        return tmp_path / NAME

    @pytest.fixture(scope="class")
    @staticmethod
    def test(root: Path) -> tuple[ImageRecord, ...]:
        return SysuSplits.read(root / "exp").test()

    def test_camera_missing(self, stem: Path, test: tuple[ImageRecord, ...]) -> None:
        Path(f"{stem}_cam4.mat").unlink()
        with pytest.raises(EvaluationError, match=r"_cam4\.mat' is not a file; .*FOLDER/NAME"):
            read_official(stem, test)

    def test_version_of_matlab(self, stem: Path, test: tuple[ImageRecord, ...]) -> None:
        text = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, HDF5 schema 1.00 .".ljust(116)
        header = (text + bytes(8) + b"\x00\x02IM").ljust(512, b"\0")
        Path(f"{stem}_cam2.mat").write_bytes(header + b"\x89HDF\r\n\x1a\n" + bytes(500))
        with pytest.raises(EvaluationError, match=r"_cam2\.mat' .* has version 7\.3 .* '-v7'\)"):
            read_official(stem, test)

    def test_damaged(self, stem: Path, test: tuple[ImageRecord, ...]) -> None:
        path = Path(f"{stem}_cam1.mat")
        whole = path.read_bytes()
        for damaged in (b"", b"no MATLAB file", whole[: len(whole) // 2], FEATURES):
            path.write_bytes(damaged)
            with pytest.raises(EvaluationError, match=r"_cam1\.mat' cannot be read as a MATLAB"):
                read_official(stem, test)

    @pytest.mark.parametrize(
        ("contents", "told"),
        [
            ({"feature_folder": np.eye(2)}, "nothing"),
            ({"feature": np.eye(2)}, "an array of float64"),
        ],
    )
    def test_no_cell_array(
        self,
        stem: Path,
        test: tuple[ImageRecord, ...],
        contents: dict[str, Any],
        told: str,
    ) -> None:
        savemat(f"{stem}_cam1.mat", contents)
        with pytest.raises(EvaluationError, match=rf"contains {told} as 'feature'; expected"):
            read_official(stem, test)

    @pytest.mark.parametrize(
        "damage",
        [
            lambda cell: cell[:-1],
            lambda cell: cell.T,
            lambda cell: cell[:, :0],
            lambda cell: np.zeros((0, 0)),
            lambda cell: cell[:, None],
        ],
    )
    def test_images_and_rows_differ(
        self,
        stem: Path,
        test: tuple[ImageRecord, ...],
        damage: Callable[[Cells], Cells],
    ) -> None:
        cells = loadmat(f"{stem}_cam3.mat")["feature"]
        cells[3, 0] = damage(cells[3, 0])
        savemat(f"{stem}_cam3.mat", {"feature": cells})
        expected = r"feature\{4\} in '.*_cam3\.mat' is of type .*; expected 12 rows of numbers"
        with pytest.raises(EvaluationError, match=expected):
            read_official(stem, test)

    @pytest.mark.parametrize(
        ("damage", "told"),
        [
            (lambda cell: "text", "char"),
            (lambda cell: {"a": cell}, "struct"),
            (lambda cell: cell * 1j, "complex"),
        ],
    )
    def test_cells_of_other_classes(
        self,
        stem: Path,
        test: tuple[ImageRecord, ...],
        damage: Callable[[Cells], Cells],
        told: str,
    ) -> None:
        cells = loadmat(f"{stem}_cam3.mat")["feature"]
        cells[3, 0] = damage(cells[3, 0])
        expected = rf"_cam3\.mat' .* \(in cell 4, .* class '{told}'; expected real numbers\)"
        savemat(f"{stem}_cam3.mat", {"feature": cells})
        with pytest.raises(EvaluationError, match=expected):
            read_official(stem, test)
        savemat(f"{stem}_cam3.mat", {"feature": damage(np.eye(2))})
        with pytest.raises(EvaluationError, match=rf"\(an array is of the class '{told}'"):
            read_official(stem, test)

    def test_features_where_no_image_is(self, stem: Path, test: tuple[ImageRecord, ...]) -> None:
        cells = loadmat(f"{stem}_cam6.mat")["feature"]
        cells[1, 0] = np.eye(6)
        savemat(f"{stem}_cam6.mat", {"feature": cells})
        with pytest.raises(EvaluationError, match=r"feature\{2\} in .*_cam6.*; expected 0 rows"):
            read_official(stem, test)

    def test_fewer_cells_than_people(self, stem: Path, test: tuple[ImageRecord, ...]) -> None:
        cells = loadmat(f"{stem}_cam1.mat")["feature"]
        savemat(f"{stem}_cam1.mat", {"feature": cells[:4]})
        with pytest.raises(EvaluationError, match=r"feature\{5\} in .*_cam1.*; expected 12 rows"):
            read_official(stem, test)

    def test_lengths(self, stem: Path, test: tuple[ImageRecord, ...]) -> None:
        cells = loadmat(f"{stem}_cam5.mat")["feature"]
        cells[2, 0] = cells[2, 0][:, :4]
        savemat(f"{stem}_cam5.mat", {"feature": cells})
        expected = r"feature\{3\} in '.*_cam5\.mat' has 4 numbers a row, those before it 6"
        with pytest.raises(EvaluationError, match=expected):
            read_official(stem, test)

    @pytest.mark.parametrize("bad", [np.nan, 1e300])
    def test_not_finite(
        self, root: Path, stem: Path, test: tuple[ImageRecord, ...], bad: float
    ) -> None:
        cells = loadmat(f"{stem}_cam3.mat")["feature"]
        cells[3, 0] = cells[3, 0].astype(np.float64)
        cells[3, 0][1, 2] = bad
        savemat(f"{stem}_cam3.mat", {"feature": cells})
        (protocol,) = sysu_mm01_protocols(SysuSplits.read(root / "exp"), Settings())
        with pytest.raises(EvaluationError, match=r"NaN or infinity .*cam3/0004/0002\.jpg';"):
            evaluate(read_official(stem, test), protocol)


@pytest.mark.skipif(not OFFICIAL.is_dir(), reason="the official split files are not at ../shared")
def test_counts_of_the_official_files(tmp_path: Path) -> None:
    splits = SysuSplits.read(OFFICIAL)
    rng = np.random.default_rng(0)
    values = rng.standard_normal((len(splits.test()), 4)).astype(np.float32)
    stem = write_features(tmp_path / "random", Features(values, splits.test()))
    described = read_official(stem, splits.test())
    settings = Settings(search=("all", "indoor"), shots=(1, 10))
    counts = {}
    for protocol in sysu_mm01_protocols(splits, settings):
        assert len(protocol.trials) == 10
        result = evaluate(described, replace(protocol, trials=protocol.trials[:2]))
        assert result.at_chance
        counts[protocol.name] = {
            (t.queries, t.gallery, t.queries - t.unmatched) for t in result.trials
        }
    assert counts == {
        "SYSU-MM01 all-search single-shot": {(3803, 301, 3803)},
        "SYSU-MM01 all-search multi-shot (10)": {(3803, 3010, 3803)},
        "SYSU-MM01 indoor-search single-shot": {(3803, 112, 2208)},
        "SYSU-MM01 indoor-search multi-shot (10)": {(3803, 1120, 2208)},
    }
