"""Convolutions taken the fast way are convolutions, and everything else is left to torch."""

import copy

import pytest
import torch
from torch import nn

from vireid.nn import build_stages, convolution, quicken
from vireid.nn.winograd import winograd_conv


@pytest.fixture(autouse=True)
def anything_is_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the fast ways be taken for small maps of few channels too."""
    for name in ("_WIDE", "_WIDE_3X3", "_TILES"):
        monkeypatch.setattr(convolution, name, 1)


def gradients(
    module: nn.Module, x: torch.Tensor, towards: torch.Tensor
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    x = x.detach().requires_grad_()
    found = module(x)
    return found, list(torch.autograd.grad(found, (x, *module.parameters()), towards))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    ("kernel", "options"),
    [
        (1, {}),
        (1, {"stride": 2}),
        (1, {"stride": (2, 1)}),
        (1, {"padding": 1}),
        (1, {"groups": 2}),
        (3, {"padding": 1}),
        (3, {"padding": 1, "stride": 2}),
        (3, {"padding": 2, "dilation": 2}),
        (3, {"padding": 1, "padding_mode": "reflect"}),
        (3, {"padding": "same"}),
        (3, {"padding": 1, "groups": 2}),
        ((3, 1), {}),
        (7, {"padding": 3}),
    ],
)
def test_maps_and_gradients_are_torchs(
    kernel: object, options: dict[str, object], bias: bool
) -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(4, 6, kernel, bias=bias, **options).double()  # type: ignore[arg-type]
    quick = quicken(copy.deepcopy(plain))
    assert type(quick) is convolution.Conv2d
    x = torch.randn(2, 4, 9, 7, dtype=torch.float64).to(memory_format=torch.channels_last)
    towards = torch.randn_like(plain(x))
    expected, right = gradients(plain, x, towards)
    found, own = gradients(quick, x, towards)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(own, right)


def test_a_backbone_keeps_its_parameters_and_its_results() -> None:
    torch.manual_seed(0)
    stages, _ = build_stages("resnet18")
    plain = nn.Sequential(*stages.values()).double().to(memory_format=torch.channels_last)
    quick = quicken(copy.deepcopy(plain))
    assert list(quick.state_dict()) == list(plain.state_dict())
    assert all(type(m) is not nn.Conv2d for m in quick.modules())
    x = torch.randn(2, 3, 48, 32, dtype=torch.float64).to(memory_format=torch.channels_last)
    expected, found = plain(x), quick(x)
    torch.testing.assert_close(found, expected)
    expected.square().mean().backward()
    found.square().mean().backward()
    for (name, right), (_, own) in zip(
        plain.named_parameters(), quick.named_parameters(), strict=True
    ):
        torch.testing.assert_close(own.grad, right.grad, msg=name)


def test_bfloat16_and_other_layouts_are_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []

    def seen(x: torch.Tensor, filters: torch.Tensor) -> torch.Tensor:
        taken.append(tuple(x.shape))
        return winograd_conv(x, filters)

    monkeypatch.setattr(convolution, "winograd_conv", seen)
    quick = quicken(nn.Conv2d(4, 4, 3, padding=1))
    x = torch.randn(2, 4, 9, 7)
    quick(x)
    with torch.autocast("cpu", torch.bfloat16):
        quick(x.to(memory_format=torch.channels_last))
    quick.bfloat16()(x.bfloat16().to(memory_format=torch.channels_last))
    assert taken == []
    quick.float()(x.to(memory_format=torch.channels_last))
    assert taken == [(2, 4, 9, 7)]
