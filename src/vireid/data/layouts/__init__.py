"""Data sets as published, and your own: a layout turns a folder into image records.

A layout reads lists and folder names only, never a pixel. Adding a data set is one module here
with one class of the shape of :class:`Layout`, and one ``case`` in :meth:`DataSource.open`.

Example:
    >>> layout = DataSource(layout="regdb", root=Path("data/RegDB")).open()  # doctest: +SKIP
    >>> len(layout.train())  # doctest: +SKIP
    4120
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal, Protocol, Self, get_args

from pydantic import ConfigDict

from vireid.data.layouts._common import Tally
from vireid.data.layouts.folders import Folders
from vireid.data.layouts.llcm import LLCM
from vireid.data.layouts.manifest import Manifest
from vireid.data.layouts.regdb import RegDB
from vireid.data.layouts.sysu_arrays import SysuArrays
from vireid.data.layouts.sysu_mm01 import SysuMM01
from vireid.errors import ConfigError
from vireid.types import ImageRecord

__all__ = [
    "LLCM",
    "DataSource",
    "Folders",
    "Layout",
    "LayoutName",
    "Manifest",
    "RegDB",
    "SysuArrays",
    "SysuMM01",
    "Tally",
    "folder_of",
    "is_synthetic",
]

LayoutName = Literal["sysu-mm01", "sysu-mm01-npy", "regdb", "llcm", "manifest", "folders"]


def folder_of(root: Path) -> Path:
    """The folder that a data set lies in: its root, or what the file that is its root lies in.

    Args:
        root: The data set's folder, or the file that lists or holds its images.
    """
    return root if root.is_dir() else root.parent


def is_synthetic(root: Path) -> bool:
    """Whether a data set is SynVI, whose figures are never those of the data set it looks like.

    Args:
        root: The data set's folder, or the file that lists its images.
    """
    # As vireid.synvi.layouts.CARD, which only those have who installed the extra "synvi".
    return (folder_of(root) / "synvi.json").is_file()


class Layout(Protocol):
    """What every data set can say of itself."""

    @property
    def name(self) -> str:
        """The name as ``--layout`` takes it."""

    @property
    def root(self) -> Path:
        """The folder of the data set."""

    def train(self) -> tuple[ImageRecord, ...]:
        """Return the training images, in an order that depends on names only.

        Raises:
            DatasetError: If the data set is not laid out as published.
        """

    def val(self) -> tuple[ImageRecord, ...]:
        """Return the images held out of training to choose a model by; empty if there are none.

        Raises:
            DatasetError: If the data set is not laid out as published.
        """

    def test(self) -> tuple[ImageRecord, ...]:
        """Return all images that evaluation may need, in an order that depends on names only.

        Raises:
            DatasetError: If the data set is not laid out as published.
        """

    def summary(self) -> str:
        """Return one paragraph of counts.

        Raises:
            DatasetError: If the data set is not laid out as published.
        """

    def files(self) -> Iterator[Path]:
        """Yield every file in the folders where the images lie, listed or not, in sorted order."""

    def problems(self) -> tuple[str, ...]:
        """Return everything that is wrong with lists and folders, one sentence each.

        Unlike :meth:`train` and :meth:`test` it does not stop at the first fault, and it looks at
        all splits that are published (RegDB: all ten trials). No pixel is read.
        """

    def published(self) -> tuple[Tally, ...]:
        """Return the counts that the data set is published with; empty for data of one's own."""


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """The data set."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    layout: LayoutName
    """Layout of the data set. sysu-mm01-npy reads the arrays of pre_process_sysu.py, manifest a
    list of images, folders a custom folder structure."""
    root: Path
    """Folder of the data set; of a manifest, the CSV or Parquet file."""
    trial: int = 1
    """RegDB: number of the split, 1 to 10."""
    hold_out: bool = False
    """Hold the validation identities (SYSU-MM01: the official 99) out of training and use them to
    select a model. Images of the split val in custom data are always held out."""
    pattern: str = ""
    """Layout folders: pattern of the image paths, such as
    '{split}/{modality}/cam{camera}/{identity}/{name}'."""

    def open(self) -> Layout:
        """Open the data set.

        Raises:
            DatasetError: If the folder, its lists or the trial are missing.
            ConfigError: If the layout is not known, or has no validation identities to hold out,
                or a pattern is missing, malformed, or given to another layout than ``folders``.
        """
        if self.pattern and self.layout != "folders":
            raise ConfigError(
                f"--pattern '{self.pattern}' does not go with --layout {self.layout}; expected it"
                " with --layout folders only; leave one of them out."
            )
        match self.layout:
            case "sysu-mm01":
                return SysuMM01(self.root, hold_out=self.hold_out)
            case "sysu-mm01-npy":
                self._refuse_hold_out()
                return SysuArrays(self.root)
            case "regdb":
                self._refuse_hold_out()
                return RegDB(self.root, trial=self.trial)
            case "llcm":
                self._refuse_hold_out()
                return LLCM(self.root)
            case "manifest":
                return self._with_val(Manifest(self.root))
            case "folders":
                return self._with_val(Folders(self.root, self.pattern))
        raise ConfigError(
            f"--layout '{self.layout}' is not known; expected one of"
            f" {', '.join(get_args(LayoutName))}."
        )

    def at(self, root: Path | None) -> Self:
        """The same data set where it lies now, if it was moved."""
        return replace(self, root=root) if root else self

    def _refuse_hold_out(self) -> None:
        if self.hold_out:
            raise ConfigError(
                f"--hold-out does not go with --layout {self.layout}, which tells no validation"
                " identities; leave it out: the last epoch is then the model."
            )

    def _with_val(self, own: Manifest | Folders) -> Layout:
        if self.hold_out and not own.val():
            raise ConfigError(
                f"--hold-out needs images of the split val, and '{self.root}' has none; give that"
                " split to all images of some people, or leave --hold-out out: the last epoch is"
                " then the model."
            )
        return own
