"""Comparing entries that have just arrived with the saved searches of their gallery."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vireid.gallery.filters import Hit
from vireid.gallery.gallery import Gallery
from vireid.gallery.saved import SavedSearch
from vireid.openset.calibration import PairVerdict
from vireid.openset.search import most_people, parse_calibration
from vireid.openset.statistics import CameraView
from vireid.types import ImageInfo, IndexedImage, Modality

__all__ = ["Match", "match_arrivals"]


@dataclass(frozen=True, slots=True)
class Match:
    """An arrival that a saved search finds.

    Attributes:
        search: The search.
        entry: The best entry of the tracklet, or the entry.
        score: Its score.
        reason: The verdict, or the threshold that the score reaches.
    """

    search: SavedSearch
    entry: ImageInfo
    score: float
    reason: str


def match_arrivals(gallery: Gallery, rows: Sequence[IndexedImage]) -> tuple[list[Match], list[str]]:
    """Compare new entries with every saved search.

    An entry matches if its score reaches the threshold of the search; without one, if a search of
    the whole gallery would call it likely the same person by the gallery's calibration.

    Args:
        gallery: The gallery, which holds the entries.
        rows: The new entries with their features.

    Returns:
        At most one match for each search and tracklet, and why searches cannot be decided.
    """
    matches, remarks = list[Match](), list[str]()
    for search in gallery.searches:
        feature = search.feature
        hits = sorted(
            (
                Hit(row.info, min(1.0, max(-1.0, float(row.feature @ feature))))
                for row in rows
                if row.info.id not in search.ids and search.filters.match(row.info)
            ),
            key=lambda hit: -hit.score,
        )
        if search.threshold is None:
            found = []
            for modality in Modality:
                own = [hit for hit in hits if hit.info.modality is modality]
                if own:
                    likely, remark = _likely(gallery, search, own, modality)
                    found += likely
                    remarks += [remark] if remark else []
            reason = str(PairVerdict.SAME)
        else:
            found = [hit for hit in hits if hit.score >= search.threshold]
            reason = f"score of at least {search.threshold:g}"
        best: dict[str, Hit] = {}
        for hit in sorted(found, key=lambda hit: -hit.score):
            best.setdefault(hit.info.tracklet_key or hit.info.id, hit)
        matches += [Match(search, hit.info, hit.score, reason) for hit in best.values()]
    return matches, remarks


def _likely(
    gallery: Gallery, search: SavedSearch, hits: Sequence[Hit], modality: Modality
) -> tuple[list[Hit], str]:
    """Those of a modality's arrivals that are likely the person, or why that is not decided."""
    undecided = f"The saved search '{search.name}' cannot be decided for {modality} arrivals:"
    fix = "run `vireid gallery calibrate`, or `vireid gallery save-search` with a threshold."
    if not (text := gallery.calibration) or search.modality is None:
        return [], f"{undecided} the gallery is not calibrated; {fix}"
    filters = replace(search.filters, modality=modality)
    answer = parse_calibration(text, gallery.model.fingerprint).answer(
        hits,
        query=CameraView(search.modality, search.camera),
        # Another process may have deleted entries since they were added.
        images={modality: max(gallery.count(filters), len(hits))},
        people=most_people(gallery, hits, filters),
    )
    if answer is None:
        return [], f"{undecided} these modalities are not calibrated; {fix}"
    pairs = zip(hits, answer.hits, strict=True)
    return [hit for hit, verdict in pairs if verdict is PairVerdict.SAME], ""
