"""Hair and hats."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vireid.synvi.body import Body, Template
from vireid.synvi.materials import Material
from vireid.synvi.outfit import Outfit
from vireid.synvi.parts import Part, layer, rigid
from vireid.synvi.regions import Regions
from vireid.synvi.shapes import disc, rounded_box

__all__ = ["parts"]

Field = NDArray[np.float32]
_CROWN = np.array([0.0, -0.045, 0.72], dtype=np.float32)  # centre of the skull, neutral body


def _skull(template: Template, body: Body) -> tuple[NDArray[np.float32], float]:
    """Centre and scale of the identity's skull, relative to the neutral one."""
    ids = np.unique(template.faces["body"])
    ids = ids[template.rest[ids, 2] > 0.68]
    neutral, own = template.rest[ids], body.rest[ids]
    scale = float(np.ptp(own[:, 0]) / np.ptp(neutral[:, 0]))
    centre = own.mean(axis=0) + (_CROWN - neutral.mean(axis=0)) * scale
    return centre.astype(np.float32), scale


def _hairline(template: Template) -> Field:
    """Signed distance to the hairline: high on the forehead, over the ears, low on the nape."""
    x, y, z = template.rest[:, 0], template.rest[:, 1], template.rest[:, 2]
    line = np.interp(y, [-0.13, -0.09, -0.06, -0.01, 0.03], [0.762, 0.755, 0.715, 0.70, 0.618])
    ears = np.where((np.abs(x) > 0.076) & (z < 0.735), -0.05, 1.0)
    return np.minimum(z - line, ears).astype(np.float32)


def _scalp(
    template: Template, body: Body, cut: Field, thickness: Field, material: Material
) -> Part | None:
    """A shell over the skull."""
    faces = template.faces["body"]
    high = template.rest[:, 2] > 0.58
    return layer(
        template,
        body,
        faces[high[faces].all(axis=1)],
        offset=thickness,
        cut=cut,
        coords=template.rest,
        material=material,
    )


def _blob(
    template: Template,
    body: Body,
    *,
    at: tuple[float, float, float],
    size: tuple[float, float, float],
    bones: dict[str, float],
    material: Material,
) -> Part:
    """An ellipsoid of hair at a position relative to the skull's centre."""
    centre, scale = _skull(template, body)
    points, triangles = rounded_box(size, exponent=1.0, rows=9, columns=14)
    points = points * np.float32(scale) + centre + np.array(at, dtype=np.float32) * scale
    shares = {template.bone(name): share for name, share in bones.items()}
    return rigid(points, triangles, shares, material, coords=points)


def _hair(template: Template, body: Body, outfit: Outfit, capped: bool) -> list[Part | None]:
    hair = outfit.hair
    if hair.style == "bald":
        return []
    line = _hairline(template)
    top = np.clip((template.rest[:, 2] - 0.70) / 0.1, 0, 1)
    thick = {"short": 0.011, "bob": 0.02, "long": 0.017, "bun": 0.009, "ponytail": 0.009}
    depth = thick.get(hair.style, 0.055) * hair.loose
    if capped:
        depth = min(depth, 0.01)
    rounding = np.clip((line + 0.006) / 0.03, 0.12, 1.0)  # thin at the edge, no step
    made: list[Part | None] = [
        _scalp(
            template,
            body,
            line,
            (depth * (0.75 + 0.5 * top) * rounding).astype(np.float32),
            hair.material,
        )
    ]
    if hair.style in ("bob", "long"):
        z, y = template.rest[:, 2], template.rest[:, 1]
        hem = 0.59 - 0.04 * hair.length if hair.style == "bob" else 0.5 - 0.2 * hair.length
        # Strands in front of the shoulders are only worn by some.
        front = 0.63 if hair.length < 0.7 else 0.5
        limit = np.where(y < -0.075, np.maximum(front, hem), hem)
        face = np.where((y < -0.10) & (np.abs(template.rest[:, 0]) < 0.06), -1.0, 1.0)
        cut = np.minimum(z - limit, face)
        if capped:
            cut = np.minimum(cut, 0.74 - z)
        hull = template.faces["hair"]
        made.append(
            layer(
                template,
                body,
                hull,
                offset=0.004,
                cut=cut.astype(np.float32),
                coords=template.rest,
                material=hair.material,
            )
        )
    if hair.style == "bun":
        made.append(
            _blob(
                template,
                body,
                at=(0, 0.115, 0.03),
                size=(0.08, 0.07, 0.08),
                bones={"head": 1.0},
                material=hair.material,
            )
        )
    if hair.style == "ponytail":
        drop = 0.16 + 0.14 * hair.length
        made.append(
            _blob(
                template,
                body,
                at=(0, 0.118, 0.03 - drop / 2),
                size=(0.055, 0.06, drop),
                bones={"head": 0.6, "neck01": 0.4},
                material=hair.material,
            )
        )
    return made


def _hat(template: Template, body: Body, outfit: Outfit) -> list[Part | None]:
    hat = outfit.hat
    if hat is None:
        return []
    z, y = template.rest[:, 2], template.rest[:, 1]
    top = np.clip((z - 0.73) / 0.07, 0, 1)
    edge = 0.718 if hat.style == "beanie" else 0.742
    depth = {"beanie": 0.016, "cap": 0.015, "brim": 0.018}[hat.style]
    crown = {"beanie": 0.016, "cap": 0.008, "brim": 0.04}[hat.style]
    ears = np.where((np.abs(template.rest[:, 0]) > 0.078) & (z < 0.735), -0.05, 1.0)
    cut = np.minimum(z - edge - 0.12 * np.clip(-0.06 - y, 0, 0.1), ears).astype(np.float32)
    cloth = replace(hat.material, folds=0.1)
    made = [
        _scalp(template, body, cut, (depth + crown * top).astype(np.float32), cloth),
    ]
    if hat.style in ("cap", "brim"):
        centre, scale = _skull(template, body)
        if hat.style == "cap":
            points, triangles = disc(
                0.06, 0.165, start=-0.82 * np.pi, stop=-0.18 * np.pi, droop=0.012
            )
        else:
            points, triangles = disc(0.07, 0.165, start=-np.pi, stop=np.pi, droop=0.01, columns=36)
        points = points * np.float32(scale)
        points = points + centre + np.array([0, 0.0, 0.026], dtype=np.float32) * np.float32(scale)
        made.append(rigid(points, triangles, {template.bone("head"): 1.0}, cloth))
    return made


def parts(template: Template, regions: Regions, body: Body, outfit: Outfit) -> list[Part | None]:
    """Meshes of hair, hat and scarf.

    Args:
        template: The shared template.
        regions: Its regions.
        body: The identity's rest shape.
        outfit: The identity's appearance.

    Returns:
        The parts; None for an empty one.
    """
    made = _hair(template, body, outfit, outfit.hat is not None)
    made += _hat(template, body, outfit)
    if outfit.scarf is not None:
        cut = np.minimum(regions.z - 0.485 - 0.3 * regions.y, 0.6 - regions.z)
        cut = np.minimum(cut, 0.14 - np.abs(regions.x)) - 3 * np.clip(regions.arm - 0.3, 0, 1)
        belly = np.clip(1 - ((regions.z - 0.545) / 0.07) ** 2, 0.45, 1)
        made.append(
            layer(
                template,
                body,
                template.faces["tights"],
                offset=(0.045 * belly).astype(np.float32),
                cut=cut.astype(np.float32),
                coords=regions.coords,
                material=outfit.scarf.material,
            )
        )
    return made
