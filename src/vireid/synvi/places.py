"""Random surroundings of a camera: indoor rooms and outdoor places, with surfaces in three bands.

People walk about the origin and the camera looks from negative y, so shapes keep out of the space
between them.
"""

from __future__ import annotations

import numpy as np

from vireid.synvi.environments import Environment, Solid
from vireid.synvi.materials import RGB, Kind, Material

__all__ = ["draw_place"]

_FLOORS = (Kind.TILES, Kind.PLANKS, Kind.SPECKLE, Kind.PLAIN)
_WALLS = (Kind.PLAIN, Kind.BRICKS, Kind.PANELS, Kind.TILES, Kind.SPECKLE, Kind.WINDOW)
_FURNITURE = (Kind.PLAIN, Kind.PANELS, Kind.PLANKS, Kind.POSTER, Kind.SPECKLE, Kind.BRICKS)


def _reflectance(rng: np.random.Generator) -> RGB:
    """A linear RGB reflectance: mostly greys and muted colours, a few vivid ones."""
    level = float(np.clip(np.exp(rng.normal(-1.4, 0.75)), 0.015, 0.8))
    spread = 0.4 if rng.random() < 0.12 else 0.12
    red, green, blue = np.clip(level * np.exp(rng.normal(0, spread, 3)), 0.01, 0.85)
    return float(red), float(green), float(blue)


def _material(rng: np.random.Generator, kind: Kind, ambient: float) -> Material:
    """A surface.

    Args:
        rng: Source of randomness.
        kind: The layout of its two tones.
        ambient: Thermal radiance of the surroundings.
    """
    first = _reflectance(rng)
    if kind is Kind.POSTER or rng.random() < 0.2:
        second = _reflectance(rng)
    else:
        factor = float(np.exp(rng.normal(-0.45, 0.35)))
        second = (first[0] * factor, first[1] * factor, first[2] * factor)
    infrared = float(np.clip(0.4 * sum(first) / 3 + 0.6 * rng.uniform(0.04, 0.7), 0.03, 0.8))
    factor = float(np.exp(rng.normal(-0.35, 0.3)))
    frequency = {
        Kind.BRICKS: rng.uniform(3, 13),
        Kind.SPECKLE: rng.uniform(8, 20),
        Kind.POSTER: rng.uniform(3, 12),
        Kind.PLANKS: rng.uniform(3, 10),
    }.get(kind, rng.uniform(0.8, 3.5))
    warmth = float(np.clip(ambient + rng.normal(0, 0.05), 0.02, 0.95))
    return Material(
        (first, second),
        (infrared, infrared * factor),
        (warmth, warmth + float(rng.normal(0, 0.02))),
        kind,
        frequency=float(frequency),
        duty=float(rng.uniform(0.02, 0.1)),
        lengths=(float(rng.uniform(0.6, 1.5)), float(rng.uniform(0.5, 1.2)), 0.0, 0.0),
        gloss=float(rng.choice((0.0, 0.0, rng.uniform(0, 0.3)))),
        seed=int(rng.integers(1024)),
    )


def _foliage(rng: np.random.Generator, ambient: float) -> Material:
    """Leaves or grass, bright in the near infrared."""
    dark = np.array([0.018, 0.055, 0.012]) * np.exp(rng.normal(0, 0.4))
    light = np.array([0.11, 0.21, 0.045]) * np.exp(rng.normal(0, 0.25, 3))
    if rng.random() < 0.2:  # autumn, or dry grass
        light = light * np.array([2.0, 1.0, 0.8])
    warmth = float(np.clip(ambient - rng.uniform(0, 0.12), 0.02, 0.9))
    (r0, g0, b0), (r1, g1, b1) = dark.tolist(), light.tolist()
    return Material(
        ((r0, g0, b0), (r1, g1, b1)),
        (float(rng.uniform(0.25, 0.45)), float(rng.uniform(0.6, 0.85))),
        (warmth, warmth + 0.04),
        Kind.FOLIAGE,
        frequency=float(rng.uniform(5, 16)),
        duty=0.03,
        seed=int(rng.integers(1024)),
    )


def _beside(rng: np.random.Generator, back: float) -> tuple[float, float]:
    """A position that hides neither the person nor the camera's view."""
    if rng.random() < 0.65:
        return float(rng.uniform(-4.5, 4.5)), float(rng.uniform(2.3, max(back - 0.3, 2.5)))
    return float(rng.choice((-1, 1)) * rng.uniform(2.6, 5.5)), float(rng.uniform(-1.5, back))


def _objects(rng: np.random.Generator, ambient: float, back: float, outdoors: bool) -> list[Solid]:
    """Furniture, posts, trees, bushes, cars and posters."""
    solids: list[Solid] = []
    for _ in range(int(rng.integers(2, 11))):
        x, y = _beside(rng, back)
        what = rng.random()
        if what < 0.2:
            half, tall = float(rng.uniform(0.03, 0.15)), float(rng.uniform(0.8, 4.0))
            material = _material(rng, Kind.PLAIN, ambient)
            solids.append(Solid((x - half, y - half, 0), (x + half, y + half, tall), material, 2))
        elif what < 0.45 and outdoors:
            leaves, wide = _foliage(rng, ambient), float(rng.uniform(0.5, 2.0))
            low = float(rng.choice((0.0, 1.8)))
            if low:
                bark = _material(rng, Kind.PLANKS, ambient)
                solids.append(Solid((x - 0.14, y - 0.14, 0), (x + 0.14, y + 0.14, 3), bark, 2))
            top = low + float(rng.uniform(0.7, 2.6))
            solids.append(Solid((x - wide, y - wide, low), (x + wide, y + wide, top), leaves, 1))
        elif what < 0.6 and outdoors and abs(x) > 1.2:
            body = _material(rng, Kind.PLAIN, ambient)
            glass = _material(rng, Kind.PLAIN, ambient - 0.08)
            end = x + float(rng.choice((-1, 1))) * 3.4
            left, right = min(x, end), max(x, end)
            solids += [
                Solid((left, y, 0.3), (right, y + 1.7, 0.85), body),
                Solid((left + 0.6, y + 0.1, 0.85), (right - 0.7, y + 1.6, 1.4), glass),
            ]
        elif what < 0.75:
            wide, tall = float(rng.uniform(0.3, 1.2)), float(rng.uniform(0.4, 1.6))
            low = float(rng.uniform(0.3, 1.3))
            poster = _material(rng, Kind.POSTER if rng.random() < 0.6 else Kind.WINDOW, ambient)
            solids.append(Solid((x - wide, back - 0.06, low), (x + wide, back, low + tall), poster))
        else:
            wide, deep = rng.uniform(0.2, 0.9, 2).tolist()
            tall = float(rng.uniform(0.3, 2.0))
            kind = _FURNITURE[int(rng.integers(len(_FURNITURE)))]
            material = _material(rng, kind, ambient)
            solids.append(
                Solid((x - wide, y - deep / 2, 0), (x + wide, y + deep / 2, tall), material)
            )
    return solids


def draw_place(rng: np.random.Generator, *, outdoors: bool) -> Environment:
    """Draw the surroundings of a camera.

    Args:
        rng: Source of randomness.
        outdoors: With vegetation and vehicles and without a ceiling, or a room.

    Returns:
        The shapes.
    """
    ambient = float(rng.uniform(0.08, 0.72) if outdoors else rng.uniform(0.25, 0.5))
    floor = _FLOORS[int(rng.integers(len(_FLOORS)))]
    ground = (
        _foliage(rng, ambient)
        if outdoors and rng.random() < 0.15
        else _material(rng, floor, ambient)
    )
    solids = [Solid((-60, -60, -1), (60, 60, 0), ground)]
    # Strips of another surface: a lawn, a kerb, a carpet, a line.
    for _ in range(int(rng.integers(0, 4))):
        strip = (
            _foliage(rng, ambient)
            if outdoors and rng.random() < 0.5
            else _material(rng, _FLOORS[int(rng.integers(len(_FLOORS)))], ambient)
        )
        at, wide = float(rng.uniform(-3, 5)), float(np.exp(rng.normal(-0.4, 1.0)))
        top = float(rng.choice((0.002, 0.003, 0.05)))
        if rng.random() < 0.6:
            solids.append(Solid((-60, at, -0.5), (60, at + wide, top), strip))
        else:
            at = float(rng.choice((-1, 1))) * (1.2 + abs(at))
            solids.append(Solid((at, -60, -0.5), (at + wide, 60, top), strip))
    back = float(rng.uniform(3.5, 11) if outdoors else rng.uniform(2.4, 5))
    kind = _WALLS[int(rng.integers(len(_WALLS)))]
    if outdoors and rng.random() < 0.3:
        hedge, tall = _foliage(rng, ambient), float(rng.uniform(0.8, 3))
        solids.append(Solid((-40, back, 0), (40, back + 2, tall), hedge))
        solids.append(Solid((-60, back + 14, 0), (60, back + 20, 7), _material(rng, kind, ambient)))
    else:
        tall = 4.0 if not outdoors else float(rng.uniform(2, 12))
        solids.append(Solid((-40, back, 0), (40, back + 1, tall), _material(rng, kind, ambient)))
    if not outdoors:
        for side in (-1, 1):
            if rng.random() < 0.6:
                at = side * float(rng.uniform(2.2, 5))
                wall = _material(rng, _WALLS[int(rng.integers(len(_WALLS)))], ambient)
                solids.append(
                    Solid((min(at, at + side), -30, 0), (max(at, at + side), back, 4), wall)
                )
    solids += _objects(rng, ambient, back, outdoors)
    return Environment("outdoors" if outdoors else "indoors", tuple(solids))
