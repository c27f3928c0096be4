"""Layouts on tiny trees in the true form: what is read, and how every planted fault is named."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat, savemat
from tests.helpers.trees import copy, counted, write_regdb, write_sysu

from vireid.data.layouts import DataSource, Layout, RegDB, SysuMM01
from vireid.data.layouts.sysu_mm01 import CAMERAS
from vireid.errors import ConfigError, DatasetError
from vireid.types import ImageRecord, Modality

OFFICIAL = Path(__file__).parents[3] / "shared" / "protocol" / "sysu_mm01"
UNSEEN = ((1, 3), (2, 3), (4, 7))


@pytest.fixture(scope="module")
def sysu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # The path is part of the test: nothing may be parsed from above the root.
    return write_sysu(tmp_path_factory.mktemp("x") / "cam3 Bilder für 行人" / "SYSU", unseen=UNSEEN)


@pytest.fixture(scope="module")
def regdb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_regdb(tmp_path_factory.mktemp("x") / "cam1 Thermal 285 é" / "RegDB")


def refused(action: Callable[[], object]) -> str:
    """The message of a DatasetError: one sentence, or it would not be what the house promises."""
    with pytest.raises(DatasetError) as caught:
        action()
    message = str(caught.value)
    assert message.endswith(".")
    assert "; expected" in message
    assert "\n" not in message
    return message


def by_camera(records: tuple[ImageRecord, ...]) -> dict[int, set[int]]:
    return {c: {r.identity for r in records if r.camera == c} for c in range(1, 7)}


class TestDataSource:
    def test_by_name(self, sysu: Path, regdb: Path) -> None:
        first: Layout = DataSource(layout="sysu-mm01", root=sysu, hold_out=True).open()
        second: Layout = DataSource(layout="regdb", root=regdb, trial=2).open()
        assert (first.name, first.root, first) == ("sysu-mm01", sysu, SysuMM01(sysu, hold_out=True))
        assert (second.name, second.root, second) == ("regdb", regdb, RegDB(regdb, trial=2))

    def test_what_has_no_validation_identities_holds_none_out(self, regdb: Path) -> None:
        with pytest.raises(ConfigError, match="--hold-out` does not apply to the layout regdb"):
            DataSource(layout="regdb", root=regdb, hold_out=True).open()

    def test_an_unknown_name_is_quoted(self, sysu: Path) -> None:
        with pytest.raises(ConfigError, match="'market' is unknown"):
            DataSource(layout="market", root=sysu).open()


class TestSysuMM01:
    def test_cameras_and_identities(self, sysu: Path) -> None:
        layout = SysuMM01(sysu)
        assert by_camera(layout.train()) == {
            camera: {1, 2, 5, 7, 8} - ({7} if camera == 4 else set()) for camera in CAMERAS
        }
        assert by_camera(layout.test()) == {
            camera: {10} if camera in (1, 2) else {3, 10} for camera in CAMERAS
        }

    def test_validation_identities_are_held_out_on_request(self, sysu: Path) -> None:
        whole, held = SysuMM01(sysu), SysuMM01(sysu, hold_out=True)
        assert {r.identity for r in whole.train()} == {1, 2, 5, 7, 8}
        assert whole.val() == ()
        assert {r.identity for r in held.train()} == {1, 2, 5}
        assert {r.identity for r in held.val()} == {7, 8}
        assert sorted(held.train() + held.val()) == sorted(whole.train())

    def test_records_are_the_files_in_order(self, sysu: Path) -> None:
        records = SysuMM01(sysu).test()
        expected = [
            (sysu / f"cam{camera}" / f"{identity:04d}" / f"{number:04d}.jpg", identity, camera)
            for camera in range(1, 7)
            for identity in (3, 10)
            if (camera, identity) not in UNSEEN
            for number in range(1, 4 + camera % 2)
        ]
        assert [(r.path, r.identity, r.camera) for r in records] == expected
        assert all(r.path.is_file() for r in records)
        infrared = {r.camera for r in records if r.modality is Modality.INFRARED}
        assert infrared == {3, 6}

    def test_the_order_does_not_follow_the_file_system(
        self, sysu: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        expected = SysuMM01(sysu).train()
        listing = Path.iterdir
        monkeypatch.setattr(Path, "iterdir", lambda p: iter(sorted(listing(p), reverse=True)))
        assert SysuMM01(sysu).train() == expected

    def test_strangers_among_the_images_are_passed_over(self, sysu: Path, tmp_path: Path) -> None:
        root = copy(sysu, tmp_path / "SYSU")
        for name in ("Thumbs.db", ".DS_Store", "._0001.jpg"):
            (root / "cam1" / "0010" / name).write_bytes(b"x")
        (root / "cam1" / "0999").mkdir()
        names = [r.path.relative_to(root) for r in SysuMM01(root).test()]
        assert names == [r.path.relative_to(sysu) for r in SysuMM01(sysu).test()]

    def test_upper_case_endings_are_images_too(self, sysu: Path, tmp_path: Path) -> None:
        root = copy(sysu, tmp_path / "SYSU")
        (root / "cam1/0010/0001.jpg").rename(root / "cam1/0010/0001.JPG")
        assert len(SysuMM01(root).test()) == len(SysuMM01(sysu).test())

    def test_counts(self, sysu: Path) -> None:
        # Train: cameras 1, 5 have 4 images of 5 identities, 2 has 3 of 5, 4 has 3 of 4.
        assert counted(SysuMM01(sysu).train()) == (5, 67, 35)
        assert counted(SysuMM01(sysu).test()) == (2, 21, 14)

    def test_lists_of_matlab_stand_in(self, sysu: Path, tmp_path: Path) -> None:
        root = copy(sysu, tmp_path / "SYSU")
        for path in (root / "exp").glob("*_id.txt"):
            path.unlink()
        for split in ("train", "val", "test"):
            assert SysuMM01(root).identities(split) == SysuMM01(sysu).identities(split)

    @pytest.mark.parametrize("text", ["10, 3\r\n", "﻿3,10,\n\n", "3\n10\n", "10,3,3"])
    def test_lists_as_editors_leave_them(self, sysu: Path, tmp_path: Path, text: str) -> None:
        root = copy(sysu, tmp_path / "SYSU")
        (root / "exp/test_id.txt").write_text(text, encoding="utf-8", newline="")
        assert SysuMM01(root).identities("test") == (3, 10)

    def test_permutations_are_those_of_the_file(self, sysu: Path) -> None:
        permutations = SysuMM01(sysu).permutations()
        table = loadmat(sysu / "exp/rand_perm_cam.mat")["rand_perm_cam"]
        seen = {(r.camera, r.identity) for r in SysuMM01(sysu).test() + SysuMM01(sysu).train()}
        assert set(permutations.cells) == seen
        for camera, identity in seen:
            rows = permutations.of(camera, identity)
            assert rows.dtype == np.int64
            np.testing.assert_array_equal(rows, table[camera - 1, 0][identity - 1, 0])
            assert rows.shape == (10, 3 + camera % 2)
        with pytest.raises(DatasetError, match="camera 1, identity 3"):
            permutations.of(1, 3)


class TestSysuMM01Faults:
    @pytest.fixture
    def root(self, sysu: Path, tmp_path: Path) -> Path:
        return copy(sysu, tmp_path / "cam2 SYSU")

    def test_no_root(self, root: Path) -> None:
        message = refused(lambda: SysuMM01(root / "nowhere"))
        assert f"'{root / 'nowhere'}' does not exist" in message
        assert "as root" in message

    def test_root_is_a_file(self, root: Path) -> None:
        assert "is a file" in refused(lambda: SysuMM01(root / "exp/test_id.txt"))

    def test_no_exp(self, root: Path) -> None:
        shutil.rmtree(root / "exp")
        message = refused(lambda: SysuMM01(root))
        assert f"'{root / 'exp'}' does not exist" in message
        assert "from its authors" in message
        assert "github.com/wuancong/SYSU-MM01" in message

    def test_arrays_only(self, tmp_path: Path) -> None:
        np.save(tmp_path / "train_rgb_resized_img.npy", np.zeros(1))
        message = refused(lambda: SysuMM01(tmp_path))
        assert "'train_rgb_resized_img.npy'" in message
        assert "cam1 to cam6" in message
        assert "the layout sysu-mm01-npy" in message

    def test_arrays_beside_the_images_do_no_harm(self, root: Path) -> None:
        np.save(root / "train_rgb_resized_img.npy", np.zeros(1))
        assert SysuMM01(root).test()

    def test_missing_cameras(self, root: Path) -> None:
        shutil.rmtree(root / "cam4")
        shutil.rmtree(root / "cam6")
        assert "has no 'cam4', 'cam6';" in refused(lambda: SysuMM01(root))

    def test_no_list(self, root: Path) -> None:
        for path in (root / "exp").glob("val_id.*"):
            path.unlink()
        message = refused(SysuMM01(root).train)
        assert str(root / "exp" / "val_id.txt") in message
        assert "github.com/wuancong/SYSU-MM01" in message
        assert SysuMM01(root, hold_out=True).train()

    @pytest.mark.parametrize("text", ["1,two,5", "1,-2,5", "1,2.0,5", "1,²,5"])
    def test_a_list_of_something_else(self, root: Path, text: str) -> None:
        (root / "exp/train_id.txt").write_text(text, encoding="utf-8")
        message = refused(SysuMM01(root).train)
        assert f"holds '{text.split(',')[1]}'" in message
        assert "train_id.txt" in message

    def test_an_empty_list(self, root: Path) -> None:
        (root / "exp/test_id.txt").write_text("\n")
        message = refused(SysuMM01(root).test)
        assert "test_id.txt' lists 0 identities" in message

    def test_a_damaged_matlab_list(self, root: Path) -> None:
        (root / "exp/test_id.txt").unlink()
        (root / "exp/test_id.mat").write_bytes(b"not MATLAB")
        assert "test_id.mat' cannot be read" in refused(SysuMM01(root).test)
        savemat(root / "exp/test_id.mat", {"ids": [1]})
        assert "no variable 'id'" in refused(SysuMM01(root).test)

    def test_identities_without_images(self, root: Path) -> None:
        (root / "exp/test_id.txt").write_text("3,10,41,42,43,44")
        for camera in CAMERAS:
            (root / f"cam{camera}" / "0041").mkdir()
        message = refused(SysuMM01(root).test)
        assert "4 listed identities: '0041', '0042', '0043' and 1 more" in message
        assert "'0044'" not in message

    @pytest.mark.parametrize("modality", Modality)
    def test_an_empty_modality(self, root: Path, modality: Modality) -> None:
        for camera, own in CAMERAS.items():
            if own is modality:
                shutil.rmtree(root / f"cam{camera}")
                (root / f"cam{camera}").mkdir()
        for action, split in ((SysuMM01(root).train, "train"), (SysuMM01(root).test, "test")):
            message = refused(action)
            assert f"has 0 {modality} images" in message
            assert f"The {split}" in message

    def test_a_shared_identity(self, root: Path) -> None:
        (root / "exp/val_id.txt").write_text("7,10")
        assert "identities '10' for training" in refused(SysuMM01(root).train)

    def test_no_permutations(self, root: Path) -> None:
        (root / "exp/rand_perm_cam.mat").unlink()
        message = refused(SysuMM01(root).permutations)
        assert "rand_perm_cam.mat' does not exist" in message
        assert "github.com/wuancong/SYSU-MM01" in message

    def test_a_missing_image_of_a_test_identity(self, root: Path) -> None:
        (root / "cam4/0010/0002.jpg").unlink()
        message = refused(SysuMM01(root).permutations)
        assert f"'{root / 'cam4' / '0010'}' holds 2 .jpg images" in message
        assert "(10, 3)" in message

    def test_a_missing_folder_of_a_test_identity(self, root: Path) -> None:
        shutil.rmtree(root / "cam5/0003")
        message = refused(SysuMM01(root).permutations)
        assert f"'{root / 'cam5' / '0003'}' holds 0 .jpg images" in message

    def test_images_without_a_permutation(self, root: Path) -> None:
        shutil.copytree(root / "cam1/0010", root / "cam1/0003")
        message = refused(SysuMM01(root).permutations)
        assert f"'{root / 'cam1' / '0003'}' holds 4 .jpg images" in message
        assert "(10, 0)" in message

    def test_a_missing_image_of_a_training_identity_is_no_matter(self, root: Path) -> None:
        (root / "cam4/0001/0002.jpg").unlink()
        assert (4, 1) in SysuMM01(root).permutations().cells

    def test_a_row_that_is_no_permutation(self, root: Path) -> None:
        path = root / "exp/rand_perm_cam.mat"
        table = loadmat(path)["rand_perm_cam"]
        table[3, 0][9, 0][7] = [1, 1, 3]
        savemat(path, {"rand_perm_cam": table})
        assert f"'{root / 'cam4' / '0010'}' that is not a permutation" in refused(
            SysuMM01(root).permutations
        )

    @pytest.mark.parametrize(
        "damage",
        [
            lambda path: path.write_bytes(path.read_bytes()[:300]),
            lambda path: path.write_bytes(b""),
            lambda path: savemat(path, {"rand_perm": [1]}),
            lambda path: savemat(path, {"rand_perm_cam": np.ones((6, 1))}),
            lambda path: savemat(path, {"rand_perm_cam": "six"}),
        ],
        ids=["truncated", "empty", "other key", "no cells", "text"],
    )
    def test_damaged_permutations(self, root: Path, damage: Callable[[Path], object]) -> None:
        damage(root / "exp/rand_perm_cam.mat")
        assert str(root / "exp" / "rand_perm_cam.mat") in refused(SysuMM01(root).permutations)


class TestRegDB:
    def test_every_listed_image_once(self, regdb: Path) -> None:
        for trial in (1, 2):
            layout = RegDB(regdb, trial=trial)
            train, test = layout.train(), layout.test()
            everything = train + test
            assert len(train) == len(test) == 4 * 3 * 2
            assert sorted(r.path for r in everything) == sorted(regdb.glob("[VT]*/*/*.bmp"))
            assert not {r.identity for r in train} & {r.identity for r in test}
            assert {r.identity for r in everything} == set(range(1, 9))

    def test_records_say_what_the_path_says(self, regdb: Path) -> None:
        for record in RegDB(regdb).train():
            modality, folder, _ = record.path.relative_to(regdb).parts
            assert record.identity == int(folder)
            assert (record.camera, record.modality) == {
                "Visible": (1, Modality.VISIBLE),
                "Thermal": (2, Modality.INFRARED),
            }[modality]

    def test_the_order_does_not_follow_the_lists(self, regdb: Path, tmp_path: Path) -> None:
        root = copy(regdb, tmp_path / "RegDB")
        for path in (root / "idx").iterdir():
            path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
        expected = [r.path.relative_to(regdb) for r in RegDB(regdb).train()]
        assert [r.path.relative_to(root) for r in RegDB(root).train()] == expected
        keys = [(r.camera, r.identity, r.path.name) for r in RegDB(regdb).train()]
        assert keys == sorted(keys)

    def test_the_trial_chooses_the_lists(self, regdb: Path) -> None:
        first, second = ({r.identity for r in RegDB(regdb, trial=t).train()} for t in (1, 2))
        assert first != second

    def test_counts(self, regdb: Path) -> None:
        assert counted(RegDB(regdb, trial=2).train()) == (4, 12, 12)
        assert counted(RegDB(regdb, trial=2).test()) == (4, 12, 12)

    def test_lists_from_windows(self, regdb: Path, tmp_path: Path) -> None:
        root = copy(regdb, tmp_path / "RegDB")
        for path in (root / "idx").iterdir():
            text = "\ufeff" + path.read_text().replace("\n", "\r\n") + "\r\n  \r\n\n"
            path.write_text(text, encoding="utf-8", newline="")
        expected = [r.path.relative_to(regdb) for r in RegDB(regdb).test()]
        assert [r.path.relative_to(root) for r in RegDB(root).test()] == expected

    def test_file_names_with_spaces(self, regdb: Path, tmp_path: Path) -> None:
        root = copy(regdb, tmp_path / "RegDB")
        old = RegDB(root).train()[0].path
        old.rename(old.with_name("männlich von hinten 1.bmp"))
        listed = root / "idx/train_visible_1.txt"
        listed.write_text(
            listed.read_text().replace(old.name, "männlich von hinten 1.bmp"), encoding="utf-8"
        )
        names = {r.path.name for r in RegDB(root).train()}
        assert "männlich von hinten 1.bmp" in names
        assert old.name not in names

    @pytest.mark.parametrize("name", ["p{}", "{}x"])
    def test_labels_name_identities_where_folders_are_no_numbers(
        self, regdb: Path, tmp_path: Path, name: str
    ) -> None:
        root = copy(regdb, tmp_path / "RegDB")
        for modality in ("Visible", "Thermal"):
            for identity in range(1, 9):
                (root / modality / str(identity)).rename(root / modality / name.format(identity))
        for path in (root / "idx").iterdir():
            text = path.read_text()
            for modality in ("Visible", "Thermal"):
                for identity in range(1, 9):
                    text = text.replace(
                        f"{modality}/{identity}/", f"{modality}/{name.format(identity)}/"
                    )
            path.write_text(text)
        records = RegDB(root).train()
        assert Counter(r.identity for r in records) == dict.fromkeys(range(4), 6)
        folder_of = {r.identity: r.path.parent.name for r in records}
        assert all(r.path.parent.name == folder_of[r.identity] for r in records)


class TestRegDBFaults:
    @pytest.fixture
    def root(self, regdb: Path, tmp_path: Path) -> Path:
        return copy(regdb, tmp_path / "cam RegDB")

    def edit(self, root: Path, name: str, change: Callable[[str], str]) -> None:
        path = root / "idx" / name
        path.write_text(change(path.read_text()))

    def test_no_root(self, root: Path) -> None:
        assert f"'{root / 'x'}' does not exist" in refused(lambda: RegDB(root / "x"))

    def test_no_idx(self, root: Path) -> None:
        shutil.rmtree(root / "idx")
        message = refused(lambda: RegDB(root))
        assert f"'{root / 'idx'}' does not exist" in message
        assert "from its authors" in message

    @pytest.mark.parametrize("trial", [0, 11, -1])
    def test_a_trial_out_of_range(self, root: Path, trial: int) -> None:
        message = refused(lambda: RegDB(root, trial=trial))
        assert f"no trial {trial};" in message
        assert "1 to 10" in message

    def test_a_trial_without_lists(self, root: Path) -> None:
        message = refused(RegDB(root, trial=3).train)
        assert "train_visible_3.txt' does not exist" in message

    @pytest.mark.parametrize("split", ["train", "test"])
    def test_files_that_are_not_there(self, root: Path, split: Literal["train", "test"]) -> None:
        layout = RegDB(root)
        gone = layout.train() if split == "train" else layout.test()
        for record in gone[:5]:
            record.path.unlink()
        message = refused(layout.train if split == "train" else layout.test)
        names = [record.path.relative_to(root).as_posix() for record in gone[:5]]
        assert f"5 of 24 files that the {split} lists" in message
        assert f"'{names[0]}', '{names[1]}', '{names[2]}' and 2 more" in message
        assert names[3] not in message
        assert (layout.test if split == "train" else layout.train)()

    @pytest.mark.parametrize("name", ["test_thermal_1.txt", "test_visible_1.txt"])
    def test_an_empty_modality(self, root: Path, name: str) -> None:
        self.edit(root, name, lambda _: "\n")
        assert f"{name}' lists 0 images" in refused(RegDB(root).test)

    def test_an_identity_in_both_halves(self, root: Path) -> None:
        line = (root / "idx/test_visible_1.txt").read_text().splitlines()[0]
        folder = line.split("/")[1]
        self.edit(root, "train_visible_1.txt", lambda text: text + line.rsplit(" ", 1)[0] + " 99\n")
        for action in (RegDB(root).train, RegDB(root).test):
            message = refused(action)
            assert f"'{folder}' for training and for testing" in message
            assert "Trial 1" in message

    def test_two_labels_for_one_folder(self, root: Path) -> None:
        self.edit(root, "train_visible_1.txt", lambda text: text.replace(" 0\n", " 77\n", 1))
        message = refused(RegDB(root).train)
        assert "the label 0" in message
        assert "has label 77" in message

    def test_visible_and_thermal_numbered_differently(self, root: Path) -> None:
        def swap(text: str) -> str:
            return text.replace(" 0\n", " x\n").replace(" 1\n", " 0\n").replace(" x\n", " 1\n")

        self.edit(root, "train_thermal_1.txt", swap)
        message = refused(RegDB(root).train)
        assert "'Thermal/" in message
        assert "the label 1" in message

    @pytest.mark.parametrize(
        "line",
        [
            "Visible/1/a.bmp",
            "Visible/1/a.bmp zero",
            "Visible/1/a.bmp -1",
            "Thermal/1/a.bmp 0",
            "1/a.bmp 0",
            "0",
        ],
    )
    def test_a_line_of_another_form(self, root: Path, line: str) -> None:
        self.edit(root, "train_visible_1.txt", lambda text: text + line + "\n")
        message = refused(RegDB(root).train)
        assert f"train_visible_1.txt' line 13 reads '{line}'" in message
        assert "'Visible/<identity>/<image>.bmp <label>'" in message


def official_tree(root: Path) -> Path:
    """SYSU-MM01 as the official permutations say it is, every image an empty file."""
    shutil.copytree(OFFICIAL, root / "exp")
    table = loadmat(OFFICIAL / "rand_perm_cam.mat")["rand_perm_cam"]
    tests = {int(i) for i in (OFFICIAL / "test_id.txt").read_text().split(",")}
    for camera in range(1, 7):
        (root / f"cam{camera}").mkdir()
        for identity, cell in enumerate(table[camera - 1, 0][:, 0], 1):
            if identity in tests and cell.size:
                folder = root / f"cam{camera}" / f"{identity:04d}"
                folder.mkdir()
                for number in range(1, cell.shape[1] + 1):
                    (folder / f"{number:04d}.jpg").touch()
    return root


@pytest.mark.skipif(not OFFICIAL.is_dir(), reason=f"no official files in {OFFICIAL}")
def test_the_official_files_of_sysu_mm01(tmp_path: Path) -> None:
    layout = SysuMM01(official_tree(tmp_path))
    sizes = [len(layout.identities(split)) for split in ("train", "val", "test")]
    assert sizes == [296, 99, 96]
    assert not set(layout.identities("train")) & set(layout.identities("val"))
    records = layout.test()
    per_camera = [sum(r.camera == camera for r in records) for camera in range(1, 7)]
    assert per_camera == [1374, 1565, 1883, 1918, 1918, 1920]
    assert sum(r.modality is Modality.INFRARED for r in records) == 3_803
    permutations = layout.permutations()
    tests = set(layout.identities("test"))
    gallery = [
        camera
        for camera, identity in permutations.cells
        if identity in tests and CAMERAS[camera] is Modality.VISIBLE
    ]
    assert len(gallery) == 301
    assert sum(camera in (1, 2) for camera in gallery) == 112
    training = set(layout.identities("train") + layout.identities("val"))
    counted = Counter[Modality]()
    for (camera, identity), cell in permutations.cells.items():
        if identity in training:
            counted[CAMERAS[camera]] += cell.shape[1]
    assert counted == {Modality.VISIBLE: 22_258, Modality.INFRARED: 11_909}


def test_the_trees_have_the_form_of_the_official_files(sysu: Path) -> None:
    """The helpers are of use only as long as they write what the authors publish."""
    mine = loadmat(sysu / "exp/rand_perm_cam.mat")["rand_perm_cam"]
    assert (mine.shape, mine.dtype) == ((6, 1), object)
    assert {column[0].shape[1] for column in mine} == {1}
    assert {cell.dtype for column in mine for cell in column[0].flat} == {np.dtype(np.uint8)}
    assert (sysu / "exp/train_id.txt").read_text() == "1,2,5"
    with Image.open(SysuMM01(sysu).test()[0].path) as image:
        assert (image.format, image.mode) == ("JPEG", "RGB")
    if OFFICIAL.is_dir():
        official = loadmat(OFFICIAL / "rand_perm_cam.mat")["rand_perm_cam"]
        assert (official.shape, official.dtype) == (mine.shape, mine.dtype)
        for column in official[:, 0]:
            assert column.shape[1] == 1
            assert {cell.dtype for cell in column.flat} == {np.dtype(np.uint8)}
