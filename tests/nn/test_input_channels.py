"""A stem on other planes sees what the old one sees in the pictures that the planes stand for."""

import pytest
import torch
from torch import nn

from vireid.nn import BACKBONES, BackboneName, build_stages
from vireid.nn.input_channels import BLUE, GREEN, GREY, RED, set_input_channels


def stems(name: BackboneName, planes: list[tuple[float, float, float]]) -> list[nn.Module]:
    """The old stem and the new one of the same weights, in float64."""
    pair = []
    for _ in range(2):
        torch.manual_seed(0)
        pair.append(build_stages(name)[0]["stem"].double().eval())
    set_input_channels(pair[1], planes)
    return pair


@pytest.mark.parametrize("name", BACKBONES)
def test_a_grey_plane_is_the_grey_picture_repeated(name: BackboneName) -> None:
    old, new = stems(name, [GREY])
    grey = torch.randn(2, 1, 33, 18, dtype=torch.float64)
    with torch.inference_mode():
        torch.testing.assert_close(new(grey), old(grey.expand(-1, 3, -1, -1)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", BACKBONES)
def test_an_empty_plane_adds_nothing(name: BackboneName) -> None:
    old, new = stems(name, [GREY, GREY])
    grey = torch.randn(2, 1, 33, 18, dtype=torch.float64)
    nothing = torch.zeros_like(grey)
    with torch.inference_mode():
        expected = old(grey.expand(-1, 3, -1, -1))
        for planes in ((grey, nothing), (nothing, grey)):
            torch.testing.assert_close(new(torch.cat(planes, 1)), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", BACKBONES)
def test_planes_add_up_as_their_pictures_do(name: BackboneName) -> None:
    old, new = stems(name, [RED, GREEN, BLUE, GREY])
    colours, infrared = torch.randn(2, 2, 3, 33, 18, dtype=torch.float64)
    infrared = infrared[:, :1]
    with torch.inference_mode():
        four = new(torch.cat([colours, infrared], 1))
        torch.testing.assert_close(four, old(colours + infrared), rtol=0, atol=1e-12)


def test_filters_are_their_sums_by_hand_and_train() -> None:
    old, new = stems("resnet18", [BLUE, (0.5, -1.0, 2.0)])
    before, after = (
        next(m for m in stem.modules() if isinstance(m, nn.Conv2d)) for stem in (old, new)
    )
    red, green, blue = before.weight.unbind(1)
    expected = torch.stack([blue, 0.5 * red - green + 2 * blue], 1)
    torch.testing.assert_close(after.weight, expected, rtol=0, atol=1e-15)
    assert (after.in_channels, after.weight.requires_grad, after.weight.is_leaf) == (2, True, True)
