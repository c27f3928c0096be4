"""What a network was trained on, so that its evaluation can tell direct transfer from its own data.

A data set is recognised by the contents of a few of its image files, not by where it lies, nor by
names, which another data set of the same layout may share.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple, Self

from pydantic import ConfigDict

from vireid.data.layouts import Layout, RegDB, is_synthetic
from vireid.data.layouts._custom import CustomDataset
from vireid.errors import DatasetError, first_few
from vireid.types import ImageRecord

__all__ = ["Provenance", "Relation", "content_fingerprint", "dataset_name", "relative_names"]

Relation = Literal["own", "other images", "other data set"]
"""How the images to evaluate relate to a network's training: the test images of its data set, other
images of it, or another data set."""

_SAMPLES = 32
_NAMES = {"sysu-mm01": "SYSU-MM01", "sysu-mm01-npy": "SYSU-MM01", "regdb": "RegDB", "llcm": "LLCM"}


class Sample(NamedTuple):
    """An image file that is recognised anywhere: its name, its bytes, and their SHA-256."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """The data set of a training, as its run folder records it.

    Attributes:
        name: The data set, for results.
        seen: Some of the images of the splits train and val.
        tested: Some of the test images; empty if there were none.
        test_fingerprint: :func:`content_fingerprint` of the test images; empty likewise.
        start: What the network was trained on before, if it started from a trained one.
        labelled: Whether the labels of the images were used.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: str
    seen: tuple[Sample, ...]
    tested: tuple[Sample, ...]
    test_fingerprint: str
    start: Provenance | None = None
    labelled: bool = True

    @classmethod
    def of(cls, layout: Layout, *, start: Provenance | None = None, labelled: bool = True) -> Self:
        """The record of a data set.

        Args:
            layout: The data set.
            start: The record of the network that the training starts from.
            labelled: Whether the labels of the images are used.

        Raises:
            DatasetError: Its training images are not laid out as published.
        """
        try:
            test = layout.test()
        except DatasetError:  # a data set may be for training only
            test = ()
        return cls(
            name=dataset_name(layout),
            seen=_samples([*layout.train(), *layout.val()]),
            tested=_samples(test),
            test_fingerprint=content_fingerprint(test) if test else "",
            start=start,
            labelled=labelled,
        )

    @property
    def trained_on(self) -> str:
        """Everything that the network was trained on, in words."""
        name = self.name if self.labelled else f"{self.name} without labels"
        return f"{name}, before on {self.start.trained_on}" if self.start else name

    def require_same_training(self, layout: Layout) -> None:
        """Refuse to continue the training on other images.

        Raises:
            DatasetError: The sampled training images are others.
        """
        seen = _samples([*layout.train(), *layout.val()])
        if seen != self.seen:
            missing = [sample.name for sample in self.seen if sample not in seen]
            raise DatasetError(
                f"The training images of '{layout.root}' are not those that the run was started on"
                f" ({self.name}): {len(missing)} of {len(self.seen)} sampled images are missing or"
                f" have another content, such as {first_few(missing)}; expected the same data set;"
                " `vireid train --resume RUN --root DIR` takes its current folder."
            )

    def relation(self, layout: Layout, *, fingerprint: str = "") -> Relation:
        """How a data set that is evaluated relates to the training.

        Args:
            layout: The data set.
            fingerprint: :func:`content_fingerprint` of its test images, where it is known.

        Raises:
            DatasetError: Training images are among its test images.
        """
        test = layout.test()
        fingerprint = fingerprint or content_fingerprint(test)
        before = (
            self.start.relation(layout, fingerprint=fingerprint) if self.start else "other data set"
        )
        if fingerprint == self.test_fingerprint:
            return "own"
        if both := _found(self.seen, test):
            raise DatasetError(
                f"{len(both)} of {len(self.seen)} sampled training images of this network are among"
                f" the test images of '{layout.root}': {first_few(both)}; expected images that it"
                " was not trained on; evaluate the split (--trial) of its training, or another data"
                " set."
            )
        if not self.seen and not self.tested:  # arrays of images have no files
            known = dataset_name(layout) == self.name
        else:
            try:
                training = layout.train()
            except DatasetError:
                training = ()
            known = bool(_found(self.tested, test) or _found(self.seen, training))
        return "other images" if known or before != "other data set" else "other data set"


def dataset_name(layout: Layout) -> str:
    """The name of a data set in results: ``RegDB trial 2``, ``own data people.csv``."""
    own = f"own data {layout.root.resolve().name}"
    name = own if isinstance(layout, CustomDataset) else _NAMES.get(layout.name, layout.name)
    if isinstance(layout, RegDB):
        name = f"{name} trial {layout.trial}"
    return f"SynVI as {name}" if is_synthetic(layout.root) else name


def content_fingerprint(records: Sequence[ImageRecord]) -> str:
    """SHA-256 of the names and labels of images, and of the contents of some of them.

    It does not depend on the folder of the data set.

    Args:
        records: The images, at least one.
    """
    digest = hashlib.sha256()
    ordered = sorted(records)
    for name, record in zip(relative_names(ordered), ordered, strict=True):
        line = f"{name}\0{record.identity_name}\0{record.camera_name}\0{record.modality}\n"
        digest.update(line.encode())
    digest.update(repr(_samples(ordered)).encode())
    return digest.hexdigest()


def relative_names(records: Sequence[ImageRecord]) -> list[str]:
    r"""File names relative to the common folder of all images.

    Bytes that are not UTF-8 are escaped (``\xff``), so that any text file can hold the names.
    """
    root = Path(os.path.commonpath([record.path.parent for record in records]))
    below = (record.path.relative_to(root).as_posix() for record in records)
    return [
        name.encode(errors="surrogateescape").decode(errors="backslashreplace") for name in below
    ]


def _samples(records: Iterable[ImageRecord]) -> tuple[Sample, ...]:
    """Evenly spaced images that are files."""
    paths = sorted({record.path for record in records})
    chosen = paths[:: max(1, -(-len(paths) // _SAMPLES))]
    return tuple(_sample(path) for path in chosen if path.is_file())


def _sample(path: Path) -> Sample:
    content = path.read_bytes()
    name = path.name.encode(errors="surrogateescape").decode(errors="backslashreplace")
    return Sample(name, len(content), hashlib.sha256(content).hexdigest())


def _found(samples: Sequence[Sample], records: Iterable[ImageRecord]) -> list[str]:
    """Names of the samples that are among the images."""
    paths: dict[str, list[Path]] = {}
    for path in {record.path for record in records}:
        paths.setdefault(path.name, []).append(path)
    return [
        sample.name
        for sample in samples
        if any(
            path.is_file() and path.stat().st_size == sample.size and _sample(path) == sample
            for path in paths.get(sample.name, ())
        )
    ]
