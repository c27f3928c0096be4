"""Shades samples: a ray-traced environment behind a rasterised figure, one kernel for all bands."""

# Warp compiles the kernels in this file: a number that changes in a loop must be wrapped (float32,
# int32), and the kernel language is not what warp's type hints describe.
# ruff: noqa: SIM108, PLR0917, PLR0912, PLR0915, RUF100
# mypy: disable-error-code="valid-type,index,arg-type,assignment,no-any-return,misc,var-annotated"
from dataclasses import dataclass
from typing import Any

import numpy as np
import warp as wp
from numpy.typing import NDArray

from vireid.synvi.structs import Lights, Mesh, Shapes, View
from vireid.synvi.textures import blotches, cloth_tone, environment_tone

__all__ = ["ShadedImage", "shade"]

wp.set_module_options({"enable_backward": False, "fast_math": False})


@wp.func
def _material_vec(materials: wp.array2d(dtype=float), m: int, first: int) -> wp.vec3:
    return wp.vec3(materials[m, first], materials[m, first + 1], materials[m, first + 2])


@wp.func
def _hit(low: wp.vec3, high: wp.vec3, form: int, eye: wp.vec3, ray: wp.vec3) -> wp.vec4:
    """Nearest hit of a ray with a shape: distance (or -1) and normal."""
    far = wp.float32(1.0e9)
    near = wp.float32(-1.0e9)
    normal = wp.vec3(0.0, 0.0, 1.0)
    out = wp.vec4(-1.0, 0.0, 0.0, 1.0)
    if form == 0:
        for axis in range(3):
            d = ray[axis]
            if wp.abs(d) < 1.0e-7:
                d = 1.0e-7
            a = (low[axis] - eye[axis]) / d
            b = (high[axis] - eye[axis]) / d
            side = wp.float32(-1.0)
            if a > b:
                swap = a
                a = b
                b = swap
                side = 1.0
            if a > near:
                near = a
                normal = wp.vec3(0.0, 0.0, 0.0)
                normal[axis] = side
            far = wp.min(far, b)
        if near < far and near > 1.0e-3:
            out = wp.vec4(near, normal[0], normal[1], normal[2])
    else:
        centre = 0.5 * (low + high)
        half = 0.5 * (high - low)
        o = wp.cw_div(eye - centre, half)
        r = wp.cw_div(ray, half)
        if form == 2:
            o = wp.vec3(o[0], o[1], 0.0)
            r = wp.vec3(r[0], r[1], 0.0)
        qa = wp.dot(r, r)
        qb = wp.dot(o, r)
        root = qb * qb - qa * (wp.dot(o, o) - 1.0)
        if root > 0.0 and qa > 1.0e-12:
            t = (-qb - wp.sqrt(root)) / qa
            z = eye[2] + t * ray[2]
            if t > 1.0e-3 and (form == 1 or (z > low[2] and z < high[2])):
                n = wp.normalize(wp.cw_div(o + t * r, half))
                out = wp.vec4(t, n[0], n[1], n[2])
    return out


@wp.func
def _shadowed(mesh: Mesh, lights: Lights, p: wp.vec3, bias: float) -> float:
    """Fraction of the key light that the figure lets through, by its shadow map (3 x 3 taps)."""
    q = p - lights.shadow_centre
    x = wp.dot(q, lights.shadow_right) * lights.shadow_scale
    y = wp.dot(q, lights.shadow_down) * lights.shadow_scale
    size = mesh.shadow.shape[0]
    key = lights.shadow_depth + wp.dot(q, lights.key) + bias
    col = int(wp.floor(x)) + size / 2
    row = int(wp.floor(y)) + size / 2
    open_taps = wp.float32(9.0)
    if col > 1 and row > 1 and col < size - 2 and row < size - 2:
        for dy in range(3):
            for dx in range(3):
                if mesh.shadow[row + dy - 1, col + dx - 1] > key:
                    open_taps -= 1.0
    return open_taps / 9.0


@wp.func
def _lit(
    lights: Lights, p: wp.vec3, n: wp.vec3, look: wp.vec3, key_share: float, sky_share: float,
    soft: float, gloss: float, albedo: wp.vec3,
) -> wp.vec3:  # fmt: skip
    """Radiance of a surface towards the eye."""
    up = 0.5 + 0.5 * n[2]
    light = (up * lights.sky + (1.0 - up) * lights.ground) * sky_share
    facing = wp.max((wp.dot(n, lights.key) + soft) / (1.0 + soft), 0.0)
    light += lights.key_colour * (facing * key_share)
    side = wp.max((wp.dot(n, lights.fill) + 0.3) / 1.3, 0.0)
    light += lights.fill_colour * (side * (0.4 + 0.6 * sky_share))
    beam = lights.lamp - p
    away = wp.length(beam)
    beam = beam / away
    cone = wp.exp(-lights.lamp_cone * (1.0 + wp.dot(beam, lights.lamp_axis)))
    lamp = lights.lamp_power * cone / (away * away)
    light += wp.vec3(lamp, lamp, lamp) * wp.max(
        (wp.dot(n, beam) + 0.2 * soft) / (1.0 + 0.2 * soft), 0.0
    )
    colour = wp.cw_mul(light, albedo)
    half = wp.normalize(lights.key - look)
    shine = wp.pow(wp.max(wp.dot(n, half), 0.0), 24.0) * gloss * key_share
    colour += lights.key_colour * shine
    glint = wp.pow(wp.max(wp.dot(n, wp.normalize(beam - look)), 0.0), 24.0) * gloss
    colour += wp.vec3(lamp, lamp, lamp) * glint
    return colour


@wp.func
def _occlusion(mesh: Mesh, x: int, y: int, reach: float) -> float:
    """Ambient occlusion from nearer samples around, in [0.35, 1]."""
    here = 1.0 / mesh.inverse_depth[y, x]
    radius = reach / here
    blocked = wp.float32(0.0)
    height = mesh.inverse_depth.shape[0]
    width = mesh.inverse_depth.shape[1]
    for k in range(12):
        turn = float(k) * 2.39996
        r = radius * (0.02 + 0.012 * float(k))
        i = x + int(r * wp.cos(turn))
        j = y + int(r * wp.sin(turn))
        if i >= 0 and j >= 0 and i < width and j < height:
            there = mesh.inverse_depth[j, i]
            if there > 0.0:
                gap = here - 1.0 / there
                if gap > 0.012 and gap < 0.4:
                    blocked += 1.0 - gap * 2.0
    return 1.0 - 0.65 * wp.min(blocked / 7.0, 1.0)


@wp.func
def _ridge(seed: int, q: wp.vec3) -> float:
    """Noise with sharp ridges, in [0, 1]."""
    state = wp.rand_init(seed + 31)
    return wp.max(1.0 - 2.2 * wp.abs(wp.noise(state, q)), 0.0)


@wp.func
def _figure(mesh: Mesh, lights: Lights, view: View, x: int, y: int) -> wp.vec3:
    """Radiance of the figure at a sample that it covers."""
    t = mesh.triangle_id[y, x]
    w = mesh.weights[y, x]
    c = mesh.triangles[t]
    wa = 1.0 - w[0] - w[1]
    p = wa * mesh.points[c[0]] + w[0] * mesh.points[c[1]] + w[1] * mesh.points[c[2]]
    n = wa * mesh.normals[c[0]] + w[0] * mesh.normals[c[1]] + w[1] * mesh.normals[c[2]]
    rest = wa * mesh.rest[c[0]] + w[0] * mesh.rest[c[1]] + w[1] * mesh.rest[c[2]]
    uvw = wa * mesh.coords[c[0]] + w[0] * mesh.coords[c[1]] + w[1] * mesh.coords[c[2]]
    edge = wa * mesh.cut[c[0]] + w[0] * mesh.cut[c[1]] + w[1] * mesh.cut[c[2]]
    m = mesh.surface[t]
    kind = int(mesh.materials[m, 6])
    lengths = wp.vec4(
        mesh.materials[m, 9], mesh.materials[m, 10], mesh.materials[m, 11], mesh.materials[m, 12]
    )
    seed = int(mesh.materials[m, 17])
    n = wp.normalize(n)
    look = wp.normalize(p - view.eye)
    if wp.dot(n, look) > 0.0:
        n = -n
    first = _material_vec(mesh.materials, m, 0)
    second = _material_vec(mesh.materials, m, 3)
    tone = cloth_tone(
        kind, mesh.materials[m, 7], mesh.materials[m, 8], lengths, uvw, rest, edge, seed
    )
    soft = wp.float32(0.15)
    if kind == 11:
        tone = uvw[0]
        soft = 0.35
        lips = wp.clamp(uvw[1], 0.0, 1.0)
        first = wp.cw_mul(first, wp.vec3(1.0 - 0.05 * lips, 1.0 - 0.4 * lips, 1.0 - 0.35 * lips))
    albedo = first * (1.0 - tone) + second * tone
    grain = mesh.materials[m, 16]
    state = wp.rand_init(seed + 77)
    albedo = albedo * (1.0 + grain * wp.noise(state, rest * 90.0))
    folds = mesh.materials[m, 14]
    if folds > 0.0:
        # Folds hang: the noise is stretched along the cloth.
        f = mesh.materials[m, 15]
        q = wp.vec3(rest[0] * f, rest[1] * f, rest[2] * f * 0.55)
        h = 0.15
        weave = wp.rand_init(seed)
        base = wp.noise(weave, q)
        gx = wp.noise(weave, q + wp.vec3(h, 0.0, 0.0)) - base
        gy = wp.noise(weave, q + wp.vec3(0.0, h, 0.0)) - base
        gz = wp.noise(weave, q + wp.vec3(0.0, 0.0, h)) - base
        n = wp.normalize(n - (folds / h * 0.5) * wp.vec3(gx, gy, gz))
    creases = mesh.materials[m, 18]
    ridge = float(0.0)  # noqa: UP018 (a variable of the kernel, not a constant)
    if creases > 0.0:
        # Cloth that is pressed together along a limb creases across it; long waves hang down.
        f = mesh.materials[m, 15]
        q = wp.vec3(rest[0] * f * 0.55, rest[1] * f * 0.55, rest[2] * f * 1.25)
        h = 0.08
        base = _ridge(seed, q)
        n = wp.normalize(
            n
            - (creases * 0.07 / h)
            * wp.vec3(
                _ridge(seed, q + wp.vec3(h, 0.0, 0.0)) - base,
                _ridge(seed, q + wp.vec3(0.0, h, 0.0)) - base,
                1.6 * (_ridge(seed, q + wp.vec3(0.0, 0.0, h)) - base),
            )
        )
        wave = wp.rand_init(seed + 11)
        p1 = wp.vec3(rest[0] * f * 0.5, rest[1] * f * 0.5, rest[2] * f * 0.12)
        w0 = wp.noise(wave, p1)
        wx = wp.noise(wave, p1 + wp.vec3(h, 0.0, 0.0)) - w0
        wy = wp.noise(wave, p1 + wp.vec3(0.0, h, 0.0)) - w0
        n = wp.normalize(n - (creases * 0.3 / h) * wp.vec3(wx, wy, 0.0))
        ridge = base
        if lights.thermal == 0:
            albedo = albedo * (1.0 - 0.2 * creases * wp.smoothstep(0.6, 1.0, base))
    occlusion = _occlusion(mesh, x, y, view.reach)
    colour = albedo
    if lights.thermal == 1:
        facing = wp.max(-wp.dot(n, look), 0.0)
        slope = 0.14 + 0.16 * wp.min(creases, 1.0)
        warm = albedo[0] * (1.0 - slope + slope * facing) * (1.06 - 0.06 * occlusion)
        warm += 0.05 * blotches(seed, rest * 7.0)
        if creases > 0.0:
            # Cloth that stands off the body is colder, and so are double hems and ridges.
            warm -= 0.05 * wp.noise(wp.rand_init(seed + 12), rest * 9.0)
            warm -= 0.06 * (1.0 - wp.smoothstep(0.008, 0.03, edge))
            warm -= 0.08 * creases * wp.smoothstep(0.5, 1.0, ridge)
        # The trunk is warmer than the legs, below cloth.
        warm += 0.06 * wp.clamp((rest[2] + 0.2) * 1.2, -1.0, 1.0)
        colour = wp.vec3(warm, warm, warm)
    else:
        share = _shadowed(mesh, lights, p + 0.012 * n, 0.012)
        colour = _lit(lights, p, n, look, share, occlusion, soft, mesh.materials[m, 13], albedo)
    return colour


@wp.func
def _surroundings(
    mesh: Mesh, shapes: Shapes, lights: Lights, view: View, ray: wp.vec3, first: int, limit: float
) -> wp.vec4:
    """Radiance of the environment along a ray; the fourth number is 0 beyond the limit."""
    nearest = wp.float32(limit)
    which = wp.int32(-1)
    n = wp.vec3(0.0, 0.0, 1.0)
    for s in range(first):
        found = _hit(shapes.low[s], shapes.high[s], shapes.form[s], view.eye, ray)
        if found[0] > 0.0 and found[0] < nearest:
            nearest = found[0]
            which = s
            n = wp.vec3(found[1], found[2], found[3])
    out = wp.vec4(0.0, 0.0, 0.0, 0.0)
    if which >= 0:
        p = view.eye + nearest * ray
        m = shapes.surface[which]
        kind = int(shapes.materials[m, 6])
        uv = wp.vec2(p[0], p[1])
        if wp.abs(n[2]) < 0.7:
            if wp.abs(n[0]) > wp.abs(n[1]):
                uv = wp.vec2(p[1], p[2])
            else:
                uv = wp.vec2(p[0], p[2])
        lengths = wp.vec4(
            shapes.materials[m, 9],
            shapes.materials[m, 10],
            shapes.materials[m, 11],
            shapes.materials[m, 12],
        )
        tone = environment_tone(
            kind,
            shapes.materials[m, 7],
            shapes.materials[m, 8],
            lengths,
            uv,
            int(shapes.materials[m, 17]),
        )
        albedo = (
            _material_vec(shapes.materials, m, 0) * (1.0 - tone)
            + _material_vec(shapes.materials, m, 3) * tone
        )
        if lights.thermal == 1 or kind == 28:
            out = wp.vec4(albedo[0], albedo[1], albedo[2], 1.0)
        else:
            if kind == 24:
                bump = wp.rand_init(int(shapes.materials[m, 17]) + 5)
                dx = wp.noise(bump, p * 9.0)
                dy = wp.noise(bump, p * 9.0 + wp.vec3(7.0, 3.0, 1.0))
                n = wp.normalize(n + wp.vec3(dx, dy, 0.5 * dx))
            look = wp.normalize(ray)
            share = wp.float32(1.0)
            if wp.dot(n, lights.key) > 0.0 and lights.key_colour[0] > 0.0:
                start = p + 0.003 * n
                for s in range(shapes.low.shape[0]):
                    if share > 0.0:
                        block = _hit(
                            shapes.low[s], shapes.high[s], shapes.form[s], start, lights.key
                        )
                        if block[0] > 0.0:
                            share = 0.0
                if share > 0.0:
                    share = _shadowed(mesh, lights, p, 0.0)
            sky = 0.45 + 0.55 * wp.min(p[2] / 0.5, 1.0)
            if n[2] > 0.5:
                sky = wp.float32(1.0)
                if p[2] <= 0.05:
                    for f in range(lights.feet.shape[0]):
                        ax = p[0] - lights.feet[f][0]
                        ay = p[1] - lights.feet[f][1]
                        bx = p[0] - lights.feet[f][2]
                        by = p[1] - lights.feet[f][3]
                        body = wp.vec2(0.5 * (ax + bx), 0.5 * (ay + by))
                        sky = sky * (1.0 - 0.5 * wp.exp(-(ax * ax + ay * ay) / 0.016))
                        sky = sky * (1.0 - 0.5 * wp.exp(-(bx * bx + by * by) / 0.016))
                        sky = sky * (1.0 - 0.4 * wp.exp(-wp.dot(body, body) / 0.16))
            lit = _lit(lights, p, n, look, share, sky, 0.0, shapes.materials[m, 13], albedo)
            out = wp.vec4(lit[0], lit[1], lit[2], 1.0)
    return out


@wp.kernel
def _shade(
    mesh: Mesh,
    shapes: Shapes,
    view: View,
    lights: Lights,
    oversampling: int,
    image: wp.array2d(dtype=wp.vec4),
) -> None:
    row, col = wp.tid()
    total = wp.vec4(0.0, 0.0, 0.0, 0.0)
    for j in range(oversampling):
        for i in range(oversampling):
            y = row * oversampling + j
            x = col * oversampling + i
            ray = (
                view.ahead
                + (view.x0 + (float(x) + 0.5) * view.step) * view.right
                + (view.y0 + (float(y) + 0.5) * view.step) * view.down
            )
            covered = mesh.triangle_id[y, x] >= 0
            if covered:
                depth = 1.0 / mesh.inverse_depth[y, x]
                before = wp.vec4(0.0, 0.0, 0.0, 0.0)
                hiding = shapes.front
                mask = wp.float32(1.0)
                if mesh.triangle_id[y, x] >= mesh.own:
                    hiding = shapes.visible
                    mask = 0.0
                if hiding > 0:
                    before = _surroundings(mesh, shapes, lights, view, ray, hiding, depth)
                if before[3] > 0.0:
                    total += wp.vec4(before[0], before[1], before[2], 0.0)
                else:
                    colour = _figure(mesh, lights, view, x, y)
                    total += wp.vec4(colour[0], colour[1], colour[2], mask)
            else:
                seen = _surroundings(mesh, shapes, lights, view, ray, shapes.visible, 1.0e8)
                if seen[3] > 0.0:
                    total += wp.vec4(seen[0], seen[1], seen[2], 0.0)
                else:
                    total += wp.vec4(lights.haze[0], lights.haze[1], lights.haze[2], 0.0)
    image[row, col] = total / float(oversampling * oversampling)


@dataclass(frozen=True, slots=True)
class ShadedImage:
    """A shaded crop.

    Attributes:
        radiance: Linear radiance, float32 ``[h, w, 3]``.
        mask: Fraction of each pixel covered by the person whose image this is, float32 ``[h, w]``.
    """

    radiance: NDArray[np.float32]
    mask: NDArray[np.float32]


def shade(
    mesh: Any, shapes: Any, view: Any, lights: Any, height: int, width: int, oversampling: int
) -> ShadedImage:
    """Colour a crop.

    Args:
        mesh: The posed, rasterised figures (`Mesh`).
        shapes: The environment (`Shapes`).
        view: The camera (`View`).
        lights: The light (`Lights`).
        height: Rows of the crop in pixels.
        width: Columns of the crop.
        oversampling: Samples along each side of a pixel.

    Returns:
        Linear radiance and the person's coverage.
    """
    image = np.zeros((height, width, 4), dtype=np.float32)
    target = wp.array(image, dtype=wp.vec4, device="cpu", copy=False)
    wp.launch(
        _shade,
        dim=(height, width),
        inputs=[mesh, shapes, view, lights, oversampling, target],
        device="cpu",
    )
    return ShadedImage(image[:, :, :3], image[:, :, 3])
