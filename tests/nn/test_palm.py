"""PALM against its equations written out by hand."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from vireid.errors import ConfigError
from vireid.nn import PALM, record_attention


def by_hand(palm: PALM, x: Tensor) -> tuple[Tensor, Tensor]:
    """y and a, position by position, for the gamma form."""
    n, c, h, w = x.shape
    flat = x.reshape(n, c, h * w)

    def project(conv: torch.nn.Conv2d, vector: Tensor) -> Tensor:
        assert conv.bias is not None
        return conv.weight[:, :, 0, 0] @ vector + conv.bias

    y, a = torch.zeros_like(flat), flat.new_zeros(n, h * w, h * w)
    for b in range(n):
        for i in range(h * w):
            q = project(palm.query, flat[b, :, i])
            logits = [
                float(q @ project(palm.key, flat[b, :, j])) * palm.scale for j in range(h * w)
            ]
            if palm.stripes is not None:
                for j in range(h * w):
                    rows = h / palm.stripes
                    if int((i // w + 0.5) / rows) != int((j // w + 0.5) / rows):
                        logits[j] = -math.inf
            top = max(logits)
            weights = [math.exp(value - top) for value in logits]
            attended = torch.zeros(c, dtype=x.dtype)
            for j in range(h * w):
                a[b, i, j] = weights[j] / sum(weights)
                attended += a[b, i, j] * project(palm.value, flat[b, :, j])
            y[b, :, i] = flat[b, :, i] + palm.gamma * attended
    return y.reshape(x.shape), a


def make(channels: int = 16, **options: Any) -> PALM:
    torch.manual_seed(3)
    palm = PALM(channels, **options).double()
    if palm.norm is None:
        torch.nn.init.constant_(palm.gamma, 0.7)
    return palm


@pytest.mark.parametrize("options", [{}, {"scaled": True}, {"stripes": 3}, {"stripes": 2}])
@torch.no_grad()
def test_equals_a_loop_over_positions(options: dict[str, Any]) -> None:
    palm = make(**options)
    x = torch.randn(2, 16, 5, 3, dtype=torch.float64)
    with record_attention(palm) as maps:
        y = palm(x)
    expected, attention = by_hand(palm, x)
    assert (y - expected).abs().max() < 1e-10
    assert (maps[0].double() - attention).abs().max() < 1e-6


def test_gradient() -> None:
    palm = make(8)
    x = torch.randn(1, 8, 3, 2, dtype=torch.float64, requires_grad=True)
    names = [name for name, _ in palm.named_parameters()]

    def function(x: Tensor, *values: Tensor) -> Tensor:
        given = dict(zip(names, values, strict=True))
        y: Tensor = torch.func.functional_call(palm, given, (x,))
        return y

    assert torch.autograd.gradcheck(function, (x, *palm.parameters()))


def test_exactly_the_published_number_of_parameters() -> None:
    assert sum(p.numel() for p in PALM(2048).parameters()) == 5_245_441


@pytest.mark.parametrize("branch", ["gamma", "batch_norm"])
def test_starts_as_the_identity_and_learns(branch: str) -> None:
    palm = PALM(16, branch=branch)  # type: ignore[arg-type]
    x = torch.rand(4, 16, 6, 3)
    y = palm(x)
    assert torch.equal(y, x)
    (y * torch.randn_like(y)).sum().backward()
    scale = palm.gamma if palm.norm is None else palm.norm.weight
    assert scale.grad is not None
    assert scale.grad.abs().sum() > 0


def test_attention_rows_sum_to_one_and_stay_in_their_stripe() -> None:
    x = torch.randn(2, 16, 6, 3)
    with record_attention(PALM(16, stripes=3)) as maps:
        pass
    assert maps == []
    palm = PALM(16, stripes=3)
    with record_attention(palm) as maps:
        palm(x)
    assert maps[0].shape == (2, 18, 18)
    assert torch.allclose(maps[0].sum(-1), torch.ones(2, 18))
    blocks = maps[0].reshape(2, 3, 6, 3, 6)
    for i in range(3):
        for j in range(3):
            assert (blocks[:, i, :, j].sum() == 0) == (i != j)


def test_nothing_is_kept_when_not_asked_for() -> None:
    palm = PALM(16)
    with record_attention(palm) as maps:
        palm(torch.randn(1, 16, 2, 2))
    palm(torch.randn(1, 16, 2, 2))
    assert len(maps) == 1
    assert palm.recorded is None


def test_attention_is_float32_whatever_the_precision() -> None:
    palm = PALM(16)
    with torch.autocast("cpu", torch.bfloat16), record_attention(palm) as maps:
        palm(torch.randn(1, 16, 4, 2))
    assert maps[0].dtype == torch.float32
    assert torch.allclose(maps[0].sum(-1), torch.ones(1, 8), atol=1e-6)


def test_channels_that_the_reduction_does_not_divide() -> None:
    with pytest.raises(ConfigError, match="12 channels"):
        PALM(12)
