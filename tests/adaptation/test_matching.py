"""Matches across modalities, and what is measured of them."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import silhouette_score

from vireid.adaptation import matching
from vireid.adaptation.heads import resize_heads, successors
from vireid.adaptation.matching import csls, match, mutual_shares
from vireid.adaptation.monitor import agreement, describe_clusters, measure, purity
from vireid.methods import DLISConfig
from vireid.types import Modality


def unit(rows: NDArray[np.float64]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = rows.astype(np.float32)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return found


def test_near_centres_are_matched_the_surest_first() -> None:
    rng = np.random.default_rng(2)
    centres = rng.normal(size=(12, 256))
    noise = np.repeat([0.05, 1.5], 6)[:, None]
    other = centres + noise * rng.normal(size=centres.shape)
    order = rng.permutation(12)
    found = match(csls(unit(centres), unit(other[order])))
    assert (order[found.infrared] == found.visible).all()
    assert sorted(found.first(0.5).visible) == list(range(6))


def test_a_hub_does_not_take_all() -> None:
    """A centre near to all others would be the nearest of each by the cosine."""
    rng = np.random.default_rng(3)
    people = rng.normal(size=(8, 16))
    visible = np.concatenate([people, people.mean(axis=0, keepdims=True)])
    infrared = people + 4 * people.mean(axis=0) + 0.3 * rng.normal(size=people.shape)
    by_cosine = (unit(visible) @ unit(infrared).T).argmax(axis=0)
    found = match(csls(unit(visible), unit(infrared), neighbours=4))
    assert np.count_nonzero(by_cosine == 8) > 1
    assert np.count_nonzero(found.visible == found.infrared) >= 6


def test_without_the_hungarian_method_mutual_neighbours_are_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    centres = unit(np.random.default_rng(4).normal(size=(6, 8)))
    monkeypatch.setattr(matching, "_MOST_PAIRS", 1)
    found = match(csls(centres, centres[::-1]))
    assert len(found.visible) == 6
    assert (found.visible + found.infrared == 5).all()


def test_no_cluster_makes_no_match() -> None:
    none = np.zeros((0, 4), dtype=np.float32)
    assert len(match(csls(none, unit(np.eye(4)))).visible) == 0
    assert mutual_shares(none, unit(np.eye(4)), seed=0)["mutual"] == 0


def test_chance_of_mutual_clusters() -> None:
    rng = np.random.default_rng(5)

    def above_chance(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
        found = mutual_shares(unit(first), unit(second), seed=0)
        return found["mutual"] - found["mutual_by_chance"]

    for v, t, d in ((100, 100, 64), (120, 60, 64), (100, 100, 4)):
        people = rng.normal(size=(v, d))
        strangers = [above_chance(people, rng.normal(size=(t, d))) for _ in range(5)]
        assert abs(np.mean(strangers)) < 0.05
        assert above_chance(people, people[:t] + 0.2 * rng.normal(size=(t, d))) > 0.15


def test_purity_and_right_matches() -> None:
    labels = np.array([0, 0, 0, 1, 1, -1]), np.array([0, 1, 1, -1])
    identities = np.array([7, 7, 9, 9, 9, 7]), np.array([9, 7, 7, 9])
    assert purity(labels[0], identities[0]) == 4 / 5
    eye = unit(np.eye(2))
    right = measure(labels, identities, match(csls(eye, eye[::-1])))
    assert right == {"visible_purity": 4 / 5, "infrared_purity": 1.0, "right_matches": 1.0}
    assert measure(labels, identities, match(csls(eye, eye)))["right_matches"] == 0


def test_agreement_ignores_the_numbering() -> None:
    before = np.array([0, 0, 1, 1, 2, -1])
    assert agreement(np.array([2, 2, 0, 0, 1, 1]), before) == 1
    assert agreement(np.full(6, -1), before) == 0


def test_classifiers_follow_the_identities() -> None:
    before = np.array([0, 0, 0, 1, 1, -1, -1])
    labels = np.array([1, 1, 2, 0, 0, 2, 2])
    carried = successors(labels, before, 3)
    assert carried.tolist() == [1, 0, -1]
    config = DLISConfig(backbone="mobilenet_v2", weights="none", size=(64, 32), stripes=2, dim=8)
    network = config.build(classes=2)
    old = network.heads.classifier_weight.detach().clone()
    parameter = network.heads.classifier_weight
    changed = resize_heads(network, config, carried, seed=1)
    assert parameter is network.heads.classifier_weight
    assert any(parameter is found for found in changed)
    assert parameter.shape == (2, 8, 3)
    assert (parameter[:, :, 0] == old[:, :, 1]).all()
    assert (parameter[:, :, 1] == old[:, :, 0]).all()


@pytest.mark.parametrize(("people", "images"), [(1_500, 4), (2, 3_000), (1, 4_000), (300, 4)])
def test_the_silhouette_of_clusters(people: int, images: int) -> None:
    rng = np.random.default_rng(4)
    labels = np.repeat(np.arange(people), images)
    rows = unit(rng.normal(size=(people, 32))[labels] + 0.7 * rng.normal(size=(len(labels), 32)))
    labels[:images:2] = -1
    if people > 2:
        labels[-images + 1 :] = -1  # a cluster of one image
    found = describe_clusters(rows, labels, Modality.VISIBLE)["visible_silhouette"]
    inside = labels >= 0
    if people == 1:
        assert found == 0
    else:
        expected = silhouette_score(rows[inside], labels[inside], metric="cosine")
        assert found == pytest.approx(expected, abs=0.01 if len(labels) > 2_000 else 1e-6)
