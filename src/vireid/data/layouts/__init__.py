"""Layouts: published data sets and custom ones as image records.

A layout reads lists and folder names, never pixels. A layout of your own needs no change here: a
package or a file declares a subclass of :class:`Layout` (docs/plugins.md).

Example:
    >>> layout = DataSource(layout="regdb", root=Path("data/RegDB")).open()  # doctest: +SKIP
    >>> len(layout.train())  # doctest: +SKIP
    4120
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar, Self, TypeAlias

import tyro
from pydantic import ConfigDict

from vireid.data.layouts._common import Layout, Tally
from vireid.data.layouts.folders import Folders
from vireid.data.layouts.llcm import LLCM
from vireid.data.layouts.manifest import Manifest
from vireid.data.layouts.regdb import RegDB
from vireid.data.layouts.sysu_arrays import SysuArrays
from vireid.data.layouts.sysu_mm01 import SysuMM01
from vireid.errors import ConfigError, PluginError
from vireid.plugins import declared, plugins

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

_BUILT_IN = ("sysu-mm01", "sysu-mm01-npy", "regdb", "llcm", "manifest", "folders")
LayoutName: TypeAlias = Annotated[str, tyro.conf.arg(metavar=f"{{{'|'.join(_BUILT_IN)}|PLUGIN}}")]
"""The name of a built-in layout, or of one that a plugin declares."""


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
        own = plugins("layouts")
        if both := own.keys() & set(_BUILT_IN):
            raise PluginError(
                f"{own[min(both)].declared_by} declares the layout '{min(both)}', which is built "
                "in; expected another name; rename it."
            )
        if self.layout not in (*_BUILT_IN, *own):
            raise ConfigError(
                f"The layout '{self.layout}' is unknown; expected one of"
                f" {', '.join((*_BUILT_IN, *own))}; a layout of your own needs its package, or"
                " --plugin FILE.py."
            )

    def open(self) -> Layout:
        """Open the data set.

        Raises:
            DatasetError: If the folder, its lists or the trial are missing.
            ConfigError: If the layout has no validation identities to hold out, or a pattern is
                missing, malformed, or given for another layout than ``folders``.
            PluginError: If a plugin's layout cannot be loaded.
        """
        if self.pattern and self.layout != "folders":
            raise ConfigError(
                f"The pattern '{self.pattern}' does not apply to the layout {self.layout}; expected"
                " it with the layout folders only; remove it, or change the layout."
            )
        if self.layout in ("sysu-mm01-npy", "regdb", "llcm") and self.hold_out:
            raise ConfigError(
                f"`vireid train --hold-out` does not apply to the layout {self.layout}; expected"
                " one with validation identities; remove --hold-out: the last epoch is then the"
                " model."
            )
        layout = self._opened()
        if self.hold_out and self.layout != "sysu-mm01" and not layout.val():
            raise ConfigError(
                "`vireid train --hold-out` needs images of the split val, but"
                f" '{self.root}' has none; assign all images of some identities to it, or remove"
                " --hold-out: the last epoch is then the model."
            )
        return layout

    def _opened(self) -> Layout:
        built_in: Mapping[str, Callable[[], Layout]] = {
            "sysu-mm01": lambda: SysuMM01(self.root, hold_out=self.hold_out),
            "sysu-mm01-npy": lambda: SysuArrays(self.root),
            "regdb": lambda: RegDB(self.root, trial=self.trial),
            "llcm": lambda: LLCM(self.root),
            "manifest": lambda: Manifest(self.root),
            "folders": lambda: Folders(self.root, self.pattern),
        }
        if self.layout in built_in:
            return built_in[self.layout]()
        own = declared("layouts", self.layout)
        layout = own(self) if own else None
        if not isinstance(layout, Layout):
            raise PluginError(
                f"The plugin's layout '{self.layout}' is opened as a '{type(layout).__name__}'; "
                "expected a subclass of vireid.data.layouts.Layout."
            )
        return layout

    def at(self, root: Path | None) -> Self:
        """The same data set at another root, if one is given."""
        return replace(self, root=root) if root else self
