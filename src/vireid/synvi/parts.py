"""Parts of a figure: skinned meshes, and their assembly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vireid.synvi.body import Body, Template
from vireid.synvi.materials import Material

__all__ = ["Figure", "Part", "assemble", "join", "layer", "rigid", "vertex_normals"]

Points = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Part:
    """One mesh in the rest pose.

    Attributes:
        rest: Vertices, float32 ``[n, 3]`` in metres.
        weights: Skin weights, float32 ``[n, 8]``.
        indices: Bones, int32 ``[n, 8]``.
        coords: Cloth coordinates, float32 ``[n, 3]``.
        cut: Signed distance to the edge of the cloth, float32 ``[n]``.
        triangles: Vertex indices, int32 ``[t, 3]``.
        material: The surface.
    """

    rest: Points
    weights: Points
    indices: NDArray[np.int32]
    coords: Points
    cut: NDArray[np.float32]
    triangles: NDArray[np.int32]
    material: Material


@dataclass(frozen=True, slots=True)
class Figure:
    """A dressed identity in the rest pose, all parts in one mesh.

    Attributes:
        rest: Vertices, float32 ``[n, 3]``.
        weights: Skin weights, float32 ``[n, 8]``.
        indices: Bones, int32 ``[n, 8]``.
        coords: Cloth coordinates, float32 ``[n, 3]``.
        cut: Signed distances to hems, float32 ``[n]``.
        triangles: Vertex indices, int32 ``[t, 3]``.
        surface: Material of each triangle, int32 ``[t]``.
        materials: The materials.
    """

    rest: Points
    weights: Points
    indices: NDArray[np.int32]
    coords: Points
    cut: NDArray[np.float32]
    triangles: NDArray[np.int32]
    surface: NDArray[np.int32]
    materials: tuple[Material, ...]

    def surface_vertices(self, part: int) -> NDArray[np.int32]:
        """Indices of the vertices of one part."""
        return np.unique(self.triangles[self.surface == part])


def vertex_normals(points: Points, triangles: NDArray[np.int32]) -> Points:
    """Unit normals of the vertices, weighted by area, float32 ``[n, 3]``."""
    a, b, c = (points[triangles[:, i]] for i in range(3))
    face = np.cross(b - a, c - a)
    normals = np.stack(
        [
            np.bincount(triangles.ravel(), np.repeat(face[:, axis], 3), len(points))
            for axis in range(3)
        ],
        axis=1,
    )
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.asarray(normals / np.maximum(length, 1e-12), dtype=np.float32)


def layer(
    template: Template,
    body: Body,
    triangles: NDArray[np.int32],
    *,
    offset: NDArray[np.float32] | float,
    cut: NDArray[np.float32],
    coords: Points,
    material: Material,
) -> Part | None:
    """A layer of cloth (or skin, or hair) that stands off a part of the template's mesh.

    Args:
        template: Weights and neutral shape.
        body: The identity's rest shape.
        triangles: The mesh, indices into the template's vertices.
        offset: How far the layer stands off along the normals (m), scalar or ``[v]``.
        cut: Signed distance to the edge for all template vertices, ``[v]``; triangles that lie
            outside altogether are dropped here.
        coords: Cloth coordinates of all template vertices, ``[v, 3]``.
        material: The surface.

    Returns:
        The part, or None if it is empty.
    """
    kept = triangles[(cut[triangles] >= 0).any(axis=1)]
    if len(kept) == 0:
        return None
    normals = vertex_normals(body.rest, triangles)
    ids, inverse = np.unique(kept, return_inverse=True)
    stand_off = np.broadcast_to(np.asarray(offset, dtype=np.float32), len(body.rest))[ids]
    return Part(
        rest=body.rest[ids] + normals[ids] * stand_off[:, None],
        weights=template.weights[ids],
        indices=template.indices[ids],
        coords=coords[ids],
        cut=cut[ids],
        triangles=inverse.reshape(kept.shape).astype(np.int32),
        material=material,
    )


def rigid(
    points: Points,
    triangles: NDArray[np.int32],
    bones: dict[int, float],
    material: Material,
    coords: Points | None = None,
) -> Part:
    """A mesh attached to a few bones, with the same weights for every vertex."""
    count = len(points)
    weights = np.zeros((count, 8), dtype=np.float32)
    indices = np.zeros((count, 8), dtype=np.int32)
    for slot, (bone, share) in enumerate(bones.items()):
        weights[:, slot], indices[:, slot] = share, bone
    return Part(
        rest=points.astype(np.float32),
        weights=weights,
        indices=indices,
        coords=(points - points.mean(axis=0)).astype(np.float32) if coords is None else coords,
        cut=np.ones(count, dtype=np.float32),
        triangles=triangles,
        material=material,
    )


def assemble(parts: list[Part]) -> Figure:
    """Concatenate the parts into one mesh."""
    starts = np.cumsum([0, *(len(p.rest) for p in parts)])
    return Figure(
        rest=np.concatenate([p.rest for p in parts]),
        weights=np.concatenate([p.weights for p in parts]),
        indices=np.concatenate([p.indices for p in parts]),
        coords=np.concatenate([p.coords for p in parts]),
        cut=np.concatenate([p.cut for p in parts]),
        triangles=np.concatenate(
            [p.triangles + np.int32(s) for p, s in zip(parts, starts[:-1], strict=True)]
        ),
        surface=np.concatenate(
            [np.full(len(p.triangles), i, dtype=np.int32) for i, p in enumerate(parts)]
        ),
        materials=tuple(p.material for p in parts),
    )


def join(first: Figure, second: Figure) -> Figure:
    """Concatenate two figures into one mesh; the first keeps its numbers."""
    return Figure(
        rest=np.concatenate([first.rest, second.rest]),
        weights=np.concatenate([first.weights, second.weights]),
        indices=np.concatenate([first.indices, second.indices]),
        coords=np.concatenate([first.coords, second.coords]),
        cut=np.concatenate([first.cut, second.cut]),
        triangles=np.concatenate([first.triangles, second.triangles + np.int32(len(first.rest))]),
        surface=np.concatenate([first.surface, second.surface + np.int32(len(first.materials))]),
        materials=first.materials + second.materials,
    )
