"""What labelled images say about similarities: of strangers, of one person, of frames of a person.

These are parts of a :class:`~vireid.openset.calibration.Calibration`, which can be read back from
text.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from pydantic import ConfigDict

from vireid.errors import ConfigError
from vireid.openset.tail import LEVELS, STRICT, Estimate, Side
from vireid.types import Features, Modality

__all__ = [
    "Estimate",
    "Frames",
    "GenuineScores",
    "ImpostorScores",
    "View",
    "check_rates",
    "sides_of",
]


@dataclass(frozen=True, slots=True, order=True)
class View:
    """Where an image comes from.

    Attributes:
        modality: The light it was taken in.
        camera: Which camera took it; empty where unknown, and for all cameras together.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    modality: Modality
    camera: str = ""

    @classmethod
    def of(cls, modality: Modality, camera: int, names: Mapping[int, str]) -> Self:
        """The view of an image of a data set, whose cameras have numbers; 0 where unknown."""
        return cls(modality, names.get(camera, str(camera)) if camera else "")

    def __str__(self) -> str:
        return f"{self.modality} camera {self.camera}" if self.camera else str(self.modality)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImpostorScores:
    """What was learnt from images of different people, of one view and another in either order.

    Attributes:
        first: The one view.
        second: The other; not before the first.
        people: How many people the view with fewer shows.
        pairs: How many pairs of images were compared.
        likely: The similarity that the shares ``LEVELS`` of the pairs exceed.
        seen: The smallest share that was counted; thresholds of smaller ones are extrapolated.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    first: View
    second: View
    people: int
    pairs: int
    likely: tuple[Estimate, ...]
    seen: float

    def __post_init__(self) -> None:
        if len(self.likely) != len(LEVELS):
            raise ValueError(f"{len(self.likely)} thresholds; expected {len(LEVELS)}")

    def at(self, share: float) -> Estimate:
        """The similarity that a share of the pairs exceeds.

        That of the largest share that thresholds are kept for if it is larger; infinite if it is
        smaller than the smallest.
        """
        if share < LEVELS[-1]:
            return Estimate(math.inf, math.inf, math.inf)
        ends = ([e.value, e.low, e.high] for e in self.likely)
        place, places = -math.log10(share), -np.log10(LEVELS)
        return Estimate(*(float(np.interp(place, places, end)) for end in zip(*ends, strict=True)))


@dataclass(frozen=True, slots=True, kw_only=True)
class GenuineScores:
    """What was learnt from images of one person.

    Attributes:
        query: Where the query comes from.
        searched: Where the images searched come from.
        people: How many people were compared with themselves.
        searches: How many times an image was compared with a person's images from one camera.
        unlike: The similarity that the share ``missed`` of the best of these falls below.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    query: View
    searched: View
    people: int
    searches: int
    unlike: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames:
    """What several images of one person count in a search.

    Attributes:
        query: Modality of the query.
        searched: Modality of the images searched.
        images: How many of them a person had, on average.
        independent: As how many images of different people these count.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    query: Modality
    searched: Modality
    images: float
    independent: Estimate


def sides_of(features: Features, cameras: Mapping[int, str]) -> dict[View, Side]:
    """The images of each modality, and of each known camera in it."""
    identities, person = np.unique(features.identities, return_inverse=True)
    rows: dict[View, list[int]] = {}
    for row, record in enumerate(features.records):
        view = View.of(record.modality, record.camera, cameras)
        for known in {view, View(record.modality)}:
            rows.setdefault(known, []).append(row)
    return {
        view: Side(
            values=features.values[found],
            person=person[found],
            camera=features.cameras[found],
            people=len(identities),
        )
        for view, found in rows.items()
    }


def check_rates(false_match: float, missed: float, own_images: int) -> None:
    """Refuse what no calibration can be asked for.

    Args:
        false_match: As in :class:`~vireid.openset.calibration.Calibration`.
        missed: The same.
        own_images: The same.

    Raises:
        ConfigError: A rate is not between 0 and 0.5, or ``own_images`` is less than 1.
    """
    for flag, value in (("false-match", false_match), ("missed", missed)):
        if not 0 < value <= 0.5:
            raise ConfigError(
                f"--{flag} {value} is no rate of error; expected more than 0 and at most 0.5, such "
                "as 0.01 for 1 in 100."
            )
    if own_images < 1:
        raise ConfigError(
            f"--own-images {own_images} is too few; expected 1 or more images of a person from one "
            "camera."
        )
