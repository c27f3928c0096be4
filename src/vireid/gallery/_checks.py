"""Checks of rows, queries and filters before anything is written or searched."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from vireid.data.tone_mapping import ToneMapping
from vireid.errors import GalleryError
from vireid.gallery.filters import Filters
from vireid.types import IndexedImage, ModelInfo

__all__ = ["NORM_TOLERANCE", "check_filters", "check_model", "check_queries", "check_rows"]

NORM_TOLERANCE = 1e-3
"""Maximum difference between the norm of a feature and 1."""


def check_model(location: str, held: ModelInfo, used: ModelInfo) -> None:
    """Refuse a gallery of another network, or of images that were read otherwise.

    Raises:
        GalleryError: The fingerprints, the dimensions or the tone mappings differ.
    """
    if (held.fingerprint, held.dimension) != (used.fingerprint, used.dimension):
        raise GalleryError(
            f"The gallery '{location}' holds features of network {held.fingerprint} (dimension "
            f"{held.dimension}), but the network in use is {used.fingerprint} (dimension "
            f"{used.dimension}); their features cannot be compared: use the run that the "
            "gallery was created with, or create another gallery with this one."
        )
    read, reads = ToneMapping.named_in(held.about), ToneMapping.named_in(used.about)
    if read != reads:
        raise GalleryError(
            f"The gallery '{location}' holds images that were read with the tone mapping '{read}', "
            f"but the one in use is '{reads}'; expected the same, because features of differently "
            "mapped images cannot be compared: use the gallery's, or create another gallery."
        )


def check_rows(rows: Sequence[IndexedImage], model: ModelInfo) -> None:
    """Refuse rows that a gallery cannot hold.

    Raises:
        GalleryError: A SHA-256 or a text is invalid, the modality is missing, or a feature is not
            finite, of unit norm and of the model's dimension; the message names the image.
    """
    for row in rows:
        info = row.info
        name = ascii(info.name)
        if not re.fullmatch("[0-9a-f]{64}", info.sha256):
            raise GalleryError(
                f"Image {name} has the SHA-256 '{info.sha256}'; expected 64 hexadecimal digits "
                "in lower case."
            )
        if info.modality is None:
            raise GalleryError(f"Image {name} has no modality; expected visible or infrared.")
        texts = (str(info.path), info.camera, info.identity, info.tracklet, info.note)
        _check_texts(texts, f"image {name}")
        if row.feature.ndim != 1:
            raise GalleryError(
                f"The feature of image {name} has the shape {row.feature.shape}; expected "
                f"({model.dimension},)."
            )
        _check_values(row.feature[None], model, f"image {name}")


def check_queries(features: NDArray[np.float32], model: ModelInfo) -> None:
    """Refuse queries that cannot be compared with a gallery's features.

    Raises:
        GalleryError: They are not ``[q, d]``, or one is not finite, of unit norm and of the
            model's dimension.
    """
    if features.ndim != 2:
        raise GalleryError(
            f"The queries have the shape {features.shape}; expected [queries, "
            f"{model.dimension}], one feature a row."
        )
    _check_values(features, model, "a query")


def check_filters(filters: Filters) -> None:
    """Refuse texts that no entry can contain.

    Raises:
        GalleryError: A text is not valid Unicode.
    """
    _check_texts(
        (
            *(*filters.cameras, *filters.identities, *filters.tracklets, filters.note),
            *(*filters.ids, *filters.without_ids),
        ),
        "a filter",
    )


def _check_texts(texts: Iterable[str], where: str) -> None:
    for text in texts:
        # A lone surrogate: a file name in another encoding, or "\\ud800" in JSON.
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            raise GalleryError(
                f"A text of {where} is not valid Unicode: {text!a}; expected text that can be "
                "encoded as UTF-8: rename the file or change the text."
            )


def _check_values(values: NDArray[np.float32], model: ModelInfo, where: str) -> None:
    """Check features ``[n, d]``."""
    if values.shape[1] != model.dimension:
        raise GalleryError(
            f"The feature of {where} has {values.shape[1]} values; expected "
            f"{model.dimension}, as network {model.fingerprint} returns: use the gallery's run."
        )
    with np.errstate(invalid="ignore", over="ignore"):
        norms = np.sqrt(np.einsum("nd,nd->n", values, values, dtype=np.float64))
    wrong = np.flatnonzero(~(np.abs(norms - 1) <= NORM_TOLERANCE))
    if len(wrong):
        raise GalleryError(
            f"The feature of {where} has the norm {norms[wrong[0]]:.4g}; expected finite values "
            "of norm 1, as the network returns: extract the feature again."
        )
