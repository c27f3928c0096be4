"""CAJ as its module describes it: AGW's network, other batches, another triplet loss."""

import dataclasses

import torch
from tests.helpers.batches import random_batch

from vireid.losses import weighted_regularised_triplet_loss
from vireid.methods import agw, caj, on_cpu
from vireid.methods.agw import AGW, AGWConfig
from vireid.types import Modality

SMALL = AGWConfig(backbone="resnet18", weights="none", size=(64, 32), squared=True)


def test_the_published_shapes() -> None:
    with torch.device("meta"):
        model = AGW(dataclasses.replace(caj.recipe().method, weights="none"), classes=395).eval()
        features = model.extract_features(torch.empty(2, 3, 288, 144), Modality.INFRARED)
    assert features.shape == (2, 2048)
    assert sum(p.numel() for p in model.parameters()) == 31_689_089


def test_it_differs_from_agw_in_what_its_module_says() -> None:
    recipe, base = caj.recipe(), agw.recipe()
    assert dataclasses.replace(recipe.method, squared=False) == base.method
    assert recipe.batch == base.batch
    assert dataclasses.replace(recipe.optimisation, epochs=81) == base.optimisation
    how = recipe.augmentation
    assert (how.joint, how.grey, how.erasing, how.channel) == (True, False, 0.5, 0.0)
    assert on_cpu(caj.recipe()).augmentation == how


def test_its_triplet_loss_squares_all_three_thirds_of_the_batch() -> None:
    model = AGW(SMALL, classes=5)
    given = random_batch(visible=(0, 0, 3, 3) * 2)
    found = model.losses(given)
    pooled, _ = model(torch.cat([given.visible, given.infrared]), 8)
    labels = torch.cat([given.visible_labels, given.infrared_labels])
    assert set(found.terms) == {"identity", "triplet"}
    torch.testing.assert_close(
        found.terms["triplet"], weighted_regularised_triplet_loss(pooled, labels, squared=True)
    )
    plain = weighted_regularised_triplet_loss(pooled, labels)
    assert not torch.isclose(found.terms["triplet"], plain)
    found.total.backward()
    without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []
