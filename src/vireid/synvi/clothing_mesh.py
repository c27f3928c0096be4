"""Builds the mesh of an outfit on a body."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vireid.synvi import bags, hair
from vireid.synvi.body import Body, Template
from vireid.synvi.materials import Kind, Material
from vireid.synvi.outfit import Garment, Outfit
from vireid.synvi.parts import Figure, Part, assemble, layer
from vireid.synvi.regions import ANKLE, CROTCH, KNEE, NECK, SOLE, WAIST, Regions

__all__ = ["build_figure"]

Field = NDArray[np.float32]
_OVERLAP = np.float32(0.03)  # overlap of a layer with the one above it (m)
_NOWHERE = np.float32(-1.0)


@dataclass(frozen=True, slots=True)
class _Cover:
    """Extent of each layer, as signed distances on the template (``[v]``, positive inside)."""

    top: Field
    bottom: Field
    skirt: Field
    coat: Field
    tails: Field
    shoes: Field


def _lerp(low: float, high: float, t: float) -> float:
    return low + (high - low) * t


def _off_the_arm(regions: Regions) -> Field:
    """Excludes the trunk from the sleeves' cut: distance along the arm is undefined there."""
    return np.asarray(2.0 * np.clip(0.4 - regions.arm, 0.0, None), dtype=np.float32)


def _top_cut(garment: Garment, regions: Regions) -> Field:
    hem = _lerp(-0.02, 0.09, garment.length)
    if garment.style == "hoodie":
        hem = _lerp(-0.03, 0.03, garment.length)
    collar = NECK + 0.3 * regions.y
    if garment.style == "tank":
        collar = collar - 0.06
    if garment.style == "hoodie" or (garment.style == "sweater" and garment.length > 0.6):
        collar = np.full_like(regions.y, 0.59)
    # The collar cuts only the middle, not shoulders and sleeves.
    collar = np.where(np.abs(regions.x) < 0.12, collar, 0.7) + regions.arm
    sleeves = garment.sleeve * regions.reach - regions.along + _off_the_arm(regions)
    trunk = regions.z - hem + 10 * regions.arm
    return np.asarray(np.minimum(np.minimum(trunk, sleeves), collar - regions.z), dtype=np.float32)


def _legs_cut(garment: Garment, regions: Regions) -> Field:
    hem = {
        "shorts": _lerp(KNEE + 0.12, KNEE - 0.02, garment.length),
        "leggings": ANKLE + 0.03,
        "slim": ANKLE + _lerp(-0.005, 0.03, garment.length),
    }.get(garment.style, ANKLE - 0.025)
    cut = np.minimum(WAIST - regions.z, regions.z - hem) - 10 * regions.arm
    return np.asarray(cut, dtype=np.float32)


def _skirt_hem(garment: Garment) -> float:
    if garment.style == "long-skirt":
        return _lerp(-0.66, -0.5, garment.length)
    return _lerp(KNEE - 0.05, -0.18, garment.length)


def _coat_cut(garment: Garment, regions: Regions) -> Field:
    hem = 0.08 if garment.style == "long-coat" else _lerp(-0.075, 0.02, garment.length)
    sleeves = garment.sleeve * (regions.reach - 0.01) - regions.along
    sleeves = sleeves + _off_the_arm(regions)
    if garment.style == "vest":
        sleeves = sleeves + 0.03
    collar = np.where(np.abs(regions.x) < 0.12, NECK + 0.03 + 0.35 * regions.y, 0.7) + regions.arm
    cut = np.minimum(np.minimum(regions.z - hem + 10 * regions.arm, sleeves), collar - regions.z)
    if garment.style == "open-jacket":
        cut = np.minimum(cut, _opening(regions))
    return np.asarray(cut, dtype=np.float32)


def _opening(regions: Regions) -> Field:
    """Distance to the edge of an open front: wide at the hem, narrow at the collar."""
    half = 0.035 + 0.10 * np.clip(0.35 - regions.z, 0.0, 0.5)
    return np.where(regions.y < 0.0, np.abs(regions.x) - half + 10 * regions.arm, 1.0).astype(
        np.float32
    )


def _covers(outfit: Outfit, regions: Regions) -> _Cover:
    nothing = np.full_like(regions.z, _NOWHERE)
    skirted = outfit.bottom.style in ("skirt", "long-skirt")
    skirt = regions.z - _skirt_hem(outfit.bottom) if skirted else nothing
    coat, tails = nothing, nothing
    if outfit.coat is not None:
        coat = _coat_cut(outfit.coat, regions)
        if outfit.coat.style == "long-coat":
            tails = regions.z - _lerp(-0.42, -0.2, outfit.coat.length)
    shaft = _lerp(-0.62, -0.48, outfit.shoes.length) if outfit.shoes.style == "boot" else -0.735
    return _Cover(
        top=_top_cut(outfit.top, regions),
        bottom=nothing if skirted else _legs_cut(outfit.bottom, regions),
        skirt=np.minimum(skirt, 0.16 - regions.z).astype(np.float32),
        coat=coat,
        tails=np.minimum(tails, 0.14 - regions.z).astype(np.float32),
        shoes=(shaft - regions.z).astype(np.float32),
    )


def _under(cut: Field, *covers: Field) -> Field:
    """A layer's cut without what the layers above it hide."""
    for cover in covers:
        cut = np.minimum(cut, _OVERLAP - cover)
    return cut


def _skin_coords(template: Template, outfit: Outfit) -> NDArray[np.float32]:
    """Marks of the face: brows and beard (first), lips (second), float32 ``[v, 3]``."""
    x, y, z = np.abs(template.rest[:, 0]), template.rest[:, 1], template.rest[:, 2]
    arch = 0.7165 + 0.004 * np.sin((x - 0.012) / 0.045 * np.pi)
    brow = np.clip(1.6 - np.abs(z - arch) / 0.0045, 0, 1) * ((x > 0.010) & (x < 0.052))
    brow = brow * (y < -0.1)
    chin = np.clip((0.652 - z) / 0.012, 0, 1) * np.clip((z - 0.575) / 0.015, 0, 1)
    jaw = np.clip((-0.055 - y) / 0.02, 0, 1)
    lips = np.clip(1.5 - np.abs(z - 0.634) / 0.007, 0, 1) * np.clip(1.6 - x / 0.018, 0, 1)
    lips = lips * (y < -0.13)
    beard = outfit.beard * chin * jaw * (1 - lips)
    return np.stack([np.maximum(0.9 * brow, beard), lips, 0 * lips], axis=1).astype(np.float32)


def _eyes(template: Template, body: Body, outfit: Outfit) -> Part | None:
    faces = template.faces["eyes"]
    coords = np.zeros((len(template.rest), 3), dtype=np.float32)
    for sign in (-1, 1):
        ids = np.unique(faces)
        ids = ids[template.rest[ids, 0] * sign > 0]
        points = template.rest[ids]
        centre = points.mean(axis=0)
        coords[ids, 0] = np.hypot(points[:, 0] - centre[0], points[:, 2] - centre[2]) + np.where(
            points[:, 1] > centre[1], 1.0, 0.0
        )
    everywhere = np.ones(len(template.rest), dtype=np.float32)
    return layer(
        template, body, faces, offset=0.0005, cut=everywhere, coords=coords, material=outfit.eyes
    )


def _trousers_offset(garment: Garment, regions: Regions) -> Field:
    below = np.clip((CROTCH - regions.z) / (CROTCH - ANKLE), 0, 1)
    flare = {"wide": 0.03, "straight": 0.014, "shorts": 0.05}.get(garment.style, 0.002)
    return np.asarray(garment.loose + flare * below, dtype=np.float32)


def _trousers_folds(garment: Garment, regions: Regions) -> Field:
    """Depth of the folds of trousers, metres: deepest where they meet the shoes."""
    below = np.clip((CROTCH - regions.z) / (CROTCH - ANKLE), 0, 1)
    depth = {"wide": 0.05, "straight": 0.03, "shorts": 0.04, "slim": 0.012}
    return np.asarray(depth.get(garment.style, 0.0) * below, dtype=np.float32)


def _body_folds(garment: Garment, regions: Regions) -> Field:
    """Depth of the folds of a top or coat, metres: they grow towards the hem and the cuffs."""
    below = np.clip((0.4 - regions.z) / 0.4, 0, 1) * (1 - regions.arm)
    return np.asarray(
        np.minimum(1.2 * garment.loose, 0.03) * (below + 0.5 * regions.arm), dtype=np.float32
    )


def _drape(material: Material, regions: Regions, depth: Field) -> Field:
    """Folds of hanging cloth: how much farther it stands off, ``[v]`` in metres.

    Args:
        material: The cloth; without creases it has no folds.
        regions: Where the vertices are.
        depth: Depth of the folds in metres, ``[v]``.
    """
    a, b, c, d = np.random.default_rng(material.seed).uniform(0, 2 * np.pi, 4)
    x, y, z = regions.x, regions.y, regions.z
    # Long waves that hang down, and shorter ones across them.
    waves = np.sin(36 * x + 8 * z + a) + np.sin(36 * y - 7 * z + b)
    waves = waves + 0.7 * np.sin(17 * x - 15 * y + 24 * z + c) + 0.5 * np.sin(52 * z + 9 * x + d)
    return np.asarray(material.creases * depth * np.clip(0.5 + 0.25 * waves, 0, 1), np.float32)


def _shoes(template: Template, body: Body, outfit: Outfit, regions: Regions, cut: Field) -> Part:
    material = replace(outfit.shoes.material, kind=Kind.PLAIN)
    if outfit.shoes.style == "sneaker":
        # A sole that is pale in every band.
        sole = replace(
            material,
            kind=Kind.RING,
            lengths=(SOLE - 0.005, 0.026, 0.0, 0.0),
            visible=(material.visible[0], (0.62, 0.62, 0.6)),
            infrared=(material.infrared[0], 0.66),
        )
        material = sole
    offset = np.where(regions.z < SOLE + 0.05, 0.012, outfit.shoes.loose).astype(np.float32)
    part = layer(
        template,
        body,
        template.faces["tights"],
        offset=offset,
        cut=cut,
        coords=regions.coords,
        material=material,
    )
    if part is None:  # the template always has feet
        raise AssertionError("the template's tights have no feet")
    rest = part.rest.copy()
    ground = rest[:, 2].min()
    # The hull is a sock: flatten its sole and thicken it.
    near = np.clip((ground + 0.03 - rest[:, 2]) / 0.03, 0, 1)
    rest[:, 2] -= 0.012 * near
    return replace(part, rest=rest)


def build_figure(template: Template, regions: Regions, body: Body, outfit: Outfit) -> Figure:
    """Build the mesh of a dressed identity.

    Args:
        template: The shared template.
        regions: Its regions.
        body: The identity's rest shape.
        outfit: The identity's appearance.

    Returns:
        All parts in one mesh; the vertices of the shoes come first.
    """
    cover = _covers(outfit, regions)
    tights, hull = template.faces["tights"], template.faces["skirt"]
    coords = regions.coords
    bottom, top, coat = outfit.bottom, outfit.top, outfit.coat
    # On the skirt hull only heights matter: it has no arms.
    legs_hidden = [cover.skirt - 0.02, cover.tails - 0.02]
    parts: list[Part | None] = [
        _shoes(template, body, outfit, regions, _under(cover.shoes, cover.bottom + 0.015))
    ]
    parts.append(
        layer(
            template,
            body,
            tights,
            offset=_trousers_offset(bottom, regions)
            + _drape(bottom.material, regions, _trousers_folds(bottom, regions)),
            cut=_under(cover.bottom, cover.top, cover.coat, *legs_hidden),
            coords=coords,
            material=bottom.material,
        )
    )
    below = np.clip((WAIST - regions.z) / 0.6, 0, 1)
    flare = 0.05 * bottom.length if bottom.style == "skirt" else 0.0
    parts.append(
        layer(
            template,
            body,
            hull,
            offset=(bottom.loose + flare * below).astype(np.float32)
            + _drape(bottom.material, regions, 0.06 * below**2),
            cut=_under(cover.skirt, cover.tails),
            coords=coords,
            material=bottom.material,
        )
    )
    # Cloth rests on the shoulders and hangs free below.
    sleeves = 1.0 - 0.25 * regions.arm
    neck = np.clip((0.57 - regions.z) / 0.25, 0.3, 1.0)
    # A coat keeps the top below it flat.
    depth = _body_folds(top, regions) * np.float32(coat is None)
    folds = _drape(top.material, regions, depth)
    parts.append(
        layer(
            template,
            body,
            tights,
            offset=np.maximum((top.loose + 0.004) * sleeves * neck, 0.007).astype(np.float32)
            + folds,
            cut=_under(cover.top, cover.coat),
            coords=coords,
            material=top.material,
        )
    )
    outer = top.loose + 0.006
    if coat is not None:
        outer = 0.45 * top.loose + coat.loose
        folds = _drape(coat.material, regions, _body_folds(coat, regions))
        stand_off = (outer * sleeves * neck).astype(np.float32) + folds
        parts.append(
            layer(
                template,
                body,
                tights,
                offset=stand_off,
                cut=cover.coat,
                coords=coords,
                material=coat.material,
            )
        )
        if coat.style == "long-coat":
            flared = (outer + 0.035 * below).astype(np.float32)
            flared = flared + _drape(coat.material, regions, 0.05 * below**2)
            parts.append(
                layer(
                    template,
                    body,
                    hull,
                    offset=flared,
                    cut=cover.tails,
                    coords=coords,
                    material=coat.material,
                )
            )
    skin_cut = np.minimum(
        _under(np.full_like(regions.z, 1.0), cover.top, cover.coat, cover.bottom, cover.shoes),
        np.minimum(_OVERLAP - legs_hidden[0], _OVERLAP - legs_hidden[1]),
    )
    # Hands and head are never below the skirt.
    skin_cut = np.where((regions.arm > 0.3) & (regions.along > regions.reach), 1.0, skin_cut)
    parts.append(
        layer(
            template,
            body,
            template.faces["body"],
            offset=0.0,
            cut=skin_cut.astype(np.float32),
            coords=_skin_coords(template, outfit),
            material=outfit.skin,
        )
    )
    parts.append(_eyes(template, body, outfit))
    parts += hair.parts(template, regions, body, outfit)
    parts += bags.parts(template, regions, body, outfit, outer, folds)
    return assemble([part for part in parts if part is not None])
