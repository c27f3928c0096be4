"""The blocks of DEEN against loops written by hand, in float64."""

import math

import pytest
import torch
from torch import Tensor, nn

from vireid.nn.aggregation import FeatureAggregation
from vireid.nn.expansion import EmbeddingExpansion


def convolution(layer: nn.Module, x: Tensor) -> list[list[list[float]]]:
    """One image ``[C, h, w]`` through a convolution, value by value."""
    assert isinstance(layer, nn.Conv2d)
    weight, (kernel, _) = layer.weight.tolist(), layer.kernel_size
    bias = [0.0] * layer.out_channels if layer.bias is None else layer.bias.tolist()
    stride, dilation = layer.stride[0], layer.dilation[0]
    pad = int(layer.padding[0])
    _, height, width = x.shape
    values = x.tolist()
    out = []
    for o in range(layer.out_channels):
        plane = []
        for y in range(0, height, stride):
            row = []
            for z in range(0, width, stride):
                total = bias[o]
                for c in range(layer.in_channels):
                    for i in range(kernel):
                        for j in range(kernel):
                            a, b = y + i * dilation - pad, z + j * dilation - pad
                            if 0 <= a < height and 0 <= b < width:
                                total += weight[o][c][i][j] * values[c][a][b]
                row.append(total)
            plane.append(row)
        out.append(plane)
    return out


def as_rows(planes: list[list[list[float]]]) -> list[list[float]]:
    """``[C][h][w]`` as ``[C][h·w]``."""
    return [[value for row in plane for value in row] for plane in planes]


def softmax(values: list[float]) -> list[float]:
    powers = [math.exp(v - max(values)) for v in values]
    return [p / sum(powers) for p in powers]


def random_weights(module: nn.Module) -> None:
    for parameter in module.requires_grad_(False).parameters():
        parameter.copy_(torch.randn_like(parameter) * 0.4)


def test_expansion_equals_loops() -> None:
    torch.manual_seed(0)
    block = EmbeddingExpansion(4, branches=2).double().eval()
    random_weights(block)
    x = torch.randn(2, 4, 5, 3, dtype=torch.float64)
    found = block(x)
    assert found.shape == (6, 4, 5, 3)
    assert torch.equal(found[:2], x)
    for branch in range(2):
        reduce, expand = block.reduce[branch], block.expand[branch]
        assert isinstance(reduce, nn.ModuleList)
        assert [layer.dilation for layer in reduce] == [(1, 1), (2, 2), (3, 3)]
        for n in range(2):
            maps = [torch.tensor(convolution(layer, x[n])) for layer in reduce]
            hidden = torch.stack(maps).double().sum(0) / 3
            expected = torch.tensor(convolution(expand, hidden.clamp(min=0)))
            torch.testing.assert_close(
                found[2 + 2 * branch + n], expected.double(), rtol=1e-5, atol=1e-6
            )


@pytest.mark.parametrize("softmax_of", [False, True])
@pytest.mark.parametrize("stride", [1, 2])
def test_aggregation_equals_loops(stride: int, softmax_of: bool) -> None:
    torch.manual_seed(0)
    block = FeatureAggregation(3, 4, stride=stride, softmax=softmax_of).double().eval()
    random_weights(block)
    low = torch.randn(4, 5, 3, dtype=torch.float64)
    high = torch.randn(3, -(-5 // stride), -(-3 // stride), dtype=torch.float64)

    def normalise(values: list[float]) -> list[float]:
        return softmax(values) if softmax_of else [v / len(values) for v in values]

    def out(layers: nn.Module, gathered: Tensor) -> Tensor:
        assert isinstance(layers, nn.Sequential)
        norm = layers[1]
        assert isinstance(norm, nn.BatchNorm2d)
        mapped = torch.tensor(convolution(layers[0], gathered), dtype=torch.float64)
        scale = norm.weight / math.sqrt(1 + norm.eps)
        return mapped * scale[:, None, None] + norm.bias[:, None, None]

    q, k, v = (
        as_rows(convolution(layer, x))
        for layer, x in (
            (block.channel_query, high),
            (block.channel_key, low),
            (block.channel_value, low),
        )
    )
    channels = []
    for row in q:
        weights = normalise([sum(a * b for a, b in zip(row, key, strict=True)) for key in k])
        channels.append(
            [sum(w * plane[n] for w, plane in zip(weights, v, strict=True)) for n in range(15)]
        )
    gathered = torch.tensor(channels, dtype=torch.float64).view(4, 5, 3)
    middle = high + out(block.channel_out, gathered)
    q, k, v = (
        as_rows(convolution(layer, x))
        for layer, x in (
            (block.position_query, middle),
            (block.position_key, low),
            (block.position_value, low),
        )
    )
    places = []
    for query in zip(*q, strict=True):
        keys = zip(*k, strict=True)
        weights = normalise([sum(a * b for a, b in zip(query, key, strict=True)) for key in keys])
        places.append([sum(w * x for w, x in zip(weights, plane, strict=True)) for plane in v])
    gathered = torch.tensor(places, dtype=torch.float64).T.view(2, *high.shape[1:])
    expected = middle + out(block.position_out, gathered)
    found = block(high[None], low[None])[0]
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)


def test_aggregation_starts_as_the_identity() -> None:
    block = FeatureAggregation(6, 4, stride=2)
    high, low = torch.randn(2, 6, 4, 2), torch.randn(2, 4, 8, 4)
    assert torch.equal(block(high, low), high)


@pytest.mark.parametrize("softmax_of", [False, True])
def test_aggregation_gradient(softmax_of: bool) -> None:
    torch.manual_seed(0)
    block = FeatureAggregation(2, 2, stride=2, softmax=softmax_of).double().eval()
    random_weights(block)
    high = torch.randn(1, 2, 2, 1, dtype=torch.float64, requires_grad=True)
    low = torch.randn(1, 2, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(block, (high, low))
