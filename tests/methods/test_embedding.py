"""TONE and BDTR as their modules describe them: one network, two losses."""

import dataclasses
import math

import pytest
import torch
from tests.helpers.batches import random_batch
from torch.nn import functional as F

from vireid.errors import ConfigError
from vireid.losses import contrastive_loss, top_ranking_loss
from vireid.methods import Batch, bdtr, on_cpu, tone
from vireid.methods.bdtr import BDTR, BDTRConfig
from vireid.methods.tone import TONE, TONEConfig
from vireid.nn.two_stream import PerModality
from vireid.types import Modality

SMALL = {"backbone": "resnet18", "weights": "none", "size": (64, 32), "dim": 16}
TONE_SMALL = TONEConfig(**SMALL, margin=1.9)  # type: ignore[arg-type]
BDTR_SMALL = BDTRConfig(**SMALL, rank=2.0, intra_margin=1.9)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("config", "dim", "parameters"),
    [(TONEConfig(), 2048, 52_025_867), (BDTRConfig(), 1024, 49_521_163)],
)
def test_the_published_shapes(config: TONEConfig | BDTRConfig, dim: int, parameters: int) -> None:
    with torch.device("meta"):
        model = dataclasses.replace(config, weights="none").build(classes=395).eval()
        features = model.extract_features(torch.empty(1, 3, 288, 144), Modality.VISIBLE)
    assert (config.backbone, config.size, config.shared_from) == ("resnet50", (288, 144), None)
    assert features.shape == (1, dim)
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_the_published_recipes() -> None:
    first, second = tone.recipe(), bdtr.recipe()
    assert (first.method.contrastive, first.method.margin) == (0.2, 0.5)
    assert (second.method.margin, second.method.intra_margin) == (0.5, 0.1)
    assert (second.method.rank, second.method.intra) == (1.0, 0.1)
    for recipe in (first, second):
        optimisation = recipe.optimisation
        assert (optimisation.lr, optimisation.backbone_lr) == (0.001, 0.001)
        assert (optimisation.weight_decay, optimisation.milestones) == (0.0, ())
    # One image of a person and modality is what makes the loss the published one.
    assert (second.batch.identities, second.batch.images) == (64, 1)
    assert on_cpu(bdtr.recipe()).batch == Batch(identities=32, images=1)
    assert dataclasses.replace(on_cpu(bdtr.recipe()), batch=on_cpu(second).batch) == on_cpu(second)


@pytest.mark.parametrize(("shared_from", "shared"), [(None, []), ("layer3", ["layer3_layer4"])])
def test_streams_are_separate_and_the_head_is_shared(
    shared_from: str | None, shared: list[str]
) -> None:
    config = dataclasses.replace(TONE_SMALL, shared_from=shared_from)  # type: ignore[arg-type]
    model = TONE(config, classes=5).eval()
    parts = dict(model.streams.parts.items())
    assert all(isinstance(part, PerModality) for part in parts.values())
    assert [name for name, part in parts.items() if not part.separate] == shared
    images = torch.randn(2, 3, 64, 32)
    before = {m: model.extract_features(images, m) for m in Modality}
    torch.testing.assert_close(*before.values())  # The infrared stream starts as a copy.
    with torch.no_grad():
        model.head.weight.mul_(-1)
    for modality, described in before.items():
        torch.testing.assert_close(model.extract_features(images, modality), -described)


@pytest.mark.parametrize("config", [TONE_SMALL, BDTR_SMALL])
def test_the_losses_are_the_two_of_the_paper(config: TONEConfig | BDTRConfig) -> None:
    torch.manual_seed(0)
    model = config.build(classes=5)
    given = random_batch()
    found = model.losses(given)
    # Once more, from its parts; batch norms use the batch, so nothing depends on the first pass.
    maps = model.streams(torch.cat([given.visible, given.infrared]), 4)
    linear = maps.mean((2, 3)) @ model.head.weight[0] + model.head.bias[0]
    norm = model.head.norm
    embeddings = F.batch_norm(linear, None, None, norm.weight, norm.bias, training=True)
    active = torch.where(embeddings > 0, embeddings, 0.1 * embeddings)
    logits = active @ model.head.classifier_weight[0] + model.head.classifier_bias[0]
    labels = torch.cat([given.visible_labels, given.infrared_labels])
    pairs = (embeddings[:4], embeddings[4:], labels[:4], labels[4:])
    expected = {"identity": F.cross_entropy(logits, labels)}
    if isinstance(config, TONEConfig):
        expected["contrastive"] = 0.2 * contrastive_loss(*pairs, margin=1.9)
    else:
        cross, intra = top_ranking_loss(*pairs, margin=0.5, intra_margin=1.9)
        expected |= {"cross": 2 * cross, "intra": 2 * 0.1 * intra}
    assert all(term.item() > 0 for term in expected.values())
    torch.testing.assert_close(dict(found.terms), expected)
    torch.testing.assert_close(found.features, F.normalize(embeddings).detach())
    assert found.identity is not None
    assert found.accuracy is not None
    assert found.identity.item() == pytest.approx(expected["identity"].item())
    assert found.accuracy.item() == (logits.argmax(1) == labels).float().mean().item()
    found.total.backward()
    without = [name for name, p in model.named_parameters() if p.grad is None]
    assert without == []


@pytest.mark.parametrize("model", [TONE(TONE_SMALL, classes=5), BDTR(BDTR_SMALL, classes=5)])
def test_the_streams_train_with_the_backbone(model: TONE | BDTR) -> None:
    groups = {name: {id(p) for p in own} for name, own in model.parameter_groups().items()}
    assert groups["backbone"] == {id(p) for p in model.streams.parameters()}
    assert groups["heads"] == {id(p) for p in model.head.parameters()}


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        (TONEConfig, {"dim": 0}, "'0'.*--dim"),
        (TONEConfig, {"contrastive": -1.0}, "'-1.0'.*--contrastive"),
        (TONEConfig, {"margin": math.nan}, "'nan'.*--margin"),
        (BDTRConfig, {"rank": -1.0}, "'-1.0'.*--rank"),
        (BDTRConfig, {"intra_margin": -0.5}, "'-0.5'.*--intra-margin"),
    ],
)
def test_contradictions_are_refused(
    kind: type[TONEConfig | BDTRConfig], options: dict[str, float], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        kind(**options)  # type: ignore[arg-type]
