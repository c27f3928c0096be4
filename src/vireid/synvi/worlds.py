"""Worlds: cameras drawn at random, so that a network cannot get used to six fixed ones.

Each world has its own people and six cameras of its own: two visible, two near-infrared and two
thermal ones. Every camera draws its place, position, illumination and sensor; every image its
heading, box and occluder, and sometimes a second person.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vireid.synvi.cameras import Camera, Illumination, Sensor, Triple
from vireid.synvi.environments import Solid
from vireid.synvi.gait import draw_pose
from vireid.synvi.materials import Band
from vireid.synvi.places import draw_place
from vireid.synvi.scene import Shot

__all__ = ["BANDS", "draw_camera", "draw_companion", "draw_world_shot"]

BANDS: tuple[Band, ...] = (
    "visible",
    "visible",
    "near-infrared",
    "near-infrared",
    "thermal",
    "thermal",
)
"""The bands of a world's cameras."""


def draw_camera(
    rng: np.random.Generator, number: int, band: Band, *, partner: Camera | None = None
) -> Camera:
    """Draw a camera, its place and its illumination.

    Args:
        rng: Source of randomness.
        number: The camera's number in the tree, from 1.
        band: Its spectral band.
        partner: A visible camera of the same world. Half of the infrared cameras hang next to
            theirs and look at the same place, as the two lenses of RegDB's camera do.
    """
    outdoors = bool(rng.random() < 0.6)
    distance = float(np.exp(rng.uniform(np.log(3.2), np.log(11 if outdoors else 5.5))))
    height = float(rng.uniform(1.3, 1.6 + 0.42 * distance))
    side = float(rng.uniform(-0.35, 0.35)) * distance
    if band == "thermal":
        illumination, sensor = _thermal_light(rng), _thermal_sensor(rng)
    else:
        if band == "visible":
            illumination, sensor = _visible_light(rng, outdoors), _visible_sensor(rng)
        else:
            illumination = _near_infrared_light(rng, outdoors, distance)
            sensor = _near_infrared_sensor(rng)
        sensor = replace(sensor, exposure=_exposure(rng, illumination, distance))
    low = int(np.exp(rng.uniform(np.log(76), np.log(190))))
    place = draw_place(rng, outdoors=outdoors)
    eye = (side, -float(np.sqrt(max(distance**2 - side**2, 1.0))), height)
    if partner is not None and rng.random() < 0.5:
        place = partner.environment
        x, y, z = (float(v) for v in np.array(partner.eye) + rng.normal(0, 0.12, 3))
        eye = (x, y, z)
    return Camera(
        number,
        band,
        place,
        eye,
        (float(rng.normal(0, 0.15)), 0.6, 0.9),
        (-1.3, 1.3, -1.0, 1.6),
        (low, int(low * rng.uniform(1.2, 1.8))),
        illumination,
        sensor,
        hidden=float(rng.uniform(0.02, 0.25)),
    )


def _tint(rng: np.random.Generator, spread: float) -> Triple:
    """Factors on red, green and blue along the line from warm to cold light."""
    warm, green = float(rng.normal(0, spread)), float(rng.normal(0, 0.25 * spread))
    return float(np.exp(warm)), float(np.exp(green)), float(np.exp(-warm))


def _scaled(colour: Triple, factor: float) -> Triple:
    return colour[0] * factor, colour[1] * factor, colour[2] * factor


def _visible_light(rng: np.random.Generator, outdoors: bool) -> Illumination:
    angle = float(rng.uniform(0, 2 * np.pi))
    key = (float(np.cos(angle)), float(np.sin(angle)), float(rng.uniform(0.5, 2.0)))
    # Outdoors from overcast to full sun, indoors lamps of one colour.
    strength = float(rng.uniform(0.0, 2.2) if outdoors else rng.uniform(0.2, 1.0))
    sky = float(rng.uniform(0.35, 0.9))
    fill = (float(rng.choice((-1, 1)) * rng.uniform(0.4, 1)), -0.7, 0.6)
    lamps = _tint(rng, 0.16)
    return Illumination(
        key=key,
        key_colour=_scaled(_tint(rng, 0.07) if outdoors else lamps, strength),
        sky=_scaled(_tint(rng, 0.1) if outdoors else lamps, sky),
        ground=_scaled(_tint(rng, 0.15), sky * float(rng.uniform(0.2, 0.55))),
        fill=fill,
        fill_colour=_scaled(lamps, float(rng.uniform(0, 0.35))),
        haze=_scaled(_tint(rng, 0.1), float(rng.uniform(0.4, 1.0))),
    )


def _near_infrared_light(rng: np.random.Generator, outdoors: bool, distance: float) -> Illumination:
    if outdoors and rng.random() < 0.2:  # a camera without its filter by day
        day = _visible_light(rng, outdoors)
        white = float(np.mean(day.key_colour))
        sky = float(np.mean(day.sky))
        return replace(
            day,
            key_colour=(white, white, white),
            sky=(sky, sky, sky),
            ground=(0.4 * sky, 0.4 * sky, 0.4 * sky),
            fill_colour=(0.0, 0.0, 0.0),
        )
    rest = float(rng.uniform(0.0, 0.12))
    return Illumination(
        sky=(rest, rest, rest),
        ground=(0.7 * rest, 0.7 * rest, 0.7 * rest),
        lamp=float(rng.uniform(0.6, 1.7)) * distance**2,
        lamp_cone=float(np.exp(rng.uniform(0.5, 3))),
    )


def _thermal_light(rng: np.random.Generator) -> Illumination:
    sky = float(rng.uniform(0.0, 0.3))
    return Illumination(haze=(sky, sky, sky))


def _exposure(rng: np.random.Generator, light: Illumination, distance: float) -> float:
    """Automatic exposure on the light that falls on a person, with its errors."""
    received = (
        0.45 * float(np.mean(light.key_colour))
        + 0.75 * float(np.mean(light.sky))
        + 0.5 * float(np.mean(light.fill_colour))
        + 0.9 * light.lamp / distance**2
    )
    return float(0.95 / max(received, 0.05) * np.exp(rng.normal(0, 0.22)))


def _visible_sensor(rng: np.random.Generator) -> Sensor:
    quality = int(rng.integers(35, 88))
    return Sensor(
        spread=0.15,
        balance=_tint(rng, 0.07),
        saturation=float(rng.uniform(0.45, 1.2)),
        contrast=float(rng.uniform(0, 0.8)),
        shot=float(np.exp(rng.uniform(np.log(0.0002), np.log(0.0025)))),
        read=float(np.exp(rng.uniform(np.log(0.003), np.log(0.02)))),
        blur=float(rng.uniform(0.4, 1.2)),
        motion=float(rng.uniform(1, 2.5)),
        vignette=float(rng.uniform(0, 0.15)),
        quality=(quality, quality + 10),
    )


def _near_infrared_sensor(rng: np.random.Generator) -> Sensor:
    return replace(
        _visible_sensor(rng),
        balance=(1.0, 1.0, 1.0),
        saturation=1.0,
        spread=0.2,
        blur=float(rng.uniform(0.5, 1.4)),
        vignette=float(rng.uniform(0, 0.5)),
    )


def _thermal_sensor(rng: np.random.Generator) -> Sensor:
    quality = int(rng.integers(50, 90))
    return Sensor(
        spread=0.08,
        contrast=0.0,
        shot=0.0,
        read=float(np.exp(rng.uniform(np.log(0.004), np.log(0.025)))),
        blur=float(np.exp(rng.uniform(np.log(0.4), np.log(1.7)))),
        motion=1.5,
        quality=(quality, quality + 10),
        black_hot=bool(rng.random() < 0.2),
        # From white silhouettes to low contrast.
        gain=float(np.exp(np.clip(rng.normal(0, 0.3), -0.6, 0.6))),
        level=float(rng.normal(0.03, 0.1)),
        halo=float(max(0.0, rng.normal(0.15, 0.25))),
        drift=float(rng.uniform(0, 0.1)),
    )


def draw_world_shot(rng: np.random.Generator, camera: Camera, *, away: bool) -> Shot:
    """Draw one image: a heading, a box as a detector makes it, sometimes an occluder.

    Args:
        rng: Source of randomness.
        camera: The camera.
        away: Whether the person mostly walks away from the cameras rather than towards them.
    """
    x0, x1, y0, y1 = camera.walk
    margins = rng.normal((0.04, 0.04, 0.04, 0.03), 0.04)
    # A shifted box: what it gains at one side it loses at the other.
    across, along = rng.normal(0, 0.02, 2)
    shift = np.array((across, -across, along, -along))
    margins = np.clip(margins + shift, -0.05, 0.2)
    if rng.random() < 0.1:  # the feet, or the legs below the knees, are outside
        margins[3] = -rng.uniform(0.05, 0.25)
    if rng.random() < 0.05:
        margins[2] = -rng.uniform(0.02, 0.08)
    if rng.random() < 0.08:
        margins[int(rng.integers(2))] = -rng.uniform(0.02, 0.08)
    left, right, top, bottom = (float(m) for m in margins)
    width, height, form = 0.0, 0.0, 0
    if rng.random() < camera.hidden:
        kinds = ((0.12, 3.0, 2), (0.9, 0.55, 0), (0.35, 1.2, 0), (0.5, 0.9, 1), (0.42, 1.7, 2))
        width, height, form = kinds[int(rng.integers(len(kinds)))]
    turn = rng.random()
    if turn < 0.55:
        heading = (180.0 if away else 0.0) + rng.normal(0, 25)
    elif turn < 0.75:
        heading = rng.choice((-90.0, 90.0)) + rng.normal(0, 20)
    else:
        heading = rng.uniform(0, 360)
    return Shot(
        pose=draw_pose(rng),
        heading=float(heading),
        position=(float(rng.uniform(x0, x1)), float(rng.uniform(y0, y1))),
        height=int(rng.integers(camera.heights[0], camera.heights[1] + 1)),
        margins=(left, right, top, bottom),
        light=(
            float(np.exp(rng.normal(0, 0.25))),
            float(np.exp(rng.normal(0, 0.15))),
            float(np.exp(rng.normal(0, 0.2))),
        ),
        key_turn=float(rng.normal(0, 25)),
        occluder=(float(rng.uniform(-1, 1)), width, height, form),
    )


def draw_companion(rng: np.random.Generator, camera: Camera, shot: Shot) -> Shot | None:
    """Draw how and where a second person walks, so that the box of the first shows a part of them.

    Args:
        rng: Source of randomness.
        camera: The camera.
        shot: The image of the first person.

    Returns:
        The first person's shot with the pose, heading and position of the second; None if the
        surroundings leave no room.
    """
    eye, first = np.array(camera.eye[:2]), np.array(shot.position)
    distance = float(np.linalg.norm(first - eye))
    towards = (first - eye) / distance
    across = np.array([towards[1], -towards[0]])
    for _ in range(8):
        where, heading = rng.random(), float(rng.uniform(0, 360))
        if where < 0.45:
            far = distance + float(rng.uniform(0.6, 4.0))
        elif where < 0.65 and distance > 2.6:
            far = max(distance - float(rng.uniform(0.6, 2.0)), 1.8)
        else:  # they walk together
            far = distance + float(rng.uniform(-0.25, 0.25))
            heading = shot.heading + float(rng.normal(0, 12))
        # Half a body's width in metres at the first person's distance.
        half = 0.24 * distance / far
        nearest = 0.45 if abs(far - distance) < 0.5 else 0.1 + half * (far < distance)
        aside = float(rng.choice((-1, 1)) * rng.uniform(nearest, max(0.3 + half, nearest + 0.1)))
        second = eye + towards * far + across * (aside * far / distance)
        if _open_ground(camera.environment.solids, first, second):
            position = (float(second[0]), float(second[1]))
            return replace(shot, pose=draw_pose(rng), heading=heading, position=position)
    return None


def _open_ground(
    solids: tuple[Solid, ...], start: NDArray[np.float64], end: NDArray[np.float64]
) -> bool:
    """Whether people can stand all the way between two points of the ground."""
    for solid in solids:
        if solid.low[2] < 1.7 and solid.high[2] > 0.1:
            low, high = np.array(solid.low[:2]) - 0.3, np.array(solid.high[:2]) + 0.3
            points = start + np.linspace(0.2, 1, 9)[:, None] * (end - start)
            if ((points > low) & (points < high)).all(axis=1).any():
                return False
    return True
