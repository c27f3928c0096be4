"""One's own data by a pattern: names of folders and files say which image shows whom.

    --pattern "{split}/{modality}/cam{camera}/{identity}/{name}"
    --pattern "{modality}/{identity}_c{camera}_{name}.jpg"

A pattern describes the path of every image below the root:

- ``{identity}``: a whole number, or any name; needed;
- ``{modality}``: ``visible`` (also ``vis``, ``rgb``) or ``infrared`` (also ``ir``, ``nir``,
  ``thermal``), in any case; needed;
- ``{split}``: ``train``, ``val``, ``query``, ``gallery`` or ``test`` (query and gallery both); in a
  pattern without it all images are test images;
- ``{camera}``: a whole number, or any name;
- ``{name}``: whatever tells one image from the next.

``/`` separates folders. A field matches one character or more, never a ``/``, and no more than it
must; all else is matched letter by letter. Identities and cameras are numbered as in a manifest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from vireid.data.layouts._common import (
    Surplus,
    files_below,
    is_image,
    require_folder,
)
from vireid.data.layouts._table import CustomDataset, Entry
from vireid.errors import ConfigError, DatasetError, first_few

__all__ = ["Folders"]

_FIELDS = ("identity", "modality", "split", "camera", "name")
_EXAMPLE = "'{split}/{modality}/cam{camera}/{identity}/{name}'"


@dataclass(frozen=True)
class Folders(CustomDataset):
    """Images whose paths say what they show.

    Files whose names do not end as those of images do, and hidden files, are passed over.

    Attributes:
        root: The folder that the paths start from.
        pattern: What the paths look like.

    Raises:
        DatasetError: If the folder is missing.
        ConfigError: If the pattern is empty or malformed.
    """

    root: Path
    pattern: str
    name: str = field(default="folders", init=False)
    _mend: ClassVar[str] = "rename it, or mend --pattern"
    _mend_split: ClassVar[str] = "name the images' folders by {split} and {modality} in --pattern"

    def __post_init__(self) -> None:
        _compile(self.pattern)
        require_folder(
            self.root,
            expected="the folder that --pattern starts from",
            mend="pass it as root (--root)",
        )

    def summary(self) -> str:
        """Return the counts of all splits in one paragraph.

        Raises:
            DatasetError: If no file fits the pattern, or one says something unknown.
        """
        strangers = len(self._sorted_out[1])
        return super().summary() + (
            f" {strangers:,} images do not fit the pattern '{self.pattern}'." if strangers else ""
        )

    def files(self) -> Iterator[Path]:
        """Yield every file below the root, in sorted order."""
        return files_below([self.root])

    def problems(self) -> tuple[str, ...]:
        """Return everything that is wrong with names of files and folders, one sentence each."""
        found, strangers = self._sorted_out
        faults = super().problems()
        if not found or not strangers:
            return faults
        unused = Surplus(
            f"{len(strangers):,} of {len(found) + len(strangers):,} images below '{self.root}' do"
            f" not fit the pattern '{self.pattern}': {first_few(strangers)}; expected all to fit;"
            " rename them, take them out, or mend --pattern."
        )
        return (*faults, unused)

    @property
    def _folder(self) -> Path:
        return self.root

    def _entries(self) -> Sequence[Entry]:
        found, strangers = self._sorted_out
        if not found:
            example = f", such as {first_few(strangers, shown=1)}," if strangers else ""
            raise DatasetError(
                f"None of the {len(strangers):,} images below '{self.root}'{example} fits the"
                f" pattern '{self.pattern}'; expected paths such as {_EXAMPLE} describes; mend"
                " --pattern, or --root."
            )
        return found

    @cached_property
    def _sorted_out(self) -> tuple[list[Entry], list[str]]:
        """What the paths that fit say, and the paths that do not fit."""
        pattern = _compile(self.pattern)
        found, strangers = [], []
        for path in filter(is_image, self.files()):
            place = path.relative_to(self.root).as_posix()
            if match := pattern.fullmatch(place):
                said = match.groupdict()
                found.append(
                    Entry(
                        where=f"'{path}'",
                        path=place,
                        identity=said["identity"],
                        modality=said["modality"],
                        split=said.get("split", "test"),
                        camera=said.get("camera", ""),
                        time="",
                    )
                )
            else:
                strangers.append(place)
        return found, strangers


def _compile(pattern: str) -> re.Pattern[str]:
    """Turn a pattern into a regular expression with a group a field.

    Raises:
        ConfigError: If the pattern is empty or malformed.
    """
    # Text and fields take turns.
    texts, fields = (re.split(r"\{([^{}]*)\}", pattern)[start::2] for start in (0, 1))
    unknown = [name for name in fields if name not in _FIELDS]
    twice = [name for name in _FIELDS if fields.count(name) > 1]
    missing = [name for name in _FIELDS[:2] if name not in fields]
    if any("{" in text or "}" in text for text in texts):
        fault = "has a brace without its partner"
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
        f" {', '.join(f'{{{name}}}' for name in _FIELDS)}, of which identity and modality are"
        f" needed and none comes twice, such as {_EXAMPLE}."
    )
