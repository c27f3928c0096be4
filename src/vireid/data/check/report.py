"""The result of a check, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from vireid.data.check.faults import NOT_READ, SEVERITIES, Fault, Severity
from vireid.data.layouts import Tally
from vireid.errors import many
from vireid.files import write_atomic
from vireid.log import printable

__all__ = ["CheckReport", "Count", "Finding", "Location", "found_at"]

_SHOWN = 3
"""Number of places per finding, and of findings per fault, that are printed."""


class Location(NamedTuple):
    """Where a fault is.

    Attributes:
        names: A file relative to the root, or all copies of an image, or an identity.
        detail: Details of this place; may be empty.
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
        fault: The kind of fault.
        what: What is wrong: a sentence, or the start of one that continues with the places.
        places: All places where it occurs.
    """

    fault: Fault
    what: str
    places: tuple[Location, ...] = ()

    def __str__(self) -> str:
        if not self.places:
            return self.what
        rest = len(self.places) - _SHOWN
        more = f" and {rest:,} more" if rest > 0 else ""
        places = ", ".join(map(str, self.places[:_SHOWN]))
        return f"{self.what}: {places}{more}; expected {self.fault.expected}."


def found_at(
    fault: Fault, places: Sequence[Location], noun: str, words: str, plural: str = ""
) -> Iterator[Finding]:
    """Yield one finding for all places of a fault; none if there is no place.

    Args:
        fault: The kind of fault.
        places: All places where it occurs.
        noun: What is faulty, such as ``image``.
        words: What is wrong with it, following the noun.
        plural: The noun's plural, if irregular.
    """
    if places:
        yield Finding(fault, f"{many(len(places), noun, plural)} {words}", tuple(places))


@dataclass(frozen=True, slots=True)
class Count:
    """Numbers of identities and images, found and published.

    Attributes:
        found: The numbers found.
        camera: Name of the camera counted, or ``all``.
        published: The published numbers; None where there are none or they do not apply.
    """

    found: Tally
    camera: str
    published: Tally | None = None

    @property
    def differs(self) -> bool:
        """Whether a published number differs from the one found."""
        if self.published is None:
            return False
        pairs = (
            (self.found.identities, self.published.identities),
            (self.found.images, self.published.images),
        )
        return any(should is not None and found != should for found, should in pairs)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """The result of a check; ``str()`` gives the text for people.

    Attributes:
        about: What was checked, in sentences.
        counts: Identities and images by split, modality and camera.
        findings: Everything that is wrong, grouped by fault, errors first.
    """

    about: str
    counts: tuple[Count, ...] = ()
    findings: tuple[Finding, ...] = ()

    def number(self, severity: Severity) -> int:
        """Return the number of findings of a severity."""
        return sum(finding.fault.severity == severity for finding in self.findings)

    @property
    def exit_status(self) -> int:
        """The exit status of ``vireid check``: 1 if there is an error, else 0."""
        return 1 if self.number("error") else 0

    def __str__(self) -> str:
        blocks = [self.about]
        if self.counts:
            blocks.append(_table(self.counts))
        for fault, group in groupby(self.findings, key=lambda finding: finding.fault):
            blocks.append("\n".join(_group(fault, list(group))))
        blocks.append(self._verdict())
        return "\n\n".join(blocks)

    def _verdict(self) -> str:
        errors, warnings, notes = (self.number(severity) for severity in SEVERITIES)
        noted = f", {many(notes, 'note')}" if notes else ""
        if errors or warnings:
            return f"{many(errors, 'error')}, {many(warnings, 'warning')}{noted}."
        return f"No faults: 0 errors, 0 warnings{noted}."

    def save(self, path: Path) -> Path:
        """Write the report as JSON, with every place of every finding.

        Args:
            path: The file to write or to replace; its folder is created if necessary.

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
                    **asdict(finding.fault),
                    "what": finding.what,
                    "places": [place._asdict() for place in finding.places],
                }
                for finding in self.findings
            ],
        }
        return write_atomic(path, (json.dumps(content, indent=2) + "\n").encode("ascii"))


def _group(fault: Fault, findings: Sequence[Finding]) -> Iterator[str]:
    """Yield the lines on one fault."""
    yield f"{fault.severity.upper()}: {fault.heading}"
    # Each is another kind of file, with its own fix.
    shown = len(findings) if fault is NOT_READ else _SHOWN
    for finding in findings[:shown]:
        yield f"  - {printable(str(finding))}"
    rest = len(findings) - shown
    if rest > 0:
        yield f"  - and {rest:,} more; --json FILE writes all of them."
    yield f"  Effect: {fault.effect}"
    if fault.fix:
        yield f"  Fix: {fault.fix}"


def _table(counts: Sequence[Count]) -> str:
    """Format the counts as a table, found next to published."""
    published = any(count.published for count in counts)
    head = ["split", "modality", "camera", "identities", "images"]
    rows = [head]
    if published:
        rows = [[*head[:4], "published", head[4], "published", ""]]
    for count in counts:
        found, should = count.found, count.published
        row = [found.split, found.modality, count.camera, _cell(found.identities)]
        if not published:
            row.append(_cell(found.images))
        elif should is None:
            row += ["", _cell(found.images), "", ""]
        else:
            mark = "<- differs" if count.differs else ""
            row += [_cell(should.identities), _cell(found.images), _cell(should.images), mark]
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


def _cell(number: int | None) -> str:
    return "" if number is None else f"{number:,}"
