"""Layouts: published data sets and custom ones as image records.

A layout reads lists and folder names, never pixels. To add a data set, add a module here with a
subclass of :class:`Layout`, and a ``case`` in :meth:`DataSource.open`.

Example:
    >>> layout = DataSource(layout="regdb", root=Path("data/RegDB")).open()  # doctest: +SKIP
    >>> len(layout.train())  # doctest: +SKIP
    4120
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal, Self, get_args

from pydantic import ConfigDict

from vireid.data.layouts._common import Layout, Tally
from vireid.data.layouts.folders import Folders
from vireid.data.layouts.llcm import LLCM
from vireid.data.layouts.manifest import Manifest
from vireid.data.layouts.regdb import RegDB
from vireid.data.layouts.sysu_arrays import SysuArrays
from vireid.data.layouts.sysu_mm01 import SysuMM01
from vireid.errors import ConfigError

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
    """The folder of a data set: its root, or the folder of the file that is its root.

    Args:
        root: The data set's folder, or the file that lists or holds its images.
    """
    return root if root.is_dir() else root.parent


def is_synthetic(root: Path) -> bool:
    """Whether a data set is synthetic (SynVI), so that published figures do not apply.

    Args:
        root: The data set's folder, or the file that lists its images.
    """
    # vireid.synvi.layouts.CARD, which this package must not import.
    return (folder_of(root) / "synvi.json").is_file()


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """The data set."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    layout: LayoutName
    """Layout of the data set. sysu-mm01-npy reads the arrays of pre_process_sysu.py, manifest a
    list of images, folders a custom folder structure."""
    root: Path
    """Folder of the data set; of a manifest, the CSV, TSV or Parquet file."""
    trial: int = 1
    """RegDB: number of the split, 1 to 10."""
    hold_out: bool = False
    """Hold the validation identities (SYSU-MM01: the official 99) out of training and use them to
    select a model. Images of the split val in custom data are always held out."""
    pattern: str = ""
    """Layout folders: pattern of the image paths, such as
    '{split}/{modality}/cam{camera}/{identity}/{}', where {} is any text, ** any folders, and
    {time:%Y%m%d} a time; auto recognises the names of known data sets."""

    def __post_init__(self) -> None:
        # Python callers may pass text.
        object.__setattr__(self, "root", Path(self.root))

    def open(self) -> Layout:
        """Open the data set.

        Raises:
            DatasetError: If the folder, its lists or the trial are missing.
            ConfigError: If the layout is unknown, has no validation identities to hold out, or a
                pattern is missing, malformed, or given for another layout than ``folders``.
        """
        if self.pattern and self.layout != "folders":
            raise ConfigError(
                f"The pattern '{self.pattern}' does not apply to the layout {self.layout}; expected"
                " it with the layout folders only; remove it, or change the layout."
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
            f"The layout '{self.layout}' is unknown; expected one of"
            f" {', '.join(get_args(LayoutName))}."
        )

    def at(self, root: Path | None) -> Self:
        """The same data set at another root, if one is given."""
        return replace(self, root=root) if root else self

    def _refuse_hold_out(self) -> None:
        if self.hold_out:
            raise ConfigError(
                f"`vireid train --hold-out` does not apply to the layout {self.layout}; expected"
                " one with validation identities; remove --hold-out: the last epoch is then the"
                " model."
            )

    def _with_val(self, layout: Layout) -> Layout:
        if self.hold_out and not layout.val():
            raise ConfigError(
                "`vireid train --hold-out` needs images of the split val, but"
                f" '{self.root}' has none; assign all images of some identities to it, or remove"
                " --hold-out: the last epoch is then the model."
            )
        return layout
