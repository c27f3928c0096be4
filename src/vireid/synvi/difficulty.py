"""Shortcut features: colour alone and silhouette alone.

If either matched people across modalities, a network would learn it instead of cuts, patterns, hair
and bags. Evaluate these features like any others and compare their mAP with chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from vireid.errors import DatasetError, ImageError
from vireid.synvi.body import BodyModel
from vireid.synvi.generate import bodies_of, read_plan
from vireid.synvi.presets import Frame
from vireid.synvi.worker import Renderer

__all__ = ["colour_histograms", "grey_histograms", "render_masks", "silhouettes"]

Feature = NDArray[np.float32]
_SIZE = (64, 128)  # width, height to which images and masks are resized


def _unit(values: NDArray[np.float64]) -> Feature:
    """Rows of unit length about a common centre, float32 ``[n, d]``."""
    centred = values - values.mean(axis=0, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(centred / np.maximum(length, 1e-12), dtype=np.float32)


def _open(path: Path, mode: str) -> NDArray[np.uint8]:
    try:
        with Image.open(path) as opened:
            return np.asarray(opened.convert(mode).resize(_SIZE))
    except (OSError, UnidentifiedImageError) as error:
        raise ImageError(
            f"{path} cannot be read as an image ({error}); render it again."
        ) from error


def _striped(channels: NDArray[np.uint8], stripes: int, bins: int) -> NDArray[np.float64]:
    """Square roots of histograms of each channel in each horizontal stripe, ``[d]``."""
    found = []
    # The person stands in the middle of the box; its margins mostly show the background.
    middle = channels[:, _SIZE[0] // 5 : -_SIZE[0] // 5]
    for stripe in np.array_split(middle, stripes, axis=0):
        for channel in range(stripe.shape[2]):
            counts, _ = np.histogram(stripe[:, :, channel], bins=bins, range=(0, 256))
            found.append(np.sqrt(counts / counts.sum()))
    return np.concatenate(found)


def colour_histograms(paths: Sequence[Path], stripes: int = 6, bins: int = 16) -> Feature:
    """Histograms of RGB and of HSV by horizontal stripe.

    Args:
        paths: The images.
        stripes: Horizontal stripes.
        bins: Bins a channel.

    Returns:
        Unit features, float32 ``[n, stripes * 6 * bins]``.
    """
    rows = [
        _striped(np.concatenate([_open(p, "RGB"), _open(p, "HSV")], axis=2), stripes, bins)
        for p in paths
    ]
    return _unit(np.array(rows))


def grey_histograms(paths: Sequence[Path], stripes: int = 6, bins: int = 16) -> Feature:
    """Histograms of brightness by horizontal stripe, stretched for each image.

    The fairest colour shortcut across modalities, as infrared has no colour.

    Args:
        paths: The images.
        stripes: Horizontal stripes.
        bins: Bins of brightness.

    Returns:
        Unit features, float32 ``[n, stripes * bins]``.
    """
    rows = []
    for path in paths:
        grey = _open(path, "L").astype(np.float64)
        low, high = np.quantile(grey, (0.02, 0.98))
        level = np.clip((grey - low) / max(high - low, 1.0), 0, 1) * 255
        rows.append(_striped(level.astype(np.uint8)[:, :, None], stripes, bins))
    return _unit(np.array(rows))


def render_masks(tree: Path, paths: Sequence[Path]) -> list[NDArray[np.float32]]:
    """Silhouettes of images of a tree, rendered from its seed; writes no file.

    Args:
        tree: A finished SynVI tree.
        paths: Images of it.

    Returns:
        For each image the share of each pixel that shows the person, float32 ``[h, w]`` in [0, 1].
    """
    plan = read_plan(tree)
    root = Path(tree).resolve()
    known = {frame.path: frame for frame in plan.all_frames()}
    wanted: dict[int, list[tuple[int, Frame]]] = {}
    for position, path in enumerate(paths):
        absolute = Path(path).resolve()
        name = absolute.relative_to(root).as_posix() if absolute.is_relative_to(root) else ""
        if name not in known:
            raise DatasetError(f"{path} is not an image of the SynVI tree {tree}.")
        wanted.setdefault(known[name].identity, []).append((position, known[name]))
    model = BodyModel()
    renderer = Renderer.build(plan, model.template)
    masks: dict[int, NDArray[np.float32]] = {}
    tasks = [[frame for _, frame in found] for found in wanted.values()]
    for found, bodies in zip(wanted.values(), bodies_of(model, plan, tasks), strict=True):
        for position, frame in found:
            masks[position] = renderer.mask(bodies, frame)
    return [masks[position] for position in range(len(paths))]


def silhouettes(tree: Path, paths: Sequence[Path]) -> Feature:
    """The person's exact silhouette, resized.

    Args:
        tree: A finished SynVI tree.
        paths: Images of it.

    Returns:
        Unit features, float32 ``[n, 64 * 32]``.
    """
    rows = []
    for mask in render_masks(tree, paths):
        mask_image = Image.fromarray(np.round(mask * 255).astype(np.uint8))
        small = mask_image.resize((_SIZE[0] // 2, _SIZE[1] // 2), Image.Resampling.BOX)
        rows.append(np.asarray(small, dtype=np.float64).ravel() / 255)
    return _unit(np.array(rows))
