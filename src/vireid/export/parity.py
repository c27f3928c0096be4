"""Comparison of an exported network with its source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vireid.data.images import resized
from vireid.errors import ExportError
from vireid.features.exported_backend import ExportedBackend, Parity
from vireid.features.torch_backend import FeatureBackend
from vireid.types import Modality

__all__ = ["COARSE", "RANKING", "TOLERANCE", "LoadedImage", "measure", "require_equal"]

TOLERANCE = 1e-4
"""Maximum difference between two values of a float32 feature."""
RANKING = 1e-5
"""Maximum difference of two similarities that may swap ranks."""
COARSE = 0.99
"""Mean cosine below which an export is reported as too inaccurate: in docs/export.md Rank-1 fell
at 0.989 and 0.969, and held at 0.997."""
_UNIT = 0.01
"""Maximum deviation of a feature's norm from 1: bfloat16 has 8 bits."""
_RAW = 8
"""Number of images per modality that are also passed at their own size."""


class LoadedImage(NamedTuple):
    """A decoded image.

    Attributes:
        image: RGB.
        modality: Its modality.
    """

    image: Image.Image
    modality: Modality


def measure(
    reference: FeatureBackend, exported: ExportedBackend, images: Sequence[LoadedImage]
) -> Parity:
    """Compare the features of both, for several batch sizes and image sizes.

    Args:
        reference: The network in torch.
        exported: The export.
        images: Images of both modalities, at least two each.

    Raises:
        ExportError: The export fails on a valid batch or image, or its features are not finite or
            not of unit norm.
    """
    pairs: dict[Modality, tuple[Tensor, Tensor]] = {}
    rows: list[tuple[Tensor, Tensor]] = []
    raw: list[Image.Image] = []
    for modality in Modality:
        own = [loaded.image for loaded in images if loaded.modality is modality]
        batch = torch.stack([_pixels(image, reference.size) for image in own])
        expected = reference.extract_features(batch, modality)
        pairs[modality] = expected, exported.extract_features(batch, modality)
        rows.append(pairs[modality])
        for part in (batch[:1], batch[: min(3, len(batch) - 1)]):
            rows.append((expected[: len(part)], exported.extract_features(part, modality)))
        for image in own[:_RAW]:
            for seen in (image, _cropped(image)):
                pixels = _pixels(seen, reference.size)[None]
                found = exported.extract_features(_as_tensor(seen)[None], modality)
                rows.append((reference.extract_features(pixels, modality), found))
                raw.append(seen)
    first, second = (torch.cat(side).double() for side in zip(*rows, strict=True))
    if not bool(second.isfinite().all()):
        raise ExportError(
            "the exported network gives features that are not finite; expected those of its run;"
            " nothing was written. Please report the run's config.yaml."
        )
    if float((second.norm(dim=1) - 1).abs().max()) > _UNIT:
        raise ExportError(
            "the exported network gives features of norms from"
            f" {float(second.norm(dim=1).min()):.3g} to {float(second.norm(dim=1).max()):.3g};"
            " expected norm 1; nothing was written. Please report the run's config.yaml."
        )
    cosines = torch.nn.functional.cosine_similarity(first, second)
    searches = [_search(pairs, query) for query in Modality]
    sizes = sorted((image.height, image.width) for image in raw)
    return Parity(
        images=len(images),
        raw_images=len(raw),
        raw_sizes=" to ".join(f"{height}x{width}" for height, width in (sizes[0], sizes[-1])),
        largest_difference=float((first - second).abs().max()),
        smallest_cosine=float(cosines.min()),
        mean_cosine=float(cosines.mean()),
        same_nearest=float(np.concatenate([found.same for found in searches]).mean()),
        overlap_10=float(np.concatenate([found.overlap for found in searches]).mean()),
        misorder=max(found.misorder for found in searches),
        arithmetic=exported.arithmetic,
    )


def require_equal(parity: Parity) -> None:
    """Require an export in float32 to equal its source.

    Args:
        parity: The comparison.

    Raises:
        ExportError: Its features or its ranking differ.
    """
    if parity.largest_difference > TOLERANCE or parity.misorder > RANKING:
        raise ExportError(
            f"the exported network differs from its run: its features differ by up to"
            f" {parity.largest_difference:.2g} (expected at most {TOLERANCE:g}, cosine"
            f" {parity.smallest_cosine:.6f}) and its similarities by up to {parity.misorder:.2g} in"
            f" the wrong order (expected at most {RANKING:g}); nothing was written. Please report"
            " the run's config.yaml and the versions of torch and of the runtime."
        )


class _Search(NamedTuple):
    same: NDArray[np.bool_]
    overlap: NDArray[np.float64]
    misorder: float


def _search(pairs: dict[Modality, tuple[Tensor, Tensor]], query: Modality) -> _Search:
    """Rank the images of the other modality by both features."""
    expected, found = (
        (pairs[query][side].double() @ pairs[query.other][side].double().T).numpy()
        for side in (0, 1)
    )
    order, other = (np.argsort(-values, axis=1, kind="stable") for values in (expected, found))
    k = min(10, expected.shape[1])
    common = [len(set(a[:k]) & set(b[:k])) / k for a, b in zip(order, other, strict=True)]
    # In the expected order no similarity may exceed the minimum before it.
    along = np.take_along_axis(found, order, axis=1)
    rises = along - np.minimum.accumulate(along, axis=1)
    return _Search(order[:, 0] == other[:, 0], np.array(common), float(rises.max()))


def _cropped(image: Image.Image) -> Image.Image:
    """A crop of an image, with another size and aspect ratio."""
    return image.crop((0, 0, image.width - image.width // 5, image.height - image.height // 7))


def _pixels(image: Image.Image, size: tuple[int, int]) -> Tensor:
    """The image as ``[3, h, w]``, resized by Pillow to the network's size."""
    return torch.from_numpy(resized(image, size).copy()).permute(2, 0, 1)


def _as_tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)
