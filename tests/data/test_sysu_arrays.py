"""SYSU-MM01 as arrays: the same images as the tree they were made from, and every planted fault."""

from __future__ import annotations

import shutil
import tracemalloc
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.helpers.messages import only, refused
from tests.helpers.trees import copy, counted, write_arrays, write_sysu

from vireid.data.layouts import DataSource, Layout, SysuArrays, SysuMM01
from vireid.errors import ConfigError
from vireid.types import ImageRecord, Modality

SIZE = (18, 36)
NAMES = [
    f"train_{short}_resized_{what}.npy" for short in ("rgb", "ir") for what in ("img", "label")
]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sysu(tmp_path_factory.mktemp("x") / "SYSU", unseen=((1, 3), (4, 7)))


@pytest.fixture(scope="module")
def arrays(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("x") / "cam3 Bilder für 行人"
    return write_arrays(root, tree=tree, size=SIZE)


@pytest.fixture
def root(arrays: Path, tmp_path: Path) -> Path:
    return copy(arrays, tmp_path / "cam1 arrays")


def zipped() -> bytes:
    buffer = BytesIO()
    np.savez(buffer, a=np.zeros(3))
    return buffer.getvalue()


def row(record: ImageRecord) -> NDArray[np.uint8]:
    pixels: NDArray[np.uint8] = np.load(record.path.parent)[int(record.path.name)]
    return pixels


def resized(record: ImageRecord) -> NDArray[np.uint8]:
    with Image.open(record.path) as image:
        return np.asarray(image.resize(SIZE))


def test_by_name(arrays: Path) -> None:
    layout: Layout = DataSource(layout="sysu-mm01-npy", root=arrays).open()
    assert (layout, layout.name, layout.root) == (SysuArrays(arrays), "sysu-mm01-npy", arrays)
    assert layout.val() == ()
    with pytest.raises(ConfigError, match="--hold-out` does not apply to the layout sysu-mm01-npy"):
        DataSource(layout="sysu-mm01-npy", root=arrays, hold_out=True).open()


@pytest.mark.parametrize("modality", Modality)
def test_training_images_are_those_of_the_tree(
    arrays: Path, tree: Path, modality: Modality
) -> None:
    """The k-th identity of the tree is class k; its pixels are those of its files, resized."""
    classes = {identity: label for label, identity in enumerate((1, 2, 5, 7, 8))}
    own = [r for r in SysuArrays(arrays).train() if r.modality is modality]
    files = sorted(
        (r for r in SysuMM01(tree).train() if r.modality is modality),
        key=lambda r: (r.identity, r.camera, r.path.name),
    )
    assert [r.identity for r in own] == [classes[r.identity] for r in files]
    assert [int(r.path.name) for r in own] == list(range(len(files)))
    assert [r.path.name for r in own] == sorted(r.path.name for r in own)
    assert {r.camera for r in own} == {0}
    for mine, file in zip(own[::7], files[::7], strict=True):
        np.testing.assert_array_equal(row(mine), resized(file))


def test_paths_are_file_and_row(arrays: Path) -> None:
    for record in SysuArrays(arrays).train():
        assert record.path.parent.suffix == ".npy"
        assert record.path.parent.is_file()
        assert ("_ir_" in record.path.parent.name) == (record.modality is Modality.INFRARED)


def test_a_sound_folder_has_no_problem_and_says_what_it_holds(arrays: Path) -> None:
    assert SysuArrays(arrays).problems() == ()
    assert counted(SysuArrays(arrays).train()) == (5, 67, 35)
    assert [path.name for path in SysuArrays(arrays).walk().files] == sorted(NAMES)


def test_published_counts_are_those_of_the_tree(arrays: Path, tree: Path) -> None:
    whole = [t for t in SysuMM01(tree).published() if t.split == "train" and t.camera is None]
    assert sorted(SysuArrays(arrays).published(), key=str) == sorted(whole, key=str)


class TestWithTheTreeBeside:
    @pytest.fixture
    def beside(self, tree: Path, tmp_path: Path) -> Path:
        root = copy(tree, tmp_path / "SYSU")
        return write_arrays(root, tree=root, size=SIZE)

    def test_tests_are_those_of_the_tree(self, beside: Path) -> None:
        layout = SysuArrays(beside)
        assert layout.tree == SysuMM01(beside)
        assert layout.test() == SysuMM01(beside).test()
        assert len(layout.train()) == 102
        assert counted(layout.test())[0] == 2
        assert layout.problems() == ()

    def test_files_are_arrays_and_images(self, beside: Path) -> None:
        files = list(SysuArrays(beside).walk().files)
        assert files == [
            *(beside / name for name in sorted(NAMES)),
            *SysuMM01(beside).walk().files,
        ]

    def test_a_damaged_tree(self, beside: Path) -> None:
        shutil.rmtree(beside / "cam4")
        message = only(SysuArrays(beside).problems())
        assert "has no 'cam4'" in message
        assert refused(SysuArrays(beside).test) == message
        assert SysuArrays(beside).train()

    def test_a_fault_of_the_tree(self, beside: Path) -> None:
        (beside / "exp/test_id.txt").write_text("3,10,99")
        assert SysuArrays(beside).problems() == SysuMM01(beside).problems() != ()


class TestFaults:
    """Each fault alone is the one problem there is, and training is refused with its words."""

    def test_no_root(self, root: Path) -> None:
        assert "as root" in refused(lambda: SysuArrays(root / "nowhere"))

    def test_no_test_images(self, root: Path) -> None:
        message = refused(SysuArrays(root).test)
        assert f"'{root}' has arrays of training images only; expected cam1 to cam6" in message
        assert "the layout sysu-mm01" in message

    @pytest.mark.parametrize("name", NAMES)
    def test_a_missing_array(self, root: Path, name: str) -> None:
        (root / name).unlink()
        message = only(SysuArrays(root).problems())
        assert f"'{root / name}' does not exist" in message
        assert refused(SysuArrays(root).train) == message

    def test_all_missing(self, root: Path) -> None:
        for name in NAMES:
            (root / name).unlink()
        assert [n for p in SysuArrays(root).problems() for n in NAMES if n in p] == NAMES

    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize(
        "damage",
        [
            lambda path: path.write_bytes(path.read_bytes()[:-1]),
            lambda path: path.write_bytes(path.read_bytes()[:40]),
            lambda path: path.write_bytes(b""),
            lambda path: path.write_bytes(b"not an array"),
            lambda path: np.save(path, np.array([{"a": 1}], dtype=object)),
            lambda path: path.write_bytes(zipped()),
        ],
        ids=["truncated", "header", "empty", "text", "pickled", "npz"],
    )
    def test_a_damaged_array(self, root: Path, name: str, damage: Callable[[Path], object]) -> None:
        damage(root / name)
        message = only(SysuArrays(root).problems())
        assert f"'{root / name}' cannot be read" in message
        assert refused(SysuArrays(root).train) == message

    @pytest.mark.parametrize(
        ("array", "said"),
        [
            (np.zeros((3, 6, 4, 3), np.float32), "float32 of shape (3, 6, 4, 3)"),
            (np.zeros((3, 6, 4), np.uint8), "uint8 of shape (3, 6, 4)"),
            (np.zeros((3, 6, 4, 1), np.uint8), "uint8 of shape (3, 6, 4, 1)"),
            (np.zeros((0, 6, 4, 3), np.uint8), "uint8 of shape (0, 6, 4, 3)"),
        ],
    )
    def test_images_of_another_form(self, root: Path, array: NDArray[np.uint8], said: str) -> None:
        np.save(root / NAMES[0], array)
        message = only(SysuArrays(root).problems())
        assert f"holds {said}; expected uint8 of shape (images, height, width, 3)" in message
        assert refused(SysuArrays(root).train) == message

    @pytest.mark.parametrize(
        ("labels", "said"),
        [
            (np.zeros((35, 1), np.int64), "holds int64 of shape (35, 1)"),
            (np.full(35, "x"), "holds <U1 of shape (35,)"),
            (np.full(35, True), "holds bool of shape (35,)"),
            (np.full(35, 1.5), "holds the label 1.5"),
            (np.full(35, np.nan), "holds the label nan"),
            (np.full(35, np.inf), "holds the label inf"),
        ],
    )
    def test_labels_of_another_form(
        self, root: Path, labels: NDArray[np.generic], said: str
    ) -> None:
        np.save(root / NAMES[3], labels)
        message = only(SysuArrays(root).problems())
        assert said in message
        assert refused(SysuArrays(root).train) == message

    @pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float64])
    def test_whole_numbers_of_any_kind(self, arrays: Path, root: Path, kind: type) -> None:
        for name in NAMES[1::2]:
            np.save(root / name, np.load(root / name).astype(kind))
        assert [r.identity for r in SysuArrays(root).train()] == [
            r.identity for r in SysuArrays(arrays).train()
        ]

    def test_more_images_than_labels(self, root: Path) -> None:
        np.save(root / NAMES[1], np.load(root / NAMES[1])[:-2])
        message = only(SysuArrays(root).problems())
        assert f"has 67 images, but '{NAMES[1]}' 65 labels" in message
        assert refused(SysuArrays(root).train) == message

    def test_a_class_of_one_modality(self, root: Path) -> None:
        labels = np.load(root / NAMES[3])
        labels[labels == 4] = 9
        np.save(root / NAMES[3], labels)
        message = only(SysuArrays(root).problems())
        assert "2 class indices in one modality only: '4', '9'" in message
        assert SysuArrays(root).train()


def test_images_are_not_read_to_be_listed(root: Path) -> None:
    np.save(root / NAMES[0], np.zeros((67, 288, 144, 3), np.uint8))
    SysuArrays(root).train()
    tracemalloc.start()
    assert len(SysuArrays(root).train()) == 102
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < (root / NAMES[0]).stat().st_size / 10
