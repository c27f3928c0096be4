"""Leaderboards: results of many trainings in tables; only comparable results share a table.

Results share a table if protocol, direction, gallery convention, CMC, trials, data, similarity and
post-processing are equal. Within a table the trainings of one recipe with the same options are one
row, the mean over their seeds; other differences between rows are listed below the table.

Example:
    >>> boards = leaderboard(read_entries([Path("runs/dlis"), Path("runs/agw")]))  # doctest: +SKIP
    >>> print(markdown(boards))  # doctest: +SKIP
"""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from vireid.data.tone_mapping import TONE_MAPPING
from vireid.errors import EvaluationError, first_few, many
from vireid.evaluation.bootstrap import METRICS
from vireid.evaluation.compare import difference
from vireid.evaluation.markdown import markdown_list, markdown_table
from vireid.evaluation.result import SCORES, Result, Score, Statistic
from vireid.reports.published import published_for
from vireid.runs import Run
from vireid.runs.names import overrides, row_names

__all__ = ["BELOW", "SYNTHETIC", "Board", "Entry", "Row", "Score", "leaderboard", "markdown"]

SYNTHETIC = (
    "These people are synthetic and so are these numbers: they say nothing about accuracy on real "
    "people."
)
BELOW = (
    "†: significantly below the best of its column (p < 0.05 by paired bootstrap over identities; "
    "not corrected for several rows, and without the variation over seeds)."
)
_ALWAYS = ("backbone", "size")  # conditions that always have a column
_IF_DIFFERENT = (
    *("weights", "epochs", "batch", "precision", "model", "trained on", "training data"),
    TONE_MAPPING,
)
_CONDITIONS = (*_ALWAYS, *_IF_DIFFERENT)
# Options that the conditions include already.
_SHOWN = {
    *("backbone", "size", "weights", "epochs", "identities", "images", "precision", "select"),
    "tone_mapping",
}


class Entry(NamedTuple):
    """A result and its training.

    Attributes:
        result: The result.
        source: The run folder; the result file if the run is unknown.
        run: Configuration of the training, if known.
        minutes: Duration of the training steps, if known.
    """

    result: Result
    source: Path
    run: Run | None = None
    minutes: float | None = None

    @property
    def seed(self) -> str:
        """The seed of the training; ``?`` if unknown."""
        return str(self.run.seed) if self.run else self.result.about.get("seed", "?")

    @property
    def conditions(self) -> dict[str, str]:
        """What a score depends on besides the method, as text by name; ``?`` if unknown."""
        found = {name: self.result.about.get(name, "?") for name in _CONDITIONS}
        if self.run:
            found[TONE_MAPPING] = self.run.tone_mapping
            batch, data = self.run.recipe.batch, self.run.data
            found["batch"] = f"{batch.identities} x ({batch.images} + {batch.images})"
            held = ", some identities held out" if data.hold_out else ""
            found["training data"] = f"{data.layout} {data.root}{held}"
        return found


@dataclass(frozen=True, slots=True)
class Row:
    """One row: trainings of one recipe with the same options and different seeds.

    Attributes:
        name: The recipe, with the options that distinguish it from other rows.
        entries: The trainings, by seed.
    """

    name: str
    entries: tuple[Entry, ...]

    @property
    def conditions(self) -> dict[str, str]:
        """The conditions of its trainings, equal in all of them."""
        return self.entries[0].conditions

    @property
    def minutes(self) -> float | None:
        """Mean duration of a training in minutes; None if one is unknown."""
        known = [entry.minutes for entry in self.entries if entry.minutes is not None]
        return statistics.fmean(known) if len(known) == len(self.entries) else None

    def score(self, name: Score) -> Statistic:
        """A score in [0, 1]: mean and sample deviation over the seeds (0 for one seed).

        Each training counts by its mean over the trials.
        """
        return Statistic.of(entry.result.scores[name].mean for entry in self.entries)

    def cells(self) -> list[str]:
        """R-1 to mINP in percent, with ± deviation over the seeds if there are several."""
        with_std = len(self.entries) > 1
        return [self.score(name).percent(with_std=with_std) for name in SCORES]

    @property
    def at_chance(self) -> int:
        """Number of its trainings at chance level."""
        return sum(entry.result.at_chance for entry in self.entries)

    @property
    def label(self) -> str:
        """The name, marked if trainings are at chance level."""
        if not self.at_chance:
            return self.name
        part = f"{self.at_chance} of {len(self.entries)} " if len(self.entries) > 1 else ""
        return f"{self.name} ({part}AT CHANCE LEVEL)"


@dataclass(frozen=True, slots=True)
class Board:
    """One table: rows with comparable results.

    Attributes:
        rows: The rows, best first.
        notes: What readers must know to judge them, one sentence each.
        below: Names of rows and scores that are significantly below the best of the column.
    """

    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    below: frozenset[tuple[str, Score]] = frozenset()

    def marked(self, row: Row) -> list[str]:
        """The scores of a row as text, marked where they are significantly below the best."""
        return [
            f"{cell} †" if (row.name, name) in self.below else cell
            for name, cell in zip(SCORES, row.cells(), strict=True)
        ]

    @property
    def result(self) -> Result:
        """One of its results, for what all of them have in common."""
        return self.rows[0].entries[0].result

    @property
    def title(self) -> str:
        """Protocol, direction and post-processing."""
        return self.result.title

    @property
    def conditions(self) -> list[str]:
        """What all rows have in common, one sentence each."""
        result, first = self.result, self.result.trials[0]
        trials = len(result.trials)
        flags = "; ".join(f"{name} {kind}" for name, kind in result.flags.items())
        return [
            f"{result.convention}; CMC by {result.cmc_kind}; {result.similarity} similarity; "
            f"{flags}.",
            f"{many(first.queries, 'query', 'queries')}, {many(first.gallery, 'gallery image')},"
            f" data {result.data_fingerprint[:12]}; scores in percent, "
            + (f"each the mean over {trials} trials." if trials > 1 else "of one trial."),
            *([f"Images of '{result.data}'."] if result.data else []),
            *self.in_all_rows(besides=_ALWAYS),
        ]

    def in_all_rows(self, *, besides: Sequence[str] = ()) -> list[str]:
        """The conditions that are equal in all rows as one sentence; none if there are none.

        Args:
            besides: Conditions to leave out.
        """
        # The folder of the data matters only if rows differ in it.
        equal = [
            f"{name} {value}"
            for name, value in self._shared().items()
            if name not in (*besides, "training data") and value != "?"
        ]
        return [f"All rows: {', '.join(equal)}."] if equal else []

    def _shared(self) -> dict[str, str]:
        """The conditions that are equal in all rows."""
        first = self.rows[0].conditions
        return {n: v for n, v in first.items() if all(r.conditions[n] == v for r in self.rows)}

    def _shown(self) -> list[str]:
        """The conditions with a column."""
        shared = self._shared()
        return [*_ALWAYS, *(name for name in _IF_DIFFERENT if name not in shared)]

    @property
    def text_columns(self) -> int:
        """Number of columns with text: recipe, conditions and seeds."""
        return len(self._shown()) + 2

    def table(self) -> list[list[str]]:
        """The cells: column names, then the rows, then the chance level."""
        shown = self._shown()
        chance = self.result.chance.mean_ap
        lines = [["recipe", *shown, "seeds", *SCORES, "mAP / chance", "minutes"]]
        for row in self.rows:
            lines.append(
                [
                    row.label,
                    *(row.conditions[name] for name in shown),
                    f"{len(row.entries)} ({', '.join(entry.seed for entry in row.entries)})",
                    *self.marked(row),
                    f"{row.score('mAP').mean / chance:.1f}",
                    "" if row.minutes is None else f"{row.minutes:.1f}",
                ]
            )
        blank = [""] * (len(shown) + 1)
        lines.append(["chance", *blank, *self.result.chance_cells(), "1.0", ""])
        timed = any(row.minutes is not None for row in self.rows)
        return lines if timed else [line[:-1] for line in lines]


def leaderboard(entries: Iterable[Entry], *, sort: Score = "mAP") -> list[Board]:
    """Group results into tables; only comparable results share one.

    Args:
        entries: Results, each once.
        sort: The score to sort rows by, in descending order.

    Returns:
        The tables, sorted by protocol.

    Raises:
        EvaluationError: There is no result, or a run has two results for the same table.
    """
    groups: dict[tuple[Any, ...], list[Entry]] = {}
    for entry in entries:
        groups.setdefault(_kind(entry.result), []).append(entry)
    if not groups:
        raise EvaluationError("no result for a leaderboard; expected at least one")
    return [_board(group, sort) for _, group in sorted(groups.items())]


def markdown(boards: Sequence[Board], *, published: bool = False) -> str:
    """Format the tables as Markdown.

    Args:
        boards: The tables.
        published: Add the published figures of each protocol, in tables of their own.
    """
    parts = ["# Leaderboard"]
    for board in boards:
        parts += [
            f"## {board.title}",
            markdown_list(board.conditions),
            markdown_table(board.table(), left=board.text_columns),
            markdown_list(board.notes),
        ]
        if figures := published_for(board.result) if published else []:
            lines = [["published, not measured here", *SCORES, "source"]]
            lines += [
                [f"*{one.name}*", *(one.scores.get(n, "") for n in SCORES), one.remark]
                for one in figures
            ]
            parts.append(markdown_table(lines, left=1))
    return "\n\n".join(parts) + "\n"


def _kind(result: Result) -> tuple[Any, ...]:
    """What the results of a table have in common; sorts by protocol first."""
    ranking = (result.similarity, *result.flags.values())
    return (*result.kind, *ranking, len(result.trials), result.data_fingerprint)


def _board(entries: Sequence[Entry], sort: Score) -> Board:
    sources = [entry.source for entry in entries]
    for source in sources:
        if sources.count(source) > 1:
            result = entries[sources.index(source)].result
            raise EvaluationError(
                f"'{source}' has more than one result of {result.protocol}, {result.direction}, "
                "of the same kind; expected one: delete outdated files from its folder results"
            )
    rows, notes = _rows(entries)
    rows.sort(key=lambda row: (-row.score(sort).mean, row.name))
    below = _below_best(rows)
    synthetic = entries[0].result.protocol.startswith("SynVI")
    return Board(
        tuple(rows),
        (
            *([SYNTHETIC] if synthetic else []),
            *_differences(rows),
            *_deviations(entries),
            *notes,
            *_legend(rows),
            *([BELOW] if below else []),
        ),
        below,
    )


def _below_best(rows: Sequence[Row]) -> frozenset[tuple[str, Score]]:
    """Names of rows and scores that are significantly below the best row in that score."""
    found = set()
    for metric in METRICS:
        best = max(rows, key=lambda row: row.score(metric).mean)
        for row in rows:
            first, second = ([entry.result for entry in each.entries] for each in (best, row))
            # One identity alone cannot be resampled.
            with contextlib.suppress(EvaluationError):
                if row is not best and difference(first, second, metric).is_significant:
                    found.add((row.name, metric))
    return frozenset(found)


def _rows(entries: Sequence[Entry]) -> tuple[list[Row], list[str]]:
    """Pool trainings that differ only in the seed; also return notes on those not pooled."""
    names = row_names({entry.source: entry.run for entry in entries if entry.run})
    rows: list[Row] = []
    notes: list[str] = []
    trainings: dict[tuple[str, ...], list[Entry]] = {}
    for entry in sorted(entries, key=_by_seed):
        if entry.run:
            # The conditions too: a result may be older than its run's config.yaml.
            key = (names[entry.source], *entry.conditions.values())
            trainings.setdefault(key, []).append(entry)
    for (name, *_), same in trainings.items():
        seeds = [entry.seed for entry in same]
        repeated = [seed for seed in dict.fromkeys(seeds) if seeds.count(seed) > 1]
        if repeated:
            rows += [Row(name, (entry,)) for entry in same]
            notes.append(
                f"{name}: not pooled over seeds, because seed {', '.join(repeated)} occurs more "
                "than once."
            )
        else:
            rows.append(Row(name, tuple(same)))
    for entry in entries:
        if not entry.run:
            rows.append(Row(entry.result.about.get("recipe", entry.source.stem), (entry,)))
            notes.append(
                f"{entry.source}: its run is unknown, so some options are too; it is not pooled."
            )
    used = [row.name for row in rows]
    unique = [_with_folders(row) if used.count(row.name) > 1 else row for row in rows]
    return unique, notes


def _by_seed(entry: Entry) -> tuple[int, str]:
    return (entry.run.seed if entry.run else 0, str(entry.source))


def _with_folders(row: Row) -> Row:
    """The row with its folders in its name."""
    folders = first_few(entry.source for entry in row.entries)
    return Row(f"{row.name} [{folders}]", row.entries)


def _differences(rows: Sequence[Row]) -> list[str]:
    """One sentence per condition in which rows differ."""
    found = []
    for condition in _CONDITIONS:
        values: dict[str, list[str]] = {}
        for row in rows:
            values.setdefault(row.conditions[condition], []).append(row.name)
        if len(values) > 1:
            listed = {value: ", ".join(names) for value, names in values.items()}
            usual = max(values, key=lambda value: len(values[value]))
            if len(values[usual]) > 3:
                del listed[usual]
                listed[usual] = "all others"
            text = "; ".join(f"{value} ({names})" for value, names in listed.items())
            found.append(f"Rows differ in {condition}: {text}.")
    return found


def _deviations(entries: Sequence[Entry]) -> list[str]:
    """One sentence per set of options in which all runs of a recipe deviate from it.

    Options that have a column are left out.
    """
    recipes_of: dict[str, list[str]] = {}
    for recipe, changed in overrides([entry.run for entry in entries if entry.run]).items():
        options = [f"{name}={value}" for name, value in changed.items() if name not in _SHOWN]
        if options:
            recipes_of.setdefault(", ".join(options), []).append(recipe)
    return [
        f"{recipes[0]} deviates from its recipe: {options}."
        if len(recipes) == 1
        else f"{', '.join(recipes)} deviate from their recipes: {options}."
        for options, recipes in recipes_of.items()
    ]


def _legend(rows: Sequence[Row]) -> list[str]:
    """How to read the table."""
    found = []
    if any(len(row.entries) > 1 for row in rows):
        found.append("±: sample standard deviation over training seeds (not over trials).")
    if any(len(row.entries) == 1 for row in rows):
        found.append(
            "With one seed, the variation over seeds is unknown; it may change the order of rows."
        )
    if any(row.minutes is not None for row in rows):
        found.append("Minutes: duration of the training steps of one run, on its machine.")
    return found
