"""``vireid methods``: the methods that can be trained, where they are from, and what they cost."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from json import dumps
from typing import NamedTuple

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from vireid.cli._flags import Switch
from vireid.methods import MethodConfig, catalogue
from vireid.types import Modality

__all__ = ["Cost", "Listing", "cost", "methods"]

_CLASSES = 395
_NOTES = f"""\
Input: height x width in pixels. Feature: its length. Parameters: trainable ones, with
classifiers for the {_CLASSES} training identities of SYSU-MM01. GFLOPs: describing one visible
image; convolutions and matrix products, a multiply-add counted as two operations (tables that
count it as one show half). Train one with `vireid train NAME`."""


class Cost(NamedTuple):
    """What a method's network is made of, and what a feature costs.

    Attributes:
        feature: Length of a feature.
        parameters: Trainable parameters, with classifiers for SYSU-MM01's 395 identities.
        flops: Operations of the convolutions and matrix products that describe one visible image;
            a multiply-add is two.
    """

    feature: int
    parameters: int
    flops: int


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A recipe of the catalogue.

    Attributes:
        name: What `vireid train` knows it by.
        year: Of the paper.
        method: What the field calls it.
        authors: The paper's first one, "et al.".
        title: The paper's.
        venue: The paper's.
        backbone: The network of each stream.
        size: Height and width of the input, in pixels.
        feature: As in :class:`Cost`.
        parameters: As in :class:`Cost`.
        flops: As in :class:`Cost`.
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


def methods(*, json: Switch = False) -> list[Listing]:
    """List the methods: paper, backbone, input, feature, parameters, GFLOPs.

    Args:
        json: Print JSON instead of a table, with the paper's title and exact counts.

    Returns:
        One listing a recipe, by the year of the paper.
    """
    found = [
        Listing(
            name=name,
            year=entry.paper.year,
            method=entry.paper.name,
            authors=entry.paper.authors,
            title=entry.paper.title,
            venue=entry.paper.venue,
            backbone=entry.recipe.method.backbone,
            size=entry.recipe.method.size,
            **cost(entry.recipe.method)._asdict(),
            summary=entry.summary,
        )
        for name, entry in catalogue().items()
    ]
    print(dumps([asdict(row) for row in found], indent=2) if json else _table(found))
    return found


@functools.cache
def cost(config: MethodConfig) -> Cost:
    """Count without computing, in a fraction of a second and next to no memory.

    Args:
        config: A method's options; what its weights start from does not matter.
    """
    with torch.device("meta"):
        network = replace(config, weights="none").build(classes=_CLASSES).eval()
    # A method may ask on which device it is, and autocast knows no "meta": weights on the CPU that
    # nobody writes or reads, and operations that only work out the shapes.
    network.to_empty(device="cpu")
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        image = torch.empty(1, 3, *network.size)
        with FlopCounterMode(display=False) as counter:
            features = network.extract_features(image, Modality.VISIBLE)
    return Cost(
        feature=features.shape[1],
        parameters=sum(p.numel() for p in network.parameters() if p.requires_grad),
        flops=counter.get_total_flops(),
    )


def _table(found: Sequence[Listing]) -> str:
    """Lines that a person reads; text to the left, figures to the right."""
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
