"""The inputs of the shading kernel: figure, environment, camera and light, as warp structs."""

# Warp's type hints do not describe array annotations.
# mypy: disable-error-code="valid-type"
import warp as wp

__all__ = ["Lights", "Mesh", "Shapes", "View"]


@wp.struct
class Mesh:
    """The posed figures: per vertex, per triangle, and what the rasteriser found.

    The first `own` triangles belong to the person whose image this is.
    """

    points: wp.array(dtype=wp.vec3)
    normals: wp.array(dtype=wp.vec3)
    rest: wp.array(dtype=wp.vec3)
    coords: wp.array(dtype=wp.vec3)
    cut: wp.array(dtype=float)
    triangles: wp.array(dtype=wp.vec3i)
    surface: wp.array(dtype=int)
    materials: wp.array2d(dtype=float)
    triangle_id: wp.array2d(dtype=int)
    weights: wp.array2d(dtype=wp.vec2)
    inverse_depth: wp.array2d(dtype=float)
    shadow: wp.array2d(dtype=float)
    own: int


@wp.struct
class Shapes:
    """The environment: axis-aligned boxes (0), ellipsoids (1) and upright cylinders (2).

    The first `front` shapes may stand before the figure; those from `visible` on lie outside the
    crop and only cast shadows.
    """

    low: wp.array(dtype=wp.vec3)
    high: wp.array(dtype=wp.vec3)
    form: wp.array(dtype=int)
    surface: wp.array(dtype=int)
    materials: wp.array2d(dtype=float)
    front: int
    visible: int


@wp.struct
class View:
    """The camera of one crop.

    A sample looks along ahead + (x0 + x step) right + (y0 + y step) down.
    """

    eye: wp.vec3
    right: wp.vec3
    down: wp.vec3
    ahead: wp.vec3
    x0: float
    y0: float
    step: float
    reach: float  # samples a metre at the figure, times its distance


@wp.struct
class Lights:
    """Light of one image."""

    key: wp.vec3  # direction towards the key light
    key_colour: wp.vec3
    sky: wp.vec3
    ground: wp.vec3
    fill: wp.vec3
    fill_colour: wp.vec3
    lamp: wp.vec3  # the camera's own illuminator
    lamp_axis: wp.vec3
    lamp_power: float
    lamp_cone: float
    haze: wp.vec3  # radiance of the background
    shadow_right: wp.vec3
    shadow_down: wp.vec3
    shadow_centre: wp.vec3
    shadow_scale: float
    shadow_depth: float
    feet: wp.array(dtype=wp.vec4)  # x, y of both feet of each person
    thermal: int
