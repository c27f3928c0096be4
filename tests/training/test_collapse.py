"""The warning of a collapse appears when it should, and only then."""

import math
from typing import Any

import pytest
import torch

from vireid.training.collapse import collapse_warning, mean_cosines


def history(identity: list[float], center: list[float], different: float = 0.0) -> list[Any]:
    return [
        {
            "epoch": i + 1,
            "identity_loss": a,
            "terms": {"identity": a, "center": b},
            "cosine_different": different,
        }
        for i, (a, b) in enumerate(zip(identity, center, strict=True))
    ]


def test_cosines_are_means_over_pairs_across_modalities() -> None:
    x = torch.nn.functional.normalize(torch.randn(7, 4, dtype=torch.float64), dim=1)
    labels = torch.tensor([0, 1, 1, 2, 1, 0, 2])
    same, different = mean_cosines(x, labels, 4)
    pairs: dict[bool, list[float]] = {True: [], False: []}
    for i in range(4):
        for j in range(4, 7):
            pairs[bool(labels[i] == labels[j])].append(float(x[i] @ x[j]))
    assert float(same) == pytest.approx(sum(pairs[True]) / len(pairs[True]))
    assert float(different) == pytest.approx(sum(pairs[False]) / len(pairs[False]))


def test_a_stuck_identity_loss_with_a_falling_center_term() -> None:
    nothing = math.log(100)
    text = collapse_warning(history([nothing] * 4, [2.0, 1.0, 0.5, 0.2]), classes=100, steps=64)
    assert "ln(100)" in text
    assert "fell from 2.000 to 0.200" in text
    assert "--center-reduction mean" in text


def test_advice_on_the_center_term_only_where_there_is_one() -> None:
    lines = history([math.log(100)] * 4, [0.0] * 4)
    for line in lines:
        del line["terms"]["center"]
    text = collapse_warning(lines, classes=100, steps=64)
    assert "--lr" in text
    assert "--center" not in text


def test_equal_features_of_different_identities() -> None:
    text = collapse_warning(history([1.0] * 3, [1.0] * 3, different=0.95), classes=100, steps=64)
    assert "0.95" in text


@pytest.mark.parametrize(
    ("identity", "steps"),
    [([4.6, 4.0, 3.0], 64), ([4.6, 4.6], 64), ([4.6] * 3, 5), ([4.6, 4.6, 4.6, 4.0], 64), ([], 64)],
)
def test_no_warning_while_it_learns_or_has_just_begun(identity: list[float], steps: int) -> None:
    epochs = history(identity, [1.0] * len(identity))
    assert collapse_warning(epochs, classes=100, steps=steps) == ""
