"""Leaderboards: results of many trainings side by side, as far as they may stand side by side.

Results share a table only where protocol, direction, gallery convention, CMC, trials, data,
similarity and what was done to the ranking are equal. Within a table the trainings of one recipe
with the same options are one row, the mean over their seeds; what else differs between rows is
said.

Example:
    >>> boards = leaderboard(read_entries([Path("runs/dlis"), Path("runs/agw")]))  # doctest: +SKIP
    >>> print(markdown(boards))  # doctest: +SKIP
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from vireid.errors import EvaluationError, first_few
from vireid.evaluation.markdown import markdown_list, markdown_table
from vireid.evaluation.result import SCORES, Result, Score, Statistic
from vireid.runs import Run
from vireid.runs.names import overrides, row_names

__all__ = ["SYNTHETIC", "Board", "Entry", "Row", "Score", "leaderboard", "markdown"]

SYNTHETIC = (
    "These people are synthetic and so are these numbers: they say nothing about accuracy on real "
    "people."
)
_ALWAYS = ("backbone", "size")  # conditions that have a column even where all rows agree
_WHERE_THEY_DIFFER = ("weights", "epochs", "batch", "precision", "model", "training data")
_CONDITIONS = (*_ALWAYS, *_WHERE_THEY_DIFFER)
# Options that the conditions show already.
_SHOWN = {"backbone", "size", "weights", "epochs", "identities", "images", "precision", "select"}


class Entry(NamedTuple):
    """A result and the training it is of.

    Attributes:
        result: The result.
        source: The run's folder; the result's file where its run is not known.
        run: What was trained, if known.
        minutes: How long the steps of its training took, if known.
    """

    result: Result
    source: Path
    run: Run | None = None
    minutes: float | None = None

    @property
    def seed(self) -> str:
        """The seed of the training, ``?`` where it is not known."""
        return str(self.run.seed) if self.run else self.result.about.get("seed", "?")

    @property
    def conditions(self) -> dict[str, str]:
        """What a score depends on besides the method, as text by name; ``?`` where not known."""
        found = {name: self.result.about.get(name, "?") for name in _CONDITIONS}
        if self.run:
            batch, data = self.run.recipe.batch, self.run.data
            found["batch"] = f"{batch.identities} x ({batch.images} + {batch.images})"
            held = ", some identities held out" if data.hold_out else ""
            found["training data"] = f"{data.layout} {data.root}{held}"
        return found


@dataclass(frozen=True, slots=True)
class Row:
    """One row: the trainings of one recipe with the same options, which differ in the seed.

    Attributes:
        name: The recipe, with what tells it from other rows.
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
        """Mean duration of a training, in minutes; None where one is not known."""
        known = [entry.minutes for entry in self.entries if entry.minutes is not None]
        return statistics.fmean(known) if len(known) == len(self.entries) else None

    def score(self, name: Score) -> Statistic:
        """A score in [0, 1]: mean and sample deviation over the seeds (0 for one seed).

        Each training counts by its mean over the trials.
        """
        return Statistic.of(entry.result.scores[name].mean for entry in self.entries)

    def cells(self) -> list[str]:
        """R-1 to mINP in percent; with ± deviation over the seeds where there are several."""
        with_std = len(self.entries) > 1
        return [self.score(name).percent(with_std=with_std) for name in SCORES]

    @property
    def low(self) -> int:
        """How many of its trainings are at chance level."""
        return sum(entry.result.at_chance for entry in self.entries)

    @property
    def label(self) -> str:
        """The name, marked where trainings are at chance level."""
        if not self.low:
            return self.name
        part = f"{self.low} of {len(self.entries)} " if len(self.entries) > 1 else ""
        return f"{self.name} ({part}AT CHANCE LEVEL)"


@dataclass(frozen=True, slots=True)
class Board:
    """One table: rows whose results may be compared.

    Attributes:
        rows: The rows, the best first.
        notes: What a reader must know to judge them, a sentence each.
    """

    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    @property
    def result(self) -> Result:
        """One of its results, for what all of them share."""
        return self.rows[0].entries[0].result

    @property
    def title(self) -> str:
        """Protocol and direction, with what was done to the ranking or the features."""
        return self.result.title

    @property
    def conditions(self) -> list[str]:
        """What is equal in all rows, a few sentences."""
        result, first = self.result, self.result.trials[0]
        trials = len(result.trials)
        # The data's folder is of interest only where rows differ in it.
        equal = [
            f"{name} {value}"
            for name, value in self._shared().items()
            if name not in (*_ALWAYS, "training data") and value != "?"
        ]
        flags = "; ".join(f"{name} {kind}" for name, kind in result.flags.items())
        return [
            f"{result.convention}; CMC by {result.cmc_kind}; {result.similarity} similarity; "
            f"{flags}.",
            f"{first.queries:,} queries, {first.gallery:,} gallery images, data "
            f"{result.data_fingerprint[:12]}; scores in percent, "
            + (f"each the mean over {trials} trials." if trials > 1 else "of one trial."),
            *([f"All rows: {', '.join(equal)}."] if equal else []),
        ]

    def _shared(self) -> dict[str, str]:
        """The conditions that all rows agree in."""
        first = self.rows[0].conditions
        return {n: v for n, v in first.items() if all(r.conditions[n] == v for r in self.rows)}

    def _shown(self) -> list[str]:
        """The conditions that have a column."""
        shared = self._shared()
        return [*_ALWAYS, *(name for name in _WHERE_THEY_DIFFER if name not in shared)]

    @property
    def texts(self) -> int:
        """How many columns of the table hold text: recipe, conditions and seeds."""
        return len(self._shown()) + 2

    def table(self) -> list[list[str]]:
        """The cells: a line of column names, a line a row, and a random ranking's."""
        shown = self._shown()
        chance = self.result.chance.mean_ap
        lines = [["recipe", *shown, "seeds", *SCORES, "mAP / chance", "minutes"]]
        for row in self.rows:
            lines.append(
                [
                    row.label,
                    *(row.conditions[name] for name in shown),
                    f"{len(row.entries)} ({', '.join(entry.seed for entry in row.entries)})",
                    *row.cells(),
                    f"{row.score('mAP').mean / chance:.1f}",
                    "" if row.minutes is None else f"{row.minutes:.1f}",
                ]
            )
        blank = [""] * (len(shown) + 1)
        lines.append(["chance", *blank, *self.result.chance_cells(), "1.0", ""])
        timed = any(row.minutes is not None for row in self.rows)
        return lines if timed else [line[:-1] for line in lines]


def leaderboard(entries: Iterable[Entry], *, sort: Score = "mAP") -> list[Board]:
    """Put results into as few tables as they may stand in.

    Args:
        entries: Results, each once.
        sort: The score that rows are sorted by, the highest first.

    Returns:
        A table for each kind of result, by protocol.

    Raises:
        EvaluationError: There is no result, or a run has two that belong into one table.
    """
    groups: dict[tuple[Any, ...], list[Entry]] = {}
    for entry in entries:
        groups.setdefault(_kind(entry.result), []).append(entry)
    if not groups:
        raise EvaluationError("no result for a leaderboard; expected at least one")
    return [_board(group, sort) for _, group in sorted(groups.items())]


def markdown(boards: Sequence[Board]) -> str:
    """The tables as Markdown whose columns also line up as plain text."""
    parts = ["# Leaderboard"]
    for board in boards:
        parts += [
            f"## {board.title}",
            markdown_list(board.conditions),
            markdown_table(board.table(), left=board.texts),
            markdown_list(board.notes),
        ]
    return "\n\n".join(parts) + "\n"


def _kind(result: Result) -> tuple[Any, ...]:
    """What results of one table must share; sorts by protocol first."""
    treatment = (result.similarity, *result.flags.values())
    return (*result.kind, *treatment, len(result.trials), result.data_fingerprint)


def _board(entries: Sequence[Entry], sort: Score) -> Board:
    sources = [entry.source for entry in entries]
    for source in sources:
        if sources.count(source) > 1:
            result = entries[sources.index(source)].result
            raise EvaluationError(
                f"'{source}' has more than one result of {result.protocol}, {result.direction}, "
                "of the same kind; expected one: delete the files in its folder results that are "
                "out of date"
            )
    rows, notes = _rows(entries)
    rows.sort(key=lambda row: (-row.score(sort).mean, row.name))
    synthetic = entries[0].result.protocol.startswith("SynVI")
    return Board(
        tuple(rows),
        (
            *([SYNTHETIC] if synthetic else []),
            *_differences(rows),
            *_departures(entries),
            *notes,
            *_reading(rows),
        ),
    )


def _rows(entries: Sequence[Entry]) -> tuple[list[Row], list[str]]:
    """Trainings that differ in the seed only are one row; returns notes on those that are not."""
    names = row_names({entry.source: entry.run for entry in entries if entry.run})
    rows: list[Row] = []
    notes: list[str] = []
    trainings: dict[tuple[str, ...], list[Entry]] = {}
    for entry in sorted(entries, key=_by_seed):
        if entry.run:
            # The conditions too: a result may be older than the config.yaml beside it.
            alike = (names[entry.source], *entry.conditions.values())
            trainings.setdefault(alike, []).append(entry)
    for (name, *_), same in trainings.items():
        seeds = [entry.seed for entry in same]
        twice = [seed for seed in dict.fromkeys(seeds) if seeds.count(seed) > 1]
        if twice:
            rows += [Row(name, (entry,)) for entry in same]
            notes.append(
                f"{name}: not pooled over seeds, because seed {', '.join(twice)} is there more "
                "than once."
            )
        else:
            rows.append(Row(name, tuple(same)))
    for entry in entries:
        if not entry.run:
            rows.append(Row(entry.result.about.get("recipe", entry.source.stem), (entry,)))
            notes.append(
                f"{entry.source}: its run is not known, so neither are all of its options; it is "
                "pooled with no other."
            )
    called = [row.name for row in rows]
    told = [Row(_told(row), row.entries) if called.count(row.name) > 1 else row for row in rows]
    return told, notes


def _by_seed(entry: Entry) -> tuple[int, str]:
    return (entry.run.seed if entry.run else 0, str(entry.source))


def _told(row: Row) -> str:
    """The name with the folders, where another row has the same."""
    return f"{row.name} [{first_few(entry.source for entry in row.entries)}]"


def _differences(rows: Sequence[Row]) -> list[str]:
    """A sentence for each condition in which rows differ."""
    found = []
    for condition in _CONDITIONS:
        values: dict[str, list[str]] = {}
        for row in rows:
            values.setdefault(row.conditions[condition], []).append(row.name)
        if len(values) > 1:
            told = {value: ", ".join(names) for value, names in values.items()}
            usual = max(values, key=lambda value: len(values[value]))
            if len(values[usual]) > 3:
                del told[usual]
                told[usual] = "all others"
            text = "; ".join(f"{value} ({names})" for value, names in told.items())
            found.append(f"These rows differ in {condition}: {text}.")
    return found


def _departures(entries: Sequence[Entry]) -> list[str]:
    """What all runs of a recipe depart from it in and no column shows; a sentence for each such."""
    alike: dict[str, list[str]] = {}
    for recipe, changed in overrides([entry.run for entry in entries if entry.run]).items():
        unseen = [f"{name}={value}" for name, value in changed.items() if name not in _SHOWN]
        if unseen:
            alike.setdefault(", ".join(unseen), []).append(recipe)
    return [
        f"{recipes[0]} is not quite the recipe of this name: {told}."
        if len(recipes) == 1
        else f"{', '.join(recipes)} are not quite the recipes of these names: {told}."
        for told, recipes in alike.items()
    ]


def _reading(rows: Sequence[Row]) -> list[str]:
    """How to read the figures."""
    found = []
    if any(len(row.entries) > 1 for row in rows):
        found.append(
            "±: sample deviation over training seeds (not over trials); a row of one seed has none."
        )
    if any(len(row.entries) == 1 for row in rows):
        found.append(
            "A row of one seed says nothing about other seeds, which may change the order of rows."
        )
    if any(row.minutes is not None for row in rows):
        found.append("Minutes: the training steps of one run, on the machine that it ran on.")
    return found
