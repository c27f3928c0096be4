"""Bags: rounded meshes attached to bones, and their straps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vireid.synvi.body import Body, Template
from vireid.synvi.materials import Kind, Material
from vireid.synvi.outfit import Garment, Outfit
from vireid.synvi.parts import Part, layer, rigid
from vireid.synvi.regions import Regions
from vireid.synvi.shapes import rounded_box

__all__ = ["parts"]

Points = NDArray[np.float32]


def _material(bag: Garment, height: float) -> Material:
    """The bag's cloth, its pattern fitted to a bag: coordinates are centred on it."""
    material = bag.material
    if material.kind is Kind.RING:
        return replace(material, lengths=(0.08 * height, 0.12 * height, 0.0, 0.0))
    if material.kind is Kind.BLOCK:
        return replace(material, lengths=(0.0, 0.25 * height, -0.12 * height, 0.2 * height))
    return material


def _box_coords(points: Points) -> Points:
    """Cloth coordinates of a box: around, up, and sideways."""
    around = np.abs(np.arctan2(points[:, 0], points[:, 1])) * 0.12
    return np.stack([around, points[:, 2], points[:, 0]], axis=1).astype(np.float32)


def _strap(
    template: Template,
    body: Body,
    regions: Regions,
    *,
    cut: Points,
    outer: float,
    folds: Points,
    material: Material,
) -> Part | None:
    """A band on the outermost garment."""
    plain = replace(material, kind=Kind.PLAIN, folds=0.0)
    return layer(
        template,
        body,
        template.faces["tights"],
        offset=np.float32(outer + 0.008) + folds,
        cut=(cut - 3 * np.clip(regions.arm - 0.45, 0, 1)).astype(np.float32),
        coords=regions.coords,
        material=plain,
    )


def _backpack(
    template: Template, regions: Regions, body: Body, bag: Garment, outer: float, folds: Points
) -> list[Part | None]:
    width, depth, height = 0.29 * bag.loose, 0.15 * bag.loose, 0.42 * bag.loose
    ids = np.unique(template.faces["tights"])
    ids = ids[(np.abs(regions.x[ids]) < 0.1) & (regions.y[ids] > 0)]
    back = ids[(regions.z[ids] > 0.2) & (regions.z[ids] < 0.46)]
    shoulder = ids[(regions.z[ids] > 0.44) & (regions.z[ids] < 0.52)]
    top = float(body.rest[shoulder, 2].mean()) + 0.02
    surface = float(body.rest[back, 1].max()) + 0.6 * outer
    points, triangles = rounded_box((width, depth, height), exponent=0.42, rows=14, columns=24)
    coords = _box_coords(points)
    centre = np.array([0, surface + 0.46 * depth, top - height / 2], dtype=np.float32)
    # The upper edge leans onto the back.
    points[:, 1] -= 0.08 * np.maximum(points[:, 2], 0)
    bones = {template.bone("spine02"): 0.6, template.bone("spine01"): 0.4}
    material = _material(bag, height)
    straps = 0.021 - np.abs(np.abs(regions.x) - 0.088)
    straps = np.minimum(straps, regions.z - 0.22 + np.where(regions.y > 0.02, 0.3, 0.0))
    pocket, pocket_triangles = rounded_box((0.8 * width, 0.5 * depth, 0.42 * height), 0.4)
    pocket_coords = _box_coords(pocket)
    drop = np.array([0, 0.38 * depth, -0.2 * height], dtype=np.float32)
    pocket_material = replace(material, kind=Kind.PLAIN)
    return [
        rigid(points + centre, triangles, bones, material, coords),
        rigid(pocket + centre + drop, pocket_triangles, bones, pocket_material, pocket_coords),
        _strap(
            template,
            body,
            regions,
            cut=straps.astype(np.float32),
            outer=outer,
            folds=folds,
            material=bag.material,
        ),
    ]


def _shoulder_bag(
    template: Template, regions: Regions, body: Body, bag: Garment, outer: float, folds: Points
) -> list[Part | None]:
    side = 1.0 if bag.length < 0.5 else -1.0
    width, depth, height = 0.30 * bag.loose, 0.11 * bag.loose, 0.24 * bag.loose
    ids = np.unique(template.faces["tights"])
    hip = ids[(np.abs(regions.z[ids] - 0.0) < 0.05) & (regions.x[ids] * side > 0)]
    hip = hip[regions.arm[hip] < 0.1]
    reach = float(np.max(np.abs(body.rest[hip, 0])))
    points, triangles = rounded_box((depth, width, height), exponent=0.4)
    coords = _box_coords(points[:, [1, 0, 2]])
    centre = np.array(
        [side * (reach + outer + 0.45 * depth), 0.02, float(body.rest[hip, 2].mean()) - 0.02],
        dtype=np.float32,
    )
    bones = {template.bone("root"): 0.7, template.bone("spine04"): 0.3}
    # The strap runs from the hip to the other shoulder.
    start, stop = np.array([side * 0.15, 0.04]), np.array([-side * 0.085, 0.52])
    run = (stop - start) / np.linalg.norm(stop - start)
    away = np.abs((regions.x - start[0]) * run[1] - (regions.z - start[1]) * run[0])
    strap = np.minimum(0.019 - away, regions.z - 0.03)
    return [
        rigid(points + centre, triangles, bones, _material(bag, height), coords),
        _strap(
            template,
            body,
            regions,
            cut=strap.astype(np.float32),
            outer=outer,
            folds=folds,
            material=bag.material,
        ),
    ]


def _hand_bag(template: Template, body: Body, bag: Garment) -> list[Part | None]:
    side = "L" if bag.length < 0.5 else "R"
    wrist = body.heads[template.bone(f"wrist.{side}")].astype(np.float64)
    knuckle = body.heads[template.bone(f"finger3-1.{side}")].astype(np.float64)
    tip = body.heads[template.bone(f"finger3-3.{side}")].astype(np.float64)
    down = tip - wrist
    down /= np.linalg.norm(down)
    width, depth, height = 0.3 * bag.loose, 0.10 * bag.loose, 0.27 * bag.loose
    shape, triangles = rounded_box((depth, width, height), exponent=0.35)
    coords = _box_coords(shape[:, [1, 0, 2]])
    # In the rest pose the arm is held out; the bag's height follows the hand, so that it hangs
    # down once the arm does.
    outward = np.cross(down, [0.0, -1.0, 0.0])
    outward /= np.linalg.norm(outward)
    ahead = np.cross(outward, down)
    frame = np.stack([outward, ahead, -down], axis=1)
    handle, handle_triangles = rounded_box((0.015, 0.1, 0.12), exponent=0.5, rows=6, columns=10)
    bones = {template.bone(f"wrist.{side}"): 1.0}
    place = knuckle + down * (0.09 + height / 2)
    plain = replace(bag.material, kind=Kind.PLAIN)
    return [
        rigid(
            (shape @ frame.T + place).astype(np.float32),
            triangles,
            bones,
            _material(bag, height),
            coords,
        ),
        rigid(
            (handle @ frame.T + knuckle + down * 0.07).astype(np.float32),
            handle_triangles,
            bones,
            plain,
        ),
    ]


def parts(
    template: Template, regions: Regions, body: Body, outfit: Outfit, outer: float, folds: Points
) -> list[Part | None]:
    """Meshes of an identity's bags.

    Args:
        template: The shared template.
        regions: Its regions.
        body: The identity's rest shape.
        outfit: The identity's appearance.
        outer: Distance of the outermost garment from the body (m).
        folds: How much farther it stands off in its folds, ``[v]`` (m).

    Returns:
        The parts; None for an empty strap.
    """
    made: list[Part | None] = []
    if outfit.backpack is not None:
        made += _backpack(template, regions, body, outfit.backpack, outer, folds)
    if outfit.shoulder_bag is not None:
        made += _shoulder_bag(template, regions, body, outfit.shoulder_bag, outer, folds)
    if outfit.hand_bag is not None:
        made += _hand_bag(template, body, outfit.hand_bag)
    return made
