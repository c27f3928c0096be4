"""AGW as its module describes it."""

import dataclasses

import torch
from tests.helpers.batches import random_batch
from torch.nn import functional as F

from vireid.losses import weighted_regularised_triplet_loss
from vireid.methods import agw
from vireid.methods.agw import AGW, AGWConfig
from vireid.nn import NonLocal
from vireid.nn.two_stream import PerModality
from vireid.types import Modality

SMALL = AGWConfig(backbone="resnet18", weights="none", size=(64, 32))


def test_the_published_shapes() -> None:
    with torch.device("meta"):
        model = AGW(dataclasses.replace(agw.recipe().method, weights="none"), classes=395).eval()
        features = model.extract_features(torch.empty(2, 3, 288, 144), Modality.VISIBLE)
    assert features.shape == (2, 2048)
    blocks = [m for m in model.modules() if isinstance(m, NonLocal)]
    assert [block.out.out_channels for block in blocks] == [512, 512, 1024, 1024, 1024]
    assert [block.g.out_channels for block in blocks] == [256, 256, 512, 512, 512]
    assert model.classifier.weight.shape == (395, 2048)
    assert model.classifier.bias is None


def test_only_the_stems_are_separate() -> None:
    model = AGW(SMALL, classes=5).eval()
    images = torch.randn(2, 3, 64, 32)
    before = {m: model.extract_features(images, m) for m in Modality}
    torch.testing.assert_close(*before.values())
    with torch.no_grad():
        stem = model.streams.parts["stem_stem"]
        assert isinstance(stem, PerModality)
        next(stem.infrared.parameters()).mul_(-1)
    assert torch.equal(model.extract_features(images, Modality.VISIBLE), before[Modality.VISIBLE])
    assert not torch.allclose(
        model.extract_features(images, Modality.INFRARED), before[Modality.INFRARED], atol=1e-3
    )
    assert list(model.streams.parts) == ["stem_stem", "layer1_layer4"]
    assert not model.streams.parts["layer1_layer4"].separate


def test_its_losses_are_the_two_of_the_paper() -> None:
    model = AGW(SMALL, classes=5)
    given = random_batch()
    found = model.losses(given)
    # Once more, from its parts; batch norms use the batch, so nothing depends on the first pass.
    pooled, necked = model(torch.cat([given.visible, given.infrared]), 4)
    labels = torch.cat([given.visible_labels, given.infrared_labels])
    logits = necked @ model.classifier.weight.T
    assert set(found.terms) == {"identity", "triplet"}
    torch.testing.assert_close(found.terms["identity"], F.cross_entropy(logits, labels))
    torch.testing.assert_close(
        found.terms["triplet"], weighted_regularised_triplet_loss(pooled, labels)
    )
    found.total.backward()
    without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []
    assert model.neck.bias.grad is None


def test_every_parameter_has_one_rate() -> None:
    model = AGW(SMALL, classes=5)
    groups = model.parameter_groups()
    grouped = [id(p) for group in groups.values() for p in group]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == {id(p) for p in model.parameters() if p.requires_grad}
    heads = {id(p) for p in (model.pool.power, model.neck.weight, model.classifier.weight)}
    assert {id(p) for p in groups["heads"]} == heads


def test_without_non_local_blocks_it_starts_the_same() -> None:
    outputs = []
    for config in (SMALL, dataclasses.replace(SMALL, non_local=False)):
        torch.manual_seed(7)
        model = AGW(config, classes=5).eval()
        outputs.append(model.extract_features(random_batch().visible, Modality.VISIBLE))
    assert torch.equal(*outputs)
