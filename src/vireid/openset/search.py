"""A search of a gallery: hits, near-duplicates among them, and a verdict if it is calibrated.

    result = search_gallery(gallery, features, views)
    print(result.verdict or result.remark, [hits[0].info.name for hits in result.groups])

On a server this is one nearest-neighbour request and one count by modality, and with a calibration
one more count by identity.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vireid.errors import ConfigError
from vireid.gallery.filters import EVERYTHING, Filters, Hit
from vireid.gallery.gallery import Gallery
from vireid.gallery.near_duplicates import group_near_duplicates, mean_feature
from vireid.gallery.no_match import missing_field, unknown_value
from vireid.openset.calibration import Answer, Calibration, PairVerdict, Verdict
from vireid.openset.statistics import CameraView
from vireid.types import Modality

__all__ = ["SearchResult", "search_gallery"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """The result of a search.

    Attributes:
        hits: The entries most similar to the query, best first.
        groups: The same hits, with near-duplicates in one group; each group best first.
        considered: Number of entries searched.
        left_out: Number of other entries that match the filters but were left out as requested.
        verdict: Whether the person is in the gallery; None where this cannot be decided.
        verdicts: On each hit whether it shows the person, in the order of the hits; empty without
            a verdict.
        remark: Why there is no verdict, or a note on it; may be empty.
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
    """Search for the person in one or several images.

    Args:
        gallery: The gallery.
        features: Unit features of the images, float32 ``[q, d]``, q at least 1.
        views: View of each image.
        filters: The entries searched.
        limit: Maximum number of hits.
        leave_out: Ids of entries to leave out, such as the query images themselves.
        exact: As in :meth:`~vireid.gallery.Gallery.search`.

    Raises:
        GalleryError: The features cannot be averaged, the gallery's calibration is damaged or of
            another network, or as in :meth:`~vireid.gallery.Gallery.search`.
        ConfigError: ``limit`` is below 1.
    """
    if limit < 1:
        raise ConfigError(f"The limit of a search is {limit}; expected 1 or more.")
    left_out = tuple(set(leave_out).intersection(filters.ids or leave_out))
    searched = replace(filters, without_ids=(*filters.without_ids, *left_out))
    # The same request counts the entries that are left out: as the hits of a second query.
    by_query = [searched, replace(filters, ids=left_out)] if left_out else [searched]
    found, *excluded = gallery.search(
        mean_feature(features)[None].repeat(len(by_query), axis=0),
        filters=by_query,
        limit=max(limit, len(left_out)),
        exact=exact,
        with_features=True,
    )
    hits = tuple(found[:limit])
    counts = gallery.count_by("modality", searched)
    # Another process may have deleted entries since they were found.
    listed = Counter(hit.info.modality for hit in hits)
    images = {m: max(counts.get(m, 0), listed[m]) for m in Modality}
    answer, remark = _judge(gallery, hits, views, filters, images)
    return SearchResult(
        hits=hits,
        groups=tuple(map(tuple, group_near_duplicates(hits))),
        considered=sum(images.values()),
        left_out=sum(map(len, excluded)),
        verdict=answer.verdict if answer else None,
        verdicts=answer.hits if answer else (),
        remark=remark,
    )


def _judge(
    gallery: Gallery,
    hits: Sequence[Hit],
    views: Sequence[CameraView],
    filters: Filters,
    images: Mapping[Modality, int],
) -> tuple[Answer | None, str]:
    """The verdicts on a search, and why there are none or a note on them."""
    if not any(images.values()):
        return None, missing_field(gallery, filters) or unknown_value(gallery, filters)
    text = gallery.calibration
    if not text:
        return None, "No verdict: this gallery is not calibrated."
    if len(views) > 1:
        return None, "No verdict: the calibration is for searches with one image."
    calibration = _parse(text, gallery.model.fingerprint)
    identities = gallery.count_by("identity", filters)
    people = None if "" in identities else len(identities)
    answer = calibration.answer(hits, query=views[0], images=images, people=people)
    if answer is None:
        return None, "No verdict: these modalities are not calibrated."
    return answer, answer.note


@lru_cache(maxsize=4)
def _parse(text: str, fingerprint: str) -> Calibration:
    """A calibration, parsed once for all searches."""
    return Calibration.from_json(text, fingerprint=fingerprint)
