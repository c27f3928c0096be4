"""MGN as its module describes it."""

import dataclasses

import pytest
import torch
from tests.helpers.batches import random_batch
from torch import nn
from torch.nn import functional as F

from vireid.errors import ConfigError
from vireid.losses import batch_hard_triplet_loss
from vireid.methods import mgn
from vireid.methods.mgn import MGN, MGNConfig
from vireid.nn.branches import Branch
from vireid.types import Modality

SMALL = MGNConfig(backbone="resnet18", weights="none", size=(96, 48), dim=16)


def branches(model: MGN) -> list[Branch]:
    return [branch for branch in model.branches if isinstance(branch, Branch)]


def test_the_published_shapes() -> None:
    config = dataclasses.replace(mgn.recipe().method, weights="none")
    with torch.device("meta"):
        model = MGN(config, classes=395).eval()
        images = torch.empty(2, 3, 384, 128)
        middle = model.trunk(images)
        maps = [branch.layers(middle).shape for branch in branches(model)]
        embeddings, features = model(images), model.extract_features(images, Modality.VISIBLE)
    assert middle.shape == (2, 1024, 24, 8)
    assert maps == [(2, 2048, 12, 4), (2, 2048, 24, 8), (2, 2048, 24, 8)]
    assert embeddings.shape == (2, 8, 256)
    assert features.shape == (2, 2048)
    # ResNet-50 without its classifier, whose layer4 and five of layer3's blocks come three times;
    # eight Linear + batch norm, eight classifiers.
    block = 1024 * 256 + 9 * 256 * 256 + 256 * 1024 + 2 * (256 + 256 + 1024)
    layer4 = 14_964_736
    heads = 8 * (2048 * 256 + 256 + 2 * 256) + 8 * (256 * 395 + 395)
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trainable == 23_508_032 + 2 * (5 * block + layer4) + heads
    assert trainable == 69_621_912


def test_the_recipe_of_the_reproduction() -> None:
    recipe = mgn.recipe()
    options = recipe.optimisation
    assert (options.optimizer, options.lr, options.backbone_lr) == ("adam", 2e-4, 2e-4)
    assert (options.epochs, options.milestones, options.weight_decay) == (160, (120, 140), 5e-4)
    assert (recipe.augmentation.pad, recipe.augmentation.erasing) == (0, 0.5)
    assert (recipe.batch.identities, 2 * recipe.batch.images) == (16, 4)
    assert (recipe.method.triplet, recipe.method.margin) == (2.0, 1.2)


@torch.no_grad()
def test_the_views_are_whole_halves_and_thirds() -> None:
    model = MGN(SMALL, classes=5).eval()
    images = random_batch(size=SMALL.size).visible
    middle = model.trunk(images)
    views = []
    for stripes, branch in zip((1, 2, 3), branches(model), strict=True):
        y = branch.layers(middle)
        views.append(y.amax((2, 3)))
        if stripes > 1:
            rows = y.shape[2] // stripes
            views += [y[:, :, rows * p : rows * (p + 1)].amax((2, 3)) for p in range(stripes)]
    expected = F.relu(model.heads(torch.stack(views, dim=1)))
    embeddings = model(images)
    torch.testing.assert_close(embeddings, expected)
    assert float(embeddings.min()) == 0
    joined = torch.cat([embeddings[:, i] for i in range(8)], dim=1)
    for modality in Modality:
        torch.testing.assert_close(model.extract_features(images, modality), F.normalize(joined))


def test_branches_start_equal_and_go_their_own_ways() -> None:
    model = MGN(SMALL, classes=5)
    weights = [list(branch.parameters()) for branch in branches(model)]
    assert len({id(p) for branch in weights for p in branch}) == 3 * len(weights[0])
    for first, *others in zip(*weights, strict=True):
        assert all(torch.equal(first, other) for other in others)
    model.losses(random_batch(size=SMALL.size)).total.backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    gradients = [branch[0].grad for branch in weights]
    assert gradients[1] is not None
    assert gradients[2] is not None
    assert not torch.allclose(gradients[1], gradients[2], atol=1e-5)


@torch.no_grad()
def test_its_losses_are_means_over_the_views() -> None:
    model = MGN(dataclasses.replace(SMALL, triplet=0.7, margin=0.4), classes=5)
    nn.init.normal_(model.heads.classifier_weight)
    given = random_batch(size=SMALL.size)
    labels = torch.cat([given.visible_labels, given.infrared_labels])
    found = model.losses(given)
    # Once more, from its parts; batch norms use the batch, so nothing depends on the first pass.
    embeddings = model(torch.cat([given.visible, given.infrared]))
    identity = 0.0
    for i in range(8):
        weight, bias = model.heads.classifier_weight[i], model.heads.classifier_bias[i, 0]
        identity += float(F.cross_entropy(embeddings[:, i] @ weight + bias, labels)) / 8
    # Features 0, 1 and 4 are of the whole person: alone, then before two halves and three thirds.
    triplet = sum(
        float(batch_hard_triplet_loss(embeddings[:, i], labels, margin=0.4)) for i in (0, 1, 4)
    )
    assert set(found.terms) == {"identity", "triplet"}
    assert float(found.terms["identity"]) == pytest.approx(identity, rel=1e-5)
    assert float(found.terms["triplet"]) == pytest.approx(0.7 * triplet / 3, rel=1e-5)


def test_every_parameter_has_one_rate() -> None:
    model = MGN(SMALL, classes=5)
    groups = model.parameter_groups()
    grouped = [id(p) for group in groups.values() for p in group]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters())
    assert {id(p) for p in groups["heads"]} == {id(p) for p in model.heads.parameters()}


@pytest.mark.parametrize(
    ("changed", "quoted"),
    [({"dim": 0}, "'0' channels"), ({"triplet": -1.0}, "--triplet"), ({"margin": -0.1}, "'-0.1'")],
)
def test_options_out_of_range(changed: dict[str, float], quoted: str) -> None:
    with pytest.raises(ConfigError, match=quoted):
        dataclasses.replace(SMALL, **changed)  # type: ignore[arg-type]
