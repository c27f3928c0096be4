"""Standardisation of features by modality and camera.

The visible and the infrared features of a network lie around two different means, and so do those
of different cameras. This difference says nothing of who is shown, but outweighs it in similarities
between modalities. Subtracting the mean m of unlabelled images of the modality and camera removes
it, optionally with the standard deviation s of each feature number:

    f' = (f - m) / |f - m|, or f' = ((f - m) / s) / |(f - m) / s|

By modality: GR-CLIP ("Closing the Modality Gap for Mixed Modality Search", arXiv 2507.19054). By
camera, with s: arXiv 2502.10195 (ICLR 2025), for networks on unseen data sets.

The mean of n images errs by the deviation of single features over the square root of n, so m is
that of a camera only if at least ``MIN_CAMERA_IMAGES`` of its images were seen; else that of its
modality. The images should show many people: the mean of a few is also a description of them.

Example:
    >>> values = np.array([[3, 1], [1, 1], [0, 5], [0, 7]], np.float32)
    >>> modalities = [Modality.VISIBLE] * 2 + [Modality.INFRARED] * 2
    >>> statistics = Standardisation.fit(values, modalities, [""] * 4, source="unlabelled images")
    >>> statistics.apply(values, modalities, [""] * 4).tolist()
    [[1.0, 0.0], [-1.0, 0.0], [0.0, -1.0], [0.0, 1.0]]
    >>> str(statistics)
    'mean by modality of 2 infrared and 2 visible unlabelled images'
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from vireid.errors import EvaluationError, many
from vireid.types import Features, IndexedImage, Modality, ModelInfo

__all__ = ["MIN_CAMERA_IMAGES", "FeatureStatistics", "Standardisation", "arrays_of"]

MIN_CAMERA_IMAGES = 100
"""The number of images of a camera from which its own mean is used: its error is then a tenth of
the deviation of a single feature."""

_BLOCK = 4096  # rows converted to float64 at once
_LEAST_DEVIATION = 1e-3  # of the root mean square over the feature numbers
_ZERO = 1e-6  # norm of f - m, relative to f, that is rounding alone

Group = tuple[Modality, str]
"""A modality and the name of a camera; the empty name stands for all images of the modality."""


class FeatureStatistics(NamedTuple):
    """The statistics of the features of a group of images.

    Attributes:
        images: How many images.
        mean: float64 ``[d]``.
        variance: The mean squared deviation from ``mean``, float64 ``[d]``.
    """

    images: int
    mean: NDArray[np.float64]
    variance: NDArray[np.float64]

    @classmethod
    def of(cls, values: NDArray[np.floating]) -> Self:
        """The statistics of features ``[n, d]``, n at least 1, in float64."""
        wide = values.astype(np.float64)
        mean = wide.mean(axis=0)
        return cls(len(wide), mean, ((wide - mean) ** 2).mean(axis=0))

    def merged(self, other: FeatureStatistics) -> FeatureStatistics:
        """The statistics of both groups together (Chan et al., 1979)."""
        count = self.images + other.images
        share = other.images / count
        gap = other.mean - self.mean
        variance = (1 - share) * self.variance + share * other.variance
        return FeatureStatistics(
            count, self.mean + share * gap, variance + share * (1 - share) * gap**2
        )


@dataclass(frozen=True, slots=True, eq=False)
class Standardisation:
    """The statistics that standardise features.

    Attributes:
        groups: The statistics of each modality, and of each camera with enough images.
        source: The images they were computed from, as text for results.
        divide: Whether to divide by the standard deviation too.
    """

    groups: Mapping[Group, FeatureStatistics]
    source: str
    divide: bool = False

    @classmethod
    def fit(
        cls,
        values: NDArray[np.floating],
        modalities: Sequence[Modality],
        cameras: Sequence[str],
        *,
        source: str,
        divide: bool = False,
    ) -> Self:
        """Compute the statistics of unlabelled images.

        Args:
            values: Features, ``[n, d]``.
            modalities: The modality of each.
            cameras: The camera of each; empty if unknown.
            source: The images, as text for results.
            divide: Whether to divide by the standard deviation too.

        Raises:
            EvaluationError: A feature is NaN or infinite.
        """
        blocks = (slice(begin, begin + _BLOCK) for begin in range(0, len(values), _BLOCK))
        return cls.fit_batches(
            ((values[block], modalities[block], cameras[block]) for block in blocks),
            source=source,
            divide=divide,
        )

    @classmethod
    def fit_batches(
        cls,
        batches: Iterable[tuple[NDArray[np.floating], Sequence[Modality], Sequence[str]]],
        *,
        source: str,
        divide: bool = False,
    ) -> Self:
        """As :meth:`fit`, of batches of features, modalities and cameras, in bounded memory."""
        groups: dict[Group, FeatureStatistics] = {}
        for values, modalities, cameras in batches:
            if not np.isfinite(values).all():
                raise EvaluationError(
                    f"NaN or infinity in the features of {source}; expected finite numbers: check"
                    " the network's weights."
                )
            for key, rows in _rows_of(modalities, cameras):
                found = FeatureStatistics.of(values[rows])
                for group in {key, (key[0], "")}:
                    groups[group] = groups[group].merged(found) if group in groups else found
        kept = {
            (modality, camera): found
            for (modality, camera), found in sorted(groups.items(), key=lambda item: item[0])
            if not camera or found.images >= MIN_CAMERA_IMAGES
        }
        return cls(kept, source, divide)

    def apply(
        self,
        values: NDArray[np.floating],
        modalities: Sequence[Modality],
        cameras: Sequence[str],
    ) -> NDArray[np.float32]:
        """Standardise features.

        Args:
            values: Features, ``[n, d]``.
            modalities: The modality of each.
            cameras: The camera of each; empty if unknown.

        Returns:
            Unit rows, float32 ``[n, d]``.

        Raises:
            EvaluationError: There are no statistics of a modality, or they have another dimension,
                or a feature equals the mean.
        """
        out = np.empty(values.shape, dtype=np.float32)
        for (modality, camera), rows in _rows_of(modalities, cameras):
            if (modality, "") not in self.groups:
                raise EvaluationError(
                    f"no {modality} image is among {self.source}; expected images of both"
                    " modalities, whose means standardise the features: add some."
                )
            found = self.groups.get((modality, camera), self.groups[modality, ""])
            if values.shape[1:] != found.mean.shape:
                raise EvaluationError(
                    f"features of {values.shape[1]} numbers, and {len(found.mean)} in those of"
                    f" {self.source}; expected features of the same network."
                )
            for begin in range(0, len(rows), _BLOCK):
                some = rows[begin : begin + _BLOCK]
                out[some] = self._standardise(values[some].astype(np.float64), found)
        return out

    def invert(
        self,
        values: NDArray[np.floating],
        modalities: Sequence[Modality],
        cameras: Sequence[str],
    ) -> NDArray[np.float32]:
        """The unit features that :meth:`apply` turns into these, up to rounding.

        Args:
            values: Standardised features, ``[n, d]``.
            modalities: The modality of each.
            cameras: The camera of each; empty if unknown.

        Returns:
            Unit rows, float32 ``[n, d]``.
        """
        out = np.empty(values.shape, dtype=np.float32)
        for (modality, camera), rows in _rows_of(modalities, cameras):
            found = self.groups.get((modality, camera), self.groups[modality, ""])
            ray = values[rows].astype(np.float64) * self._divisor(found)
            # The point m + t * ray of norm 1 with t > 0, which is unique as |m| < 1.
            along, square = ray @ found.mean, (ray**2).sum(axis=1)
            root = np.sqrt(along**2 + square * (1 - found.mean @ found.mean))
            out[rows] = found.mean + ((root - along) / square)[:, None] * ray
        return out

    def model(self, network: ModelInfo) -> ModelInfo:
        """A network followed by this standardisation, as a model with its own fingerprint.

        Args:
            network: The network.
        """
        digest = hashlib.sha256(f"{network.fingerprint} {self.to_json()}".encode()).hexdigest()
        fingerprint = digest[: len(network.fingerprint)]
        about = {**network.about, "network": network.fingerprint, "standardisation": str(self)}
        return ModelInfo(fingerprint, network.dimension, about)

    @staticmethod
    def network(model: ModelInfo) -> ModelInfo:
        """The network of :meth:`model`.

        Args:
            model: The network followed by a standardisation.
        """
        about = {k: v for k, v in model.about.items() if k not in ("network", "standardisation")}
        return ModelInfo(model.about["network"], model.dimension, about)

    def of_images(
        self, images: Sequence[IndexedImage], *, invert: bool = False
    ) -> list[IndexedImage]:
        """Images with standardised features, or with those of the network again.

        Args:
            images: Images of known modality; at least one.
            invert: Undo the standardisation.
        """
        change = self.invert if invert else self.apply
        values = change(*arrays_of(images))
        return [replace(image, feature=row) for image, row in zip(images, values, strict=True)]

    def to_json(self) -> str:
        """The statistics as JSON text, with arrays as base64 of little-endian float64."""
        groups = [
            [modality, camera, found.images, *map(_encoded, (found.mean, found.variance))]
            for (modality, camera), found in self.groups.items()
        ]
        return json.dumps({"source": self.source, "divide": self.divide, "groups": groups})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The reverse of :meth:`to_json`.

        Raises:
            EvaluationError: The text is something else.
        """
        try:
            found = json.loads(text)
            groups = {
                (Modality(modality), str(camera)): FeatureStatistics(
                    int(images), _decoded(mean), _decoded(variance)
                )
                for modality, camera, images, mean, variance in found["groups"]
            }
            return cls(groups, str(found["source"]), bool(found["divide"]))
        except (ValueError, TypeError, KeyError) as error:
            raise EvaluationError(
                f"the stored statistics of a standardisation are damaged ({error!r}); expected"
                " those that vireid wrote: standardise again."
            ) from error

    def features(self, features: Features, *, transductive: int = 0) -> Features:
        """Standardise the features of the images of a data set.

        Args:
            features: The features with their records.
            transductive: How many of these images the statistics were computed from, for results.

        Raises:
            EvaluationError: As :meth:`apply`, or they are standardised already.
        """
        if features.standardisation != "none":
            raise EvaluationError(
                f"the features are standardised already ({features.standardisation}); expected"
                " those of the network: standardise once."
            )
        values = self.apply(
            features.values,
            [record.modality for record in features.records],
            [record.camera_name for record in features.records],
        )
        note = f", transductive: {transductive:,} are test images" if transductive else ""
        return replace(features, values=values, standardisation=f"{self}{note}")

    def __str__(self) -> str:
        """What it subtracts, and from which images; results print it."""
        counts = [f"{s.images:,} {m}" for (m, camera), s in self.groups.items() if not camera]
        cameras = sum(bool(camera) for _, camera in self.groups)
        own = f" and by {cameras} camera{'s' if cameras > 1 else ''}" if cameras else ""
        return (
            f"mean{' and deviation' if self.divide else ''} by modality{own} of"
            f" {' and '.join(counts)} {self.source}"
        )

    def _standardise(
        self, values: NDArray[np.float64], found: FeatureStatistics
    ) -> NDArray[np.float64]:
        centred = values - found.mean
        norms = np.linalg.norm(centred, axis=1, keepdims=True)
        equal = int(np.count_nonzero(norms[:, 0] <= _ZERO * np.linalg.norm(values, axis=1)))
        if equal:
            raise EvaluationError(
                f"{many(equal, 'feature equals', 'features equal')} the mean of"
                f" {many(found.images, 'image')} of {self.source}, so nothing is left of it;"
                f" expected the mean of many different images, {MIN_CAMERA_IMAGES} or more: add"
                " some."
            )
        if self.divide:
            centred /= self._divisor(found)
            norms = np.linalg.norm(centred, axis=1, keepdims=True)
        unit: NDArray[np.float64] = centred / norms
        return unit

    def _divisor(self, found: FeatureStatistics) -> NDArray[np.float64]:
        if not self.divide:
            return np.ones_like(found.mean)
        # A number that hardly varies must not decide the similarity.
        least = _LEAST_DEVIATION * np.sqrt(found.variance.mean())
        divisor: NDArray[np.float64] = np.maximum(np.sqrt(found.variance), least)
        return divisor


def arrays_of(
    images: Sequence[IndexedImage],
) -> tuple[NDArray[np.float32], list[Modality], list[str]]:
    """The features ``[n, d]``, modalities and cameras of images of known modality."""
    return (
        np.stack([image.feature for image in images]),
        [image.info.modality for image in images if image.info.modality],
        [image.info.camera for image in images],
    )


def _encoded(array: NDArray[np.float64]) -> str:
    return base64.b64encode(array.astype("<f8").tobytes()).decode()


def _decoded(text: str) -> NDArray[np.float64]:
    return np.frombuffer(base64.b64decode(text, validate=True), "<f8").astype(np.float64)


def _rows_of(
    modalities: Sequence[Modality], cameras: Sequence[str]
) -> Iterator[tuple[Group, NDArray[np.int64]]]:
    """The rows of each modality and camera."""
    rows: dict[Group, list[int]] = {}
    for row, key in enumerate(zip(modalities, cameras, strict=True)):
        rows.setdefault(key, []).append(row)
    for key, found in rows.items():
        yield key, np.array(found, dtype=np.int64)
