"""Who is searched for among whom: the published test protocols as plain data.

A :class:`Protocol` lists every image it needs once, so that each is encoded once however many
trials there are; a trial is two lists of indices into that list. Adding a protocol is adding a
function that returns one.

SYSU-MM01, all-search single-shot (Wu et al., ICCV 2017): queries are all test images of the
infrared cameras 3 and 6; the gallery of a trial holds one image of each identity and visible
camera (1, 2, 4, 5), drawn by the official ``exp/rand_perm_cam.mat``, ten trials. Cameras 2 and 3
stand in the same room, so a query of camera 3 never sees the images of camera 2. CMC by identity.

RegDB (Ye et al., AAAI 2018): all test images of one modality against all of the other, in both
directions; ten splits, each of which is a training of its own, so one layout is one trial. CMC by
image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vireid.data.layouts import Layout
from vireid.data.layouts.regdb import RegDB
from vireid.data.layouts.sysu_mm01 import Permutations, SysuMM01
from vireid.errors import EvaluationError
from vireid.types import ImageRecord, Modality

__all__ = ["Protocol", "Trial", "protocols_for", "regdb", "sysu_mm01"]

_SYSU_INFRARED = (3, 6)
_SYSU_VISIBLE = (1, 2, 4, 5)
_SYSU_SAME_ROOM = ((3, 2),)
_SYSU_TRIALS = 10


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """One draw of queries and gallery.

    Attributes:
        query: Indices into the protocol's records, int64 ``[q]``.
        gallery: Indices into the protocol's records, int64 ``[g]``.
    """

    query: NDArray[np.int64]
    gallery: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Protocol:
    """A test protocol on one data set.

    Attributes:
        name: Data set and setting, such as ``SYSU-MM01 all-search single-shot``.
        direction: ``query to gallery``, such as ``infrared to visible``.
        convention: How the galleries were drawn; results of different conventions are not
            comparable.
        cmc: Whether CMC counts identities or images (see :mod:`vireid.evaluation.metrics`).
        records: Every image needed, each once.
        trials: The draws.
        excluded_cameras: Pairs (query camera, gallery camera) never compared.
    """

    name: str
    direction: str
    convention: str
    cmc: Literal["identity", "image"]
    records: tuple[ImageRecord, ...]
    trials: tuple[Trial, ...]
    excluded_cameras: tuple[tuple[int, int], ...] = ()

    def excluded(
        self, query_cameras: NDArray[np.int64], gallery_cameras: NDArray[np.int64]
    ) -> NDArray[np.bool_] | None:
        """Which images are removed from which query's list.

        Args:
            query_cameras: ``[q]``.
            gallery_cameras: ``[g]``.

        Returns:
            Bool ``[q, g]``, or None where the protocol removes nothing.
        """
        if not self.excluded_cameras:
            return None
        mask = np.zeros((len(query_cameras), len(gallery_cameras)), dtype=np.bool_)
        for query, gallery in self.excluded_cameras:
            mask |= (query_cameras == query)[:, None] & (gallery_cameras == gallery)
        return mask


def protocols_for(layout: Layout) -> tuple[Protocol, ...]:
    """All protocols of a data set that this version knows.

    Raises:
        DatasetError: The data set is not laid out as published.
        EvaluationError: No protocol is known for this data set.
    """
    match layout:
        case SysuMM01():
            return (sysu_mm01(layout),)
        case RegDB():
            return regdb(layout)
    raise EvaluationError(
        f"no test protocol is known for '{layout.name}'; expected sysu-mm01 or regdb"
    )


def sysu_mm01(layout: SysuMM01) -> Protocol:
    """SYSU-MM01, all-search single-shot, on the official permutations.

    Raises:
        DatasetError: The data set is not laid out as published.
    """
    images: dict[tuple[int, int], list[ImageRecord]] = {}
    for record in layout.test():  # by camera, identity and name, which the permutations count on
        images.setdefault((record.camera, record.identity), []).append(record)
    permutations = layout.permutations()
    query = [r for (camera, _), found in images.items() if camera in _SYSU_INFRARED for r in found]
    trials = [
        (query, _sysu_gallery(images, permutations, trial=trial, shots=1))
        for trial in range(_SYSU_TRIALS)
    ]
    return _assemble(
        trials,
        name="SYSU-MM01 all-search single-shot",
        direction="infrared to visible",
        convention="official permutations (exp/rand_perm_cam.mat)",
        cmc="identity",
        excluded_cameras=_SYSU_SAME_ROOM,
    )


def regdb(layout: RegDB) -> tuple[Protocol, Protocol]:
    """RegDB in both directions, on the test half of the layout's trial."""
    test = layout.test()
    visible = [r for r in test if r.modality is Modality.VISIBLE]
    thermal = [r for r in test if r.modality is Modality.INFRARED]

    def direction(query: list[ImageRecord], gallery: list[ImageRecord], direction: str) -> Protocol:
        return _assemble(
            [(query, gallery)],
            name=f"RegDB trial {layout.trial}",
            direction=direction,
            convention="published split, all test images",
            cmc="image",
        )

    return (
        direction(visible, thermal, "visible to thermal"),
        direction(thermal, visible, "thermal to visible"),
    )


def _sysu_gallery(
    images: Mapping[tuple[int, int], list[ImageRecord]],
    permutations: Permutations,
    *,
    trial: int,
    shots: int,
) -> list[ImageRecord]:
    """The first ``shots`` entries of row ``trial`` of every visible camera and identity."""
    return [
        found[entry - 1]
        for (camera, identity), found in images.items()
        if camera in _SYSU_VISIBLE
        for entry in permutations.of(camera, identity)[trial, :shots].tolist()
    ]


def _assemble(
    draws: Sequence[tuple[list[ImageRecord], list[ImageRecord]]],
    *,
    name: str,
    direction: str,
    convention: str,
    cmc: Literal["identity", "image"],
    excluded_cameras: tuple[tuple[int, int], ...] = (),
) -> Protocol:
    """Number the images of all draws once, in their sorted order."""
    records = tuple(sorted({record for draw in draws for side in draw for record in side}))
    number = {record: i for i, record in enumerate(records)}

    def indices(side: list[ImageRecord]) -> NDArray[np.int64]:
        return np.array(sorted(number[record] for record in side), dtype=np.int64)

    trials = tuple(Trial(indices(query), indices(gallery)) for query, gallery in draws)
    return Protocol(name, direction, convention, cmc, records, trials, excluded_cameras)
