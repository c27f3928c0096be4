"""One's own data by a pattern: what is read, and how every planted fault is named."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.helpers.messages import only, refused
from tests.helpers.trees import copy, save_manifest, write_folders

from vireid.data.layouts import DataSource, Folders, Layout, Manifest
from vireid.errors import ConfigError
from vireid.types import Modality

PATTERN = "{split}/{modality}/cam{camera}/{identity}/{name}.jpg"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folders(tmp_path_factory.mktemp("x") / "cam3 rgb Bilder für 行人")


class TestFolders:
    def test_by_name(self, tree: Path) -> None:
        layout: Layout = DataSource(layout="folders", root=tree, pattern=PATTERN).open()
        assert (layout, layout.name, layout.root) == (Folders(tree, PATTERN), "folders", tree)
        assert layout.published() == ()
        assert layout.problems() == ()

    def test_the_same_as_a_manifest_of_them(self, tree: Path, tmp_path: Path) -> None:
        folders = Folders(tree, PATTERN)
        rows: list[dict[str, object]] = []
        for path in tree.rglob("*.jpg"):
            split, modality, camera, identity, _ = path.relative_to(tree).parts
            cells = (str(path), int(identity), int(camera[3:]), modality, split)
            columns = ("path", "identity", "camera", "modality", "split")
            rows.append(dict(zip(columns, cells, strict=True)))
        manifest = Manifest(save_manifest(tmp_path / "list.csv", rows))
        assert len(rows) == 36
        assert folders.train() == manifest.train()
        assert folders.val() == manifest.val()
        assert folders.query() == manifest.query()
        assert folders.gallery() == manifest.gallery()

    def test_fields_in_one_name(self, tmp_path: Path) -> None:
        pattern = "{modality} (x+y)/{identity}_c{camera}_{name}.jpg"
        layout = Folders(write_folders(tmp_path / "cam9 ir", pattern), pattern)
        assert {r.camera for r in layout.test()} == {1, 2, 4}
        assert set(layout.identity_names) == {1, 2, 3, 5, 7, 10}
        assert len(layout.test()) == 36
        assert layout.problems() == ()

    def test_without_split_all_is_query_and_gallery(self, tmp_path: Path) -> None:
        pattern = "{modality}/{identity}/{camera} {name}.png"
        layout = Folders(write_folders(tmp_path / "own", pattern), pattern)
        assert layout.query() == layout.gallery() == layout.test()
        assert {r.modality for r in layout.test()} == set(Modality)
        assert layout.val() == ()
        assert "by {split}" in refused(layout.train)

    def test_without_camera_it_is_0(self, tmp_path: Path) -> None:
        pattern = "{modality}/{identity}/{name}.png"
        layout = Folders(write_folders(tmp_path / "own", pattern), pattern)
        assert {r.camera for r in layout.test()} == {0}

    def test_a_field_takes_no_more_than_it_must(self, tmp_path: Path) -> None:
        (tmp_path / "ir").mkdir()
        (tmp_path / "ir/0001_c2_0007_c3_x.png").touch()
        (record,) = Folders(tmp_path, "{modality}/{identity}_c{camera}_{name}").test()
        assert (record.identity, record.camera) == (1, 2)

    def test_links_are_followed_but_not_in_circles(self, tree: Path, tmp_path: Path) -> None:
        (tmp_path / "train").symlink_to(tree / "train", target_is_directory=True)
        (tmp_path / "query").mkdir()
        (tmp_path / "query/again").symlink_to(tmp_path, target_is_directory=True)
        layout = Folders(tmp_path, PATTERN)
        assert len(layout.train()) == 18
        assert list(layout.walk().files) == sorted((tmp_path / "train").glob("*/*/*/*"))

    def test_what_is_no_image_is_passed_over_but_yielded(self, tree: Path, tmp_path: Path) -> None:
        root = copy(tree, tmp_path / "own")
        folder = root / "train/visible/cam1/1"
        for name in ("Thumbs.db", "._é0.jpg", "notes.txt"):
            (folder / name).touch()
        pattern = PATTERN.removesuffix(".jpg")
        assert len(Folders(root, pattern).train()) == len(Folders(tree, PATTERN).train())
        assert Folders(root, pattern).problems() == ()
        assert len(list(Folders(root, pattern).walk().files)) == 39

    def test_what_does_not_fit_is_reported(self, tree: Path, tmp_path: Path) -> None:
        root = copy(tree, tmp_path / "own")
        for name in ("a.jpg", "train/b.png", "train/visible/cam1/1/deeper/c.jpg", "d.JPG"):
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).touch()
        layout = Folders(root, PATTERN)
        message = only(layout.problems())
        assert f"4 of 40 images below '{root}' do not match the pattern '{PATTERN}'" in message
        assert "'a.jpg', 'd.JPG', 'train/b.png' and 1 more" in message
        assert len(layout.train()) == 18

    @pytest.mark.parametrize(
        "pattern", ["{modality}/{identity}.jpg", "{split}/cam{camera}/{modality}/{identity}/{name}"]
    )
    def test_nothing_fits(self, tree: Path, pattern: str) -> None:
        layout = Folders(tree, pattern)
        message = only(layout.problems())
        assert f"None of 36 images below '{tree}', such as 'gallery/visible/" in message
        assert f"'{pattern}'" in message
        for action in (layout.train, layout.val, layout.test, layout.query):
            assert refused(action) == message

    def test_no_images(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").touch()
        layout = Folders(tmp_path, PATTERN)
        assert f"None of 0 images below '{tmp_path}' matches" in only(layout.problems())

    def test_an_unknown_word(self, tree: Path, tmp_path: Path) -> None:
        root = copy(tree, tmp_path / "own")
        (root / "val").rename(root / "unsorted")
        layout = Folders(root, PATTERN)
        message = only(layout.problems())
        first = root / "unsorted/infrared/cam4/7/é0.jpg"
        assert f"'{first}' has the split 'unsorted'; expected train, val, query" in message
        assert "fix the pattern (the first of 6 such images)." in message
        assert refused(layout.train) == message

    def test_no_root(self, tmp_path: Path) -> None:
        assert "nowhere' does not exist" in refused(lambda: Folders(tmp_path / "nowhere", PATTERN))

    def test_hold_out_needs_images_of_val(self, tree: Path) -> None:
        pattern = "query/{modality}/cam{camera}/{identity}/{name}"
        with pytest.raises(ConfigError, match="--hold-out` needs images of the split val"):
            DataSource(layout="folders", root=tree, pattern=pattern, hold_out=True).open()
        held = DataSource(layout="folders", root=tree, pattern=PATTERN, hold_out=True).open()
        assert {r.identity for r in held.val()} == {7}


def test_a_pattern_with_another_layout(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not apply to the layout manifest; expected"):
        DataSource(layout="manifest", root=tmp_path, pattern=PATTERN).open()


def test_a_malformed_pattern(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--pattern '\{identity\}' has no field '\{modality\}'"):
        DataSource(layout="folders", root=tmp_path, pattern="{identity}").open()


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_times_from_paths(tmp_path: Path) -> None:
    touch(tmp_path, "2024-05-31/ir/yard/Ada/221500.png", "2024-05-31/rgb/gate/Ada/9915.png")
    layout = Folders(tmp_path, "{time:%Y-%m-%d}/{modality}/{camera}/{identity}/{time:%H%M%S}.png")
    (record,) = layout.test()
    assert record.time == datetime(2024, 5, 31, 22, 15, tzinfo=UTC)
    assert (record.identity_name, record.camera_name) == ("Ada", "yard")
    assert "1 of 2 images" in only(layout.problems())


def test_what_does_not_match_is_logged_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    touch(tmp_path, "ir/1/a.png", "rgb/1/b.png", *(f"{n}.png" for n in "wxyz"))
    layout = Folders(tmp_path, "{modality}/{identity}/{}")
    assert len(layout.test()) == len(layout.query()) == 2
    said = f"4 of 6 images below '{tmp_path}' do not match the pattern '{layout.pattern}':"
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{said} 'w.png', 'x.png', 'y.png' and 1 more; expected")


class TestAuto:
    def test_market_below_modalities(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        names = ("0002_c1s1_000451_03.jpg", "-1_c3s2_000001_00.jpg", "0002_c3s1_000451_03.jpg")
        for folder in ("bounding_box_train/RGB", "query/Thermal", "bounding_box_test/RGB"):
            touch(tmp_path, *(f"{folder}/{name}" for name in names))
        touch(tmp_path, "query/Thermal/readme.png")
        layout = Folders(tmp_path, "auto")
        assert {(r.identity, r.camera) for r in layout.test()} == {(2, 1), (-1, 3), (2, 3)}
        assert (len(layout.gallery()), len(layout.query())) == (3, 3)
        said = capsys.readouterr().err.splitlines()
        assert said[0] == (
            f"--pattern auto: '{{split}}/{{modality}}/{{identity}}_c{{camera}}s{{}}_{{}}_{{}}' for"
            f" '{tmp_path}', named as in Market-1501."
        )
        assert "1 of 10 images" in said[1]

    def test_no_known_names(self, tree: Path) -> None:
        layout = Folders(tree, "auto")
        message = only(layout.problems())
        assert "--pattern auto cannot tell the form of the names of 36 images (none" in message
        assert refused(layout.train) == message
