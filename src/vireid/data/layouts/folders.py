"""Custom data by a pattern: the names of folders and files annotate each image.

    --pattern "{split}/{modality}/cam{camera}/{identity}/{}"
    --pattern "{modality}/**/{identity}_{}_{camera}_{}.jpg"

:mod:`vireid.data.layouts.pattern` describes patterns. ``{identity}`` and ``{modality}`` are
required; the fields have the values that the columns of a manifest have. Without ``{split}`` all
images are test images. ``auto`` guesses the pattern from the names of known data sets.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from vireid.data.layouts._common import UnusedImages, require_folder
from vireid.data.layouts._custom import CustomDataset
from vireid.data.layouts.pattern import AUTO, FIELDS, PathPattern, guess_pattern
from vireid.data.rows import Column, Rows
from vireid.data.walk import Walk, split_images, walk
from vireid.errors import DatasetError, first_few, many
from vireid.log import log_once, printable

__all__ = ["Folders"]

_REQUIRED = ("identity", "modality")


@dataclass(frozen=True)
class Folders(CustomDataset):
    """Images annotated by their paths.

    Hidden files and files that are no images are ignored.

    Attributes:
        root: The folder that paths are relative to.
        pattern: The pattern of the paths, or ``auto``.

    Raises:
        DatasetError: If the folder is missing.
        ConfigError: If the pattern is empty or malformed.
    """

    root: Path
    pattern: str
    name = "folders"
    fix = "rename it, or fix the pattern"
    fix_split = "name the images' folders by {split} and {modality} in the pattern"

    def __post_init__(self) -> None:
        if self.pattern != AUTO:
            PathPattern(self.pattern, required=_REQUIRED)
        require_folder(
            self.root,
            expected="the folder that the pattern starts from",
            fix="pass it as root",
        )

    def walk(self) -> Walk:
        """List every file below the root."""
        return walk([self.root])

    @property
    def _folder(self) -> Path:
        return self.root

    def _annotations(self) -> Rows:
        pattern, found, others = self._matches
        if not found:
            examples = f", such as {first_few(others)}," if others else ""
            raise DatasetError(
                f"None of {many(len(others), 'image')} below '{self.root}'{examples} matches the"
                f" pattern '{pattern}'; expected paths that it describes; fix the pattern or root."
            )
        absent = {"split": "test"}
        columns = {
            name: Column.of(fields.get(name, absent.get(name, "")) for fields in found.values())
            for name in (*FIELDS, "role")
        }
        paths = list(found)
        return Rows(
            {"path": Column.of(paths), **columns}, lambda row: f"'{self.root / paths[row]}'"
        )

    def _find_remarks(self) -> tuple[str, ...]:
        remarks = super()._find_remarks()
        # Without images the pattern itself is the fault.
        if not self._table.files:
            return remarks
        pattern, found, others = self._matches
        if not others:
            return remarks
        unused = UnusedImages(
            f"{len(others):,} of {len(found) + len(others):,} images below '{self.root}' do"
            f" not match the pattern '{pattern}': {first_few(others)}; expected all to match;"
            " rename them, remove them, or fix the pattern."
        )
        return (*remarks, unused)

    @cached_property
    def _matches(self) -> tuple[str, dict[str, dict[str, str]], list[str]]:
        """The pattern, the fields by matching path, and the other paths."""
        images, remark = split_images(self.walk())
        if remark:
            log_once(printable(f"'{self.root}': {remark}"))
        paths = [path.relative_to(self.root).as_posix() for path in images]
        pattern = PathPattern(self._guessed(paths), required=_REQUIRED)
        found, others = {}, []
        for path in paths:
            fields = pattern.match(path)
            if fields is None:
                others.append(path)
            else:
                found[path] = fields
        return pattern.pattern, found, others

    def _guessed(self, paths: list[str]) -> str:
        """The pattern, guessed if it is ``auto``."""
        if self.pattern != AUTO:
            return self.pattern
        guess = guess_pattern(paths, required=_REQUIRED)
        log_once(f"--pattern auto: '{guess.pattern}' for '{self.root}', named as in {guess.form}.")
        return guess.pattern
