"""Tiny data sets in the true layout of SYSU-MM01, RegDB and LLCM, and of one's own.

Every image is one flat colour plus a little noise, the colour told by the identity and the
brightness by the camera, so that a test can also train on them.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Collection, Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image
from pyarrow import parquet
from scipy.io import savemat

from vireid.types import ImageRecord, Modality

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


def write_arrays(root: Path, *, tree: Path, size: tuple[int, int] = (144, 288)) -> Path:
    """Write the training images of a tree of SYSU-MM01 as AGW's pre_process_sysu.py does.

    Args:
        root: The folder to write; may be ``tree``.
        tree: A folder that :func:`write_sysu` wrote.
        size: Width and height of the images in the arrays, in pixels.
    """
    root.mkdir(parents=True, exist_ok=True)
    identities = sorted(
        identity
        for split in ("train", "val")
        for identity in map(int, (tree / "exp" / f"{split}_id.txt").read_text().split(","))
    )
    for short, cameras in (("rgb", (1, 2, 4, 5)), ("ir", (3, 6))):
        pixels, labels = [], []
        for label, identity in enumerate(identities):
            for camera in cameras:
                for path in sorted((tree / f"cam{camera}" / f"{identity:04d}").glob("*.jpg")):
                    with Image.open(path) as image:
                        pixels.append(np.asarray(image.resize(size)))
                    labels.append(label)
        np.save(root / f"train_{short}_resized_img.npy", np.stack(pixels))
        np.save(root / f"train_{short}_resized_label.npy", np.array(labels))
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


def write_llcm(
    root: Path,
    *,
    train: Sequence[int] = (1, 2, 4),
    test: Sequence[int] = (3, 6),
    images: int = 2,
    unseen: Collection[Seen] = (),
    seed: int = 0,
) -> Path:
    """Write a tree like LLCM's; every identity is seen by every camera.

    Args:
        root: The folder to write.
        train: Identities of the training lists.
        test: Identities of ``idx/test_id.txt``.
        images: Images of an identity in a camera and modality.
        unseen: (camera, identity) pairs without images.
        seed: Seed of noise.
    """
    rng = np.random.default_rng(seed)
    (root / "idx").mkdir(parents=True)
    (root / "idx" / "test_id.txt").write_text(",".join(map(str, test)))
    for short in ("vis", "nir"):
        lists: dict[str, list[str]] = {"train": [], "test": []}
        for camera in range(1, 10):
            # The archive has the folder of the infrared camera that tests nothing.
            (root / f"test_{short}" / f"cam{camera}").mkdir(parents=True)
            for identity in (*train, *test):
                if (camera, identity) in unseen or (short == "nir" and camera == 3):
                    continue
                person = f"{identity:04d}"
                (root / short / person).mkdir(parents=True, exist_ok=True)
                for number in range(images):
                    name = f"{person}_c{camera:02d}_s18553{number}_f{701 + number}_{short}.jpg"
                    path = root / short / person / name
                    write_image(
                        path, identity=identity, camera=camera, grey=short == "nir", rng=rng
                    )
                    split, people = ("test", test) if identity in test else ("train", train)
                    line = f"{short}/{person}/{name} {sorted(people).index(identity)}"
                    lists[split].append(line)
                    if split == "test":
                        copied = root / f"test_{short}" / f"cam{camera}" / person
                        copied.mkdir(exist_ok=True)
                        shutil.copy(path, copied)
        for split, lines in lists.items():
            (root / "idx" / f"{split}_{short}.txt").write_text("\n".join(lines) + "\n")
    return root


def write_manifest(root: Path, *, kind: str = "csv", images: int = 2, seed: int = 0) -> Path:
    """Write images and a manifest of them; see :func:`write_own` for who is in it.

    Args:
        root: The folder to write.
        kind: ``csv`` or ``parquet``.
        images: Images of a person in a camera.
        seed: Seed of noise.

    Returns:
        The manifest.
    """
    pattern = "pictures/{split}/{identity}/camera {camera}, {modality}, {name}.png"
    rows = write_own(root, pattern, images=images, seed=seed)
    return save_manifest(root / f"manifest.{kind}", rows)


def save_manifest(file: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    """Write rows of equal columns as CSV or Parquet, by the file's ending."""
    if file.suffix == ".parquet":
        parquet.write_table(pa.Table.from_pylist([dict(row) for row in rows]), file)
        return file
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return file


def write_folders(
    root: Path,
    pattern: str = "{split}/{modality}/cam{camera}/{identity}/{name}.jpg",
    *,
    images: int = 2,
    seed: int = 0,
) -> Path:
    """Write images whose paths below ``root`` follow a pattern; see :func:`write_own`."""
    write_own(root, pattern, images=images, seed=seed)
    return root


def write_own(
    root: Path, pattern: str, *, images: int = 2, seed: int = 0
) -> list[dict[str, object]]:
    """Write images of one's own: persons 1, 2 and 5 to train on, 7 as val, 3 and 10 to test on.

    Cameras 1 and 2 are visible, 4 is infrared; infrared test images are queries, visible ones the
    gallery.

    Args:
        root: The folder to write.
        pattern: Each image's path below ``root``, by split, modality, camera, identity and name.
        images: Images of a person in a camera.
        seed: Seed of noise.

    Returns:
        The rows of a manifest.
    """
    rng = np.random.default_rng(seed)
    rows: list[dict[str, object]] = []
    splits = {"train": (1, 2, 5), "val": (7,), "test": (3, 10)}
    for (split, people), (camera, modality) in product(
        splits.items(), ((1, "visible"), (2, "visible"), (4, "infrared"))
    ):
        role = {"visible": "gallery", "infrared": "query"}[modality] if split == "test" else split
        for identity, number in product(people, range(images)):
            said = {"identity": identity, "camera": camera, "modality": modality, "split": role}
            path = root / pattern.format(**said, name=f"é{number}")
            path.parent.mkdir(parents=True, exist_ok=True)
            grey = modality == "infrared"
            write_image(path, identity=identity, camera=camera, grey=grey, rng=rng)
            rows.append({"path": path.relative_to(root).as_posix(), **said})
    return rows


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


def counted(records: Sequence[ImageRecord]) -> tuple[int, int, int]:
    """Numbers of identities, of visible and of infrared images."""
    visible = sum(record.modality is Modality.VISIBLE for record in records)
    return len({record.identity for record in records}), visible, len(records) - visible
