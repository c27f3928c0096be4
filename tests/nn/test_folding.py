"""A network without its batch norms describes as it did with them."""

import copy

import pytest
import torch
from torch import nn

from vireid.nn import BackboneName, build_stages, fold_batch_norms


@pytest.mark.parametrize(
    "name",
    # One of each kind of block.
    [
        "resnet18",
        "resnet50",
        "mobilenet_v2",
        "mobilenet_v3_large",
        "efficientnet_b0",
        "efficientnet_lite0",
        "efficientnet_lite2",
    ],
)
def test_every_batch_norm_of_a_backbone_is_folded(name: BackboneName) -> None:
    torch.manual_seed(0)
    stages, _ = build_stages(name)
    network = nn.Sequential(*stages.values()).double().train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    x = torch.randn(2, 3, 64, 32, dtype=torch.float64)
    with torch.no_grad():
        network(x)
        expected = network.eval()(x)
        folded = fold_batch_norms(copy.deepcopy(network))
        assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
        torch.testing.assert_close(folded(x), expected)


def test_a_norm_that_follows_something_else_stays() -> None:
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4))
    assert [type(m) for m in fold_batch_norms(network.eval())] == [
        nn.BatchNorm2d,
        nn.Conv2d,
        nn.ReLU,
        nn.BatchNorm2d,
    ]
