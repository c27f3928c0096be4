"""Custom data by a manifest: a CSV, TSV or Parquet file with one row per image.

    path,identity,camera,modality,split,time
    day/0001/a.jpg,17,1,visible,gallery,2024-05-31T12:00:00
    night/0001/b.png,17,4,infrared,query,2024-05-31T23:10:00

- ``path``: the image file, absolute or relative to the manifest's folder, with ``/`` as separator;
- ``identity``: an integer or a name;
- ``camera``: an integer or a name, for all images or for none;
- ``modality``: ``visible`` (also ``vis``, ``rgb``) or ``infrared`` (also ``ir``, ``nir``,
  ``thermal``);
- ``split``: ``train``, ``val`` (held out of training for model selection), ``query``,
  ``gallery``, or ``test`` for query and gallery both;
- ``time``: optional; when the image was taken, in ISO 8601;
- ``role``: optional, in evaluation; ``junk`` is ignored, a ``distractor`` remains in the gallery
  and matches no query. Both may be without identity.

Columns may be in any order; others are ignored. Identities and cameras are numbered for training:
names that are all integers are kept as these numbers (cameras only if they are positive), others
are numbered from 1 in sorted order. Messages and reports show the names. Integers of equal value,
such as 0001 and 1, are one name, because spreadsheets remove the zeros; this is reported.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from vireid.data.file_kind import is_image
from vireid.data.layouts._common import UnusedImages, plain_path
from vireid.data.layouts._custom import CustomDataset
from vireid.data.rows import TABLES, Column, Columns, Rows, read_rows
from vireid.data.walk import Walk
from vireid.errors import DatasetError, first_few, many

__all__ = ["Manifest"]

_COLUMNS = Columns(
    required=("path", "identity", "modality", "split"), optional=("camera", "time", "role")
)
_NAMES = ("manifest.csv", "manifest.parquet")


@dataclass(frozen=True)
class Manifest(CustomDataset):
    """Images listed in a CSV, TSV or Parquet file.

    Attributes:
        root: The file, ending in ``.csv``, ``.tsv`` or ``.parquet``, or a folder that holds
            ``manifest.csv`` or ``manifest.parquet``.

    Raises:
        DatasetError: If there is no such file, or a folder holds both.
    """

    root: Path
    name = "manifest"
    fix = "fix the row"
    fix_split = "fix the columns split and modality"

    def __post_init__(self) -> None:
        # So that a wrong --root is reported at once.
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
            state = "has another ending"
        raise DatasetError(
            f"'{self.root}' {state}; expected a manifest ({', '.join(TABLES)}), or a folder with"
            f" {' or '.join(_NAMES)}; pass the file as root."
        )

    def walk(self) -> Walk:
        """List every file in the folders of listed images, but not below them."""
        return Walk(list(map(Path, self._beside())))

    def problems(self) -> tuple[str, ...]:
        """Return everything that is wrong with rows and files, one sentence each."""
        faults = super().problems()
        # With faults, the images of faulty rows would be among the others.
        if self._table.faults:
            return faults
        listed = set(self._table.files)
        others = [name for name in self._beside() if name not in listed and is_image(Path(name))]
        if not others:
            return faults
        unused = UnusedImages(
            f"'{self.file}' has no row for {many(len(others), 'image')} next to those that it"
            f" lists: {first_few(others)}; expected a row for every image; add rows, or remove"
            " them."
        )
        return (*faults, unused)

    def _beside(self) -> list[str]:
        """Every file in the folders of listed images, as pathlib sorts them."""
        found = []
        for folder in {file[: file.rfind("/") + 1] for file in self._table.files}:
            if os.path.isdir(folder or "."):  # noqa: PTH112
                with os.scandir(folder or ".") as entries:
                    found += [folder + entry.name for entry in entries if not entry.is_dir()]
        own = str(self.file)
        return sorted((name for name in found if name != own), key=lambda n: n.replace("/", "\0"))

    @property
    def _folder(self) -> Path:
        return self.file.parent

    def _annotations(self) -> Rows:
        rows = read_rows(self.file, _COLUMNS)
        if not len(rows):
            raise DatasetError(
                f"'{self.file}' has 0 rows below its header; expected one per image; add rows, or"
                " pass another file as root."
            )
        path = rows.columns["path"]
        plain = Column(path.codes, list(map(plain_path, path.texts)))
        return replace(rows, columns={**rows.columns, "path": plain})
