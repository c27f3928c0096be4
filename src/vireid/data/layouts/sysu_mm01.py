"""SYSU-MM01: six cameras, 491 identities, near-infrared.

    root/cam1 .. cam6/<identity, 4 digits>/<image, 4 digits>.jpg
    root/exp/train_id.txt, val_id.txt, test_id.txt    one line of comma-separated integers
    root/exp/rand_perm_cam.mat                        the official random galleries

Cameras 1, 2, 4 and 5 see visible light; 3 and 6 near-infrared. 1, 2 and 3 are indoors, 2 and 3 in
the same room. Nearly all papers train on the train and val identities together (395) and test on
the other 96.

Source: Wu et al., RGB-Infrared Cross-Modality Person Re-Identification, ICCV 2017;
https://github.com/wuancong/SYSU-MM01.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import get_args

import numpy as np

from vireid.data.file_kind import is_image
from vireid.data.layouts._common import (
    Layout,
    Tally,
    UnusedImages,
    attempt,
    in_order,
    is_number,
    overlap,
    refuse,
    require_both_modalities,
    require_folder,
)
from vireid.data.layouts.sysu_exp import (
    GET_SPLITS,
    Misfit,
    Permutations,
    Split,
    read_identities,
    read_permutations,
)
from vireid.data.walk import Walk, walk
from vireid.errors import DatasetError, first_few, many
from vireid.log import log_once
from vireid.types import ImageRecord, Modality

__all__ = ["CAMERAS", "Permutations", "SysuMM01"]

CAMERAS: Mapping[int, Modality] = {
    1: Modality.VISIBLE,
    2: Modality.VISIBLE,
    3: Modality.INFRARED,
    4: Modality.VISIBLE,
    5: Modality.VISIBLE,
    6: Modality.INFRARED,
}
"""The modality of each camera."""

# Identities and images by camera, computed from the official permutations and lists; they add up
# to the published 22,258 visible and 11,909 infrared images to train on.
_PUBLISHED: Mapping[Split, Mapping[int, tuple[int, int]]] = {
    "train": {
        1: (194, 4_721),
        2: (195, 5_753),
        3: (293, 5_929),
        4: (283, 4_821),
        5: (294, 4_989),
        6: (200, 4_000),
    },
    "val": {1: (0, 0), 2: (0, 0), 3: (99, 1_980), 4: (99, 990), 5: (96, 984), 6: (0, 0)},
    "test": {
        1: (56, 1_374),
        2: (56, 1_565),
        3: (93, 1_883),
        4: (94, 1_918),
        5: (95, 1_918),
        6: (96, 1_920),
    },
}
_IDENTITIES: Mapping[Split, int] = {"train": 296, "val": 99, "test": 96}
_FOR: Mapping[Split, str] = {"train": "training", "val": "validation", "test": "testing"}


@dataclass(frozen=True)
class SysuMM01(Layout):
    """SYSU-MM01 as published.

    Attributes:
        root: The folder that holds ``cam1`` to ``cam6`` and ``exp``.
        hold_out: Train on the official 296 identities and hold out the 99 validation identities,
            instead of training on all 395 as most papers do.

    Raises:
        DatasetError: If the folder, one of its cameras or ``exp`` is missing.
    """

    root: Path
    hold_out: bool = False
    name = "sysu-mm01"

    def __post_init__(self) -> None:
        require_folder(
            self.root,
            expected="the root of SYSU-MM01 with cam1 to cam6 and exp",
            fix="pass the unpacked archive's folder as root",
        )
        missing = [f"cam{camera}" for camera in CAMERAS if not self._camera(camera).is_dir()]
        arrays = sorted(self.root.glob("*_resized_img.npy"))
        if len(missing) == len(CAMERAS) and arrays:
            raise DatasetError(
                f"'{self.root}' holds only resized arrays such as '{arrays[0].name}', without"
                " file names and cameras; expected the folders cam1 to cam6 of SYSU-MM01; pass"
                " the folder these arrays were made from as root, or train on the arrays"
                " with the layout sysu-mm01-npy."
            )
        if missing:
            raise DatasetError(
                f"'{self.root}' has no {first_few(missing, shown=6)}; expected the folders cam1 to"
                " cam6 of SYSU-MM01; pass the folder that holds them as root, or unpack"
                " the archive again."
            )
        require_folder(
            self.root / "exp",
            expected="the split files train_id.txt, val_id.txt, test_id.txt and rand_perm_cam.mat",
            fix=GET_SPLITS,
        )

    def train(self) -> tuple[ImageRecord, ...]:
        """Return the training images of all six cameras, by camera, identity and name.

        Raises:
            DatasetError: If a list is missing or damaged, lists an identity without images or one
                of the test identities, or a modality is empty.
        """
        identities = self.identities("train")
        if not self.hold_out:
            identities = tuple(sorted({*identities, *self.identities("val")}))
        refuse(self._overlap(("train", identities), ("test", self.identities("test"))))
        return self._records(identities, split="train")

    def val(self) -> tuple[ImageRecord, ...]:
        """Return the validation identities' images if they are held out, else none.

        Raises:
            DatasetError: As :meth:`train`, and if a validation identity is a training identity too.
        """
        if not self.hold_out:
            return ()
        identities = self.identities("val")
        refuse(self._overlap(("train", self.identities("train")), ("val", identities)))
        return self._records(identities, split="val")

    def test(self) -> tuple[ImageRecord, ...]:
        """Return the test identities' images of all six cameras, by camera, identity and name.

        Raises:
            DatasetError: If a list is missing or damaged or lists an identity without images, or
                a modality is empty.
        """
        return self._records(self.identities("test"), split="test")

    def identities(self, split: Split) -> tuple[int, ...]:
        """Return one split's identities as listed in ``exp``, sorted, without repeats.

        Raises:
            DatasetError: If the list is missing, is empty or holds anything but integers.
        """
        return read_identities(self.root / "exp", split)

    def permutations(self) -> Permutations:
        """Read the official random galleries and check those of the test identities.

        Raises:
            DatasetError: If the file is missing or damaged, or if a permutation of a test identity
                does not cover exactly the images on disk.
        """
        permutations = read_permutations(self._permutations, cameras=len(CAMERAS))
        # Training identities are not checked: no protocol draws a gallery from them.
        for misfit in self._misfits(permutations, self.identities("test")):
            raise DatasetError(misfit.message(self._permutations))
        return permutations

    def walk(self) -> Walk:
        """List every file below ``cam1`` to ``cam6``, images or not."""
        return walk(self._camera(camera) for camera in CAMERAS)

    def published(self) -> tuple[Tally, ...]:
        """Return the published counts, by camera and over the cameras of each modality."""
        if self.hold_out:
            return (*_tallies("train"), *_tallies("val"), *_tallies("test"))
        return (*_tallies("train", "val"), *_tallies("test"))

    def problems(self) -> tuple[str, ...]:
        """Return what is wrong with the lists, the folders of cameras and the permutations."""
        found: list[str] = []
        listed: dict[Split, tuple[int, ...]] = {}
        for split in get_args(Split):
            identities = attempt(found, partial(self.identities, split))
            if identities is not None:
                listed[split] = identities
        for one, other in combinations(listed.items(), 2):
            found += self._overlap(one, other)
        misplaced, seen = self._on_disk()
        for split, identities in listed.items():
            bare = [identity for identity in identities if identity not in seen]
            if bare:
                found.append(self._bare(bare, split))
        if misplaced:
            found.append(
                f"'{self.root}' has {many(len(misplaced), 'image')} in unexpected places:"
                f" {first_few(misplaced)}; expected paths like cam1/0001/0001.jpg: .jpg images in"
                " one folder per identity with four digits, in the folder of a camera; rename or"
                " move them, or unpack the archive again."
            )
        permutations = attempt(
            found, lambda: read_permutations(self._permutations, cameras=len(CAMERAS))
        )
        if permutations is None:
            return tuple(found)
        unfit = list(self._misfits(permutations, seen.intersection(listed.get("test", ()))))
        if unfit:
            found.append(
                f"'{self._permutations}' does not fit the images of {many(len(unfit), 'folder')} of"
                f" test identities: {first_few(unfit)}; expected ten permutations of exactly the"
                " images in each folder, which select the gallery; unpack the archive again, or use"
                " 'rand_perm_cam.mat' of the same copy of the data set."
            )
        if len(listed) == len(get_args(Split)):
            # The archive has images of 22 identities that are in its permutations but in no list.
            known = {identity for _, identity in permutations.cells}
            strange = sorted(seen - known - {i for own in listed.values() for i in own})
            if strange:
                number = many(len(strange), "identity", "identities")
                names = first_few(f"{identity:04d}" for identity in strange)
                found.append(
                    UnusedImages(
                        f"'{self.root}' has images of {number} that no list in exp names: {names};"
                        " expected only listed identities; move them out, or add them to a list."
                    )
                )
        return tuple(found)

    def _on_disk(self) -> tuple[list[str], set[int]]:
        """Return misplaced images, and the identities of all others."""
        misplaced, seen = [], set()
        for path in filter(is_image, self.walk().files):
            _, *folders, _ = parts = path.relative_to(self.root).parts
            if len(folders) == 1 and _is_identity(folders[0]) and _is_jpg(path):
                seen.add(int(folders[0]))
            else:
                misplaced.append("/".join(parts))
        return misplaced, seen

    def _misfits(self, permutations: Permutations, identities: Collection[int]) -> Iterator[Misfit]:
        for camera in CAMERAS:
            for identity in sorted(identities):
                images = len(self._images(camera, identity))
                folder = self._folder(camera, identity)
                misfit = permutations.misfit(camera, identity, folder, images=images)
                if misfit:
                    yield misfit

    @property
    def _permutations(self) -> Path:
        return self.root / "exp" / "rand_perm_cam.mat"

    def _camera(self, camera: int) -> Path:
        return self.root / f"cam{camera}"

    def _folder(self, camera: int, identity: int) -> Path:
        return self._camera(camera) / f"{identity:04d}"

    def _images(self, camera: int, identity: int) -> list[Path]:
        """Return the images of one identity in one camera, if any."""
        folder = self._folder(camera, identity)
        return [path for path in folder.iterdir() if _is_jpg(path)] if folder.is_dir() else []

    def _overlap(
        self, one: tuple[Split, tuple[int, ...]], other: tuple[Split, tuple[int, ...]]
    ) -> list[str]:
        (first, first_ids), (second, second_ids) = one, other
        return overlap(
            f"'{self.root / 'exp'}'",
            (_FOR[first], first_ids),
            (_FOR[second], second_ids),
            fix=GET_SPLITS,
        )

    def _bare(self, bare: Sequence[int], split: Split) -> str:
        return (
            f"'{self.root}' has no .jpg image in any camera of"
            f" {many(len(bare), 'listed identity', 'listed identities')}:"
            f" {first_few(f'{identity:04d}' for identity in bare)}; expected at least one image"
            f" of each identity of the {split} list; unpack the archive again, or fix the list"
            " in exp."
        )

    def _records(self, identities: tuple[int, ...], *, split: Split) -> tuple[ImageRecord, ...]:
        records = in_order(
            ImageRecord(path=path, identity=identity, camera=camera, modality=modality)
            for camera, modality in CAMERAS.items()
            for identity in identities
            for path in self._images(camera, identity)
        )
        bare = sorted(set(identities) - {record.identity for record in records})
        if bare:
            raise DatasetError(self._bare(bare, split))
        others = [
            path
            for path in walk(
                self._folder(camera, identity) for camera in CAMERAS for identity in identities
            ).files
            if not _is_jpg(path) and is_image(path)
        ]
        if others:
            log_once(
                f"{many(len(others), 'image')} of the {split} identities of '{self.root}' are left"
                f" out, because the data set and its galleries count .jpg files only:"
                f" {first_few(others)}."
            )
        require_both_modalities(
            records, where=f"The {split} split of '{self.root}'", fix="unpack the archive again"
        )
        return records


def _is_jpg(path: Path) -> bool:
    return path.suffix.lower() == ".jpg" and not path.name.startswith(".")


def _is_identity(name: str) -> bool:
    return len(name) == 4 and is_number(name)


def _tallies(*splits: Split) -> Iterator[Tally]:
    """Yield the published counts of the union of splits, under the name of the first."""
    for modality in Modality:
        cameras = [camera for camera, own in CAMERAS.items() if own is modality]
        by_camera = {
            camera: np.sum([_PUBLISHED[split][camera] for split in splits], axis=0).tolist()
            for camera in cameras
        }
        identities = sum(_IDENTITIES[split] for split in splits)
        images = sum(count for _, count in by_camera.values())
        yield Tally(splits[0], modality, None, identities, images)
        for camera, (seen, count) in by_camera.items():
            yield Tally(splits[0], modality, camera, seen, count)
