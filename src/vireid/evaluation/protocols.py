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

Each data set can also be searched within one modality, or in a gallery of both (mixed), as arXiv
2412.04719 and 2501.13307 ask: the gallery is then drawn from the cameras of these modalities by the
same convention, and images of the query's own identity from its own camera are excluded. These are
protocols of their own, with names of their own.
"""

from __future__ import annotations

import random
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from vireid.errors import ConfigError, EvaluationError, many
from vireid.evaluation.protocol import Protocol, convention_as_given, with_roles
from vireid.types import ImageRecord, Modality

__all__ = [
    "SUFFIX",
    "SYSU_SAME_ROOM",
    "Draw",
    "GalleryModality",
    "HasProtocols",
    "Search",
    "Settings",
    "SysuTest",
    "direction",
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
GalleryModality = Literal["other", "own", "both"]

_SYSU_CAMERAS: Mapping[Search, tuple[int, ...]] = {"all": (1, 2, 3, 4, 5, 6), "indoor": (1, 2, 3)}
SYSU_SAME_ROOM = ((3, 2),)
"""Pairs (query camera, gallery camera) of SYSU-MM01 that are in the same room."""
_SAME_ROOM: Mapping[GalleryModality, tuple[tuple[int, int], ...]] = {
    "other": SYSU_SAME_ROOM,
    "own": (),
    "both": (*SYSU_SAME_ROOM, (2, 3)),
}
SUFFIX: Mapping[GalleryModality, str] = {
    "other": "",
    "own": ", same modality",
    "both": ", mixed gallery",
}
"""The end of a protocol's name by the modality of its gallery."""
_OWN_CAMERA = ", own camera excluded"
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
    gallery_modality: tuple[GalleryModality, ...] = ("other",)
    """Modality of the gallery: other than the query's (the published protocols), its own (day to
    day and night to night), or both (a mixed gallery). Own and both exclude the query's identity in
    the query's camera."""
    exclude_own_camera: bool = False
    """Own data: exclude images of the query's identity from the query's own camera."""
    junk: tuple[str, ...] = ()
    """Own data: identities whose images are ignored, such as -1 in Market-1501."""
    distractor: tuple[str, ...] = ()
    """Own data: identities whose images remain in the gallery but match no query, such as 0 in
    Market-1501."""

    def __post_init__(self) -> None:
        for name in ("search", "shots", "draw", "gallery_modality"):
            if not getattr(self, name):
                flag = f"--{name.replace('_', '-')}"
                raise ConfigError(f"{flag} has no value; expected at least one, or no {flag}.")

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
    modalities = chosen.gallery_modality
    match layout:
        case SysuMM01():
            return sysu_mm01_protocols(layout, chosen)
        case SysuArrays():
            return sysu_mm01_protocols(layout.tree, chosen)
        case RegDB():
            return tuple(p for modality in modalities for p in regdb(layout, modality))
        case LLCM():
            return tuple(p for modality in modalities for p in llcm(layout, modality))
        case HasProtocols():
            if modalities != ("other",):
                raise ConfigError(
                    f"--gallery-modality {' '.join(modalities)} does not apply to the layout "
                    f"{layout.name}, which has protocols of its own; remove it."
                )
            return layout.protocols(chosen)
    query, gallery = with_roles(
        layout.query(), layout.gallery(), junk=chosen.junk, distractors=chosen.distractor
    )
    return tuple(
        p for modality in modalities for p in own_data(layout, chosen, query, gallery, modality)
    )


def sysu_mm01_protocols(layout: SysuTest, settings: Settings) -> tuple[Protocol, ...]:
    """SYSU-MM01 in all chosen settings.

    Raises:
        DatasetError: The data set is not laid out as published.
    """
    return tuple(
        protocol
        for modality in settings.gallery_modality
        for draw in settings.draw
        for search in settings.search
        for shots in settings.shots
        for protocol in _sysu_mm01(layout, search, shots, draw, modality)
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
    (protocol,) = _sysu_mm01(layout, search, shots, draw, "other")
    return protocol


def _sysu_mm01(
    layout: SysuTest, search: Search, shots: Literal[1, 10], draw: Draw, gallery: GalleryModality
) -> Iterator[Protocol]:
    test = layout.test()
    permutations = layout.permutations() if draw == "official" else None
    convention = (
        "official permutations (exp/rand_perm_cam.mat)"
        if permutations
        else f"{_SEEDED}, random.{'choice' if shots == 1 else 'sample'})"
    )
    # The published protocol has infrared queries only.
    for query in (Modality.INFRARED, Modality.VISIBLE)[: 1 if gallery == "other" else 2]:
        images = [r for r in _gallery_of(test, query, gallery) if r.camera in _SYSU_CAMERAS[search]]
        cells = _cells(images)
        yield Protocol.of(
            [
                (_of(test, query), _gallery(cells, permutations, trial=trial, shots=shots))
                for trial in range(_TRIALS)
            ],
            name=f"SYSU-MM01 {search}-search {_SHOTS[shots]}{SUFFIX[gallery]}",
            direction=direction(query, gallery),
            convention=convention + (_OWN_CAMERA if gallery != "other" else ""),
            cmc="identity",
            excluded_cameras=_SAME_ROOM[gallery],
            excludes_own_camera=gallery != "other",
        )


def regdb(layout: RegDB, gallery: GalleryModality = "other") -> tuple[Protocol, Protocol]:
    """RegDB in both directions, on the test half of the layout's trial.

    Args:
        layout: The data set.
        gallery: Modality of the gallery.

    Raises:
        ConfigError: The gallery has the query's modality, of which RegDB has one camera.
    """
    if gallery == "own":
        raise ConfigError(
            "--gallery-modality own does not apply to RegDB: each modality has one camera, and "
            "images of the query's own camera are excluded; expected other or both."
        )
    test = layout.test()
    names = {Modality.VISIBLE: "visible", Modality.INFRARED: "thermal"}

    def of(query: Modality) -> Protocol:
        target = names[query.other] if gallery == "other" else "both"
        return Protocol.of(
            [(_of(test, query), _gallery_of(test, query, gallery))],
            name=f"RegDB trial {layout.trial}{SUFFIX[gallery]}",
            direction=f"{names[query]} to {target}",
            convention="published split, all test images"
            + (_OWN_CAMERA if gallery != "other" else ""),
            cmc="image",
            excludes_own_camera=gallery != "other",
        )

    return of(Modality.VISIBLE), of(Modality.INFRARED)


def llcm(layout: LLCM, gallery: GalleryModality = "other") -> tuple[Protocol, Protocol]:
    """LLCM in both directions, with ten gallery draws each.

    Args:
        layout: The data set.
        gallery: Modality of the gallery.
    """
    test = layout.test()

    def of(query: Modality) -> Protocol:
        # Numbers of visible and infrared cameras are the same: a cell is of one modality.
        cells = [_cells(_of(_gallery_of(test, query, gallery), modality)) for modality in Modality]
        draws = [
            (_of(test, query), [r for c in cells for r in _gallery(c, None, trial=t, shots=1)])
            for t in range(_TRIALS)
        ]
        return Protocol.of(
            draws,
            name=f"LLCM single-shot{SUFFIX[gallery]}",
            direction=direction(query, gallery),
            convention=f"{_SEEDED}, random.choice)",
            cmc="identity",
            excludes_own_camera=True,
        )

    return of(Modality.VISIBLE), of(Modality.INFRARED)


def own_data(
    layout: Layout,
    settings: Settings,
    query: Sequence[ImageRecord],
    gallery: Sequence[ImageRecord],
    modality: GalleryModality = "other",
) -> tuple[Protocol, ...]:
    """Custom data and plugins' layouts: one protocol for each query modality that has a gallery.

    Args:
        layout: The data set.
        settings: Exclusion of the query's own camera.
        query: The queries, with their roles.
        gallery: The gallery images, with their roles.
        modality: Modality of the gallery.

    Raises:
        EvaluationError: No query has a gallery of that modality.
    """
    excludes_own_camera = settings.exclude_own_camera or modality != "other"
    convention = convention_as_given([*query, *gallery], excludes_own_camera=excludes_own_camera)
    name = "Own data" if isinstance(layout, Manifest | Folders) else layout.name
    found = tuple(
        Protocol.of(
            [(_of(query, own), _gallery_of(gallery, own, modality))],
            name=f"{name}{SUFFIX[modality]}",
            direction=direction(own, modality),
            convention=convention,
            cmc="image",
            excludes_own_camera=excludes_own_camera,
        )
        for own in (Modality.INFRARED, Modality.VISIBLE)
        if _of(query, own) and _has_gallery(gallery, own, modality)
    )
    if not found:
        wanted, example = {
            "other": ("the other modality", "infrared queries and a visible gallery"),
            "own": ("its modality", "infrared queries and an infrared gallery"),
            "both": ("both modalities", "infrared queries and a visible and infrared gallery"),
        }[modality]
        raise EvaluationError(
            f"'{layout.root}' has {many(len(query), 'query', 'queries')} and"
            f" {many(len(gallery), 'gallery image')}, but no query whose gallery has {wanted};"
            f" expected, for example, {example}: fix the splits 'query', 'gallery' or 'test'"
            + (", or --gallery-modality" if modality != "other" else "")
        )
    return found


def _gallery_of(
    records: Iterable[ImageRecord], query: Modality, gallery: GalleryModality
) -> list[ImageRecord]:
    """The images that are searched for queries of a modality."""
    if gallery == "both":
        return list(records)
    return _of(records, query if gallery == "own" else query.other)


def _has_gallery(records: Sequence[ImageRecord], query: Modality, gallery: GalleryModality) -> bool:
    if gallery == "both":
        return all(_of(records, modality) for modality in Modality)
    return bool(_gallery_of(records, query, gallery))


def direction(query: Modality, gallery: GalleryModality) -> str:
    """The direction of a search, such as ``infrared to both``."""
    target = {"other": query.other, "own": query, "both": "both"}[gallery]
    return f"{query} to {target}"


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
            f"'{layout.root}' holds out {len(query)} infrared and"
            f" {many(len(gallery), 'visible image')}; expected some of both for model selection:"
            " give rows of the "
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
