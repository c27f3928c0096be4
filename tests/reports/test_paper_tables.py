"""Leaderboards as LaTeX and CSV, significance, and published figures beside measured ones."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.reports.test_leaderboard import PROTOCOL, SCORES, entry, run

from vireid.evaluation.bootstrap import DRAWS
from vireid.evaluation.result import Result
from vireid.reports.leaderboard import BELOW, Board, Entry, leaderboard, markdown
from vireid.reports.paper_tables import csv_tables, latex_tables
from vireid.reports.published import published_for

PUBLISHED = replace(
    PROTOCOL, name="SYSU-MM01 all-search single-shot", direction="infrared to visible"
)
SEEDS = (0, 1, 2)


def boards(*, noise: tuple[float, float] = (0.6, 2.5)) -> list[Board]:
    """Three seeds of two methods, under a published protocol."""
    return leaderboard(
        entry(f"{name}-{seed}", run(name, seed=seed, root="/d"), noise=level, on=PUBLISHED)
        for name, level in zip(("dlis-cpu", "agw-cpu"), noise, strict=True)
        for seed in SEEDS
    )


def by_hand(first: list[Result], second: list[Result]) -> float:
    """The p-value of the mAP, by loops over identities."""
    rng = np.random.default_rng(0)
    people = sorted({i for r in first + second for t in r.trials for i in t.by_identity.identity})
    draws = rng.multinomial(len(people), [1 / len(people)] * len(people), size=DRAWS)
    changes = []
    for draw in draws:
        means = []
        for results in (first, second):
            scores = []
            for trial in (t.by_identity for r in results for t in r.trials):
                weights = [int(draw[people.index(i)]) for i in trial.identity]
                total = sum(w * ap for w, ap in zip(weights, trial.ap, strict=True))
                count = sum(w * n for w, n in zip(weights, trial.queries, strict=True))
                scores.append(total / count)
            means.append(sum(scores) / len(scores))
        changes.append(means[1] - means[0])
    smaller = min(sum(c <= 0 for c in changes), sum(c >= 0 for c in changes))
    return min(1.0, 2 * max(smaller, 1) / len(changes))


def latex_faults(text: str) -> list[str]:
    """What LaTeX would not compile, or compile to something else: a strict check of the syntax."""
    faults = []
    lines = [line for line in text.splitlines() if not line.startswith("%")]
    body = "\n".join(lines)
    opened: list[str] = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+\*?)\}", body):
        if kind == "begin":
            opened.append(name)
        elif not opened or opened.pop() != name:
            faults.append(f"\\end{{{name}}}")
    plain = re.sub(r"\\[\\&%$#_{}]", "", body)
    depth = 0
    for character in plain:
        depth += {"{": 1, "}": -1}.get(character, 0)
        faults += ["}"] if depth < 0 else []
    faults += opened + (["{"] if depth else [])
    columns = {len(spec) for spec in re.findall(r"\\begin\{tabular\}\{([lrc]+)\}", body)}
    # A row ends in \\\\ and has as many cells as the table has columns.
    rows = [line for line in lines if line.endswith("\\\\")]
    cells = {len(re.sub(r"\\&", "", row).split("&")) for row in rows}
    faults += [] if cells == columns else [f"{cells} cells in {columns} columns"]
    faults += re.findall(r"(?<!\\)[#%_]", plain)
    faults += [] if plain.count("$") % 2 == 0 else ["$"]
    known = {*("begin", "end", "caption", "centering", "toprule", "midrule", "bottomrule")}
    known |= {
        *(
            "footnotesize",
            "setlength",
            "tabcolsep",
            "belowcaptionskip",
            "textbf",
            "textcolor",
            "pm",
            "dagger",
            "times",
            "ldots",
        ),
        *_TEXT,
    }
    faults += sorted({*re.findall(r"\\([A-Za-z]+)", body)} - known)
    return faults + re.findall(r"[^\x00-\x7f]", re.sub(r"[^\W\d_]", "", body))


_TEXT = {"textbackslash", "textasciitilde", "textasciicircum", "textless", "textgreater"}


def test_the_significant_ones_are_marked() -> None:
    (board,) = boards()
    best, other = board.rows
    assert (best.name, other.name) == ("dlis-cpu", "agw-cpu")
    results = [[one.result for one in row.entries] for row in (best, other)]
    assert by_hand(*results) < 0.05
    assert ("agw-cpu", "mAP") in board.below
    assert not any(name == "dlis-cpu" for name, _ in board.below)
    assert BELOW in board.notes
    assert board.marked(other)[SCORES.index("mAP")].endswith(" †")
    (equal,) = boards(noise=(1.4, 1.4))
    results = [[one.result for one in row.entries] for row in equal.rows]
    assert by_hand(*results) > 0.05
    assert not any(score == "mAP" for _, score in equal.below)


def test_latex_of_seeds_and_published_figures() -> None:
    found = boards()
    text = latex_tables(found, published=True)
    assert latex_faults(text) == []
    rows = [line for line in text.splitlines() if line.endswith("\\\\")]
    assert sum("\\textcolor{gray}" in row for row in rows) == len(published_for(found[0].result))
    [dlis] = [row for row in rows if row.startswith("dlis-cpu")]
    score = found[0].rows[0].score("mAP")
    mean, deviation = f"{100 * score.mean:.2f}", f"{100 * score.std:.2f}"
    assert f"\\textbf{{{mean} $\\pm$ {deviation}}}" in dlis
    [shared] = found[0].in_all_rows()
    assert shared.startswith("All rows: backbone ")
    assert shared in text.replace("\\_", "_")
    [agw] = [row for row in rows if row.startswith("agw-cpu")]
    assert "$^{\\dagger}$" in agw
    assert "gray" not in latex_tables(found)


@pytest.mark.parametrize(
    "name", ["50 % & a_b #1 {x}", "~^\\", "Zoë <1 ± 2> $5 …", "a\\end{tabular}"]
)
def test_names_are_escaped(name: str) -> None:
    (board,) = boards()
    about = {**board.result.about, "recipe": name}
    lone = Entry(replace(board.result, about=about), Path("x"))
    assert latex_faults(latex_tables(leaderboard([lone]))) == []


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        ("a & b \\\\", "cells"),
        ("100 %", "%"),
        ("\\foo", "foo"),
        ("{", "{"),
        ("\\end{x}", "x"),
        ("†", "†"),
    ],
)
def test_the_check_of_the_syntax_finds_faults(damage: str, fault: str) -> None:
    text = latex_tables(boards()).replace("\\bottomrule", f"\\bottomrule\n x {damage}")
    assert any(fault in found for found in latex_faults(text))


def test_csv() -> None:
    found = boards()
    rows = list(csv.DictReader(io.StringIO(csv_tables(found, published=True))))
    kinds = [row["kind"] for row in rows]
    figures = published_for(found[0].result)
    assert kinds == ["measured"] * 2 + ["chance"] + ["published"] * len(figures)
    assert (rows[0]["name"], rows[0]["seeds"]) == ("dlis-cpu", "0 1 2")
    score = found[0].rows[0].score("mAP")
    assert float(rows[0]["mAP"]) == pytest.approx(100 * score.mean, abs=0.005)
    assert float(rows[0]["mAP deviation"]) == pytest.approx(100 * score.std, abs=0.005)
    assert "mAP" in rows[1]["significantly below the best"].split()
    assert all(row["remark"] for row in rows if row["kind"] == "published")


def test_published_figures_are_in_tables_of_their_own() -> None:
    found = boards()
    text = markdown(found, published=True)
    assert text.count("published, not measured here") == 1
    agw = next(line for line in text.splitlines() if line.startswith("| *AGW (TPAMI 2021)*"))
    assert re.search(
        r"47\.50 .* 47\.65 .* 35\.30 .*README of its code; re-ranking: not stated", agw
    )
    assert "published" not in markdown(found)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"protocol": "SynVI as SYSU-MM01 all-search single-shot"}, False),
        ({"direct_transfer": True}, False),
        ({"direction": "visible to infrared"}, False),
        ({"protocol": "Own data"}, False),
        ({"protocol": "RegDB, mean over trials 1, 2", "direction": "visible to thermal"}, True),
        ({"protocol": "LLCM single-shot", "direction": "visible to infrared"}, True),
    ],
)
def test_published_figures_are_of_the_same_protocol(
    changes: dict[str, str], expected: bool
) -> None:
    result = replace(boards()[0].result, **changes)  # type: ignore[arg-type]
    assert bool(published_for(result)) == expected
