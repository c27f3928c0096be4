"""Renders the images of an identity; runs in processes that do not import torch."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path

import numpy as np
import warp as wp
from numpy.typing import NDArray

from vireid.files import write_atomic
from vireid.synvi import raster, shading, skinning, warp_init
from vireid.synvi.body import Body, Template
from vireid.synvi.clothing_mesh import build_figure
from vireid.synvi.presets import COMPANIONS, Frame, Plan
from vireid.synvi.regions import Regions, regions_of
from vireid.synvi.scene import Person, render_shot
from vireid.synvi.sensors import develop, encode_bmp, encode_jpeg
from vireid.synvi.shading import ShadedImage
from vireid.synvi.skinning import Skinning

__all__ = ["Bodies", "Renderer", "compile_kernels", "render_task", "renderer", "start_worker"]

_REGDB_SIZE = (128, 64)  # rows, columns

Bodies = dict[int, Body]
"""Rest shapes of the people of some images, by number."""


def compile_kernels() -> None:
    """Load warp's kernels, compiling those that are not in its cache."""
    warp_init.start()
    for module in (raster, shading, skinning):
        wp.load_module(module.__name__, device="cpu")


@dataclass(frozen=True, slots=True)
class Renderer:
    """The state of a process that renders identities of a plan.

    Attributes:
        plan: The plan.
        template: What all bodies share.
        regions: Regions of the template.
        people: The people built last, by number; the latest is last.
    """

    plan: Plan
    template: Template
    regions: Regions
    people: dict[int, Person] = field(default_factory=dict)

    @classmethod
    def build(cls, plan: Plan, template: Template) -> Renderer:
        """Load the renderer."""
        compile_kernels()
        return cls(plan, template, regions_of(template))

    def person(self, number: int, body: Body) -> Person:
        """Build an identity with its clothes, or take one that was built shortly before."""
        person = self.people.pop(number, None)
        if person is None:
            identity = self.plan.identity(number)
            figure = build_figure(self.template, self.regions, body, identity.outfit)
            person = Person(self.template, body, identity.gait, Skinning(figure))
        self.people[number] = person
        if len(self.people) > COMPANIONS + 2:  # an identity, and all who may accompany it
            del self.people[next(iter(self.people))]
        return person

    def _see(self, bodies: Bodies, frame: Frame) -> tuple[ShadedImage, np.random.Generator]:
        """One image up to the sensor, and the generator for the sensor."""
        plan = self.plan
        person = self.person(frame.identity, bodies[frame.identity])
        company = plan.companion(frame)
        second = None
        if company is not None:
            second = self.person(company[0], bodies[company[0]]), company[1]
        shot, rng = plan.shot(frame)
        camera = plan.cameras[frame.camera]
        size = _REGDB_SIZE if plan.layout == "regdb" else None
        preset = plan.preset
        seen = render_shot(
            person,
            camera,
            shot,
            second=second,
            size=size,
            oversampling=preset.oversampling,
            scale=preset.scale,
        )
        return seen, rng

    def mask(self, bodies: Bodies, frame: Frame) -> NDArray[np.float32]:
        """The person's coverage of one image, float32 ``[h, w]``."""
        return self._see(bodies, frame)[0].mask

    def image(self, bodies: Bodies, frame: Frame) -> tuple[NDArray[np.uint8], int]:
        """Render and develop one image.

        Returns:
            The image, uint8 ``[h, w, 3]``, and its JPEG quality.
        """
        camera = self.plan.cameras[frame.camera]
        seen, rng = self._see(bodies, frame)
        image = develop(seen.radiance, camera.sensor, camera.band, rng)
        low, high = camera.sensor.quality
        return image, int(rng.integers(low, high + 1))

    def render(self, root: Path, bodies: Bodies, frames: list[Frame]) -> int:
        """Render images of one identity to files; returns how many."""
        for frame in frames:
            image, quality = self.image(bodies, frame)
            bitmap = frame.path.endswith(".bmp")
            content = encode_bmp(image) if bitmap else encode_jpeg(image, quality)
            write_atomic(root / frame.path, content, flush=False)
        return len(frames)


_renderer: Renderer | None = None


def _leave_with_parent() -> None:
    """End this process as soon as its parent has ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def start_worker(plan: Plan, template: Template) -> None:
    """Prepare a pool's process."""
    global _renderer  # noqa: PLW0603  a pool's initializer has no other way to keep state
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent reports Ctrl-C, once
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    _renderer = Renderer.build(plan, template)


def renderer() -> Renderer:
    """The renderer of a pool's process."""
    if _renderer is None:
        raise RuntimeError("start_worker was not called in this process")
    return _renderer


def render_task(root: Path, bodies: Bodies, frames: list[Frame]) -> int:
    """Render some images of one identity in a pool's process; returns how many."""
    return renderer().render(root, bodies, frames)
