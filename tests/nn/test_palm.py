"""PALM against its equations written out by hand."""

import itertools
import math
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from vireid.errors import ConfigError
from vireid.nn import PALM, record_attention
from vireid.nn.palm import PalmBranch, RelativePosition


def by_hand(palm: PALM, x: Tensor) -> tuple[Tensor, Tensor]:
    """y and a, position by position."""
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
            if palm.offsets is not None:
                for j in range(h * w):
                    down, right = j // w - i // w, j % w - i % w
                    logits[j] += float(palm.offsets.rows[palm.offsets.height - 1 + down])
                    logits[j] += float(palm.offsets.columns[palm.offsets.width - 1 + right])
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
            y[b, :, i] = attended
        y[b] = scaled_sum(palm, flat[b], y[b])
    return y.reshape(x.shape), a


def scaled_sum(palm: PALM, x: Tensor, attended: Tensor) -> Tensor:
    """The scaled attended values added to one map ``[C, N]``; BatchNorm in training mode."""
    if palm.norm is None:
        return x + palm.gamma * attended
    y = torch.zeros_like(x)
    for channel in range(len(x)):
        values = attended[channel]
        if palm.centred:
            values = values - values.mean()
        deviation = math.sqrt(float(((values - values.mean()) ** 2).mean()) + palm.norm.eps)
        y[channel] = x[channel] + palm.norm.weight[channel] * (values - values.mean()) / deviation
        y[channel] += palm.norm.bias[channel]
    return y


def make(channels: int = 16, **options: Any) -> PALM:
    torch.manual_seed(3)
    palm = PALM(channels, **options).double()
    if palm.norm is None:
        torch.nn.init.constant_(palm.gamma, 0.7)
    else:
        torch.nn.init.uniform_(palm.norm.weight, 0.5, 1.0)
        torch.nn.init.uniform_(palm.norm.bias)
    if palm.offsets is not None:
        torch.nn.init.normal_(palm.offsets.rows)
        torch.nn.init.normal_(palm.offsets.columns)
    return palm


FORMS: list[dict[str, Any]] = [
    {},
    {"scaled": True},
    {"stripes": 3},
    {"stripes": 2},
    {"grid": (5, 3)},
    {"grid": (7, 4), "stripes": 2},
    {"grid": (6, 3), "scaled": True},
    {"branch": "batch_norm"},
    {"branch": "centred"},
    {"branch": "centred", "grid": (6, 3), "scaled": True},
]


@pytest.mark.parametrize("options", FORMS)
@torch.no_grad()
def test_equals_a_loop_over_positions(options: dict[str, Any]) -> None:
    palm = make(**options)
    # A batch norm is over the batch: by hand it is that of one image.
    x = torch.randn(2 if palm.norm is None else 1, 16, 5, 3, dtype=torch.float64)
    with record_attention(palm) as maps:
        y = palm(x)
    expected, attention = by_hand(palm, x)
    assert (y - expected).abs().max() < 1e-10
    assert (maps[0].double() - attention).abs().max() < 1e-6


@pytest.mark.parametrize(
    "options",
    [
        {"grid": (3, 2)},
        {"branch": "batch_norm"},
        {"branch": "centred", "stripes": 3},
    ],
)
def test_gradient(options: dict[str, Any]) -> None:
    palm = make(8, **options)
    # Where attended values differ little, a batch norm bends more than differences can follow.
    x = (3 * torch.randn(2, 8, 3, 2, dtype=torch.float64)).requires_grad_()
    names = [name for name, _ in palm.named_parameters()]

    def function(x: Tensor, *values: Tensor) -> Tensor:
        given = dict(zip(names, values, strict=True))
        y: Tensor = torch.func.functional_call(palm, given, (x,))
        return y

    assert torch.autograd.gradcheck(function, (x, *palm.parameters()))


@pytest.mark.parametrize(
    ("options", "number"),
    [
        ({}, 5_245_441),  # as published
        ({"branch": "batch_norm"}, 5_245_440 + 2 * 2048),
        ({"branch": "centred"}, 5_245_440 + 2 * 2048),
        ({"grid": (18, 9)}, 5_245_441 + 2 * 18 - 1 + 2 * 9 - 1),
    ],
)
def test_number_of_parameters(options: dict[str, Any], number: int) -> None:
    assert sum(p.numel() for p in PALM(2048, **options).parameters()) == number


@pytest.mark.parametrize("grid", [None, (6, 3)])
@pytest.mark.parametrize("branch", get_args(PalmBranch))
@pytest.mark.parametrize("training", [False, True])
def test_starts_as_the_identity_and_learns(
    branch: PalmBranch, grid: tuple[int, int] | None, training: bool
) -> None:
    palm = PALM(16, branch=branch, grid=grid).train(training)
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


@torch.no_grad()
def test_a_centred_branch_leaves_the_mean_of_a_map_alone() -> None:
    palm = make(branch="centred")
    assert palm.norm is not None
    torch.nn.init.zeros_(palm.norm.bias)
    x = torch.randn(3, 16, 4, 3, dtype=torch.float64)
    y = palm(x)
    assert not torch.allclose(x, y, atol=1e-2)
    assert torch.allclose(x.mean((2, 3)), y.mean((2, 3)), atol=1e-12)


def test_offsets_start_near_their_own_row() -> None:
    bias = RelativePosition(4, 3)(3, 2).reshape(3, 2, 3, 2)
    for y, x, v, u in itertools.product(range(3), range(2), range(3), range(2)):
        assert bias[y, x, v, u] == -abs(y - v)


def test_a_map_that_is_larger_than_the_offsets_known() -> None:
    with pytest.raises(ConfigError, match=r"up to 4 x 3 and got one of '5 x 3'"):
        PALM(16, grid=(4, 3))(torch.randn(1, 16, 5, 3))


def test_channels_that_the_reduction_does_not_divide() -> None:
    with pytest.raises(ConfigError, match="12 channels"):
        PALM(12)
