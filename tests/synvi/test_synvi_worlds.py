"""Worlds: cameras of their own for each group of people, in three bands."""

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vireid.data.layouts.manifest import Manifest
from vireid.errors import ConfigError
from vireid.synvi import Preset, render
from vireid.synvi.body import BodyModel
from vireid.synvi.generate import read_plan
from vireid.synvi.layouts import index_files
from vireid.synvi.presets import Plan, resolve
from vireid.synvi.scene import render_shot
from vireid.synvi.sensors import develop
from vireid.synvi.sheets import contact_sheet
from vireid.synvi.worker import Renderer
from vireid.synvi.worlds import BANDS, draw_camera
from vireid.types import Modality


def _rows(tree: Path) -> list[dict[str, str]]:
    with (tree / "manifest.csv").open(encoding="ascii", newline="") as file:
        return list(csv.DictReader(file))


def test_a_tree_is_own_data_in_three_bands(worlds_tree: Path) -> None:
    layout = Manifest(worlds_tree)
    assert layout.problems() == ()
    assert len(layout.train()) == len(layout.test()) == 2 * len(BANDS)
    rows = _rows(worlds_tree)
    assert len(rows) == 6 * len(BANDS)
    for number in range(1, 7):
        bands = [row["band"] for row in rows if row["identity"] == str(number)]
        assert bands == list(BANDS)
    assert {row["band"]: row["modality"] for row in rows} == {
        "visible": "visible",
        "near-infrared": "infrared",
        "thermal": "infrared",
    }
    records = {record.path: record for record in layout.train()}
    for path, record in records.items():
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB")).astype(int)
        grey = np.abs(pixels - pixels.mean(axis=2, keepdims=True)).mean() < 1
        assert grey == (record.modality is Modality.INFRARED)


def test_splits_share_neither_people_nor_cameras() -> None:
    plan = resolve("worlds", Preset("four", 4, 2, 2, (1, 1, 1, 1, 1, 1), people=2), 3)
    splits = plan.splits()
    assert sorted(n for numbers in splits.values() for n in numbers) == list(range(1, 9))
    cameras = {
        name: {frame.camera for number in numbers for frame in plan.frames(number)}
        for name, numbers in splits.items()
    }
    assert len(plan.cameras) == 4 * len(BANDS)
    assert sum(len(own) for own in cameras.values()) == len(plan.cameras)
    assert set.union(*cameras.values()) == set(range(len(plan.cameras)))


def test_cameras_differ_and_do_not_depend_on_the_number_of_worlds() -> None:
    def cameras(people: int) -> Plan:
        preset = Preset("n", people, 0, people, (1, 1, 1, 1, 1, 1), people=1)
        return resolve("worlds", preset, 0)

    small, large = cameras(1).cameras, cameras(3).cameras
    assert large[: len(small)] == small
    assert len({camera.eye for camera in large}) == len(large)
    assert len({camera.sensor for camera in large}) == len(large)
    distances = [float(np.hypot(camera.eye[0], camera.eye[1])) for camera in large]
    assert min(distances) >= 1
    assert max(distances) > 1.5 * min(distances)


def test_half_of_the_infrared_cameras_hang_next_to_a_visible_one() -> None:
    preset = Preset("n", 30, 0, 1, (1, 1, 1, 1, 1, 1), people=1)
    cameras = resolve("worlds", preset, 0).cameras
    paired = 0
    for start in range(0, len(cameras), len(BANDS)):
        world = cameras[start : start + len(BANDS)]
        for i in range(2, len(BANDS)):
            gap = float(np.linalg.norm(np.array(world[i].eye) - np.array(world[i % 2].eye)))
            same = world[i].environment == world[i % 2].environment
            assert same == (gap < 0.8)
            paired += same
    assert 0.35 < paired / (4 * 31) < 0.65


def test_nothing_of_a_place_stands_between_the_camera_and_the_person() -> None:
    for seed in range(60):
        camera = draw_camera(np.random.default_rng(seed), 1, BANDS[seed % 6])
        eye, position = np.array(camera.eye), np.array((0.0, 0.3, 1.0))
        for solid in camera.environment.solids[1:]:
            low, high = np.array(solid.low), np.array(solid.high)
            for step in np.linspace(0, 1, 50):
                point = eye + step * (position - eye)
                assert not ((point > low) & (point < high)).all(), (seed, solid)


def test_the_same_seed_gives_the_same_bytes(worlds_tree: Path, tmp_path: Path) -> None:
    plan = read_plan(worlds_tree)
    assert any(map(plan.companion, plan.all_frames()))
    again = tmp_path / "again"
    render(again, layout="worlds", preset=plan.preset, seed=plan.seed, workers=2)
    files = sorted(p.relative_to(worlds_tree) for p in worlds_tree.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(again) for p in again.rglob("*") if p.is_file())
    for file in files:
        assert (again / file).read_bytes() == (worlds_tree / file).read_bytes()


def test_some_images_show_a_second_person_of_the_same_world() -> None:
    plan = resolve("worlds", Preset("two", 120, 0, 120, (3,) * 6, people=10), 1)
    frames = plan.all_frames()
    found = [(frame, company) for frame in frames if (company := plan.companion(frame))]
    assert 0.1 < len(found) / len(frames) < 0.15
    assert {plan.world(frame.identity) for frame, _ in found} == set(range(24))
    for frame, (number, shot) in found:
        assert number != frame.identity
        assert plan.world(number) == plan.world(frame.identity)
        first = plan.shot(frame)[0]
        assert 0.4 < np.hypot(*np.subtract(shot.position, first.position)) < 5
        assert shot.pose != first.pose
    # One person has several companions, so that a companion does not give a person away.
    assert max(len({c for f, (c, _) in found if f.identity == n}) for n in plan.numbers()) > 2
    for layout in ("sysu-mm01", "regdb"):
        other = resolve(layout, "demo", 1)
        assert not any(map(other.companion, other.all_frames()))


def test_the_second_person_changes_the_image_but_not_the_box() -> None:
    plan = resolve("worlds", Preset("two", 6, 0, 6, (2,) * 6, people=6), 1)
    model = BodyModel()
    renderer = Renderer.build(plan, model.template)
    frames = [frame for frame in plan.all_frames() if plan.companion(frame)][:8]
    people = [renderer.person(n, model.body(plan.identity(n).phenotype)) for n in range(1, 7)]
    shown = 0
    for frame in frames:
        number, beside = plan.companion(frame) or (0, plan.shot(frame)[0])
        person, camera, shot = (
            people[frame.identity - 1],
            plan.cameras[frame.camera],
            plan.shot(frame)[0],
        )
        alone = render_shot(person, camera, shot)
        both = render_shot(person, camera, shot, second=(people[number - 1], beside))
        assert both.radiance.shape == alone.radiance.shape
        assert (both.mask <= alone.mask).all()
        changed = (both.radiance != alone.radiance).any(axis=2)
        outside = alone.mask == 0
        shown += bool(changed[outside].mean() > 0.02)
    assert len(frames) == 8
    assert shown >= 6


def test_black_hot_is_the_negative_of_white_hot() -> None:
    camera = draw_camera(np.random.default_rng(5), 1, "thermal")
    radiance = np.random.default_rng(0).random((40, 20, 3), dtype=np.float32)
    quiet = dataclasses.replace(
        camera.sensor, read=0.0, gain=0.8, level=0.0, drift=0.0, halo=0.0, black_hot=False
    )
    inverted = dataclasses.replace(quiet, black_hot=True)
    hot = develop(radiance, quiet, "thermal", np.random.default_rng(1)).astype(int)
    cold = develop(radiance, inverted, "thermal", np.random.default_rng(1)).astype(int)
    # The fixed pattern of the columns is added after the inversion.
    assert np.abs(hot + cold - 255).mean() < 4
    assert hot.std() > 20


def test_the_card_sums_up_many_cameras() -> None:
    plan = resolve("worlds", Preset("n", 4, 0, 4, (2, 1, 1, 1, 1, 1), people=2), 0)
    card = index_files(plan)["DATA_CARD.md"].decode()
    assert "| 8 cameras | visible | 24 |" in card
    assert "| 8 cameras | thermal | 16 |" in card


def test_contact_sheet(worlds_tree: Path, tmp_path: Path) -> None:
    with Image.open(contact_sheet(worlds_tree, tmp_path / "sheet.png", identities=2)) as sheet:
        assert np.asarray(sheet).std() > 10


def test_splits_of_part_of_a_world_are_refused() -> None:
    with pytest.raises(ConfigError, match="people=4"):
        resolve("worlds", Preset("odd", 6, 0, 4, (1, 1, 1, 1, 1, 1), people=4), 0)
