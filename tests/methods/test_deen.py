"""DEEN as its module describes it."""

import dataclasses

import pytest
import torch
from tests.helpers.batches import random_batch
from torch.nn import functional as F

from vireid.errors import ConfigError
from vireid.losses import batch_hard_triplet_loss, center_pair_mining_loss, orthogonality_loss
from vireid.methods import deen
from vireid.methods.deen import DEEN, DEENConfig
from vireid.nn.backbone import StageName
from vireid.types import Modality

SMALL = DEENConfig(backbone="resnet18", weights="none", size=(64, 32))
LABELS = torch.tensor([0, 0, 3, 3])


def aggregation_parameters(high: int, low: int) -> int:
    half = low // 2
    channels = high * low + low + 2 * (low * low + low) + low * high + high + 2 * high
    positions = high * half + half + 2 * (low * half + half) + half * high + high + 2 * high
    return channels + positions


def test_the_published_shapes_and_number_of_parameters() -> None:
    config = dataclasses.replace(deen.recipe().method, weights="none")
    with torch.device("meta"):
        model = DEEN(config, classes=395).eval()
        pooled, _ = model(torch.empty(2, 3, 384, 144), 1)
        features = model.extract_features(torch.empty(2, 3, 384, 144), Modality.VISIBLE)
    assert pooled.shape == (2, 3, 2048)
    assert features.shape == (2, 6 * 2048)
    # ResNet-50 without its classifier, a second stem, a batch norm and a classifier without bias.
    expected = 23_508_032 + 3 * 64 * 49 + 2 * 64 + 2048 + 2048 * 395
    expected += sum(
        aggregation_parameters(h, low) for h, low in ((256, 64), (512, 256), (1024, 512))
    )
    branch = 3 * 9 * 1024 * 256 + 256 * 1024 + 1024
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trainable == expected + 2 * branch
    assert trainable == 42_035_744


def test_its_losses_are_those_of_the_paper() -> None:
    model = DEEN(SMALL, classes=5)
    assert model.expansion is not None
    model.expansion.dropout.p = 0.0
    given = random_batch()
    found = model.losses(given)
    # Once more, from its parts; batch norms use the batch, so nothing depends on the first pass.
    pooled, necked = model(torch.cat([given.visible, given.infrared]), 4)
    labels = torch.cat([LABELS, LABELS])
    rows = torch.cat(pooled.unbind(1))
    logits = torch.cat(necked.unbind(1)) @ model.classifier.weight.T
    mined = [
        center_pair_mining_loss(
            pooled[:4, 0], pooled[4:, 0], pooled[:4, i], pooled[4:, i], LABELS, LABELS
        )
        for i in (1, 2)
    ]
    expected = {
        "identity": F.cross_entropy(logits, labels.repeat(3)),
        "triplet": batch_hard_triplet_loss(rows, labels.repeat(3), margin=0.3),
        "pairs": 0.8 * (mined[0] + mined[1]),
        "orthogonality": 0.01 * orthogonality_loss(pooled[:, 1:]),
    }
    assert found.terms.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found.terms[name], value)
    found.total.backward()
    without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []


def test_the_product_of_features_is_the_mean_of_six_similarities() -> None:
    model = DEEN(SMALL, classes=5).eval()
    images = random_batch().visible
    pooled, necked = model(images, 4)
    parts = [F.normalize(x[:, i]) for x in (pooled, necked) for i in range(3)]
    expected = torch.stack([x @ x.T for x in parts]).mean(0)
    features = model.extract_features(images, Modality.VISIBLE)
    torch.testing.assert_close(features @ features.T, expected)


def test_unit_features_bound_the_losses() -> None:
    config = dataclasses.replace(SMALL, unit=True)
    model = DEEN(config, classes=5)
    assert model.expansion is not None
    model.expansion.dropout.p = 0.0
    given = random_batch()
    pooled, _ = model(torch.cat([given.visible, given.infrared]), 4)
    units = F.normalize(pooled, dim=2)
    labels = torch.cat([LABELS, LABELS])
    found = model.losses(given).terms
    torch.testing.assert_close(
        found["triplet"],
        batch_hard_triplet_loss(torch.cat(units.unbind(1)), labels.repeat(3), margin=0.3),
    )
    torch.testing.assert_close(found["orthogonality"], 0.01 * orthogonality_loss(units[:, 1:]))
    assert deen.recipe().method.on_cpu().unit


def test_an_embedding_depends_on_its_image_alone() -> None:
    """Maps are generated along the batch: rows must return to their images."""
    model = DEEN(SMALL, classes=5).eval()
    images = random_batch().visible
    together, _ = model(images, 3)
    for i, n_visible in ((0, 1), (3, 0)):
        alone, _ = model(images[i : i + 1], n_visible)
        torch.testing.assert_close(together[i : i + 1], alone)


@pytest.mark.parametrize(
    ("change", "left", "size"),
    [
        ({"branches": 0}, {"identity", "triplet"}, 2 * 512),
        ({"branches": 1}, {"identity", "triplet", "pairs"}, 4 * 512),
        ({"pairs": 0.0}, {"identity", "triplet", "orthogonality"}, 6 * 512),
        ({"orthogonality": 0.0, "triplet": 0.0}, {"identity", "pairs"}, 6 * 512),
    ],
)
def test_its_ablations(change: dict[str, float], left: set[str], size: int) -> None:
    config = dataclasses.replace(SMALL, **change)  # type: ignore[arg-type]
    losses = DEEN(config, classes=5).losses(random_batch())
    assert set(losses.terms) == left
    assert losses.features is not None
    assert losses.features.shape == (8, size)


@pytest.mark.parametrize("stage", ["stem", "layer2", "layer4"])
def test_expansion_behind_any_stage(stage: StageName) -> None:
    model = DEEN(dataclasses.replace(SMALL, expand_after=stage), classes=5)
    assert model.losses(random_batch()).total.isfinite()


def test_without_aggregation_it_starts_the_same() -> None:
    images = random_batch().visible
    model = DEEN(SMALL, classes=5).eval()
    without = DEEN(dataclasses.replace(SMALL, aggregation=False), classes=5).eval()
    left = without.load_state_dict(model.state_dict(), strict=False)
    assert left.missing_keys == []
    assert all(name.startswith("aggregation.") for name in left.unexpected_keys)
    found = (m.extract_features(images, Modality.VISIBLE) for m in (model, without))
    assert torch.equal(*found)


def test_impossible_options_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"'-1' generated embeddings.*--branches"):
        dataclasses.replace(SMALL, branches=-1)
    with pytest.raises(ConfigError, match="--pair-margin"):
        dataclasses.replace(SMALL, pair_margin=-1.0)
