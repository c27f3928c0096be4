"""Statistics of PALM against loops, and in limiting cases."""

import doctest
import itertools
import math

import pytest
import torch
from docs.research import palm_statistics
from docs.research.palm_statistics import observe_palm
from torch import Tensor
from torch.nn import functional as F

from vireid.errors import ConfigError
from vireid.nn import PALM, record_attention


def share_of_the_mean(vectors: list[Tensor]) -> float:
    mean = sum(vectors, torch.zeros_like(vectors[0])) / len(vectors)
    return len(vectors) * float(mean @ mean) / sum(float(v @ v) for v in vectors)


def mean_cosine(maps: Tensor, stripes: int) -> float:
    """Of one map ``[C, h, w]`` whose height the stripes divide."""
    parts = [part.mean((1, 2)) for part in maps.chunk(stripes, dim=1)]
    pairs = [float(F.cosine_similarity(a, b, 0)) for a, b in itertools.combinations(parts, 2)]
    return sum(pairs) / len(pairs)


@torch.no_grad()
def test_equal_a_loop_over_images_in_two_batches() -> None:
    torch.manual_seed(0)
    palm = PALM(16).double()
    torch.nn.init.constant_(palm.gamma, 0.7)
    batches = [torch.rand(2, 16, 6, 2, dtype=torch.float64), torch.rand(3, 16, 6, 2).double()]
    with observe_palm(torch.nn.Sequential(palm), stripes=3) as (seen,):
        for x in batches:
            palm(x)
    palm(batches[0])  # no longer counted
    assert (seen.images, seen.positions) == (5, 12)

    expected: dict[str, list[float]] = {name: [] for name in vars(type(seen)) if name in NAMES}
    for x in batches:
        with record_attention(palm) as maps:
            y = palm(x)
        for before, after, a in zip(x, y, maps[0], strict=True):
            added = (after - before).flatten(1)
            rows = [-sum(float(p) * math.log(float(p)) for p in row) for row in a]
            expected["entropy"].append(sum(rows) / len(rows) / math.log(12))
            expected["alike"].append(share_of_the_mean(list(a)))
            expected["change"].append(float(added.norm() / before.norm()))
            expected["constant"].append(share_of_the_mean(list(added.T)))
            expected["cosine_before"].append(mean_cosine(before, 3))
            expected["cosine_after"].append(mean_cosine(after, 3))
    assert set(expected) == NAMES
    for name, values in expected.items():
        assert getattr(seen, name) == pytest.approx(sum(values) / 5, rel=1e-9), name


NAMES = {"entropy", "alike", "change", "constant", "cosine_before", "cosine_after"}


@torch.no_grad()
def test_uniform_attention_adds_one_vector_everywhere_and_makes_stripes_more_alike() -> None:
    torch.manual_seed(0)
    palm = PALM(16)
    for conv in (palm.query, palm.key):
        torch.nn.init.zeros_(conv.weight)
    torch.nn.init.ones_(palm.gamma)
    with observe_palm(palm, stripes=2) as (seen,):
        palm(torch.randn(4, 16, 4, 3))
    assert seen.entropy == pytest.approx(1, abs=1e-6)
    assert seen.alike == pytest.approx(1, abs=1e-6)
    assert seen.constant == pytest.approx(1, abs=1e-6)
    assert seen.cosine_after > seen.cosine_before + 0.01


@torch.no_grad()
def test_an_untrained_palm_changes_nothing_and_attention_to_one_key_has_no_entropy() -> None:
    torch.manual_seed(0)
    palm = PALM(16)
    for conv in (palm.query, palm.key):
        conv.weight.mul_(1000)
    with observe_palm(palm, stripes=2) as (seen,):
        palm(torch.randn(4, 16, 4, 3))
    assert seen.change == 0
    assert math.isnan(seen.constant)
    assert seen.entropy < 0.05
    assert seen.cosine_after == seen.cosine_before


def test_one_result_per_palm() -> None:
    with observe_palm(torch.nn.Sequential(PALM(8), PALM(8)), stripes=2) as seen:
        pass
    assert [one.images for one in seen] == [0, 0]
    assert math.isnan(seen[0].entropy)
    with observe_palm(torch.nn.Conv2d(3, 3, 1)) as seen:
        pass
    assert seen == ()


def test_one_stripe_is_refused() -> None:
    with pytest.raises(ConfigError, match="'1' stripes"), observe_palm(PALM(8), stripes=1):
        pass


def test_the_example() -> None:
    assert doctest.testmod(palm_statistics).attempted == 6
