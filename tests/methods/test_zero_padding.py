"""Deep zero-padding as its module describes it."""

import dataclasses

import pytest
import torch
from tests.helpers.batches import random_batch
from torch.nn import functional as F

from vireid.data.pixels import grey
from vireid.methods import on_cpu, zero_padding
from vireid.methods.zero_padding import ZeroPadding, ZeroPaddingConfig
from vireid.types import Modality

SMALL = ZeroPaddingConfig(backbone="resnet18", weights="none", size=(64, 32))


def test_the_stated_size() -> None:
    config = dataclasses.replace(zero_padding.recipe().method, weights="none")
    with torch.device("meta"):
        model = ZeroPadding(config, classes=395).eval()
        features = model.extract_features(torch.empty(2, 3, 288, 144), Modality.VISIBLE)
    assert sum(p.numel() for p in model.parameters()) == 24_314_251
    assert features.shape == (2, 2048)


def test_each_modality_has_its_own_plane() -> None:
    images = torch.randn(2, 3, 64, 32)
    model = ZeroPadding(SMALL, classes=5)
    visible, infrared = (model.input_channels(images, modality) for modality in Modality)
    assert torch.equal(visible, infrared.flip(1))
    assert torch.equal(visible[:, :1], grey(images))
    assert (visible[:, 1] == 0).all()


def test_only_the_first_filters_can_tell_modalities_apart() -> None:
    model = ZeroPadding(SMALL, classes=5).eval()
    images = torch.randn(2, 3, 64, 32)
    with torch.inference_mode():
        before = {m: model.extract_features(images, m) for m in Modality}
        torch.testing.assert_close(*before.values())
        next(model.backbone.parameters())[:, 1].mul_(-1)  # what reads the infrared plane
        assert torch.equal(
            model.extract_features(images, Modality.VISIBLE), before[Modality.VISIBLE]
        )
        changed = model.extract_features(images, Modality.INFRARED)
    assert not torch.allclose(changed, before[Modality.INFRARED], atol=1e-3)


@pytest.mark.parametrize("neck", [False, True])
def test_its_loss_is_the_cross_entropy(neck: bool) -> None:
    model = ZeroPadding(dataclasses.replace(SMALL, neck=neck), classes=5)
    given = random_batch(infrared=(3, 0, 1))
    found = model.losses(given)
    # Once more, from its parts; batch norms use the batch, so nothing depends on the first pass.
    planes = [
        model.input_channels(given.visible, Modality.VISIBLE),
        model.input_channels(given.infrared, Modality.INFRARED),
    ]
    features = model.backbone(torch.cat(planes)).mean((2, 3))
    if neck:
        variance = features.var(0, correction=0)
        features = (features - features.mean(0)) / (variance + 1e-5).sqrt()
    logits = features @ model.classifier.weight.T + model.classifier.bias
    log_p = logits.double().log_softmax(1)
    labels = [0, 0, 3, 3, 3, 0, 1]
    expected = -torch.stack([log_p[i, label] for i, label in enumerate(labels)]).mean()
    assert set(found.terms) == {"identity"}
    torch.testing.assert_close(found.total.double(), expected, rtol=1e-4, atol=1e-5)
    assert found.features is not None
    torch.testing.assert_close(found.features, F.normalize(features), rtol=1e-3, atol=1e-4)
    found.total.backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_two_cores_get_the_neck() -> None:
    assert not zero_padding.recipe().method.neck
    assert on_cpu(zero_padding.recipe()).method.neck
