"""A z-buffer rasteriser in warp: triangles in, one visible triangle for each sample out.

Warp runs a CPU kernel on one thread, so the triangles are simply walked in order: no atomics, and
the result never depends on scheduling. The pass is deferred: it stores which triangle is seen where
(and the barycentric weights), and `shading` colours each sample once.
"""

# Warp compiles the kernels in this file: a number that changes in a loop must be wrapped (float32,
# int32), and the kernel language is not what warp's type hints describe.
# ruff: noqa: PLR0917, PLR0912, PLR0915, RUF100
# mypy: disable-error-code="valid-type,index,arg-type,assignment,no-any-return,misc,var-annotated"
from dataclasses import dataclass
from typing import Any

import numpy as np
import warp as wp
from numpy.typing import NDArray

__all__ = ["Samples", "rasterise"]

wp.set_module_options({"enable_backward": False})


@dataclass(frozen=True, slots=True)
class Samples:
    """What the rasteriser leaves behind for each sample of an image.

    Attributes:
        triangle: Index of the nearest triangle, int32 ``[h, w]``; -1 where there is none.
        weights: Weights of the triangle's second and third corner, float32 ``[h, w, 2]``,
            corrected for perspective.
        inverse_depth: 1 / distance along the optical axis (1/m), float32 ``[h, w]``; 0 if none.
    """

    triangle: NDArray[np.int32]
    weights: NDArray[np.float32]
    inverse_depth: NDArray[np.float32]


@wp.kernel
def _walk_triangles(
    points: wp.array(dtype=wp.vec3),
    cut: wp.array(dtype=float),
    triangles: wp.array(dtype=wp.vec3i),
    triangle_id: wp.array2d(dtype=int),
    weights: wp.array2d(dtype=wp.vec2),
    inverse_depth: wp.array2d(dtype=float),
) -> None:
    height = triangle_id.shape[0]
    width = triangle_id.shape[1]
    for t in range(triangles.shape[0]):
        corner = triangles[t]
        a = points[corner[0]]
        b = points[corner[1]]
        c = points[corner[2]]
        ca = cut[corner[0]]
        cb = cut[corner[1]]
        cc = cut[corner[2]]
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        whole = wp.min(ca, wp.min(cb, cc)) >= 0.0
        seen = wp.max(ca, wp.max(cb, cc)) >= 0.0
        if seen and wp.abs(area) > 1.0e-9:
            x0 = wp.max(int(wp.ceil(wp.min(a[0], wp.min(b[0], c[0])) - 0.5)), 0)
            x1 = wp.min(int(wp.floor(wp.max(a[0], wp.max(b[0], c[0])) - 0.5)), width - 1)
            y0 = wp.max(int(wp.ceil(wp.min(a[1], wp.min(b[1], c[1])) - 0.5)), 0)
            y1 = wp.min(int(wp.floor(wp.max(a[1], wp.max(b[1], c[1])) - 0.5)), height - 1)
            scale = 1.0 / area
            for y in range(y0, y1 + 1):
                py = float(y) + 0.5
                for x in range(x0, x1 + 1):
                    px = float(x) + 0.5
                    wb = ((px - a[0]) * (c[1] - a[1]) - (py - a[1]) * (c[0] - a[0])) * scale
                    wc = ((b[0] - a[0]) * (py - a[1]) - (b[1] - a[1]) * (px - a[0])) * scale
                    wa = 1.0 - wb - wc
                    if wa >= 0.0 and wb >= 0.0 and wc >= 0.0:
                        inverse = wa * a[2] + wb * b[2] + wc * c[2]
                        if inverse > inverse_depth[y, x]:
                            pb = wb * b[2] / inverse
                            pc = wc * c[2] / inverse
                            if whole or (1.0 - pb - pc) * ca + pb * cb + pc * cc >= 0.0:
                                inverse_depth[y, x] = inverse
                                triangle_id[y, x] = t
                                weights[y, x] = wp.vec2(pb, pc)


def rasterise(
    points: NDArray[np.float32],
    cut: NDArray[np.float32],
    triangles: NDArray[np.int32],
    height: int,
    width: int,
) -> Samples:
    """Find the nearest triangle under every sample.

    Args:
        points: Corner positions, float32 ``[v, 3]``: x and y in samples, then a depth key that
            grows towards the eye and is positive (1/distance for a perspective view).
        cut: Signed distance of each vertex to the edge of its cloth, float32 ``[v]`` in metres;
            where the interpolated value is negative there is no cloth. This gives hems that are
            smooth whatever the mesh.
        triangles: Vertex indices, int32 ``[t, 3]``; both sides are drawn.
        height: Rows of samples.
        width: Columns of samples.

    Returns:
        The nearest triangle at each sample centre.
    """
    triangle = np.full((height, width), -1, dtype=np.int32)
    weights = np.zeros((height, width, 2), dtype=np.float32)
    inverse = np.zeros((height, width), dtype=np.float32)
    inputs: list[Any] = [
        wp.from_numpy(points, dtype=wp.vec3, device="cpu"),
        wp.from_numpy(cut, dtype=wp.float32, device="cpu"),
        wp.from_numpy(triangles, dtype=wp.vec3i, device="cpu"),
        wp.array(triangle, dtype=wp.int32, device="cpu", copy=False),
        wp.array(weights, dtype=wp.vec2, device="cpu", copy=False),
        wp.array(inverse, dtype=wp.float32, device="cpu", copy=False),
    ]
    wp.launch(_walk_triangles, dim=1, inputs=inputs, device="cpu")
    return Samples(triangle, weights, inverse)
