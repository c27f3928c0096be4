"""Small closed meshes: rounded boxes, discs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["disc", "rounded_box"]

Points = NDArray[np.float32]


def _grid(rows: int, columns: int) -> NDArray[np.int32]:
    """Triangles of a grid of vertices that is closed around its columns."""
    r, c = np.meshgrid(np.arange(rows - 1), np.arange(columns), indexing="ij")
    a, b = r * columns + c, r * columns + (c + 1) % columns
    quads = np.stack([a, b, b + columns, a + columns], axis=-1).reshape(-1, 4)
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32)


def rounded_box(
    size: tuple[float, float, float], exponent: float = 0.45, rows: int = 12, columns: int = 20
) -> tuple[Points, NDArray[np.int32]]:
    """A superellipsoid about the origin.

    Args:
        size: Full extents (m) along x, y and z.
        exponent: 1 gives an ellipsoid, towards 0 a box.
        rows: Rings from bottom to top.
        columns: Vertices a ring.

    Returns:
        Vertices float32 ``[rows * columns, 3]`` and triangles int32 ``[t, 3]``.
    """
    latitude = np.linspace(-np.pi / 2, np.pi / 2, rows)[:, None]
    longitude = np.linspace(0, 2 * np.pi, columns, endpoint=False)[None, :]

    def power(v: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.sign(v) * np.abs(v) ** exponent

    ring = power(np.cos(latitude))
    x = ring * power(np.cos(longitude))
    y = ring * power(np.sin(longitude))
    z = power(np.sin(latitude)) * np.ones_like(longitude)
    points = np.stack([x, y, z], axis=-1).reshape(-1, 3) * (np.array(size) / 2)
    return points.astype(np.float32), _grid(rows, columns)


def disc(
    inner: float,
    outer: float,
    *,
    start: float,
    stop: float,
    droop: float,
    columns: int = 24,
) -> tuple[Points, NDArray[np.int32]]:
    """A flat ring or a sector of one in the xy plane, seen from both sides.

    Args:
        inner: Inner radius (m).
        outer: Outer radius (m).
        start: First angle (rad); 0 is +x, so -pi/2 is the front of the body.
        stop: Last angle.
        droop: How far the outer edge hangs down (m).
        columns: Vertices along the edge.

    Returns:
        Vertices float32 ``[2 * columns, 3]`` and triangles int32 ``[t, 3]``.
    """
    angle = np.linspace(start, stop, columns)
    direction = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    near = np.concatenate([direction * inner, np.zeros((columns, 1))], axis=1)
    far = np.concatenate([direction * outer, np.full((columns, 1), -droop)], axis=1)
    points = np.concatenate([near, far]).astype(np.float32)
    a = np.arange(columns - 1)
    quads = np.stack([a, a + 1, a + 1 + columns, a + columns], axis=1)
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32)
    return points, triangles
