"""Walking: joint angles over a stride, and the bone transforms that follow from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vireid.synvi.body import Body, Template

__all__ = ["Gait", "Pose", "bone_transforms", "draw_gait", "draw_pose"]

_UP = np.array([0.0, 0.0, 1.0])
_AHEAD = np.array([0.0, -1.0, 0.0])
_SIDE = np.array([1.0, 0.0, 0.0])


@dataclass(frozen=True, slots=True)
class Gait:
    """How one identity walks.

    Attributes:
        stride: Amplitude of the legs, 1 = a normal walk.
        swing: Amplitude of the arms.
        elbow: Bend of the elbows at rest, degrees.
        stoop: Forward lean of the upper body, degrees.
        spread: Sideways angle of the arms from the body, degrees.
        toe_out: Outward turn of the feet, degrees.
    """

    stride: float
    swing: float
    elbow: float
    stoop: float
    spread: float
    toe_out: float


@dataclass(frozen=True, slots=True)
class Pose:
    """One moment of a walk.

    Attributes:
        phase: Where in the stride, [0, 1); the left heel strikes at 0.
        standing: True for a person who stands rather than walks.
        head_yaw: Turn of the head to the left, degrees.
        head_pitch: Nod of the head, degrees.
        twist: Turn of the upper body, degrees.
        bent_arm: 0 none, 1 the left, 2 the right forearm is raised (holding a strap or a phone).
    """

    phase: float
    standing: bool
    head_yaw: float
    head_pitch: float
    twist: float
    bent_arm: int


def draw_gait(rng: np.random.Generator) -> Gait:
    """Draw the walk of an identity."""
    return Gait(
        stride=float(rng.uniform(0.75, 1.15)),
        swing=float(rng.uniform(0.5, 1.2)),
        elbow=float(rng.uniform(8, 28)),
        stoop=float(rng.uniform(-1, 7)),
        spread=float(rng.uniform(3, 10)),
        toe_out=float(rng.uniform(0, 12)),
    )


def draw_pose(rng: np.random.Generator) -> Pose:
    """Draw one moment of a walk, independent of every other."""
    return Pose(
        phase=float(rng.random()),
        standing=bool(rng.random() < 0.12),
        head_yaw=float(rng.normal(0, 14)),
        head_pitch=float(rng.normal(2, 6)),
        twist=float(rng.normal(0, 4)),
        bent_arm=int(rng.choice(3, p=(0.86, 0.07, 0.07))),
    )


def _turn(axis: NDArray[np.float64], degrees: float) -> NDArray[np.float64]:
    """Rotation matrix about a unit axis (Rodrigues)."""
    angle = np.deg2rad(degrees)
    x, y, z = axis / np.linalg.norm(axis)
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * (k @ k))


def _bump(phase: float, centre: float, width: float) -> float:
    """A smooth bump on the circle of phases."""
    gap = (phase - centre + 0.5) % 1.0 - 0.5
    return float(np.exp(-0.5 * (gap / width) ** 2))


def _leg(phase: float, gait: Gait, stride: float) -> tuple[float, float, float]:
    """Flexion of hip, knee and ankle in degrees at a phase of that leg's own stride."""
    hip = 6.0 + 25.0 * gait.stride * stride * np.cos(2 * np.pi * phase)
    knee = 4.0 + stride * (13.0 * _bump(phase, 0.14, 0.06) + 56.0 * _bump(phase, 0.72, 0.095))
    ankle = stride * (7.0 * _bump(phase, 0.42, 0.1) - 17.0 * _bump(phase, 0.62, 0.06))
    return float(hip), float(knee), float(ankle)


def _rotations(
    template: Template, body: Body, gait: Gait, pose: Pose
) -> dict[str, NDArray[np.float64]]:
    """Rotation of each moved bone, in the axes of the rest pose."""
    stride = 0.12 if pose.standing else 1.0
    heads = body.heads.astype(np.float64)
    turns: dict[str, NDArray[np.float64]] = {}
    for side, sign, phase in (("L", 1.0, pose.phase), ("R", -1.0, (pose.phase + 0.5) % 1.0)):
        hip, knee, ankle = _leg(phase, gait, stride)
        thigh = heads[template.bone(f"lowerleg01.{side}")]
        thigh = thigh - heads[template.bone(f"upperleg01.{side}")]
        straight = np.rad2deg(np.arctan2(abs(thigh[0]), -thigh[2])) - 1.0
        turns[f"upperleg01.{side}"] = _turn(_SIDE, -hip) @ _turn(_AHEAD, -sign * straight)
        turns[f"lowerleg01.{side}"] = _turn(_SIDE, knee) @ _turn(_AHEAD, -sign * 1.5)
        turns[f"foot.{side}"] = _turn(_SIDE, -ankle) @ _turn(_UP, sign * (gait.toe_out - 6.0))
        # Arms: the rest pose holds them out and bent; they are let down, straightened, then swung
        # against the leg of the same side.
        shoulder = heads[template.bone(f"upperarm01.{side}")]
        elbow_at = heads[template.bone(f"lowerarm01.{side}")]
        wrist_at = heads[template.bone(f"wrist.{side}")]
        upper, lower = elbow_at - shoulder, wrist_at - elbow_at
        lower_arm = np.rad2deg(np.arctan2(abs(upper[0]), -upper[2])) - gait.spread
        beat = -np.cos(2 * np.pi * phase) * gait.swing * (0.15 if pose.standing else 1.0)
        turns[f"upperarm01.{side}"] = _turn(_SIDE, -(20.0 * beat + 2.0)) @ _turn(
            _AHEAD, -sign * lower_arm
        )
        hinge = np.cross(upper, lower)
        bent = np.rad2deg(np.arctan2(np.linalg.norm(hinge), float(upper @ lower)))
        wanted = gait.elbow + 12.0 * max(beat, 0.0)
        if pose.bent_arm == (1 if side == "L" else 2):
            wanted = 85.0
        turns[f"lowerarm01.{side}"] = _turn(hinge, wanted - bent)
        for finger in "2345":
            curl = heads[template.bone(f"finger{finger}-2.{side}")]
            curl = curl - heads[template.bone(f"finger{finger}-1.{side}")]
            palm = np.cross(curl, _UP)
            for joint in "12":
                turns[f"finger{finger}-{joint}.{side}"] = _turn(palm, -24.0)
    sway = np.cos(2 * np.pi * pose.phase) * stride
    turns["root"] = _turn(_UP, -4.0 * sway)
    turns["spine04"] = _turn(_SIDE, 0.4 * gait.stoop) @ _turn(_UP, 4.0 * sway)
    turns["spine02"] = _turn(_SIDE, 0.6 * gait.stoop) @ _turn(_UP, 4.0 * sway + pose.twist)
    turns["neck01"] = _turn(_SIDE, 0.4 * pose.head_pitch - 0.6 * gait.stoop) @ _turn(
        _UP, 0.4 * pose.head_yaw - 2.0 * sway
    )
    turns["head"] = _turn(_SIDE, 0.6 * pose.head_pitch) @ _turn(_UP, 0.6 * pose.head_yaw)
    return turns


def bone_transforms(template: Template, body: Body, gait: Gait, pose: Pose) -> NDArray[np.float32]:
    """Forward kinematics.

    Args:
        template: The skeleton.
        body: The identity's rest shape.
        gait: How the identity walks.
        pose: The moment.

    Returns:
        For each bone the affine map from rest to posed positions, float32 ``[b, 3, 4]``.
    """
    turns = _rotations(template, body, gait, pose)
    still = np.eye(3)
    linear = np.empty((len(template.bones), 3, 3))
    shift = np.empty((len(template.bones), 3))
    for index, (name, parent) in enumerate(zip(template.bones, template.parents, strict=True)):
        turn = turns.get(name, still)
        head = body.heads[index].astype(np.float64)
        offset = head - turn @ head
        if parent < 0:
            linear[index], shift[index] = turn, offset
        else:
            linear[index] = linear[parent] @ turn
            shift[index] = linear[parent] @ offset + shift[parent]
    return np.concatenate([linear, shift[:, :, None]], axis=2).astype(np.float32)
