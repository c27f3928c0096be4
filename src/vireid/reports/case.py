"""The report of a search or of a case: a self-contained page with a timeline, CSV or JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from PIL import Image

import vireid
from vireid.data.sheet import Cell, contact_sheet
from vireid.errors import ConfigError, many
from vireid.gallery.cases import Case, CaseNote
from vireid.gallery.filters import Filters, Hit
from vireid.gallery.gallery import Gallery
from vireid.openset.record import case_record, search_record
from vireid.openset.search import SearchResult
from vireid.reports._page import PAGE, STYLE, footer
from vireid.reports.report import (
    EmbeddedFigure,
    FigureSection,
    Table,
    definitions_html,
    figures_html,
    section_html,
)
from vireid.reports.style import INK, heading, tidy
from vireid.times import format_time
from vireid.types import IndexedImage

__all__ = [
    "ENDINGS",
    "Report",
    "Search",
    "case_report",
    "check_ending",
    "render_report",
    "search_report",
    "timeline_figure",
]

ENDINGS = (".html", ".csv", ".json")
"""The forms of a report, by the ending of its file."""

MOST_SHOWN = 200
"""Results with an image and a mark on the timeline; the table lists all."""

_CELL = (90, 180)
_PER_ROW = 8
# Without the darkest and the palest, which dark and light pages hide; grey without a score.
_COLOURS = ListedColormap(mpl.colormaps["viridis"](np.linspace(0.3, 0.9, 64))).with_extremes(
    bad="#8a8a8a"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """A search to report.

    Attributes:
        gallery: The gallery that was searched.
        name: Its name or address.
        user: Who asked.
        asked: When.
        filters: The entries searched.
        queries: The query images.
        found: The results.
        paths: Whether to give the paths of files; otherwise only their names.
    """

    gallery: Gallery
    name: str
    user: str
    asked: datetime
    filters: Filters
    queries: Sequence[IndexedImage]
    found: SearchResult
    paths: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a report shows, of a search or a case.

    Attributes:
        title: The title.
        heading: What it reports: a search or a case.
        facts: What was asked, by whom and when; empty texts are left out.
        remark: A note on the results; may be empty.
        queries: Thumbnail, caption and name of each query image; one without a thumbnail is only
            named.
        explanation: How to read the results.
        groups: The results, best first; the score of a hit that no search found is NaN.
        thumbnail: Returns the thumbnail of an entry by its id.
        tables: The tables of results.
        notes: Notes.
        model: Description of the model.
        record: Everything as JSON values.
        rows: A row a hit, for CSV.
        columns: The names of their cells.
    """

    title: str
    heading: str
    facts: Mapping[str, str]
    remark: str
    queries: Sequence[tuple[bytes, str, str]]
    explanation: str
    groups: Sequence[Sequence[Hit]]
    thumbnail: Callable[[str], bytes]
    tables: Sequence[Table]
    notes: Sequence[CaseNote] = ()
    model: Mapping[str, str]
    record: Mapping[str, Any]
    rows: Sequence[Mapping[str, object]]
    columns: Sequence[str]


def check_ending(ending: str) -> None:
    """Refuse a report of another form.

    Raises:
        ConfigError: The ending is not one of ``ENDINGS``.
    """
    if ending not in ENDINGS:
        raise ConfigError(
            f"The report's name ends in '{ending}'; expected one of {', '.join(ENDINGS)}."
        )


def render_report(report: Report, ending: str) -> bytes:
    """Render a report.

    Args:
        report: The report.
        ending: One of ``ENDINGS``.

    Raises:
        ConfigError: The ending is another one.
        GalleryError: A thumbnail cannot be read.
    """
    check_ending(ending)
    if ending == ".html":
        return _page(report)
    if ending == ".json":
        return json.dumps(report.record, indent=2).encode()
    text = io.StringIO()
    writer = csv.DictWriter(text, report.columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _safe(value) for name, value in row.items()} for row in report.rows)
    return text.getvalue().encode("utf-8-sig")


def search_report(search: Search) -> Report:
    """The report of a search."""
    found = search.found
    record = search_record([q.info for q in search.queries], found, paths=search.paths)
    model = search.gallery.model
    filters = dict(_conditions(search.filters))
    asked = {
        "gallery": search.name,
        "network": model.fingerprint,
        "asked": format_time(search.asked),
        "asked_by": search.user,
    }
    facts = {
        "Gallery": search.name,
        "Network": model.fingerprint,
        "Asked by": search.user,
        "Asked": format_time(search.asked, sep=" "),
        "Filters": json.dumps(filters, ensure_ascii=False).strip("{}"),
        "Entries searched": f"{found.considered:,}",
        "Left out: own modality": f"{found.own_modality:,}" if found.own_modality else "",
        "Left out: of the query": f"{found.left_out:,}" if found.left_out else "",
        "Verdict": str(found.verdict or "none"),
    }
    verdicts = found.verdict_by_id
    lines = [
        _line(n, group, mean=_score(mean), verdict=str(verdicts.get(group[0].info.id, "")))
        for n, (group, mean) in enumerate(zip(found.groups, found.mean_scores, strict=True), 1)
    ]
    means = {group["rank"]: group["mean_score"] for group in record["groups"]}
    common = {
        **asked,
        "filters": json.dumps(filters),
        "query": "; ".join(query["path"] for query in record["query"]),
        "verdict_of_search": record["verdict"],
    }
    rows = [{**hit, "mean_score": means[hit["rank"]], **common} for hit in record["hits"]]
    about = {**asked, "filters": filters, "model": dict(model.about)}
    return Report(
        title=f"Search of '{search.name}'",
        heading="Search",
        facts=facts,
        remark=found.remark,
        queries=[(row.thumbnail, row.info.modality or "", row.info.name) for row in search.queries],
        explanation="Each result is a tracklet, an image, or near-duplicate images, by its best"
        " image.",
        groups=found.groups,
        thumbnail=search.gallery.thumbnail,
        tables=_tables("Results", lines),
        model=model.about,
        record={**about, "vireid": vireid.__version__, **record},
        rows=rows,
        columns=tuple(dict.fromkeys(name for row in rows or [common] for name in row)),
    )


def case_report(
    case: Case, gallery: Gallery, *, name: str, user: str, asked: datetime, paths: bool = True
) -> Report:
    """The report of a case, with what the gallery knows of its entries now.

    It shows no images of rejected hits, which are of other people.

    Args:
        case: The case.
        gallery: Its gallery.
        name: The name or address of the gallery.
        user: Who asked for the report.
        asked: When.
        paths: As in :class:`Search`.
    """
    infos, model = gallery.infos(case.image_ids), gallery.model
    record = case_record(case, infos, paths=paths)
    decided = {hit.id: hit for hit in case.hits}
    groups: dict[str, dict[str, list[Hit]]] = {"chosen": {}, "rejected": {}}
    for hit in case.hits:
        if hit.id in infos:
            info, score = infos[hit.id], math.nan if hit.score is None else hit.score
            own = groups[hit.decision].setdefault(info.tracklet_key or info.id, [])
            own.append(Hit(info, score))
    tables, ranked = list[Table](), dict[str, list[list[Hit]]]()
    for decision, found in groups.items():
        ranked[decision] = sorted(
            (sorted(group, key=_best_first) for group in found.values()),
            key=lambda group: _best_first(group[0]),
        )
        lines = []
        for n, group in enumerate(ranked[decision], 1):
            best = decided[group[0].info.id]
            line = _line(n, group, verdict=best.verdict)
            by = {"decided by": best.by, "decided (UTC)": format_time(best.time, sep=" ")}
            lines.append(line | by)
        tables += _tables(decision.capitalize(), lines)
    missing = len(case.entry_ids - infos.keys())
    asked_for = {
        "gallery": name,
        "network": model.fingerprint,
        "asked": format_time(asked),
        "asked_by": user,
    }
    facts = {
        "Gallery": name,
        "Case": case.id,
        "Opened by": case.opened_by,
        "Opened": format_time(case.opened, sep=" "),
        "Last changed": format_time(case.changed, sep=" "),
        "Network": model.fingerprint,
        "Reported for": user,
        "Reported": format_time(asked, sep=" "),
        "Chosen": f"{case.count('chosen'):,}",
        "Rejected": f"{case.count('rejected'):,}",
        "Deleted from the gallery": f"{case.deleted:,}" if case.deleted else "",
        "Not in the gallery": f"{missing:,}" if missing else "",
    }
    queries = [
        (gallery.thumbnail(query.id), infos[query.id].modality or "", infos[query.id].name)
        if query.id in infos
        else (b"", "", query.name or query.id)
        for query in case.queries
    ]
    common = {
        "case": case.id,
        "case_name": case.name,
        "opened_by": case.opened_by,
        **asked_for,
        "query": "; ".join(query["name"] for query in record["queries"]),
    }
    rows = [{**hit, "found_with": "; ".join(hit["found_with"]), **common} for hit in record["hits"]]
    return Report(
        title=f"Case '{case.name}'",
        heading="Case",
        facts=facts,
        remark="",
        queries=queries,
        explanation="Scores and verdicts are those of the search that found the entry. Each result"
        " is a tracklet or an image, by its best image; rejected ones are shown without images.",
        groups=ranked["chosen"],
        thumbnail=gallery.thumbnail,
        tables=tables,
        notes=case.notes,
        model=model.about,
        record={**asked_for, "model": dict(model.about), "vireid": vireid.__version__, **record},
        rows=rows,
        columns=tuple(dict.fromkeys(name for row in rows or [common] for name in row)),
    )


def _best_first(hit: Hit) -> tuple[float, str]:
    """A key that sorts hits without a score last."""
    return (math.inf if math.isnan(hit.score) else -hit.score), hit.info.id


def _safe(value: object) -> object:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(tuple("=+-@\t\r")) else value


def _conditions(filters: Filters) -> Iterator[tuple[str, object]]:
    """The conditions of filters, as JSON values."""
    every = {
        "camera": list(filters.cameras),
        "modality": filters.modality,
        "since": filters.since and format_time(filters.since),
        "until": filters.until and format_time(filters.until),
        "identity": list(filters.identities),
        "tracklet": list(filters.tracklets),
        "note": filters.note,
    }
    return ((name, value) for name, value in every.items() if value)


def _page(report: Report) -> bytes:
    query = [
        Cell(_opened(image), caption) for image, caption, _ in report.queries[:_PER_ROW] if image
    ]
    names = ", ".join(name for _, _, name in report.queries[:_PER_ROW])
    others = len(report.queries) - _PER_ROW
    listed = f"{names} and {others:,} more" if others > 0 else names
    sections = []
    if query:
        sheet = _sheet(query, "Query images", listed)
        sections.append(FigureSection("Query", "", (sheet,)))
    elif names:
        text = f"{listed}. The gallery holds no image of the query."
        sections.append(FigureSection("Query", text, ()))
    shown = report.groups[:MOST_SHOWN]
    first = f" of the first {MOST_SHOWN:,} results" if len(shown) < len(report.groups) else ""
    if timeline := timeline_figure(shown):
        untimed = sum(hit.info.time is None for group in shown for hit in group)
        without = f" {many(untimed, 'image')} without a time are not shown." if untimed else ""
        sections.append(
            FigureSection(
                "Timeline",
                f"Where and when the results were seen{first}, in UTC; the numbers are those of the"
                f" results, a bar is a tracklet.{without}",
                (EmbeddedFigure.of(timeline, alt="Results by camera and time", wide=True),),
            )
        )
    if report.tables:
        images = [
            Cell(
                _opened(report.thumbnail(group[0].info.id)),
                f"{n}: {_score(group[0].score)}".rstrip(": "),
            )
            for n, group in enumerate(shown, 1)
        ]
        alt = f"Best image of each result{first and ','}{first}"
        sheets = [_sheet(images, alt, f"Result: score{first and ','}{first}")] if images else []
        sections.append(
            FigureSection(
                "Results",
                f"Scores are cosines of features, not probabilities. {report.explanation}",
                tuple(sheets),
                tuple(report.tables),
            )
        )
    title = escape(report.title)
    about = {"vireid": vireid.__version__, **report.model}
    notes = [
        f'<p class="small">{escape(f"{format_time(note.time)} {note.by}")}</p>'
        f'<p class="text">{escape(note.text)}</p>'
        for note in report.notes
    ]
    body = [
        f"<header><h1>{title}</h1></header>",
        "<main>",
        f'<p class="note">{escape(report.remark)}</p>' if report.remark else "",
        *section_html(
            report.heading, [definitions_html({k: v for k, v in report.facts.items() if v})]
        ),
        *section_html("Notes", notes),
        *(part for section in sections for part in figures_html(section)),
        *section_html("Model", [definitions_html(about)]),
        "</main>",
        footer(""),
    ]
    page = PAGE.format(title=title, style=STYLE, body="\n".join(body))
    return page.encode(errors="xmlcharrefreplace")


def _score(score: float | None) -> str:
    return "" if score is None or math.isnan(score) else f"{score:.3f}"


def _line(n: int, group: Sequence[Hit], **more: str) -> dict[str, str]:
    """The cells of a result, by its best hit."""
    best, times = group[0], sorted(hit.info.time for hit in group if hit.info.time)
    return {
        "": str(n),
        "score": _score(best.score),
        **more,
        "camera": best.info.camera,
        "first seen (UTC)": format_time(times[0], sep=" ") if times else "",
        "last seen (UTC)": format_time(times[-1], sep=" ") if len(times) > 1 else "",
        "modality": str(best.info.modality),
        "identity": best.info.identity,
        "tracklet": best.info.tracklet,
        "images": str(len(group)),
        "note": best.info.note,
        "file": best.info.name,
        "id": best.info.id,
    }


def _tables(title: str, lines: Sequence[dict[str, str]]) -> list[Table]:
    """The table of some results, if there are any; columns that say nothing are left out."""
    if not lines:
        return []
    head = tuple(name for name in lines[0] if any(line[name] for line in lines))
    return [Table(title, head, tuple(tuple(line[name] for name in head) for line in lines))]


def timeline_figure(groups: Sequence[Sequence[Hit]]) -> Figure | None:
    """Draw where and when the results of a search were seen; None if no time is known.

    Args:
        groups: The results, best first; see :class:`~vireid.openset.search.SearchResult`.

    Returns:
        A figure with cameras as rows and time in UTC along x; colours give scores (grey without
        one), and numbers the places of results.
    """
    seen = [
        (n, group[0], times)
        for n, group in enumerate(groups, 1)
        if (times := sorted(hit.info.time for hit in group if hit.info.time))
    ]
    if not seen:
        return None
    cameras = sorted({best.info.camera for _, best, _ in seen}, reverse=True)
    figure = Figure(figsize=(10, 1.4 + 0.55 * len(cameras)), layout="constrained")
    axes = figure.add_subplot()
    tidy(axes)
    scores = [best.score for _, best, _ in seen if not math.isnan(best.score)]
    norm = Normalize(min(scores, default=0), max([*scores, min(scores, default=0) + 1e-3]))
    # The best ones are drawn last.
    for n, best, times in reversed(seen):
        row = cameras.index(best.info.camera)
        first, last = (_days(time) for time in (times[0], times[-1]))
        middle = _days(best.info.time) if best.info.time else first
        colour = _COLOURS(norm(best.score))
        axes.plot([first, last], [row, row], color=colour, linewidth=5, solid_capstyle="round")
        axes.plot([middle], [row], marker="o", markersize=9, color=colour)
        axes.annotate(
            str(n), (middle, row), (0, 8), textcoords="offset points", ha="center", color=INK
        )
    axes.set_yticks(range(len(cameras)), [name or "unknown" for name in cameras])
    axes.set_ylim(-0.6, len(cameras) - 0.2)
    locator = AutoDateLocator(minticks=3, maxticks=8)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    formatter = ConciseDateFormatter(locator)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_formatter(formatter)
    axes.xaxis.get_offset_text().set_color(INK)
    axes.margins(x=0.04)
    if scores:
        bar = figure.colorbar(mpl.cm.ScalarMappable(norm, _COLOURS), ax=axes, pad=0.01)
        bar.set_label("score", color=INK)
        bar.ax.tick_params(colors=INK)
    heading(axes, "Results by camera and time")
    return figure


def _days(time: datetime) -> float:
    """A time as Matplotlib counts it: days since 1970."""
    return time.timestamp() / 86_400


def _opened(thumbnail: bytes) -> Image.Image:
    """A thumbnail; a blank one if there is none."""
    return Image.open(io.BytesIO(thumbnail)) if thumbnail else Image.new("RGB", _CELL, "#cccccc")


def _sheet(cells: Sequence[Cell], alt: str, caption: str) -> EmbeddedFigure:
    rows = [[*cells[at : at + _PER_ROW]] for at in range(0, len(cells), _PER_ROW)]
    # Full rows, so that all sheets are of one scale.
    padded = [row + [None] * (_PER_ROW - len(row)) for row in rows]
    renderings = []
    for colours in ({}, {"paper": (29, 33, 40), "ink": (230, 233, 238)}):
        buffer = io.BytesIO()
        contact_sheet(padded, cell=_CELL, **colours).save(buffer, "JPEG", quality=88)
        renderings.append(buffer.getvalue())
    light, dark = renderings
    return EmbeddedFigure(light, dark, alt, caption, wide=True)
