"""Images for the check and the calibration of an export."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np

from vireid.data.images import read_image
from vireid.data.inspection import guess_modality
from vireid.data.tone_mapping import AUTO, ToneMapping
from vireid.errors import ConfigError, DatasetError
from vireid.export.parity import LoadedImage
from vireid.runs import Run
from vireid.types import ImageInfo, ImageRecord, Modality

__all__ = ["CHECKED", "ExportImages", "images_listed", "images_of_run"]

CHECKED = 50
"""Maximum number of images per modality for the check."""


@dataclass(frozen=True, slots=True, eq=False)
class ExportImages:
    """Images of both modalities.

    Attributes:
        check: For the comparison with the run; never also in ``calibration``.
        calibration: For the calibration of int8.
        description: What the calibration images are, in words.
    """

    check: Sequence[LoadedImage]
    calibration: Sequence[LoadedImage] = field(default=())
    description: str = ""


def images_of_run(run: Run, *, root: Path | None, count: int, seed: int) -> ExportImages:
    """Select images of a run's data set: test images for the check, training images to calibrate.

    Args:
        run: The run.
        root: The data set's current folder, if it was moved.
        count: Number of calibration images, both modalities together.
        seed: Seed of the selection.

    Raises:
        DatasetError: The data set is missing, or an image cannot be read.
    """
    generator = np.random.default_rng(seed)
    try:
        layout = run.data.at(root).open()
        check = _drawn(layout.test(), CHECKED, generator)
        calibration = _drawn(layout.train(), -(-count // 2), generator) if count else []
    except DatasetError as error:
        raise DatasetError(
            f"{error} The export is checked with images of the run's data set: pass its current"
            " folder as --root, or other images as --images."
        ) from error
    how = ToneMapping.parse(run.tone_mapping)

    def loaded(records: Sequence[ImageRecord]) -> list[LoadedImage]:
        return [LoadedImage(read_image(r.path, how.of(r.camera_name)), r.modality) for r in records]

    return ExportImages(
        loaded(check),
        loaded(calibration),
        f"{len(calibration)} training images of the run (seed {seed})",
    )


def images_listed(
    images: Sequence[ImageInfo], *, count: int, seed: int, tone_mapping: ToneMapping = AUTO
) -> ExportImages:
    """Split given images into check and calibration; guess unknown modalities.

    Of each modality at most :data:`CHECKED`, and at most half, are for the check.

    Args:
        images: The images.
        count: Maximum number of calibration images, both modalities together.
        seed: Seed of the selection.
        tone_mapping: The run's mapping of more than 8 bits to 8.

    Raises:
        ConfigError: A modality has fewer than two images for the check, or none to calibrate.
        ImageError: An image cannot be read.
    """
    generator = np.random.default_rng(seed)
    order = [images[i] for i in generator.permutation(len(images))]
    most = -(-count // 2)
    check: dict[Modality, list[LoadedImage]] = {modality: [] for modality in Modality}
    calibration: dict[Modality, list[LoadedImage]] = {modality: [] for modality in Modality}
    for listed in order:
        image = read_image(listed.path, tone_mapping.of(listed.camera))
        modality = listed.modality or guess_modality(image)
        few, many = check[modality], calibration[modality]
        # Alternating, so that a few images are enough for both.
        if len(few) < CHECKED and (len(few) <= len(many) or len(many) >= most):
            few.append(LoadedImage(image, modality))
        elif len(many) < most:
            many.append(LoadedImage(image, modality))
    for modality in Modality:
        if len(check[modality]) < 2 or (count and not calibration[modality]):
            raise ConfigError(
                f"--images names {len(check[modality]) + len(calibration[modality])} {modality}"
                f" images; expected at least {3 if count else 2} of each modality; add some, or"
                " give their modality in a manifest."
            )
    chosen = list(chain.from_iterable(calibration.values()))
    return ExportImages(
        list(chain.from_iterable(check.values())),
        chosen,
        f"{len(chosen)} images given by --images (seed {seed})",
    )


def _drawn(
    records: Sequence[ImageRecord], count: int, generator: np.random.Generator
) -> list[ImageRecord]:
    """Draw ``count`` images of each modality, or all of them."""
    found: list[ImageRecord] = []
    for modality in Modality:
        own = sorted(record for record in records if record.modality is modality)
        chosen = generator.permutation(len(own))[:count]
        found += [own[i] for i in sorted(chosen)]
    return found
