"""Procedural textures as warp functions: the patterns of cloth and the surfaces of environments.

The numbers of the kinds are those of `materials.Kind`; warp wants them as literals.
"""

# Warp compiles the kernels in this file: a number that changes in a loop must be wrapped (float32,
# int32), and the kernel language is not what warp's type hints describe.
# ruff: noqa: PLR0917, PLR0912, PLR0915, RUF100
# mypy: disable-error-code="valid-type,index,arg-type,assignment,misc,return-value,type-var"
import warp as wp

__all__ = ["blotches", "cloth_tone", "environment_tone"]

wp.set_module_options({"enable_backward": False})


@wp.func
def blotches(seed: int, p: wp.vec3) -> float:
    """Two octaves of Perlin noise, about [-1, 1]."""
    state = wp.rand_init(seed)
    return wp.noise(state, p) + 0.5 * wp.noise(state, 2.03 * p)


@wp.func
def _frac(x: float) -> float:
    return x - wp.floor(x)


@wp.func
def cloth_tone(
    kind: int,
    frequency: float,
    duty: float,
    lengths: wp.vec4,
    coords: wp.vec3,
    rest: wp.vec3,
    edge: float,
    seed: int,
) -> float:
    """Share of the second tone at a point of cloth, in [0, 1].

    Args:
        kind: `materials.Kind`.
        frequency: Repeats a metre.
        duty: Share of the second tone.
        lengths: Lengths and positions of the pattern (m).
        coords: Around, along, position on the chest (m).
        rest: Position in the rest pose (m).
        edge: Distance to the nearest hem (m).
        seed: Start of the noise.
    """
    tone = wp.float32(0.0)
    if kind == 1:
        if _frac(coords[1] * frequency) < duty:
            tone = 1.0
    elif kind == 2:
        if _frac(coords[0] * frequency * 1.3) < duty:
            tone = 1.0
    elif kind == 3:
        if _frac(coords[0] * frequency) < duty:
            tone = 0.5
        if _frac(coords[1] * frequency) < duty:
            tone += 0.5
    elif kind == 4:
        side = wp.abs(coords[2] - lengths[0])
        behind = wp.abs(coords[2] - 5.0)
        if wp.min(side, behind) < lengths[1] and wp.abs(coords[1] - lengths[2]) < lengths[3]:
            tone = 1.0
    elif kind == 5:
        if coords[1] > lengths[0]:
            tone = 1.0
    elif kind == 6:
        if edge < lengths[0]:
            tone = 1.0
    elif kind == 7:
        u = _frac(coords[0] * frequency) - 0.5
        v = _frac(coords[1] * frequency) - 0.5
        if u * u + v * v < duty * duty:
            tone = 1.0
    elif kind == 8:
        if wp.abs(coords[0]) < lengths[0] or (
            coords[2] < 15.0 and coords[1] > 0.0 and wp.abs(coords[0] - 0.22) < lengths[0]
        ):
            tone = 1.0
    elif kind == 9:
        if blotches(seed, rest * 14.0) > 0.12:
            tone = 1.0
    elif kind == 10:
        if wp.abs(coords[1] - lengths[0]) < lengths[1]:
            tone = 1.0
    elif kind == 12:
        tone = 1.0 - wp.smoothstep(0.0052, 0.0066, coords[0])
        if coords[0] > 0.5:
            tone = 0.0
    elif kind == 13:
        state = wp.rand_init(seed)
        strand = wp.noise(state, wp.vec3(rest[0] * 160.0, rest[1] * 160.0, rest[2] * 14.0))
        tone = wp.clamp(0.5 + 0.9 * strand, 0.0, 1.0)
    return tone


@wp.func
def environment_tone(
    kind: int, frequency: float, duty: float, lengths: wp.vec4, uv: wp.vec2, seed: int
) -> float:
    """Share of the second tone at a point of an environment's surface, in [0, 1].

    Args:
        kind: `materials.Kind`.
        frequency: Repeats a metre.
        duty: Width of joints, or share of the second tone.
        lengths: Further lengths.
        uv: Position on the surface (m).
        seed: Start of the noise.
    """
    tone = wp.float32(0.0)
    u = uv[0] * frequency
    v = uv[1] * frequency
    state = wp.rand_init(seed)
    if kind == 0:
        tone = wp.clamp(0.5 + 0.5 * wp.noise(state, wp.vec2(u * 0.3, v * 0.3)), 0.0, 1.0)
    elif kind == 20:
        if _frac(u) < duty or _frac(v) < duty:
            tone = 1.0
        else:
            cell = wp.noise(state, wp.vec2(wp.floor(u) * 7.31 + 0.5, wp.floor(v) * 5.77 + 0.5))
            tone = 0.22 + 0.35 * cell
    elif kind == 21:
        row = wp.floor(v)
        shifted = u * 0.34 + 0.5 * (row - 2.0 * wp.floor(row * 0.5))
        if _frac(v) < duty or _frac(shifted) < duty * 0.4:
            tone = 1.0
        else:
            brick = wp.noise(state, wp.vec2(wp.floor(shifted) * 3.3 + 0.4, row * 2.7 + 0.3))
            tone = 0.25 + 0.4 * brick
    elif kind == 22:
        plank = wp.floor(v)
        along = wp.noise(state, wp.vec2(u * 0.35 + plank * 9.1, v * 2.5))
        tone = 0.35 + 0.35 * along + 0.2 * wp.noise(state, wp.vec2(plank * 3.7 + 0.5, 0.5))
        if _frac(v) < duty:
            tone = 1.0
    elif kind == 23:
        coarse = wp.noise(state, wp.vec2(u * 0.12, v * 0.12))
        fine = wp.noise(state, wp.vec2(u * 3.1, v * 3.1))
        tone = 0.45 + 0.3 * coarse + 0.45 * fine
    elif kind == 24:
        leaf = wp.noise(state, wp.vec2(u, v)) + 0.7 * wp.noise(state, wp.vec2(u * 2.3, v * 2.3))
        clump = wp.noise(state, wp.vec2(u * 0.17, v * 0.17))
        tone = 0.5 + 0.55 * leaf + 0.35 * clump
    elif kind == 25:
        if _frac(uv[0] * lengths[0]) < duty or _frac(uv[1] * lengths[1]) < duty:
            tone = 1.0
        else:
            tone = 0.25 * (1.0 + wp.noise(state, wp.vec2(u * 0.4, v * 0.4)))
    elif kind == 26:
        if _frac(u) < duty:
            tone = 1.0
        else:
            tone = 0.15 * (1.0 + wp.noise(state, wp.vec2(wp.floor(u) + 0.5, 0.5)))
    elif kind == 27:
        tone = wp.step(wp.noise(state, wp.vec2(wp.floor(u) * 1.7 + 0.5, wp.floor(v) * 2.3 + 0.5)))
    return wp.clamp(tone, 0.0, 1.0)
