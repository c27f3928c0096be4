"""Which data set is which: by the contents of images, wherever they lie."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.helpers.trees import (
    copy,
    save_manifest,
    write_arrays,
    write_folders,
    write_llcm,
    write_manifest,
    write_regdb,
    write_sysu,
)

from vireid.data.layouts import DataSource
from vireid.data.provenance import Provenance, content_fingerprint, dataset_name
from vireid.errors import DatasetError


def arrays(root: Path, *, seed: int = 0) -> Path:
    return write_arrays(root, tree=write_sysu(root, seed=seed))


PATTERN = "{split}/{modality}/cam{camera}/{identity}/{name}.jpg"
SOURCES: dict[str, tuple[DataSource, Callable[..., Path]]] = {
    "SYSU-MM01": (DataSource(layout="sysu-mm01", root=Path()), write_sysu),
    "RegDB": (DataSource(layout="regdb", root=Path(), trial=2), write_regdb),
    "LLCM": (DataSource(layout="llcm", root=Path()), write_llcm),
    "manifest": (DataSource(layout="manifest", root=Path()), write_manifest),
    "folders": (DataSource(layout="folders", root=Path(), pattern=PATTERN), write_folders),
    "arrays": (DataSource(layout="sysu-mm01-npy", root=Path()), arrays),
}


def written(name: str, root: Path, *, seed: int = 0) -> DataSource:
    source, write = SOURCES[name]
    return source.at(write(root, seed=seed))


@pytest.mark.parametrize("name", SOURCES)
def test_a_data_set_is_recognised_where_it_was_moved_to(name: str, tmp_path: Path) -> None:
    source = written(name, tmp_path / "here" / "data")
    data = Provenance.of(source.open())
    assert data.relation(source.open()) == "own"
    there = copy(tmp_path / "here" / "data", tmp_path / "there 夜")
    root = there / source.root.name if source.root.suffix else there
    assert data.relation(source.at(root).open()) == "own"
    data.require_same_training(source.at(root).open())


@pytest.mark.parametrize("name", [name for name in SOURCES if name != "arrays"])
def test_training_is_not_continued_on_other_images(name: str, tmp_path: Path) -> None:
    data = Provenance.of(written(name, tmp_path / "a" / "data").open())
    other = written(name, tmp_path / "b" / "data", seed=1)
    with pytest.raises(DatasetError, match=r"sampled images are missing .* --root DIR"):
        data.require_same_training(other.open())


@pytest.mark.parametrize("name", SOURCES)
def test_another_data_set_of_the_same_names_and_identities(name: str, tmp_path: Path) -> None:
    data = Provenance.of(written(name, tmp_path / "a" / "data").open())
    other = written(name, tmp_path / "b" / "data", seed=1)
    assert data.relation(other.open()) == "other data set"
    assert data.name == dataset_name(other.open())


def test_all_pairs_of_layouts(tmp_path: Path) -> None:
    layouts = {name: written(name, tmp_path / name).open() for name in SOURCES}
    for name, layout in layouts.items():
        data = Provenance.of(layout)
        for other, target in layouts.items():
            sysu = {name, other} == {"SYSU-MM01", "arrays"}  # the same tree
            assert data.relation(target) == ("own" if name == other or sysu else "other data set")


def test_test_images_suffice(tmp_path: Path) -> None:
    source = written("folders", tmp_path / "own")
    data = Provenance.of(source.open())
    shutil.rmtree(tmp_path / "own" / "train")
    assert data.relation(source.open()) == "own"
    shutil.rmtree(tmp_path / "own" / "gallery" / "visible" / "cam1")
    assert data.relation(source.open()) == "other images"


def test_training_images_suffice(tmp_path: Path) -> None:
    """A data set that got its test images after the training."""
    source = written("folders", tmp_path / "own")
    for split in ("query", "gallery"):
        shutil.move(tmp_path / "own" / split, tmp_path / split)
    data = Provenance.of(source.open())
    assert (data.tested, data.test_fingerprint) == ((), "")
    for split in ("query", "gallery"):
        shutil.move(tmp_path / split, tmp_path / "own" / split)
    assert data.relation(source.open()) == "other images"


def test_another_split_of_the_same_data_set_is_refused(tmp_path: Path) -> None:
    source = written("RegDB", tmp_path / "RegDB")
    data = Provenance.of(source.open())
    with pytest.raises(DatasetError, match=r"training images of this network are among the test"):
        data.relation(replace(source, trial=1).open())


def test_the_same_images_in_another_layout(tmp_path: Path) -> None:
    sysu = written("SYSU-MM01", tmp_path / "data").open()
    data = Provenance.of(sysu)

    def listed(split: str) -> DataSource:
        records = sysu.test() if split == "test" else sysu.train()
        rows = [
            {
                "path": record.path.relative_to(tmp_path).as_posix(),
                "identity": f"person {record.identity}",
                "modality": record.modality.value,
                "split": "test",
            }
            for record in records
        ]
        file = save_manifest(tmp_path / f"{split}.csv", rows)
        return DataSource(layout="manifest", root=file)

    assert data.relation(listed("test").open()) == "other images"
    with pytest.raises(DatasetError, match="among the test images"):
        data.relation(listed("train").open())


def test_arrays_without_the_tree(tmp_path: Path) -> None:
    """Arrays have no image files: SYSU-MM01 is recognised by its name."""
    tree = written("SYSU-MM01", tmp_path / "tree")
    root = write_arrays(tmp_path / "arrays", tree=tree.root)
    data = Provenance.of(DataSource(layout="sysu-mm01-npy", root=root).open())
    assert (data.seen, data.tested) == ((), ())
    assert data.relation(tree.open()) == "other images"
    assert data.relation(written("LLCM", tmp_path / "llcm").open()) == "other data set"


def test_a_network_that_started_from_another(tmp_path: Path) -> None:
    """All that it was trained on counts, the first training too."""
    first = written("RegDB", tmp_path / "RegDB")
    second = written("LLCM", tmp_path / "LLCM")
    data = Provenance.of(second.open(), start=Provenance.of(first.open()))
    assert data.trained_on == "LLCM, before on RegDB trial 2"
    assert data.relation(second.open()) == "own"
    assert data.relation(first.open()) == "other images"
    assert data.relation(written("folders", tmp_path / "own").open()) == "other data set"
    with pytest.raises(DatasetError, match="among the test images"):
        data.relation(replace(first, trial=1).open())
    again = Provenance.of(replace(first, trial=1).open(), start=Provenance.of(first.open()))
    with pytest.raises(DatasetError, match="among the test images"):
        again.relation(replace(first, trial=1).open())


def test_names(tmp_path: Path) -> None:
    own = written("manifest", tmp_path / "own")
    assert dataset_name(own.open()) == "own data manifest.csv"
    regdb = written("RegDB", tmp_path / "RegDB")
    assert dataset_name(regdb.open()) == "RegDB trial 2"
    (regdb.root / "synvi.json").write_text("{}")
    assert dataset_name(regdb.open()) == "SynVI as RegDB trial 2"


def test_fingerprint_sees_contents_and_labels(tmp_path: Path) -> None:
    records = written("folders", tmp_path / "own").open().test()
    found = {content_fingerprint(records)}
    found.add(content_fingerprint(records[1:]))
    renamed = replace(records[0], identity=99, identity_name="99")
    found.add(content_fingerprint([renamed, *records[1:]]))
    assert content_fingerprint(records[::-1]) in found
    records[0].path.write_bytes(b"another picture")
    found.add(content_fingerprint(records))
    assert len(found) == 4
