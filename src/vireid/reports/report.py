"""The report: one self-contained HTML page.

Figures are embedded, there is no script and nothing is fetched, so the page can be mailed, archived
or opened from disk without a network. It follows the reader's light or dark setting and fits a
phone; wide tables and figures scroll in their own frames. All text is escaped, and a content
security policy in the page forbids scripts.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Self

from matplotlib.figure import Figure
from PIL import Image

from vireid.errors import EvaluationError
from vireid.evaluation.result import SCORES, Result, Score
from vireid.files import write_atomic
from vireid.reports._page import PAGE, STYLE, footer
from vireid.reports.style import png

__all__ = [
    "EmbeddedFigure",
    "FigureSection",
    "Step",
    "Table",
    "definitions_html",
    "figures_html",
    "section_html",
    "write_report",
]

_LEGEND = (
    "±: standard deviation over trials. Small print: 95 % interval over identities (bootstrap). "
    "Chance: expected scores of a random ranking of the same galleries."
)


@dataclass(frozen=True, slots=True)
class EmbeddedFigure:
    """A figure as an image in the report, rendered for light and for dark pages.

    Attributes:
        data: The light rendering, PNG or JPEG.
        dark: The dark rendering, in the same format.
        alt: Description for people who cannot see it.
        caption: Text below the image.
        wide: Keep a readable width on a phone, and scroll.
    """

    data: bytes
    dark: bytes
    alt: str
    caption: str = ""
    wide: bool = False

    @classmethod
    def of(cls, figure: Figure, *, alt: str, caption: str = "", wide: bool = False) -> Self:
        """Render a figure."""
        return cls(png(figure), png(figure, dark=True), alt, caption, wide)

    def as_jpeg(self) -> Self:
        """The image as JPEG, a fifth of the size where it consists of photographs."""
        return replace(self, data=_jpeg(self.data), dark=_jpeg(self.dark))

    def html(self) -> str:
        """The image with its caption."""
        media = "png" if self.data.startswith(b"\x89PNG") else "jpeg"
        light, dark = (
            f"data:image/{media};base64,{base64.b64encode(data).decode()}"
            for data in (self.data, self.dark)
        )
        alt = escape(self.alt, quote=True)
        image = (
            f'<picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
            f'<img src="{light}" alt="{alt}"></picture>'
        )
        if self.wide:
            frame = f'<div class="scroll" role="region" tabindex="0" aria-label="{alt}">'
            image = f"{frame}{image}</div>"
        caption = f"<figcaption>{escape(self.caption)}</figcaption>" if self.caption else ""
        kind = ' class="wide"' if self.wide else ""
        return f"<figure{kind}>{image}{caption}</figure>"


@dataclass(frozen=True, slots=True)
class Table:
    """A table in the report.

    Attributes:
        title: Its heading.
        head: Names of the columns.
        rows: Cells of each row; the first names the row.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class FigureSection:
    """A section of the report with figures and tables.

    Attributes:
        title: The heading.
        text: A paragraph on how to read the figures.
        pictures: The figures.
        tables: The tables below the figures.
    """

    title: str
    text: str
    pictures: tuple[EmbeddedFigure, ...]
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """A suggested next step.

    Attributes:
        text: Its purpose.
        command: The command to run; none if empty.
    """

    text: str
    command: str = ""


def write_report(
    out: Path,
    *,
    title: str,
    facts: Mapping[str, str],
    results: Mapping[str, Sequence[Result]],
    figures: Sequence[FigureSection] = (),
    notes: Sequence[str] = (),
    next_steps: Sequence[Step] = (),
    versions: Mapping[str, str] | None = None,
    command: str = "",
) -> Path:
    """Write the page.

    Args:
        out: The HTML file to write, atomically.
        title: Its title.
        facts: What was run: data, backbone, weights, seed, device, precision.
        results: Results by method; those of one protocol share a table with the chance level.
        figures: Sections with figures.
        notes: What readers must know to judge the numbers, such as that the data are synthetic;
            printed before the numbers.
        next_steps: Suggested next steps.
        versions: Software versions; by default those in the results.
        command: The command that wrote the page, printed with the date; none if empty.

    Returns:
        ``out``.

    Raises:
        EvaluationError: Two results of one protocol and ranking have one name.
        OSError: The file cannot be written.
    """
    if versions is None:
        versions = {k: v for rows in results.values() for r in rows for k, v in r.versions.items()}
    body = [
        f"<header><h1>{escape(title)}</h1></header>",
        "<main>",
        *(f'<p class="note">{escape(note)}</p>' for note in notes),
        *section_html("What was run", [definitions_html(facts)] if facts else []),
        *_results(results),
        *(part for section in figures for part in figures_html(section)),
        *section_html("What to do next", _steps(next_steps)),
        *section_html("Versions", [definitions_html(versions)] if versions else []),
        "</main>",
        footer(command),
    ]
    page = PAGE.format(title=escape(title), style=STYLE, body="\n".join(body))
    return write_atomic(out, page.encode(errors="xmlcharrefreplace"))


def section_html(heading: str, parts: Sequence[str]) -> list[str]:
    """A section of parts in HTML; nothing without parts."""
    if not parts:
        return []
    return [f"<section><h2>{escape(heading)}</h2>", *parts, "</section>"]


def _results(results: Mapping[str, Sequence[Result]]) -> list[str]:
    """A table a protocol, methods as rows."""
    tables: dict[tuple[str, ...], dict[str, Result]] = {}
    for method, rows in results.items():
        for result in rows:
            row, found = result.labelled(method), tables.setdefault(result.kind, {})
            if row in found:
                raise EvaluationError(
                    f"two results of '{row}' under {result.protocol}, {result.direction}; expected "
                    "a name of its own for each in the report"
                )
            found[row] = result
    parts = []
    for found in tables.values():
        first = next(iter(found.values()))
        parts.append(f"<h3>{escape(first.heading)}</h3>")
        parts += [
            f'<p class="alarm"><strong>{escape(method)}:</strong> '
            f"{escape(result.versus_chance)}</p>"
            for method, result in found.items()
            if result.at_chance
        ]
        parts.append(_scores_table(found))
        parts.append(_conditions(found))
    if parts:
        parts.append(f'<p class="small">{escape(_LEGEND)}</p>')
    return section_html("Results", parts)


def _scores_table(results: Mapping[str, Result]) -> str:
    best = {name: max(result.scores[name].mean for result in results.values()) for name in SCORES}
    rows = []
    for method, result in results.items():
        data = ""
        for (name, score), text in zip(result.scores.items(), result.cells(), strict=True):
            is_best = score.mean == best[name] and len(results) > 1
            data += f"<td>{f'<b>{text}</b>' if is_best else text}{_interval(result, name)}</td>"
        rows.append(f'<tr><th scope="row">{escape(method)}</th>{data}</tr>')
    first = next(iter(results.values()))
    data = "".join(f"<td>{text}</td>" for text in first.chance_cells())
    rows.append(f'<tr class="chance"><th scope="row">chance</th>{data}</tr>')
    label = f"Results of {first.heading}, in percent"
    return _grid(label, ["%", *SCORES], rows)


def _interval(result: Result, score: Score) -> str:
    """The interval of a score in small print; empty where there is none."""
    found = result.interval(score) if score in ("R-1", "mAP", "mINP") else None
    if found is None:
        return ""
    return f"<small>{100 * found.low:.1f} to {100 * found.high:.1f}</small>"


def _conditions(results: Mapping[str, Result]) -> str:
    """What holds for the whole table, then what holds for one row."""
    known = {method: result.conditions() for method, result in results.items()}
    first = next(iter(known.values()))
    shared = [line for line in first if all(line in lines for lines in known.values())]
    own = [
        f"{method}: {line}"
        for method, lines in known.items()
        for line in lines
        if line not in shared
    ]
    lines = "<br>".join(escape(line) for line in [*shared, *own])
    return f'<p class="small">{lines}</p>'


def _table(table: Table) -> list[str]:
    rows = []
    for name, *cells_of in table.rows:
        data = "".join(f"<td>{escape(cell)}</td>" for cell in cells_of)
        rows.append(f'<tr><th scope="row">{escape(name)}</th>{data}</tr>')
    return [f"<h3>{escape(table.title)}</h3>", _grid(table.title, table.head, rows)]


def _grid(label: str, head: Sequence[str], rows: Sequence[str]) -> str:
    """A table that scrolls in its own frame; the rows are HTML, everything else is text."""
    names = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    return (
        '<div class="scroll" role="region" tabindex="0" '
        f'aria-label="{escape(label, quote=True)}"><table>'
        f"<thead><tr>{names}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def figures_html(section: FigureSection) -> list[str]:
    """A section with its figures and tables."""
    parts = [f"<p>{escape(section.text)}</p>"] if section.text else []
    if section.pictures:
        images = "".join(picture.html() for picture in section.pictures)
        parts.append(f'<div class="figures">{images}</div>')
    for table in section.tables:
        parts += _table(table)
    return section_html(section.title, parts)


def _jpeg(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(data)) as image:
        image.convert("RGB").save(buffer, format="JPEG", quality=88, optimize=True)
    return buffer.getvalue()


def definitions_html(pairs: Mapping[str, str]) -> str:
    """A list of names and what they stand for."""
    rows = (f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in pairs.items())
    return f"<dl>{''.join(rows)}</dl>"


def _steps(steps: Iterable[Step]) -> list[str]:
    items = [
        f"<li>{escape(step.text)}"
        + (
            f'<pre class="scroll" tabindex="0"><code>{escape(step.command)}</code></pre>'
            if step.command
            else ""
        )
        + "</li>"
        for step in steps
    ]
    return [f"<ol>{''.join(items)}</ol>"] if items else []
