"""Plans of runs: each combination once, parsed like config.yaml, each in its own folder."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vireid.data.layouts import DataSource
from vireid.errors import ConfigError, RunError
from vireid.methods import dlis
from vireid.reports.grid import plan, refuse_foreign
from vireid.runs import Run, RunFolder
from vireid.runs.names import options

BASE = Run(
    name="dlis", recipe=dlis.recipe(), data=DataSource(layout="regdb", root=Path("data")), seed=7
)
VALUES = {
    "palm": ["off", "layer3", "layer4", "stripes"],
    "palm-shared": ["yes", "no"],
    "center": ["0", "0.25", "0.5"],
    "shared-from": ["None", "stem"],
    "epochs": ["4", "60"],
}


@settings(max_examples=30)
@given(
    chosen=st.fixed_dictionaries(
        {}, optional={k: st.lists(st.sampled_from(v), min_size=1) for k, v in VALUES.items()}
    ),
    seeds=st.lists(st.integers(0, 2**31), min_size=1, max_size=3, unique=True),
    product=st.booleans(),
)
def test_each_combination_occurs_once_under_its_own_name(
    chosen: dict[str, list[str]], seeds: list[int], product: bool
) -> None:
    vary = [f"{name}={','.join(values)}" for name, values in chosen.items()]
    planned = plan(BASE, vary, seeds=seeds, product=product)
    usual = options(BASE)
    others = [len(set(values) - {usual[name]}) for name, values in chosen.items()]
    variants = math.prod(n + 1 for n in others) if product else 1 + sum(others)
    assert len(planned) == variants * len(seeds)
    assert len({one.folder for one in planned}) == len(planned)
    assert len({one.run for one in planned}) == len(planned)
    assert [one.run.seed for one in planned] == [s for s in seeds for _ in range(variants)]
    assert planned[0] == replace(planned[0], variant="base", run=replace(BASE, seed=seeds[0]))
    for one in planned:
        found = options(one.run)
        unlike = {f"{name}={found[name]}" for name in found if found[name] != usual[name]}
        assert set(one.variant.split(",")) == unlike or (one.variant == "base" and not unlike)
        assert len(unlike) <= 1 or product
        assert all(word.split("=")[1] in chosen[word.split("=")[0]] for word in unlike)


def test_values_are_parsed_like_flags() -> None:
    words = ["size=144 72", "palm_scaled=true", "milestones=20 40", "weights=a b/ü%.pth"]
    planned = plan(BASE, [*words, "lr=1e-3", "clip=5.0,5"], seeds=[0])
    assert [one.folder for one in planned] == [
        "base,seed=0",
        "size=144+72,seed=0",
        "palm-scaled=yes,seed=0",
        "milestones=20+40,seed=0",
        "weights=a+b%2F%C3%BC%25.pth,seed=0",
        "lr=0.001,seed=0",
        "clip=5,seed=0",
    ]
    _, size, scaled, steps, weights, rate, clip = [one.run.recipe for one in planned]
    assert size.method.size == (144, 72)
    assert isinstance(scaled.method, dlis.DLISConfig)
    assert scaled.method.palm_scaled is True
    assert steps.optimisation.milestones == (20, 40)
    assert weights.method.weights == Path("a b/ü%.pth")
    assert (rate.optimisation.lr, clip.optimisation.clip) == (0.001, 5.0)


def test_values_that_are_valid_only_together() -> None:
    vary = ["size=96 48,288 144", "stripes=18"]
    with pytest.raises(ConfigError, match=r"--vary size=\(96, 48\) stripes=18: '18' stripes"):
        plan(BASE, vary, seeds=[0], product=True)
    assert len(plan(BASE, vary, seeds=[0])) == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("palm", "--vary 'palm' has no value; expected OPTION=VALUE"),
        ("palm=", "has no value"),
        ("stripes=x", "--vary stripes: 'x' does not fit; expected a valid integer."),
        ("stripes=2.5", "'2.5' does not fit"),
        ("stripes=3,", "'' does not fit"),
        ("center=much", "--vary center: 'much' does not fit; expected a valid number."),
        ("palm=of", "expected 'off', 'layer3', 'layer4' or 'stripes'."),
        ("palm-shared=maybe", "expected a valid boolean."),
        ("size=144x72", "--vary size: '144x72' does not fit"),
        ("stripes=None", "'None' does not fit; expected a valid integer."),
        ("stripe=3", "no option 'stripe'; expected one of its flags, such as stripes"),
        ("no-palm-shared=yes", "such as palm-shared"),
        ("kind=agw", "no option 'kind'"),
        ("seed=3", "no option 'seed'"),
        ("xyzzy=3", "backbone, backbone-lr, center"),
        ("stripes=50", "--vary stripes=50: '50' stripes do not fit a map of 18 rows"),
        ("lr=0", "--vary lr=0.0: '0.0' is not above 0; expected more than 0 (--lr)"),
    ],
)
def test_invalid_variations_are_explained(words: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plan(BASE, ["dim=8", words], seeds=[0])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("seeds", [[], [-1], [1, 2, 1]])
def test_seeds_that_cannot_be_trained(seeds: list[int]) -> None:
    with pytest.raises(ConfigError, match="different whole numbers from 0"):
        plan(BASE, [], seeds=seeds)


def test_a_name_too_long_for_a_folder() -> None:
    with pytest.raises(ConfigError, match="at most 255"):
        plan(BASE, [f"weights={'x' * 260}.pth"], seeds=[0])


def test_another_run_is_refused_with_its_differences(tmp_path: Path) -> None:
    path = tmp_path / "run"
    refuse_foreign(path, BASE)
    path.mkdir()
    (path / ".config.yaml.17-ab.tmp").write_text("half")
    refuse_foreign(path, BASE)
    RunFolder(path).start(BASE)
    refuse_foreign(path, BASE)
    with pytest.raises(RunError, match="with seed '7' and not '8'; expected"):
        refuse_foreign(path, replace(BASE, seed=8))
    (other,) = plan(BASE, ["stripes=3"], seeds=[7])[1:]
    with pytest.raises(RunError, match=r"/run' is another run, with stripes '6' and not '3';"):
        refuse_foreign(path, other.run)
    (path / "config.yaml").rename(path / "notes.txt")
    with pytest.raises(RunError, match=r"is not empty and has no config\.yaml"):
        refuse_foreign(path, BASE)
