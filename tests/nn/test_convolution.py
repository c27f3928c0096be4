"""Convolutions taken the fast way are convolutions, and everything else is left to torch."""

import copy

import pytest
import torch
from torch import nn

from vireid.nn import build_stages, convolution, depthwise, use_fast_convolutions


@pytest.fixture(autouse=True)
def anything_is_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the fast ways be taken for small maps of few channels too."""
    monkeypatch.setattr(convolution, "_WIDE", 1)


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
        *((5, {"padding": padding, "out": 4, "groups": 4}) for padding in (0, 1, 2, (2, 1))),
        ((7, 5), {"padding": 2, "out": 4, "groups": 4}),
        (5, {"padding": "same", "out": 4, "groups": 4}),
        (5, {"padding": 2, "out": 4, "groups": 4, "stride": 2}),
        (5, {"padding": 2, "out": 8, "groups": 4}),
        (5, {"padding": 2, "out": 4, "groups": 4, "padding_mode": "circular"}),
        ((3, 1), {}),
        (7, {"padding": 3}),
    ],
)
def test_maps_and_gradients_are_torchs(
    kernel: object, options: dict[str, object], bias: bool
) -> None:
    torch.manual_seed(0)
    options = dict(options)
    out = options.pop("out", 6)
    plain = nn.Conv2d(4, out, kernel, bias=bias, **options).double()  # type: ignore[arg-type]
    quick = use_fast_convolutions(copy.deepcopy(plain))
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
    quick = use_fast_convolutions(copy.deepcopy(plain))
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


def test_only_large_filters_over_small_maps_in_training_are_taken_a_channel_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken = []

    def seen(x: torch.Tensor, weight: torch.Tensor, padding: tuple[int, int]) -> torch.Tensor:
        taken.append((tuple(x.shape[2:]), tuple(weight.shape[2:])))
        return depthwise.depthwise_conv(x, weight, padding)

    monkeypatch.setattr(convolution, "depthwise_conv", seen)
    small, large = torch.randn(2, 4, 9, 5), torch.randn(2, 4, 18, 9)
    for kernel in (3, 5):
        quick = use_fast_convolutions(nn.Conv2d(4, 4, kernel, padding=2, groups=4))
        for x in (small, large):
            quick(x.to(memory_format=torch.channels_last))
        with torch.inference_mode():
            quick(small.to(memory_format=torch.channels_last))
    assert taken == [((9, 5), (5, 5))]


def test_efficientnet_takes_them_too(monkeypatch: pytest.MonkeyPatch) -> None:
    stages, _ = build_stages("efficientnet_lite0")
    last = stages["layer4"].train().to(memory_format=torch.channels_last)
    x = torch.randn(2, 112, 6, 3).to(memory_format=torch.channels_last)
    found = []
    for places in (depthwise._PLACES, 0):
        monkeypatch.setattr(depthwise, "_PLACES", places)
        last.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):  # its depthwise convolutions stay in float32
            last(x).float().square().mean().backward()
        found.append(
            {n: p.grad for n, p in last.named_parameters() if p.grad is not None and p.dim() == 4}
        )
    differ = [name for name, own in found[0].items() if not torch.equal(own, found[1][name])]
    assert any(found[0][name].shape[2:] == (5, 5) for name in differ)
    for name, own in found[0].items():
        torch.testing.assert_close(own, found[1][name], rtol=0.02, atol=1e-4, msg=name)


def test_bfloat16_and_other_layouts_are_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []

    def seen(x: torch.Tensor, weight: torch.Tensor, padding: tuple[int, int]) -> torch.Tensor:
        taken.append(tuple(x.shape))
        return depthwise.depthwise_conv(x, weight, padding)

    monkeypatch.setattr(convolution, "depthwise_conv", seen)
    quick = use_fast_convolutions(nn.Conv2d(4, 4, 5, padding=2, groups=4))
    x = torch.randn(2, 4, 9, 7)
    quick(x)
    with torch.autocast("cpu", torch.bfloat16):
        quick(x.to(memory_format=torch.channels_last))
    quick.bfloat16()(x.bfloat16().to(memory_format=torch.channels_last))
    assert taken == []
    quick.float()(x.to(memory_format=torch.channels_last))
    assert taken == [(2, 4, 9, 7)]
