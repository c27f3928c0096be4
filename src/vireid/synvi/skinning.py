"""Posing a figure: linear blend skinning and vertex normals, in warp on the CPU."""

# Warp compiles the kernels in this file: a number that changes in a loop must be wrapped (float32,
# int32), and the kernel language is not what warp's type hints describe.
# ruff: noqa: PLR0917, PLR0912, PLR0915, RUF100
# mypy: disable-error-code="valid-type,index,arg-type,assignment,no-any-return,misc,var-annotated"
from typing import Any

import numpy as np
import warp as wp
from numpy.typing import NDArray

from vireid.synvi.parts import Figure

__all__ = ["Skinning"]

wp.set_module_options({"enable_backward": False})

_Affine: Any = wp.types.matrix(shape=(3, 4), dtype=wp.float32)


@wp.kernel
def _skin(
    rest: wp.array(dtype=wp.vec3),
    weights: wp.array2d(dtype=float),
    indices: wp.array2d(dtype=int),
    bones: wp.array(dtype=_Affine),
    posed: wp.array(dtype=wp.vec3),
) -> None:
    v = wp.tid()
    p = rest[v]
    q = wp.vec4(p[0], p[1], p[2], 1.0)
    total = wp.vec3(0.0, 0.0, 0.0)
    for slot in range(weights.shape[1]):
        share = weights[v, slot]
        if share > 0.0:
            total += share * (bones[indices[v, slot]] * q)
    posed[v] = total


@wp.kernel
def _normals(
    points: wp.array(dtype=wp.vec3),
    triangles: wp.array(dtype=wp.vec3i),
    normals: wp.array(dtype=wp.vec3),
) -> None:
    for t in range(triangles.shape[0]):
        c = triangles[t]
        a = points[c[0]]
        face = wp.cross(points[c[1]] - a, points[c[2]] - a)
        normals[c[0]] = normals[c[0]] + face
        normals[c[1]] = normals[c[1]] + face
        normals[c[2]] = normals[c[2]] + face


class Skinning:
    """Keeps an identity's figure ready for many poses."""

    def __init__(self, figure: Figure) -> None:
        self.figure = figure
        self._rest: Any = wp.from_numpy(figure.rest, dtype=wp.vec3, device="cpu")
        self._triangles: Any = wp.from_numpy(figure.triangles, dtype=wp.vec3i, device="cpu")
        self._weights: Any = wp.from_numpy(figure.weights, dtype=wp.float32, device="cpu")
        self._indices: Any = wp.from_numpy(figure.indices, dtype=wp.int32, device="cpu")

    def pose(self, bones: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Pose the figure.

        Args:
            bones: Affine map of each bone, float32 ``[b, 3, 4]``.

        Returns:
            Posed vertices and their normals (not of unit length), both float32 ``[n, 3]``.
        """
        points = np.zeros_like(self.figure.rest)
        normals = np.zeros_like(points)
        posed = wp.array(points, dtype=wp.vec3, device="cpu", copy=False)
        maps = wp.from_numpy(np.ascontiguousarray(bones), dtype=_Affine, device="cpu")
        wp.launch(
            _skin,
            dim=len(points),
            inputs=[self._rest, self._weights, self._indices, maps, posed],
            device="cpu",
        )
        target = wp.array(normals, dtype=wp.vec3, device="cpu", copy=False)
        wp.launch(_normals, dim=1, inputs=[posed, self._triangles, target], device="cpu")
        return points, normals
