"""Statistics of genuine and impostor scores: the parts of a calibration, readable from JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from pydantic import ConfigDict

from vireid.errors import ConfigError
from vireid.openset.tail import LEVELS, STRICT, Estimate, ImageSet
from vireid.types import Features, ImageInfo, Modality

__all__ = [
    "CameraView",
    "EffectiveImages",
    "ErrorRates",
    "Estimate",
    "GenuineScores",
    "ImpostorScores",
    "group_by_view",
]


@dataclass(frozen=True, kw_only=True)
class ErrorRates:
    """Allowed error rates of the verdicts.

    Raises:
        ConfigError: A rate is not between 0 and 0.5, or ``own_images`` is less than 1.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    false_match: float = 0.01
    """Maximum share of searches for people not in the gallery that end in a likely match."""
    missed: float = 0.05
    """Maximum share of searches for people in the gallery that end in probably not in the
    gallery."""
    own_images: int = 1
    """Minimum number of images per camera that the gallery holds of anyone in it. A higher number
    allows more verdicts that a person is not in the gallery."""

    def __post_init__(self) -> None:
        for flag, value in (("false-match", self.false_match), ("missed", self.missed)):
            if not 0 < value <= 0.5:
                raise ConfigError(
                    f"--{flag} {value} is not an error rate; expected more than 0 and at most 0.5, "
                    "such as 0.01 for 1 in 100."
                )
        if self.own_images < 1:
            raise ConfigError(
                f"--own-images {self.own_images} is too few; expected 1 or more images of a person "
                "from one camera."
            )


@dataclass(frozen=True, slots=True, order=True)
class CameraView:
    """The modality and camera of an image.

    Attributes:
        modality: The modality.
        camera: Name of the camera; empty where unknown, and for all cameras of the modality.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    modality: Modality
    camera: str = ""

    @classmethod
    def of(cls, modality: Modality, camera: int, names: Mapping[int, str]) -> Self:
        """The view of a data set's image, whose camera has a number; 0 where unknown."""
        return cls(modality, names.get(camera, str(camera)) if camera else "")

    @classmethod
    def of_image(cls, info: ImageInfo) -> Self:
        """The view of an image whose modality is known."""
        assert info.modality is not None
        return cls(info.modality, info.camera)

    def __str__(self) -> str:
        return f"{self.modality} camera {self.camera}" if self.camera else str(self.modality)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImpostorScores:
    """Scores of images of different people, from two views in either order.

    Attributes:
        first: One view.
        second: The other; sorts after the first or equals it.
        people: Number of people in the view with fewer.
        pairs: Number of image pairs compared.
        thresholds: The threshold at each false match rate of ``LEVELS``.
        observed_fmr: The smallest observed false match rate; thresholds of smaller ones are
            extrapolated.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    first: CameraView
    second: CameraView
    people: int
    pairs: int
    thresholds: tuple[Estimate, ...]
    observed_fmr: float

    def __post_init__(self) -> None:
        if len(self.thresholds) != len(LEVELS):
            raise ValueError(f"{len(self.thresholds)} thresholds; expected {len(LEVELS)}")

    def threshold(self, fmr: float) -> Estimate:
        """The threshold at a false match rate, interpolated in its logarithm.

        Above the largest of ``LEVELS`` it is that level's threshold; below the smallest it is
        infinite.
        """
        if fmr < LEVELS[-1]:
            return Estimate(math.inf, math.inf, math.inf)
        ends = ([e.value, e.low, e.high] for e in self.thresholds)
        x, grid = -math.log10(fmr), -np.log10(LEVELS)
        return Estimate(*(float(np.interp(x, grid, end)) for end in zip(*ends, strict=True)))


@dataclass(frozen=True, slots=True, kw_only=True)
class GenuineScores:
    """Scores of images of the same person, in one direction.

    Attributes:
        query: View of the queries.
        gallery: View of the images searched.
        people: Number of people compared.
        searches: Number of comparisons of a query with a person's images from one camera.
        threshold: The score that the share ``missed`` of the best scores falls below.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    query: CameraView
    gallery: CameraView
    people: int
    searches: int
    threshold: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectiveImages:
    """Effective number of a person's images in a search.

    Attributes:
        query: Modality of the query.
        gallery: Modality of the images searched.
        images: Number of images of a person, on average.
        effective: As how many images of different people these count.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    query: Modality
    gallery: Modality
    images: float
    effective: Estimate


def group_by_view(features: Features, cameras: Mapping[int, str]) -> dict[CameraView, ImageSet]:
    """The images of each modality, and of each known camera in it."""
    identities, person = np.unique(features.identities, return_inverse=True)
    rows: dict[CameraView, list[int]] = {}
    for row, record in enumerate(features.records):
        view = CameraView.of(record.modality, record.camera, cameras)
        for key in {view, CameraView(record.modality)}:
            rows.setdefault(key, []).append(row)
    return {
        view: ImageSet(
            values=features.values[own],
            person=person[own],
            camera=features.cameras[own],
            people=len(identities),
        )
        for view, own in rows.items()
    }
