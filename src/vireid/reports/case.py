"""The report of one search: a self-contained page with a timeline, CSV or JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape

import matplotlib as mpl
import numpy as np
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from PIL import Image

import vireid
from vireid.data.layouts._common import many
from vireid.data.sheet import Cell, contact_sheet
from vireid.errors import ConfigError
from vireid.gallery.filters import Filters, Hit
from vireid.gallery.gallery import Gallery
from vireid.openset.record import search_record
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

__all__ = ["ENDINGS", "Case", "check_case_ending", "render_case", "timeline_figure"]

ENDINGS = (".html", ".csv", ".json")
"""The forms of a report, by the ending of its file."""

_CELL = (90, 180)
_PER_ROW = 8
# Without the darkest and the palest, which dark and light pages hide.
_COLOURS = ListedColormap(mpl.colormaps["viridis"](np.linspace(0.3, 0.9, 64)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
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


def check_case_ending(ending: str) -> None:
    """Refuse a report of another form.

    Raises:
        ConfigError: The ending is not one of ``ENDINGS``.
    """
    if ending not in ENDINGS:
        raise ConfigError(
            f"The report's name ends in '{ending}'; expected one of {', '.join(ENDINGS)}."
        )


def render_case(case: Case, ending: str) -> bytes:
    """Render the report of a search.

    Args:
        case: The search.
        ending: One of ``ENDINGS``.

    Raises:
        ConfigError: The ending is another one.
        GalleryError: A thumbnail cannot be read.
    """
    check_case_ending(ending)
    if ending == ".html":
        return _page(case)
    record = search_record([q.info for q in case.queries], case.found, paths=case.paths)
    model = case.gallery.model
    asked = {
        "gallery": case.name,
        "network": model.fingerprint,
        "asked": format_time(case.asked),
        "asked_by": case.user,
        "filters": dict(_conditions(case.filters)),
    }
    if ending == ".json":
        about = {**asked, "model": dict(model.about), "vireid": vireid.__version__}
        return json.dumps({**about, **record}, indent=2).encode()
    queries = "; ".join(query["path"] for query in record["query"])
    means = {group["group"]: group["mean_score"] for group in record["groups"]}
    text = io.StringIO()
    common = {**asked, "filters": json.dumps(asked["filters"]), "query": queries}
    common["verdict_of_search"] = record["verdict"]
    rows = [{**hit, "mean_score": means[hit["group"]], **common} for hit in record["hits"]]
    writer = csv.DictWriter(text, rows[0] if rows else common, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _safe(value) for name, value in row.items()} for row in rows)
    return text.getvalue().encode("utf-8-sig")


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


def _page(case: Case) -> bytes:
    found = case.found
    facts = {
        "Gallery": case.name,
        "Network": case.gallery.model.fingerprint,
        "Asked by": case.user,
        "Asked": format_time(case.asked, sep=" "),
        "Filters": json.dumps(dict(_conditions(case.filters)), ensure_ascii=False).strip("{}"),
        "Entries searched": f"{found.considered:,}",
        "Left out: own modality": f"{found.own_modality:,}" if found.own_modality else "",
        "Left out: of the query": f"{found.left_out:,}" if found.left_out else "",
        "Verdict": str(found.verdict or "none"),
    }
    query = [
        Cell(_opened(row.thumbnail), row.info.modality or "") for row in case.queries[:_PER_ROW]
    ]
    shown = [
        Cell(_opened(case.gallery.thumbnail(group[0].info.id)), f"{n}: {group[0].score:.3f}")
        for n, group in enumerate(found.groups, 1)
    ]
    names = ", ".join(row.info.name for row in case.queries[:_PER_ROW])
    more = f" and {len(case.queries) - _PER_ROW:,} more" if len(case.queries) > _PER_ROW else ""
    sections = [
        FigureSection("Query", "", (_sheet(query, "Query images", f"{names}{more}"),)),
    ]
    if timeline := timeline_figure(found.groups):
        untimed = sum(hit.info.time is None for group in found.groups for hit in group)
        without = f" {many(untimed, 'image')} without a time are not shown." if untimed else ""
        sections.append(
            FigureSection(
                "Timeline",
                "Where and when the results were seen, in UTC; the numbers are those of the"
                f" results, a bar is a tracklet.{without}",
                (EmbeddedFigure.of(timeline, alt="Results by camera and time", wide=True),),
            )
        )
    if shown:
        table = Table("Results", *_rows(found))
        sections.append(
            FigureSection(
                "Results",
                "Scores are cosines of features, not probabilities. Each result is a tracklet, an"
                " image, or near-duplicate images, by its best image.",
                (_sheet(shown, "Best image of each result", "Result: score"),),
                (table,),
            )
        )
    title = escape(f"Search of '{case.name}'")
    about = {"vireid": vireid.__version__, **case.gallery.model.about}
    body = [
        f"<header><h1>{title}</h1></header>",
        "<main>",
        f'<p class="note">{escape(found.remark)}</p>' if found.remark else "",
        *section_html("Search", [definitions_html({k: v for k, v in facts.items() if v})]),
        *(part for section in sections for part in figures_html(section)),
        *section_html("Model", [definitions_html(about)]),
        "</main>",
        footer(""),
    ]
    page = PAGE.format(title=title, style=STYLE, body="\n".join(body))
    return page.encode(errors="xmlcharrefreplace")


def _rows(found: SearchResult) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Head and rows of the table of results; columns that say nothing are left out."""
    verdicts = dict(zip((hit.info.id for hit in found.hits), found.verdicts, strict=False))
    lines = []
    for n, (group, mean) in enumerate(zip(found.groups, found.mean_scores, strict=True), 1):
        best, times = group[0], sorted(hit.info.time for hit in group if hit.info.time)
        lines.append(
            {
                "": str(n),
                "score": f"{best.score:.3f}",
                "mean": "" if mean is None else f"{mean:.3f}",
                "verdict": str(verdicts.get(best.info.id, "")),
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
        )
    head = tuple(name for name in lines[0] if any(line[name] for line in lines))
    return head, tuple(tuple(line[name] for name in head) for line in lines)


def timeline_figure(groups: Sequence[Sequence[Hit]]) -> Figure | None:
    """Draw where and when the results of a search were seen; None if no time is known.

    Args:
        groups: The results, best first; see :class:`~vireid.openset.search.SearchResult`.

    Returns:
        A figure with cameras as rows and time in UTC along x; colours give scores, and numbers the
        places of results.
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
    scores = [best.score for _, best, _ in seen]
    norm = Normalize(min(scores), max(*scores, min(scores) + 1e-3))
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
