"""Renders the images of one identity after the other; lives in a process without torch and anny."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path

import numpy as np
import warp as wp
from numpy.typing import NDArray

from vireid.files import write_atomic
from vireid.synvi import quiet_warp, raster, shading, skinning
from vireid.synvi.body import Body, Template
from vireid.synvi.environments import Environment
from vireid.synvi.presets import Frame, Plan
from vireid.synvi.regions import Regions, regions_of
from vireid.synvi.scene import Actor, render_shot
from vireid.synvi.sensors import develop, encode_bmp, encode_jpeg
from vireid.synvi.shading import Picture
from vireid.synvi.skinning import Poser
from vireid.synvi.tailor import dress

__all__ = ["Studio", "compile_kernels", "render_task", "start_worker"]

_REGDB_SIZE = (128, 64)  # rows, columns


def compile_kernels() -> None:
    """Load warp's kernels, compiling those that are not in its cache."""
    quiet_warp.start()
    for module in (raster, shading, skinning):
        wp.load_module(module.__name__, device="cpu")


@dataclass(frozen=True, slots=True)
class Studio:
    """What a process needs to render any identity of a plan."""

    plan: Plan
    template: Template
    where: Regions
    places: tuple[Environment, ...]

    @classmethod
    def build(cls, plan: Plan, template: Template) -> Studio:
        """Load the renderer and build the cameras' environments."""
        compile_kernels()
        places = tuple(camera.place() for camera in plan.cameras())
        return cls(plan, template, regions_of(template), places)

    def actor(self, number: int, body: Body) -> Actor:
        """Dress an identity."""
        identity = self.plan.identity(number)
        figure = dress(self.template, self.where, body, identity.outfit)
        return Actor(self.template, body, identity.gait, Poser(figure))

    def _see(self, actor: Actor, frame: Frame) -> tuple[Picture, np.random.Generator]:
        """One image up to the sensor, and the generator that serves the sensor."""
        plan = self.plan
        shot, rng = plan.shot(frame)
        camera, place = plan.cameras()[frame.camera], self.places[frame.camera]
        size = _REGDB_SIZE if plan.layout == "regdb" else None
        preset = plan.preset
        seen = render_shot(
            actor,
            camera,
            place,
            shot,
            size=size,
            oversampling=preset.oversampling,
            scale=preset.scale,
        )
        return seen, rng

    def mask(self, actor: Actor, frame: Frame) -> NDArray[np.float32]:
        """The person's coverage of one image, float32 ``[h, w]``."""
        return self._see(actor, frame)[0].mask

    def picture(self, actor: Actor, frame: Frame) -> tuple[NDArray[np.uint8], int]:
        """Render and develop one image.

        Returns:
            The picture uint8 ``[h, w, 3]``, and the JPEG quality that was drawn.
        """
        camera = self.plan.cameras()[frame.camera]
        seen, rng = self._see(actor, frame)
        picture = develop(seen.radiance, camera.sensor, camera.band, rng)
        low, high = camera.sensor.quality
        return picture, int(rng.integers(low, high + 1))

    def render(self, root: Path, body: Body, frames: list[Frame]) -> int:
        """Render images of one identity to files; returns how many."""
        actor = self.actor(frames[0].identity, body)
        for frame in frames:
            picture, quality = self.picture(actor, frame)
            bitmap = frame.path.endswith(".bmp")
            content = encode_bmp(picture) if bitmap else encode_jpeg(picture, quality)
            write_atomic(root / frame.path, content)
        return len(frames)


_studio: Studio | None = None


def _leave_with_parent() -> None:
    """End this process as soon as its parent is gone, however it went."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def start_worker(plan: Plan, template: Template) -> None:
    """Prepare a pool's process."""
    global _studio  # noqa: PLW0603  a pool's initializer has no other way to leave something behind
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent reports Ctrl-C, once
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    _studio = Studio.build(plan, template)


def render_task(root: Path, body: Body, frames: list[Frame]) -> int:
    """Render some images of one identity in a pool's process; returns how many."""
    if _studio is None:
        raise RuntimeError("start_worker was not called in this process")
    return _studio.render(root, body, frames)
