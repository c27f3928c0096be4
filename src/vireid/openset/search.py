"""A whole search: the hits, what is nearly the same among them, and a verdict where there can be.

found = look_for(gallery, features, views)
print(found.verdict or found.remark, [hits[0].info.name for hits in found.groups])
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vireid.errors import ConfigError
from vireid.gallery.entry import EVERYTHING, Filters, Hit
from vireid.gallery.gallery import Gallery
from vireid.gallery.near_duplicates import fuse, group
from vireid.openset.calibration import Answer, Calibration, PairVerdict, Verdict
from vireid.openset.statistics import CameraView
from vireid.types import Modality

__all__ = ["SearchResult", "search_gallery"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """What a search found.

    Attributes:
        hits: The entries most similar to the query, best first.
        groups: The same hits; those that are nearly the same, best first, are one group.
        considered: Among how many entries was searched.
        left_out: How many others match the filters and were passed over as asked.
        verdict: Whether the person is there; None where that cannot be said.
        verdicts: Of each hit whether it shows the person, in the order of the hits; empty where
            there is no verdict.
        remark: Why there is no verdict, or what to think of it; may be empty.
    """

    hits: tuple[Hit, ...]
    groups: tuple[tuple[Hit, ...], ...]
    considered: int
    left_out: int
    verdict: Verdict | None
    verdicts: tuple[PairVerdict, ...]
    remark: str


def search_gallery(
    gallery: Gallery,
    features: NDArray[np.float32],
    views: Sequence[CameraView],
    *,
    filters: Filters = EVERYTHING,
    limit: int = 20,
    leave_out: Collection[str] = (),
    exact: bool | None = None,
) -> SearchResult:
    """Search for the person whom some images show.

    Args:
        gallery: The gallery.
        features: Unit features of the images, float32 ``[q, d]``, q at least 1.
        views: Where each image comes from.
        filters: Which entries are considered.
        limit: At most so many hits.
        leave_out: Ids of entries that are passed over, such as the images searched with.
        exact: As :meth:`~vireid.gallery.Gallery.search` takes it.

    Raises:
        GalleryError: The images cannot be one query, the gallery's calibration is damaged or of
            another network, or as :meth:`~vireid.gallery.Gallery.search` says.
        ConfigError: ``limit`` is below 1.
    """
    if limit < 1:
        raise ConfigError(f"The limit of a search is {limit}; expected 1 or more.")
    out = tuple(set(leave_out).intersection(filters.ids or leave_out))
    [found] = gallery.search(
        fuse(features)[None], filters=filters, limit=limit + len(out), exact=exact
    )
    hits = tuple(hit for hit in found if hit.info.id not in out)[:limit]
    images = _images(gallery, filters)
    passed = _images(gallery, replace(filters, ids=out)) if out else {}
    for modality, number in passed.items():
        images[modality] -= number
    # Somebody else may have forgotten entries since they were found.
    listed = Counter(hit.info.modality for hit in hits)
    images = {modality: max(number, listed[modality]) for modality, number in images.items()}
    answer, remark = _judge(gallery, hits, views, filters, images)
    return SearchResult(
        hits=hits,
        groups=_grouped(gallery, hits),
        considered=sum(images.values()),
        left_out=sum(passed.values()),
        verdict=answer.verdict if answer else None,
        verdicts=answer.hits if answer else (),
        remark=remark,
    )


def _images(gallery: Gallery, filters: Filters) -> dict[Modality, int]:
    """How many entries of each modality there are."""
    counts = gallery.values("modality", filters)
    return {modality: counts.get(modality, 0) for modality in Modality}


def _grouped(gallery: Gallery, hits: Sequence[Hit]) -> tuple[tuple[Hit, ...], ...]:
    if not hits:
        return ()
    rows = gallery.rows(Filters(ids=tuple(hit.info.id for hit in hits)), thumbnails=False)
    return tuple(map(tuple, group(hits, {row.info.id: row.feature for row in rows})))


def _judge(
    gallery: Gallery,
    hits: Sequence[Hit],
    views: Sequence[CameraView],
    filters: Filters,
    images: Mapping[Modality, int],
) -> tuple[Answer | None, str]:
    """The verdicts on a search, and why there are none or what to think of them."""
    if not any(images.values()):
        return None, ""
    text = gallery.calibration
    if not text:
        return None, "No verdict: this gallery is not calibrated."
    if len(views) > 1:
        return None, "No verdict: the calibration is of searches with one image."
    calibration = Calibration.from_json(text, fingerprint=gallery.model.fingerprint)
    identities = gallery.values("identity", filters)
    people = None if "" in identities else len(identities)
    answer = calibration.answer(hits, query=views[0], images=images, people=people)
    if answer is None:
        return None, "No verdict: the calibration does not know these modalities."
    return answer, answer.note
