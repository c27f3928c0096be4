"""A backbone cut behind layer3's first block, and what a branch makes of it."""

import copy

import pytest
import torch
from torch import nn

from vireid.nn import BACKBONES, BackboneName, build_stages
from vireid.nn.backbone import keep_resolution
from vireid.nn.branches import Branch, split_stages


@pytest.mark.parametrize("name", BACKBONES)
@torch.inference_mode()
def test_every_backbone_can_be_cut(name: BackboneName) -> None:
    torch.manual_seed(0)
    stages, channels = build_stages(name, last_stride=2)
    whole = nn.Sequential(*stages.values()).eval()
    trunk, behind = split_stages(stages)
    images = torch.randn(1, 3, 96, 64)
    middle = trunk(images)
    assert middle.shape[2:] == (6, 4)
    assert middle.shape[2:] != nn.Sequential(*list(trunk)[:-1])(images).shape[2:]
    end = behind(middle)
    assert end.shape == (1, channels, 3, 2)
    assert torch.equal(end, whole(images))
    # Nothing is lost and nothing comes twice.
    parts = [id(p) for part in (trunk, behind) for p in part.parameters()]
    assert sorted(parts) == sorted(id(p) for p in whole.parameters())


@pytest.mark.parametrize("name", BACKBONES)
def test_a_stride_given_up_later_is_one_given_up_at_once(name: BackboneName) -> None:
    found = []
    with torch.device("meta"):
        _, at_once = split_stages(build_stages(name, last_stride=1)[0])
        _, later = split_stages(build_stages(name, last_stride=2)[0])
    for behind in (at_once, later):
        found.append([m.stride for m in behind.modules() if isinstance(m, nn.Conv2d)])
    assert found[0] != found[1]
    keep_resolution(later)
    assert [m.stride for m in later.modules() if isinstance(m, nn.Conv2d)] == found[0]
    assert set(found[0]) == {(1, 1)}


@torch.inference_mode()
def test_a_branch_pools_its_map_at_every_granularity() -> None:
    layers = nn.Conv2d(4, 5, 1)
    branch = Branch(copy.deepcopy(layers), (1, 3))
    x = torch.randn(2, 4, 6, 3)
    y = layers(x)
    expected = [y.amax((2, 3)), *(y[:, :, 2 * p : 2 * p + 2].amax((2, 3)) for p in range(3))]
    torch.testing.assert_close(branch(x), torch.stack(expected, dim=1))
