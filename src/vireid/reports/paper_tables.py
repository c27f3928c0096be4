"""Leaderboards as LaTeX and CSV.

The LaTeX tables need the packages ``booktabs`` and ``xcolor``, and are otherwise complete.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from vireid.evaluation.result import SCORES
from vireid.reports.leaderboard import BELOW, Board
from vireid.reports.published import published_for

__all__ = ["csv_tables", "latex_tables"]

_ESCAPED = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "†": r"$^{\dagger}$",
    "…": r"\ldots{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def latex_tables(boards: Sequence[Board], *, published: bool = False) -> str:
    """Format the tables as LaTeX.

    The best score of each column is bold; conditions and notes are comments above each table.

    Args:
        boards: The tables.
        published: Add the published figures of the protocol, in grey, below the measured ones.
    """
    tables = [_latex(board, published) for board in boards]
    return "\n".join(["% Needs \\usepackage{booktabs,xcolor}.", *tables])


def csv_tables(boards: Sequence[Board], *, published: bool = False) -> str:
    """Format the tables as one CSV file: a line per row of a table, scores in percent.

    Args:
        boards: The tables.
        published: Add the published figures of the protocol, as lines of their own kind.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    scores = [column for name in SCORES for column in (name, f"{name} deviation")]
    facts = ["table", "convention", "data", "kind", "name", "backbone", "size", "seeds"]
    writer.writerow([*facts, *scores, "significantly below the best", "remark"])
    for board in boards:
        result = board.result
        about = [board.title, result.convention, result.data_fingerprint[:12]]
        for row in board.rows:
            values = [
                text
                for score in map(row.score, SCORES)
                for text in (
                    f"{100 * score.mean:.2f}",
                    f"{100 * score.std:.2f}" if len(row.entries) > 1 else "",
                )
            ]
            shape = [row.conditions[name] for name in ("backbone", "size")]
            seeds = " ".join(entry.seed for entry in row.entries)
            below = " ".join(name for name in SCORES if (row.name, name) in board.below)
            remark = "at chance level" if row.at_chance else ""
            writer.writerow([*about, "measured", row.name, *shape, seeds, *values, below, remark])
        chance = [text for cell in result.chance_cells() for text in (cell, "")]
        writer.writerow([*about, "chance", "chance", "", "", "", *chance, "", ""])
        for one in published_for(result) if published else ():
            values = [text for name in SCORES for text in (one.scores.get(name, ""), "")]
            own = [board.title, "", "", "published", one.name, "", "", ""]
            writer.writerow([*own, *values, "", one.remark])
    return file.getvalue()


def _latex(board: Board, published: bool) -> str:
    columns = ["", "seeds", *SCORES]
    best = [max(round(100 * row.score(name).mean, 2) for row in board.rows) for name in SCORES]
    lines = []
    for row in board.rows:
        cells = [row.label, str(len(row.entries))]
        marked = zip(SCORES, best, board.marked(row), strict=True)
        lines.append(
            [_escape(cell) for cell in cells]
            + [
                f"\\textbf{{{_escape(cell)}}}"
                if round(100 * row.score(name).mean, 2) == greatest
                else _escape(cell)
                for name, greatest, cell in marked
            ]
        )
    measured = [_line(cells) for cells in lines]
    chance = _line(["chance", "", *map(_escape, board.result.chance_cells())])
    figures = published_for(board.result) if published else []
    grey = [
        _line(
            f"\\textcolor{{gray}}{{{_escape(cell)}}}"
            for cell in (one.name, "", *(one.scores.get(name, "--") for name in SCORES))
        )
        for one in figures
    ]
    remarks = [*board.conditions, *board.notes, *(f"{one.name}: {one.remark}." for one in figures)]
    caption = _escape(" ".join([f"{board.title}. Scores in percent.", *board.in_all_rows()]))
    if any(len(row.entries) > 1 for row in board.rows):
        caption += _escape(" ±: deviation over training seeds.")
    if board.below:
        caption += _escape(f" {BELOW}")
    if figures:
        caption += " Grey: published figures, not measured here."
    return "\n".join(
        [
            *(f"% {' '.join(remark.split())}" for remark in remarks),
            "\\begin{table*}",
            "\\centering\\footnotesize\\setlength{\\tabcolsep}{3pt}\\setlength{\\belowcaptionskip}{4pt}",
            f"\\caption{{{caption}}}",
            f"\\begin{{tabular}}{{lr{'r' * len(SCORES)}}}",
            "\\toprule",
            _line(columns),
            "\\midrule",
            *measured,
            "\\midrule",
            chance,
            *(["\\midrule", *grey] if grey else []),
            "\\bottomrule",
            "\\end{tabular}",
            "\\end{table*}",
            "",
        ]
    )


def _line(cells: Iterable[str]) -> str:
    return " & ".join(cells) + " \\\\"


def _escape(text: str) -> str:
    return "".join(_ESCAPED.get(character, character) for character in text)
