"""Results as text: the field's table, with all that a number means nothing without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vireid.errors import EvaluationError, first_few
from vireid.evaluation.bootstrap import METRICS
from vireid.evaluation.result import RANKS, CmcKind, Result

__all__ = [
    "cells",
    "chance_cells",
    "conditions",
    "markdown_list",
    "markdown_table",
    "page",
    "row_name",
    "table",
]


def page(result: Result) -> str:
    """One result: its conditions, the table with chance, its certainty, and where it stands."""
    lines = [
        f"{result.protocol}, {result.direction}",
        *(f"  {line}" for line in conditions(result)),
        "",
        table({"result": result}),
        "",
        *_certainty(result),
        *(_banner(result.statement) if result.at_chance else [result.statement]),
    ]
    return "\n".join(lines)


def conditions(result: Result) -> list[str]:
    """What must be known to compare the figures of a result with others, a few sentences."""
    first, count = result.trials[0], len(result.trials)
    flags = "; ".join(f"{name} {kind}" for name, kind in result.flags.items())
    lines = [
        f"{result.convention}; CMC by {result.cmc_kind}; {count} trial{'s' if count > 1 else ''}",
        f"{result.similarity} similarity; {flags}",
        f"{first.queries:,} queries, {first.gallery:,} gallery images, "
        f"{result.feature_size}-d features"
        + (f", weights {result.weights_fingerprint[:12]}" if result.weights_fingerprint else ""),
    ]
    if result.unmatched:
        each = sum(t.unmatched for t in result.trials) / count
        lines.append(
            f"{each:,.4g} queries a trial have no match in the gallery and are left out: "
            + first_few(result.unmatched)
        )
    if result.about:
        lines.append(", ".join(f"{key} {value}" for key, value in result.about.items()))
    return lines


def table(results: Mapping[str, Result]) -> str:
    """Several results of one protocol side by side, in percent, with chance beneath.

    A row whose features or ranking were treated (re-ranking and the like) says so.

    Args:
        results: Result by row name.

    Returns:
        A Markdown table whose columns also line up as plain text.

    Raises:
        EvaluationError: No result, or results of different protocols, whose rows nobody should
            compare.
    """
    if not results:
        raise EvaluationError("a table needs at least one result")
    kinds = {result.kind for result in results.values()}
    if len(kinds) > 1:
        raise EvaluationError(
            f"one table of different protocols: {sorted(kinds)}; expected one protocol, direction "
            "and convention a table"
        )
    lines = [
        ["", *(f"R-{rank}" for rank in RANKS), "mAP", "mINP"],
        *([row_name(name, result), *cells(result)] for name, result in results.items()),
        ["chance", *chance_cells(next(iter(results.values())))],
    ]
    return markdown_table(lines, left=1)


def markdown_table(lines: Sequence[Sequence[str]], *, left: int) -> str:
    """Cells as a Markdown table that also lines up as plain text.

    Args:
        lines: The cells, those of the head first.
        left: How many columns hold text, which stands to the left; the others hold figures.
    """
    escaped = [[" ".join(cell.replace("|", "\\|").split()) for cell in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*escaped, strict=True)]
    rule = ["-" * w if i < left else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    head, *body = [
        [cell.ljust(w) if i < left else cell.rjust(w) for i, (cell, w) in enumerate(pairs)]
        for pairs in (list(zip(line, widths, strict=True)) for line in escaped)
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *body))


def markdown_list(sentences: Sequence[str]) -> str:
    """Sentences as a Markdown list, each on one line."""
    # A name may hold a line break, which would end the list.
    return "\n".join(f"- {' '.join(sentence.split())}" for sentence in sentences)


def cells(result: Result) -> list[str]:
    """R-1, R-5, R-10, R-20, mAP and mINP in percent, with ± deviation where trials > 1."""
    scores = [*(result.cmc(rank) for rank in RANKS), result.mean_ap, result.mean_inp]
    if len(result.trials) == 1:
        return [f"{100 * s.mean:.2f}" for s in scores]
    return [f"{100 * s.mean:.2f} ± {100 * s.std:.2f}" for s in scores]


def chance_cells(result: Result) -> list[str]:
    """The same columns for a random ranking."""
    chance = result.chance
    curve = [chance.cmc[min(rank, len(chance.cmc)) - 1] for rank in RANKS]
    return [f"{100 * score:.2f}" for score in [*curve, chance.mean_ap, chance.mean_inp]]


def row_name(name: str, result: Result) -> str:
    """A name, with what was done to the ranking or the features behind it."""
    used = [flag for flag, kind in result.flags.items() if kind != "none"]
    return f"{name} (with {', '.join(used)})" if used else name


def _certainty(result: Result) -> list[str]:
    """The other CMC, and the intervals over identities."""
    other: CmcKind = "image" if result.cmc_kind == "identity" else "identity"
    curve = ", ".join(f"R-{rank} {100 * result.cmc(rank, other).mean:.2f}" for rank in RANKS)
    lines = [f"CMC by {other}: {curve}."]
    found = {metric: result.interval(metric) for metric in METRICS}
    ends = [f"{m} {100 * i.low:.2f} to {100 * i.high:.2f}" for m, i in found.items() if i]
    if ends:
        lines.append(f"95 % interval over identities (bootstrap): {', '.join(ends)}.")
    return lines


def _banner(text: str) -> list[str]:
    bar = "!" * min(len(text) + 6, 100)
    return [bar, f"!! {text}", bar]
