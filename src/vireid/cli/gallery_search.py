"""``vireid gallery search``: who in a gallery is most similar to the person in some images."""

from __future__ import annotations

import contextlib
import getpass
import json as plain
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import tyro

from vireid.cli._flags import Switch
from vireid.cli._images import load_for_gallery, print_converted
from vireid.cli.entries import EntryFilters
from vireid.cli.gallery_case import Decisions, case_state
from vireid.cli.serve import Logging, QueryLogging
from vireid.data.images import open_image, read_image
from vireid.data.listing import list_images
from vireid.data.tone_mapping import ToneMapping
from vireid.errors import ConfigError, first_few, many
from vireid.evaluation.markdown import markdown_table
from vireid.files import write_atomic
from vireid.gallery import EVERYTHING, Filters, Gallery, Hit, open_gallery
from vireid.gallery.no_match import missing_field, unknown_value
from vireid.log import echo, log, printable
from vireid.openset.record import search_record
from vireid.openset.search import Reranking, SearchResult, search_gallery
from vireid.openset.statistics import CameraView
from vireid.times import format_time
from vireid.types import Device, ImageInfo, IndexedImage, Modality
from vireid.video.scenes import (
    NoDetector,
    default_detector,
    describe_people,
    has_shape_of_crop,
)

if TYPE_CHECKING:
    from vireid.features import FeatureExtractor

__all__ = ["Query", "search"]

_LOGGING = QueryLogging()
_DECISIONS = Decisions()
_REMARKS = 3
"""Remarks on query images that are printed."""


@dataclass(frozen=True, kw_only=True)
class Query:
    """The query images."""

    query_modality: Literal["visible", "infrared"] | None = None
    """Modality of the query images; detected from each image by default: infrared if it has no
    colour."""
    query_camera: str = ""
    """Camera of the query images, by its name in the gallery; selects the calibration's thresholds
    for that camera."""
    query_tracklet: str = ""
    """Instead of images, search with the gallery's entries of this tracklet (of --query-camera)."""
    device: Device | None = None
    """Device; the one used for training by default."""

    def listed(self, images: Sequence[str]) -> list[ImageInfo]:
        """List the query images; none if the query is a tracklet.

        Raises:
            VireidError: As :func:`~vireid.data.listing.list_images`, or both are given.
        """
        if not self.query_tracklet:
            modality = Modality(self.query_modality) if self.query_modality else None
            return list_images(images, modality=modality, camera=self.query_camera)
        if self.query_modality:
            raise ConfigError(
                f"--query-modality {self.query_modality} is for images, and --query-tracklet"
                f" '{self.query_tracklet}' has the modality of its entries; leave out one of them."
            )
        if images:
            raise ConfigError(
                f"--query-tracklet '{self.query_tracklet}' is given with"
                f" {many(len(images), 'image')}; expected one or the other; leave out the images."
            )
        return []

    def rows(
        self, gallery: Gallery, extractor: FeatureExtractor, listed: Sequence[ImageInfo]
    ) -> tuple[list[IndexedImage], Counter[str]]:
        """The query images with their features, and how they were converted."""
        # Imported here because torch takes seconds, and other gallery commands do without.
        from vireid.features import extract_from_files

        batches = list(extract_from_files(extractor, listed)) if listed else []
        rows = [image for batch in batches for image in batch.images]
        remarks = Counter(remark for batch in batches for remark in batch.remarks)
        return rows or _tracklet(gallery, self), remarks


def search(
    gallery: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="GALLERY")],
    images: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE...")
    ] = (),
    /,
    *,
    run: Path | None = None,
    query: Query = Query(),
    filters: EntryFilters = EVERYTHING,
    both_modalities: Switch = False,
    limit: int = 20,
    each: Switch = False,
    exact: Switch = False,
    rerank: Switch = False,
    json: Switch = False,
    report: Path | None = None,
    decisions: Decisions = _DECISIONS,
    logging: QueryLogging = _LOGGING,
) -> SearchResult:
    """Search a gallery for the person shown in one or more images.

    All query images must show the same person, and nobody else: the command says how many people an
    image seems to show that does not have the shape of a crop. Where the gallery has entries of
    both modalities, those of the query's own are left out unless --modality selects them or
    --both-modalities is given. Images of one tracklet, and near-duplicates, such as consecutive
    frames of one camera, share a line. A calibrated gallery adds a verdict to each result.

    Args:
        gallery: A folder, or http(s)://HOST:PORT/COLLECTION of a Qdrant server.
        images: Images of one person, as for `vireid encode`.
        run: Run folder or name of the gallery's model; may be omitted if it is an installed model.
        query: Options for the query images.
        filters: Filters; all entries by default.
        both_modalities: Search entries of the query's own modality too.
        limit: Maximum number of results; a tracklet is one.
        each: List every image; do not group tracklets and near-duplicates.
        exact: Exact search; very large galleries otherwise use a faster approximate index.
        rerank: Re-rank the 200 best entries by k-reciprocal neighbours, with the gallery's own
            images of the query's modality in the place of other queries; prints its cost.
        json: Print JSON with entry ids instead of a table.
        report: Also write a report, by its ending .html (self-contained, with a timeline), .csv or
            .json: query, results, times, cameras, scores, verdicts, model, and who asked. The audit
            log records it.
        decisions: Decisions on results, kept in a case.
        logging: The audit log of reports and cases.

    Returns:
        The results.
    """
    if report:
        from vireid.reports.case import check_ending

        check_ending(report.suffix.lower())
    decisions.check()
    if filters.modality and both_modalities:
        raise ConfigError(
            f"--modality {filters.modality} leaves out the modality that --both-modalities adds;"
            " expected one of them; leave out the other."
        )
    if each and json:
        raise ConfigError("--each is for the table; expected no --json, which lists every image.")
    if logging.audit and not (report or decisions.case):
        raise ConfigError("--audit is for reports and cases; expected --report or --case with it.")
    if logging.audit_images and not report:
        raise ConfigError("--audit-images is for reports; expected --report with it.")
    listed = query.listed(images)
    extractor = load_for_gallery(run, gallery, device=query.device)
    with open_gallery(
        gallery, model=extractor.model_info, write=bool(decisions.case), turns=True
    ) as opened:
        case = opened.cases.find(decisions.case).id if decisions.case else ""
        rows, remarks = query.rows(opened, extractor, listed)
        _log_scenes(listed, extractor.tone_mapping)
        queries = [row.info for row in rows]
        found = search_gallery(
            opened,
            np.stack([row.feature for row in rows]),
            [CameraView.of_image(info) for info in queries],
            filters=filters,
            limit=limit,
            # A query image that is in the gallery would only find itself and its tracklet.
            leave_out={info.id for info in queries},
            both_modalities=both_modalities,
            exact=exact or None,
            reranking=Reranking() if rerank else None,
        )
        if not found.considered and (problem := missing_field(opened, filters)):
            raise ConfigError(problem)
        # Printed first, in case the disk is full, and kept even if the reader stops reading.
        try:
            if json:
                echo(plain.dumps(search_record(queries, found), indent=2))
            else:
                print_converted(remarks)
                echo(_as_text(queries, found, each=limit if each else 0, ids=bool(case)))
        finally:
            kept = decisions.keep(opened, case, queries, found, logging) if case else None
            if report:
                _write_report(report, opened, rows, found, filters=filters, logging=logging)
    if kept and not json:
        echo(case_state(kept))
    if report:
        echo(f"The report is '{report}'.")
    return found


def _log_scenes(images: Sequence[ImageInfo], tone_mapping: ToneMapping) -> None:
    """Say which query images do not seem to show one person; crops are known by their shape."""
    scenes: list[ImageInfo] = []
    for info in images:
        if info.path.parent.suffix != ".npy":  # rows of arrays are crops
            with open_image(info.path) as image:
                scenes += [] if has_shape_of_crop(*image.size) else [info]
    detector = default_detector() if scenes else NoDetector("")
    remarks = []
    for info in scenes:
        image = read_image(info.path, tone_mapping.of(info.camera))
        remarks.append(describe_people(info.name, image, detector))
    remarks = [remark for remark in remarks if remark]
    for remark in remarks[:_REMARKS]:
        log(printable(remark))
    if remarks:
        more = len(remarks) - _REMARKS
        log(
            f"{f'The same holds for {more:,} more. ' if more > 0 else ''}To search with one of the"
            " people, cut them out by `vireid detect IMAGE --camera NAME --out FOLDER`."
        )


def _write_report(
    out: Path,
    gallery: Gallery,
    queries: Sequence[IndexedImage],
    found: SearchResult,
    *,
    filters: Filters,
    logging: Logging,
) -> None:
    """Write the report of a search once the audit log has recorded it."""
    # A slow import that few need.
    from vireid.reports.case import Search, render_report, search_report

    search = Search(
        gallery=gallery,
        name=gallery.location,
        user=getpass.getuser(),
        asked=datetime.now(UTC).replace(microsecond=0),
        filters=filters,
        queries=queries,
        found=found,
    )
    page = render_report(search_report(search), out.suffix.lower())
    details = {
        "file": str(out),
        "queries": [row.info.sha256 for row in queries],
        "results": len(found.groups),
    }
    with contextlib.closing(logging.open(gallery.location)) as audit:
        thumbnails = [row.thumbnail for row in queries]
        audit.write(search.user, "report", details, thumbnails=thumbnails)
    write_atomic(out, page)


def _tracklet(gallery: Gallery, query: Query) -> list[IndexedImage]:
    """The entries of the tracklet that is the query."""
    cameras = (query.query_camera,) if query.query_camera else ()
    filters = Filters(tracklets=(query.query_tracklet,), cameras=cameras)
    rows = list(gallery.rows(filters, thumbnails=False))
    if not rows:
        reason = missing_field(gallery, filters) or unknown_value(gallery, filters)
        raise ConfigError(f"--query-tracklet '{query.query_tracklet}' has no entry. {reason}")
    seen = sorted({row.info.camera for row in rows})
    if len(seen) > 1:
        raise ConfigError(
            f"--query-tracklet '{query.query_tracklet}' is a tracklet of each of the cameras"
            f" {first_few(seen)}; expected one; add --query-camera."
        )
    return rows


def _as_text(
    queries: Sequence[ImageInfo], found: SearchResult, *, each: int, ids: bool = False
) -> str:
    """The results in words and a table: groups, or the best ``each`` images; on request ids."""
    lines = [
        f"Searched with {_query_text(queries)} among {many(found.considered, 'entry', 'entries')}."
    ]
    if found.own_modality:
        entries = many(found.own_modality, "entry", "entries")
        lines.append(
            f"Left out, being of the query's own modality: {entries}; --both-modalities searches"
            " them too."
        )
    if found.left_out:
        entries = many(found.left_out, "entry", "entries")
        lines.append(f"Excluded as query images or of their tracklets: {entries}.")
    if found.reranking:
        lines.append(found.reranking)
    if found.verdict:
        lines.append(f"Verdict: {found.verdict}.")
    if found.remark:
        lines.append(found.remark)
    if found.hits:
        groups = [(hit,) for hit in found.hits[:each]] if each else found.groups
        table = _table(groups, found, ids=ids)
        lines += ["", markdown_table(table, left=len(table[0]))]
        if "mean" in table[0]:
            lines += ["", "mean: the score of the mean feature of a tracklet."]
        if "alike" in table[0]:
            lines += ["", "alike: further images of the tracklet or near-duplicates (--each)."]
    else:
        lines.append("No entries match the filters.")
    return "\n".join(lines)


def _query_text(queries: Sequence[ImageInfo]) -> str:
    """The query in words."""
    kinds = Counter(info.modality for info in queries)
    guessed = sum(info.guessed for info in queries)
    light = " and ".join(
        str(modality) if len(kinds) == 1 else f"{number} {modality}"
        for modality, number in sorted(kinds.items())
    )
    what = f"'{queries[0].name}'" if len(queries) == 1 else f"{len(queries):,} images of one person"
    return f"{what} ({light}{', detected from the colours' if guessed else ''})"


def _table(groups: Sequence[Sequence[Hit]], found: SearchResult, *, ids: bool) -> list[list[str]]:
    """A line a group, by its best hit; columns that say nothing are left out."""
    verdicts = found.verdict_by_id
    means = {
        group[0].info.id: f"{mean:.3f}"
        for group, mean in zip(found.groups, found.mean_scores, strict=True)
        if mean is not None and len(group) > 1
    }
    lines = [
        {
            "rank": str(rank),
            "score": f"{best.score:.3f}",
            "mean": means.get(best.info.id, "") if groups is found.groups else "",
            "verdict": str(verdicts.get(best.info.id, "")),
            "camera": printable(best.info.camera),
            "time (UTC)": format_time(best.info.time, sep=" ") if best.info.time else "",
            "modality": str(best.info.modality),
            "identity": printable(best.info.identity),
            "tracklet": printable(best.info.tracklet),
            "alike": f"+ {len(others)}" if others else "",
            "image": printable(str(best.info.path)),
            "id": best.info.id if ids else "",
        }
        for rank, (best, *others) in enumerate(groups, 1)
    ]
    columns = [name for name in lines[0] if any(line[name] for line in lines)]
    return [columns, *([line[name] for name in columns] for line in lines)]
