"""Clusters of one modality."""

import numpy as np
import pytest
from numpy.typing import NDArray

from vireid.adaptation import clustering
from vireid.adaptation.clustering import Links, centres_of, cluster
from vireid.evaluation.reranking import KReciprocal, jaccard_distances, rerank
from vireid.runs import Adaptation

OPTIONS = Adaptation(k1=5, k2=2, min_images=3)


def people(count: int = 4, images: int = 6, noise: float = 0.1) -> NDArray[np.float32]:
    """Unit features ``[count * images, 16]``, the images of a person next to each other."""
    rng = np.random.default_rng(1)
    found = np.repeat(rng.normal(size=(count, 16)), images, axis=0)
    found += noise * rng.normal(size=found.shape)
    unit: NDArray[np.float32] = found.astype(np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    return unit


@pytest.mark.parametrize("kind", ["average", "dbscan"])
def test_people_are_clusters(kind: str) -> None:
    options = Adaptation(k1=5, k2=2, min_images=3, clustering=kind)  # type: ignore[arg-type]
    labels = cluster(people(), options)
    assert labels.tolist() == np.repeat(np.arange(4), 6).tolist()


def test_many_images_are_clustered_by_dbscan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clustering, "MOST_FOR_AVERAGE", 3)
    monkeypatch.setattr(clustering, "linkage", None)
    assert cluster(people(), OPTIONS).max() == 3


def test_small_clusters_are_left_out() -> None:
    features = people()[np.r_[0:6, 6:8, 12:18]]
    labels = cluster(features, Adaptation(k1=5, k2=1, min_images=3))
    assert labels.tolist() == [*[0] * 6, -1, -1, *[1] * 6]


def test_links_decide() -> None:
    features = people()
    together = cluster(features, OPTIONS, links=Links(together=[[0, 6]]))
    assert together[0] == together[6]
    apart = cluster(features, OPTIONS, links=Links(apart=[(0, 1)]))
    assert apart[0] != apart[1]
    assert apart[6:].tolist() == (np.repeat(np.arange(3), 6) + apart[6]).tolist()


def test_centres_are_unit_means_of_their_images() -> None:
    features = people()
    labels = np.repeat([0, -1, 1, 1], 6)
    for row, own in zip(centres_of(features, labels), (slice(6), slice(12, 24)), strict=True):
        mean = features[own].mean(axis=0)
        np.testing.assert_allclose(row, mean / np.linalg.norm(mean), rtol=1e-5)


def test_jaccard_distances_are_those_of_re_ranking() -> None:
    features = people(noise=1.0)
    how = KReciprocal(k1=6, k2=3, weight=0.0)
    found = jaccard_distances(features, how, most=np.nextafter(1, 0))
    dense = np.ones(found.shape)
    entries = found.tocoo()
    dense[entries.row, entries.col] = entries.data
    assert (np.diag(dense) < 1e-12).all()
    np.testing.assert_allclose(dense, dense.T, atol=1e-12)
    # Re-ranking takes queries and gallery together, queries first.
    expected = 1 - rerank(features[:5], features[5:], how, memory_limit_bytes=2**30)
    np.testing.assert_allclose(dense[:5, 5:], expected, atol=1e-6)
    near = jaccard_distances(features, how, most=0.6)
    assert near.nnz == np.count_nonzero(dense <= 0.6)
