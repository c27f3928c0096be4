"""The non-local block equals its formula, starts as the identity, and finds every backbone."""

import pytest
import torch
from torch import Tensor, nn

from vireid.nn import BACKBONES, BackboneName, NonLocal, build_stages, with_non_local


def by_hand(block: NonLocal, x: Tensor) -> Tensor:
    """Position by position; in evaluation mode, where the batch norm is a line."""
    n, _, h, w = x.shape

    def conv(layer: nn.Conv2d, v: Tensor) -> Tensor:
        assert layer.bias is not None
        return layer.weight[:, :, 0, 0] @ v + layer.bias

    out = x.clone()
    for image in range(n):
        positions = [x[image, :, i, j] for i in range(h) for j in range(w)]
        for index, one in enumerate(positions):
            gathered = torch.zeros(block.g.out_channels, dtype=x.dtype)
            for other in positions:
                weight = conv(block.theta, one) @ conv(block.phi, other)
                gathered += weight * conv(block.g, other) / len(positions)
            z = conv(block.out, gathered)
            mean, variance = block.norm.running_mean, block.norm.running_var
            assert mean is not None
            assert variance is not None
            scaled = (z - mean) / (variance + block.norm.eps).sqrt()
            scaled = scaled * block.norm.weight + block.norm.bias
            out[image, :, index // w, index % w] += scaled
    return out


def test_equals_the_formula() -> None:
    torch.manual_seed(0)
    block = NonLocal(6).double().eval()
    nn.init.normal_(block.norm.weight)
    nn.init.normal_(block.norm.bias)
    assert block.norm.running_mean is not None
    nn.init.normal_(block.norm.running_mean)
    x = torch.randn(2, 6, 4, 3, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(block(x), by_hand(block, x), rtol=0, atol=1e-12)
    assert torch.autograd.gradcheck(block, (torch.randn(1, 6, 2, 3).double().requires_grad_(),))


@pytest.mark.parametrize("training", [True, False])
def test_starts_as_the_identity(training: bool) -> None:
    x = torch.randn(3, 8, 5, 2)
    assert torch.equal(NonLocal(8).train(training)(x), x)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_stands_behind_the_last_blocks(backbone: BackboneName) -> None:
    stages, _ = build_stages(backbone)
    x = stages["layer1"](stages["stem"](torch.randn(1, 3, 64, 32)))
    stage = stages["layer2"].eval()
    blocks = len(list(stage.children()))
    changed = with_non_local(stage, 2)
    kinds = [isinstance(part, NonLocal) for part in changed]
    assert sum(kinds) == min(2, blocks)
    assert kinds[-2:] == [False, True]
    assert torch.equal(changed(x), stage(x))
