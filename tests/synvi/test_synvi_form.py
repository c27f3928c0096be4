"""The trees have the published form."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat

from vireid.synvi import Preset
from vireid.synvi.layouts import index_files
from vireid.synvi.presets import CROWD, PRESETS, Plan, check_preset, resolve

PROTOCOL = Path(__file__).resolve().parents[3] / "shared" / "protocol" / "sysu_mm01"
needs_protocol = pytest.mark.skipif(not PROTOCOL.is_dir(), reason="no ../shared/protocol here")


def _cameras(tree: Path) -> dict[int, dict[int, list[str]]]:
    """File names by camera and identity."""
    found: dict[int, dict[int, list[str]]] = {}
    for file in sorted(tree.glob("cam*/*/*")):
        camera = int(file.parts[-3].removeprefix("cam"))
        found.setdefault(camera, {}).setdefault(int(file.parts[-2]), []).append(file.name)
    return found


def test_sysu_folders_and_names(sysu_tree: Path) -> None:
    assert {p.name for p in sysu_tree.iterdir()} == {
        *(f"cam{c}" for c in range(1, 7)),
        "exp",
        "synvi.json",
        "DATA_CARD.md",
    }
    cameras = _cameras(sysu_tree)
    assert set(cameras) == {1, 2, 3, 4, 5, 6}
    for people in cameras.values():
        for number, names in people.items():
            assert names == [f"{i + 1:04d}.jpg" for i in range(len(names))]
            assert (sysu_tree / "cam3" / f"{number:04d}").is_dir()
    assert set(cameras[3]) == set(cameras[6]) == {1, 2, 3, 4, 5}


def test_sysu_lists_are_one_line_and_disjoint(sysu_tree: Path) -> None:
    lists = {}
    for name in ("train", "val", "test", "available"):
        text = (sysu_tree / "exp" / f"{name}_id.txt").read_text(encoding="ascii")
        assert text.count("\n") == 1
        assert text.endswith("\n")
        lists[name] = [int(word) for word in text.split(",")]
        stored = loadmat(sysu_tree / "exp" / f"{name}_id.mat")["id"]
        assert stored.dtype == np.uint16
        assert stored.shape == (1, len(lists[name]))
        assert stored[0].tolist() == lists[name]
    assert [len(lists[n]) for n in ("train", "val", "test")] == [2, 1, 2]
    assert sorted(lists["train"] + lists["val"] + lists["test"]) == lists["available"]
    assert lists["available"] == [1, 2, 3, 4, 5]


def test_permutations_fit_the_images(sysu_tree: Path) -> None:
    cells = loadmat(sysu_tree / "exp" / "rand_perm_cam.mat")["rand_perm_cam"]
    assert cells.shape == (6, 1)
    cameras = _cameras(sysu_tree)
    empty = 0
    for camera in range(6):
        for row in range(cells[camera, 0].shape[0]):
            permutation = cells[camera, 0][row, 0]
            count = len(cameras[camera + 1].get(row + 1, []))
            assert permutation.shape == (10, count)
            assert permutation.dtype == np.uint8
            wanted = np.tile(np.arange(1, count + 1), (10, 1))
            assert np.array_equal(np.sort(permutation, axis=1), wanted)
            empty += count == 0
    assert empty == sum(5 - len(people) for people in cameras.values())


@needs_protocol
def test_sysu_lists_match_the_official_structure() -> None:
    plan = resolve("sysu-mm01", "standard", 0)
    files = index_files(plan)
    official = loadmat(PROTOCOL / "rand_perm_cam.mat")["rand_perm_cam"]
    ours = loadmat(io.BytesIO(files["exp/rand_perm_cam.mat"]))["rand_perm_cam"]
    assert ours.dtype == official.dtype
    assert ours.shape == official.shape
    for camera in range(6):
        a, b = ours[camera, 0], official[camera, 0]
        assert a.dtype == b.dtype
        assert a.ndim == b.ndim == 2
        assert a.shape[1] == b.shape[1] == 1
        assert {c.dtype for c in a.ravel()} == {c.dtype for c in b.ravel()}
        assert {c.shape[0] for c in a.ravel()} == {c.shape[0] for c in b.ravel()} == {10}
    # Where someone is missing, both have an array of ten rows and no column.
    shapes = {c.shape for cam in ours.ravel() for c in cam.ravel() if c.size == 0}
    assert shapes == {(10, 0)}
    assert shapes == {c.shape for cam in official.ravel() for c in cam.ravel() if c.size == 0}
    for name in ("train", "test"):
        a = loadmat(io.BytesIO(files[f"exp/{name}_id.mat"]))
        b = loadmat(PROTOCOL / f"{name}_id.mat")
        assert a.keys() == b.keys()
        assert a["id"].dtype == b["id"].dtype
        assert a["id"].shape[0] == b["id"].shape[0] == 1
    for name in ("train", "val", "test", "available"):
        line = (PROTOCOL / f"{name}_id.txt").read_bytes()
        mine = files[f"exp/{name}_id.txt"]
        assert set(line) == set(mine) | (set(line) - set(mine))
        assert line.count(b"\n") == mine.count(b"\n") == 1
        assert line.endswith(b"\n") == mine.endswith(b"\n")
        assert set(mine) <= set(b"0123456789,\n")


@needs_protocol
def test_standard_galleries_follow_the_official_draw() -> None:
    """One image an identity and camera, drawn by the first column of each permutation."""
    plan = resolve("sysu-mm01", "standard", 0)
    cells = loadmat(io.BytesIO(index_files(plan)["exp/rand_perm_cam.mat"]))["rand_perm_cam"]
    paths = {f.path for f in plan.all_frames()}
    for number in plan.splits()["test"]:
        for camera in (1, 2, 4, 5):
            permutation = cells[camera - 1, 0][number - 1, 0]
            folder = f"cam{camera}/{number:04d}"
            if permutation.shape[1] == 0:
                assert not any(p.startswith(folder + "/") for p in paths)
            else:
                assert f"{folder}/{permutation[0, 0]:04d}.jpg" in paths


def test_regdb_names_and_files(regdb_tree: Path) -> None:
    assert {p.name for p in regdb_tree.iterdir()} == {
        "Visible",
        "Thermal",
        "idx",
        "synvi.json",
        "DATA_CARD.md",
    }
    for folder, letter in (("Visible", "v"), ("Thermal", "t")):
        files = sorted((regdb_tree / folder).glob("*/*"))
        assert len(files) == 8
        for file in files:
            gender, side, kind, serial, number = file.stem.split("_")
            assert gender in ("male", "female")
            assert side in ("front", "back")
            assert kind == letter
            assert len(serial) == 5
            assert number == file.parent.name
            assert file.suffix == ".bmp"
            with Image.open(file) as image:
                assert image.size == (64, 128)
                assert image.mode == "RGB"
                pixels = np.asarray(image)
            grey = (pixels[:, :, 0] == pixels[:, :, 1]).all() and (
                pixels[:, :, 1] == pixels[:, :, 2]
            ).all()
            assert grey == (folder == "Thermal")
            assert pixels.std() > 8


def _read_split(text: str) -> list[tuple[str, int]]:
    pairs = [line.split(" ") for line in text.splitlines()]
    return [(path, int(label)) for path, label in pairs]


@pytest.mark.parametrize("name", ["demo", "standard"])
def test_regdb_splits_are_ten_disjoint_halves(name: str) -> None:
    plan = resolve("regdb", name, 3)
    files = index_files(plan)
    half = plan.preset.identities // 2
    seen = set()
    for trial in range(1, 11):
        members = {}
        for split in ("train", "test"):
            orders = []
            for modality, folder in (("visible", "Visible"), ("thermal", "Thermal")):
                lines = _read_split(files[f"idx/{split}_{modality}_{trial}.txt"].decode())
                assert {label for _, label in lines} == set(range(half))
                assert len(lines) == half * plan.preset.images[0]
                people: dict[int, set[str]] = {}
                for path, label in lines:
                    assert path.startswith(f"{folder}/")
                    people.setdefault(label, set()).add(path.split("/")[1])
                assert all(len(p) == 1 for p in people.values())
                orders.append([next(iter(people[label])) for label in range(half)])
            assert orders[0] == orders[1]  # a label is one person in both modalities
            members[split] = set(orders[0])
        assert not members["train"] & members["test"]
        assert len(members["train"] | members["test"]) == plan.preset.identities
        seen.add(frozenset(members["train"]))
    assert len(seen) == 10


def test_regdb_lists_name_files_that_exist(regdb_tree: Path) -> None:
    lists = sorted((regdb_tree / "idx").iterdir())
    assert len(lists) == 40
    for file in lists:
        for path, _ in _read_split(file.read_text(encoding="ascii")):
            assert (regdb_tree / path).is_file()


def test_infrared_images_are_grey_and_visible_ones_are_not(sysu_tree: Path, tiny: Preset) -> None:
    for camera, people in _cameras(sysu_tree).items():
        for number, names in people.items():
            for name in names:
                with Image.open(sysu_tree / f"cam{camera}" / f"{number:04d}" / name) as image:
                    assert image.format == "JPEG"
                    assert image.mode == "RGB"
                    pixels = np.asarray(image).astype(np.int16)
                height, width, _ = pixels.shape
                assert 190 * tiny.scale - 1 <= height <= 340 * tiny.scale + 1
                assert 0.2 * height < width < 1.3 * height
                assert pixels.std() > 8
                apart = np.abs(pixels - pixels.mean(axis=2, keepdims=True)).max()
                if camera in (3, 6):
                    assert apart == 0
                else:
                    assert apart > 10


def test_card_counts_and_says_what_the_data_is_not(sysu_tree: Path) -> None:
    card = json.loads((sysu_tree / "synvi.json").read_text(encoding="utf-8"))
    images = len(list(sysu_tree.glob("cam*/*/*.jpg")))
    assert card["images"] == images == sum(c["images"] for c in card["cameras"])
    assert card["identities"] == 5
    assert card["seed"] == 11
    for text in (card["statement"], (sysu_tree / "DATA_CARD.md").read_text(encoding="utf-8")):
        assert "Nobody real is depicted" in text
        assert "say nothing about real people" in text


@pytest.mark.parametrize("key", sorted(PRESETS))
def test_presets_hold_what_is_promised(key: tuple[str, str]) -> None:
    layout, name = key
    plan: Plan = resolve(layout, name, 0)
    counts = [len(plan.frames(n)) for n in plan.numbers()]
    if key == ("sysu-mm01", "standard"):
        splits = plan.splits()
        assert len(splits["train"]) + len(splits["val"]) >= 300
        assert len(splits["test"]) >= 100
        assert min(counts) >= 20
    if key == ("regdb", "standard"):
        assert len(counts) == 412
        assert set(counts) == {20}
    if layout == "sysu-mm01":
        absent = sum(all(f.camera != 0 for f in plan.frames(n)) for n in plan.numbers())
        assert 0.1 < absent / len(counts) < 0.5


def test_every_preset_can_be_rendered() -> None:
    for (layout, _), preset in PRESETS.items():
        check_preset(layout, preset)
    check_preset("sysu-mm01", CROWD)
