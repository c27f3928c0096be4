"""Winograd's convolution is the convolution, and so are its gradients."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from vireid.nn.winograd import count_tiles, transform_filters, winograd_conv


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(1, 3),
    channels=st.integers(1, 5),
    filters=st.integers(1, 5),
    height=st.integers(1, 10),
    width=st.integers(1, 10),
    seed=st.integers(0, 2**31),
)
def test_maps_and_gradients_are_those_of_the_definition(
    n: int, channels: int, filters: int, height: int, width: int, seed: int
) -> None:
    random = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=random, dtype=torch.float64, requires_grad=True)

    x, weight = draw(n, channels, height, width), draw(filters, channels, 3, 3)
    expected = F.conv2d(x, weight, padding=1)
    found = winograd_conv(x, transform_filters(weight))
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)
    towards = torch.randn(expected.shape, generator=random, dtype=torch.float64)
    for own, right in zip(
        torch.autograd.grad(found, (x, weight), towards),
        torch.autograd.grad(expected, (x, weight), towards),
        strict=True,
    ):
        torch.testing.assert_close(own, right, rtol=0, atol=1e-11)


@pytest.mark.parametrize("frozen", [0, 1])
def test_what_is_frozen_gets_no_gradient(frozen: int) -> None:
    given = [torch.randn(2, 4, 6, 3), torch.randn(4, 4, 3, 3)]
    given[1 - frozen].requires_grad_()
    winograd_conv(given[0], transform_filters(given[1])).sum().backward()
    assert given[frozen].grad is None
    assert given[1 - frozen].grad is not None


def test_float32_is_as_exact_as_training_needs() -> None:
    random = torch.Generator().manual_seed(0)
    x = torch.randn(4, 256, 18, 9, generator=random)
    weight = torch.randn(256, 256, 3, 3, generator=random) / 48
    found = winograd_conv(x, transform_filters(weight))
    expected = F.conv2d(x.double(), weight.double(), padding=1)
    assert (found - expected).abs().max() < 2e-5 * expected.abs().max()


def test_tiles_cover_the_map() -> None:
    assert count_tiles(torch.Size([32, 512, 18, 9])) == 32 * 6 * 3
    assert count_tiles(torch.Size([2, 1, 10, 1])) == 2 * 4 * 1
