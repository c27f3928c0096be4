"""Stripes, pooling and the two streams against plain loops."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from vireid.errors import ConfigError
from vireid.nn import BACKBONES, STAGES, GeM, StripeHeads, StripePool, TwoStream, build_stages
from vireid.nn.pooling import StripeMax
from vireid.nn.stripes import check_stripes
from vireid.nn.two_stream import PerModality


@pytest.mark.parametrize(("height", "stripes"), [(18, 6), (9, 6), (10, 3), (7, 1)])
def test_stripes_are_means_or_maxima_over_adaptive_bounds(height: int, stripes: int) -> None:
    x = torch.randn(2, 5, height, 3, dtype=torch.float64)
    pooled = StripePool(stripes)(x)
    largest = StripeMax(stripes)(x)
    used = set()
    for p in range(stripes):
        top, bottom = p * height // stripes, math.ceil((p + 1) * height / stripes)
        used |= set(range(top, bottom))
        assert torch.allclose(pooled[:, p], x[:, :, top:bottom].mean((2, 3)), atol=1e-12)
        assert torch.equal(largest[:, p], x[:, :, top:bottom].amax((2, 3)))
    assert used == set(range(height))


def test_gem_is_a_generalised_mean() -> None:
    x = torch.rand(2, 4, 6, 3) + 0.1
    pooled = GeM(2, power=3.0)(x)
    for p in range(2):
        expected = (x[:, :, 3 * p : 3 * p + 3].pow(3).mean((2, 3))).pow(1 / 3)
        assert torch.allclose(pooled[:, p], expected, atol=1e-5)
    assert torch.allclose(GeM(2, power=1.0)(x), StripePool(2)(x), atol=1e-6)


def test_heads_equal_separate_layers() -> None:
    torch.manual_seed(0)
    heads = StripeHeads(12, stripes=3, dim=4, classes=7).double()
    nn.init.normal_(heads.bias)
    nn.init.normal_(heads.classifier_bias)
    x = torch.randn(10, 3, 12, dtype=torch.float64)
    embeddings = heads(x)
    logits = heads.classify(embeddings)
    for p in range(3):
        linear = x[:, p] @ heads.weight[p] + heads.bias[p]
        channels = slice(4 * p, 4 * p + 4)
        normed = F.batch_norm(
            linear,
            None,
            None,
            heads.norm.weight[channels],
            heads.norm.bias[channels],
            training=True,
        )
        assert torch.allclose(embeddings[:, p], normed, atol=1e-12)
        active = torch.where(normed > 0, normed, 0.1 * normed)
        expected = active @ heads.classifier_weight[p] + heads.classifier_bias[p]
        assert torch.allclose(logits[:, p], expected, atol=1e-12)


def test_stripes_that_share_their_embedding_have_classifiers_of_their_own() -> None:
    torch.manual_seed(0)
    heads = StripeHeads(12, stripes=3, dim=4, classes=7, shared=True).double()
    assert heads.weight.shape == (1, 12, 4)
    nn.init.normal_(heads.bias)
    x = torch.randn(10, 3, 12, dtype=torch.float64)
    embeddings = heads(x)
    # One linear layer, and one batch norm whose statistics are over images and stripes.
    linear = torch.stack([x[:, p] @ heads.weight[0] + heads.bias[0] for p in range(3)], dim=1)
    mean, variance = linear.mean((0, 1)), linear.var((0, 1), unbiased=False)
    normed = (linear - mean) / (variance + heads.norm.eps).sqrt()
    expected = normed * heads.norm.weight + heads.norm.bias
    torch.testing.assert_close(embeddings, expected, rtol=0, atol=1e-12)
    logits = heads.classify(embeddings)
    for p in range(3):
        active = torch.where(expected[:, p] > 0, expected[:, p], 0.1 * expected[:, p])
        by_hand = active @ heads.classifier_weight[p] + heads.classifier_bias[p]
        torch.testing.assert_close(logits[:, p], by_hand, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("stripes", "dim", "height", "quoted"),
    [(0, 8, 96, "'0' stripes of '8'"), (6, 0, 96, "of '0' channels"), (7, 8, 96, "map of 6 rows")],
)
def test_stripes_that_no_map_has(stripes: int, dim: int, height: int, quoted: str) -> None:
    check_stripes(6, dim=8, height=96)
    with pytest.raises(ConfigError, match=quoted):
        check_stripes(stripes, dim=dim, height=height)


@pytest.mark.parametrize("name", BACKBONES)
def test_last_stride_is_one(name: str) -> None:
    stages, channels = build_stages(name)  # type: ignore[arg-type]
    assert tuple(stages) == STAGES
    x = torch.randn(1, 3, 96, 48)
    heights = []
    with torch.inference_mode():
        for stage in stages.values():
            x = stage.eval()(x)
            heights.append(x.shape[2])
    assert x.shape == (1, channels, 6, 3)
    assert heights[3] == heights[4]


@pytest.mark.parametrize("shared_from", [None, *STAGES])
def test_streams_go_apart_until_the_trunk(shared_from: str | None) -> None:
    torch.manual_seed(0)
    stages, _ = build_stages("resnet18")
    streams = TwoStream(stages, shared_from=shared_from).eval()  # type: ignore[arg-type]
    images = torch.randn(3, 3, 64, 32)
    with torch.inference_mode():
        both = streams(images, 2)
        assert torch.allclose(both[:2], streams(images[:2], 2), atol=1e-5)
        assert torch.allclose(both[2:], streams(images[2:], 0), atol=1e-5)
        for module in streams.modules():
            if isinstance(module, PerModality) and module.separate:
                for parameter in module.infrared.parameters():
                    parameter.mul_(1.1)
        changed = streams(images, 2)
    assert torch.equal(both[:2], changed[:2])
    assert torch.equal(both[2:], changed[2:]) == (shared_from == "stem")
