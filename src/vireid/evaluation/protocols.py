"""The published test protocols, one function each.

SYSU-MM01 (Wu et al., ICCV 2017): queries are all test images of the infrared cameras 3 and 6. The
gallery of a trial holds 1 (single-shot) or 10 (multi-shot) images per identity and visible camera:
1, 2, 4, 5 in all-search, 1 and 2 in indoor-search. Indoor-search has the same queries; those of
people never seen indoors have no match. Cameras 2 and 3 are in the same room, so images of camera 2
are excluded for queries of camera 3. Ten trials, CMC by identity. Two conventions draw the gallery,
and their results are on different images:

- *official*: the first entries of row t of ``exp/rand_perm_cam.mat`` (the authors' code);
- *seeded*: ``random.seed(t)`` for t = 0..9, then one ``random.choice`` of the sorted files per
  identity and camera, identities sorted and cameras in order (the code of AGW and its successors).
  That code has no reproducible ten-shot draw; here it is ``random.sample`` in the same order.

RegDB (Ye et al., AAAI 2018): all test images of one modality against all of the other, in both
directions; ten splits, each with a training of its own, so a layout has one trial. CMC by image.

LLCM (Zhang and Wang, CVPR 2023): all test images of one modality against one image per identity and
camera of the other, drawn as in the seeded convention, ten trials, in both directions. The query's
own identity in the query's own camera is excluded. CMC by identity.

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
from vireid.evaluation.protocol import Protocol, convention_as_given, with_roles
from vireid.types import ImageRecord, Modality

__all__ = [
    "SYSU_SAME_ROOM",
    "Draw",
    "HasProtocols",
    "Search",
    "Settings",
    "SysuTest",
    "llcm",
    "own_data",
    "protocols_for",
    "regdb",
    "sysu_mm01",
    "sysu_mm01_protocols",
    "validation",
]

Search = Literal["all", "indoor"]
Draw = Literal["official", "seeded"]

_SYSU_VISIBLE: Mapping[Search, tuple[int, ...]] = {"all": (1, 2, 4, 5), "indoor": (1, 2)}
SYSU_SAME_ROOM = ((3, 2),)
"""Pairs (query camera, gallery camera) of SYSU-MM01 that are in the same room."""
_TRIALS = 10
_SHOTS = {1: "single-shot", 10: "multi-shot (10)"}
_SEEDED = "seeded draw (random.seed 0 to 9, identities sorted, cameras in order"

Cells = Mapping[tuple[int, int], Sequence[ImageRecord]]
"""Images by (identity, camera), sorted by file name."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of protocols, for data sets that have several."""

    search: tuple[Search, ...] = ("all",)
    """SYSU-MM01: gallery from all visible cameras, or from the two indoor ones."""
    shots: tuple[Literal[1, 10], ...] = (1,)
    """SYSU-MM01: gallery images per identity and camera."""
    draw: tuple[Draw, ...] = ("official",)
    """SYSU-MM01: draw galleries by rand_perm_cam.mat (official) or by the seeds 0 to 9."""
    exclude_own_camera: bool = False
    """Own data: exclude images of the query's identity from the query's own camera."""
    junk: tuple[str, ...] = ()
    """Own data: identities whose images are ignored, such as -1 in Market-1501."""
    distractor: tuple[str, ...] = ()
    """Own data: identities whose images remain in the gallery but match no query, such as 0 in
    Market-1501."""

    def __post_init__(self) -> None:
        for flag, chosen in (("search", self.search), ("shots", self.shots), ("draw", self.draw)):
            if not chosen:
                raise ConfigError(f"--{flag} has no value; expected at least one, or no --{flag}.")

    @property
    def draws(self) -> list[str]:
        """The flags of SYSU-MM01 that are not at their defaults."""
        default = Settings()
        names = ("search", "shots", "draw")
        return [f"--{name}" for name in names if getattr(self, name) != getattr(default, name)]

    @property
    def rules(self) -> dict[str, bool | tuple[str, ...]]:
        """The settings of own data by flag, where they are used."""
        found = {name: getattr(self, name) for name in ("exclude_own_camera", "junk", "distractor")}
        return {f"--{name.replace('_', '-')}": value for name, value in found.items() if value}


@typing.runtime_checkable
class HasProtocols(typing.Protocol):
    """A layout of a plugin with a protocol of its own; others have that of own data."""

    def protocols(self, settings: Settings) -> tuple[Protocol, ...]:
        """Return the protocols of the data set.

        Args:
            settings: The chosen settings, for those that apply.
        """


class SysuTest(typing.Protocol):
    """What the protocol needs of SYSU-MM01; the data set and its split files provide it."""

    def test(self) -> tuple[ImageRecord, ...]:
        """Return the test identities' images of all six cameras."""

    def permutations(self) -> Permutations:
        """Return the official draws of the gallery."""


def protocols_for(layout: Layout, settings: Settings | None = None) -> tuple[Protocol, ...]:
    """The protocols of a data set; names of protocols on synthetic people begin with SynVI.

    Args:
        layout: The data set.
        settings: Settings of the protocols; by default the most common ones.

    Raises:
        DatasetError: The data set is not laid out as published.
        EvaluationError: No query has a gallery.
    """
    found = _published(layout, settings or Settings())
    if not is_synthetic(layout.root):
        return found
    return tuple(replace(protocol, name=f"SynVI as {protocol.name}") for protocol in found)


def _published(layout: Layout, chosen: Settings) -> tuple[Protocol, ...]:
    if chosen.rules and isinstance(layout, SysuMM01 | SysuArrays | RegDB | LLCM):
        raise ConfigError(
            f"{next(iter(chosen.rules))} applies to own data, but '{layout.root}' has the layout "
            f"{layout.name}, whose protocol is published; remove it."
        )
    if chosen.draws and not isinstance(layout, SysuMM01 | SysuArrays):
        raise ConfigError(
            f"{chosen.draws[0]} applies to SYSU-MM01, but '{layout.root}' has the layout "
            f"{layout.name}, which has no such choice; remove it."
        )
    match layout:
        case SysuMM01():
            return sysu_mm01_protocols(layout, chosen)
        case SysuArrays():
            return sysu_mm01_protocols(layout.tree, chosen)
        case RegDB():
            return regdb(layout)
        case LLCM():
            return llcm(layout)
        case HasProtocols():
            return layout.protocols(chosen)
    return own_data(layout, chosen)


def sysu_mm01_protocols(layout: SysuTest, settings: Settings) -> tuple[Protocol, ...]:
    """SYSU-MM01 in all chosen settings.

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
        search: Gallery from all visible cameras, or from the two indoor ones.
        shots: Gallery images per identity and camera.
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
    """LLCM in both directions, with ten gallery draws each."""
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


def own_data(layout: Layout, settings: Settings) -> tuple[Protocol, ...]:
    """Custom data and plugins' layouts: one protocol for each query modality that has a gallery.

    Args:
        layout: The data set.
        settings: Exclusion of the query's own camera, junk and distractors.

    Raises:
        ConfigError: An identity is to be junk and distractor.
        DatasetError: The manifest or the folders are invalid.
        EvaluationError: No query has a gallery of the other modality.
    """
    query, gallery = with_roles(
        layout.query(),
        layout.gallery(),
        junk=settings.junk,
        distractors=settings.distractor,
    )
    convention = convention_as_given(
        [*query, *gallery], excludes_own_camera=settings.exclude_own_camera
    )
    found = tuple(
        Protocol.of(
            [(_of(query, modality), _of(gallery, modality.other))],
            name="Own data" if isinstance(layout, Manifest | Folders) else layout.name,
            direction=f"{modality} to {modality.other}",
            convention=convention,
            cmc="image",
            excludes_own_camera=settings.exclude_own_camera,
        )
        for modality in (Modality.INFRARED, Modality.VISIBLE)
        if _of(query, modality) and _of(gallery, modality.other)
    )
    if not found:
        raise EvaluationError(
            f"'{layout.root}' has {len(query)} queries and {len(gallery)} gallery images, but no "
            "query whose gallery has the other modality; expected, for example, infrared queries "
            "and a visible gallery: fix the splits 'query', 'gallery' or 'test'"
        )
    return found


def validation(layout: Layout) -> Protocol:
    """Infrared to visible among the held-out identities, for model selection.

    SYSU-MM01: all-search single-shot with the seeded draw and the room exclusion; other data sets:
    all images of one modality against all of the other.

    Raises:
        DatasetError: The data set is not laid out as published.
        EvaluationError: No identity is held out.
    """
    held = layout.val()
    query, gallery = _of(held, Modality.INFRARED), _of(held, Modality.VISIBLE)
    if not query or not gallery:
        raise EvaluationError(
            f"'{layout.root}' holds out {len(query)} infrared and {len(gallery)} visible images; "
            "expected some of both for model selection: give rows of the "
            "manifest the split 'val', or hold some out with `vireid train --hold-out`"
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
    """Images by identity and camera, in the order of the seeded draw."""
    cells: dict[tuple[int, int], list[ImageRecord]] = {}
    for record in sorted(records, key=lambda r: (r.identity, r.camera, r.path.name)):
        cells.setdefault((record.identity, record.camera), []).append(record)
    return cells


def _gallery(
    cells: Cells, permutations: Permutations | None, *, trial: int, shots: int
) -> list[ImageRecord]:
    """``shots`` images of every cell, by the official permutations or with the trial as seed."""
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
