"""A search of a gallery: tracklets and other hits, and a verdict if it is calibrated.

    result = search_gallery(gallery, features, views)
    print(result.verdict or result.remark, [hits[0].info.name for hits in result.groups])

On a server this is one nearest-neighbour request and one count by modality, and with a calibration
one more count by identity. Tracklets take one to three more requests, to complete the results, to
read the tracklets whole, and to count them.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from vireid.errors import ConfigError, many
from vireid.evaluation.reranking import KReciprocal, rerank_alone
from vireid.gallery.filters import EVERYTHING, Filters, Hit
from vireid.gallery.gallery import Gallery
from vireid.gallery.near_duplicates import group_near_duplicates, mean_feature
from vireid.gallery.no_match import missing_field, unknown_value
from vireid.openset.calibration import Answer, Calibration, PairVerdict, Verdict
from vireid.openset.statistics import CameraView
from vireid.types import Modality

__all__ = ["Reranking", "SearchResult", "most_people", "parse_calibration", "search_gallery"]

_MOST_BYTES = 2**30
"""Memory limit of re-ranking hits."""
_OPTIONS = KReciprocal(balanced=True)

_MOST = 64
"""Entries read at most to complete the results, as a multiple of their number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """The result of a search.

    Attributes:
        hits: The entries most similar to the query and all others of their tracklets, best first.
        groups: The same hits; a group is a tracklet, or near-duplicates. Groups are in the order of
            their best hits, and each is best first.
        mean_scores: Of each group that is a tracklet, the cosine of the query and the mean feature
            of its entries; None of other groups.
        considered: Number of entries searched.
        own_modality: Number of entries of the query's own modality that were left out because there
            are entries of the other.
        left_out: Number of other entries that match the filters but were left out as requested.
        verdict: Whether the person is in the gallery; None where this cannot be decided.
        verdicts: On each hit whether it shows the person, in the order of the hits; empty without
            a verdict.
        remark: Why there is no verdict, or a note on it; may be empty.
        reranking: How the hits were re-ranked, and its cost; empty if they were not.
    """

    hits: tuple[Hit, ...]
    groups: tuple[tuple[Hit, ...], ...]
    mean_scores: tuple[float | None, ...]
    considered: int
    own_modality: int
    left_out: int
    verdict: Verdict | None
    verdicts: tuple[PairVerdict, ...]
    remark: str
    reranking: str = ""

    @property
    def verdict_by_id(self) -> dict[str, PairVerdict]:
        """The verdict on each hit by the id of its entry; empty without a verdict."""
        return dict(zip((hit.info.id for hit in self.hits), self.verdicts, strict=False))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reranking:
    """K-reciprocal re-ranking of the best hits of a search, with the gallery's own images as bank.

    Attributes:
        hits: How many of the best hits are re-ranked, by default those of the first pages.
        bank: How many entries of the query's modality, the most similar ones, stand for other
            queries.
        options: Sizes of the neighbourhoods and lambda.
    """

    hits: int = 200
    bank: int = 200
    options: KReciprocal = _OPTIONS

    def apply(
        self,
        gallery: Gallery,
        query: NDArray[np.float32],
        found: Sequence[Hit],
        views: Sequence[CameraView],
        *,
        leave_out: Collection[str],
    ) -> tuple[tuple[Hit, ...], str]:
        """The hits with the scores of the re-ranking, best first, and a sentence on it.

        Args:
            gallery: The gallery.
            query: The unit feature of the query, float32 ``[d]``.
            found: The hits with their features, best first.
            views: The views of the query images.
            leave_out: Ids of entries that do not count as bank.
        """
        began = time.perf_counter()
        known = {hit.info.id for hit in found}
        (near,) = gallery.search(
            query[None],
            filters=Filters(modality=views[0].modality, without_ids=tuple(leave_out)),
            limit=self.bank,
            with_features=True,
        )
        bank = [hit for hit in near if hit.info.id not in known]
        rows = np.array([hit.feature for hit in bank], dtype=np.float32)
        similarity = rerank_alone(
            query[None],
            rows.reshape(len(bank), len(query)),
            np.stack([hit.feature for hit in found if hit.feature is not None]),
            self.options,
            memory_limit_bytes=_MOST_BYTES,
        )
        order = np.argsort(-similarity[0], kind="stable")
        text = (
            f"Re-ranked by {self.options}: {many(len(found), 'best entry', 'best entries')}, with"
            f" {many(len(bank), f'{views[0].modality} entry', f'{views[0].modality} entries')} as"
            " bank,"
            f" in {1000 * (time.perf_counter() - began):.0f} ms; scores are those of the"
            " re-ranking."
        )
        return tuple(replace(found[i], score=float(similarity[0, i])) for i in order), text


def search_gallery(
    gallery: Gallery,
    features: NDArray[np.float32],
    views: Sequence[CameraView],
    *,
    filters: Filters = EVERYTHING,
    limit: int = 20,
    leave_out: Collection[str] = (),
    both_modalities: bool = False,
    exact: bool | None = None,
    reranking: Reranking | None = None,
) -> SearchResult:
    """Search for the person in one or several images.

    Where both modalities match the filters, only the one that the images do not have is searched:
    entries of their own look more alike, whoever they show, and would hide the others.

    Args:
        gallery: The gallery.
        features: Unit features of the images, float32 ``[q, d]``, q at least 1.
        views: View of each image.
        filters: The entries searched.
        limit: Maximum number of hits, of which each tracklet counts as one.
        leave_out: Ids of entries to leave out with their tracklets, such as the query images.
        both_modalities: Search the images' own modality too.
        exact: As in :meth:`~vireid.gallery.Gallery.search`.
        reranking: Re-rank the hits; the calibration is not for re-ranked hits, so there is no
            verdict then.

    Raises:
        GalleryError: The features cannot be averaged, the gallery's calibration is damaged or of
            another network, or as in :meth:`~vireid.gallery.Gallery.search`.
        ConfigError: ``limit`` is below 1.
    """
    if limit < 1:
        raise ConfigError(f"The limit of a search is {limit}; expected 1 or more.")
    query = mean_feature(features)
    left_out = tuple(set(leave_out).intersection(filters.ids or leave_out))
    number = max(limit, reranking.hits) if reranking else limit
    while True:
        searched = replace(filters, without_ids=(*filters.without_ids, *left_out))
        # The same request counts the entries that are left out: as the hits of a second query.
        by_query = [searched, replace(filters, ids=left_out)] if left_out else [searched]
        found, *excluded = gallery.search(
            query[None].repeat(len(by_query), axis=0),
            filters=by_query,
            limit=max(number, len(left_out)),
            exact=exact,
            with_features=True,
        )
        own = [hit.info for hits in excluded for hit in hits]
        rows = gallery.tracklets(own, filters, features=False)
        if others := {row.info.id for row in rows}.difference(left_out):
            left_out += tuple(others)
            continue
        hits = tuple(found[:number])
        groups = group_near_duplicates(hits)
        tracked = any(hit.info.tracklet for hit in hits)
        if not tracked or len(groups) >= limit or not limit <= len(hits) == number < _MOST * limit:
            break
        number *= 4
    counts = gallery.count_by("modality", searched)
    own_modality, *mixed = {view.modality for view in views}
    if not (both_modalities or filters.modality or mixed) and all(map(counts.get, Modality)):
        crossed = search_gallery(
            gallery,
            features,
            views,
            filters=replace(filters, modality=own_modality.other),
            limit=limit,
            leave_out=leave_out,
            exact=exact,
            reranking=reranking,
        )
        return replace(crossed, own_modality=counts[own_modality])
    reranked = ""
    if reranking is None or not hits:
        groups, mean_scores = _whole(gallery, groups[:limit], query, searched)
    else:
        hits, reranked = reranking.apply(gallery, query, hits, views, leave_out=left_out)
        groups = group_near_duplicates(hits)[:limit]
        mean_scores = (None,) * len(groups)
    listed = tuple(sorted(chain(*groups), key=lambda hit: (-hit.score, hit.info.id)))
    # Another process may have deleted entries since they were found.
    there = Counter(
        hit.info.modality for hit in {hit.info.id: hit for hit in hits + listed}.values()
    )
    images = {m: max(counts.get(m, 0), there[m]) for m in Modality}
    if reranked:
        answer, remark = None, "No verdict: the calibration is for hits that are not re-ranked."
    else:
        answer, remark = _judge(gallery, hits, listed, views, filters, images)
    return SearchResult(
        hits=listed,
        groups=tuple(map(tuple, groups)),
        mean_scores=mean_scores,
        considered=sum(images.values()),
        own_modality=0,
        left_out=sum(map(len, excluded)),
        verdict=answer.verdict if answer else None,
        verdicts=answer.hits if answer else (),
        remark=remark,
        reranking=reranked,
    )


def _whole(
    gallery: Gallery,
    groups: Sequence[Sequence[Hit]],
    query: NDArray[np.float32],
    filters: Filters,
) -> tuple[list[list[Hit]], tuple[float | None, ...]]:
    """Groups with all entries of their tracklets, and the scores of the mean features."""
    hits = {hit.info.id: hit for group in groups for hit in group}
    members: dict[str, dict[str, Hit]] = {}
    sums: dict[str, NDArray[np.float32]] = {}
    best = (group[0].info for group in groups)
    for row in gallery.tracklets(best, filters):
        info, key = row.info, row.info.tracklet_key
        score = float(np.clip(row.feature @ query, -1, 1))
        members.setdefault(key, {})[info.id] = hits.get(info.id) or Hit(info, score)
        sums[key] = sums.get(key, 0) + row.feature
    whole, mean_scores = list[list[Hit]](), list[float | None]()
    for group in groups:
        key = group[0].info.tracklet_key
        own = members.get(key, {}) | {hit.info.id: hit for hit in group}
        whole.append(sorted(own.values(), key=lambda hit: (-hit.score, hit.info.id)))
        norm = np.linalg.norm(sums[key]) if key in sums else 0
        mean_scores.append(float(sums[key] @ query / norm) if norm else None)
    return whole, tuple(mean_scores)


def _judge(
    gallery: Gallery,
    hits: Sequence[Hit],
    listed: Sequence[Hit],
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
    calibration = parse_calibration(text, gallery.model.fingerprint)
    people = most_people(gallery, hits, filters)
    answer = calibration.answer(hits, query=views[0], images=images, people=people)
    each = calibration.answer(listed, query=views[0], images=images, people=people)
    if answer is None or each is None:
        return None, "No verdict: these modalities are not calibrated."
    return replace(answer, hits=each.hits), answer.note


def most_people(gallery: Gallery, hits: Sequence[Hit], filters: Filters) -> int | None:
    """The most people that the entries show: one in a tracklet; None is one in each entry."""
    bounds = []
    identities = gallery.count_by("identity", filters)
    if "" not in identities:
        bounds.append(len(identities))
    if any(hit.info.tracklet for hit in hits):
        tracklets = gallery.count_by("tracklet_key", filters)
        single = tracklets.pop("", 0)
        bounds.append(len(tracklets) + single)
    return min(bounds, default=None)


@lru_cache(maxsize=4)
def parse_calibration(text: str, fingerprint: str) -> Calibration:
    """A calibration, parsed once for all searches."""
    return Calibration.from_json(text, fingerprint=fingerprint)
