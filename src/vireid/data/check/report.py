"""What a check found, as a report for people and as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from vireid.data.check.kinds import SEVERITIES, Kind, Severity
from vireid.data.layouts import Tally
from vireid.data.layouts._common import many
from vireid.files import write_atomic

__all__ = ["CheckReport", "Count", "Finding", "Location", "found_at"]

_SHOWN = 3
"""How many places of a finding, and findings of a kind, are printed."""


class Location(NamedTuple):
    """Where a fault is.

    Attributes:
        names: A file below the root, or all files that are copies of one another, or an identity.
        detail: What is particular to this place; may be empty.
    """

    names: tuple[str, ...]
    detail: str = ""

    def __str__(self) -> str:
        names = " = ".join(f"'{name}'" for name in self.names)
        return f"{names} ({self.detail})" if self.detail else names


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        kind: What kind of fault it is.
        what: What is wrong: a sentence, or the beginning of one that goes on with the places.
        places: Everywhere it is so.
    """

    kind: Kind
    what: str
    places: tuple[Location, ...] = ()

    def __str__(self) -> str:
        if not self.places:
            return self.what
        rest = len(self.places) - _SHOWN
        more = f" and {rest:,} more" if rest > 0 else ""
        places = ", ".join(map(str, self.places[:_SHOWN]))
        return f"{self.what}: {places}{more}; expected {self.kind.expected}."


def found_at(
    kind: Kind, places: Sequence[Location], noun: str, words: str, plural: str = ""
) -> Iterator[Finding]:
    """Yield one finding for all places of a kind; none if there is no place.

    Args:
        kind: What kind of fault it is.
        places: Everywhere it is so.
        noun: What is there, such as ``image``.
        words: What is wrong with it, going on after the noun.
        plural: The noun's plural where it is irregular.
    """
    if places:
        verb = "is" if len(places) == 1 else "are"
        what = f"There {verb} {many(len(places), noun, plural)} {words}"
        yield Finding(kind, what, tuple(places))


@dataclass(frozen=True, slots=True)
class Count:
    """How many identities and images there are, beside how many are published.

    Attributes:
        found: What is there.
        published: What should be there; None where no figure is published or none applies.
    """

    found: Tally
    published: Tally | None = None

    @property
    def differs(self) -> bool:
        """Whether a published figure is another than that found."""
        if self.published is None:
            return False
        pairs = (
            (self.found.identities, self.published.identities),
            (self.found.images, self.published.images),
        )
        return any(should is not None and there != should for there, should in pairs)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """What was looked at and what was found; as text, the report for people.

    Attributes:
        about: What was looked at, in sentences.
        counts: Identities and images by split, modality and camera.
        findings: Everything that is wrong, those of one kind together, errors first.
    """

    about: str
    counts: tuple[Count, ...] = ()
    findings: tuple[Finding, ...] = ()

    def number(self, severity: Severity) -> int:
        """Return how many findings are of a severity."""
        return sum(finding.kind.severity == severity for finding in self.findings)

    @property
    def exit_status(self) -> int:
        """The exit status of ``vireid check``: 1 if there is an error, else 0."""
        return 1 if self.number("error") else 0

    def __str__(self) -> str:
        blocks = [self.about]
        if self.counts:
            blocks.append(_table(self.counts))
        for kind, group in groupby(self.findings, key=lambda finding: finding.kind):
            blocks.append("\n".join(_group(kind, list(group))))
        blocks.append(self._verdict())
        # Printing names that are no UTF-8 as they are would fail.
        return "\n\n".join(blocks).encode("utf-8", "backslashreplace").decode("utf-8")

    def _verdict(self) -> str:
        errors, warnings, notes = (self.number(severity) for severity in SEVERITIES)
        noted = f", {many(notes, 'note')}" if notes else ""
        if errors or warnings:
            return f"{many(errors, 'error')}, {many(warnings, 'warning')}{noted}."
        return f"All is well: 0 errors, 0 warnings{noted}."

    def save(self, path: Path) -> Path:
        """Write the report as JSON, with every place of every finding.

        Args:
            path: The file to write or to replace; its folder is made if need be.

        Returns:
            ``path``.

        Raises:
            OSError: If the file cannot be written.
        """
        content = {
            "about": self.about,
            "errors": self.number("error"),
            "warnings": self.number("warning"),
            "notes": self.number("note"),
            "counts": [asdict(count) for count in self.counts],
            "findings": [
                {
                    **asdict(finding.kind),
                    "what": finding.what,
                    "places": [place._asdict() for place in finding.places],
                }
                for finding in self.findings
            ],
        }
        return write_atomic(path, (json.dumps(content, indent=2) + "\n").encode("ascii"))


def _group(kind: Kind, findings: Sequence[Finding]) -> Iterator[str]:
    """Yield the lines on one kind of fault."""
    yield f"{kind.severity.upper()}: {kind.heading}"
    for finding in findings[:_SHOWN]:
        yield f"  - {finding}"
    rest = len(findings) - _SHOWN
    if rest > 0:
        yield f"  - and {rest:,} more of this kind; --json FILE writes all of them."
    yield f"  What it does: {kind.effect}"
    if kind.mend:
        yield f"  How to mend it: {kind.mend}"


def _table(counts: Sequence[Count]) -> str:
    """Lay the counts out in columns, the published ones beside those found."""
    published = any(count.published for count in counts)
    head = ["split", "modality", "camera", "identities", "images"]
    rows = [head]
    if published:
        rows = [[*head[:4], "published", head[4], "published", ""]]
    for count in counts:
        found, should = count.found, count.published
        camera = "all" if found.camera is None else str(found.camera)
        row = [found.split, found.modality, camera, _figure(found.identities)]
        if not published:
            row.append(_figure(found.images))
        elif should is None:
            row += ["", _figure(found.images), "", ""]
        else:
            mark = "<- differs" if count.differs else ""
            row += [_figure(should.identities), _figure(found.images), _figure(should.images), mark]
        rows.append(row)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            text.ljust(width) if column < 2 or column == 7 else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _figure(number: int | None) -> str:
    return "" if number is None else f"{number:,}"
