"""One's own data by a manifest: a CSV or Parquet file with one row an image.

    path,identity,camera,modality,split,time
    day/0001/a.jpg,17,1,visible,gallery,2024-05-31T12:00:00
    night/0001/b.png,17,4,infrared,query,2024-05-31T23:10:00

- ``path``: the image file, absolute or from the manifest's folder on, with ``/`` between folders;
- ``identity``: a whole number, or any name;
- ``camera``: a whole number or any name, for all images or for none;
- ``modality``: ``visible`` (also ``vis``, ``rgb``) or ``infrared`` (also ``ir``, ``nir``,
  ``thermal``);
- ``split``: ``train``, ``val`` (held out of training, to choose a model by), ``query``,
  ``gallery``, or ``test``, which is query and gallery both;
- ``time``: optional; when the image was taken, in ISO 8601.

Columns stand in any order, and others are passed over. Names that are all whole numbers are kept as
these numbers; otherwise they are numbered from 1 in sorted order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from vireid.data.layouts._common import Surplus, is_image
from vireid.data.layouts._table import CustomDataset, Entry
from vireid.data.rows import TABLES, Columns, read_rows
from vireid.errors import DatasetError, first_few

__all__ = ["Manifest"]

_COLUMNS = Columns(required=("path", "identity", "modality", "split"), optional=("camera", "time"))
_NAMES = ("manifest.csv", "manifest.parquet")


@dataclass(frozen=True)
class Manifest(CustomDataset):
    """Images as a CSV or Parquet file lists them.

    Attributes:
        root: The file, ending in ``.csv`` or ``.parquet``, or a folder that holds
            ``manifest.csv`` or ``manifest.parquet``.

    Raises:
        DatasetError: If there is no such file, or a folder holds both.
    """

    root: Path
    name: str = field(default="manifest", init=False)
    _mend: ClassVar[str] = "mend the row"
    _mend_split: ClassVar[str] = "mend the columns split and modality"

    def __post_init__(self) -> None:
        # Found now, so that a wrong --root is named at once.
        _ = self.file

    @property
    def file(self) -> Path:
        """The manifest.

        Raises:
            DatasetError: If there is no such file, or a folder holds both.
        """
        if self.root.is_dir():
            files = [self.root / name for name in _NAMES if (self.root / name).is_file()]
            if len(files) == 1:
                return files[0]
            state = f"holds {' and '.join(file.name for file in files) or 'neither'}"
        elif not self.root.is_file():
            state = "does not exist"
        elif self.root.suffix.lower() in TABLES:
            return self.root
        else:
            state = "ends in neither .csv nor .parquet"
        raise DatasetError(
            f"'{self.root}' {state}; expected a manifest, or a folder with either"
            f" {' or '.join(_NAMES)}; pass the file as root (--root)."
        )

    def files(self) -> Iterator[Path]:
        """Yield every file beside the listed images, listed or not, in sorted order."""
        folders = {record.path.parent for record, _ in self._table.rows}
        beside = (path for folder in folders for path in folder.glob("*"))
        yield from sorted(path for path in beside if not path.is_dir() and path != self.file)

    def problems(self) -> tuple[str, ...]:
        """Return everything that is wrong with rows and files, one sentence each."""
        faults = super().problems()
        listed = {record.path for record, _ in self._table.rows}
        others = [path for path in self.files() if is_image(path) and path not in listed]
        # Images of faulty rows are among them.
        if self._table.faults or not others:
            return faults
        unused = Surplus(
            f"{len(others):,} images beside those that '{self.file}' lists are in no row:"
            f" {first_few(others)}; expected a row for every image; add rows, or take them out."
        )
        return (*faults, unused)

    @property
    def _folder(self) -> Path:
        return self.file.parent

    def _entries(self) -> Sequence[Entry]:
        entries = [Entry(where, **cells) for where, cells in read_rows(self.file, _COLUMNS)]
        if not entries:
            raise DatasetError(
                f"'{self.file}' has 0 rows below its header; expected one an image; write them, or"
                " pass another file as root (--root)."
            )
        return entries
