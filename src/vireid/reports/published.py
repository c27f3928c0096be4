"""Published figures of the field, for tables beside measured ones; never mixed with them.

They are copied from the sources that published.json names, and nothing here reproduces them. Where
a source does not say whether a figure is re-ranked, or on which gallery draw it is, neither is said
here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from pydantic import TypeAdapter

from vireid.evaluation.result import Result, Score

__all__ = ["Published", "published_for"]


@dataclass(frozen=True, kw_only=True)
class Published:
    """The published figures of a method under one protocol.

    Attributes:
        method: Name of the method.
        venue: Conference or journal.
        year: Year of publication.
        protocol: Data set and setting; "RegDB" is the mean over its splits.
        direction: ``query to gallery``.
        scores: Scores in percent, with the digits of the source.
        reranked: Whether the gallery is re-ranked: yes, no, or not stated.
        note: What else is known to affect the figures.
        source: Where the figures stand.
    """

    method: str
    venue: str
    year: int
    protocol: str
    direction: str
    scores: Mapping[Score, str]
    reranked: str
    note: str
    source: str

    @property
    def name(self) -> str:
        """Method, venue and year."""
        return f"{self.method} ({self.venue} {self.year})"

    @property
    def remark(self) -> str:
        """Source, re-ranking and note, in words."""
        note = f"; {self.note}" if self.note else ""
        return f"{self.source}; re-ranking: {self.reranked}{note}"


def published_for(result: Result) -> list[Published]:
    """The published figures under the protocol of a result, by year; none for other data.

    Args:
        result: A result; those of synthetic people and of direct transfer have no counterpart.
    """
    if result.direct_transfer:
        return []
    text = files("vireid.reports").joinpath("published.json").read_text(encoding="utf-8")
    protocol = "RegDB" if result.protocol.startswith("RegDB") else result.protocol
    return [
        one
        for one in TypeAdapter(list[Published]).validate_json(text)
        if (one.protocol, one.direction) == (protocol, result.direction)
    ]
