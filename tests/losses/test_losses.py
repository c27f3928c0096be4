"""Losses against loops written by hand, in float64."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vireid.losses import (
    batch_hard_triplet_loss,
    hetero_center_loss,
    weighted_regularised_triplet_loss,
)


def center_by_hand(v: Tensor, t: Tensor, lv: list[int], lt: list[int], reduction: str) -> float:
    """Identity by identity, stripe by stripe."""
    total, count = 0.0, 0
    for identity in set(lv) & set(lt):
        count += 1
        for p in range(v.shape[1]):
            centres = []
            for x, labels in ((v, lv), (t, lt)):
                centre, k = [0.0] * v.shape[2], 0
                for i, label in enumerate(labels):
                    if label == identity:
                        k += 1
                        norm = math.sqrt(sum(float(e) ** 2 for e in x[i, p]))
                        centre = [c + float(e) / norm for c, e in zip(centre, x[i, p], strict=True)]
                centres.append([c / k for c in centre])
            total += sum((a - b) ** 2 for a, b in zip(*centres, strict=True))
    return total if reduction == "sum" else total / max(count, 1)


labels = st.lists(st.integers(0, 4), min_size=1, max_size=9)


@settings(deadline=None, max_examples=150)
@given(lv=labels, lt=labels, seed=st.integers(0, 10**6), reduction=st.sampled_from(["sum", "mean"]))
def test_hetero_center_equals_loops(
    lv: list[int], lt: list[int], seed: int, reduction: str
) -> None:
    random = torch.Generator().manual_seed(seed)
    v = torch.randn(len(lv), 2, 3, dtype=torch.float64, generator=random)
    t = torch.randn(len(lt), 2, 3, dtype=torch.float64, generator=random)
    loss = hetero_center_loss(
        v,
        t,
        torch.tensor(lv),
        torch.tensor(lt),
        reduction=reduction,  # type: ignore[arg-type]
    )
    assert float(loss) == pytest.approx(center_by_hand(v, t, lv, lt, reduction), abs=1e-12)
    # Any order of the batch gives the same.
    order_v = torch.randperm(len(lv), generator=random)
    order_t = torch.randperm(len(lt), generator=random)
    again = hetero_center_loss(
        v[order_v],
        t[order_t],
        torch.tensor(lv)[order_v],
        torch.tensor(lt)[order_t],
        reduction=reduction,  # type: ignore[arg-type]
    )
    assert float(again) == pytest.approx(float(loss), abs=1e-12)


def test_hetero_center_gradient() -> None:
    v = torch.randn(5, 2, 3, dtype=torch.float64, requires_grad=True)
    t = torch.randn(4, 2, 3, dtype=torch.float64, requires_grad=True)
    lv, lt = torch.tensor([0, 1, 1, 2, 0]), torch.tensor([1, 1, 0, 3])
    assert torch.autograd.gradcheck(lambda a, b: hetero_center_loss(a, b, lv, lt), (v, t))


def test_hetero_center_without_a_common_identity_is_zero() -> None:
    x = torch.randn(2, 3, requires_grad=True)
    loss = hetero_center_loss(
        x, x + 1, torch.tensor([0, 1]), torch.tensor([2, 3]), reduction="mean"
    )
    loss.backward()
    assert float(loss.detach()) == 0
    assert x.grad is not None
    assert torch.equal(x.grad, torch.zeros_like(x))


@settings(deadline=None, max_examples=100)
@given(own=labels, seed=st.integers(0, 10**6), margin=st.floats(0, 2))
def test_triplet_equals_loops(own: list[int], seed: int, margin: float) -> None:
    x = torch.randn(len(own), 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    values = []
    for a in range(len(own)):
        positives = [
            math.dist(x[a].tolist(), x[p].tolist())
            for p in range(len(own))
            if p != a and own[p] == own[a]
        ]
        negatives = [
            math.dist(x[a].tolist(), x[n].tolist()) for n in range(len(own)) if own[n] != own[a]
        ]
        if positives and negatives:
            values.append(max(0.0, margin + max(positives) - min(negatives)))
    loss = batch_hard_triplet_loss(x, torch.tensor(own), margin=margin)
    assert float(loss) == pytest.approx(sum(values) / len(values) if values else 0.0, abs=1e-9)


def test_triplet_gradient_is_finite_for_doubles() -> None:
    x = torch.ones(4, 3, requires_grad=True)
    batch_hard_triplet_loss(x, torch.tensor([0, 0, 1, 1])).backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


def test_triplet_gradient() -> None:
    x = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    own = torch.tensor([0, 0, 1, 1, 2, 2])
    assert torch.autograd.gradcheck(lambda a: batch_hard_triplet_loss(a, own, margin=5.0), (x,))


def weighted_by_hand(x: Tensor, labels: list[int], *, squared: bool) -> float:
    """Anchor by anchor, pair by pair."""
    losses = []
    for a, label in enumerate(labels):
        distance = [math.dist(x[a].tolist(), x[b].tolist()) for b in range(len(labels))]
        far = [distance[b] for b in range(len(labels)) if labels[b] == label and b != a]
        near = [distance[b] for b in range(len(labels)) if labels[b] != label]
        if not far or not near:
            continue
        positive = sum(d * math.exp(d) for d in far) / sum(math.exp(d) for d in far)
        negative = sum(d * math.exp(-d) for d in near) / sum(math.exp(-d) for d in near)
        difference = positive - negative
        if squared:
            difference = math.copysign(difference**2, difference)
        losses.append(math.log1p(math.exp(difference)))
    return sum(losses) / len(losses) if losses else 0.0


@settings(deadline=None, max_examples=150)
@given(labels=labels, seed=st.integers(0, 10**6), squared=st.booleans())
def test_weighted_triplet_equals_loops(labels: list[int], seed: int, squared: bool) -> None:
    random = torch.Generator().manual_seed(seed)
    x = 2 * torch.randn(len(labels), 5, generator=random, dtype=torch.float64)
    found = weighted_regularised_triplet_loss(x, torch.tensor(labels), squared=squared)
    assert found.item() == pytest.approx(weighted_by_hand(x, labels, squared=squared), abs=1e-9)


@pytest.mark.parametrize("squared", [False, True])
def test_weighted_triplet_gradient(squared: bool) -> None:
    x = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    given = torch.tensor([0, 0, 1, 1, 2, 0])
    assert torch.autograd.gradcheck(
        lambda v: weighted_regularised_triplet_loss(v, given, squared=squared), (x,)
    )


def test_squared_weighted_triplet_bears_large_differences() -> None:
    x = torch.tensor([[0.0], [1e3], [1.0], [2e3]], requires_grad=True)
    loss = weighted_regularised_triplet_loss(x, torch.tensor([0, 0, 1, 1]), squared=True)
    loss.backward()
    # Differences are 999, 1, 1998 and 1000, up to what the softmax leaves of the nearer pairs.
    assert loss.item() == pytest.approx((999**2 + 1 + 1998**2 + 1e6) / 4, rel=1e-3)
    assert x.grad is not None
    assert x.grad.isfinite().all()


def released_by_hand(x: Tensor, labels: list[int], *, squared: bool) -> float:
    """As the code of AGW and CAJ computes it, anchor by anchor."""
    losses = []
    for a, label in enumerate(labels):
        distance = [math.dist(x[a].tolist(), x[b].tolist()) for b in range(len(labels))]
        far = [distance[b] for b in range(len(labels)) if labels[b] == label]
        near = [distance[b] for b in range(len(labels)) if labels[b] != label]
        shift = max(far)
        powers = [math.exp(d - shift) for d in far]
        positive = sum(d * p for d, p in zip(far, powers, strict=True)) / (sum(powers) + 1e-6)
        # The other entries of the row are 0, so the largest of the negated distances is 0 too.
        powers = [math.exp(-d) for d in near]
        negative = sum(d * p for d, p in zip(near, powers, strict=True)) / (sum(powers) + 1e-6)
        difference = positive - negative
        if squared:
            difference = math.copysign(min(difference**2, 88), difference)
        losses.append(math.log1p(math.exp(difference)))
    return sum(losses) / len(losses)


@settings(deadline=None, max_examples=100)
@given(labels=labels, seed=st.integers(0, 10**6), squared=st.booleans(), scale=st.floats(0.5, 30))
def test_weighted_triplet_of_the_released_code_equals_loops(
    labels: list[int], seed: int, squared: bool, scale: float
) -> None:
    random = torch.Generator().manual_seed(seed)
    x = scale * torch.randn(len(labels), 5, generator=random, dtype=torch.float64)
    given = torch.tensor(labels)
    found = weighted_regularised_triplet_loss(x, given, squared=squared, released=True)
    assert found.item() == pytest.approx(
        released_by_hand(x, labels, squared=squared), rel=1e-6, abs=1e-6
    )


def test_negatives_vanish_in_the_released_code_only() -> None:
    """At the scale of pooled features: all images are about 22 apart."""
    x = 22 / math.sqrt(2) * torch.eye(8)
    given = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
    ours = weighted_regularised_triplet_loss(x, given)
    theirs = weighted_regularised_triplet_loss(x, given, released=True)
    assert ours.item() == pytest.approx(math.log(2), abs=1e-3)
    assert theirs.item() == pytest.approx(22, abs=0.1)


def test_weighted_triplet_in_half_precision_is_reckoned_in_float32() -> None:
    x = torch.randn(8, 16).bfloat16()
    given = torch.arange(8) % 3
    found = weighted_regularised_triplet_loss(x, given)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, weighted_regularised_triplet_loss(x.float(), given))
