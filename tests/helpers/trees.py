"""Tiny data sets in the true layout of SYSU-MM01 and RegDB.

Every image is one flat colour plus a little noise, the colour told by the identity and the
brightness by the camera, so that a test can also train on them.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

SIZE = (24, 48)
"""Width and height of the images, in pixels."""

Seen = tuple[int, int]
"""A camera and an identity."""


def write_sysu(
    root: Path,
    *,
    train: Sequence[int] = (1, 2, 5),
    val: Sequence[int] = (7, 8),
    test: Sequence[int] = (3, 10),
    images: int = 3,
    unseen: Collection[Seen] = (),
    seed: int = 0,
) -> Path:
    """Write a tree like SYSU-MM01's; an identity has ``images + camera % 2`` images in a camera.

    Args:
        root: The folder to write.
        train: Identities of ``exp/train_id.txt``.
        val: Identities of ``exp/val_id.txt``.
        test: Identities of ``exp/test_id.txt``.
        images: Images of an identity in a camera of even number.
        unseen: (camera, identity) pairs without a folder and with an empty cell.
        seed: Seed of noise and permutations.
    """
    rng = np.random.default_rng(seed)
    exp = root / "exp"
    exp.mkdir(parents=True)
    for split, identities in (("train", train), ("val", val), ("test", test)):
        (exp / f"{split}_id.txt").write_text(",".join(map(str, identities)))
        savemat(exp / f"{split}_id.mat", {"id": np.array([identities], dtype=np.uint16)})
    everyone = sorted({*train, *val, *test})
    cameras = np.empty((6, 1), dtype=object)
    for camera in range(1, 7):
        (root / f"cam{camera}").mkdir()
        # The official file too has tables of different lengths, longer than the identities need.
        cells = np.empty((max(everyone) + camera, 1), dtype=object)
        for row in range(len(cells)):
            cells[row, 0] = np.zeros((0, 0), dtype=np.uint8)
        for identity in everyone:
            if (camera, identity) in unseen:
                continue
            count = images + camera % 2
            folder = root / f"cam{camera}" / f"{identity:04d}"
            folder.mkdir()
            for number in range(1, count + 1):
                write_image(
                    folder / f"{number:04d}.jpg",
                    identity=identity,
                    camera=camera,
                    grey=camera in (3, 6),
                    rng=rng,
                )
            rows = [rng.permutation(count) + 1 for _ in range(10)]
            cells[identity - 1, 0] = np.array(rows, dtype=np.uint8)
        cameras[camera - 1, 0] = cells
    savemat(exp / "rand_perm_cam.mat", {"rand_perm_cam": cameras})
    return root


def write_regdb(
    root: Path,
    *,
    identities: int = 8,
    images: int = 3,
    trials: Sequence[int] = (1, 2),
    seed: int = 0,
) -> Path:
    """Write a tree like RegDB's: half of the identities to train on, half to test on, a trial.

    Args:
        root: The folder to write.
        identities: Identities, numbered from 1.
        images: Images of an identity in each modality.
        trials: The trials to write lists of.
        seed: Seed of noise and splits.
    """
    rng = np.random.default_rng(seed)
    (root / "idx").mkdir(parents=True)
    files: dict[tuple[str, int], list[str]] = {}
    for camera, modality in enumerate(("Visible", "Thermal"), 1):
        for identity in range(1, identities + 1):
            folder = root / modality / str(identity)
            folder.mkdir(parents=True)
            for number in range(images):
                name = f"male_back_{modality[0].lower()}_{number:05d}_{identity}.bmp"
                write_image(
                    folder / name,
                    identity=identity,
                    camera=camera,
                    grey=modality == "Thermal",
                    rng=rng,
                )
                files.setdefault((modality, identity), []).append(f"{modality}/{identity}/{name}")
    for trial in trials:
        order = rng.permutation(np.arange(1, identities + 1))
        halves = {"train": order[: identities // 2], "test": order[identities // 2 :]}
        for split, half in halves.items():
            for modality in ("Visible", "Thermal"):
                lines = [
                    f"{file} {label}\n"
                    for label, identity in enumerate(sorted(half.tolist()))
                    for file in files[modality, identity]
                ]
                path = root / "idx" / f"{split}_{modality.lower()}_{trial}.txt"
                path.write_text("".join(lines))
    return root


def write_image(
    path: Path, *, identity: int, camera: int, grey: bool, rng: np.random.Generator
) -> None:
    """Write one image; its kind of file follows the name's ending."""
    colour = np.random.default_rng(identity).integers(40, 200, size=3)
    if grey:
        colour = np.full(3, colour[0])
    width, height = SIZE
    noise = rng.integers(0, 8, size=(height, width, 1))
    pixels = np.clip(colour + 4 * camera + noise, 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(path)


def copy(tree: Path, to: Path) -> Path:
    """Copy a tree, to damage the copy."""
    return Path(shutil.copytree(tree, to))
