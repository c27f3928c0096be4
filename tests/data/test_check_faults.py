"""One planted fault at a time: it alone is found, and reported with a fix."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.helpers import faults
from tests.helpers.matlab_files import TABLE
from tests.helpers.trees import copy, write_llcm, write_regdb, write_sysu

from vireid.data.check import CheckReport, check
from vireid.data.layouts import DataSource, LayoutName


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("cam3 Überwachung")
    trees = {
        "sysu-mm01": write_sysu(folder / "SYSU", train=(1, 5), val=(8,), images=2),
        "regdb": write_regdb(folder / "RegDB", images=2, trials=range(1, 11)),
        "llcm": write_llcm(folder / "LLCM", train=(1, 2), images=1),
    }
    for tree in trees.values():
        # Marked as synthetic, so that the published counts do not apply.
        (tree / "synvi.json").write_text("{}")
    return trees


def report_on(layout: LayoutName, root: Path) -> CheckReport:
    return check(DataSource(layout=layout, root=root))


@pytest.mark.parametrize("layout", ["sysu-mm01", "regdb", "llcm"])
def test_a_whole_tree_has_no_fault(layout: LayoutName, trees: dict[str, Path]) -> None:
    report = report_on(layout, trees[layout])
    assert report.findings == ()
    assert report.exit_status == 0
    assert str(report).endswith("No faults: 0 errors, 0 warnings.")


@dataclass(frozen=True)
class Case:
    """A fault, and what the report must say of it."""

    name: str
    layout: LayoutName
    plant: Callable[[Path], object]
    kind: str
    words: tuple[str, ...]


CASES = (
    # Lists and folders of SYSU-MM01.
    Case(
        "split file missing",
        "sysu-mm01",
        faults.no_split_file,
        "layout",
        ("val_id.txt' does not exist", "comma-separated", "github.com/wuancong/SYSU-MM01"),
    ),
    Case(
        "split file damaged",
        "sysu-mm01",
        lambda root: (root / "exp/test_id.txt").write_text("3,ten"),
        "layout",
        ("test_id.txt' holds 'ten'", "github.com/wuancong/SYSU-MM01"),
    ),
    Case(
        "identity in train and test",
        "sysu-mm01",
        lambda root: faults.append(root / "exp/train_id.txt", ",10"),
        "layout",
        ("identities '10' for training and for testing", "disjoint"),
    ),
    Case(
        "identity in train and val",
        "sysu-mm01",
        lambda root: faults.append(root / "exp/train_id.txt", ",8"),
        "layout",
        ("identities '8' for training and for validation", "disjoint"),
    ),
    Case(
        "listed identity not there",
        "sysu-mm01",
        lambda root: faults.append(root / "exp/train_id.txt", ",41"),
        "layout",
        ("no .jpg image in any camera of 1 listed identity: '0041'", "unpack the archive"),
    ),
    Case(
        "folder misnamed",
        "sysu-mm01",
        lambda root: (root / "cam2/0001").rename(root / "cam2/1"),
        "layout",
        ("2 images in unexpected places: 'cam2/1/0001.jpg'", "cam1/0001/0001.jpg", "rename"),
    ),
    Case(
        "camera missing",
        "sysu-mm01",
        lambda root: shutil.rmtree(root / "cam4"),
        "layout",
        ("has no 'cam4'", "cam1 to cam6", "unpack the archive"),
    ),
    Case(
        "tree one folder deeper",
        "sysu-mm01",
        faults.deeper,
        "layout",
        ("not directly in", "/downloaded/SYSU-MM01', not directly", "pass"),
    ),
    Case(
        "permutations that crash SciPy",
        "sysu-mm01",
        lambda root: (root / "exp/rand_perm_cam.mat").write_bytes(TABLE),
        "layout",
        ("rand_perm_cam.mat' cannot be read as a MATLAB file", "array is damaged", "github.com"),
    ),
    Case(
        "test image missing",
        "sysu-mm01",
        lambda root: (root / "cam4/0010/0002.jpg").unlink(),
        "layout",
        ("rand_perm_cam.mat' does not fit", "'cam4/0010: 1 image,", "(10, 2)", "unpack"),
    ),
    Case(
        "row that is no permutation",
        "sysu-mm01",
        faults.no_permutation,
        "layout",
        ("'cam4/0010: a row that is not a permutation of 1 to 2'", "use 'rand_perm_cam.mat'"),
    ),
    Case(
        "permutations missing",
        "sysu-mm01",
        lambda root: (root / "exp/rand_perm_cam.mat").unlink(),
        "layout",
        ("rand_perm_cam.mat' does not exist", "github.com/wuancong/SYSU-MM01"),
    ),
    Case(
        "unlisted identity",
        "sysu-mm01",
        faults.unlisted_identity,
        "unused-images",
        ("1 identity that no list", "'0999'", "move them out"),
    ),
    # Files.
    Case(
        "empty file",
        "sysu-mm01",
        lambda root: (root / "cam1/0001/0001.jpg").write_bytes(b""),
        "empty",
        ("1 file of 0 bytes: 'cam1/0001/0001.jpg'", "Copy the files"),
    ),
    Case(
        "cut-off file",
        "sysu-mm01",
        lambda root: os.truncate(root / "cam1/0001/0001.jpg", 660),
        "damaged",
        ("cannot be fully decoded: 'cam1/0001/0001.jpg' (", "complete images", "Copy the files"),
    ),
    Case(
        "cut-off header",
        "sysu-mm01",
        lambda root: os.truncate(root / "cam1/0001/0001.jpg", 30),
        "damaged",
        ("'cam1/0001/0001.jpg' (", "Copy the files"),
    ),
    Case(
        "web page",
        "sysu-mm01",
        lambda root: (root / "cam6/0010/0002.jpg").write_text("<!DOCTYPE html><p>Sign in"),
        "not-an-image",
        ("'cam6/0010/0002.jpg' (a web page (HTML))", "required a login", "Copy the files"),
    ),
    Case(
        "archive",
        "sysu-mm01",
        faults.a_zip,
        "not-an-image",
        ("'cam1/0001/0001.jpg' (a ZIP archive)", "Copy the files"),
    ),
    Case(
        "another format",
        "sysu-mm01",
        faults.another_format,
        "misnamed",
        ("'cam1/0001/0001.jpg' (contains PNG)", "convert"),
    ),
    Case(
        "orientation 0",
        "sysu-mm01",
        faults.orientation_of_zero,
        "metadata",
        ("'cam1/0001/0001.jpg' (its orientation is 0; expected", "as it is stored", "turn"),
    ),
    Case(
        "too large",
        "sysu-mm01",
        faults.too_large,
        "too-large",
        ("'cam1/0001/0001.jpg'", "89 million pixels", "Resize them"),
    ),
    Case(
        "link that leads nowhere",
        "sysu-mm01",
        faults.dangling_link,
        "unreadable",
        ("'cam1/0001/0001.jpg' (No such file", "fix broken links"),
    ),
    Case(
        "strangers",
        "sysu-mm01",
        lambda root: [
            (root / "cam1/0001" / name).write_bytes(b"x")
            for name in ("Thumbs.db", ".DS_Store", "._0001.jpg")
        ],
        "other-file",
        ("3 files of another kind", "'cam1/0001/Thumbs.db'", "'cam1/0001/._0001.jpg'", "Delete"),
    ),
    # Content.
    Case(
        "copy within an identity",
        "sysu-mm01",
        faults.copied("cam1/0001/0001.jpg", "cam1/0001/0003.jpg"),
        "duplicate",
        ("'cam1/0001/0001.jpg' = 'cam1/0001/0003.jpg' (identity 1)", "Delete all but one"),
    ),
    Case(
        "copy across identities",
        "sysu-mm01",
        faults.copied("cam1/0001/0001.jpg", "cam2/0005/0002.jpg"),
        "shared-by-identities",
        ("'cam1/0001/0001.jpg' = 'cam2/0005/0002.jpg' (identities 1 and 5)", "delete the other"),
    ),
    Case(
        "copy across identities in another encoding",
        "regdb",
        faults.shared_with_another_encoding,
        "shared-by-identities",
        ("'Thermal/", " = 'Thermal/", "(identities ", "delete the other"),
    ),
    Case(
        "copy across splits",
        "regdb",
        faults.shared_by_halves,
        "shared-by-splits",
        (" = 'Visible/", "(train and test)", "one split only"),
    ),
    Case(
        "cameras exchanged",
        "sysu-mm01",
        lambda root: faults.swap(root / "cam3", root / "cam5"),
        "swapped",
        (
            "15 of 15 infrared images of camera 3 are in colour",
            "camera 5 are grey",
            "swapped or",
        ),
    ),
    Case(
        "one image in colour",
        "sysu-mm01",
        faults.colour_in_infrared,
        "wrong-modality",
        ("1 of 15 infrared images of camera 3 is in colour: 'cam3/0001/0001.jpg'", "move those"),
    ),
    Case(
        "one grey image",
        "regdb",
        faults.grey_in_visible,
        "wrong-modality",
        ("1 of 16 visible images of camera 1 is grey: 'Visible/3/", "move those"),
    ),
    Case(
        "black images",
        "sysu-mm01",
        faults.flat,
        "flat",
        ("2 images", "'cam1/0001/0001.jpg', 'cam2/0005/0002.jpg'", "copy them again"),
    ),
    Case(
        "tiny image",
        "sysu-mm01",
        faults.tiny,
        "tiny",
        ("'cam1/0001/0001.jpg' (24 x 5 pixels)", "crop them again"),
    ),
    # Identities.
    Case(
        "training identity of one modality",
        "sysu-mm01",
        faults.no_infrared,
        "one-modality-train",
        ("1 identity of the train split", "'5' (no infrared image)", "Copy the missing images"),
    ),
    Case(
        "test identity of one modality",
        "regdb",
        faults.no_thermal_in_test,
        "one-modality-test",
        ("1 identity of the test split", "(no infrared image)", "Copy the missing images"),
    ),
    Case(
        "a single image of a modality",
        "sysu-mm01",
        faults.one_infrared,
        "few-images",
        ("'5' (1 infrared image)", "8 that a usual batch draws", "more images would help"),
    ),
    # Lists of RegDB.
    Case(
        "list missing",
        "regdb",
        lambda root: (root / "idx/test_thermal_7.txt").unlink(),
        "layout",
        ("lacks 1 of 40 lists: 'test_thermal_7.txt'", "from its authors"),
    ),
    Case(
        "list empty",
        "regdb",
        lambda root: (root / "idx/test_thermal_7.txt").write_text("\n"),
        "layout",
        ("test_thermal_7.txt' lists 0 images", "from its authors"),
    ),
    Case(
        "list damaged",
        "regdb",
        lambda root: faults.append(root / "idx/train_visible_9.txt", "Visible/1/a.bmp\nx y\n"),
        "layout",
        (
            "train_visible_9.txt' line 9 reads 'Visible/1/a.bmp', the first of 2",
            "'Visible/<identity>/<image>.bmp <label>'",
            "from its authors",
        ),
    ),
    Case(
        "file listed twice",
        "regdb",
        faults.list_twice,
        "layout",
        ("train_thermal_4.txt' names 1 file more than once: 'Thermal/", "each file once"),
    ),
    Case(
        "identity in both halves",
        "regdb",
        faults.both_halves,
        "layout",
        ("Trial 7", "for training and for testing", "disjoint lists"),
    ),
    Case(
        "two labels for an identity",
        "regdb",
        faults.two_labels,
        "layout",
        ("train lists of trial 2", "has label 77", "one label per identity"),
    ),
    Case(
        "listed file missing",
        "regdb",
        lambda root: sorted((root / "Thermal/5").iterdir())[1].unlink(),
        "layout",
        (
            "1 of 32 files that the lists name are not under",
            "'Thermal/5/male_back_t_00001_5.bmp'",
            "unpack",
        ),
    ),
    Case(
        "unlisted file",
        "regdb",
        faults.unlisted_file,
        "unused-images",
        ("1 image that no list names: 'Visible/3/new.bmp'", "move them out"),
    ),
    # LLCM.
    Case(
        "training list missing",
        "llcm",
        lambda root: (root / "idx/train_nir.txt").unlink(),
        "layout",
        ("train_nir.txt' does not exist", "from its authors"),
    ),
    Case(
        "listed training image missing",
        "llcm",
        lambda root: next((root / "vis/0002").iterdir()).unlink(),
        "layout",
        ("1 of 34 files that the training lists name", "'vis/0002/", "unpack the archive"),
    ),
    Case(
        "infrared image overwritten by a visible one",
        "llcm",
        lambda root: shutil.copy(
            root / "vis/0002/0002_c04_s185530_f701_vis.jpg",
            root / "nir/0002/0002_c05_s185530_f701_nir.jpg",
        ),
        # Two faults, for the colour image is a copy as well.
        "duplicate wrong-modality",
        ("'nir/0002/0002_c05_s185530_f701_nir.jpg'", "is in colour"),
    ),
)

ERRORS = {
    "layout",
    "empty",
    "damaged",
    "not-an-image",
    "too-large",
    "unreadable",
    "swapped",
    "shared-by-identities",
    "shared-by-splits",
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_planted_fault_is_named(case: Case, trees: dict[str, Path], tmp_path: Path) -> None:
    root = copy(trees[case.layout], tmp_path / "tree")
    case.plant(root)
    report = report_on(case.layout, root)
    kinds = {finding.fault.name for finding in report.findings}
    assert kinds == set(case.kind.split())
    text = str(report)
    for words in (*case.words, "expected", "Effect: "):
        assert words in text
    assert report.exit_status == (1 if kinds & ERRORS else 0)
    assert "No faults" not in text or kinds == {"few-images"}
    for finding in report.findings:
        # The fix is in the fault or, for lists and folders, in the sentence itself.
        assert finding.fault.fix or str(finding).count(";") >= 2
        assert str(finding).endswith(".")


def test_every_fault_at_once(trees: dict[str, Path], tmp_path: Path) -> None:
    """The first fault hides no other, even where a list is damaged that names the images."""
    root = copy(trees["sysu-mm01"], tmp_path / "tree")
    (root / "exp/train_id.txt").write_text("1,x")
    (root / "exp/rand_perm_cam.mat").unlink()
    (root / "cam1/0001/0001.jpg").write_bytes(b"")
    (root / "cam3/0010/0001.jpg").write_bytes(b"%PDF-1.7")
    os.truncate(root / "cam5/0003/0002.jpg", 660)
    (root / "cam6/0003/Thumbs.db").write_bytes(b"x")
    shutil.copy(root / "cam6/0003/0001.jpg", root / "cam6/0010/0001.jpg")
    report = report_on("sysu-mm01", root)
    assert [finding.fault.name for finding in report.findings] == [
        "layout",
        "layout",
        "empty",
        "not-an-image",
        "damaged",
        "shared-by-identities",
        "other-file",
    ]
    text = str(report)
    assert "images.\nNot counted, for the reasons below: train (" in text
    assert text.endswith("6 errors, 1 warning.")
    assert {count.found.split for count in report.counts} == {"test"}


def test_a_trial_that_there_is_not(trees: dict[str, Path]) -> None:
    report = check(DataSource(layout="regdb", root=trees["regdb"], trial=11))
    assert report.exit_status == 1
    assert "no trial 11; expected 1 to 10" in str(report)
    assert "no image was checked" in str(report)


def test_a_root_inside_the_tree(trees: dict[str, Path]) -> None:
    report = report_on("regdb", trees["regdb"] / "Visible")
    assert f"pass '{trees['regdb']}' instead." in str(report)


def test_the_companion_tree_of_macos_is_ignored(trees: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(trees["regdb"], tmp_path / "__MACOSX")
    shutil.copytree(trees["regdb"], tmp_path / "thedata")
    assert f"pass '{tmp_path / 'thedata'}' instead." in str(report_on("regdb", tmp_path))


def test_no_root(tmp_path: Path) -> None:
    report = report_on("llcm", tmp_path / "nowhere")
    assert f"'{tmp_path / 'nowhere'}' does not exist" in str(report)
    assert report.exit_status == 1


@pytest.fixture
def forbidding() -> Iterator[Path]:
    """A folder for a user without special rights, as whom the test goes on."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    user = os.geteuid()
    yield folder
    os.seteuid(user)
    for path in folder.rglob("*"):
        path.chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("name", "kind"), [("cam1/0001/0001.jpg", "unreadable"), ("cam1/0001", "layout")]
)
def test_what_may_not_be_read(
    trees: dict[str, Path], forbidding: Path, name: str, kind: str
) -> None:
    report_on("sysu-mm01", trees["sysu-mm01"])  # imports lazily loaded modules
    root = copy(trees["sysu-mm01"], forbidding / "tree")
    (root / name).chmod(0)
    if os.geteuid() == 0:
        os.seteuid(65534)
    report = report_on("sysu-mm01", root)
    assert {finding.fault.name for finding in report.findings} == {kind}
    assert f"{name}'" in str(report)
    assert "Permission denied" in str(report)
    assert "chmod" in str(report)
