"""``vireid methods``: the methods that can be trained, their papers, and their cost.

The table is shipped as methods.json, because counting needs torch and all methods, and takes ten
seconds. A test compares the two. After a change of a recipe, write it again by

    vireid methods --measure --json > src/vireid/cli/methods.json
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from json import dumps, loads

from vireid.cli._flags import Switch
from vireid.log import echo
from vireid.plugins import plugins

__all__ = ["Listing", "methods"]

_NOTES = """\
Input: height x width in pixels. Feature: its length. Parameters: trainable ones, with
classifiers for the 395 training identities of SYSU-MM01. GFLOPs: of the feature of one visible
image; convolutions and matrix products, a multiply-add counted as two operations (tables that
count it as one show half). Train one with `vireid train NAME`."""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A recipe of the catalogue.

    Attributes:
        name: The argument of `vireid train`.
        year: Year of the paper.
        method: Name of the method.
        authors: First author of the paper, "et al.".
        title: Title of the paper.
        venue: Venue of the paper.
        backbone: Backbone of each stream.
        size: Height and width of the input, in pixels.
        feature: As in :class:`vireid.methods.cost.Cost`.
        parameters: As in :class:`vireid.methods.cost.Cost`.
        flops: As in :class:`vireid.methods.cost.Cost`.
        summary: One line.
    """

    name: str
    year: int
    method: str
    authors: str
    title: str
    venue: str
    backbone: str
    size: tuple[int, int]
    feature: int
    parameters: int
    flops: int
    summary: str


def methods(*, json: Switch = False, measure: Switch = False) -> list[Listing]:
    """List the methods: paper, backbone, input, feature, parameters, GFLOPs.

    Args:
        json: Print JSON instead of a table, with the titles of the papers and exact counts.
        measure: Count parameters and operations again instead of printing the saved counts.

    Returns:
        One listing per recipe, by the year of the paper; those of plugins at the end.
    """
    found = [] if measure else _shipped()
    if measure or plugins("methods"):
        found += _measured(known={row.name for row in found})
    echo(dumps([asdict(row) for row in found], indent=2) if json else _table(found))
    return found


def _shipped() -> list[Listing]:
    rows = loads(files("vireid.cli").joinpath("methods.json").read_text())
    return [Listing(**{**row, "size": tuple(row["size"])}) for row in rows]


def _measured(known: Collection[str]) -> list[Listing]:
    """The listings of all recipes but the known ones."""
    # Imported here because torch takes seconds.
    from vireid.methods import catalogue
    from vireid.methods.cost import cost

    return [
        Listing(
            name=name,
            year=entry.paper.year,
            method=entry.paper.name,
            authors=entry.paper.authors,
            title=entry.paper.title,
            venue=entry.paper.venue,
            backbone=entry.recipe.method.about()["backbone"],
            size=entry.recipe.method.size,
            **cost(entry.recipe.method)._asdict(),
            summary=entry.summary,
        )
        for name, entry in catalogue().items()
        if name not in known
    ]


def _table(found: Sequence[Listing]) -> str:
    """Text columns aligned to the left, numbers to the right."""
    head = ("name", "year", "paper", "backbone", "input", "feature", "M params", "GFLOPs", "")
    rows = [
        (
            row.name,
            str(row.year),
            f"{row.method}, {row.venue}",
            row.backbone,
            "x".join(map(str, row.size)),
            str(row.feature),
            f"{row.parameters / 1e6:.1f}",
            f"{row.flops / 1e9:.2f}",
            row.summary,
        )
        for row in found
    ]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    figures = {head.index("feature"), head.index("M params"), head.index("GFLOPs")}
    lines = [
        "  ".join(
            cell.rjust(width) if i in figures else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (head, *rows)
    ]
    return "\n".join([*lines, "", _NOTES])
