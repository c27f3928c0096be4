"""Leaderboards as one self-contained HTML page, in the style of the report."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from vireid.files import write_atomic
from vireid.reports._page import PAGE, STYLE, footer
from vireid.reports.leaderboard import Board

__all__ = ["write_leaderboard"]

_TITLE = "Leaderboard"
# Names stay visible while a table is scrolled; rows at chance level are highlighted.
_STYLE = """
tr { background: var(--card); }
th:first-child { position: sticky; left: 0; min-width: 8rem; background: inherit; }
tr.low th:first-child { background: var(--alarm); }
"""


def write_leaderboard(out: Path, boards: Sequence[Board], *, command: str = "") -> Path:
    """Write the page.

    Args:
        out: The HTML file to write, atomically.
        boards: The tables.
        command: The command that wrote the page, printed with the date; none if empty.

    Returns:
        ``out``.

    Raises:
        OSError: The file cannot be written.
    """
    sections = "\n".join(_section(board) for board in boards)
    body = f"<header><h1>{_TITLE}</h1></header>\n<main>\n{sections}\n</main>\n{footer(command)}"
    page = PAGE.format(title=_TITLE, style=STYLE + _STYLE, body=body)
    return write_atomic(out, page.encode(errors="xmlcharrefreplace"))


def _section(board: Board) -> str:
    title = escape(board.title, quote=True)
    head, *rows, chance = board.table()
    names = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    lines = [
        _line(cells, "low" if row.at_chance else "")
        for row, cells in zip(board.rows, rows, strict=True)
    ]
    lines.append(_line(chance, "chance"))
    return "\n".join(
        [
            f"<section><h2>{title}</h2>",
            f'<p class="small">{"<br>".join(map(escape, board.conditions))}</p>',
            f'<div class="scroll" role="region" tabindex="0" aria-label="{title}, in percent">',
            f"<table><thead><tr>{names}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>",
            f"<ul>{''.join(f'<li>{escape(note)}</li>' for note in board.notes)}</ul>",
            "</section>",
        ]
    )


def _line(cells: Sequence[str], kind: str) -> str:
    name, *others = map(escape, cells)
    data = "".join(f"<td>{_narrow(cell)}</td>" for cell in others)
    return f'<tr class="{kind}"><th scope="row">{name}</th>{data}</tr>'


def _narrow(cell: str) -> str:
    """The cell with its deviation in small print below the mean."""
    mean, sign, deviation = cell.partition(" ± ")
    return f"{mean} <small>± {deviation}</small>" if sign else cell
