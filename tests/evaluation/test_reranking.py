from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vireid.errors import ConfigError, EvaluationError
from vireid.evaluation import _neighbours, reranking
from vireid.evaluation.reranking import KReciprocal, QueryExpansion, expand, needed_bytes, rerank

Rows = NDArray[np.float32]
UNLIMITED = 2**40


def slow_distances(left: Rows, right: Rows) -> list[list[float]]:
    """Squared distances of unit features by sums in float64, rounded once as documented."""

    def unit(row: list[float]) -> list[float]:
        length = math.sqrt(math.fsum(x * x for x in row))
        return [x / length for x in row]

    units = [unit(row) for row in right.tolist()]
    table = []
    for row in left.tolist():
        mine = unit(row)
        cosines = [math.fsum(x * y for x, y in zip(mine, other, strict=True)) for other in units]
        table.append([max(0.0, float(2 * (1 - np.float32(cosine)))) for cosine in cosines])
    return table


def slow_rerank(query: Rows, gallery: Rows, options: KReciprocal) -> list[list[float]]:
    """The paper's definitions over the full matrix, one image and one set at a time."""
    distance = slow_distances(*[np.concatenate([query, gallery])] * 2)
    images = range(len(distance))
    ranking = [sorted(images, key=lambda j: (j != i, distance[i][j], j)) for i in images]
    scaled = [[d / (max(row) or 1.0) for d in row] for row in distance]

    def reciprocal(i: int, k: int) -> set[int]:
        return {j for j in ranking[i][: k + 1] if i in ranking[j][: k + 1]}

    encoding = []
    for i in images:
        first = reciprocal(i, options.k1)
        members = set(first)
        for candidate in first:
            other = reciprocal(candidate, round(options.k1 / 2))
            if 3 * len(other & first) > 2 * len(other):
                members |= other
        weights = [math.exp(-scaled[i][j]) if j in members else 0.0 for j in images]
        encoding.append([w / math.fsum(weights) for w in weights])
    averaged = []
    for i in images:
        nearest = ranking[i][: options.k2]
        averaged.append([sum(encoding[j][z] for j in nearest) / len(nearest) for z in images])

    result = []
    for i in range(len(query)):
        row = []
        for j in range(len(query), len(distance)):
            least = math.fsum(min(averaged[i][z], averaged[j][z]) for z in images)
            most = math.fsum(max(averaged[i][z], averaged[j][z]) for z in images)
            jaccard = 1 - least / most
            row.append(1 - (1 - options.weight) * jaccard - options.weight * scaled[i][j])
        result.append(row)
    return result


def slow_expand(
    query: Rows, gallery: Rows, options: QueryExpansion, excluded: NDArray[np.bool_] | None
) -> list[list[float]]:
    """One query by the book: sort what may be used, add up, bring to unit length."""
    table = slow_distances(query, gallery)
    result = []
    for i, row in enumerate(query.tolist()):
        length = math.sqrt(math.fsum(x * x for x in row))
        moved = [x / length for x in row]
        kept = [j for j in range(len(gallery)) if excluded is None or not excluded[i, j]]
        kept.sort(key=lambda j: (table[i][j], j))
        for j in kept[: options.neighbours]:
            cosine = 1 - table[i][j] / 2
            if cosine > 0:
                image = gallery[j].tolist()
                size = math.sqrt(math.fsum(x * x for x in image))
                share = cosine**options.power / size
                moved = [x + share * y for x, y in zip(moved, image, strict=True)]
        length = math.sqrt(math.fsum(x * x for x in moved))
        result.append([x / length for x in moved])
    return result


@st.composite
def features(draw: st.DrawFn) -> tuple[Rows, Rows]:
    """Small sets in general position, in clusters, with many ties, or full of duplicates."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    queries, gallery = draw(st.integers(1, 8)), draw(st.integers(1, 14))
    size = draw(st.integers(1, 5))
    kind = draw(st.sampled_from(["random", "clusters", "ties", "duplicates"]))
    rows = rng.standard_normal((queries + gallery, size))
    if kind == "clusters":
        rows = rng.standard_normal((3, size))[rng.integers(0, 3, len(rows))] + rows / 5
    elif kind == "ties":
        rows = rng.integers(-1, 2, rows.shape).astype(np.float64)
        rows[~rows.any(axis=1), 0] = 1
    elif kind == "duplicates":
        rows = rows[rng.integers(0, 3, len(rows)) % len(rows)]
    single = rows.astype(np.float32)
    return single[:queries], single[queries:]


k_reciprocals = st.builds(
    KReciprocal,
    k1=st.integers(1, 30),
    k2=st.integers(1, 12),
    weight=st.sampled_from([0.0, 0.3, 1.0]),
)
query_expansions = st.builds(
    QueryExpansion, neighbours=st.integers(1, 20), power=st.sampled_from([0.0, 0.5, 3.0])
)


@settings(max_examples=600, deadline=None)
@given(features(), k_reciprocals)
def test_reranking_equals_the_paper_by_hand(case: tuple[Rows, Rows], options: KReciprocal) -> None:
    found = rerank(*case, options, memory_limit_bytes=UNLIMITED)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, slow_rerank(*case, options), rtol=0, atol=3e-7)
    assert found.min() >= 0
    assert found.max() <= 1


def clusters(queries: int, gallery: int, size: int, people: int) -> tuple[Rows, Rows]:
    rng = np.random.default_rng(queries + gallery)
    rows = rng.standard_normal((people, size))[rng.integers(0, people, queries + gallery)]
    single = (rows + 0.5 * rng.standard_normal(rows.shape)).astype(np.float32)
    return single[:queries], single[queries:]


def test_reranking_equals_the_paper_by_hand_on_a_search_of_some_size() -> None:
    query, gallery = clusters(40, 80, 16, 6)
    found = rerank(query, gallery, KReciprocal(), memory_limit_bytes=UNLIMITED)
    slow = np.array(slow_rerank(query, gallery, KReciprocal()))
    np.testing.assert_allclose(found, slow, rtol=0, atol=3e-7)
    # The case has to tell the right sets from wrong ones.
    for wrong in (KReciprocal(k1=19), KReciprocal(k1=23), KReciprocal(k2=5), KReciprocal(k2=1)):
        other = rerank(query, gallery, wrong, memory_limit_bytes=UNLIMITED)
        assert np.abs(other - slow).max() > 1e-3


def test_blocks_and_tiles_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    query, gallery = clusters(23, 41, 8, 5)
    whole = rerank(query, gallery, KReciprocal(k1=6), memory_limit_bytes=UNLIMITED)
    moved = expand(query, gallery, QueryExpansion())
    monkeypatch.setattr(_neighbours, "_BLOCK_CELLS", 300)  # 4 rows: blocks straddle the queries
    for module in (_neighbours, reranking):
        monkeypatch.setattr(module, "TILE", 7)
    monkeypatch.setattr(reranking, "_BLOCK_ENTRIES", 400)
    parts = rerank(query, gallery, KReciprocal(k1=6), memory_limit_bytes=UNLIMITED)
    np.testing.assert_allclose(parts, whole, rtol=0, atol=1e-7)
    np.testing.assert_allclose(expand(query, gallery, QueryExpansion()), moved, rtol=0, atol=1e-7)


def test_order_and_length_of_the_features_do_not_matter() -> None:
    query, gallery = clusters(30, 50, 16, 6)
    found = rerank(query, gallery, KReciprocal(), memory_limit_bytes=UNLIMITED)
    rng = np.random.default_rng(0)
    rows, columns = rng.permutation(30), rng.permutation(50)
    scaled = gallery[columns] * np.float32(4)
    other = rerank(query[rows], scaled, KReciprocal(), memory_limit_bytes=UNLIMITED)
    np.testing.assert_allclose(other, found[np.ix_(rows, columns)], rtol=0, atol=1e-7)


def test_collapsed_features_tell_no_image_from_another() -> None:
    query, gallery = np.ones((30, 4), np.float32), np.ones((20, 4), np.float32)
    found = rerank(query, gallery, KReciprocal(), memory_limit_bytes=UNLIMITED)
    assert np.array_equal(found, np.repeat(found[:, :1], 20, axis=1))


def test_one_query_and_one_gallery_image_on_paper() -> None:
    # d' = 1, both sets hold both images: V = (e, 1) / (e + 1) and (1, e) / (e + 1), so that
    # m = 2 / (e + 1) and m / (2 - m) = 1 / e; averaged over both images the rows are equal.
    query, gallery = np.eye(2, dtype=np.float32)[:1], np.eye(2, dtype=np.float32)[1:]
    plain = rerank(query, gallery, KReciprocal(k2=1), memory_limit_bytes=UNLIMITED)
    assert plain.tolist() == [[pytest.approx(0.7 / math.e, abs=1e-7)]]
    averaged = rerank(query, gallery, KReciprocal(), memory_limit_bytes=UNLIMITED)
    assert averaged.tolist() == [[pytest.approx(0.7, abs=1e-7)]]


@pytest.mark.parametrize("kind", ["clusters", "random", "equal"])
def test_memory_stays_below_the_bound_and_the_full_matrix(kind: str) -> None:
    query, gallery = clusters(500, 7500, 16, 250)
    if kind == "random":
        gallery = np.random.default_rng(0).standard_normal(gallery.shape, dtype=np.float32)
    elif kind == "equal":
        query[:], gallery[:] = 1, 1
    needed = needed_bytes(500, 7500, 16, KReciprocal())
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        rerank(query, gallery, KReciprocal(), memory_limit_bytes=needed)
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert peak < needed
    assert peak < 4 * 8000**2 / 2


def test_reranking_beyond_the_memory_limit_is_refused_with_the_figures() -> None:
    query, gallery = clusters(20, 30, 16, 6)
    needed = needed_bytes(20, 30, 16, KReciprocal())
    rerank(query, gallery, KReciprocal(), memory_limit_bytes=needed)
    with pytest.raises(EvaluationError, match=r"20 queries against 30 .*--memory-limit"):
        rerank(query, gallery, KReciprocal(), memory_limit_bytes=needed - 1)
    # 1,000 x 1,000,000 images: the result alone takes 3.7 GiB.
    assert needed_bytes(1000, 10**6, 2048, KReciprocal()) > 4 * 10**9 + 4 * 2048 * 10**6


@settings(max_examples=600, deadline=None)
@given(features(), query_expansions, st.sampled_from([None, 0.0, 0.5, 1.0]))
def test_expansion_equals_loops(
    case: tuple[Rows, Rows], options: QueryExpansion, share: float | None
) -> None:
    query, gallery = case
    excluded = None
    if share is not None:
        rng = np.random.default_rng(len(gallery))
        excluded = rng.random((len(query), len(gallery))) < share
    found = expand(query, gallery, options, excluded=excluded)
    assert found.dtype == np.float32
    slow = slow_expand(query, gallery, options, excluded)
    np.testing.assert_allclose(found, slow, rtol=0, atol=3e-7)


def test_excluded_images_do_not_touch_the_query() -> None:
    query, gallery = clusters(6, 20, 8, 2)
    excluded = np.zeros((6, 20), dtype=bool)
    excluded[:, :12] = True
    excluded[5] = True
    found = expand(query, gallery, QueryExpansion(neighbours=10), excluded=excluded)
    without = expand(query[:5], gallery[12:], QueryExpansion(neighbours=10))
    np.testing.assert_allclose(found[:5], without, rtol=0, atol=1e-7)
    alone = query[5] / np.linalg.norm(query[5].astype(np.float64))
    np.testing.assert_allclose(found[5], alone, rtol=0, atol=1e-7)


def test_inputs_are_not_changed() -> None:
    query, gallery = clusters(6, 20, 8, 2)
    excluded = np.zeros((6, 20), dtype=bool)
    for array in (query, gallery, excluded):
        array.setflags(write=False)
    rerank(query, gallery, KReciprocal(), memory_limit_bytes=UNLIMITED)
    expand(query, gallery, QueryExpansion(), excluded=excluded)


def test_features_without_a_direction_are_refused() -> None:
    query, gallery = clusters(3, 5, 4, 2)
    for value, text in ((0.0, "norm 0"), (np.nan, "norm nan"), (np.inf, "norm inf")):
        bad = gallery.copy()
        bad[2] = value
        with pytest.raises(EvaluationError, match=f"gallery image 2 has {text}"):
            rerank(query, bad, KReciprocal(), memory_limit_bytes=UNLIMITED)
        with pytest.raises(EvaluationError, match=f"query 2 has {text}"):
            expand(bad, query, QueryExpansion())


@pytest.mark.parametrize(
    ("query", "gallery"),
    [((3, 4), (5, 6)), ((4,), (5, 4)), ((0, 4), (5, 4)), ((3, 4), (0, 4)), ((3, 0), (5, 0))],
)
def test_shapes_that_do_not_fit_are_refused(
    query: tuple[int, ...], gallery: tuple[int, ...]
) -> None:
    one, other = np.ones(query, np.float32), np.ones(gallery, np.float32)
    with pytest.raises(EvaluationError, match="same dimension"):
        rerank(one, other, KReciprocal(), memory_limit_bytes=UNLIMITED)
    with pytest.raises(EvaluationError, match="same dimension"):
        expand(one, other, QueryExpansion())


def test_an_exclusion_mask_of_another_shape_is_refused() -> None:
    query, gallery = clusters(3, 5, 4, 2)
    with pytest.raises(EvaluationError, match=r"\(5, 3\), expected \(3, 5\)"):
        expand(query, gallery, QueryExpansion(), excluded=np.zeros((5, 3), dtype=bool))


def test_options_out_of_range_are_refused() -> None:
    for text, make in (
        ("k1 of the re-ranking is '0'", lambda: KReciprocal(k1=0)),
        ("k2 of the re-ranking is '-1'", lambda: KReciprocal(k2=-1)),
        ("'1.5'", lambda: KReciprocal(weight=1.5)),
        ("'nan'", lambda: KReciprocal(weight=math.nan)),
        ("'0' neighbours", lambda: QueryExpansion(neighbours=0)),
        ("'-0.5'", lambda: QueryExpansion(power=-0.5)),
        ("'inf'", lambda: QueryExpansion(power=math.inf)),
    ):
        with pytest.raises(ConfigError, match=text):
            make()


def test_options_name_themselves() -> None:
    assert str(KReciprocal()) == "k-reciprocal (k1 20, k2 6, lambda 0.3)"
    assert str(QueryExpansion()) == "alpha (neighbours 5, power 3)"
