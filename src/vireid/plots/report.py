"""The report: one HTML page that stands alone.

Pictures are inside the page, there is no script and nothing is fetched, so it can be mailed,
archived or opened from a disk without a network. It follows the reader's light or dark setting
and fits a phone; wide tables and pictures scroll in their own frames. All text is escaped, and a
content policy in the page forbids scripts besides.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Self

from matplotlib.figure import Figure

from vireid.evaluation.result import RANKS, Result, cells, chance_cells
from vireid.files import write_atomic
from vireid.plots.style import png

__all__ = ["FigureSection", "Picture", "Step", "write_report"]


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture in the report.

    Attributes:
        data: The PNG file's bytes.
        alt: What it shows, for people who cannot see it.
        caption: Printed beneath.
        wide: Whether it keeps a readable width on a phone and scrolls, rather than shrinks.
    """

    data: bytes
    alt: str
    caption: str = ""
    wide: bool = False

    @classmethod
    def of(cls, figure: Figure, *, alt: str, caption: str = "", wide: bool = False) -> Self:
        """A figure as a picture."""
        return cls(png(figure), alt, caption, wide)


@dataclass(frozen=True, slots=True)
class FigureSection:
    """A headed group of pictures.

    Attributes:
        title: The heading.
        text: A paragraph on how to read the pictures.
        pictures: The pictures.
    """

    title: str
    text: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """A thing to do next.

    Attributes:
        text: What it is for.
        command: The command to type; none when empty.
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
) -> Path:
    """Write the page.

    Args:
        out: The HTML file to write, atomically.
        title: Its title.
        facts: What was run: data, backbone, weights, seed, device, precision.
        results: Results by method; those of one protocol share a table, chance is added.
        figures: The pictures.
        notes: What the reader must know to judge the numbers, such as that the data are
            synthetic; printed before the numbers.
        next_steps: What to do next, such as with one's own data.
        versions: Versions of the software; those named in the results when absent.

    Returns:
        ``out``.
    """
    if versions is None:
        versions = {k: v for rows in results.values() for r in rows for k, v in r.versions.items()}
    body = [
        f"<header><h1>{escape(title)}</h1></header>",
        "<main>",
        *(f'<p class="note">{escape(note)}</p>' for note in notes),
        *_section("What was run", [_definitions(facts)] if facts else []),
        *_results(results),
        *(part for section in figures for part in _figures(section)),
        *_section("What to do next", _steps(next_steps)),
        *_section("Versions", [_definitions(versions)] if versions else []),
        "</main>",
    ]
    page = _PAGE.format(title=escape(title), style=_STYLE, body="\n".join(body))
    return write_atomic(out, page.encode(errors="xmlcharrefreplace"))


def _section(heading: str, parts: Sequence[str]) -> list[str]:
    if not parts:
        return []
    return [f"<section><h2>{escape(heading)}</h2>", *parts, "</section>"]


def _results(results: Mapping[str, Sequence[Result]]) -> list[str]:
    """A table a protocol, methods as rows."""
    tables: dict[tuple[str, str, str, str], dict[str, Result]] = {}
    for method, rows in results.items():
        for result in rows:
            key = (result.protocol, result.direction, result.convention, result.cmc_kind)
            tables.setdefault(key, {})[method] = result
    parts = []
    for found in tables.values():
        first = next(iter(found.values()))
        parts.append(f"<h3>{escape(first.protocol)}, {escape(first.direction)}</h3>")
        parts += [
            f'<p class="alarm"><strong>{escape(method)}:</strong> {escape(result.statement)}</p>'
            for method, result in found.items()
            if result.at_chance
        ]
        parts.append(_table(found))
        parts.append(f'<p class="small">{escape(_conditions(first))}</p>')
    return _section("Results", parts)


def _table(results: Mapping[str, Result]) -> str:
    heads = [*(f"R-{rank}" for rank in RANKS), "mAP", "mINP"]
    best = [max(column) for column in zip(*(_scores(r) for r in results.values()), strict=True)]
    rows = []
    for method, result in results.items():
        columns = zip(cells(result), _scores(result), best, strict=True)
        data = "".join(
            f"<td>{f'<b>{text}</b>' if score == top and len(results) > 1 else text}</td>"
            for text, score, top in columns
        )
        rows.append(f'<tr><th scope="row">{escape(method)}</th>{data}</tr>')
    first = next(iter(results.values()))
    data = "".join(f"<td>{text}</td>" for text in chance_cells(first))
    rows.append(f'<tr class="chance"><th scope="row">chance</th>{data}</tr>')
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    label = escape(f"Results of {first.protocol}, {first.direction}, in percent", quote=True)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{label}"><table>'
        f'<thead><tr><th scope="col">%</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _scores(result: Result) -> list[float]:
    ranks = [result.cmc(rank).mean for rank in RANKS]
    return [*ranks, result.mean_ap.mean, result.mean_inp.mean]


def _conditions(result: Result) -> str:
    count = len(result.trials)
    trial = result.trials[0]
    deviation = f"mean ± deviation over {count} trials" if count > 1 else "one trial"
    unmatched = sum(t.unmatched for t in result.trials) / count
    return (
        f"Gallery: {result.convention}; {trial.queries:,} queries ({unmatched:,.4g} without a "
        f"match), {trial.gallery:,} gallery images; {deviation}; CMC by {result.cmc_kind}; "
        f"re-ranking {result.reranking}; test-time augmentation {result.test_time_augmentation}. "
        "Chance is what a random ranking of the same galleries scores on average."
    )


def _figures(section: FigureSection) -> list[str]:
    parts = [f"<p>{escape(section.text)}</p>"] if section.text else []
    for picture in section.pictures:
        data = base64.b64encode(picture.data).decode()
        alt = escape(picture.alt, quote=True)
        image = f'<img src="data:image/png;base64,{data}" alt="{alt}">'
        if picture.wide:
            frame = f'<div class="scroll wide" role="region" tabindex="0" aria-label="{alt}">'
            image = f"{frame}{image}</div>"
        caption = f"<figcaption>{escape(picture.caption)}</figcaption>" if picture.caption else ""
        parts.append(f"<figure>{image}{caption}</figure>")
    return _section(section.title, parts)


def _definitions(pairs: Mapping[str, str]) -> str:
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


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""

_STYLE = """
:root { color-scheme: light dark; --paper: #f6f7f9; --card: #ffffff; --ink: #1f2430;
  --pale: #5b6472; --line: #d9dde3; --accent: #0b63a5; --note: #eaf3fb; --alarm: #fdece3;
  --alarm-line: #d55e00; --stripe: #f3f5f8; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #14171c; --card: #1d2128; --ink: #e6e9ee; --pale: #a3acba; --line: #363c47;
    --accent: #7cc0f5; --note: #16293a; --alarm: #3b2114; --alarm-line: #f08a4b;
    --stripe: #232831; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); overflow-wrap: anywhere;
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
header, main { max-width: 68rem; margin: 0 auto; padding: 0 1rem; }
header { padding-top: 2rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 1rem; }
h2 { font-size: 1.25rem; margin: 0 0 .75rem; }
h3 { font-size: 1.05rem; margin: 1.25rem 0 .5rem; }
section { background: var(--card); border: 1px solid var(--line); border-radius: .6rem;
  padding: 1.1rem 1.1rem .6rem; margin: 0 0 1.25rem; }
.note, .alarm { padding: .7rem 1rem; border-radius: .4rem; margin: 0 0 1.25rem; }
.note { background: var(--note); border-left: .3rem solid var(--accent); }
.alarm { background: var(--alarm); border-left: .3rem solid var(--alarm-line); }
.small { color: var(--pale); font-size: .875rem;}
.scroll { overflow-x: auto; max-width: 100%; }
.scroll:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .45rem .7rem; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--line); }
th:first-child { text-align: left; }
thead th { color: var(--pale); font-weight: 600; }
tbody tr:nth-child(even) { background: var(--stripe); }
tbody th { font-weight: 600; }
.chance th, .chance td { color: var(--pale); font-style: italic; font-weight: 400; }
figure { margin: 0 0 1.25rem; }
figure > img { max-width: min(100%, 46rem); }
figure img { display: block; height: auto; background: #fff; padding: .4rem;
  border-radius: .4rem; }
.wide img { width: 100%; min-width: 44rem; }
figcaption { color: var(--pale); font-size: .875rem; margin-top: .4rem; }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr));
  gap: .6rem 1.5rem; margin: 0 0 .8rem; }
dt { color: var(--pale); font-size: .875rem; }
dd { margin: 0; }
pre { background: var(--paper); border: 1px solid var(--line); border-radius: .4rem;
  padding: .6rem .8rem; margin: .4rem 0 .8rem; font-size: .875rem; }
li { margin-bottom: .4rem; }
@media (max-width: 30rem) {
  header, main { padding: 0 .6rem; }
  header { padding-top: 1.2rem; }
  h1 { font-size: 1.4rem; }
  section { padding: .9rem .8rem .4rem; }
  th, td { padding: .4rem .5rem; }
}
"""
