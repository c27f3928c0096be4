"""The contract of methods on the built-in ones, and what only they keep to."""

import copy
from typing import Any

import pytest
import torch

from vireid.methods import MethodConfig, catalogue
from vireid.nn.two_stream import PerModality
from vireid.testing.contract import (  # noqa: F401
    Trained,
    images,
    people,
    pytest_generate_tests,
    test_a_feature_is_a_unit_vector_of_its_image_alone,
    test_every_parameter_has_one_learning_rate_and_a_step,
    test_losses_are_finite_scalars_and_what_is_watched_is_detached,
    test_options_survive_a_config_file,
    test_resumed_is_the_same_to_the_last_bit,
    test_training_moves_every_trainable_part,
    trained,
)
from vireid.testing.contract import small as made_small
from vireid.types import Modality

# A recipe a method; the other recipes of a method are the same network.
PUBLISHED = sorted(name for name in catalogue() if not name.endswith(("-cpu", "-strong")))
RECIPES = PUBLISHED
# What else is made small for the tests.
SMALLER: dict[str, dict[str, Any]] = {"d2rl": {"width": 8}}
# One path for both modalities: published as single networks.
ONE_PATH = {"cmgan", "dlis-transfer", "mgn", "pcb"}


def small(name: str) -> MethodConfig:
    """A method's options with a backbone and an input small enough for a test."""
    return made_small(name, **SMALLER.get(name, {}))


@pytest.fixture(scope="module")
def options(recipe: str) -> MethodConfig:
    return small(recipe)


def test_every_recipe_has_one_for_two_cores() -> None:
    names = set(catalogue())
    assert {n + "-cpu" for n in names if not n.endswith("-cpu")} | set(PUBLISHED) <= names
    for name in names:
        if name.endswith("-cpu"):
            method = catalogue()[name].recipe.method
            assert (method.backbone, method.size) == ("efficientnet_lite0", (144, 72))
            assert method.kind == catalogue()[name.removesuffix("-cpu")].recipe.method.kind


def test_each_modality_takes_its_own_path(recipe: str, trained: Trained) -> None:  # noqa: F811
    model = copy.deepcopy(trained.end).eval()
    with torch.inference_mode():
        visible, infrared = (model.extract_features(images(), m) for m in Modality)
        assert torch.equal(visible, infrared) == (recipe in ONE_PATH)
        separate = [m for m in model.modules() if isinstance(m, PerModality) and m.separate]
        for part in separate:
            for parameter in part.infrared.parameters():
                parameter.mul_(-0.5)
        if separate:
            assert torch.equal(model.extract_features(images(), Modality.VISIBLE), visible)
            changed = model.extract_features(images(), Modality.INFRARED)
            assert not torch.allclose(changed, infrared, atol=1e-3)
