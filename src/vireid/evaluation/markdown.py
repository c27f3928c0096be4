"""Text as Markdown that also reads well as plain text."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["markdown_list", "markdown_table"]


def markdown_table(lines: Sequence[Sequence[str]], *, left: int) -> str:
    """Format cells as a Markdown table whose columns line up in plain text.

    Args:
        lines: Rows of cells; the first row is the header.
        left: Number of leading columns that are left-aligned (text); the others hold numbers.
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
    """Format sentences as a Markdown list, one line each."""
    # A name may contain a line break, which would end the list.
    return "\n".join(f"- {' '.join(sentence.split())}" for sentence in sentences)
