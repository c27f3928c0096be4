"""HCML: TONE until it is fitted, TONE's features under the metric afterwards."""

import dataclasses
import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from vireid.errors import ConfigError
from vireid.methods import hcml, on_cpu, tone
from vireid.methods.hcml import HCML, HCMLConfig
from vireid.methods.hierarchical_metric import fit_metric
from vireid.methods.tone import TONE, TONEConfig
from vireid.types import Modality

SHAPE = {"backbone": "resnet18", "weights": "none", "size": (64, 32), "dim": 12}
SMALL = HCMLConfig(**SHAPE)  # type: ignore[arg-type]


def training_rows(count: int = 40) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Unit rows of eight identities that differ between the modalities and within them."""
    random = torch.Generator().manual_seed(5)
    labels = torch.arange(count) % 8
    who = torch.randn(8, 12, generator=random)
    visible = who[labels] + 0.4 * torch.randn(count, 12, generator=random)
    infrared = who[labels] + 0.4 * torch.randn(count, 12, generator=random) + 0.5
    return F.normalize(visible), F.normalize(infrared), labels, labels


def test_the_published_shapes() -> None:
    config = dataclasses.replace(HCMLConfig(), weights="none")
    model = config.build(classes=395).eval()
    with torch.inference_mode():
        features = model.extract_features(torch.randn(1, 3, 288, 144), Modality.INFRARED)
    assert features.shape == (1, 2048)
    assert sum(p.numel() for p in model.parameters()) == 52_025_867
    assert (config.components, config.intra) == (600, 0.2)


def test_it_is_trained_as_tone_is() -> None:
    for mine, theirs in (
        (hcml.recipe(), tone.recipe()),
        (on_cpu(hcml.recipe()), on_cpu(tone.recipe())),
    ):
        assert (mine.batch, mine.optimisation) == (theirs.batch, theirs.optimisation)
        assert mine.augmentation == theirs.augmentation
        for field in dataclasses.fields(theirs.method):
            assert getattr(mine.method, field.name) == getattr(theirs.method, field.name)
    assert HCML.needs_fit


def test_before_the_fit_it_describes_as_tone_does() -> None:
    models = []
    for config in (SMALL, TONEConfig(**SHAPE)):  # type: ignore[arg-type]
        torch.manual_seed(3)
        models.append(config.build(classes=5).eval())
    images = torch.randn(2, 3, 64, 32)
    for modality in Modality:
        mine, theirs = (model.extract_features(images, modality) for model in models)
        torch.testing.assert_close(mine, theirs)


def test_cosines_after_the_fit_are_those_of_the_metric() -> None:
    torch.manual_seed(0)
    model = HCML(SMALL, classes=8).eval()
    rows = training_rows()
    model.fit(*rows)
    images = torch.randn(3, 3, 64, 32)
    with torch.no_grad():
        visible = model.extract_features(images, Modality.VISIBLE)
        infrared = model.extract_features(images, Modality.INFRARED)
        # The streams start equal, so this is what TONE says of the images in either modality.
        plain = TONE.extract_features(model, images, Modality.VISIBLE).double()
    torch.testing.assert_close(visible.norm(dim=1), torch.ones(3))
    # Once more, in a basis of one's own: nothing depends on signs or order of components.
    joint = torch.cat(rows[:2]).double()
    mean = joint.mean(0)
    basis = torch.linalg.svd(joint - mean).Vh.T
    V, T, M = fit_metric(
        4 * (rows[0].double() - mean) @ basis,
        4 * (rows[1].double() - mean) @ basis,
        *rows[2:],
        threshold=0.5,
        intra=0.2,
        shrinkage=0.05,
        images=8,
        iterations=50,
    )
    assert not torch.allclose(M, torch.eye(12, dtype=torch.float64), atol=0.01)
    for i, x in enumerate((plain - mean) @ basis @ V):
        for j, z in enumerate((plain - mean) @ basis @ T):
            cosine = x @ M @ z / torch.sqrt((x @ M @ x) * (z @ M @ z))
            assert (visible[i] @ infrared[j]).item() == pytest.approx(cosine.item(), abs=1e-4)


def test_a_fitted_model_is_whole_in_its_state() -> None:
    torch.manual_seed(0)
    model, other = HCML(SMALL, classes=8).eval(), HCML(SMALL, classes=8).eval()
    unfitted = {name: value.shape for name, value in model.state_dict().items()}
    model.fit(*training_rows())
    assert {name: value.shape for name, value in model.state_dict().items()} == unfitted
    assert all(value.dtype == torch.float32 for value in (model.mean, model.visible_map))
    other.load_state_dict(model.state_dict())
    images = torch.randn(2, 3, 64, 32)
    for modality in Modality:
        assert torch.equal(
            model.extract_features(images, modality), other.extract_features(images, modality)
        )


@pytest.mark.parametrize(("components", "images", "rank"), [(3, 40, 3), (600, 40, 12), (600, 4, 7)])
def test_the_metric_has_as_many_components_as_there_can_be(
    components: int, images: int, rank: int
) -> None:
    # Strong shrinkage, so that the metric itself drops nothing.
    config = dataclasses.replace(SMALL, components=components, shrinkage=10.0)
    model = HCML(config, classes=8)
    model.fit(*(x[:images] for x in training_rows()))
    for own in (model.visible_map, model.infrared_map):
        assert torch.linalg.matrix_rank(own, rtol=1e-4).item() == rank


def test_under_autocast_the_metric_is_reckoned_in_float32() -> None:
    torch.manual_seed(0)
    model = HCML(SMALL, classes=8).eval()
    model.fit(*training_rows())
    images = torch.randn(2, 3, 64, 32)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        found = model.extract_features(images, Modality.INFRARED)
        plain = TONE.extract_features(model, images, Modality.INFRARED)
    assert found.dtype == torch.float32
    expected = F.normalize((plain - model.mean) @ model.infrared_map)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"components": 0}, "'0'.*--components"),
        ({"intra_images": 0}, "'0'.*--intra-images"),
        ({"iterations": 0}, "'0'.*--iterations"),
        ({"scale": 0.0}, "'0.0'.*--scale"),
        ({"shrinkage": -1.0}, "'-1.0'.*--shrinkage"),
        ({"threshold": math.nan}, "'nan'.*--threshold"),
        ({"margin": -1.0}, "'-1.0'.*--margin"),
    ],
)
def test_contradictions_are_refused(options: dict[str, float], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        HCMLConfig(**options)  # type: ignore[arg-type]
