"""People: drawn independently in each band, posed on the ground, the same to every camera."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from vireid.synvi.body import Body, BodyModel
from vireid.synvi.cameras import Sensor, sysu_cameras
from vireid.synvi.clothing_mesh import build_figure
from vireid.synvi.gait import Pose, bone_transforms
from vireid.synvi.materials import COLUMNS, Kind, Material, table
from vireid.synvi.outfit import Garment, draw_outfit
from vireid.synvi.parts import Figure
from vireid.synvi.presets import Plan, resolve
from vireid.synvi.raster import rasterise
from vireid.synvi.sensors import develop
from vireid.synvi.worker import Renderer

DRAWS = 1500


@pytest.fixture(scope="module")
def cloths() -> list[Material]:
    """Materials of tops and bottoms of many identities."""
    rng = np.random.default_rng(5)
    outfits = [draw_outfit(rng, float(rng.integers(2))) for _ in range(DRAWS // 2)]
    return [m for o in outfits for m in (o.top.material, o.bottom.material)]


def _luminance(material: Material) -> float:
    return float(np.dot(material.visible[0], (0.21, 0.72, 0.07)) ** 0.4)


def test_infrared_reflectance_does_not_follow_colour(cloths: list[Material]) -> None:
    light = np.array([_luminance(m) for m in cloths])
    infrared = np.array([m.infrared[0] for m in cloths])
    warmth = np.array([m.warmth[0] for m in cloths])
    channels = np.array([m.visible[0] for m in cloths])
    for seen in (light, *channels.T):
        # Four standard errors of a correlation of nothing.
        assert abs(np.corrcoef(seen, infrared)[0, 1]) < 4 / np.sqrt(len(cloths))
        assert abs(np.corrcoef(seen, warmth)[0, 1]) < 4 / np.sqrt(len(cloths))
    # Among garments equally bright in the visible, the infrared spreads as among all.
    dark = infrared[light < np.quantile(light, 0.2)]
    assert dark.std() > 0.85 * infrared.std()
    assert infrared.std() > 0.15


def test_some_patterns_vanish_in_the_infrared_and_most_stay(cloths: list[Material]) -> None:
    patterned = [m for m in cloths if m.kind is not Kind.PLAIN]
    gone = [abs(m.infrared[0] - m.infrared[1]) < 0.15 * m.infrared[0] for m in patterned]
    assert 0.12 < np.mean(gone) < 0.45
    assert all(m.warmth[0] == m.warmth[1] for m in patterned)  # no pattern in thermal light


def test_bands_read_their_own_columns() -> None:
    material = Material(((0.1, 0.2, 0.3), (0.4, 0.5, 0.6)), (0.7, 0.8), (0.15, 0.25))
    assert table([material], "visible").shape == (1, COLUMNS)
    assert table([material], "visible")[0, :6].tolist() == pytest.approx(
        [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    )
    assert table([material], "near-infrared")[0, :6].tolist() == pytest.approx(
        [0.7] * 3 + [0.8] * 3
    )
    assert table([material], "thermal")[0, :6].tolist() == pytest.approx([0.15] * 3 + [0.25] * 3)


@pytest.fixture(scope="module")
def stage() -> tuple[Plan, Renderer, Body]:
    """A plan, what renders it, and the body of its first identity."""
    plan = resolve("sysu-mm01", "demo", 1)
    model = BodyModel()
    body = model.body(plan.identity(1).phenotype)
    return plan, Renderer.build(plan, model.template), body


def test_an_identity_is_drawn_from_its_number_alone(stage: tuple[Plan, Renderer, Body]) -> None:
    plan, _, _ = stage
    later = [plan.identity(n) for n in (3, 2, 1)]
    assert [plan.identity(n) for n in (1, 2, 3)] == later[::-1]
    frame = plan.frames(1)[-1]
    assert plan.shot(frame)[0] == plan.shot(frame)[0]
    assert plan.identity(1) != replace(plan, seed=2).identity(1)


def test_legs_swing_and_the_body_stays_whole(stage: tuple[Plan, Renderer, Body]) -> None:
    plan, renderer, body = stage
    template, gait = renderer.template, plan.identity(1).gait

    def ankles(phase: float) -> NDArray[np.float64]:
        pose = Pose(phase, False, 0.0, 0.0, 0.0, 0)
        bones = bone_transforms(template, body, gait, pose)
        assert np.allclose(np.linalg.det(bones[:, :, :3]), 1, atol=1e-4)
        ids = [template.bone(f"foot.{side}") for side in "LR"]
        heads = np.concatenate([body.heads[ids], np.ones((2, 1))], axis=1)
        return np.asarray(np.einsum("bij,bj->bi", bones[ids], heads))

    left_first, right_first = ankles(0.0), ankles(0.5)
    # People face -y: the foot that strikes is the one in front.
    assert left_first[0, 1] < left_first[1, 1] - 0.3
    assert right_first[1, 1] < right_first[0, 1] - 0.3
    assert ankles(0.72)[0, 2] > ankles(0.72)[1, 2] + 0.05  # the swinging foot is lifted


def test_figure_is_a_closed_set_of_parts(stage: tuple[Plan, Renderer, Body]) -> None:
    _, renderer, body = stage
    figure: Figure = renderer.person(1, body).skinning.figure
    assert figure.triangles.min() == 0
    assert figure.triangles.max() == len(figure.rest) - 1
    assert figure.surface.max() == len(figure.materials) - 1
    assert np.allclose(figure.weights.sum(axis=1), 1, atol=1e-4)
    assert np.isfinite(figure.rest).all()
    assert np.isfinite(figure.cut).all()


def test_person_fills_its_box(stage: tuple[Plan, Renderer, Body]) -> None:
    plan, renderer, body = stage
    for frame in plan.frames(1)[:3]:
        mask = renderer.mask({1: body}, frame)
        assert mask.min() >= 0
        assert mask.max() <= 1
        rows = np.flatnonzero(mask.max(axis=1) > 0.5)
        assert len(rows) > 0.6 * len(mask)
        assert 0.1 < mask.mean() < 0.75


def test_nearest_triangle_wins_and_hems_are_cut() -> None:
    square = [(0, 0), (8, 0), (8, 8), (0, 8)]
    points = np.array([(x, y, key) for key in (0.5, 1.0) for x, y in square], dtype=np.float32)
    triangles = np.array([(0, 1, 2), (0, 2, 3), (4, 5, 6), (4, 6, 7)], dtype=np.int32)
    cut = np.ones(8, dtype=np.float32)
    seen = rasterise(points, cut, triangles, 8, 8)
    assert set(seen.triangle.ravel()) == {2, 3}
    cut[4:] = [-1, 1, 1, -1]  # the nearer square is cut off in its left half
    seen = rasterise(points, cut, triangles, 8, 8)
    assert (seen.triangle[:, :4] < 2).all()
    assert (seen.triangle[:, :4] >= 0).all()
    assert (seen.triangle[:, 4:] >= 2).all()
    assert seen.inverse_depth[4, 6] == pytest.approx(1.0)


@pytest.mark.parametrize("band", ["visible", "near-infrared", "thermal"])
def test_sensor_is_repeatable_and_noisy(band: str) -> None:
    radiance = np.full((40, 20, 3), 0.3, dtype=np.float32)
    first, again = (
        develop(radiance, Sensor(), band, np.random.default_rng(4))  # type: ignore[arg-type]
        for _ in range(2)
    )
    assert np.array_equal(first, again)
    assert first.dtype == np.uint8
    assert first.std() > 0
    if band != "visible":
        assert (first == first[:, :, :1]).all()


def test_infrared_cameras_are_three_and_six_and_three_shares_a_room_with_two() -> None:
    cameras = {c.number: c for c in sysu_cameras()}
    assert [n for n, c in cameras.items() if c.band != "visible"] == [3, 6]
    assert cameras[2].environment == cameras[3].environment
    assert len({c.environment.name for c in cameras.values()}) == 5


def test_clothes_of_the_street_hang_in_folds(stage: tuple[Plan, Renderer, Body]) -> None:
    plan, renderer, body = stage
    outfit = plan.identity(1).outfit
    assert outfit.top.material.creases == 0

    def built(bottom: Garment) -> Figure:
        made = replace(outfit, bottom=bottom)
        return build_figure(renderer.template, renderer.regions, body, made)

    for style, least in (("wide", 0.02), ("skirt", 0.01), ("leggings", 0.0)):
        flat = replace(outfit.bottom, style=style)
        creased = replace(flat, material=replace(flat.material, creases=1.0))
        smooth, folded = built(flat), built(creased)
        assert np.array_equal(smooth.triangles, folded.triangles)
        moved = np.linalg.norm(folded.rest - smooth.rest, axis=1)
        assert least <= moved.max() < 0.07
        # Cloth hangs from the waist: above it nothing moves, and the shoes do not either.
        assert moved[smooth.rest[:, 2] > 0.4].max() == 0
        assert moved[smooth.surface_vertices(0)].max() == 0
