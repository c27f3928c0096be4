"""The translator's shapes, what its domains share, and its patches."""

import pytest
import torch
from torch.nn import functional as F

from vireid.nn.translator import PatchDiscriminator, ResidualBlock, Translator

PLANES = {"a": 3, "b": 1}


@pytest.mark.parametrize("halvings", [0, 1, 2])
def test_every_way_through_it(halvings: int) -> None:
    translator = Translator(PLANES, width=4, halvings=halvings)
    for domain, planes in PLANES.items():
        latent = translator.encode(torch.rand(2, planes, 16, 8), domain)
        shrink = 2**halvings
        assert latent.shape == (2, 4 * shrink, 16 // shrink, 8 // shrink)
        for other, wanted in PLANES.items():
            made = translator.decode(latent, other)
            assert made.shape == (2, wanted, 16, 8)
            assert made.abs().max() <= 1


def test_the_layers_by_the_latent_are_shared_and_the_others_are_not() -> None:
    translator = Translator(PLANES, width=4, halvings=1)
    translator.decode(translator.encode(torch.rand(2, 3, 8, 8), "a"), "b").sum().backward()
    used = {
        ".".join(name.split(".")[: 2 if name.startswith(("down", "up")) else 1])
        for name, parameter in translator.named_parameters()
        if parameter.grad is not None
    }
    assert used == {"down.a", "into", "out_of", "up.b"}


def test_a_picture_is_translated_alone_and_the_same_in_training() -> None:
    translator = Translator(PLANES, width=4).double()
    pictures = torch.rand(3, 3, 16, 8, dtype=torch.float64)
    together = translator.decode(translator.encode(pictures, "a"), "b")
    translator.eval()
    for i in range(3):
        alone = translator.decode(translator.encode(pictures[i : i + 1], "a"), "b")
        torch.testing.assert_close(alone[0], together[i])


def test_a_residual_block_by_hand() -> None:
    block = ResidualBlock(8).double()
    x = torch.randn(2, 8, 5, 3, dtype=torch.float64)
    first, second = (p for p in block.parameters() if p.ndim == 4)

    def normed(y: torch.Tensor) -> torch.Tensor:
        groups = y.reshape(2, 4, -1)
        mean, variance = groups.mean(2, keepdim=True), groups.var(2, keepdim=True, correction=0)
        return ((groups - mean) / (variance + 1e-5).sqrt()).view_as(y)

    inner = normed(F.conv2d(x, first, padding=1)).clamp(min=0)
    torch.testing.assert_close(block(x), x + normed(F.conv2d(inner, second, padding=1)))


def test_a_discriminator_scores_patches() -> None:
    judge = PatchDiscriminator(1, width=4).double()
    pictures = torch.rand(1, 1, 64, 48, dtype=torch.float64)
    scores = judge(pictures)
    assert scores.shape == (1, 1, 16, 12)
    changed = pictures.clone()
    changed[..., :8, :8] += 1
    moved = (judge(changed) - scores).abs() > 1e-12
    assert moved[0, 0, 0, 0]
    assert not moved[..., 8:, :].any()
    assert not moved[..., :, 8:].any()
