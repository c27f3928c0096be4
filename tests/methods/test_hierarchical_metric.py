"""HCML's metric: its objective against loops in float64, and what learning makes of it."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vireid.errors import TrainingError
from vireid.methods.hierarchical_metric import Metric, Objective, fit_metric

DEFAULTS = {"threshold": 0.5, "intra": 0.2, "shrinkage": 0.05, "images": 8, "iterations": 50}


def people(
    identities: int, *, images: int = 5, seed: int = 0, k: int = 8
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rows whose channel 0 is noise in visible images, 1 in infrared, 2 tells the modality."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.arange(identities).repeat_interleave(images)
    who = torch.randn(identities, k, generator=random, dtype=torch.float64)[labels]
    rows = []
    for noise, sign in ((0, 1.0), (1, -1.0)):
        x = who + 0.2 * torch.randn(len(labels), k, generator=random, dtype=torch.float64)
        x[:, noise] = 3 * torch.randn(len(labels), generator=random, dtype=torch.float64)
        x[:, 2] += sign * 3 * torch.rand(identities, generator=random, dtype=torch.float64)[labels]
        rows.append(x)
    return rows[0], rows[1], labels, labels


def quadratic(row: list[float], M: Tensor) -> float:
    k = len(row)
    return sum(row[i] * M[i, j].item() * row[j] for i in range(k) for j in range(k))


def product(row: list[float], matrix: Tensor) -> list[float]:
    k = len(row)
    return [sum(row[i] * matrix[i, j].item() for i in range(k)) for j in range(k)]


def objective_by_hand(F: Objective, V: Tensor, T: Tensor, M: Tensor) -> float:
    """Pair by pair, image by image, entry by entry."""
    kinds: dict[bool, list[float]] = {True: [], False: []}
    for i, x in enumerate(F.visible.tolist()):
        for j, z in enumerate(F.infrared.tolist()):
            gap = [a - b for a, b in zip(product(x, V), product(z, T), strict=True)]
            same = bool(F.same[i, j])
            margin = (quadratic(gap, M) - F.mu) * (1 if same else -1)
            kinds[same].append(math.log(1 + math.exp(margin)))
    total = sum(sum(kind) / len(kind) for kind in kinds.values())
    for rest, own in ((F.visible_rest, V), (F.infrared_rest, T)):
        lengths = [sum(e**2 for e in product(row, own)) for row in rest.tolist()]
        total += F.intra * sum(math.log(1 + math.exp(s)) for s in lengths) / len(lengths)
    for matrix in (V, T, M):
        for i, row in enumerate(matrix.tolist()):
            total += F.shrinkage / 2 * sum((e - (i == j)) ** 2 for j, e in enumerate(row))
    return total


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    intra=st.floats(0, 2),
    shrinkage=st.floats(0, 2),
    mu=st.floats(0, 3),
)
def test_the_objective_equals_loops(seed: int, intra: float, shrinkage: float, mu: float) -> None:
    random = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return 0.7 * torch.randn(*shape, generator=random, dtype=torch.float64)

    F = Objective(
        visible=draw(3, 2),
        infrared=draw(4, 2),
        visible_rest=draw(5, 2),
        infrared_rest=draw(6, 2),
        same=torch.eye(3, 4, dtype=torch.bool),
        mu=mu,
        intra=intra,
        shrinkage=shrinkage,
    )
    V, T, root = draw(2, 2), draw(2, 2), draw(2, 2)
    M = root @ root.T
    assert F(V, T, M).item() == pytest.approx(objective_by_hand(F, V, T, M), rel=1e-10)


def first_ranks(metric: Metric, rows: tuple[Tensor, Tensor, Tensor, Tensor]) -> float:
    """Share of infrared rows whose nearest visible row is of their identity."""
    root = torch.linalg.cholesky(metric.M + 1e-12 * torch.eye(len(metric.M)))
    nearest = torch.cdist(rows[1] @ metric.T @ root, rows[0] @ metric.V @ root).argmin(1)
    return (rows[2][nearest] == rows[3]).double().mean().item()


def test_it_ranks_people_whom_it_has_not_seen_better_than_no_metric() -> None:
    plain = Metric(*[torch.eye(8, dtype=torch.float64)] * 3)
    new = people(25, seed=1)
    fitted = fit_metric(*people(40), **DEFAULTS)  # type: ignore[arg-type]
    before, after = first_ranks(plain, new), first_ranks(fitted, new)
    assert before < 0.4
    assert after > 0.7
    # Each modality lets go of the channel that is noise in it, and of the other's no more.
    gain_v, gain_t = (m.square().sum(1) for m in (fitted.V, fitted.T))
    assert gain_v.argmin() == 0
    assert gain_t.argmin() == 1


def test_the_shared_metric_is_symmetric_and_semi_definite() -> None:
    found = fit_metric(*people(20), **{**DEFAULTS, "shrinkage": 1e-4})  # type: ignore[arg-type]
    torch.testing.assert_close(found.M, found.M.T)
    assert torch.linalg.eigvalsh(found.M).min() > -1e-12
    assert found.M.dtype == torch.float64


def test_it_finds_where_no_small_move_is_better() -> None:
    rows = people(12, k=4)
    options = {**DEFAULTS, "shrinkage": 1.0, "iterations": 400}
    fitted = fit_metric(*rows, **options)  # type: ignore[arg-type]
    labels = rows[2]
    centres = [torch.stack([x[labels == c].mean(0) for c in range(12)]) for x in rows[:2]]
    same = torch.eye(12, dtype=torch.bool)
    F = Objective(
        visible=centres[0],
        infrared=centres[1],
        visible_rest=rows[0] - centres[0][labels],
        infrared_rest=rows[1] - centres[1][labels],
        same=same,
        mu=0.5 * (centres[0] - centres[1]).square().sum(1).mean().item(),
        intra=0.2,
        shrinkage=1.0,
    )
    best = F(*fitted).item()
    assert best < F(*[torch.eye(4, dtype=torch.float64)] * 3).item()
    random = torch.Generator().manual_seed(3)
    for _ in range(50):
        moves = [0.1 * torch.randn(4, 4, generator=random, dtype=torch.float64) for _ in range(3)]
        moved = [m + change for m, change in zip(fitted, moves, strict=True)]
        moved[2] = (moved[2] + moved[2].T) / 2
        assert F(*moved).item() > best


def test_no_draw_is_involved() -> None:
    torch.manual_seed(1)
    first = fit_metric(*people(10), **DEFAULTS)  # type: ignore[arg-type]
    torch.manual_seed(2)
    second = fit_metric(*people(10), **DEFAULTS)  # type: ignore[arg-type]
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_strong_shrinkage_and_no_step_leave_the_plain_distance() -> None:
    identity = torch.eye(8, dtype=torch.float64)
    for options, slack in (({"shrinkage": 1e6}, 1e-4), ({"iterations": 0}, 0.0)):
        for matrix in fit_metric(*people(10), **{**DEFAULTS, **options}):  # type: ignore[arg-type]
            torch.testing.assert_close(matrix, identity, rtol=0, atol=slack)


def test_identities_of_one_modality_and_of_one_image_count_as_far_as_they_can() -> None:
    visible, infrared, labels, _ = people(10)
    keep_v, keep_t = labels != 3, (labels != 4) & ((labels != 5) | (torch.arange(50) % 5 == 0))
    found = fit_metric(
        visible[keep_v],
        infrared[keep_t],
        labels[keep_v],
        labels[keep_t],
        **DEFAULTS,  # type: ignore[arg-type]
    )
    assert all(torch.isfinite(matrix).all() for matrix in found)
    # Strangers weigh in: without the identities of one modality the metric is another.
    both = keep_v & keep_t & (labels != 4) & (labels != 3)
    other = fit_metric(
        visible[both],
        infrared[both],
        labels[both],
        labels[both],
        **DEFAULTS,  # type: ignore[arg-type]
    )
    assert not torch.allclose(found.M, other.M)


def test_only_so_many_images_count_within_a_modality() -> None:
    rows = people(6, images=9)
    few = {**DEFAULTS, "images": 3}
    found = fit_metric(*rows, **few)  # type: ignore[arg-type]
    # Of nine images the first, the fifth and the last count; any else may lie anywhere, if only
    # the centre stays.
    moved = rows[0].clone()
    moved[1::9] += 5.0
    moved[2::9] -= 5.0
    again = fit_metric(moved, *rows[1:], **few)  # type: ignore[arg-type]
    for a, b in zip(found, again, strict=True):
        torch.testing.assert_close(a, b)
    everyone = fit_metric(moved, *rows[1:], **{**few, "images": 9})  # type: ignore[arg-type]
    assert not torch.allclose(everyone.V, found.V)


@pytest.mark.parametrize("fault", ["not finite", "no identity in both"])
def test_unusable_rows_are_refused(fault: str) -> None:
    visible, infrared, labels, others = people(4)
    if fault == "not finite":
        visible[3, 2] = math.nan
    else:
        others = labels + 4
    with pytest.raises(TrainingError, match="objective is 'nan' at the start"):
        fit_metric(visible, infrared, labels, others, **DEFAULTS)  # type: ignore[arg-type]
