"""The table of an ablation against arithmetic by hand."""

from __future__ import annotations

import re
from dataclasses import replace

from tests.reports.test_leaderboard import entry, run

from vireid.reports.ablation import ablation_section, paired_differences
from vireid.reports.leaderboard import SYNTHETIC, Entry, Row

PARAMETERS = {"base": 12_763_773, "palm=off": 10_714_172}


def row(name: str, noises: dict[int, float]) -> Row:
    """A row whose runs score the worse the more noise they have."""
    changes = {} if name == "base" else {"palm": "off"}
    entries = [
        entry(f"{name}-{seed}", run(seed=seed, **changes), noise=noise)._replace(minutes=seed + 1.0)
        for seed, noise in noises.items()
    ]
    return Row(name, tuple(entries))


def cells(text: str, name: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {name}")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def mean_ap(of: Entry) -> float:
    return sum(trial.mean_ap for trial in of.result.trials) / len(of.result.trials)


def mean_and_deviation(values: list[float]) -> tuple[float, float]:
    mean = sum(values) / len(values)
    return mean, (sum((v - mean) ** 2 for v in values) / (len(values) - 1)) ** 0.5


def test_rows_and_differences_are_as_by_hand() -> None:
    base = row("base", {0: 1.0, 1: 1.3, 2: 1.6})
    # In another order, and with a seed that the base run does not have.
    other = row("palm=off", {2: 1.5, 5: 0.8, 0: 1.2})
    text = ablation_section([base, other], base="base", parameters=PARAMETERS)

    of_base = {e.seed: mean_ap(e) for e in base.entries}
    pairs = [mean_ap(e) - of_base[e.seed] for e in other.entries if e.seed in ("0", "2")]
    assert paired_differences(other, base) == pairs
    mean, deviation = mean_and_deviation([100 * p for p in pairs])
    assert abs(mean) > 0.01
    assert deviation > 0.01
    found = cells(text, "palm=off")
    assert found[5] == f"{mean:+.2f} ± {deviation:.2f} (2)"
    assert found[1] == "3"
    for column, scores in (
        (2, [e.result.trials[0].cmc_by_image[0] for e in other.entries]),
        (3, [mean_ap(e) for e in other.entries]),
        (4, [e.result.trials[0].mean_inp for e in other.entries]),
    ):
        mean, deviation = mean_and_deviation([100 * s for s in scores])
        assert found[column] == f"{mean:.2f} ± {deviation:.2f}"
    assert found[6:] == ["10,714,172", f"{(3 + 6 + 1) / 3:.1f}"]
    assert cells(text, "base")[5:] == ["", "12,763,773", "2.0"]
    chance = base.entries[0].result.chance
    assert cells(text, "chance")[2:5] == [
        f"{100 * score:.2f}" for score in (chance.cmc[0], chance.mean_ap, chance.mean_inp)
    ]
    assert "says little" not in text
    assert "about as large as its deviation is noise" in text


def test_one_run_has_no_deviation_and_says_how_little_it_is() -> None:
    base, other = row("base", {0: 1.0, 1: 1.0}), row("palm=off", {0: 1.4})
    text = ablation_section([base, other], base="base", parameters=PARAMETERS)
    difference = 100 * (mean_ap(other.entries[0]) - mean_ap(base.entries[0]))
    assert cells(text, "palm=off")[5] == f"{difference:+.2f} (1)"
    assert "±" not in " ".join(cells(text, "palm=off"))
    assert re.search("one run per variant or one pair, the variation", text)
    for word in ("improve", "better", "worse", "gain", "outperform"):
        assert word not in text


def test_without_the_base_run_nothing_is_compared() -> None:
    text = ablation_section([row("palm=off", {0: 1, 1: 1})], base="base", parameters=PARAMETERS)
    assert cells(text, "palm=off")[5] == ""
    assert "mAP - base:" not in text


def test_chance_and_synthetic_people_are_said() -> None:
    base = row("base", {0: 1.0})
    low = row("palm=off", {0: 1e6})
    assert "palm=off (AT CHANCE LEVEL)" in ablation_section(
        [base, low], base="base", parameters=PARAMETERS
    )
    result = replace(base.entries[0].result, protocol="SynVI as SYSU-MM01")
    synthetic = Row("base", (base.entries[0]._replace(result=result),))
    assert SYNTHETIC in ablation_section([synthetic], base="base", parameters=PARAMETERS)
    assert SYNTHETIC not in ablation_section([base], base="base", parameters=PARAMETERS)
