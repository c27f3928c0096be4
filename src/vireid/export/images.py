"""The images that an export is checked and calibrated with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np

from vireid.data.images import read_image
from vireid.data.inspection import guess_modality
from vireid.errors import ConfigError, DatasetError
from vireid.export.parity import Picture
from vireid.runs import Run
from vireid.types import ImageInfo, ImageRecord, Modality

__all__ = ["CHECKED", "Pictures", "pictures_listed", "pictures_of_run"]

CHECKED = 50
"""Images a modality that an export is checked with, at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """Images of both modalities.

    Attributes:
        check: To compare the export with the run; never among those that calibrate.
        calibration: To quantise with.
        told: What those are, in words.
    """

    check: Sequence[Picture]
    calibration: Sequence[Picture] = field(default=())
    told: str = ""


def pictures_of_run(run: Run, *, root: Path | None, count: int, seed: int) -> Pictures:
    """Images of the data set that a run was trained on.

    Those to check with are of its test split, of people whom the network has not seen; those to
    calibrate with are of its training split.

    Args:
        run: The run.
        root: Where the data set lies now, if it was moved.
        count: How many calibrate, of both modalities together; 0: none.
        seed: Seed of the draw.

    Raises:
        DatasetError: The data set is not there, or an image cannot be read.
    """
    generator = np.random.default_rng(seed)
    try:
        layout = run.data.at(root).open()
        check = _drawn(layout.test(), CHECKED, generator)
        calibration = _drawn(layout.train(), -(-count // 2), generator) if count else []
    except DatasetError as error:
        raise DatasetError(
            f"{error} The export is checked with images of the run's data set: say by --root where"
            " it lies now, or name other images by --images."
        ) from error
    return Pictures(
        [Picture(read_image(r.path), r.modality) for r in check],
        [Picture(read_image(r.path), r.modality) for r in calibration],
        f"{len(calibration)} training images of the run (seed {seed})",
    )


def pictures_listed(images: Sequence[ImageInfo], *, count: int, seed: int) -> Pictures:
    """Images that somebody names; a modality that is not told is guessed.

    Of each modality at most :data:`CHECKED`, and at most half, are to check with.

    Args:
        images: The images.
        count: How many calibrate at most, of both modalities together; 0: none.
        seed: Seed of the draw.

    Raises:
        ConfigError: Of one modality there are fewer than two to check with, or none to calibrate.
        ImageError: An image cannot be read.
    """
    generator = np.random.default_rng(seed)
    order = [images[i] for i in generator.permutation(len(images))]
    most = -(-count // 2)
    check: dict[Modality, list[Picture]] = {modality: [] for modality in Modality}
    calibration: dict[Modality, list[Picture]] = {modality: [] for modality in Modality}
    for listed in order:
        image = read_image(listed.path)
        modality = listed.modality or guess_modality(image)
        few, many = check[modality], calibration[modality]
        # By turns, so that few images serve both.
        if len(few) < CHECKED and (len(few) <= len(many) or len(many) >= most):
            few.append(Picture(image, modality))
        elif len(many) < most:
            many.append(Picture(image, modality))
    for modality in Modality:
        if len(check[modality]) < 2 or (count and not calibration[modality]):
            raise ConfigError(
                f"--images names {len(check[modality]) + len(calibration[modality])} {modality}"
                f" images; expected at least {3 if count else 2} of each modality; add some, or"
                " tell their modality in a manifest."
            )
    chosen = list(chain.from_iterable(calibration.values()))
    return Pictures(
        list(chain.from_iterable(check.values())),
        chosen,
        f"{len(chosen)} images that were named (seed {seed})",
    )


def _drawn(
    records: Sequence[ImageRecord], count: int, generator: np.random.Generator
) -> list[ImageRecord]:
    """So many images of each modality, or all there are."""
    found: list[ImageRecord] = []
    for modality in Modality:
        own = sorted(record for record in records if record.modality is modality)
        chosen = generator.permutation(len(own))[:count]
        found += [own[i] for i in sorted(chosen)]
    return found
