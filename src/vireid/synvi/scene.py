"""One image: a walking person in front of a camera, and sometimes a second one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
import warp as wp
from numpy.typing import NDArray

from vireid.synvi.body import Body, Template
from vireid.synvi.cameras import Camera, Illumination
from vireid.synvi.environments import Environment, Solid
from vireid.synvi.gait import Gait, Pose, bone_transforms, draw_pose
from vireid.synvi.materials import Kind, Material, table
from vireid.synvi.parts import Figure, join
from vireid.synvi.raster import Samples, rasterise
from vireid.synvi.shading import ShadedImage, shade
from vireid.synvi.skinning import Skinning
from vireid.synvi.structs import Lights, Mesh, Shapes, View

__all__ = ["Person", "Seen", "Shot", "draw_shot", "render_frame", "render_shot"]

Points = NDArray[np.float32]
_SHADOW_SIZE = 256  # samples along each side of the shadow map
_SHADOW_SPAN = 2.6  # metres that it covers


@dataclass(frozen=True, slots=True)
class Person:
    """An identity ready to be rendered."""

    template: Template
    body: Body
    gait: Gait
    skinning: Skinning


@dataclass(frozen=True, slots=True)
class Shot:
    """The random parameters of one image, up to the sensor.

    Attributes:
        pose: The moment of the walk.
        heading: Degrees; 0 faces the camera (-y).
        position: Position of the person (x, y), metres.
        height: Rows of the crop, pixels.
        margins: Left, right, top and bottom margins of the box, shares of the person's height.
        light: Factors on the key light, the rest of the light, and the lamp.
        key_turn: Turn of the key light about the vertical, degrees.
        occluder: An object in front: side (-1..1), width (m; 0 for none), height (m), form.
    """

    pose: Pose
    heading: float
    position: tuple[float, float]
    height: int
    margins: tuple[float, float, float, float]
    light: tuple[float, float, float]
    key_turn: float
    occluder: tuple[float, float, float, int]

    @property
    def seen_from_behind(self) -> bool:
        """Whether the person's back is turned to the camera."""
        return float(np.cos(np.deg2rad(self.heading))) < 0.0


def draw_shot(rng: np.random.Generator, camera: Camera) -> Shot:
    """Draw one image of a camera, independent of all others."""
    around = float(rng.choice((0.0, 180.0, 90.0, -90.0), p=(0.4, 0.3, 0.15, 0.15)))
    x0, x1, y0, y1 = camera.walk
    margins = np.clip(rng.normal((0.025, 0.025, 0.03, 0.02), 0.02), -0.015, 0.09)
    if rng.random() < 0.06:  # the detector lost the feet
        margins[3] = -rng.uniform(0.05, 0.16)
    if rng.random() < 0.06:  # or a side
        margins[int(rng.integers(2))] = -rng.uniform(0.02, 0.06)
    width, height, form = 0.0, 0.0, 0
    hides = rng.random() < camera.hidden
    kinds = ((0.12, 3.0, 2), (0.9, 0.55, 0), (0.35, 1.2, 0))
    if hides:
        width, height, form = kinds[int(rng.integers(len(kinds)))]
    left, right, top, bottom = (float(m) for m in margins)
    return Shot(
        pose=draw_pose(rng),
        heading=float(around + rng.normal(0, 16)),
        position=(float(rng.uniform(x0, x1)), float(rng.uniform(y0, y1))),
        height=int(rng.integers(camera.heights[0], camera.heights[1] + 1)),
        margins=(left, right, top, bottom),
        light=(
            float(np.exp(rng.normal(0, 0.2))),
            float(np.exp(rng.normal(0, 0.1))),
            float(np.exp(rng.normal(0, 0.15))),
        ),
        key_turn=float(rng.normal(0, 12)),
        occluder=(float(rng.uniform(-1, 1)), width, height, form),
    )


def _unit(v: Any) -> NDArray[np.float64]:
    vector = np.asarray(v, dtype=np.float64)
    return vector / np.linalg.norm(vector)


@dataclass(frozen=True, slots=True)
class _Posed:
    """Figures in the world.

    Attributes:
        figure: The figures in the rest pose, one mesh.
        points: World positions of its vertices, float32 ``[n, 3]``.
        normals: Their normals, float32 ``[n, 3]``.
        feet: Where the two feet of each person touch the ground, float32 ``[people, 4]``.
    """

    figure: Figure
    points: Points
    normals: Points
    feet: NDArray[np.float32]


def _pose_in_world(person: Person, shot: Shot) -> _Posed:
    """A person at the moment and the place of a shot."""
    bones = bone_transforms(person.template, person.body, person.gait, shot.pose)
    points, normals = person.skinning.pose(bones)
    angle = np.deg2rad(shot.heading)
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    # The shoes are the first part of a figure.
    ground = points[person.skinning.figure.surface_vertices(0), 2].min()

    def turned(p: Points) -> Points:
        return np.stack(
            [c * p[..., 0] - s * p[..., 1], s * p[..., 0] + c * p[..., 1], p[..., 2]], -1
        )

    world = turned(points)
    shift = np.array([*shot.position, -ground], dtype=np.float32)
    feet = np.stack(
        [bones[person.template.bone(f"foot.{side}")] @ _foot(person, side) for side in "LR"]
    ).astype(np.float32)
    feet = (turned(feet)[:, :2] + shift[:2]).reshape(1, 4)
    return _Posed(person.skinning.figure, world + shift, turned(normals), feet)


def _both(first: _Posed, second: _Posed) -> _Posed:
    return _Posed(
        join(first.figure, second.figure),
        np.concatenate([first.points, second.points]),
        np.concatenate([first.normals, second.normals]),
        np.concatenate([first.feet, second.feet]),
    )


def _foot(person: Person, side: str) -> NDArray[np.float64]:
    """The middle of a sole in the rest pose, homogeneous."""
    ankle = person.body.heads[person.template.bone(f"foot.{side}")]
    return np.array([ankle[0], ankle[1] - 0.06, ankle[2] - 0.06, 1.0])


def _shadow_map(
    posed: _Posed, light: Illumination, shot: Shot, lights: Any, *, span: float = _SHADOW_SPAN
) -> NDArray[np.float32]:
    """Depth towards the key light, ``[size, size]``; also fills in the map's frame."""
    angle = np.deg2rad(shot.key_turn)
    x, y, z = light.key
    key = _unit((np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y, z))
    right = _unit(np.cross(key, (0.0, 0.3, 1.0)))
    down = np.cross(key, right)
    centre = np.array([*shot.position, 0.85])
    scale = _SHADOW_SIZE / span
    lights.key = wp.vec3(*key)
    lights.shadow_right, lights.shadow_down = wp.vec3(*right), wp.vec3(*down)
    lights.shadow_centre = wp.vec3(*centre)
    lights.shadow_scale, lights.shadow_depth = scale, 10.0
    if max(light.key_colour) <= 0:
        return np.zeros((_SHADOW_SIZE, _SHADOW_SIZE), dtype=np.float32)
    away = posed.points - centre.astype(np.float32)
    frame = np.stack([right * scale, down * scale, key]).astype(np.float32)
    points = (away[:, None, :] * frame[None]).sum(axis=2)
    points += np.array([_SHADOW_SIZE / 2, _SHADOW_SIZE / 2, 10.0], dtype=np.float32)
    figure = posed.figure
    seen = rasterise(points, figure.cut, figure.triangles, _SHADOW_SIZE, _SHADOW_SIZE)
    return seen.inverse_depth


def _lights(light: Illumination, camera: Camera, shot: Shot, ahead: Any) -> Any:
    key, rest, lamp = shot.light
    lights = Lights()
    lights.key_colour = wp.vec3(*(key * c for c in light.key_colour))
    lights.sky = wp.vec3(*(rest * c for c in light.sky))
    lights.ground = wp.vec3(*(rest * c for c in light.ground))
    lights.fill = wp.vec3(*_unit(light.fill))
    lights.fill_colour = wp.vec3(*(rest * c for c in light.fill_colour))
    eye = camera.eye
    lights.lamp = wp.vec3(eye[0] + 0.12, eye[1], eye[2] + 0.1)
    lights.lamp_axis = wp.vec3(*ahead)
    lights.lamp_power = lamp * light.lamp
    lights.lamp_cone = light.lamp_cone
    lights.haze = wp.vec3(*light.haze)
    lights.thermal = int(camera.band == "thermal")
    return lights


def _in_front(camera: Camera, shot: Shot) -> list[Solid]:
    """The object that hides a part of the person, if any."""
    side, width, height, form = shot.occluder
    if width == 0:
        return []
    eye, position = np.array(camera.eye[:2]), np.array(shot.position)
    towards = _unit(position - eye)
    across = np.array([towards[1], -towards[0]])
    x, y = position - 0.75 * towards + side * (0.12 + 0.5 * width) * across
    grey = 0.08 + 0.3 * abs(side)
    material = Material(
        ((grey, grey * 0.95, grey * 0.9), (grey * 0.8, grey * 0.75, grey * 0.7)),
        (0.5 - 0.3 * abs(side), 0.4 - 0.3 * abs(side)),
        (0.32, 0.3),
        Kind.PANELS if form == 0 else Kind.PLAIN,
        frequency=3.0,
        duty=0.04,
    )
    half = width / 2
    low, high = (x - half, y - half * 0.6, 0.0), (x + half, y + half * 0.6, height)
    return [Solid(low, high, material, form)]


def _in_crop(solid: Solid, eye: Points, frame: Points, crop: _Crop) -> bool:
    """Whether a shape's bounding box may be seen in a crop."""
    ends = np.array([solid.low, solid.high], dtype=np.float32)
    corners = np.array([(ends[i, 0], ends[j, 1], ends[k, 2]) for i, j, k in np.ndindex(2, 2, 2)])
    seen = ((corners - eye)[:, None, :] * frame[None]).sum(axis=2)
    if seen[:, 2].min() < 0.1:  # reaches behind the camera
        return bool(seen[:, 2].max() >= 0.1)
    flat = seen[:, :2] / seen[:, 2:]
    low = np.array([crop.left, crop.top])
    high = low + crop.step * np.array([crop.width, crop.height])
    return bool((flat.max(axis=0) >= low).all() and (flat.min(axis=0) <= high).all())


def _shapes(front: list[Solid], camera: Camera, frame: Points, crop: _Crop) -> Any:
    """The environment as the kernel reads it; what the crop cannot show comes last."""
    eye = np.array(camera.eye, dtype=np.float32)
    environment = camera.environment
    shown = [_in_crop(solid, eye, frame, crop) for solid in environment.solids]
    visible = [s for s, there in zip(environment.solids, shown, strict=True) if there]
    hidden = [s for s, there in zip(environment.solids, shown, strict=True) if not there]
    low, high, form, materials = Environment(environment.name, (*visible, *hidden)).arrays(front)
    shapes = Shapes()
    shapes.low = wp.from_numpy(low, dtype=wp.vec3, device="cpu")
    shapes.high = wp.from_numpy(high, dtype=wp.vec3, device="cpu")
    shapes.form = wp.from_numpy(form, dtype=wp.int32, device="cpu")
    numbers = np.arange(len(materials), dtype=np.int32)
    shapes.surface = wp.from_numpy(numbers, dtype=wp.int32, device="cpu")
    shapes.materials = wp.from_numpy(table(materials, camera.band), dtype=wp.float32, device="cpu")
    shapes.front = len(front)
    shapes.visible = len(front) + len(visible)
    return shapes


@dataclass(frozen=True, slots=True)
class _Crop:
    """The box in the camera's image plane (at distance 1) and its size in pixels."""

    left: float
    top: float
    step: float
    height: int
    width: int


def _crop(flat: Points, shot: Shot, size: tuple[int, int] | None) -> _Crop:
    """Box of a person.

    Args:
        flat: Projected vertices, float32 ``[n, 2]``.
        shot: Margins and height.
        size: Rows and columns that the crop must have, or None to follow the person's outline.
    """
    low, high = flat.min(axis=0), flat.max(axis=0)
    tall = float(high[1] - low[1])
    left, right, top, bottom = (m * tall for m in shot.margins)
    x0, x1 = float(low[0]) - left, float(high[0]) + right
    y0, y1 = float(low[1]) - top, float(high[1]) + bottom
    least = (size[1] / size[0] if size else 0.34) * (y1 - y0)
    if x1 - x0 < least:
        middle = (x0 + x1) / 2
        x0, x1 = middle - least / 2, middle + least / 2
    if size:
        if x1 - x0 > least:  # wider than the frame: show more above and below
            grow = (x1 - x0) * size[0] / size[1] - (y1 - y0)
            y0, y1 = y0 - grow / 2, y1 + grow / 2
        return _Crop(x0, y0, (y1 - y0) / size[0], size[0], size[1])
    step = (y1 - y0) / shot.height
    return _Crop(x0, y0, step, shot.height, max(16, round((x1 - x0) / step)))


def _mesh(posed: _Posed, own: int, seen: Samples, camera: Camera) -> Any:
    figure = posed.figure
    mesh = Mesh()
    mesh.own = own
    mesh.points = wp.array(posed.points, dtype=wp.vec3, device="cpu", copy=False)
    mesh.normals = wp.array(posed.normals, dtype=wp.vec3, device="cpu", copy=False)
    mesh.rest = wp.from_numpy(figure.rest, dtype=wp.vec3, device="cpu")
    mesh.coords = wp.from_numpy(figure.coords, dtype=wp.vec3, device="cpu")
    mesh.cut = wp.from_numpy(figure.cut, dtype=wp.float32, device="cpu")
    mesh.triangles = wp.from_numpy(figure.triangles, dtype=wp.vec3i, device="cpu")
    mesh.surface = wp.from_numpy(figure.surface, dtype=wp.int32, device="cpu")
    materials = table(list(figure.materials), camera.band)
    mesh.materials = wp.from_numpy(materials, dtype=wp.float32, device="cpu")
    mesh.triangle_id = wp.array(seen.triangle, dtype=wp.int32, device="cpu", copy=False)
    mesh.weights = wp.array(seen.weights, dtype=wp.vec2, device="cpu", copy=False)
    mesh.inverse_depth = wp.array(seen.inverse_depth, dtype=wp.float32, device="cpu", copy=False)
    return mesh


def render_shot(
    person: Person,
    camera: Camera,
    shot: Shot,
    *,
    second: tuple[Person, Shot] | None = None,
    size: tuple[int, int] | None = None,
    oversampling: int = 2,
    scale: float = 1.0,
) -> ShadedImage:
    """Render one image, up to the sensor.

    Args:
        person: The identity.
        camera: The camera.
        shot: What was drawn for this image.
        second: Another person, and a shot that says how and where that one walks; the box follows
            the first person only.
        size: Rows and columns of the crop; None follows the person's outline.
        oversampling: Samples along each side of a pixel.
        scale: Factor on the crop's height when its size is free.

    Returns:
        Linear radiance and the first person's coverage.
    """
    if scale != 1.0 and size is None:
        shot = replace(shot, height=max(24, round(shot.height * scale)))
    posed = _pose_in_world(person, shot)
    vertices, own = len(posed.points), len(posed.figure.triangles)
    if second is not None:
        posed = _both(posed, _pose_in_world(*second))
    frame = _camera_frame(camera)
    flat, inverse = _projected(posed.points, camera, frame)
    crop = _crop(flat[:vertices][posed.figure.cut[:vertices] > 0], shot, size)
    seen = _rasterised(posed.figure, flat, inverse, crop, oversampling)
    return _shaded(posed, own, seen, crop, frame, camera, shot, oversampling)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a frame shows of a person.

    Attributes:
        box: Left, top, right and bottom of the whole outline, pixels; may lie outside the frame.
        samples: Samples that show the person.
        alone: Samples that would, were nobody else there.
    """

    box: tuple[float, float, float, float]
    samples: int
    alone: int


def render_frame(
    people: Sequence[tuple[Person, Shot]],
    camera: Camera,
    *,
    size: tuple[int, int],
    focal: float,
    shadows: float,
) -> tuple[NDArray[np.float32], list[Seen]]:
    """Render a whole frame of several people, up to the sensor.

    Args:
        people: At least one person, each with a shot that says how and where; light and occluder
            are those of the first.
        camera: The camera.
        size: Rows and columns.
        focal: Focal length, pixels.
        shadows: Metres about the first person that may get shadows.

    Returns:
        Linear radiance, float32 ``[h, w, 3]``, and what it shows of each person.
    """
    (height, width), shot = size, people[0][1]
    crop = _Crop(-width / 2 / focal, -height / 2 / focal, 1 / focal, height, width)
    frame = _camera_frame(camera)
    all_posed = [_pose_in_world(*one) for one in people]
    posed = reduce(_both, all_posed)
    flat, inverse = _projected(posed.points, camera, frame)
    seen = _rasterised(posed.figure, flat, inverse, crop, 1)
    found, vertex, triangle = [], 0, 0
    for one in all_posed:
        last = triangle + len(one.figure.triangles)
        own, depth = flat[vertex : vertex + len(one.points)], inverse[vertex:][: len(one.points)]
        number = np.count_nonzero((seen.triangle >= triangle) & (seen.triangle < last))
        alone = _rasterised(one.figure, own, depth, crop, 1)
        outline = own[one.figure.cut > 0] * focal + np.array([width / 2, height / 2])
        (left, top), (right, bottom) = outline.min(axis=0), outline.max(axis=0)
        box = (float(left), float(top), float(right), float(bottom))
        found.append(Seen(box, int(number), int(np.count_nonzero(alone.triangle >= 0))))
        vertex, triangle = vertex + len(one.points), last
    own_triangles = len(all_posed[0].figure.triangles)
    image = _shaded(posed, own_triangles, seen, crop, frame, camera, shot, 1, shadows=shadows)
    return image.radiance, found


def _camera_frame(camera: Camera) -> Points:
    """Right, down and ahead of a camera, ``[3, 3]``."""
    ahead = _unit(np.array(camera.target) - np.array(camera.eye))
    right = _unit(np.cross(ahead, (0, 0, 1)))
    return np.stack([right, np.cross(ahead, right), ahead]).astype(np.float32)


def _projected(points: Points, camera: Camera, frame: Points) -> tuple[Points, Points]:
    """Points in the image plane at distance 1, ``[n, 2]``, and 1 / distance, ``[n, 1]``."""
    away = points - np.array(camera.eye).astype(np.float32)
    seen_from = (away[:, None, :] * frame[None]).sum(axis=2)
    return seen_from[:, :2] / seen_from[:, 2:], 1 / seen_from[:, 2:]


def _rasterised(
    figure: Figure, flat: Points, inverse: Points, crop: _Crop, oversampling: int
) -> Samples:
    """Which triangle each sample of a crop shows."""
    fine = crop.step / oversampling
    corner = np.array([crop.left, crop.top], dtype=np.float32)
    points = np.concatenate([(flat - corner) / np.float32(fine), inverse], axis=1)
    return rasterise(
        points.astype(np.float32),
        figure.cut,
        figure.triangles,
        crop.height * oversampling,
        crop.width * oversampling,
    )


def _shaded(
    posed: _Posed,
    own: int,
    seen: Samples,
    crop: _Crop,
    frame: Points,
    camera: Camera,
    shot: Shot,
    oversampling: int,
    *,
    shadows: float = _SHADOW_SPAN,
) -> ShadedImage:
    """Shade a crop; the first ``own`` triangles are the person's."""
    right, down, ahead = frame.astype(np.float64)
    fine = crop.step / oversampling
    view = View()
    view.eye, view.right = wp.vec3(*camera.eye), wp.vec3(*right)
    view.down, view.ahead = wp.vec3(*down), wp.vec3(*ahead)
    view.x0, view.y0, view.step, view.reach = crop.left, crop.top, fine, 1.0 / fine
    lights = _lights(camera.light, camera, shot, ahead)
    lights.feet = wp.from_numpy(posed.feet, dtype=wp.vec4, device="cpu")
    mesh = _mesh(posed, own, seen, camera)
    shadow = _shadow_map(posed, camera.light, shot, lights, span=shadows)
    mesh.shadow = wp.array(shadow, dtype=wp.float32, device="cpu", copy=False)
    shapes = _shapes(_in_front(camera, shot), camera, frame, crop)
    return shade(mesh, shapes, view, lights, crop.height, crop.width, oversampling)
