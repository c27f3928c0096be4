"""Lists may spell the path of an image in several ways."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from tests.helpers.trees import copy, save_manifest, write_llcm, write_manifest, write_regdb

from vireid.data.check import check
from vireid.data.layouts import DataSource, LayoutName
from vireid.data.listing import list_images

SPELLINGS = {
    "./": lambda path: f"./{path}",
    ".//.": lambda path: f".//./{path}",
    "//": lambda path: path.replace("/", "//"),
    "..": lambda path: f"x/../{path}",
    "folder/..": lambda path: path.replace("/", "/../{}/", 1).format(path.split("/")[0]),
    "backslash": lambda path: path.replace("/", "\\"),
}


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[LayoutName, Path]:
    folder = tmp_path_factory.mktemp("lists")
    return {
        "regdb": write_regdb(folder / "RegDB", trials=range(1, 11), images=2),
        "llcm": write_llcm(folder / "LLCM", images=1),
        "manifest": write_manifest(folder / "own"),
    }


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("layout", ["regdb", "llcm", "manifest"])
def test_the_spelling_of_a_path_does_not_matter(
    layout: LayoutName, spelling: str, roots: dict[LayoutName, Path], tmp_path: Path
) -> None:
    spell = SPELLINGS[spelling]
    plain = roots[layout] if layout != "manifest" else roots[layout].parent
    root = copy(plain, tmp_path / plain.name)
    for file in [*root.glob("idx/train_*.txt"), *root.glob("idx/test_[vt]*.txt")]:
        lines = [line.rsplit(" ", 1) for line in file.read_text().splitlines()]
        file.write_text("".join(f"{spell(path)} {label}\n" for path, label in lines))
    for file in root.glob("*.csv"):
        with file.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        save_manifest(file, [{**row, "path": spell(row["path"])} for row in rows])
        listed = [image.path for image in list_images([str(file)])]
        assert all(path.is_file() for path in listed)
    source = DataSource(layout=layout, root=root)
    before, after = DataSource(layout=layout, root=plain).open(), source.open()
    for split in ("train", "val", "test"):
        records = getattr(after, split)()
        assert [(r.path.relative_to(root), r.identity, r.camera, r.modality) for r in records] == [
            (r.path.relative_to(plain), r.identity, r.camera, r.modality)
            for r in getattr(before, split)()
        ]
    report = check(source, threads=1)
    assert {f.fault.name for f in report.findings} == {
        f.fault.name for f in check(DataSource(layout=layout, root=plain), threads=1).findings
    }
    assert "unused-images" not in {f.fault.name for f in report.findings}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_file_listed_in_two_spellings_is_listed_twice(
    spelling: str, roots: dict[LayoutName, Path], tmp_path: Path
) -> None:
    root = copy(roots["regdb"], tmp_path / "RegDB")
    file = root / "idx/train_visible_1.txt"
    path, label = file.read_text().splitlines()[0].rsplit(" ", 1)
    with file.open("a") as opened:
        opened.write(f"{SPELLINGS[spelling](path)} {label}\n")
    problems = DataSource(layout="regdb", root=root).open().problems()
    assert any("1 file more than once" in problem for problem in problems)
