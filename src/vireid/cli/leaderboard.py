"""``vireid leaderboard RUNS…``: tables of evaluated runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from vireid.cli._flags import Switch
from vireid.cli._invocation import command_line
from vireid.errors import ConfigError, EvaluationError, RunError, first_few, many
from vireid.evaluation import Result
from vireid.files import write_atomic
from vireid.log import echo, log
from vireid.reports.leaderboard import Board, Entry, Score, markdown
from vireid.reports.leaderboard import leaderboard as boards_of
from vireid.reports.leaderboard_page import write_leaderboard
from vireid.reports.paper_tables import csv_tables, latex_tables
from vireid.reports.published import published_for
from vireid.runs import RunFolder, resolve_model

__all__ = ["leaderboard", "read_entries"]

TableFormat = Literal["markdown", "latex", "csv"]
_FORMATS: Mapping[TableFormat, tuple[Callable[..., str], str]] = {
    "markdown": (markdown, "md"),
    "latex": (latex_tables, "tex"),
    "csv": (csv_tables, "csv"),
}


def leaderboard(
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional],
    /,
    *,
    sort: Score = "mAP",
    format: TableFormat = "markdown",
    published: Switch = False,
    out: Path | None = None,
) -> list[Board]:
    """Rank evaluated runs; only comparable results share a table.

    Results that differ in protocol, direction, gallery convention, data, similarity or
    post-processing get separate tables. Runs of one recipe that differ only in the seed share a
    row: mean and standard deviation over seeds. Other differences are listed below the table.

    Args:
        runs: Evaluated run folders, names of evaluated installed models, or single result files.
        sort: Score to sort by.
        format: markdown; latex, with booktabs and xcolor; or csv. Scores that are significantly
            below the best of their column (paired bootstrap over identities) are marked.
        published: Add the published figures of the field for each protocol, with their sources.
        out: Also write leaderboard.md (.tex, .csv) and leaderboard.html into this folder.

    Returns:
        The tables.
    """
    boards = boards_of(read_entries(runs), sort=sort)
    write, ending = _FORMATS[format]
    text = write(boards, published=published)
    echo(text, end="")
    lacking = [board.title for board in boards if not published_for(board.result)]
    if published and lacking:
        of = f"{len(lacking)} of {many(len(boards), 'table')}"
        log(f"No published figures for {of}: {first_few(lacking)}.")
    if out is not None:
        write_atomic(out / f"leaderboard.{ending}", text.encode(errors="backslashreplace"))
        write_leaderboard(out / "leaderboard.html", boards, command=command_line())
    return boards


def read_entries(paths: Sequence[Path]) -> list[Entry]:
    """Read the results of runs, each once.

    Args:
        paths: Run folders, with all their results, or result files.

    Raises:
        ConfigError: No path is given.
        RunError: A folder is not a run.
        EvaluationError: A run has no results, or a file cannot be read.
    """
    if not paths:
        raise ConfigError("vireid leaderboard got no run; expected one or more run folders")
    files: dict[Path, tuple[Path, RunFolder]] = {}
    unevaluated = []
    for path in paths:
        if path.is_file():
            found, folder = [path], RunFolder(path.parent.parent)
        else:
            folder = resolve_model(path)
            folder.read_config()
            found = sorted(folder.results.glob("*.json"))
            if not found:
                unevaluated.append(path)
        for file in found:
            files.setdefault(file.resolve(), (file, folder))
    if unevaluated:
        others = len(unevaluated) - 1
        raise EvaluationError(
            f"'{unevaluated[0]}' has no results"
            + (
                f", nor {'does' if others == 1 else 'do'} {many(others, 'other run')}"
                if others
                else ""
            )
            + "; expected RUN/results/*.json: run "
            f"`vireid evaluate {' '.join(map(str, unevaluated))}` first"
        )
    return [_entry(file, folder) for file, folder in files.values()]


def _entry(file: Path, folder: RunFolder) -> Entry:
    result = Result.load(file)
    if file.parent != folder.results or not folder.config_file.exists():
        return Entry(result, file)
    return Entry(result, folder.path, folder.read_config(), _minutes(folder))


def _minutes(folder: RunFolder) -> float | None:
    """Duration of the training steps in minutes; None without metrics."""
    try:
        seconds = [float(line["seconds"]) for line in folder.read_metrics()]
    except (RunError, ValueError, KeyError, TypeError) as error:
        raise EvaluationError(
            f"'{folder.metrics_file}' cannot be read: {error!r}; expected one line of JSON "
            "with 'seconds' per epoch: delete the file to omit the minutes"
        ) from error
    return sum(seconds) / 60 if seconds else None
