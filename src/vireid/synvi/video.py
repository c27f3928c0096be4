"""SynVI video: people who walk past cameras, with every box and identity known.

The people of one world walk past its six cameras, two of them visible, two near-infrared and two
thermal. A tree holds one folder of frames for each camera, and ``boxes.csv``.
"""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import shutil
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tqdm import tqdm

from vireid.errors import ConfigError
from vireid.files import clear_temporaries, write_atomic
from vireid.log import on_stop
from vireid.synvi.cameras import Camera
from vireid.synvi.gait import Pose
from vireid.synvi.generate import MARKER, SynviSummary, claim, is_whole, prepare
from vireid.synvi.layouts import CARD, STATEMENT
from vireid.synvi.presets import GENERATORS, Plan, Preset
from vireid.synvi.scene import Person, Shot, render_frame
from vireid.synvi.sensors import develop, encode_jpeg
from vireid.synvi.worker import Bodies, Renderer, renderer, start_worker
from vireid.synvi.worlds import BANDS, draw_camera
from vireid.times import format_time

__all__ = ["BOXES", "VIDEO_PRESETS", "VideoPlan", "VideoPreset", "render_video"]

BOXES = "boxes.csv"
"""The people of each frame: ``frame`` (path), ``camera``, ``modality``, ``band``, ``time``,
``identity``, ``left``, ``top``, ``right``, ``bottom`` (pixels, within the frame), ``visible`` (the
share of the person that no other hides) and ``inside`` (the share of the box within the frame)."""

_COLUMNS = (
    "frame", "camera", "modality", "band", "time", "identity", "left", "top", "right", "bottom",
    "visible", "inside",
)  # fmt: skip
_DAY, _NIGHT = datetime(2026, 5, 4, 12, tzinfo=UTC), datetime(2026, 5, 4, 23, tzinfo=UTC)
_SHADOWS = 12.0  # metres
_ROWS = ".rows"  # the rows of each frame, while the tree is unfinished
_END = "end\n"
_AT_ONCE = 25  # frames of a task


@dataclass(frozen=True, slots=True)
class VideoPreset:
    """How much to render.

    Attributes:
        name: For messages and the data card.
        people: The identities.
        seconds: Length of each camera's video.
        fps: Frames a second.
        size: Rows and columns of a frame.
        interval: Seconds between two people who come into view, on average.
    """

    name: str
    people: int
    seconds: float
    fps: float = 5.0
    size: tuple[int, int] = (360, 640)
    interval: float = 2.5


VIDEO_PRESETS = {
    "demo": VideoPreset("demo", 10, 30.0),
    "standard": VideoPreset("standard", 25, 240.0),
}


@dataclass(frozen=True, slots=True)
class _Passage:
    """A walk past a camera, straight and at a constant speed.

    Attributes:
        identity: The person's number.
        begin: When it begins, seconds.
        speed: Metres a second.
        start: Where it begins, metres.
        end: Where it ends.
    """

    identity: int
    begin: float
    speed: float
    start: tuple[float, float]
    end: tuple[float, float]

    @property
    def seconds(self) -> float:
        """Its duration."""
        return float(np.hypot(*np.subtract(self.end, self.start))) / self.speed

    def shot(self, at: float, stride: float) -> Shot:
        """The moment of the walk at a second of the video."""
        walked = (at - self.begin) * self.speed
        share = (at - self.begin) / self.seconds
        across, away = np.subtract(self.end, self.start)
        x, y = np.array(self.start) + share * np.array([across, away])
        return Shot(
            # A step of each leg takes about 1.4 metres.
            pose=Pose((walked / (1.4 * stride)) % 1.0, False, 0.0, 2.0, 0.0, 0),
            heading=float(np.rad2deg(np.arctan2(across, -away))),
            position=(float(x), float(y)),
            height=0,
            margins=(0.0, 0.0, 0.0, 0.0),
            light=(1.0, 1.0, 1.0),
            key_turn=0.0,
            occluder=(0.0, 0.0, 0.0, 0),
        )


@dataclass(frozen=True)
class VideoPlan:
    """The content of a tree: a pure function of preset and seed."""

    preset: VideoPreset
    seed: int
    layout: Literal["video"] = "video"

    def fingerprint(self) -> dict[str, Any]:
        """What must be equal to continue a tree, as JSON values."""
        preset = {**dataclasses.asdict(self.preset), "size": list(self.preset.size)}
        return {
            "generator": GENERATORS[self.layout],
            "layout": self.layout,
            "preset": preset,
            "seed": self.seed,
        }

    @cached_property
    def people(self) -> Plan:
        """The plan of a world, which draws the people."""
        count = self.preset.people
        return Plan("worlds", Preset("video", count, 0, 0, (1,) * 6, people=count), self.seed)

    @cached_property
    def cameras(self) -> tuple[Camera, ...]:
        """The cameras, which hang still and do not change."""
        drawn = (draw_camera(self.people.rng(8, i), i + 1, band) for i, band in enumerate(BANDS))
        return tuple(replace(camera, sensor=replace(camera.sensor, spread=0.0)) for camera in drawn)

    def name(self, camera: int) -> str:
        """The name of a camera, its folder."""
        return f"{BANDS[camera]}-{1 + BANDS[:camera].count(BANDS[camera])}"

    def focal(self, camera: int) -> float:
        """Focal length of a camera, pixels: 65 degrees across a frame."""
        return float(self.preset.size[1] / 2 / np.tan(np.deg2rad(32.5)))

    def passages(self, camera: int) -> list[_Passage]:
        """Who walks past a camera; nobody twice at the same time."""
        rng = self.people.rng(9, camera)
        near = -self.cameras[camera].eye[1]
        preset, found = self.preset, list[_Passage]()
        clock, waiting = -4.0, list[int]()
        while clock < preset.seconds:
            waiting = waiting or [int(n) for n in rng.permutation(preset.people) + 1]
            number, side = waiting.pop(), float(rng.choice((-1, 1)))
            depths = rng.uniform(-0.3 * near, 2.0, 2)
            wide = (near + depths) * np.tan(np.deg2rad(32.5)) + 0.7
            passage = _Passage(
                number,
                clock,
                float(rng.uniform(0.9, 1.6)),
                (side * float(wide[0]), float(depths[0])),
                (-side * float(wide[1]), float(depths[1])),
            )
            clock += float(rng.exponential(preset.interval))
            if all(o.identity != number or o.begin + o.seconds < passage.begin for o in found):
                found.append(passage)
        return found

    def present(self, camera: int, index: int) -> list[tuple[_Passage, float]]:
        """The passages at a frame, and its second."""
        at = index / self.preset.fps
        return [
            (passage, at)
            for passage in self.passages_by_camera[camera]
            if passage.begin <= at < passage.begin + passage.seconds
        ]

    @cached_property
    def passages_by_camera(self) -> tuple[list[_Passage], ...]:
        """:meth:`passages` of all cameras."""
        return tuple(map(self.passages, range(len(BANDS))))

    def start(self, camera: int) -> datetime:
        """When a camera's first frame is taken: visible at noon, the others at night."""
        return _DAY if BANDS[camera] == "visible" else _NIGHT

    def path(self, camera: int, index: int) -> str:
        """The path of a frame, relative to the tree."""
        return f"{self.name(camera)}/{index:06d}.jpg"

    def frames(self) -> list[tuple[int, int]]:
        """All frames: camera and index."""
        count = round(self.preset.seconds * self.preset.fps)
        return [(camera, index) for camera in range(len(BANDS)) for index in range(count)]


def _render_frame(
    own_renderer: Renderer, plan: VideoPlan, bodies: Bodies, camera: int, index: int
) -> tuple[bytes, str]:
    """Render a frame.

    Returns:
        The JPEG, and its lines of ``boxes.csv``.
    """
    own, (height, width) = plan.cameras[camera], plan.preset.size
    present = plan.present(camera, index)
    people: list[tuple[Person, Shot]] = []
    for passage, at in present:
        person = own_renderer.person(passage.identity, bodies[passage.identity])
        people.append((person, passage.shot(at, person.gait.stride)))
    if not people:  # somebody far behind the camera
        away = _Passage(1, 0.0, 1.0, (0.0, -500.0), (1.0, -500.0))
        people = [(own_renderer.person(1, bodies[1]), away.shot(0.0, 1.0))]
    radiance, seen = render_frame(
        people, own, size=plan.preset.size, focal=plan.focal(camera), shadows=_SHADOWS
    )
    # One noise for all frames: what changes from image to image in a sensor would flicker.
    image = develop(radiance, own.sensor, own.band, plan.people.rng(10, camera))
    moment = plan.start(camera) + timedelta(seconds=index / plan.preset.fps)
    rows = []
    for (passage, _), one in zip(present, seen, strict=False):
        left, top, right, bottom = one.box
        box = (max(left, 0.0), max(top, 0.0), min(right, width), min(bottom, height))
        if box[2] - box[0] < 2 or box[3] - box[1] < 2 or not one.alone:
            continue
        inside = (box[2] - box[0]) * (box[3] - box[1]) / ((right - left) * (bottom - top))
        rows.append(
            [
                plan.path(camera, index),
                plan.name(camera),
                "visible" if own.band == "visible" else "infrared",
                own.band,
                format_time(moment),
                str(passage.identity),
                *(f"{value:.1f}" for value in box),
                f"{one.samples / one.alone:.3f}",
                f"{inside:.3f}",
            ]
        )
    lines = "".join(",".join(row) + "\n" for row in rows)
    return encode_jpeg(image, own.sensor.quality[1]), lines


def _render_task(root: Path, plan: VideoPlan, bodies: Bodies, frames: list[tuple[int, int]]) -> int:
    """Render some frames in a pool's process; returns how many."""
    return _render_frames(renderer(), root, plan, bodies, frames)


def _render_frames(
    own: Renderer, root: Path, plan: VideoPlan, bodies: Bodies, frames: list[tuple[int, int]]
) -> int:
    for camera, index in frames:
        image, lines = _render_frame(own, plan, bodies, camera, index)
        path = Path(plan.path(camera, index))
        # The last line tells complete rows from those that a power cut left.
        rows = f"{lines}{_END}"
        write_atomic(root / _ROWS / path.with_suffix(".csv"), rows.encode(), flush=False)
        write_atomic(root / path, image, flush=False)
    return len(frames)


def render_video(
    out: Path,
    *,
    preset: str | VideoPreset = "demo",
    seed: int = 0,
    workers: int | None = None,
) -> SynviSummary:
    """Render a SynVI video, or what is missing of one, as :func:`~vireid.synvi.render` does.

    Args:
        out: The folder to fill: new, empty, or a tree of the same plan.
        preset: How much to render: ``demo``, ``standard``, or a preset.
        seed: The same seed gives the same bytes.
        workers: Number of processes; None for one per core.

    Returns:
        A summary.

    Raises:
        ConfigError: An option is out of range.
        DatasetError: The folder holds something else.
    """
    began = time.perf_counter()
    if isinstance(preset, str):
        if preset not in VIDEO_PRESETS:
            raise ConfigError(
                f"layout 'video' has no preset '{preset}'; expected {', '.join(VIDEO_PRESETS)}."
            )
        preset = VIDEO_PRESETS[preset]
    if workers is not None and workers < 1:
        raise ConfigError(f"workers={workers}; expected at least 1, or None for one per core.")
    plan = VideoPlan(preset, seed)
    claim(out, plan)
    clear_temporaries(out)
    finished = (out / CARD).is_file()
    missing = [
        (camera, index)
        for camera, index in plan.frames()
        if not is_whole(out / (path := plan.path(camera, index)))
        or not (finished or _rows_of(out, path) is not None)
    ]
    if missing:
        _render_missing(out, plan, missing, workers or len(os.sched_getaffinity(0)))
    _finish(out, plan, boxes=not finished)
    return SynviSummary(
        out=out,
        layout="video",
        preset=preset.name,
        seed=seed,
        identities=preset.people,
        images=len(plan.frames()),
        rendered=len(missing),
        seconds=time.perf_counter() - began,
    )


def _render_missing(
    out: Path, plan: VideoPlan, missing: list[tuple[int, int]], workers: int
) -> None:
    model, own = prepare(plan.people)
    bodies = {
        number: model.body(plan.people.identity(number).phenotype)
        for number in plan.people.numbers()
    }
    tasks = [missing[at : at + _AT_ONCE] for at in range(0, len(missing), _AT_ONCE)]
    bar = tqdm(
        total=len(missing),
        unit="img",
        desc="SynVI video",
        file=sys.stderr,
        mininterval=0.2 if sys.stderr.isatty() else 10.0,
    )
    kept = on_stop(lambda: f"{bar.n} of {bar.total} frames are rendered; run it again to go on.")
    with bar, kept:
        if workers == 1:
            for frame in missing:
                bar.update(_render_frames(own, out, plan, bodies, [frame]))
            return
        pool = ProcessPoolExecutor(
            workers,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=start_worker,
            initargs=(plan.people, model.template),
        )
        try:
            running = [pool.submit(_render_task, out, plan, bodies, task) for task in tasks]
            for future in as_completed(running):
                bar.update(future.result())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _rows_of(out: Path, frame: str) -> str | None:
    """The rows of a frame; None if they are not complete."""
    try:
        rows = (out / _ROWS / frame).with_suffix(".csv").read_text()
    except FileNotFoundError:
        return None
    return rows.removesuffix(_END) if rows.endswith(_END) else None


def _finish(out: Path, plan: VideoPlan, *, boxes: bool) -> None:
    """Write ``boxes.csv``, then the data card, which completes the tree."""
    if boxes:
        lines = [",".join(_COLUMNS) + "\n"]
        for camera, index in plan.frames():
            rows = _rows_of(out, plan.path(camera, index))
            assert rows is not None
            lines.append(rows)
        write_atomic(out / BOXES, "".join(lines).encode())
    card = {
        "name": "SynVI",
        "statement": STATEMENT,
        "licence": "Apache-2.0",
        **plan.fingerprint(),
        "identities": plan.preset.people,
        "images": len(plan.frames()),
        "cameras": [
            {"camera": plan.name(i), "band": band, "start": format_time(plan.start(i))}
            for i, band in enumerate(BANDS)
        ],
    }
    os.sync()  # the frames were not flushed
    write_atomic(out / CARD, (json.dumps(card, indent=2) + "\n").encode())
    shutil.rmtree(out / _ROWS, ignore_errors=True)
    (out / MARKER).unlink(missing_ok=True)
