"""The flags of standardisation, for ``vireid evaluate`` and ``vireid score``; no torch here."""

from __future__ import annotations

from dataclasses import dataclass

from vireid.cli._flags import Switch
from vireid.errors import ConfigError
from vireid.log import log
from vireid.standardisation import MIN_CAMERA_IMAGES, Standardisation
from vireid.types import Features

__all__ = ["AS_EXTRACTED", "StandardiseOptions", "log_few_images"]


@dataclass(frozen=True, kw_only=True)
class StandardiseOptions:
    """Standardisation of the features; results name it."""

    standardise: str = ""
    """Subtract the mean feature of unlabelled images of the same modality (and camera, from 100
    images). `vireid evaluate`: train (the training images of the data set), test (the test images;
    results say transductive), or a folder, pattern or manifest of images. `vireid score`: test, or
    an .npz file with features and modalities."""
    deviation: Switch = False
    """With --standardise, also divide by the standard deviation."""

    def __post_init__(self) -> None:
        if self.deviation and not self.standardise:
            raise ConfigError(
                "--deviation is given without --standardise; expected both; add --standardise, or"
                " remove it."
            )

    def fit(self, unlabelled: Features, source: str) -> Standardisation:
        """The statistics of unlabelled images.

        Args:
            unlabelled: Their features; identities are ignored.
            source: The images, as text for results.

        Raises:
            EvaluationError: As :meth:`Standardisation.fit`.
        """
        found = Standardisation.fit(
            unlabelled.values,
            [record.modality for record in unlabelled.records],
            [record.camera_name for record in unlabelled.records],
            source=source,
            divide=self.deviation,
        )
        log_few_images(found)
        return found

    def by_test_images(self, features: Features) -> Features:
        """Features standardised by their own statistics."""
        return self.fit(features, "test images").features(
            features, transductive=len(features.records)
        )


def log_few_images(found: Standardisation) -> None:
    """Log which statistics are of few images, if any."""
    for (modality, camera), statistics in found.groups.items():
        if not camera and statistics.images < MIN_CAMERA_IMAGES:
            log(
                f"The mean of {statistics.images} {modality} images also describes the people that"
                f" they show; {MIN_CAMERA_IMAGES} or more, of many people, are better."
            )


AS_EXTRACTED = StandardiseOptions()
"""No standardisation."""
