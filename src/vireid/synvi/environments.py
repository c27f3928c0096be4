"""The cameras' environments: rooms and yards of boxes, ellipsoids and cylinders.

The ground is z = 0; people walk about the origin; the cameras look from negative y. Like cloth, the
surfaces have their own infrared reflectance and thermal emission: foliage is bright in the near
infrared, painted walls lose their colour.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vireid.synvi.materials import RGB, Kind, Material

__all__ = ["Environment", "Solid", "garden", "hall", "office", "plaza", "street", "yard"]

Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Solid:
    """One shape of an environment.

    Attributes:
        low: Lower corner of its bounding box (m).
        high: Upper corner.
        material: The surface.
        form: 0 box, 1 ellipsoid, 2 upright cylinder.
    """

    low: Triple
    high: Triple
    material: Material
    form: int = 0


@dataclass(frozen=True, slots=True)
class Environment:
    """A named set of shapes.

    Attributes:
        name: For messages.
        solids: The shapes.
    """

    name: str
    solids: tuple[Solid, ...]

    def arrays(
        self, front: list[Solid]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32], list[Material]]:
        """Corners ``[s, 3]``, forms ``[s]`` and materials, `front` first."""
        solids = [*front, *self.solids]
        return (
            np.array([s.low for s in solids], dtype=np.float32),
            np.array([s.high for s in solids], dtype=np.float32),
            np.array([s.form for s in solids], dtype=np.int32),
            [s.material for s in solids],
        )


def _surface(
    kind: Kind,
    first: RGB,
    second: RGB,
    infrared: tuple[float, float],
    warmth: tuple[float, float] = (0.3, 0.33),
    *,
    frequency: float = 1.0,
    duty: float = 0.03,
    lengths: tuple[float, float, float, float] = (1.0, 1.0, 0.0, 0.0),
    gloss: float = 0.0,
    seed: int = 1,
) -> Material:
    return Material(
        (first, second), infrared, warmth, kind, frequency, duty, lengths, gloss, seed=seed
    )


def hall() -> Environment:
    """A corridor hall with a tiled floor: camera 1."""
    floor = _surface(
        Kind.TILES, (0.52, 0.5, 0.46), (0.25, 0.24, 0.22), (0.5, 0.3), frequency=1.67, gloss=0.05
    )
    wall = _surface(Kind.PLAIN, (0.66, 0.63, 0.55), (0.6, 0.57, 0.49), (0.6, 0.55), frequency=0.9)
    skirting = _surface(Kind.PLAIN, (0.16, 0.17, 0.19), (0.15, 0.16, 0.18), (0.3, 0.3))
    door = _surface(
        Kind.PANELS, (0.33, 0.17, 0.08), (0.18, 0.09, 0.04), (0.45, 0.3), frequency=2.2, seed=4
    )
    locker = _surface(
        Kind.PANELS, (0.2, 0.33, 0.42), (0.06, 0.1, 0.13), (0.5, 0.2), frequency=2.5, duty=0.05
    )
    board = _surface(
        Kind.POSTER, (0.75, 0.75, 0.72), (0.18, 0.28, 0.5), (0.7, 0.4), frequency=5.0, seed=9
    )
    plant = _surface(
        Kind.FOLIAGE, (0.02, 0.07, 0.015), (0.1, 0.23, 0.05), (0.4, 0.7), frequency=9.0
    )
    pot = _surface(Kind.PLAIN, (0.5, 0.48, 0.45), (0.45, 0.43, 0.4), (0.5, 0.5))
    return Environment(
        "hall",
        (
            Solid((-30, -30, -1), (30, 30, 0), floor),
            Solid((-30, 3.4, 0), (30, 4, 4), wall),
            Solid((-30, 3.36, 0), (30, 3.4, 0.14), skirting),
            Solid((-5, -30, 0), (-3.0, 3.4, 4), wall),
            Solid((-3.0, -30, 0), (-2.96, 3.4, 0.14), skirting),
            Solid((-1.9, 3.34, 0), (-0.8, 3.4, 2.1), door),
            Solid((0.9, 2.95, 0), (3.4, 3.4, 1.9), locker),
            Solid((-0.4, 3.37, 1.1), (0.6, 3.4, 1.9), board),
            Solid((-2.7, 2.7, 0), (-2.35, 3.05, 0.4), pot, 2),
            Solid((-2.95, 2.45, 0.35), (-2.1, 3.3, 1.5), plant, 1),
        ),
    )


def office() -> Environment:
    """A furnished room: cameras 2 (visible) and 3 (near-infrared)."""
    floor = _surface(
        Kind.PLANKS, (0.36, 0.2, 0.1), (0.2, 0.1, 0.05), (0.55, 0.38), frequency=6.0, gloss=0.04
    )
    wall = _surface(Kind.PLAIN, (0.5, 0.56, 0.58), (0.45, 0.51, 0.53), (0.62, 0.56), seed=3)
    desk = _surface(
        Kind.PLANKS, (0.6, 0.47, 0.3), (0.5, 0.38, 0.24), (0.66, 0.55), frequency=3.0, seed=5
    )
    leg = _surface(Kind.PLAIN, (0.06, 0.06, 0.065), (0.05, 0.05, 0.055), (0.1, 0.08))
    cabinet = _surface(
        Kind.PANELS, (0.42, 0.41, 0.4), (0.12, 0.12, 0.12), (0.34, 0.15), frequency=1.8, duty=0.04
    )
    screen = _surface(Kind.PLAIN, (0.02, 0.02, 0.025), (0.03, 0.03, 0.04), (0.05, 0.06), gloss=0.2)
    window = _surface(
        Kind.WINDOW,
        (1.5, 1.7, 2.0),
        (0.5, 0.5, 0.5),
        (0.05, 0.5),
        (0.2, 0.3),
        duty=0.06,
        lengths=(0.9, 0.7, 0, 0),
    )
    books = _surface(
        Kind.POSTER, (0.3, 0.1, 0.07), (0.12, 0.2, 0.33), (0.55, 0.25), frequency=11.0, seed=12
    )
    chair = _surface(Kind.PLAIN, (0.3, 0.05, 0.06), (0.26, 0.04, 0.05), (0.6, 0.55), seed=6)
    return Environment(
        "office",
        (
            Solid((-30, -30, -1), (30, 30, 0), floor),
            Solid((-30, 2.8, 0), (30, 3.4, 4), wall),
            Solid((2.7, -30, 0), (5, 2.8, 4), wall),
            Solid((-1.2, 2.74, 0.95), (0.3, 2.8, 2.4), window),
            Solid((-3.4, 2.2, 0.70), (-1.4, 2.8, 0.75), desk),
            Solid((-1.5, 2.25, 0), (-1.44, 2.75, 0.70), leg),
            Solid((-2.6, 2.45, 0.85), (-2.0, 2.5, 1.2), screen),
            Solid((0.8, 2.25, 0), (1.9, 2.8, 1.35), cabinet),
            Solid((0.8, 2.45, 1.45), (1.9, 2.8, 1.9), books),
            Solid((2.1, 0.9, 0.42), (2.6, 1.4, 0.5), chair),
            Solid((2.52, 0.9, 0.5), (2.6, 1.4, 0.95), chair),
            Solid((2.32, 1.12, 0), (2.38, 1.18, 0.42), leg, 2),
        ),
    )


def plaza() -> Environment:
    """A sunny square before a brick building: camera 4."""
    paving = _surface(
        Kind.TILES,
        (0.36, 0.34, 0.31),
        (0.2, 0.19, 0.17),
        (0.4, 0.25),
        (0.42, 0.38),
        frequency=2.0,
        duty=0.04,
    )
    brick = _surface(
        Kind.BRICKS,
        (0.27, 0.09, 0.055),
        (0.42, 0.39, 0.35),
        (0.45, 0.5),
        (0.36, 0.38),
        frequency=12.0,
        duty=0.12,
    )
    window = _surface(
        Kind.WINDOW,
        (0.05, 0.07, 0.1),
        (0.6, 0.6, 0.58),
        (0.06, 0.6),
        (0.2, 0.35),
        duty=0.07,
        lengths=(1.1, 0.8, 0, 0),
        gloss=0.2,
    )
    stone = _surface(Kind.SPECKLE, (0.4, 0.38, 0.35), (0.3, 0.29, 0.27), (0.42, 0.35), frequency=14)
    leaves = _surface(
        Kind.FOLIAGE,
        (0.012, 0.045, 0.01),
        (0.1, 0.22, 0.04),
        (0.35, 0.8),
        (0.22, 0.28),
        frequency=7.0,
    )
    bark = _surface(Kind.PLANKS, (0.1, 0.07, 0.05), (0.05, 0.035, 0.025), (0.3, 0.2), frequency=9)
    metal = _surface(Kind.PLAIN, (0.08, 0.09, 0.09), (0.07, 0.08, 0.08), (0.15, 0.14), gloss=0.2)
    return Environment(
        "plaza",
        (
            Solid((-60, -60, -1), (60, 60, 0), paving),
            Solid((-30, 6.5, 0), (30, 9, 12), brick),
            Solid((-30, 6.4, 0), (30, 6.5, 0.5), stone),
            Solid((-4.6, 6.44, 1.0), (-2.6, 6.5, 2.9), window),
            Solid((-1.2, 6.44, 1.0), (0.8, 6.5, 2.9), window),
            Solid((2.2, 6.44, 1.0), (4.2, 6.5, 2.9), window),
            Solid((-3.3, 3.9, 0), (-3.0, 4.2, 3.0), bark, 2),
            Solid((-4.8, 2.4, 2.0), (-1.6, 5.6, 5.0), leaves, 1),
            Solid((1.6, 4.4, 0.4), (3.4, 4.9, 0.5), stone),
            Solid((1.7, 4.5, 0), (1.9, 4.8, 0.4), stone),
            Solid((3.1, 4.5, 0), (3.3, 4.8, 0.4), stone),
            Solid((0.2, 5.2, 0), (0.32, 5.32, 1.0), metal, 2),
            Solid((-1.6, 5.2, 0), (-1.48, 5.32, 1.0), metal, 2),
        ),
    )


def garden() -> Environment:
    """A path between lawns and hedges below a cloudy sky: camera 5."""
    path = _surface(
        Kind.SPECKLE,
        (0.2, 0.19, 0.18),
        (0.12, 0.115, 0.11),
        (0.25, 0.18),
        (0.38, 0.36),
        frequency=16.0,
    )
    lawn = _surface(
        Kind.FOLIAGE,
        (0.03, 0.085, 0.012),
        (0.11, 0.2, 0.035),
        (0.4, 0.7),
        (0.28, 0.3),
        frequency=14.0,
        seed=8,
    )
    hedge = _surface(
        Kind.FOLIAGE,
        (0.008, 0.032, 0.008),
        (0.06, 0.15, 0.03),
        (0.3, 0.75),
        (0.24, 0.28),
        frequency=10.0,
    )
    leaves = _surface(
        Kind.FOLIAGE,
        (0.02, 0.06, 0.012),
        (0.16, 0.26, 0.06),
        (0.35, 0.8),
        (0.22, 0.26),
        frequency=6.0,
        seed=5,
    )
    bark = _surface(Kind.PLANKS, (0.13, 0.1, 0.075), (0.06, 0.045, 0.03), (0.3, 0.2), frequency=8)
    kerb = _surface(Kind.SPECKLE, (0.42, 0.42, 0.4), (0.3, 0.3, 0.28), (0.42, 0.35), frequency=20)
    flowers = _surface(
        Kind.FOLIAGE,
        (0.03, 0.1, 0.02),
        (0.5, 0.1, 0.16),
        (0.4, 0.7),
        (0.25, 0.28),
        frequency=16.0,
        seed=21,
    )
    return Environment(
        "garden",
        (
            Solid((-60, -60, -1), (60, 60, 0), path),
            Solid((-60, -60, 0), (-2.3, 60, 0.06), lawn),
            Solid((-2.3, -60, 0), (-2.15, 60, 0.1), kerb),
            Solid((-60, 2.9, 0), (60, 60, 0.06), lawn),
            Solid((-2.15, 2.75, 0), (60, 2.9, 0.1), kerb),
            Solid((-30, 5.2, 0), (1.4, 6.4, 1.5), hedge),
            Solid((2.8, 5.6, 0), (30, 6.8, 1.3), hedge),
            Solid((1.9, 4.4, 0), (2.3, 4.8, 3.2), bark, 2),
            Solid((0.2, 2.8, 2.3), (4.2, 6.6, 5.6), leaves, 1),
            Solid((-3.9, 7.4, 0), (-3.4, 7.9, 4), bark, 2),
            Solid((-6.5, 5.5, 2.6), (-1.4, 9.5, 7), leaves, 1),
            Solid((-2.0, 3.3, 0), (0.4, 4.0, 0.42), flowers, 1),
            Solid((-40, 14, 0), (40, 16, 5), hedge),
        ),
    )


def yard() -> Environment:
    """A yard at night: camera 6, near-infrared."""
    ground = _surface(
        Kind.SPECKLE, (0.17, 0.16, 0.15), (0.1, 0.1, 0.1), (0.28, 0.17), (0.33, 0.3), frequency=12.0
    )
    wall = _surface(
        Kind.BRICKS, (0.3, 0.27, 0.24), (0.4, 0.38, 0.36), (0.34, 0.5), frequency=5.0, duty=0.06
    )
    gate = _surface(
        Kind.PANELS, (0.2, 0.25, 0.22), (0.05, 0.05, 0.05), (0.3, 0.06), frequency=4.0, duty=0.08
    )
    hedge = _surface(
        Kind.FOLIAGE,
        (0.01, 0.04, 0.01),
        (0.07, 0.16, 0.04),
        (0.32, 0.85),
        (0.24, 0.28),
        frequency=9.0,
    )
    car = _surface(Kind.PLAIN, (0.3, 0.3, 0.32), (0.28, 0.28, 0.3), (0.4, 0.38), gloss=0.5)
    glass = _surface(Kind.PLAIN, (0.03, 0.03, 0.03), (0.04, 0.04, 0.04), (0.04, 0.05), gloss=0.4)
    tyre = _surface(Kind.PLAIN, (0.02, 0.02, 0.02), (0.02, 0.02, 0.02), (0.05, 0.05))
    line = _surface(Kind.PLAIN, (0.7, 0.7, 0.68), (0.6, 0.6, 0.58), (0.75, 0.6), frequency=4)
    return Environment(
        "yard",
        (
            Solid((-60, -60, -1), (60, 60, 0), ground),
            Solid((-30, 5.4, 0), (0.4, 6, 3.4), wall),
            Solid((0.4, 5.6, 0), (2.4, 5.7, 2.2), gate),
            Solid((2.4, 4.8, 0), (30, 6, 1.9), hedge),
            Solid((-4.9, 2.6, 0.3), (-1.9, 4.3, 0.85), car),
            Solid((-4.4, 2.75, 0.85), (-2.5, 4.15, 1.35), glass),
            Solid((-2.75, 2.5, 0), (-2.15, 2.62, 0.6), tyre),
            Solid((-4.65, 2.5, 0), (-4.05, 2.62, 0.6), tyre),
            Solid((1.5, -30, -0.5), (1.62, 30, 0.002), line),
            Solid((-60, 4.4, -0.5), (60, 4.5, 0.12), line),
        ),
    )


def street() -> Environment:
    """A pavement seen from above: both cameras of the RegDB form."""
    road = _surface(
        Kind.SPECKLE,
        (0.16, 0.16, 0.16),
        (0.1, 0.1, 0.1),
        (0.25, 0.18),
        (0.44, 0.41),
        frequency=10.0,
    )
    paving = _surface(
        Kind.TILES, (0.4, 0.37, 0.34), (0.25, 0.23, 0.21), (0.42, 0.3), (0.38, 0.35), frequency=2.5
    )
    grass = _surface(
        Kind.FOLIAGE,
        (0.03, 0.085, 0.012),
        (0.1, 0.18, 0.035),
        (0.4, 0.7),
        (0.26, 0.3),
        frequency=9.0,
    )
    wall = _surface(
        Kind.BRICKS,
        (0.4, 0.33, 0.26),
        (0.5, 0.46, 0.4),
        (0.45, 0.5),
        (0.3, 0.34),
        frequency=4.0,
        duty=0.06,
    )
    window = _surface(
        Kind.WINDOW,
        (0.06, 0.08, 0.11),
        (0.5, 0.5, 0.5),
        (0.06, 0.5),
        (0.16, 0.3),
        duty=0.08,
        lengths=(1.2, 0.9, 0, 0),
    )
    leaves = _surface(
        Kind.FOLIAGE,
        (0.02, 0.06, 0.012),
        (0.13, 0.22, 0.05),
        (0.35, 0.8),
        (0.2, 0.25),
        frequency=5.0,
    )
    line = _surface(Kind.PLAIN, (0.65, 0.65, 0.62), (0.6, 0.6, 0.57), (0.7, 0.6), (0.4, 0.39))
    return Environment(
        "street",
        (
            Solid((-60, -60, -1), (60, 60, 0), road),
            Solid((-60, -1.6, -0.5), (60, 2.6, 0.004), paving),
            Solid((-60, 2.6, -0.5), (60, 4.2, 0.05), grass),
            Solid((-60, -2.2, -0.5), (60, -2.05, 0.003), line),
            Solid((-30, 6.5, 0), (30, 8, 8), wall),
            Solid((-4.4, 6.45, 0.8), (-1.6, 6.5, 2.6), window),
            Solid((1.0, 6.45, 0.8), (3.8, 6.5, 2.6), window),
            Solid((-2.2, 4.0, 0), (1.0, 5.2, 1.2), leaves, 1),
        ),
    )
