"""Losses of cross-modality pairs against loops written by hand, in float64."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vireid.losses import batch_hard_triplet_loss, contrastive_loss, top_ranking_loss

labels = st.lists(st.integers(0, 4), min_size=1, max_size=8)
Rows = list[list[float]]


def unit_rows(x: Tensor) -> Rows:
    rows = x.tolist()
    return [[e / math.hypot(*row) for e in row] for row in rows]


def embeddings(lv: list[int], lt: list[int], seed: int) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    v, t = (torch.randn(len(n), 3, generator=random, dtype=torch.float64) for n in (lv, lt))
    return v, t


def contrastive_by_hand(v: Rows, t: Rows, lv: list[int], lt: list[int], margin: float) -> float:
    """Pair by pair; each kind's mean weighs one half, and the whole one half again."""
    same, other = [], []
    for x, i in zip(v, lv, strict=True):
        for z, j in zip(t, lt, strict=True):
            distance = math.dist(x, z)
            if i == j:
                same.append(distance**2)
            else:
                other.append(max(0.0, margin - distance) ** 2)
    means = [sum(kind) / len(kind) if kind else 0.0 for kind in (same, other)]
    return 0.5 * (0.5 * means[0] + 0.5 * means[1])


@settings(deadline=None, max_examples=150)
@given(lv=labels, lt=labels, seed=st.integers(0, 10**6), margin=st.floats(0, 2))
def test_contrastive_equals_loops(lv: list[int], lt: list[int], seed: int, margin: float) -> None:
    v, t = embeddings(lv, lt, seed)
    loss = contrastive_loss(v, t, torch.tensor(lv), torch.tensor(lt), margin=margin)
    expected = contrastive_by_hand(unit_rows(v), unit_rows(t), lv, lt, margin)
    assert loss.item() == pytest.approx(expected, abs=1e-12)


def test_contrastive_is_the_published_mean_over_pairs_of_which_half_match() -> None:
    v, t = embeddings([0, 0, 1, 1], [0, 0, 1, 1], 3)
    own = torch.tensor([0, 0, 1, 1])  # 16 pairs, 8 of one identity
    x, z = unit_rows(v), unit_rows(t)
    published = [
        math.dist(x[i], z[j]) ** 2
        if own[i] == own[j]
        else max(0.0, 1.5 - math.dist(x[i], z[j])) ** 2
        for i in range(4)
        for j in range(4)
    ]
    loss = contrastive_loss(v, t, own, own, margin=1.5)
    assert loss.item() == pytest.approx(0.5 * sum(published) / 16, abs=1e-12)


def ranking_by_hand(
    v: Rows, t: Rows, lv: list[int], lt: list[int], margin: float, intra_margin: float
) -> tuple[float, float]:
    """Direction by direction, anchor by anchor."""
    cross_sum = intra_sum = 0.0
    for anchors, others, la, lo in ((v, t, lv, lt), (t, v, lt, lv)):
        cross, intra = [], []
        for x, label in zip(anchors, la, strict=True):
            distance = [math.dist(x, z) for z in others]
            matches = [j for j, other in enumerate(lo) if other == label]
            strangers = [j for j, other in enumerate(lo) if other != label]
            if matches and strangers:
                p = max(matches, key=lambda j: distance[j])
                n = min(strangers, key=lambda j: distance[j])
                cross.append(max(0.0, margin + distance[p] - distance[n]))
                intra.append(max(0.0, intra_margin - math.dist(others[p], others[n])))
        if cross:
            cross_sum += sum(cross) / len(cross)
            intra_sum += sum(intra) / len(intra)
    return cross_sum, intra_sum


@settings(deadline=None, max_examples=200)
@given(
    lv=labels,
    lt=labels,
    seed=st.integers(0, 10**6),
    margin=st.floats(0, 2),
    intra_margin=st.floats(0, 2),
)
def test_top_ranking_equals_loops(
    lv: list[int], lt: list[int], seed: int, margin: float, intra_margin: float
) -> None:
    v, t = embeddings(lv, lt, seed)
    found = top_ranking_loss(
        v, t, torch.tensor(lv), torch.tensor(lt), margin=margin, intra_margin=intra_margin
    )
    expected = ranking_by_hand(unit_rows(v), unit_rows(t), lv, lt, margin, intra_margin)
    assert [value.item() for value in found] == pytest.approx(expected, abs=1e-12)


def test_top_ranking_of_one_image_an_identity_as_published() -> None:
    # Three people on the unit circle, at these angles in degrees.
    visible, infrared = (0.0, 40.0, 180.0), (20.0, 30.0, 180.0)
    v, t = (
        torch.tensor([[math.cos(math.radians(a)), math.sin(math.radians(a))] for a in angles])
        for angles in (visible, infrared)
    )
    own = torch.arange(3)

    def chord(degrees: float) -> float:
        return 2 * math.sin(math.radians(degrees) / 2)

    cross, intra = top_ranking_loss(v, t, own, own)
    to_infrared = [0.5 + chord(20) - chord(30), 0.5 + chord(10) - chord(20), 0.0]
    to_visible = [0.5 + chord(20) - chord(20), 0.5 + chord(10) - chord(30), 0.0]
    assert cross.item() == pytest.approx((sum(to_infrared) + sum(to_visible)) / 3, abs=1e-6)
    # The nearest two of one modality are 10 degrees apart, a distance of 0.17.
    assert intra.item() == 0
    wider = top_ranking_loss(v, t, own, own, intra_margin=0.2)[1]
    assert wider.item() == pytest.approx(2 * (0.2 - chord(10)) / 3, abs=1e-6)


def test_gradients() -> None:
    v = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    t = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    lv, lt = torch.tensor([0, 1, 1, 2, 0]), torch.tensor([1, 1, 0, 3])
    for loss in (
        lambda a, b: contrastive_loss(a, b, lv, lt, margin=1.9),
        lambda a, b: top_ranking_loss(a, b, lv, lt, margin=2.0, intra_margin=2.0),
    ):
        assert torch.autograd.gradcheck(loss, (v, t))


def test_without_a_pair_of_one_identity_nothing_is_ranked() -> None:
    x = torch.randn(2, 3, requires_grad=True)
    cross, intra = top_ranking_loss(x, x, torch.tensor([0, 1]), torch.tensor([2, 3]))
    (cross + intra).backward()
    assert (cross.item(), intra.item()) == (0, 0)
    assert x.grad is not None
    assert torch.equal(x.grad, torch.zeros_like(x))


def test_equal_images_have_finite_gradients() -> None:
    x = torch.ones(4, 3, requires_grad=True)
    own = torch.tensor([0, 0, 1, 1])
    (contrastive_loss(x, x, own, own) + sum(top_ranking_loss(x, x, own, own))).backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


def test_distances_are_reckoned_in_float32_under_autocast() -> None:
    random = torch.Generator().manual_seed(0)
    v = torch.randn(1, 64, generator=random) + 0.01 * torch.randn(12, 64, generator=random)
    own = torch.arange(12) % 3
    losses = (
        lambda: contrastive_loss(v, v.flip(0), own, own.flip(0)),
        lambda: top_ranking_loss(v, v.flip(0), own, own.flip(0))[0],
        lambda: batch_hard_triplet_loss(v, own),
    )
    for loss in losses:
        plain = loss()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            torch.testing.assert_close(loss(), plain)
