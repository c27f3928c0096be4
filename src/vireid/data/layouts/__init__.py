"""Data sets as published: a layout turns a folder into image records.

A layout reads lists and folder names only, never a pixel. Adding a data set is one module here
with one class of the shape of :class:`Layout`, and one ``case`` in :func:`open_layout`.

Example:
    >>> layout = open_layout("regdb", Path("data/RegDB"), trial=1)  # doctest: +SKIP
    >>> len(layout.train())  # doctest: +SKIP
    4120
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Protocol

from vireid.data.layouts.regdb import RegDB
from vireid.data.layouts.sysu_mm01 import SysuMM01
from vireid.errors import ConfigError
from vireid.types import ImageRecord

__all__ = ["Layout", "LayoutName", "RegDB", "SysuMM01", "open_layout"]

LayoutName = Literal["sysu-mm01", "regdb"]


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

    def test(self) -> tuple[ImageRecord, ...]:
        """Return all images that evaluation may need, in an order that depends on names only.

        Raises:
            DatasetError: If the data set is not laid out as published.
        """

    def describe(self) -> str:
        """Return one paragraph of counts.

        Raises:
            DatasetError: If the data set is not laid out as published.
        """


def open_layout(name: LayoutName, root: Path, *, trial: int = 1) -> Layout:
    """Open a data set.

    Args:
        name: Which data set's layout ``root`` has.
        root: The folder of the data set.
        trial: The split, 1 to 10, of data sets that publish several (RegDB).

    Raises:
        DatasetError: If the folder, its lists or the trial are missing.
        ConfigError: If ``name`` is not a known layout.
    """
    match name:
        case "sysu-mm01":
            return SysuMM01(root)
        case "regdb":
            return RegDB(root, trial=trial)
    raise ConfigError(f"--layout '{name}' is not known; expected 'sysu-mm01' or 'regdb'.")
