from __future__ import annotations

from dataclasses import asdict, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.evaluation.test_bootstrap import noisy, toy

from vireid.data.layouts import DataSource
from vireid.errors import EvaluationError
from vireid.evaluation import Protocol, Result
from vireid.features.extractor import about_run
from vireid.methods import catalogue
from vireid.reports.leaderboard import (
    SYNTHETIC,
    Entry,
    Row,
    Score,
    leaderboard,
    markdown,
)
from vireid.runs import Run
from vireid.runs.names import options, overrides, row_names

SCORES: tuple[Score, ...] = ("R-1", "R-5", "R-10", "R-20", "mAP", "mINP")
PROTOCOL = toy(people=20)


def run(recipe: str = "dlis-cpu", *, seed: int = 0, root: str = "/d", **changes: Any) -> Run:
    """A run of a recipe with some options changed, wherever in the recipe they are."""
    chosen = catalogue()[recipe].recipe
    for part in fields(chosen):
        of_part = getattr(chosen, part.name)
        own = {k: changes.pop(k) for k in list(changes) if hasattr(of_part, k)}
        chosen = replace(chosen, **{part.name: replace(of_part, **own)})
    data = DataSource(layout="sysu-mm01", root=Path(root), hold_out=changes.pop("hold_out", False))
    return Run(name=recipe, recipe=chosen, data=data, seed=seed, **changes)


def entry(
    name: str, trained: Run, *, noise: float = 1.4, on: Protocol = PROTOCOL, **of_result: Any
) -> Entry:
    result = noisy(noise, len(name) + trained.seed, on)
    result = replace(result, about=about_run(trained), **of_result)
    return Entry(result, Path(name), trained)


def only(entries: list[Entry], sort: Score = "mAP") -> tuple[Row, ...]:
    (board,) = leaderboard(entries, sort=sort)
    return board.rows


def by_hand(result: Result, score: Score) -> float:
    """The mean over the trials, in float64."""
    total = np.float64(0)
    for trial in result.trials:
        if score.startswith("R-"):
            total += trial.cmc(result.cmc_kind)[int(score[2:]) - 1]
        else:
            total += trial.mean_ap if score == "mAP" else trial.mean_inp
    return float(total / len(result.trials))


def test_seeds_are_pooled_as_by_hand() -> None:
    two_trials = Protocol.of(
        [
            ([PROTOCOL.records[i] for i in t.query], [PROTOCOL.records[i] for i in gallery])
            for t in PROTOCOL.trials
            for gallery in (t.gallery, t.gallery[::2])
        ],
        name="Toy", direction="infrared to visible", convention="all", cmc="image",
    )  # fmt: skip
    entries = [
        entry(f"run-{seed}", run(seed=seed), noise=1.2 + 0.2 * seed, on=two_trials)
        for seed in (2, 0, 1)
    ]
    (row,) = only(entries)
    assert [e.seed for e in row.entries] == ["0", "1", "2"]
    for score in SCORES:
        values = [by_hand(e.result, score) for e in entries]
        mean = sum(values) / 3
        deviation = (sum((v - mean) ** 2 for v in values) / 2) ** 0.5
        assert row.score(score) == pytest.approx((mean, deviation), abs=1e-12)
    mean_ap = row.score("mAP")
    assert row.cells()[4] == f"{100 * mean_ap.mean:.2f} ± {100 * mean_ap.std:.2f}"
    # Over trials each of them has a deviation, and it is another figure.
    assert entries[0].result.mean_ap.std > 0


def test_one_seed_has_no_deviation_though_it_has_trials() -> None:
    twice = replace(PROTOCOL, trials=PROTOCOL.trials * 2)
    (board,) = leaderboard([entry("a", run(), on=twice)])
    text = markdown([board])
    assert "±" not in text
    assert "scores in percent, each the mean over 2 trials" in text
    assert "With one seed, the variation over seeds is unknown" in text
    assert len(only([entry("a", run(seed=0)), entry("b", run(seed=1))])) == 1


UNLIKE = [
    {"protocol": "Another"},
    {"direction": "visible to infrared"},
    {"convention": "seeded draw"},
    {"cmc_kind": "identity"},
    {"data_fingerprint": "0" * 64},
    {"similarity": "euclidean"},
    {"query_expansion": "alpha (neighbours 2, power 3)"},
    {"reranking": "k-reciprocal (k1 20)"},
    {"test_time_augmentation": "horizontal flip"},
]


@pytest.mark.parametrize("unlike", UNLIKE, ids=lambda unlike: next(iter(unlike)))
def test_results_of_different_kinds_never_share_a_table(unlike: dict[str, Any]) -> None:
    first, second = entry("a", run(seed=0)), entry("b", run(seed=1), **unlike)
    boards = leaderboard([first, second])
    assert [len(board.rows) for board in boards] == [1, 1]
    assert all(len(board.rows[0].entries) == 1 for board in boards)
    assert leaderboard([second, first]) == boards
    # A reader can tell the tables apart.
    heads = ["\n".join([board.title, *board.conditions]) for board in boards]
    assert heads[0] != heads[1]


def test_another_number_of_trials_is_another_table() -> None:
    first = entry("a", run(seed=0))
    more = replace(first.result, trials=first.result.trials * 2)
    assert len(leaderboard([first, Entry(more, Path("b"), run(seed=1))])) == 2


@pytest.mark.parametrize(
    ("changed", "condition", "values"),
    [
        ({"backbone": "resnet18"}, "backbone", ("efficientnet_lite0", "resnet18")),
        ({"weights": "none"}, "weights", ("imagenet", "none")),
        ({"size": (96, 48)}, "size", ("144x72", "96x48")),
        ({"epochs": 3}, "epochs", ("16", "3")),
        ({"precision": "bf16-mixed"}, "precision", ("32-true", "bf16-mixed")),
        ({"tone_mapping": "full"}, "tone mapping", ("auto", "full")),
        ({"images": 2}, "batch", ("8 x (4 + 4)", "8 x (2 + 2)")),
        ({"identities": 5}, "batch", ("8 x (4 + 4)", "5 x (4 + 4)")),
        (
            {"hold_out": True, "select": "validation"},
            "model",
            ("last epoch", "best epoch on validation identities"),
        ),
        (
            {"hold_out": True},
            "training data",
            ("sysu-mm01 /d", "sysu-mm01 /d, some identities held out"),
        ),
        ({"root": "/e"}, "training data", ("sysu-mm01 /d", "sysu-mm01 /e")),
    ],
)
def test_rows_that_differ_in_a_condition_say_so(
    changed: dict[str, Any], condition: str, values: tuple[str, str]
) -> None:
    first, other = entry("a", run("dlis-cpu")), entry("bb", run("agw-cpu", **changed))
    (board,) = leaderboard([first, other])
    told = {e.run.name: v for e, v in zip((first, other), values, strict=True) if e.run}
    parts = "; ".join(f"{told[row.name]} ({row.name})" for row in board.rows)
    assert f"Rows differ in {condition}: {parts}." in board.notes
    head, *rows, _ = board.table()
    assert {row[0]: row[head.index(condition)] for row in rows} == told
    assert f"{condition} " not in board.conditions[2]
    (alike,) = leaderboard([first, entry("c", run("agw-cpu"))])
    assert not any("differ" in note for note in alike.notes)
    # And the seeds of one recipe are not pooled over it.
    assert len(only([first, entry("b", run("dlis-cpu", seed=1, **changed))])) == 2


def test_a_result_older_than_its_config_is_pooled_with_no_other() -> None:
    stale = entry("b", run(seed=1, epochs=3))._replace(run=run(seed=1))
    (board,) = leaderboard([entry("a", run(seed=0)), stale])
    assert sorted(row.name for row in board.rows) == ["dlis-cpu ['a']", "dlis-cpu ['b']"]
    assert any("differ in epochs" in note for note in board.notes)


def test_one_seed_twice_is_not_pooled() -> None:
    entries = [entry("a", run()), entry("b", run()), entry("c", run(seed=1))]
    (board,) = leaderboard(entries)
    assert {row.name for row in board.rows} == {f"dlis-cpu ['{n}']" for n in "abc"}
    assert any("seed 0 occurs more than once" in note for note in board.notes)


def test_a_run_with_two_results_of_one_kind_is_refused() -> None:
    first = entry("runs/a", run())
    with pytest.raises(EvaluationError, match="'runs/a' has more than one result of Toy"):
        leaderboard([first, first])
    with pytest.raises(EvaluationError, match="at least one"):
        leaderboard([])


def test_a_result_without_its_run_stands_alone() -> None:
    known = entry("runs/a", run())
    lone = [Entry(known.result, Path(f"{name}.json")) for name in ("x", "y")]
    plain = Entry(replace(known.result, about={}), Path("mine.json"))
    (board,) = leaderboard([known, *lone, plain])
    assert sorted(row.name for row in board.rows) == [
        "dlis-cpu ['runs/a']",
        "dlis-cpu ['x.json']",
        "dlis-cpu ['y.json']",
        "mine",
    ]
    assert sum("its run is unknown" in note for note in board.notes) == 3
    assert any(note.startswith("Rows differ in batch: ") for note in board.notes)
    (unknown,) = leaderboard([plain])
    assert len(unknown.conditions) == 2
    head, row, _ = unknown.table()
    assert row[head.index("seeds")] == "1 (?)"


@pytest.mark.parametrize("score", SCORES)
def test_rows_are_sorted_by_any_score_and_chance_is_last(score: Score) -> None:
    noises = {"agw-cpu": 2.0, "dlis-cpu": 1.2, "tslfn-cpu": 1.6}
    entries = [entry(name, run(name), noise=noise) for name, noise in noises.items()]
    # One that is better in Rank-1 alone.
    best = tuple(
        replace(t, cmc_by_image=tuple(1.0 for _ in t.cmc_by_image))
        for t in entries[0].result.trials
    )
    entries[0] = entries[0]._replace(result=replace(entries[0].result, trials=best))
    (board,) = leaderboard(entries, sort=score)
    means = [row.score(score).mean for row in board.rows]
    assert means == sorted(means, reverse=True)
    assert (board.rows[0].name == "agw-cpu") == score.startswith("R-")
    head, *_, last = board.table()
    assert last[0] == "chance"
    assert last[head.index("R-1") : head.index("mINP") + 1] == entries[0].result.chance_cells()
    assert last[head.index("mAP / chance")] == "1.0"
    assert len(last) == len(head)


def test_times_chance_and_minutes() -> None:
    entries = [entry("a", run(seed=0)), entry("b", run(seed=1)), entry("c", run("agw-cpu"))]
    timed = [e._replace(minutes=m) for e, m in zip(entries, (1.0, 2.0, None), strict=True)]
    (board,) = leaderboard(timed)
    head, *rows, chance = board.table()
    assert head[-1] == "minutes"
    assert {row[0]: row[-1] for row in rows} == {"dlis-cpu": "1.5", "agw-cpu": ""}
    assert chance[-1] == ""
    result = entries[2].result
    (agw,) = (row for row in rows if row[0] == "agw-cpu")
    expected = by_hand(result, "mAP") / float(np.mean([t.chance.mean_ap for t in result.trials]))
    assert agw[head.index("mAP / chance")] == f"{expected:.1f}"
    (untimed,) = leaderboard(entries)
    assert "minutes" not in untimed.table()[0]
    (half,) = only([timed[0], entries[1]])
    assert half.minutes is None


def test_chance_level_is_marked() -> None:
    good, bad = entry("a", run(seed=0)), entry("b", run(seed=1), noise=1e3)
    assert bad.result.at_chance
    assert not good.result.at_chance
    assert only([good, bad])[0].label == "dlis-cpu (1 of 2 AT CHANCE LEVEL)"
    assert only([bad])[0].label == "dlis-cpu (AT CHANCE LEVEL)"
    assert only([good])[0].label == "dlis-cpu"


def test_synthetic_people_are_said_to_be() -> None:
    (real,) = leaderboard([entry("a", run())])
    (synthetic,) = leaderboard([entry("a", run(), on=toy(20, "SynVI as SYSU-MM01"))])
    assert SYNTHETIC not in real.notes
    assert synthetic.notes[0] == SYNTHETIC


def test_markdown_is_a_table_whatever_the_names() -> None:
    nasty = Entry(replace(noisy(1.4, 0, PROTOCOL), about={"recipe": "a|b\n| c"}), Path("x"))
    lines = markdown(leaderboard([nasty, entry("runs/a", run())])).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 5
    assert len({line.replace("\\|", "").count("|") for line in table}) == 1
    assert len({len(line) for line in table}) == 1
    assert any(line.startswith("| a\\|b \\| c ") for line in table)


def test_an_ablation_reads_as_its_changes() -> None:
    runs = {
        Path("a"): run(),
        Path("b"): run(palm="off"),
        Path("c"): run(stripes=3, seed=1),
        Path("d"): run(palm="off", stripes=3),
        Path("e"): run(seed=1, device="cpu"),
        Path("f"): run("agw-cpu", epochs=3),
    }
    assert list(row_names(runs).values()) == [
        "dlis-cpu",
        "dlis-cpu, palm=off",
        "dlis-cpu, stripes=3",
        "dlis-cpu, palm=off, stripes=3",
        "dlis-cpu",
        "agw-cpu",
    ]
    written = row_names(
        {Path("a"): run(), Path("b"): run(palm_shared=False, size=(96, 48), lr=2.0, hold_out=True)}
    )
    # The data are not the recipe's: both say what they have.
    assert written[Path("a")] == "dlis-cpu, hold-out=no"
    assert written[Path("b")] == "dlis-cpu, size=96 48, palm-shared=no, lr=2, hold-out=yes"


def test_a_recipe_that_is_not_known_names_both_sides() -> None:
    runs = {
        Path("a"): replace(run(), name="own"),
        Path("b"): replace(run(palm="off"), name="own"),
    }
    assert list(row_names(runs).values()) == ["own, palm=layer4", "own, palm=off"]
    assert overrides(runs.values()) == {}


CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "palm": st.sampled_from(["off", "layer3", "layer4"]),
        "center": st.sampled_from([0.0, 0.5, 0.1, 0.1 + 1e-12]),
        "epochs": st.sampled_from([3, 16]),
        "hold_out": st.booleans(),
        "precision": st.sampled_from(["32-true", "bf16-mixed"]),
        "root": st.sampled_from(["/d", "/e"]),
    },
)


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(st.sampled_from(["dlis-cpu", "tslfn-cpu"]), CHANGES, st.integers(0, 2)),
        max_size=5,
    )
)
def test_names_are_equal_exactly_where_only_the_seed_differs(
    drawn: list[tuple[str, dict[str, Any], int]],
) -> None:
    runs = {
        Path(str(i)): run(name, seed=seed, **changes)
        for i, (name, changes, seed) in enumerate(drawn)
    }
    names = row_names(runs)
    for one, first in runs.items():
        for other, second in runs.items():
            alike = replace(first, seed=0) == replace(second, seed=0)
            assert (names[one] == names[other]) == alike


def test_no_two_options_of_a_recipe_have_one_name() -> None:
    def leaves(value: object) -> int:
        if not is_dataclass(value):
            return 1
        return sum(leaves(getattr(value, f.name)) for f in fields(value))

    for name in catalogue():
        chosen = run(name)
        hidden = ("name", "seed", "device", "start", "adaptation")
        assert len(options(chosen)) == leaves(chosen) - len(hidden) + len(("kind",))
        assert options(chosen)["size"] == " ".join(map(str, chosen.recipe.method.size))


def test_departures_that_no_column_shows_are_noted() -> None:
    entries = [
        entry("a", run(lr=0.5, epochs=3, palm="off")),
        entry("bb", run(lr=0.5, epochs=3)),
        entry("c", run("agw-cpu")),
    ]
    (board,) = leaderboard(entries)
    (note,) = (n for n in board.notes if "deviates" in n)
    assert note == "dlis-cpu deviates from its recipe: lr=0.5."
    assert overrides([e.run for e in entries if e.run]) == {
        "dlis-cpu": {"epochs": "3", "lr": "0.5"}
    }
    assert asdict(run("dlis-cpu").recipe) == asdict(catalogue()["dlis-cpu"].recipe)


def test_recipes_with_the_same_deviations_share_a_note() -> None:
    entries = [
        entry("a", run(lr=0.5)),
        entry("b", run("agw-cpu", lr=0.5)),
        entry("c", run("tslfn-cpu", lr=0.25)),
    ]
    (board,) = leaderboard(entries)
    assert [n for n in board.notes if "deviate" in n] == [
        "dlis-cpu, agw-cpu deviate from their recipes: lr=0.5.",
        "tslfn-cpu deviates from its recipe: lr=0.25.",
    ]


def test_the_value_of_most_rows_is_listed_as_all_others() -> None:
    names = ("agw-cpu", "tslfn-cpu", "dlis-cpu", "tone-cpu", "bdtr-cpu")
    (board,) = leaderboard([entry(name, run(name)) for name in names])
    note = "Rows differ in batch: 32 x (1 + 1) (bdtr-cpu); 8 x (4 + 4) (all others)."
    assert note in board.notes
