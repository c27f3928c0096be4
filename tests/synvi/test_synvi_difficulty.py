"""The shortcuts' features, and the contact sheet."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vireid.errors import ConfigError, DatasetError, ImageError
from vireid.synvi import contact_sheet
from vireid.synvi.difficulty import (
    colour_histograms,
    grey_histograms,
    render_masks,
    silhouettes,
)


def test_features_are_unit_rows(sysu_tree: Path) -> None:
    paths = sorted(sysu_tree.glob("cam*/000[12]/*.jpg"))
    for values, size in (
        (colour_histograms(paths), 6 * 6 * 16),
        (grey_histograms(paths), 6 * 16),
        (silhouettes(sysu_tree, paths), 64 * 32),
    ):
        assert values.shape == (len(paths), size)
        assert values.dtype == np.float32
        assert np.allclose(np.linalg.norm(values, axis=1), 1, atol=1e-5)


def test_masks_fit_their_images(sysu_tree: Path) -> None:
    paths = sorted(sysu_tree.glob("cam[16]/*/*.jpg"))[:3]
    for path, mask in zip(paths, render_masks(sysu_tree, paths), strict=True):
        with Image.open(path) as image:
            assert mask.shape == (image.height, image.width)
        # Most of the middle is the person, most of the corners are not.
        height, width = mask.shape
        assert mask[height // 4 : height // 2, width // 3 : -width // 3].mean() > 0.5
        corners = [mask[:8, :6], mask[:8, -6:]]
        assert np.mean([c.mean() for c in corners]) < 0.3


def test_foreign_and_broken_images_are_named(sysu_tree: Path, tmp_path: Path) -> None:
    stranger = tmp_path / "stranger.jpg"
    stranger.write_bytes(b"no image")
    with pytest.raises(DatasetError, match=r"stranger\.jpg is not an image of the SynVI tree"):
        render_masks(sysu_tree, [stranger])
    with pytest.raises(ImageError, match=r"stranger\.jpg cannot be read"):
        colour_histograms([stranger])
    with pytest.raises(DatasetError, match=r"no synvi\.json"):
        silhouettes(tmp_path, [stranger])


def test_contact_sheet(sysu_tree: Path, regdb_tree: Path, tmp_path: Path) -> None:
    for tree, rows in ((sysu_tree, 3), (regdb_tree, 4)):
        target = contact_sheet(tree, tmp_path / "sheets" / f"{tree.name}.png", identities=rows)
        with Image.open(target) as sheet:
            assert sheet.height == rows * 196 + 4
            assert np.asarray(sheet).std() > 20
    with pytest.raises(ConfigError, match="identities=0"):
        contact_sheet(sysu_tree, tmp_path / "x.png", identities=0)
