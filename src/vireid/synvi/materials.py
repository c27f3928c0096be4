"""Surface materials: one row of numbers each, read by the shading kernel for every band."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["COLUMNS", "Band", "Kind", "Material", "table"]

Band = Literal["visible", "near-infrared", "thermal"]
COLUMNS = 20
RGB = tuple[float, float, float]


class Kind(IntEnum):
    """How the two tones of a material are laid out; the numbers are known to `textures`."""

    PLAIN = 0
    BANDS = 1  # horizontal stripes
    STRIPES = 2  # vertical stripes
    CHECKS = 3
    BLOCK = 4  # a printed rectangle on chest or back
    YOKE = 5  # upper part in the second tone
    HEM = 6  # a border along every hem
    DOTS = 7
    SEAM = 8  # a stripe down the outer seam
    MOTTLED = 9
    RING = 10  # one horizontal band
    SKIN = 11
    EYE = 12
    HAIR = 13
    # Surfaces of an environment.
    TILES = 20
    BRICKS = 21
    PLANKS = 22
    SPECKLE = 23
    FOLIAGE = 24
    WINDOW = 25
    PANELS = 26
    POSTER = 27
    LAMP = 28


@dataclass(frozen=True, slots=True)
class Material:
    """A surface with two tones, seen in three bands.

    Attributes:
        visible: The two tones' linear RGB reflectance.
        infrared: The two tones' near-infrared reflectance.
        warmth: The two tones' thermal radiance, 0 = cold sky to 1 = warm skin.
        kind: How the tones are laid out.
        frequency: Repeats of the pattern, 1/m.
        duty: Share of the second tone in one repeat.
        lengths: Up to four lengths or positions (m) that the kind needs.
        gloss: Strength of the highlight.
        folds: Depth of folds and bumps, as a slope.
        fold_size: Size of the folds in metres.
        grain: Contrast of the fine grain.
        creases: Depth of sharp creases across the cloth, 0 to 1.
        seed: Start of the noise.
    """

    visible: tuple[RGB, RGB]
    infrared: tuple[float, float]
    warmth: tuple[float, float]
    kind: Kind = Kind.PLAIN
    frequency: float = 10.0
    duty: float = 0.5
    lengths: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    gloss: float = 0.02
    folds: float = 0.0
    fold_size: float = 0.07
    grain: float = 0.06
    creases: float = 0.0
    seed: int = 0

    def row(self, band: Band) -> list[float]:
        """The numbers that the shading kernel reads."""
        if band == "visible":
            tones = [*self.visible[0], *self.visible[1]]
        else:
            first, second = self.infrared if band == "near-infrared" else self.warmth
            tones = [first] * 3 + [second] * 3
        return [
            *tones,
            float(self.kind),
            self.frequency,
            self.duty,
            *self.lengths,
            self.gloss,
            self.folds,
            1.0 / self.fold_size,
            self.grain,
            float(self.seed % 1024),
            self.creases,
            0.0,
        ]


def table(materials: list[Material], band: Band) -> NDArray[np.float32]:
    """The materials of one image in one band, float32 ``[m, COLUMNS]``."""
    return np.array([m.row(band) for m in materials], dtype=np.float32)
