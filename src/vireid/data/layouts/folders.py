"""Custom data by a pattern: the names of folders and files annotate each image.

    --pattern "{split}/{modality}/cam{camera}/{identity}/{name}"
    --pattern "{modality}/{identity}_c{camera}_{name}.jpg"

A pattern describes the path of every image below the root:

- ``{identity}``: an integer or a name; required;
- ``{modality}``: ``visible`` (also ``vis``, ``rgb``) or ``infrared`` (also ``ir``, ``nir``,
  ``thermal``), in any case; required;
- ``{split}``: ``train``, ``val``, ``query``, ``gallery`` or ``test`` (query and gallery both);
  without it all images are test images;
- ``{camera}``: an integer or a name;
- ``{name}``: anything else.

``/`` separates folders. A field matches one or more characters except ``/``, as few as possible;
everything else is literal. Identities and cameras are numbered as in a manifest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from vireid.data.file_kind import is_image
from vireid.data.layouts._common import UnusedImages, require_folder
from vireid.data.layouts._custom import CustomDataset
from vireid.data.rows import Column, Rows
from vireid.data.walk import Walk, walk
from vireid.errors import ConfigError, DatasetError, first_few

__all__ = ["Folders"]

_FIELDS = {"identity": "", "modality": "", "split": "test", "camera": "", "time": "", "role": ""}
"""The annotations, and what they are without a field of the pattern."""
_NAMES = ("identity", "modality", "split", "camera", "name")
_EXAMPLE = "'{split}/{modality}/cam{camera}/{identity}/{name}'"


@dataclass(frozen=True)
class Folders(CustomDataset):
    """Images annotated by their paths.

    Hidden files and files without an image's extension are ignored.

    Attributes:
        root: The folder that paths are relative to.
        pattern: The pattern of the paths.

    Raises:
        DatasetError: If the folder is missing.
        ConfigError: If the pattern is empty or malformed.
    """

    root: Path
    pattern: str
    name = "folders"
    fix = "rename it, or fix --pattern"
    fix_split = "name the images' folders by {split} and {modality} in --pattern"

    def __post_init__(self) -> None:
        _compile(self.pattern)
        require_folder(
            self.root,
            expected="the folder that --pattern starts from",
            fix="pass it as root (--root)",
        )

    def walk(self) -> Walk:
        """List every file below the root."""
        return walk([self.root])

    def problems(self) -> tuple[str, ...]:
        """Return everything that is wrong with names of files and folders, one sentence each."""
        found, others = self._matches
        faults = super().problems()
        if not found or not others:
            return faults
        unused = UnusedImages(
            f"{len(others):,} of {len(found) + len(others):,} images below '{self.root}' do"
            f" not match the pattern '{self.pattern}': {first_few(others)}; expected all to match;"
            " rename them, remove them, or fix --pattern."
        )
        return (*faults, unused)

    @property
    def _folder(self) -> Path:
        return self.root

    def _annotations(self) -> Rows:
        found, others = self._matches
        if not found:
            example = f", such as {first_few(others, shown=1)}," if others else ""
            raise DatasetError(
                f"None of the {len(others):,} images below '{self.root}'{example} matches the"
                f" pattern '{self.pattern}'; expected paths such as {_EXAMPLE} describes; fix"
                " --pattern or --root."
            )
        columns = {
            name: Column.of(fields.get(name, absent) for fields in found.values())
            for name, absent in _FIELDS.items()
        }
        paths = list(found)
        return Rows(
            {"path": Column.of(paths), **columns}, lambda row: f"'{self.root / paths[row]}'"
        )

    @cached_property
    def _matches(self) -> tuple[dict[str, dict[str, str]], list[str]]:
        """The fields by matching path, and the other paths."""
        pattern = _compile(self.pattern)
        found, others = {}, []
        for path in filter(is_image, self.walk().files):
            relative = path.relative_to(self.root).as_posix()
            if match := pattern.fullmatch(relative):
                found[relative] = match.groupdict()
            else:
                others.append(relative)
        return found, others


def _compile(pattern: str) -> re.Pattern[str]:
    """Turn a pattern into a regular expression with one group per field.

    Raises:
        ConfigError: If the pattern is empty or malformed.
    """
    # Text and fields alternate.
    texts, fields = (re.split(r"\{([^{}]*)\}", pattern)[start::2] for start in (0, 1))
    unknown = [name for name in fields if name not in _NAMES]
    twice = [name for name in _NAMES if fields.count(name) > 1]
    missing = [name for name in _NAMES[:2] if name not in fields]
    if any("{" in text or "}" in text for text in texts):
        fault = "has an unmatched brace"
    elif unknown:
        fault = f"has the unknown field '{{{unknown[0]}}}'"
    elif twice:
        fault = f"has the field '{{{twice[0]}}}' twice"
    elif missing:
        fault = f"has no field '{{{missing[0]}}}'"
    elif "" in texts[1:-1]:
        fault = "has two fields with nothing between them"
    else:
        pieces = [re.escape(texts[0])]
        for name, text in zip(fields, texts[1:], strict=True):
            pieces += [f"(?P<{name}>[^/]+?)", re.escape(text)]
        return re.compile("".join(pieces))
    raise ConfigError(
        f"--pattern '{pattern}' {fault}; expected the fields"
        f" {', '.join(f'{{{name}}}' for name in _NAMES)}, each at most once, of which identity"
        f" and modality are required, such as {_EXAMPLE}."
    )
