"""Patterns that read labels from the paths of images.

    {split}/{modality}/cam{camera}/{identity}/{}.jpg
    {modality}/**/{identity}_c{camera}_{time:%Y%m%dT%H%M%S}_{}
    {time:%Y-%m-%d}/{camera}/{identity}_{time:%H%M%S}{}

- ``{identity}``, ``{modality}``, ``{split}``, ``{camera}``, ``{tracklet}``: labels;
- ``{time}``: a date in ISO 8601, or ``{time:FORMAT}`` with the directives of ``strptime``; several
  are read as one time;
- ``{}``, ``{name}``, and ``{any}`` with or without a number: any text, as often as needed;
- ``**``: any number of folders, also none.

``/`` separates folders. A field stands for one or more characters except ``/``, as few as possible;
everything else is literal. Two fields need a text between them, unless one is a time with a format,
whose digits are counted.

Example:
    >>> pattern = PathPattern("{modality}/**/{identity}_{time:%m%d%y}{any}_{}")
    >>> pattern.match("ir/a/07_053124noon_1.jpg")
    {'modality': 'ir', 'identity': '07', 'time': '2024-05-31T00:00:00'}
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from vireid.data.layouts._custom import SPLIT_WORDS
from vireid.data.rows import MODALITIES
from vireid.errors import ConfigError, DatasetError, first_few, many

__all__ = ["AUTO", "FIELDS", "Guess", "PathPattern", "guess_pattern"]

FIELDS = ("identity", "modality", "split", "camera", "time", "tracklet")
"""The fields that are read."""

AUTO = "auto"
"""The pattern that stands for :func:`guess_pattern`."""

_EXAMPLE = "'{split}/{modality}/cam{camera}/{identity}/{}'"
_ANY = "[^/]+?"
_TOKEN = re.compile(
    r"\{(?P<field>[^{}]*)\}|(?P<folders>(?:(?<=/)|\A)\*\*(?:/|\Z))|(?P<text>[^{}*]+)|(?P<odd>.)"
)
_DIRECTIVES = {
    **dict.fromkeys("ymdHIMS", r"\d{2}"),
    "Y": r"\d{4}",
    "j": r"\d{3}",
    "f": r"\d{1,6}",
    **dict.fromkeys("aAbBp", r"[^\W\d_]+"),
    "z": r"(?:[+-]\d{2}:?\d{2}|Z)",
    "%": "%",
}


class PathPattern:
    """A pattern of paths; see the module.

    Args:
        pattern: The pattern.
        required: The fields that it must have, of :data:`FIELDS`.

    Raises:
        ConfigError: The pattern is malformed, or a required field is missing.
    """

    def __init__(self, pattern: str, *, required: Collection[str] = ()) -> None:
        self.pattern = pattern
        self._depth = pattern.count("/") + 1
        self._formats: list[str] = []
        self._fields: list[str] = []
        try:
            self._regex = re.compile(self._joined())
            self._require(required)
        except ValueError as error:
            needed = f", of which {' and '.join(required)} are required" if required else ""
            raise ConfigError(
                f"--pattern '{pattern}' {error}; expected the fields"
                f" {', '.join(f'{{{name}}}' for name in FIELDS)}, each at most once{needed}, {{}}"
                f" for any text, and ** for any folders, such as {_EXAMPLE}."
            ) from None

    def match(self, path: str) -> dict[str, str] | None:
        """The fields of a path.

        Args:
            path: A path relative to the folder where the pattern starts, with ``/`` as separator.

        Returns:
            The text of each field of :data:`FIELDS` in the pattern, a time with a format in ISO
            8601; None if the path does not match.
        """
        match = self._regex.fullmatch(path)
        if match is None:
            return None
        found = {name: match[name] for name in self._fields}
        if self._formats:
            parts = [match[f"time{number}"] for number in range(len(self._formats))]
            try:
                time = datetime.strptime("/".join(parts), "/".join(self._formats))
            except ValueError:
                return None
            found["time"] = time.isoformat()
        return found

    def match_end(self, path: Path, root: Path) -> dict[str, str] | None:
        """The fields of the end of a path: of as many folders as the pattern has.

        Args:
            path: The path.
            root: The folder where a pattern with ``**``, which has any number, starts.

        Returns:
            As :meth:`match`.
        """
        if "**" not in self.pattern:
            return self.match("/".join(path.parts[-self._depth :]))
        return self.match(
            (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()
        )

    @property
    def fields(self) -> Sequence[str]:
        """The fields that it reads, of :data:`FIELDS`."""
        return [n for n in FIELDS if n in self._fields or (n == "time" and self._formats)]

    def _joined(self) -> str:
        """The regular expression of all parts."""
        kinds, pieces = map(list, zip(*self._pieces(), strict=True)) if self.pattern else ([], [])
        # If any text may follow a literal, its first occurrence is as good as all others. Trying
        # them would take time exponential in the number of fields.
        for place in range(len(kinds) - 2):
            if kinds[place : place + 3] == ["text", "", "text"]:
                pieces[place] = f"(?>{pieces[place]}"
                pieces[place + 1] += ")"
        return "".join(pieces)

    def _pieces(self) -> Iterator[tuple[str, str]]:
        """Yield each part: its kind (text, time, folders or empty) and regular expression."""
        # What the previous part is, if it is a field.
        before = ""
        for token in _TOKEN.finditer(self.pattern):
            if token["odd"]:
                raise ValueError(
                    "has a '*' that does not stand for folders"
                    if token["odd"] == "*"
                    else "has an unmatched brace"
                )
            if token["text"]:
                before = ""
                yield before, re.escape(token["text"])
            elif token["folders"]:
                folders = "(?:[^/]+/)*" + ("" if token["folders"].endswith("/") else "[^/]+")
                yield "folders", folders
            else:
                name, _, form = token["field"].partition(":")
                kind = "time" if form and name == "time" else "text"
                if "text" == before == kind:
                    raise ValueError("has two fields with nothing between them")
                before = kind
                yield kind, self._field(name, form, token["field"])

    def _field(self, name: str, form: str, field: str) -> str:
        """The regular expression of a field."""
        if re.fullmatch("name|any[0-9]*|", field):
            return _ANY
        if name not in FIELDS or (form and name != "time"):
            raise ValueError(f"has the unknown field '{{{field}}}'")
        if name in self._fields or (name == "time" and not form and self._formats):
            raise ValueError(f"has the field '{{{name}}}' twice")
        if not form:
            self._fields.append(name)
            return f"(?P<{name}>{_ANY})"
        group = f"time{len(self._formats)}"
        self._formats.append(form)
        pieces = []
        for directive, text in re.findall(r"%(.?)|([^%]+)", form):
            if not text and directive not in _DIRECTIVES:
                raise ValueError(
                    f"has the unknown directive '%{directive}' in '{{{field}}}' (known are"
                    f" {', '.join(f'%{known}' for known in _DIRECTIVES)})"
                )
            pieces.append(re.escape(text) or _DIRECTIVES[directive])
        return f"(?P<{group}>{''.join(pieces)})"

    def _require(self, required: Collection[str]) -> None:
        directives = set("".join(re.findall("%(.)", "".join(self._formats))))
        date = (directives & set("yY")) and (
            "j" in directives or (directives & set("mbB") and "d" in directives)
        )
        if self._formats and not date:
            raise ValueError("has a time without year, month and day")
        for name in required:
            if name not in self.fields:
                raise ValueError(f"has no field '{{{name}}}'")


class Guess(NamedTuple):
    """A pattern that most images match.

    Attributes:
        pattern: The pattern.
        form: Whose form the names have.
    """

    pattern: str
    form: str


class _Form(NamedTuple):
    """A known form of paths, from the end."""

    name: str
    regex: str
    pattern: str
    example: str


_FORMS = (
    _Form(
        "Market-1501",
        r"-?\d+_c\d+s\d+_\d+_\d+\.\w+",
        "{identity}_c{camera}s{}_{}_{}",
        "0002_c1s1_000451_03.jpg",
    ),
    _Form(
        "DukeMTMC-reID", r"\d+_c\d+_f\d+\.\w+", "{identity}_c{camera}_f{}", "0001_c2_f0046182.jpg"
    ),
    _Form(
        "MSMT17",
        r"\d+_\d+_\d+_\d{4}(morning|noon|afternoon)_\d+_\d+(_ex)?\.\w+",
        "{identity}_{}_{camera}_{}_{}_{}",
        "0000_000_01_0303morning_0015_0.jpg",
    ),
    _Form(
        "BUPTCampus",
        r"\d+/(RGB|IR)/\w+/\d+_(RGB|IR)_\w+_\d+_\d+\.\w+",
        "{identity}/{modality}/{camera}/{}",
        "1/IR/CQ1/1_IR_CQ1_1_8535.jpg",
    ),
    _Form(
        "HITSZ-VCM",
        r"\d+/(rgb|ir)/D\d+/[^/]+",
        "{identity}/{modality}/{camera}/{}",
        "0001/ir/D1/001.jpg",
    ),
)


def guess_pattern(paths: Sequence[str], *, required: Collection[str] = ()) -> Guess:
    """Guess the pattern of paths whose names have the form of a known data set.

    Folders above them give the modality and the split where all are named so.

    Args:
        paths: The paths of all images, with ``/`` as separator.
        required: The fields that it must have.

    Raises:
        DatasetError: No form fits most paths, two fit equally many, or a required field is missing.
    """
    ends = {
        form: [path for path in paths if re.search(f"(^|/){form.regex}$", path, re.IGNORECASE)]
        for form in _FORMS
    }
    best, second = sorted(_FORMS, key=lambda form: len(ends[form]), reverse=True)[:2]
    number = len(ends[best])
    if number == len(ends[second]) or 2 * number <= len(paths):
        fits = ", ".join(f"{len(found):,} {form.name}" for form, found in ends.items() if found)
        known = ", ".join(f"{form.name} ({form.example})" for form in _FORMS)
        raise DatasetError(
            f"--pattern auto cannot tell the form of the names of {many(len(paths), 'image')}"
            f" ({fits or 'none as in a known data set'}), such as {first_few(paths)}; expected most"
            f" of them as in one of {known}; write the pattern, such as {_EXAMPLE}."
        )
    pattern = _folders(ends[best], best) + best.pattern
    lacking = [name for name in required if f"{{{name}}}" not in pattern]
    if lacking:
        raise DatasetError(
            f"--pattern auto: {number:,} of {len(paths):,} images are named as in {best.name},"
            f" which does not give the {' and '.join(lacking)}, nor do their folders, such as"
            f" {first_few(ends[best])}; expected it in the names of all folders of one level, such"
            " as 'visible' and 'infrared'; rename them, or write the pattern."
        )
    return Guess(pattern, best.name)


def _folders(paths: Sequence[str], form: _Form) -> str:
    """The pattern of the folders above names of a form."""
    own = form.pattern.count("/") + 1
    folders = [path.split("/")[:-own] for path in paths]
    depth = min(map(len, folders))
    parts: list[str] = []
    for level in range(depth):
        words = {names[level].lower() for names in folders}
        field = ""
        for name, known in (("modality", {*MODALITIES}), ("split", SPLIT_WORDS)):
            if words <= known and f"{{{name}}}" not in "".join((form.pattern, *parts)):
                field = name
        parts.append(f"{{{field}}}")
    if any(len(names) > depth for names in folders):
        parts.append("**")
    return "".join(f"{part}/" for part in parts)
