"""The HTML frame and the style sheet that all pages share."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape

from vireid.times import format_time

__all__ = ["PAGE", "STYLE", "footer"]

PAGE = """<!DOCTYPE html>
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

STYLE = """
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
header, main, footer { max-width: 68rem; margin: 0 auto; padding: 0 1rem; }
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
th { white-space: normal; overflow-wrap: normal; }
th:first-child { text-align: left; }
thead th { color: var(--pale); font-weight: 600; }
tbody tr:nth-child(even) { background: var(--stripe); }
tbody th { font-weight: 600; }
td small { display: block; color: var(--pale); font-size: .75rem; }
.chance th, .chance td { color: var(--pale); font-style: italic; font-weight: 400; }
footer { padding-bottom: 2rem; }
.figures { display: flex; flex-wrap: wrap; justify-content: center; gap: 0 1.5rem; }
figure { margin: 0 0 1.25rem; flex: 1 1 24rem; max-width: min(100%, 46rem); }
figure.wide { flex-basis: 100%; max-width: 100%; }
figure img { display: block; width: 100%; height: auto; }
.wide img { min-width: 44rem; }
figcaption { color: var(--pale); font-size: .875rem; margin-top: .4rem; }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr));
  gap: .6rem 1.5rem; margin: 0 0 .8rem; }
dt { color: var(--pale); font-size: .875rem; }
dd { margin: 0; }
.text { white-space: pre-wrap; margin: .1rem 0 .9rem; }
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


def footer(command: str) -> str:
    """The date and, unless empty, the command that wrote the page."""
    by = f" by <code>{escape(command)}</code>" if command else ""
    now = format_time(datetime.now(UTC).replace(microsecond=0), sep=" ")
    return f'<footer class="small">Written {now}{by}.</footer>'
