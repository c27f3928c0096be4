"""PCB as its module describes it."""

import dataclasses
from typing import Literal

import pytest
import torch
from tests.helpers.batches import random_batch
from torch.nn import functional as F

from vireid.errors import ConfigError
from vireid.methods import on_cpu, pcb
from vireid.methods.pcb import PCB, PCBConfig
from vireid.nn.two_stream import PerModality
from vireid.types import Modality

SMALL = PCBConfig(backbone="resnet18", weights="none", size=(96, 48), dim=16)


@pytest.mark.parametrize(("feature", "length"), [("h", 1536), ("g", 12_288)])
def test_the_published_shapes(feature: Literal["h", "g"], length: int) -> None:
    config = dataclasses.replace(pcb.recipe().method, weights="none", feature=feature)
    with torch.device("meta"):
        model = PCB(config, classes=395).eval()
        pooled, embeddings = model(torch.empty(2, 3, 384, 128), 1)
        features = model.extract_features(torch.empty(2, 3, 384, 128), Modality.INFRARED)
    assert pooled.shape == (2, 6, 2048)
    assert embeddings.shape == (2, 6, 256)
    assert features.shape == (2, length)
    # ResNet-50 without its classifier; one Linear + batch norm; six classifiers.
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trainable == 23_508_032 + (2048 * 256 + 256 + 2 * 256) + 6 * (256 * 395 + 395)
    assert trainable == 24_642_178


def test_the_published_recipe() -> None:
    recipe = pcb.recipe()
    options = recipe.optimisation
    assert (options.optimizer, options.lr, options.backbone_lr) == ("sgd", 0.1, 0.01)
    assert (options.epochs, options.milestones, options.weight_decay) == (60, (40,), 5e-4)
    assert (recipe.augmentation.pad, recipe.augmentation.erasing) == (0, 0)
    assert recipe.augmentation.flip
    assert 2 * recipe.batch.identities * recipe.batch.images == 64
    assert on_cpu(pcb.recipe()).method.size == (144, 72)


def test_both_modalities_share_everything_unless_asked_otherwise() -> None:
    images = torch.randn(2, 3, 96, 48)
    torch.manual_seed(0)
    model = PCB(SMALL, classes=5).eval()
    assert not any(m.separate for m in model.modules() if isinstance(m, PerModality))
    assert torch.equal(*(model.extract_features(images, modality) for modality in Modality))
    model = PCB(dataclasses.replace(SMALL, shared_from="layer1"), classes=5)
    separate = [name for name, part in model.streams.parts.items() if part.separate]
    assert separate == ["stem_stem"]


@torch.no_grad()
def test_its_loss_is_a_sum_of_cross_entropies() -> None:
    model = PCB(dataclasses.replace(SMALL, dropout=0.0), classes=5)
    given = random_batch(size=SMALL.size)
    labels = [0, 0, 3, 3, 0, 0, 3, 3]
    found = model.losses(given)
    # Once more, from its parts; batch norms use the batch, so nothing depends on the first pass.
    _, embeddings = model(torch.cat([given.visible, given.infrared]), 4)
    expected = 0.0
    for p in range(6):
        weight, bias = model.heads.classifier_weight[p], model.heads.classifier_bias[p, 0]
        for row, label in zip(embeddings[:, p], labels, strict=True):
            logits = (row @ weight + bias).double()
            expected += float(logits.exp().sum().log() - logits[label]) / len(labels)
    assert set(found.terms) == {"identity"}
    assert float(found.total) == pytest.approx(expected, rel=1e-5)
    assert float(found.identity or 0) == pytest.approx(expected / 6, rel=1e-5)


def test_every_part_is_trained() -> None:
    model = PCB(SMALL, classes=5)
    model.losses(random_batch(size=SMALL.size)).total.backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    groups = model.parameter_groups()
    assert {id(p) for p in groups["heads"]} == {id(p) for p in model.heads.parameters()}
    assert {id(p) for p in groups["backbone"]} == {id(p) for p in model.streams.parameters()}


@torch.no_grad()
def test_dropout_acts_on_what_is_pooled_and_in_training_only() -> None:
    model = PCB(SMALL, classes=5)
    seen: list[torch.Tensor] = []
    model.dropout.register_forward_hook(lambda _, given, result: seen.extend((*given, result)))
    model(random_batch(size=SMALL.size).visible, 4)
    before, after = seen
    assert before.shape == (4, 6, 512)
    left_out = (after == 0) & (before != 0)
    assert 0.4 < float(left_out.float().mean() / (before != 0).float().mean()) < 0.6
    kept = after != 0
    torch.testing.assert_close(after[kept], 2 * before[kept])
    seen.clear()
    model.eval()(random_batch(size=SMALL.size).visible, 4)
    assert torch.equal(*seen)


@torch.no_grad()
def test_features_are_unit_stripes_side_by_side() -> None:
    for kind in ("h", "g"):
        torch.manual_seed(3)
        model = PCB(dataclasses.replace(SMALL, feature=kind), classes=5).eval()
        images = random_batch(size=SMALL.size).visible
        parts = model(images, 4)["gh".index(kind)]
        expected = torch.cat([F.normalize(parts[:, p]) for p in range(6)], dim=1) / 6**0.5
        torch.testing.assert_close(model.extract_features(images, Modality.VISIBLE), expected)


@pytest.mark.parametrize(
    ("changed", "quoted"),
    [({"stripes": 7}, "'7' stripes"), ({"dropout": 1.0}, "'1.0'.*--dropout")],
)
def test_options_out_of_range(changed: dict[str, float], quoted: str) -> None:
    with pytest.raises(ConfigError, match=quoted):
        dataclasses.replace(SMALL, **changed)  # type: ignore[arg-type]
