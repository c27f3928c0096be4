"""The published test protocols, one function each; adding a protocol is adding a function.

SYSU-MM01 (Wu et al., ICCV 2017): queries are all test images of the infrared cameras 3 and 6. The
gallery of a trial holds 1 (single-shot) or 10 (multi-shot) images of each identity and visible
camera: 1, 2, 4, 5 in all-search, 1 and 2 in indoor-search, whose queries stay the same, so that
those of people never seen indoors have no match. Cameras 2 and 3 stand in the same room, so a
query of camera 3 never sees the images of camera 2. Ten trials, CMC by identity. Two conventions
draw the gallery, and their results are not on the same images:

- *official*: row t of ``exp/rand_perm_cam.mat``, its first entries (the authors' evaluation code);
- *seeded*: ``random.seed(t)`` for t = 0..9, then identities sorted, cameras in order, one
  ``random.choice`` of the sorted files each (the code of AGW and all that grew from it). That code
  has no ten-shot draw that can be repeated; here it is ``random.sample`` in the same order.

RegDB (Ye et al., AAAI 2018): all test images of one modality against all of the other, in both
directions; ten splits, each of which is a training of its own, so one layout is one trial. CMC by
image.

LLCM (Zhang and Wang, CVPR 2023): all test images of one modality against one image of each
identity and camera of the other, drawn as in the seeded convention, ten trials, in both
directions. The query's own identity in the query's own camera is removed. CMC by identity.

Own data: the queries of one modality against the gallery images of the other, once. CMC by image.
"""

from __future__ import annotations

import random
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from vireid.data.layouts import (
    LLCM,
    Folders,
    Layout,
    Manifest,
    RegDB,
    SysuArrays,
    SysuMM01,
    is_synthetic,
)
from vireid.data.layouts.sysu_mm01 import Permutations
from vireid.errors import ConfigError, EvaluationError
from vireid.evaluation.protocol import Protocol
from vireid.types import ImageRecord, Modality

__all__ = [
    "SYSU_SAME_ROOM",
    "Draw",
    "Search",
    "Settings",
    "SysuTest",
    "llcm",
    "own_data",
    "protocols_for",
    "regdb",
    "sysu_mm01",
    "sysu_mm01_chosen",
    "validation",
]

Search = Literal["all", "indoor"]
Draw = Literal["official", "seeded"]

_SYSU_VISIBLE: Mapping[Search, tuple[int, ...]] = {"all": (1, 2, 4, 5), "indoor": (1, 2)}
SYSU_SAME_ROOM = ((3, 2),)
"""Pairs (query camera, gallery camera) of SYSU-MM01 that stand in one room."""
_TRIALS = 10
_SHOTS = {1: "single-shot", 10: "multi-shot (10)"}
_SEEDED = "seeded draw (random.seed 0 to 9, identities sorted, cameras in order"

Cells = Mapping[tuple[int, int], Sequence[ImageRecord]]
"""Images by (identity, camera), sorted by file name."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Which protocols to score, where a data set has several."""

    search: tuple[Search, ...] = ("all",)
    """SYSU-MM01: gallery from all visible cameras, or from the two indoors."""
    shots: tuple[Literal[1, 10], ...] = (1,)
    """SYSU-MM01: gallery images of each identity and camera."""
    draw: tuple[Draw, ...] = ("official",)
    """SYSU-MM01: how galleries are drawn, by rand_perm_cam.mat or by the seeds 0 to 9."""
    exclude_own_camera: bool = False
    """Own data: remove the query's identity in the query's own camera from its list."""

    def __post_init__(self) -> None:
        for flag, chosen in (("search", self.search), ("shots", self.shots), ("draw", self.draw)):
            if not chosen:
                raise ConfigError(f"--{flag} has no value; expected at least one, or no --{flag}.")


class SysuTest(typing.Protocol):
    """What the protocol needs of SYSU-MM01: the data set has it, and so have its split files."""

    def test(self) -> tuple[ImageRecord, ...]:
        """Return the test identities' images of all six cameras."""

    def permutations(self) -> Permutations:
        """Return the official draws of the gallery."""


def protocols_for(layout: Layout, settings: Settings | None = None) -> tuple[Protocol, ...]:
    """The protocols of a data set; those on synthetic people say so in their names.

    Args:
        layout: The data set.
        settings: Which of them; by default those that are reported first.

    Raises:
        DatasetError: The data set is not laid out as published.
        EvaluationError: No protocol is known for this data set.
    """
    found = _published(layout, settings or Settings())
    if not is_synthetic(layout.root):
        return found
    return tuple(replace(protocol, name=f"SynVI as {protocol.name}") for protocol in found)


def _published(layout: Layout, chosen: Settings) -> tuple[Protocol, ...]:
    match layout:
        case SysuMM01():
            return sysu_mm01_chosen(layout, chosen)
        case SysuArrays():
            return sysu_mm01_chosen(layout.tree, chosen)
        case RegDB():
            return regdb(layout)
        case LLCM():
            return llcm(layout)
        case Manifest() | Folders():
            return own_data(layout, exclude_own_camera=chosen.exclude_own_camera)
    raise EvaluationError(f"no test protocol is known for the layout '{layout.name}'")


def sysu_mm01_chosen(layout: SysuTest, settings: Settings) -> tuple[Protocol, ...]:
    """SYSU-MM01 in every setting chosen.

    Raises:
        DatasetError: The data set is not laid out as published.
    """
    return tuple(
        sysu_mm01(layout, search=search, shots=shots, draw=draw)
        for draw in settings.draw
        for search in settings.search
        for shots in settings.shots
    )


def sysu_mm01(
    layout: SysuTest,
    *,
    search: Search = "all",
    shots: Literal[1, 10] = 1,
    draw: Draw = "official",
) -> Protocol:
    """One setting of SYSU-MM01.

    Args:
        layout: The data set.
        search: Gallery from all visible cameras, or from the two indoors.
        shots: Gallery images of each identity and camera.
        draw: How galleries are drawn.

    Raises:
        DatasetError: The data set is not laid out as published.
    """
    test = layout.test()
    cells = _cells(r for r in test if r.camera in _SYSU_VISIBLE[search])
    permutations = layout.permutations() if draw == "official" else None
    return Protocol.of(
        [
            (_of(test, Modality.INFRARED), _gallery(cells, permutations, trial=trial, shots=shots))
            for trial in range(_TRIALS)
        ],
        name=f"SYSU-MM01 {search}-search {_SHOTS[shots]}",
        direction="infrared to visible",
        convention="official permutations (exp/rand_perm_cam.mat)"
        if permutations
        else f"{_SEEDED}, random.{'choice' if shots == 1 else 'sample'})",
        cmc="identity",
        excluded_cameras=SYSU_SAME_ROOM,
    )


def regdb(layout: RegDB) -> tuple[Protocol, Protocol]:
    """RegDB in both directions, on the test half of the layout's trial."""
    test = layout.test()
    visible, thermal = _of(test, Modality.VISIBLE), _of(test, Modality.INFRARED)

    def direction(query: list[ImageRecord], gallery: list[ImageRecord], words: str) -> Protocol:
        return Protocol.of(
            [(query, gallery)],
            name=f"RegDB trial {layout.trial}",
            direction=words,
            convention="published split, all test images",
            cmc="image",
        )

    return (
        direction(visible, thermal, "visible to thermal"),
        direction(thermal, visible, "thermal to visible"),
    )


def llcm(layout: LLCM) -> tuple[Protocol, Protocol]:
    """LLCM in both directions, ten draws of the gallery each."""
    test = layout.test()
    sides = {modality: _of(test, modality) for modality in Modality}

    def direction(query: Modality, words: str) -> Protocol:
        cells = _cells(sides[query.other])
        return Protocol.of(
            [(sides[query], _gallery(cells, None, trial=t, shots=1)) for t in range(_TRIALS)],
            name="LLCM single-shot",
            direction=words,
            convention=f"{_SEEDED}, random.choice)",
            cmc="identity",
            excludes_own_camera=True,
        )

    return (
        direction(Modality.VISIBLE, "visible to infrared"),
        direction(Modality.INFRARED, "infrared to visible"),
    )


def own_data(
    layout: Manifest | Folders, *, exclude_own_camera: bool = False
) -> tuple[Protocol, ...]:
    """One's own data: a protocol for each modality that queries and gallery allow.

    Args:
        layout: The data set.
        exclude_own_camera: Remove the query's identity in the query's own camera from its list.

    Raises:
        DatasetError: The manifest or the folders are not as they must be.
        EvaluationError: There is no query with a gallery of the other modality.
    """
    query, gallery = layout.query(), layout.gallery()
    found = tuple(
        Protocol.of(
            [(_of(query, modality), _of(gallery, modality.other))],
            name="Own data",
            direction=f"{modality} to {modality.other}",
            convention="query and gallery as given",
            cmc="image",
            excludes_own_camera=exclude_own_camera,
        )
        for modality in (Modality.INFRARED, Modality.VISIBLE)
        if _of(query, modality) and _of(gallery, modality.other)
    )
    if not found:
        raise EvaluationError(
            f"'{layout.root}' has {len(query)} queries and {len(gallery)} gallery images, but no "
            "query whose gallery has the other modality; expected, say, infrared queries and a "
            "visible gallery: mend the splits 'query', 'gallery' or 'test'"
        )
    return found


def validation(layout: Layout) -> Protocol:
    """Infrared to visible among the identities held out of training: what a model is chosen by.

    SYSU-MM01's are searched all-search single-shot with the seeded draw and its room exclusion;
    those of other data sets, all images of one modality against all of the other.

    Raises:
        DatasetError: The data set is not laid out as published.
        EvaluationError: No identity is held out.
    """
    held = layout.val()
    query, gallery = _of(held, Modality.INFRARED), _of(held, Modality.VISIBLE)
    if not query or not gallery:
        raise EvaluationError(
            f"'{layout.root}' holds out {len(query)} infrared and {len(gallery)} visible images; "
            "expected some of both to choose a model by: pass --hold-out, or give rows of the "
            "manifest the split 'val'"
        )
    if isinstance(layout, SysuMM01):
        cells = _cells(gallery)
        draws = [(query, _gallery(cells, None, trial=t, shots=1)) for t in range(_TRIALS)]
        return Protocol.of(
            draws,
            name="SYSU-MM01 validation identities, all-search single-shot",
            direction="infrared to visible",
            convention=f"{_SEEDED}, random.choice)",
            cmc="identity",
            excluded_cameras=SYSU_SAME_ROOM,
        )
    return Protocol.of(
        [(query, gallery)],
        name=f"{layout.name} validation identities",
        direction="infrared to visible",
        convention="all images held out",
        cmc="image",
    )


def _of(records: Iterable[ImageRecord], modality: Modality) -> list[ImageRecord]:
    return [record for record in records if record.modality is modality]


def _cells(records: Iterable[ImageRecord]) -> Cells:
    """Images by identity and camera, in the order in which the seeded draw walks through them."""
    cells: dict[tuple[int, int], list[ImageRecord]] = {}
    for record in sorted(records, key=lambda r: (r.identity, r.camera, r.path.name)):
        cells.setdefault((record.identity, record.camera), []).append(record)
    return cells


def _gallery(
    cells: Cells, permutations: Permutations | None, *, trial: int, shots: int
) -> list[ImageRecord]:
    """``shots`` images of every cell: by the official permutations, or by the trial as a seed."""
    if permutations is not None:
        return [
            images[entry - 1]
            for (identity, camera), images in cells.items()
            for entry in permutations.of(camera, identity)[trial, :shots].tolist()
        ]
    generator = random.Random(trial)
    if shots == 1:
        return [generator.choice(images) for images in cells.values()]
    return [
        image
        for images in cells.values()
        for image in generator.sample(images, min(shots, len(images)))
    ]
