"""The distribution consistency loss against loops written by hand, in float64."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vireid.losses import distribution_consistency_loss

labels = st.lists(st.integers(0, 3), min_size=1, max_size=7)


@settings(deadline=None, max_examples=50)
@given(lv=labels, lt=labels, seed=st.integers(0, 10**6))
def test_it_equals_loops(lv: list[int], lt: list[int], seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    v = torch.randn(len(lv), 4, dtype=torch.float64, generator=random)
    t = torch.randn(len(lt), 4, dtype=torch.float64, generator=random)
    unit = [[[x / math.hypot(*row) for x in row] for row in rows.tolist()] for rows in (v, t)]
    found = [
        math.dist(unit[0][i], unit[1][j])
        for i in range(len(lv))
        for j in range(len(lt))
        if lv[i] == lt[j]
    ]
    loss = distribution_consistency_loss(v, t, torch.tensor(lv), torch.tensor(lt))
    assert float(loss) == pytest.approx(sum(found) / len(found) if found else 0, abs=1e-12)


def test_its_gradient() -> None:
    v = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    t = torch.randn(3, 3, dtype=torch.float64, requires_grad=True)
    lv, lt = torch.tensor([0, 1, 1, 2]), torch.tensor([1, 0, 1])
    assert torch.autograd.gradcheck(
        lambda a, b: distribution_consistency_loss(a, b, lv, lt), (v, t)
    )


def test_the_gradient_of_equal_features_is_zero() -> None:
    x = torch.ones(2, 3, requires_grad=True)
    distribution_consistency_loss(x, x.detach(), *2 * [torch.tensor([0, 1])]).backward()
    assert x.grad is not None
    assert torch.equal(x.grad, torch.zeros_like(x))
