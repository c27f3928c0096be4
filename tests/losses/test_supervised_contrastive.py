"""The supervised contrastive loss against loops in float64."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from vireid.losses import cross_modal_contrastive_loss, supervised_contrastive_loss
from vireid.methods import dlis
from vireid.types import CrossModalBatch

LABELS = torch.tensor([0, 0, 1, 2, 2])
OTHER = torch.tensor([2, 0, 0, 1, 3, 1])


def _unit(n: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(n, 7, dtype=torch.float64, generator=generator), dim=1)


def _loop(
    a: Tensor, c: Tensor, ya: Tensor, yc: Tensor, temperature: float, *, exclude_self: bool
) -> float:
    losses = []
    for i in range(len(a)):
        others = [j for j in range(len(c)) if not (exclude_self and i == j)]
        whole = sum(math.exp(float(a[i] @ c[k]) / temperature) for k in others)
        shares = [
            math.log(math.exp(float(a[i] @ c[j]) / temperature) / whole)
            for j in others
            if yc[j] == ya[i]
        ]
        if shares:
            losses.append(-sum(shares) / len(shares))
    return sum(losses) / len(losses) if losses else 0.0


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_equals_the_loop(temperature: float) -> None:
    a, c = _unit(5, 0), _unit(6, 1)
    got = supervised_contrastive_loss(a, c, LABELS, OTHER, temperature=temperature)
    assert got.item() == pytest.approx(
        _loop(a, c, LABELS, OTHER, temperature, exclude_self=False), rel=1e-12
    )
    # Label 1 occurs once: with itself excluded it has no positive and does not count.
    own = supervised_contrastive_loss(
        a, a, LABELS, LABELS, temperature=temperature, exclude_self=True
    )
    assert own.item() == pytest.approx(
        _loop(a, a, LABELS, LABELS, temperature, exclude_self=True), rel=1e-12
    )


def test_without_a_positive_it_is_0_and_so_is_its_gradient() -> None:
    a, c = _unit(3, 0).requires_grad_(), _unit(2, 1)
    loss = supervised_contrastive_loss(a, c, torch.tensor([0, 1, 2]), torch.tensor([3, 4]))
    loss.backward()
    assert loss.item() == 0
    assert a.grad is not None
    assert a.grad.abs().sum() == 0


def test_across_modalities_is_the_sum_of_its_three_parts() -> None:
    v, t = _unit(5, 2), _unit(6, 3)
    both, labels = torch.cat([v, t]), torch.cat([LABELS, OTHER])
    parts = (
        0.5 * _loop(v, t, LABELS, OTHER, 0.1, exclude_self=False),
        0.5 * _loop(t, v, OTHER, LABELS, 0.1, exclude_self=False),
        0.5 * _loop(both, both, labels, labels, 0.1, exclude_self=True),
    )
    got = cross_modal_contrastive_loss(v, t, LABELS, OTHER)
    assert got.item() == pytest.approx(sum(parts), rel=1e-12)


def test_gradient() -> None:
    v, t = _unit(5, 4).requires_grad_(), _unit(6, 5).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, y: cross_modal_contrastive_loss(x, y, LABELS, OTHER, temperature=0.3), (v, t)
    )


def test_dlis_weights_it_and_the_identity_loss() -> None:
    def terms(**options: float) -> dict[str, float]:
        config = dlis.DLISConfig(
            backbone="resnet18",
            weights="none",
            size=(64, 32),
            stripes=2,
            dim=4,
            shared_from="stem",
            palm="off",
            **options,  # type: ignore[arg-type]
        )
        torch.manual_seed(0)
        network = config.build(classes=3)
        torch.manual_seed(1)
        labels = torch.tensor([0, 0, 1, 1])
        batch = CrossModalBatch(
            visible=torch.randn(4, 3, 64, 32),
            infrared=torch.randn(4, 3, 64, 32),
            visible_labels=labels,
            infrared_labels=labels,
        )
        return {name: value.item() for name, value in network.losses(batch).terms.items()}

    plain = terms()
    assert "contrast" not in plain
    once, twice = terms(contrast=1.0), terms(contrast=2.0, identity=0.25)
    assert twice["contrast"] == pytest.approx(2 * once["contrast"])
    assert twice["identity"] == pytest.approx(plain["identity"] / 4)
    assert terms(contrast=1.0, temperature=0.5)["contrast"] != pytest.approx(once["contrast"])
