"""Test protocols as plain data: which queries are searched in which galleries."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from vireid.errors import ConfigError, EvaluationError, first_few, many
from vireid.log import log
from vireid.types import ImageRecord, Role

__all__ = ["Protocol", "Trial", "convention_as_given", "with_roles"]


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """One draw of queries and gallery.

    Attributes:
        query: Indices into the protocol's records, int64 ``[q]``.
        gallery: Indices into the protocol's records, int64 ``[g]``.
    """

    query: NDArray[np.int64]
    gallery: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Protocol:
    """A test protocol on one data set.

    Every image is listed once, so that its feature is extracted once whatever the number of
    trials; a trial is two lists of indices into that list.

    Attributes:
        name: Data set and setting, such as ``SYSU-MM01 all-search single-shot``.
        direction: ``query to gallery``, such as ``infrared to visible``.
        convention: How the galleries were drawn; results of different conventions are not
            comparable.
        cmc: Whether CMC counts identities or images (see :mod:`vireid.evaluation.metrics`).
        records: All images of the protocol, each once.
        trials: The draws.
        excluded_cameras: Pairs (query camera, gallery camera) never compared.
        excludes_own_camera: Whether the query's own identity, seen by the query's own camera, is
            removed from its list. (An image is never in its own list.)
        junk: Number of images left out because they are junk.
        identities: Identity of each record, int64 ``[records]``; each distractor has its own.
        cameras: Camera of each record, int64 ``[records]``; 0 if unknown.
    """

    name: str
    direction: str
    convention: str
    cmc: Literal["identity", "image"]
    records: tuple[ImageRecord, ...]
    trials: tuple[Trial, ...]
    excluded_cameras: tuple[tuple[int, int], ...] = ()
    excludes_own_camera: bool = False
    junk: int = 0
    identities: NDArray[np.int64] = field(init=False, repr=False)
    cameras: NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        free = count(min((record.identity for record in self.records), default=0) - 1, -1)
        for name, numbers in (
            (
                "identities",
                [next(free) if r.role == "distractor" else r.identity for r in self.records],
            ),
            ("cameras", [record.camera for record in self.records]),
        ):
            object.__setattr__(self, name, np.array(numbers, dtype=np.int64))

    @property
    def distractors(self) -> int:
        """Number of distractors."""
        return sum(record.role == "distractor" for record in self.records)

    @classmethod
    def of(
        cls,
        draws: Sequence[tuple[Sequence[ImageRecord], Sequence[ImageRecord]]],
        *,
        name: str,
        direction: str,
        convention: str,
        cmc: Literal["identity", "image"],
        excluded_cameras: tuple[tuple[int, int], ...] = (),
        excludes_own_camera: bool = False,
    ) -> Self:
        """The protocol with these draws, each (query, gallery), without junk; records are sorted.

        Raises:
            EvaluationError: The query's own camera is to be excluded, but the camera of no query or
                of no gallery image is known.
        """
        everyone = {record for draw in draws for side in draw for record in side}
        records = tuple(sorted(record for record in everyone if record.role != "junk"))
        number = {record: i for i, record in enumerate(records)}
        if excludes_own_camera:
            for side, role in enumerate(("queries", "gallery images")):
                _require_cameras({r for draw in draws for r in draw[side]} & number.keys(), role)

        def indices(side: Sequence[ImageRecord]) -> NDArray[np.int64]:
            return np.array(sorted(number[r] for r in side if r in number), dtype=np.int64)

        return cls(
            name=name,
            direction=direction,
            convention=convention,
            cmc=cmc,
            records=records,
            trials=tuple(Trial(indices(query), indices(gallery)) for query, gallery in draws),
            excluded_cameras=excluded_cameras,
            excludes_own_camera=excludes_own_camera,
            junk=len(everyone) - len(records),
        )

    def excluded(
        self, query: NDArray[np.int64], gallery: NDArray[np.int64]
    ) -> NDArray[np.bool_] | None:
        """Which images are removed from which query's list.

        Args:
            query: Indices into the records, ``[q]``.
            gallery: Indices into the records, ``[g]``.

        Returns:
            Bool ``[q, g]``, or None where the protocol removes nothing.
        """
        itself = bool(np.isin(query, gallery).any())
        if not (self.excluded_cameras or self.excludes_own_camera or itself):
            return None
        query_cameras, gallery_cameras = self.cameras[query][:, None], self.cameras[gallery]
        mask = np.zeros((len(query), len(gallery)), dtype=np.bool_)
        if itself:
            mask |= query[:, None] == gallery
        for first, second in self.excluded_cameras:
            mask |= (query_cameras == first) & (gallery_cameras == second)
        if self.excludes_own_camera:
            same = self.identities[query][:, None] == self.identities[gallery]
            # An unknown camera (0) is no camera: it excludes nothing.
            mask |= same & (query_cameras == gallery_cameras) & (gallery_cameras != 0)
        return mask


def with_roles(
    *sides: Sequence[ImageRecord],
    junk: Sequence[int | str],
    distractors: Sequence[int | str],
) -> list[list[ImageRecord]]:
    """Mark the images of some identities as junk or distractors, and print how many there are.

    Warns of negative identities that have neither role.

    Args:
        sides: Queries and gallery.
        junk: Identities whose images are junk, as in the data set.
        distractors: Identities whose images are distractors.

    Returns:
        The sides.

    Raises:
        ConfigError: An identity is to be both.
    """
    roles: dict[str, Role] = {_plain(identity): "junk" for identity in junk}
    if both := [identity for identity in map(_plain, distractors) if identity in roles]:
        raise ConfigError(
            f"--junk and --distractor both have the identity '{both[0]}'; expected it in one of "
            "them: remove it from the other."
        )
    roles |= dict.fromkeys(map(_plain, distractors), "distractor")

    def name(record: ImageRecord) -> str:
        return _plain(record.identity_name)

    everyone = {record for side in sides for record in side}
    images = Counter(name(record) for record in everyone if record.role == "person")
    for identity, role in roles.items():
        rule = "ignored" if role == "junk" else "kept in the gallery, where they match no query"
        log(f"--{role} {identity}: {many(images[identity], 'image is', 'images are')} {rule}.")
    if negative := sorted(n for n in images.keys() - roles.keys() if re.fullmatch("-[0-9]+", n)):
        identities = first_few(negative)
        some = many(
            sum(images[n] for n in negative),
            f"image has the negative identity {identities} and counts as a person",
            f"images have the negative identity {identities} and count as people",
        )
        log(
            f"{some}; in the naming of Market-1501, -1 is junk and 0 a distractor"
            " (`vireid evaluate` and `vireid score`: --junk -1 --distractor 0)."
        )
    return [
        [replace(record, role=roles.get(name(record), record.role)) for record in side]
        for side in sides
    ]


def convention_as_given(
    records: Iterable[ImageRecord], *, excludes_own_camera: bool = False
) -> str:
    """The convention of a protocol whose queries and gallery are not drawn, with its rules."""
    roles = {record.role for record in records}
    rules = {
        "own camera excluded": excludes_own_camera,
        "junk ignored": "junk" in roles,
        "distractors kept": "distractor" in roles,
    }
    used = (rule for rule, is_used in rules.items() if is_used)
    return ", ".join(["query and gallery as given", *used])


def _plain(identity: int | str) -> str:
    """An identity as text, an integer without leading zeros."""
    text = str(identity)
    return str(int(text)) if re.fullmatch("-?[0-9]+", text) else text


def _require_cameras(images: Collection[ImageRecord], what: str) -> None:
    """Refuse images of which no camera is known; print how many are unknown."""
    unknown = sum(record.camera == 0 for record in images)
    if unknown and unknown == len(images):
        raise EvaluationError(
            f"the query's own camera is excluded, but the camera of each of the {unknown:,} "
            f"{what} is unknown; give it in the manifest's column 'camera', as {{camera}} in "
            "the pattern, or in the array 'cameras' of the .npz file, or remove "
            "--exclude-own-camera or --gallery-modality"
        )
    if unknown:
        log(
            f"The camera of {unknown:,} of {len(images):,} {what} is unknown: as the query's own "
            "camera, it excludes nothing there."
        )
