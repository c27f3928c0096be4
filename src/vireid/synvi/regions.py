"""Positions on the template body: arms, legs, chest; in metres on the neutral shape.

All garments are cut by signed distances on the neutral body, so a hem is at the same anatomical
position on every identity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vireid.synvi.body import Template

__all__ = ["ANKLE", "CROTCH", "KNEE", "NECK", "SOLE", "WAIST", "Regions", "regions_of"]

Field = NDArray[np.float32]

# Heights on the neutral body (m), whose soles are at -0.82 and whose crown is at 0.81.
SOLE, ANKLE, KNEE, CROTCH, WAIST, NECK = -0.82, -0.74, -0.35, -0.05, 0.14, 0.53
_MIDDLE = -0.02  # y of the body's vertical middle plane


@dataclass(frozen=True, slots=True)
class Regions:
    """Fields over the template's vertices, each float32 ``[v]``.

    Attributes:
        x: Sideways, left positive.
        y: Backward positive, 0 in the middle of the trunk.
        z: Height.
        arm: Share of arm and hand bones.
        along: Distance from the shoulder joint down the arm; negative on the trunk.
        reach: Length of the arm from shoulder to wrist (one number).
        coords: Cloth coordinates ``[v, 3]``: around, along, and the signed position on the chest
            (front x; back 5 + x; arms 20).
    """

    x: Field
    y: Field
    z: Field
    arm: Field
    along: Field
    reach: float
    coords: NDArray[np.float32]


def _down_the_arm(template: Template, points: Field) -> tuple[Field, Field, float]:
    """Distance down the arm and angle about it, for the arm on the vertex's own side."""
    mirrored = points.copy()
    mirrored[:, 0] = np.abs(mirrored[:, 0])
    shoulder = template.heads[template.bone("upperarm01.L")]
    elbow = template.heads[template.bone("lowerarm01.L")]
    wrist = template.heads[template.bone("wrist.L")]
    upper, lower = elbow - shoulder, wrist - elbow
    first, second = float(np.linalg.norm(upper)), float(np.linalg.norm(lower))
    up, low = upper / first, lower / second
    proximal = (mirrored - shoulder) @ up
    distal = (mirrored - elbow) @ low
    along = np.minimum(proximal, first) + np.maximum(distal, 0.0)
    # The angle about the axis, from the upper side of the arm.
    past = (distal > 0)[:, None]
    foot = np.where(past, elbow + distal[:, None] * low, shoulder + proximal[:, None] * up)
    spoke = mirrored - foot
    upward = np.array([0.75, 0.0, 0.66], dtype=np.float32)
    about = np.arctan2(np.abs(spoke[:, 1]), spoke @ upward)
    return along.astype(np.float32), np.abs(about).astype(np.float32), first + second


def _around_the_leg(template: Template, points: Field) -> Field:
    """Distance around the leg from its outer seam."""
    stations = ["upperleg01.L", "lowerleg01.L", "foot.L"]
    heads = np.array([template.heads[template.bone(b)] for b in stations])[::-1]
    axis_x = np.interp(points[:, 2], heads[:, 2], heads[:, 0])
    axis_y = np.interp(points[:, 2], heads[:, 2], heads[:, 1])
    outward = np.abs(points[:, 0]) - axis_x
    angle = np.arctan2(np.abs(points[:, 1] - axis_y), outward)
    return np.asarray(angle * 0.07, dtype=np.float32)


def regions_of(template: Template) -> Regions:
    """Compute the fields; needed once for each process."""
    points = template.rest
    x, y, z = points[:, 0], points[:, 1] - np.float32(_MIDDLE), points[:, 2]
    arm = template.membership("upperarm", "lowerarm", "wrist", "finger", "metacarpal")
    along, about, reach = _down_the_arm(template, points)
    trunk = np.abs(np.arctan2(x, -y)) * 0.14
    leg = np.clip((CROTCH + 0.03 - z) / 0.06, 0.0, 1.0) * (1.0 - arm)
    around = (1 - leg) * trunk + leg * _around_the_leg(template, points)
    around = (1 - arm) * around + arm * about * 0.05
    shoulder_height = float(template.heads[template.bone("upperarm01.L")][2])
    height = (1 - arm) * z + arm * (shoulder_height + 0.04 - along)
    chest = np.where(arm > 0.5, 20.0, np.where(y < 0, x, 5.0 + x))
    coords = np.stack([around, height, chest], axis=1).astype(np.float32)
    return Regions(x, y, z, arm, along, reach, coords)
