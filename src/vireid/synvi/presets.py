"""How much to render: presets, and the plan that follows from one."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, cast, get_args

import numpy as np

from vireid.errors import ConfigError
from vireid.synvi.body import Phenotype, draw_phenotype
from vireid.synvi.cameras import Camera, regdb_cameras, sysu_cameras
from vireid.synvi.gait import Gait, draw_gait
from vireid.synvi.outfit import COLOURFUL, STREET, Outfit, draw_outfit
from vireid.synvi.scene import Shot, draw_shot
from vireid.synvi.worlds import BANDS, draw_camera, draw_companion, draw_world_shot

__all__ = [
    "COMPANIONS",
    "CROWD",
    "GENERATORS",
    "PRESETS",
    "Frame",
    "Identity",
    "Layout",
    "Plan",
    "Preset",
    "PresetName",
]

Layout = Literal["sysu-mm01", "regdb", "worlds"]
PresetName = Literal["demo", "standard", "pretrain"]

GENERATORS = {"sysu-mm01": 1, "regdb": 1, "worlds": 2, "video": 2}
"""Version of the pixels of each form, raised by every change that renders others: a tree begun by
another version is not continued, and a data card states the version."""

COMPANIONS = 4
"""People of a world who appear as the second person in images of the others."""

_COMPANY = 0.13  # share of images with a second person, before those without room for one


@dataclass(frozen=True, slots=True)
class Preset:
    """How much to render.

    Attributes:
        name: For messages and the data card.
        train: Identities to train on.
        val: Identities to validate on.
        test: Identities to test on; in the RegDB form the three are one pool.
        images: Images of an identity on each camera, in the order of the cameras.
        absent: Fraction of identities missing from cameras 1 and 2 (SYSU form).
        scale: Factor on the height of the crops (SYSU form; RegDB's are always 64 x 128).
        oversampling: Samples along each side of a pixel.
        people: Identities of a world (worlds form); a multiple of them in each split.
    """

    name: str
    train: int
    val: int
    test: int
    images: tuple[int, ...]
    absent: float = 0.3
    scale: float = 1.0
    oversampling: int = 2
    people: int = 1

    @property
    def identities(self) -> int:
        """Number of identities."""
        return self.train + self.val + self.test


PRESETS: dict[tuple[str, str], Preset] = {
    ("sysu-mm01", "demo"): Preset("demo", 80, 20, 60, (1, 1, 2, 2, 2, 2)),
    ("sysu-mm01", "standard"): Preset("standard", 250, 60, 100, (4, 4, 5, 5, 5, 5)),
    ("regdb", "demo"): Preset("demo", 40, 0, 40, (6, 6), oversampling=3),
    ("regdb", "standard"): Preset("standard", 206, 0, 206, (10, 10), oversampling=3),
    ("worlds", "demo"): Preset("demo", 40, 10, 30, (2, 2, 2, 2, 2, 2), people=10),
    ("worlds", "pretrain"): Preset("pretrain", 2000, 50, 150, (4, 4, 3, 3, 3, 3), people=25),
}

CROWD = Preset("crowd", 18, 2, 20, (1, 1, 2, 2, 2, 2))
"""The people that ``vireid demo`` adds to the gallery only."""


@dataclass(frozen=True, slots=True)
class Identity:
    """One identity; its rest shape follows from the phenotype."""

    number: int
    phenotype: Phenotype
    outfit: Outfit
    gait: Gait


@dataclass(frozen=True, slots=True)
class Frame:
    """One image to render.

    Attributes:
        path: Its path, relative to the tree.
        identity: The person's number.
        camera: Index of the camera in the plan's cameras.
        index: Which of the person's images on that camera, from 0.
    """

    path: str
    identity: int
    camera: int
    index: int


def check_preset(layout: str, preset: Preset) -> None:
    """Refuse a preset that cannot be rendered in a layout, saying what to change."""
    cameras = 2 if layout == "regdb" else 6
    if len(preset.images) != cameras or min(preset.images, default=0) < 1:
        message = (
            f"preset {preset.name!r} has images={preset.images!r}; the layout {layout!r} has "
            f"{cameras} cameras: give {cameras} counts of at least 1."
        )
        raise ConfigError(message)
    # The lists of SYSU-MM01 are three, and none of them may be empty.
    if min(preset.train, preset.test) < 1 or preset.val < (layout == "sysu-mm01"):
        message = (
            f"preset {preset.name!r} has train={preset.train}, val={preset.val}, "
            f"test={preset.test}; expected at least one identity to train on and one to test on, "
            "and in the layout 'sysu-mm01' one to validate on."
        )
        raise ConfigError(message)
    if layout == "worlds" and any(
        count % preset.people for count in (preset.train, preset.val, preset.test)
    ):
        message = (
            f"preset {preset.name!r} has train={preset.train}, val={preset.val}, "
            f"test={preset.test} and people={preset.people}; expected whole worlds in each split."
        )
        raise ConfigError(message)
    if layout == "regdb" and preset.identities % 2:
        message = (
            f"preset {preset.name!r} has {preset.identities} identities; RegDB's splits are "
            "halves: make train + val + test even."
        )
        raise ConfigError(message)
    if preset.scale <= 0 or preset.oversampling < 1:
        message = (
            f"preset {preset.name!r} has scale={preset.scale} and oversampling="
            f"{preset.oversampling}; expected a positive scale and at least one sample a pixel."
        )
        raise ConfigError(message)


@dataclass(frozen=True)
class Plan:
    """The content of a tree: a pure function of layout, preset and seed.

    Every identity and every image draws from a generator of its own, keyed by its numbers, so the
    order and the number of workers do not matter.
    """

    layout: Layout
    preset: Preset
    seed: int

    def fingerprint(self) -> dict[str, Any]:
        """What must be equal to continue a tree, as JSON values."""
        preset = dataclasses.asdict(self.preset)
        preset["images"] = list(self.preset.images)
        if self.layout != "worlds":
            del preset["people"]
        return {
            "generator": GENERATORS[self.layout],
            "layout": self.layout,
            "preset": preset,
            "seed": self.seed,
        }

    def rng(self, *key: int) -> np.random.Generator:
        """The generator of an identity or an image."""
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key))

    @cached_property
    def cameras(self) -> tuple[Camera, ...]:
        """The cameras of the layout; in the worlds form those of all worlds."""
        if self.layout == "worlds":
            worlds = self.preset.identities // self.preset.people
            cameras: list[Camera] = []
            for i, band in enumerate(BANDS * worlds):
                # The first and second camera of a band go with the first and second visible one.
                partner = cameras[i - i % len(BANDS) + i % 2] if band != "visible" else None
                cameras.append(draw_camera(self.rng(7, i), i + 1, band, partner=partner))
            return tuple(cameras)
        return sysu_cameras() if self.layout == "sysu-mm01" else regdb_cameras()

    def world(self, number: int) -> int:
        """Worlds form: the world of an identity, from 0."""
        return (number - 1) // self.preset.people

    def identity(self, number: int) -> Identity:
        """Draw one person."""
        rng = self.rng(0, number)
        phenotype = draw_phenotype(rng)
        wardrobe = STREET if self.layout == "worlds" else COLOURFUL
        outfit = draw_outfit(rng, phenotype.gender, wardrobe)
        return Identity(number, phenotype, outfit, draw_gait(rng))

    def shot(self, frame: Frame) -> tuple[Shot, np.random.Generator]:
        """Draw one image; the generator is used by the sensor afterwards."""
        rng = self.rng(1, frame.identity, frame.camera, frame.index)
        camera = self.cameras[frame.camera]
        if self.layout == "worlds":
            behind = self.seen_from_behind(frame.identity)
            return draw_world_shot(rng, camera, away=behind), rng
        shot = draw_shot(rng, camera)
        if self.layout == "regdb":
            # RegDB filmed each person in one direction.
            away = 180.0 if self.seen_from_behind(frame.identity) else 0.0
            heading = away + float(np.clip(rng.normal(0, 24), -60, 60))
            # Its boxes are loose, so that the outline alone does not give a person away.
            margins = np.array(shot.margins) + rng.uniform((-0.01, -0.01, 0, 0), 0.13)
            left, right, top, bottom = (float(m) for m in margins)
            shot = dataclasses.replace(shot, heading=heading, margins=(left, right, top, bottom))
        return shot, rng

    def companion(self, frame: Frame) -> tuple[int, Shot] | None:
        """Worlds form: the second person in an image, and how and where they walk; mostly None.

        A few people of the world are the companions of all others: a companion says little about
        whose image it is, and a process builds few figures.
        """
        first = self.world(frame.identity) * self.preset.people + 1
        others = [n for n in range(first, first + self.preset.people) if n != frame.identity]
        if self.layout != "worlds" or not others:
            return None
        rng = self.rng(8, frame.identity, frame.camera, frame.index)
        if rng.random() >= _COMPANY:
            return None
        number = int(rng.choice(others[:COMPANIONS]))
        shot = draw_companion(rng, self.cameras[frame.camera], self.shot(frame)[0])
        return None if shot is None else (number, shot)

    def seen_from_behind(self, number: int) -> bool:
        """RegDB and worlds form: whether a person walks away from the cameras."""
        return bool(self.rng(2, number).random() < 0.6)

    def splits(self) -> dict[str, list[int]]:
        """Identity numbers of each split, sorted; splits in worlds form share no world."""
        order = np.arange(1, self.preset.identities + 1)
        if self.layout != "worlds":
            order = self.rng(3).permutation(order)
        train, val = self.preset.train, self.preset.val
        return {
            "train": sorted(int(i) for i in order[:train]),
            "val": sorted(int(i) for i in order[train : train + val]),
            "test": sorted(int(i) for i in order[train + val :]),
        }

    def _counts(self, number: int) -> tuple[int, ...]:
        """Images of an identity on each camera; some people miss cameras 1 and 2."""
        counts = list(self.preset.images)
        if self.layout == "sysu-mm01":
            rng = self.rng(4, number)
            if rng.random() < self.preset.absent:
                counts[0] = 0
                if rng.random() < 0.6:
                    counts[1] = 0
        return tuple(counts)

    def frames(self, number: int) -> list[Frame]:
        """All images of one person."""
        person = ""
        if self.layout == "regdb":
            gender = "female" if self.identity(number).phenotype.gender > 0.5 else "male"
            person = f"{gender}_{'back' if self.seen_from_behind(number) else 'front'}"
        first = len(BANDS) * self.world(number) if self.layout == "worlds" else 0
        return [
            Frame(self._path(number, person, camera, index), number, camera, index)
            for camera, count in enumerate(self._counts(number), first)
            for index in range(count)
        ]

    def _path(self, number: int, person: str, camera: int, index: int) -> str:
        if self.layout == "worlds":
            return (
                f"{self.world(number) + 1:03d}/{number:05d}/c{camera + 1:04d}_{index + 1:02d}.jpg"
            )
        if self.layout == "sysu-mm01":
            return f"cam{camera + 1}/{number:04d}/{index + 1:04d}.jpg"
        folder, letter = (("Visible", "v"), ("Thermal", "t"))[camera]
        serial = (number - 1) * self.preset.images[camera] + index + 1
        return f"{folder}/{number}/{person}_{letter}_{serial:05d}_{number}.bmp"

    def numbers(self) -> range:
        """Numbers of all identities."""
        return range(1, self.preset.identities + 1)

    def all_frames(self) -> list[Frame]:
        """All images of the tree."""
        return [frame for number in self.numbers() for frame in self.frames(number)]


def resolve(layout: str, preset: str | Preset, seed: int) -> Plan:
    """The plan of a call, its options checked."""
    layouts = get_args(Layout)
    if layout not in layouts:
        raise ConfigError(f"layout {layout!r} is not known; expected one of {', '.join(layouts)}.")
    if isinstance(preset, str):
        if (layout, preset) not in PRESETS:
            names = ", ".join(name for form, name in PRESETS if form == layout)
            message = f"layout {layout!r} has no preset {preset!r}; expected {names}, or a Preset."
            raise ConfigError(message)
        preset = PRESETS[layout, preset]
    if seed < 0:
        raise ConfigError(f"seed {seed} is negative; expected 0 or more.")
    check_preset(layout, preset)
    return Plan(cast("Layout", layout), preset, seed)
