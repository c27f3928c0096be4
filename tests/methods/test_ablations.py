"""The ablations of DLIS are runs that can be planned, and cover what they promise."""

from pathlib import Path

import pytest

from vireid.data.layouts import DataSource
from vireid.errors import ConfigError
from vireid.methods import catalogue
from vireid.methods.ablations import DLIS_ABLATIONS, Part, preset
from vireid.reports.grid import PlannedRun, plan
from vireid.runs import Run

DATA = DataSource(layout="sysu-mm01", root=Path("data"))


def planned(recipe: str, part: Part) -> list[PlannedRun]:
    chosen = catalogue()[recipe].recipe
    base = Run(name=recipe, recipe=chosen, data=DATA)
    return plan(base, preset(part, chosen.method), seeds=[0])


@pytest.mark.parametrize(
    ("part", "variants"),
    [
        (
            "palm",
            "palm=off palm=layer3 palm=stripes palm-shared=no palm-scaled=yes "
            "palm-branch=batch_norm palm-branch=centred "
            "palm-position=relative",
        ),
        ("center", "center=0 center=0.1 center=1 center-reduction=mean"),
        ("stripes", "stripes=1 stripes=2 stripes=3 stripes=9"),
        ("sharing", " ".join(f"shared-from={s}" for s in ("stem", *(f"layer{n}" for n in "1234")))),
        ("embedding", "dim=128 dim=256"),
    ],
)
def test_what_is_tried_of_dlis(part: Part, variants: str) -> None:
    assert [one.variant for one in planned("dlis", part)] == ["base", *variants.split()]


@pytest.mark.parametrize("recipe", ["dlis-cpu", "dlis-strong", "dlis-strong-cpu"])
@pytest.mark.parametrize("part", DLIS_ABLATIONS)
def test_every_recipe_of_dlis_can_be_taken_apart(recipe: str, part: Part) -> None:
    found = planned(recipe, part)
    assert len(found) > 2
    assert len({one.run.recipe for one in found}) == len(found)


def test_all_is_every_part() -> None:
    method = catalogue()["dlis"].recipe.method
    assert preset("all", method) == sum((preset(part, method) for part in DLIS_ABLATIONS), ())


@pytest.mark.parametrize("recipe", ["tslfn", "agw"])
def test_other_recipes_have_no_such_parts(recipe: str) -> None:
    with pytest.raises(ConfigError, match=r"'palm' is for recipes of DLIS.*--vary lr="):
        preset("palm", catalogue()[recipe].recipe.method)
