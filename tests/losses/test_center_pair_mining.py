"""DEEN's losses against loops written by hand, in float64."""

import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vireid.losses import center_pair_mining_loss, orthogonality_loss

labels = st.lists(st.integers(0, 3), min_size=1, max_size=7)
Rows = list[list[float]]


def center(rows: Rows, own: list[int], identity: int) -> list[float]:
    mine = [row for row, label in zip(rows, own, strict=True) if label == identity]
    return [sum(column) / len(mine) for column in zip(*mine, strict=True)]


def toward(other: Rows, own: Rows, generated: Rows, margin: float, *, released: bool) -> float:
    """One modality, identity by identity."""
    total = 0.0
    for j in range(len(own)):
        rest = [k for k in range(len(own)) if k != j]
        positive = math.dist(other[j], generated[j])
        to_own = math.dist(own[j], generated[j])
        nearest = min((math.dist(own[j], own[k]) for k in rest), default=math.inf)
        if not released:
            total += max(0.0, positive - to_own - nearest + margin)
            continue
        near = min((math.dist(generated[j], generated[k]) for k in rest), default=math.inf)
        total += max(0.0, positive - to_own + margin)
        total += 0.5 * max(0.0, positive - near + margin)
        total += 0.5 * max(0.0, positive - nearest + margin)
    return total / len(own)


def by_hand(
    given: list[Rows], lv: list[int], lt: list[int], margin: float, *, released: bool
) -> float:
    both = sorted(set(lv) & set(lt))
    if not both:
        return 0.0
    v, t, from_v, from_t = (
        [center(rows, own, identity) for identity in both]
        for rows, own in zip(given, (lv, lt, lv, lt), strict=True)
    )
    ends = (
        toward(t, v, from_v, margin, released=released),
        toward(v, t, from_t, margin, released=released),
    )
    return sum(ends) / (2 if released else 1)


def draw(lv: list[int], lt: list[int], seed: int) -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    counts = (len(lv), len(lt), len(lv), len(lt))
    return [torch.randn(n, 3, dtype=torch.float64, generator=random) for n in counts]


def mine(
    rows: Sequence[torch.Tensor],
    lv: torch.Tensor,
    lt: torch.Tensor,
    *,
    margin: float,
    released: bool = True,
) -> torch.Tensor:
    v, t, from_v, from_t = rows
    return center_pair_mining_loss(v, t, from_v, from_t, lv, lt, margin=margin, released=released)


@settings(deadline=None, max_examples=100)
@given(
    lv=labels,
    lt=labels,
    seed=st.integers(0, 10**6),
    margin=st.floats(0, 5),
    released=st.booleans(),
)
def test_pair_mining_equals_loops(
    lv: list[int], lt: list[int], seed: int, margin: float, released: bool
) -> None:
    rows = draw(lv, lt, seed)
    found = mine(rows, torch.tensor(lv), torch.tensor(lt), margin=margin, released=released)
    expected = by_hand([r.tolist() for r in rows], lv, lt, margin, released=released)
    assert float(found) == pytest.approx(expected, abs=1e-9)


def test_pair_mining_gradient_of_the_paper() -> None:
    lv, lt = torch.tensor([0, 1, 1, 2]), torch.tensor([1, 0, 2, 2])
    rows = [x.requires_grad_() for x in draw([0] * 4, [0] * 4, 1)]
    assert torch.autograd.gradcheck(lambda *x: mine(x, lv, lt, margin=9.0, released=False), rows)


def test_pair_mining_gradient_of_the_code() -> None:
    """It is that of the loss with one distance held constant."""
    own = torch.tensor([0, 1])
    rows = [x.requires_grad_() for x in draw([0] * 2, [0] * 2, 1)]
    mine(rows, own, own, margin=9.0).backward()
    found = [x.grad for x in rows]
    again = [x.detach().requires_grad_() for x in rows]
    v, t, from_v, from_t = again
    parts = []
    for other, near, generated in ((t, v, from_v), (v, t, from_t)):
        positive = (other - generated).norm(dim=1)
        held = (near - generated).norm(dim=1).detach()
        limits = ((x[0] - x[1]).norm() for x in (generated, near))
        hinges = [positive - held + 9, *(0.5 * (positive - d + 9) for d in limits)]
        parts.append(torch.stack(hinges).sum(0).mean())
    torch.stack(parts).mean().backward()
    for a, b in zip(found, again, strict=True):
        torch.testing.assert_close(a, b.grad)


def test_pair_mining_without_a_common_identity_has_no_gradient() -> None:
    x = torch.randn(2, 3, requires_grad=True)
    center_pair_mining_loss(x, x, x, x, torch.tensor([0, 1]), torch.tensor([2, 3])).backward()
    assert x.grad is not None
    assert torch.equal(x.grad, torch.zeros_like(x))


@pytest.mark.parametrize("released", [True, False])
def test_pair_mining_with_one_identity_is_finite(released: bool) -> None:
    rows = [x.requires_grad_() for x in draw([0] * 2, [0] * 2, 1)]
    own = torch.tensor([1, 1])
    mine(rows, own, own, margin=9.0, released=released).backward()
    assert all(x.grad is not None and bool(x.grad.isfinite().all()) for x in rows)


@pytest.mark.parametrize("branches", [1, 2, 3])
def test_orthogonality_equals_loops(branches: int) -> None:
    x = torch.randn(4, branches, 3, dtype=torch.float64, requires_grad=True)
    total = 0.0
    for image in x.tolist():
        for m in range(branches):
            for k in range(m + 1, branches):
                total += sum(a * b for a, b in zip(image[m], image[k], strict=True))
    found = orthogonality_loss(x)
    assert found.item() == pytest.approx(total / (4 * (branches + 1)), abs=1e-12)
    assert torch.autograd.gradcheck(orthogonality_loss, (x,))
