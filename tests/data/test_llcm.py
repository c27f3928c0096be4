"""LLCM on a tiny tree in the true form: what is read, and how every planted fault is named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from tests.helpers.messages import only, refused, sentence
from tests.helpers.trees import copy, counted, write_llcm

from vireid.data.layouts import LLCM, DataSource, Layout, Tally
from vireid.errors import ConfigError
from vireid.types import Modality

UNSEEN = ((1, 3), (5, 6), (9, 2))
INFRARED = (1, 2, 4, 5, 6, 7, 8, 9)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Published code reads the camera after the first "cam" of the whole path.
    root = tmp_path_factory.mktemp("x") / "cam3 _c07_ für 行人" / "LLCM"
    return write_llcm(root, images=1, unseen=UNSEEN)


@pytest.fixture
def root(tree: Path, tmp_path: Path) -> Path:
    return copy(tree, tmp_path / "cam2 LLCM")


def edit(path: Path, change: Callable[[str], str]) -> None:
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")


def test_by_name(tree: Path) -> None:
    layout: Layout = DataSource(layout="llcm", root=tree).open()
    assert (layout, layout.name, layout.root, layout.val()) == (LLCM(tree), "llcm", tree, ())
    with pytest.raises(ConfigError, match="--hold-out` does not apply to the layout llcm"):
        DataSource(layout="llcm", root=tree, hold_out=True).open()


def test_every_listed_image_trains(tree: Path) -> None:
    records = LLCM(tree).train()
    listed = [
        line.split(" ")[0]
        for name in ("train_vis.txt", "train_nir.txt")
        for line in (tree / "idx" / name).read_text().splitlines()
    ]
    assert sorted(r.path.relative_to(tree).as_posix() for r in records) == sorted(listed)
    for record in records:
        modality, person, name = record.path.relative_to(tree).parts
        assert record.identity == int(person)
        assert record.camera == int(name.split("_c")[1][:2])
        assert record.modality is {"vis": Modality.VISIBLE, "nir": Modality.INFRARED}[modality]
    keys = [(r.camera, r.identity, r.path.name) for r in records]
    assert keys == sorted(keys)


def test_every_image_of_a_test_camera_is_tested(tree: Path) -> None:
    assert [(r.path, r.identity, r.camera, r.modality) for r in LLCM(tree).test()] == [
        (
            tree / f"test_{short}/cam{camera}/{identity:04d}" / f"{identity:04d}_c0{camera}_{rest}",
            identity,
            camera,
            modality,
        )
        for camera in range(1, 10)
        for identity in (3, 6)
        if (camera, identity) not in UNSEEN
        for rest, short, modality in (
            ("s185530_f701_nir.jpg", "nir", Modality.INFRARED),
            ("s185530_f701_vis.jpg", "vis", Modality.VISIBLE),
        )
        if short == "vis" or camera in INFRARED
    ]


def test_a_sound_tree_has_no_problem_and_says_what_it_holds(tree: Path) -> None:
    # 9 visible and 8 infrared cameras saw 3 identities once, but for what is unseen.
    assert LLCM(tree).problems() == ()
    assert counted(LLCM(tree).train()) == (3, 26, 23)
    assert counted(LLCM(tree).test()) == (2, 16, 14)
    with Image.open(LLCM(tree).test()[0].path) as image:
        assert (image.format, image.mode) == ("JPEG", "RGB")


def test_published_counts_add_up(tree: Path) -> None:
    tallies = LLCM(tree).published()
    assert sum(t.images or 0 for t in tallies) == 46_767
    assert {t.split: t.identities for t in tallies} == {"train": 713, "test": 351}
    assert Tally("train", Modality.INFRARED, None, 713, 13_975) in tallies


def test_the_order_does_not_follow_the_lists(tree: Path, root: Path) -> None:
    for path in (root / "idx").glob("train_*.txt"):
        edit(path, lambda text: "\n".join(reversed(text.splitlines())))
    expected = [r.path.relative_to(tree) for r in LLCM(tree).train()]
    assert [r.path.relative_to(root) for r in LLCM(root).train()] == expected


@pytest.mark.parametrize(
    ("path", "camera"),
    [
        ("vis/0001/a_c04_b.jpg", 4),
        ("vis/0001/0001_c4_.jpg", 4),
        ("vis/cam8/0001/a.jpg", 8),
        ("vis/cam8/0001/a_c04_b.jpg", 4),
        ("vis/0001/a.jpg", 0),
        ("vis/camera/0001/_cx_.jpg", 0),
    ],
)
def test_the_camera_of_a_training_image(root: Path, path: str, camera: int) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).touch()
    edit(root / "idx/train_vis.txt", lambda text: text + f"{path} 0\n")
    found = {r.path: r.camera for r in LLCM(root).train()}
    assert found[root / path] == camera


def test_strangers_among_the_images_are_passed_over_but_yielded(tree: Path, root: Path) -> None:
    folder = root / "test_vis/cam1/0006"
    first = sorted(folder.iterdir())[0]
    for name in ("Thumbs.db", f"._{first.name}", ".DS_Store"):
        (folder / name).write_bytes(b"x")
    first.rename(first.with_suffix(".JPG"))
    (folder / "other.png").touch()
    expected = len(LLCM(tree).test()) + 1
    assert len(LLCM(root).test()) == expected
    files = list(LLCM(root).walk().files)
    assert files == sorted(path for path in root.glob("[!i]*/**/*") if path.is_file())
    assert folder / "Thumbs.db" in files


@pytest.mark.parametrize("text", ["6, 3\r\n", "\ufeff3,6,\n\n", "3\n6\n", "6,3,3"])
def test_lists_as_editors_leave_them(tree: Path, root: Path, text: str) -> None:
    (root / "idx/test_id.txt").write_text(text, encoding="utf-8", newline="")
    edit(root / "idx/train_vis.txt", lambda text: "\ufeff" + text.replace("\n", " \r\n\r\n"))
    assert LLCM(root).problems() == ()
    assert len(LLCM(root).test()) == len(LLCM(tree).test())


class TestFaults:
    """Each fault alone is the one problem there is, and what forbids a split is raised by it."""

    def test_no_root(self, root: Path) -> None:
        message = refused(lambda: LLCM(root / "nowhere"))
        assert f"'{root / 'nowhere'}' does not exist" in message
        assert "as root" in message

    def test_no_idx(self, root: Path) -> None:
        shutil.rmtree(root / "idx")
        assert f"'{root / 'idx'}' does not exist" in refused(lambda: LLCM(root))

    @pytest.mark.parametrize("name", ["train_vis.txt", "train_nir.txt"])
    def test_no_training_list(self, root: Path, name: str) -> None:
        (root / "idx" / name).unlink()
        message = only(LLCM(root).problems())
        assert f"'{root / 'idx' / name}' does not exist" in message
        assert refused(LLCM(root).train) == message
        assert LLCM(root).test()

    def test_an_empty_training_list(self, root: Path) -> None:
        (root / "idx/train_nir.txt").write_text("\n \n")
        message = only(LLCM(root).problems())
        assert "train_nir.txt' lists 0 images" in message
        assert refused(LLCM(root).train) == message

    @pytest.mark.parametrize(
        "line",
        [
            "vis/0001/a.jpg",
            "vis/0001/a.jpg zero",
            "vis/0001/a.jpg -1",
            "vis/person/a.jpg 0",
            "0001/a.jpg 0",
            "/vis/0001/a.jpg 0",
            "0",
        ],
    )
    def test_a_line_of_another_form(self, root: Path, line: str) -> None:
        edit(root / "idx/train_vis.txt", lambda text: line + "\n" + text)
        message = only(LLCM(root).problems())
        assert f"train_vis.txt' line 1 reads '{line}'; expected" in message
        assert refused(LLCM(root).train) == message

    def test_many_lines_of_another_form(self, root: Path) -> None:
        edit(root / "idx/train_vis.txt", lambda text: "a\nb\n" + text + "c\n")
        assert "reads 'a', the first of 3 such lines; expected" in only(LLCM(root).problems())

    def test_files_that_are_not_there(self, root: Path) -> None:
        gone = sorted((root / "nir/0004").iterdir())[:5]
        for path in gone:
            path.unlink()
        message = only(LLCM(root).problems())
        assert f"5 of 49 files that the training lists name are not under '{root}'" in message
        assert f"'nir/0004/{gone[2].name}' and 2 more" in message
        assert refused(LLCM(root).train) == message

    def test_a_file_listed_twice(self, root: Path) -> None:
        line = (root / "idx/train_vis.txt").read_text().splitlines()[3]
        edit(root / "idx/train_nir.txt", lambda text: text + line + "\n")
        message = only(LLCM(root).problems())
        assert f"name 1 file more than once: '{line.split()[0]}'" in message
        assert refused(LLCM(root).train) == message

    def test_labels_that_are_not_identities(self, root: Path) -> None:
        edit(root / "idx/train_nir.txt", lambda text: text.replace(" 2\n", " 1\n"))
        message = only(LLCM(root).problems())
        assert "have 3 inconsistent pairs of identity and label" in message
        assert "'0002 1', '0004 1', '0004 2'" in message
        assert refused(LLCM(root).train) == message

    def test_a_test_identity_that_trains(self, root: Path) -> None:
        file = (root / "idx/test_vis.txt").read_text().split(" ")[0]
        edit(root / "idx/train_vis.txt", lambda text: text + f"{file} 8\n")
        message = only(LLCM(root).problems())
        assert "lists the identities '6' for training and for testing" in message
        assert refused(LLCM(root).train) == message

    def test_an_image_that_no_list_has(self, root: Path) -> None:
        (root / "nir/0002/new.PNG").touch()
        (root / "nir/0077").mkdir()
        (root / "nir/0077/0077_c01_.jpg").touch()
        message = only(LLCM(root).problems())
        assert "2 images in" in message
        assert "'nir/0002/new.PNG', 'nir/0077/0077_c01_.jpg'" in message
        assert LLCM(root).train()

    def test_no_test_list(self, root: Path) -> None:
        (root / "idx/test_id.txt").unlink()
        message = only(LLCM(root).problems())
        assert f"'{root / 'idx' / 'test_id.txt'}' does not exist" in message
        assert refused(LLCM(root).test) == message
        assert LLCM(root).train()

    @pytest.mark.parametrize("text", ["3,six", "3,-6", "3,6.0", "3,²"])
    def test_a_test_list_of_something_else(self, root: Path, text: str) -> None:
        (root / "idx/test_id.txt").write_text(text, encoding="utf-8")
        message = only(LLCM(root).problems())
        assert f"test_id.txt' holds '{text.split(',')[1]}'" in message
        assert refused(LLCM(root).test) == message

    def test_an_empty_test_list(self, root: Path) -> None:
        (root / "idx/test_id.txt").write_text("\n")
        assert "lists 0 identities" in refused(LLCM(root).test)

    def test_identities_without_test_images(self, root: Path) -> None:
        (root / "idx/test_id.txt").write_text("3,6,41,42,43,44")
        (root / "test_vis/cam1/0041").mkdir()
        message = only(LLCM(root).problems())
        assert "4 listed identities: '0041', '0042', '0043' and 1 more" in message
        assert refused(LLCM(root).test) == message

    @pytest.mark.parametrize("short", ["vis", "nir"])
    def test_an_empty_modality(self, root: Path, short: str) -> None:
        for folder in (root / f"test_{short}").glob("*/*"):
            shutil.rmtree(folder)
        message = only(LLCM(root).problems())
        assert f"'{root / f'test_{short}'}' has 0 images" in message
        assert refused(LLCM(root).test) == message

    def test_camera_folders_that_are_not_there(self, root: Path) -> None:
        shutil.rmtree(root / "test_nir/cam5")
        message = only(LLCM(root).problems())
        assert f"'{root / 'test_nir' / 'cam5'}' does not exist" in message
        assert "cam1 to cam9 without cam3" in message
        assert LLCM(root).test()

    def test_the_infrared_camera_3_tests_nothing(self, tree: Path, root: Path) -> None:
        shutil.copytree(root / "test_nir/cam2/0006", root / "test_nir/cam3/0006")
        message = only(LLCM(root).problems())
        assert f"'{root / 'test_nir' / 'cam3'}' holds images that no test uses" in message
        assert len(LLCM(root).test()) == len(LLCM(tree).test())

    def test_camera_folders_of_another_name(self, root: Path) -> None:
        shutil.copytree(root / "test_vis/cam2", root / "test_vis/cam10")
        assert f"'{root / 'test_vis' / 'cam10'}' holds images" in only(LLCM(root).problems())

    def test_folders_of_no_test_identity(self, root: Path) -> None:
        (root / "test_vis/cam2/0006").rename(root / "test_vis/cam2/6")
        message = only(LLCM(root).problems())
        assert "1 folder in" in message
        assert "'test_vis/cam2/6'" in message

    def test_all_at_once(self, root: Path) -> None:
        (root / "idx/train_vis.txt").unlink()
        (root / "idx/test_id.txt").write_text("3,6,1")
        next((root / "nir/0004").iterdir()).unlink()
        shutil.rmtree(root / "test_vis/cam9")
        for fault in (
            "train_vis.txt' does not exist",
            "1 of 23 files",
            "identities '1' for training",
            "1 listed identity: '0001'",
            "cam9' does not exist",
        ):
            assert sum(fault in problem for problem in map(sentence, LLCM(root).problems())) == 1
        assert len(LLCM(root).problems()) == 5
