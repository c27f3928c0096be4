"""Features of one's own network: the same figures as by evaluate(), and a sentence a mistake."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.helpers.trees import write_llcm, write_regdb, write_sysu

from vireid.data.layouts import LLCM, Layout, RegDB, SysuMM01
from vireid.errors import ConfigError, EvaluationError
from vireid.evaluation import KReciprocal, Protocol, Ranking, Result, evaluate, protocols_for
from vireid.evaluation.external import ExternalFeatures, ProtocolName, match_names, score_features
from vireid.types import Features, ImageRecord, Modality


def some(
    seed: int, *, rows: int = 12, cameras: Sequence[int] = (1, 2, 3), length: int = 6
) -> ExternalFeatures:
    """Features of four people, longer for some images than for others."""
    rng = np.random.default_rng(seed)
    return ExternalFeatures(
        rng.standard_normal((rows, length)) * rng.uniform(0.2, 5, (rows, 1)),
        identities=rng.permutation(np.arange(rows) % 4) + 10,
        cameras=rng.choice(np.asarray(cameras), rows),
    )


def take(features: ExternalFeatures, rows: Sequence[int] | NDArray[np.int64]) -> ExternalFeatures:
    assert features.identities is not None
    assert features.cameras is not None
    return ExternalFeatures(
        features.values[rows], features.identities[rows], features.cameras[rows], features.names
    )


def described(protocol: Protocol, *, length: int = 8, seed: int = 0) -> Features:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((len(protocol.records), length)).astype(np.float32)
    return Features(values, protocol.records)


def side(features: Features, rows: NDArray[np.int64]) -> ExternalFeatures:
    return ExternalFeatures(
        features.values[rows], features.identities[rows], features.cameras[rows]
    )


def by_hand(
    query: ExternalFeatures,
    gallery: ExternalFeatures,
    *,
    same_room: bool = False,
    own_camera: bool = False,
    euclidean: bool = False,
) -> dict[str, Any]:
    """Every figure of one trial by loops in float64."""
    first_image, first_identity, precisions, penalties = [], [], [], []
    columns = [(f.values.astype(np.float64), f.identities, f.cameras) for f in (query, gallery)]
    (asked, who, by), (shown, people, cameras) = columns
    assert who is not None
    assert by is not None
    assert people is not None
    assert cameras is not None
    for i in range(len(asked)):
        ranked = []
        for j in range(len(shown)):
            if same_room and by[i] == 3 and cameras[j] == 2:
                continue
            if own_camera and by[i] == cameras[j] and who[i] == people[j]:
                continue
            if euclidean:
                nearness = -float(np.sqrt(((asked[i] - shown[j]) ** 2).sum()))
            else:
                lengths = np.sqrt((asked[i] ** 2).sum() * (shown[j] ** 2).sum())
                nearness = float((asked[i] * shown[j]).sum() / lengths)
            ranked.append((nearness, int(people[j])))
        order = [identity for _, identity in sorted(ranked, reverse=True)]
        hits = [rank for rank, identity in enumerate(order, 1) if identity == who[i]]
        if not hits:
            continue
        first_image.append(hits[0])
        first_identity.append(list(dict.fromkeys(order)).index(int(who[i])) + 1)
        precisions.append(sum(n / rank for n, rank in enumerate(hits, 1)) / len(hits))
        penalties.append(len(hits) / hits[-1])
    return {
        "image": [float(np.mean(np.array(first_image) <= r)) for r in range(1, 6)],
        "identity": [float(np.mean(np.array(first_identity) <= r)) for r in range(1, 6)],
        "mAP": float(np.mean(precisions)),
        "mINP": float(np.mean(penalties)),
        "unmatched": len(asked) - len(precisions),
    }


def close(expected: dict[str, Any]) -> dict[str, Any]:
    return expected | {key: pytest.approx(expected[key], abs=1e-12) for key in ("mAP", "mINP")}


def figures(result: Result) -> dict[str, Any]:
    (trial,) = result.trials
    return {
        "image": list(trial.cmc_by_image[:5]),
        "identity": list(trial.cmc_by_identity[:5]),
        "mAP": trial.mean_ap,
        "mINP": trial.mean_inp,
        "unmatched": trial.unmatched,
    }


@pytest.mark.parametrize("similarity", ["cosine", "euclidean"])
@pytest.mark.parametrize(
    ("protocol", "options", "rules", "counts"),
    [
        ("plain", {}, {}, "image"),
        ("plain", {"exclude_own_camera": True}, {"own_camera": True}, "image"),
        ("plain", {"cmc": "identity"}, {}, "identity"),
        ("regdb", {}, {}, "image"),
        ("llcm", {}, {"own_camera": True}, "identity"),
        ("sysu-mm01", {}, {"same_room": True}, "identity"),
    ],
)
def test_rules_against_loops_by_hand(
    protocol: ProtocolName,
    options: dict[str, Any],
    rules: dict[str, bool],
    counts: str,
    similarity: Any,
) -> None:
    sysu = protocol == "sysu-mm01"
    query = some(1, rows=40, cameras=(3, 6) if sysu else (1, 2, 3))
    gallery = some(2, rows=24, cameras=(1, 2, 4, 5) if sysu else (1, 2, 3))
    ranking = Ranking(similarity=similarity)
    result = score_features(query, gallery, protocol=protocol, ranking=ranking, **options)
    expected = by_hand(query, gallery, euclidean=similarity == "euclidean", **rules)
    assert figures(result) == close(expected)
    assert result.cmc_kind == counts
    # The other similarity and the other rules would give something else.
    assert expected != by_hand(query, gallery, euclidean=similarity == "cosine", **rules)
    if rules:
        assert expected != by_hand(query, gallery, euclidean=similarity == "euclidean")


def test_each_trial_of_sysu_scores_as_in_its_published_protocol(tmp_path: Path) -> None:
    unseen = {(1, 3), (2, 5), (6, 2)}
    root = write_sysu(tmp_path / "s", train=[1], val=[7], test=[2, 3, 4, 5], unseen=unseen)
    (protocol,) = protocols_for(SysuMM01(root))
    features = described(protocol)
    ranking = Ranking(reranking=KReciprocal(k1=4, k2=2))
    for how in (None, ranking):
        published = evaluate(features, protocol, ranking=how)
        for trial, expected in zip(protocol.trials, published.trials, strict=True):
            query, gallery = side(features, trial.query), side(features, trial.gallery)
            result = score_features(query, gallery, protocol="sysu-mm01", ranking=how)
            assert result.trials == (expected,)
        assert (result.cmc_kind, result.direction) == (published.cmc_kind, published.direction)
        assert result.reranking == published.reranking


@pytest.mark.parametrize("protocol", ["regdb", "llcm"])
def test_both_directions_score_as_published(protocol: ProtocolName, tmp_path: Path) -> None:
    layout: Layout
    if protocol == "regdb":
        layout = RegDB(write_regdb(tmp_path / "RegDB"))
    else:
        layout = LLCM(write_llcm(tmp_path / "LLCM"))
    published = protocols_for(layout)
    assert len(published) == 2
    for of_direction in published:
        features = described(of_direction)
        expected = evaluate(features, of_direction)
        for trial, score in zip(of_direction.trials, expected.trials, strict=True):
            query, gallery = side(features, trial.query), side(features, trial.gallery)
            result = score_features(query, gallery, protocol=protocol)
            assert result.trials == (score,)
            assert result.cmc_kind == expected.cmc_kind


@given(st.permutations(range(12)), st.permutations(range(9)))
def test_the_order_of_the_rows_does_not_matter(asked: list[int], shown: list[int]) -> None:
    query, gallery = some(3), some(4, rows=9)
    (one,) = score_features(query, gallery, exclude_own_camera=True).trials
    (two,) = score_features(
        take(query, asked), take(gallery, shown), exclude_own_camera=True
    ).trials
    assert (two.cmc_by_image, two.cmc_by_identity) == (one.cmc_by_image, one.cmc_by_identity)
    assert (two.mean_ap, two.mean_inp) == pytest.approx((one.mean_ap, one.mean_inp), abs=1e-15)


class TestWhatTheResultSays:
    def test_conditions(self) -> None:
        result = score_features(some(1), some(2), augmentation="horizontal flip")
        assert result.protocol == "Own data"
        assert result.direction == "query to gallery"
        assert result.convention == "query and gallery as given"
        assert result.about == {"features": "as given by the caller"}
        assert result.test_time_augmentation == "horizontal flip"
        assert "features as given by the caller" in str(result)

    def test_direction_where_it_is_given(self) -> None:
        forth = score_features(some(1), some(2), query_modality=Modality.VISIBLE)
        back = score_features(some(2), some(1), query_modality=Modality.INFRARED)
        assert forth.direction == "visible to infrared"
        assert back.direction == "infrared to visible"
        assert forth.kind != back.kind

    def test_queries_without_a_match_by_row_or_name(self) -> None:
        query = ExternalFeatures(np.eye(3), np.array([1, 2**32 + 1, 2]))
        gallery = ExternalFeatures(np.eye(3), np.array([1, 2, 3]))
        assert score_features(query, gallery).unmatched == ("query/000001",)
        named = ExternalFeatures(np.eye(3), np.array([1, 9, 2]), names=["a", "/day/ü b.png", "c"])
        assert score_features(named, gallery).unmatched == ("query/day/ü b.png",)


class TestContradictions:
    def test_lengths(self) -> None:
        with pytest.raises(EvaluationError, match="features of dimensions 6 and 5"):
            score_features(some(1), some(2, length=5))

    @pytest.mark.parametrize("where", ["query", "gallery"])
    def test_identities_missing(self, where: str) -> None:
        query, gallery = some(1), some(2)
        bare = ExternalFeatures(np.ones((5, 6)))
        expected = rf"no identities in the caller's arrays \({where}\); expected 5 integers"
        with pytest.raises(EvaluationError, match=expected):
            score_features(*((bare, gallery) if where == "query" else (query, bare)))

    @pytest.mark.parametrize("where", ["query", "gallery"])
    @pytest.mark.parametrize(
        ("protocol", "exclude"), [("sysu-mm01", False), ("llcm", False), ("plain", True)]
    )
    def test_cameras_missing(self, where: str, protocol: ProtocolName, exclude: bool) -> None:
        query, gallery = some(1, cameras=[3, 6]), some(2, cameras=[1, 5])
        bare = ExternalFeatures(np.ones((5, 6)), np.arange(5))
        sides = (bare, gallery) if where == "query" else (query, bare)
        with pytest.raises(EvaluationError, match=rf"no cameras in .* \({where}\); expected 5"):
            score_features(*sides, protocol=protocol, exclude_own_camera=exclude)

    @pytest.mark.parametrize("protocol", ["plain", "regdb"])
    def test_cameras_are_not_needed(self, protocol: ProtocolName) -> None:
        sides = [ExternalFeatures(f.values, f.identities) for f in (some(1), some(2))]
        with_cameras = score_features(some(1), some(2), protocol=protocol)
        assert figures(score_features(*sides, protocol=protocol)) == figures(with_cameras)

    @pytest.mark.parametrize(
        ("query", "gallery", "camera", "side"),
        [((3, 2), (1, 4), 2, "query"), ((3, 6), (1, 0), 0, "gallery")],
    )
    def test_cameras_of_sysu(
        self, query: Sequence[int], gallery: Sequence[int], camera: int, side: str
    ) -> None:
        with pytest.raises(EvaluationError, match=rf"camera {camera} in .* \({side}\); expected"):
            score_features(some(1, cameras=query), some(2, cameras=gallery), protocol="sysu-mm01")

    def test_sysu_has_one_direction(self) -> None:
        query, gallery = some(1, cameras=[3]), some(2, cameras=[1])
        with pytest.raises(ConfigError, match=r"--query-modality visible .* sysu-mm01"):
            score_features(query, gallery, protocol="sysu-mm01", query_modality=Modality.VISIBLE)
        told = score_features(
            query, gallery, protocol="sysu-mm01", query_modality=Modality.INFRARED
        )
        assert told == score_features(query, gallery, protocol="sysu-mm01")

    @pytest.mark.parametrize("protocol", ["sysu-mm01", "regdb", "llcm"])
    def test_rules_of_published_protocols_are_fixed(self, protocol: ProtocolName) -> None:
        with pytest.raises(ConfigError, match=f"--cmc image does not go with .* {protocol}"):
            score_features(some(1), some(2), protocol=protocol, cmc="image")
        with pytest.raises(ConfigError, match=f"--exclude-own-camera does not .* {protocol}"):
            score_features(some(1), some(2), protocol=protocol, exclude_own_camera=True)

    def test_unknown_protocol(self) -> None:
        unknown: Any = "market-1501"
        with pytest.raises(ConfigError, match=r"'market-1501' .* plain, sysu-mm01, regdb, llcm"):
            score_features(some(1), some(2), protocol=unknown)

    def test_nobody_in_common(self) -> None:
        query, gallery = (
            ExternalFeatures(np.eye(2), np.arange(2)),
            ExternalFeatures(np.eye(2), np.arange(5, 7)),
        )
        with pytest.raises(EvaluationError, match="none of the 2 queries"):
            score_features(query, gallery)


ROOT = Path("/data/cam 1/SYSU-MM01")


@pytest.fixture
def protocol() -> Protocol:
    """Three infrared queries, 3 to 5, and three visible images, 0 to 2, by sorted path."""
    records = [
        ImageRecord(ROOT / f"cam{camera}/{identity:04d}/0001.jpg", identity, camera, kind)
        for camera, kind in ((1, Modality.VISIBLE), (6, Modality.INFRARED))
        for identity in (1, 2, 3)
    ]
    return Protocol.of(
        [(records[3:], records[:3])], name="n", direction="d", convention="c", cmc="image"
    )


class TestByName:
    def named(self, protocol: Protocol, rows: Sequence[int]) -> ExternalFeatures:
        features = described(protocol)
        return ExternalFeatures(
            features.values[list(rows)],
            identities=features.identities[list(rows)],
            names=[str(protocol.records[row].path.relative_to(ROOT)) for row in rows],
            source="'f.npz'",
        )

    @pytest.mark.parametrize(
        "parts", [[[0, 1, 2, 3, 4, 5]], [[5, 4, 3], [2, 0, 1]], [[3], [4, 5, 0], [2, 1]]]
    )
    def test_any_files_in_any_order(self, protocol: Protocol, parts: list[list[int]]) -> None:
        files = [self.named(protocol, part) for part in parts]
        found = evaluate(match_names(files, [protocol], ROOT), protocol)
        assert found == evaluate(described(protocol), protocol)

    def test_images_that_are_not_needed(self, protocol: Protocol) -> None:
        whole = self.named(protocol, range(6))
        more = ExternalFeatures(
            np.concatenate([np.full((1, 8), np.nan), whole.values]),
            names=["cam2/0009/0001.jpg", *(whole.names or ())],
        )
        found = evaluate(match_names([more], [protocol], ROOT), protocol)
        assert found == evaluate(described(protocol), protocol)

    def test_missing_images(self, protocol: Protocol) -> None:
        some_of_them = self.named(protocol, [0, 1, 2, 3])
        expected = r"no features of 2 of the 6 images needed: '.*cam6/0002.*'; the names given are"
        with pytest.raises(EvaluationError, match=expected):
            match_names([some_of_them], [protocol], ROOT)
        strange = ExternalFeatures(np.eye(2), names=["0001.jpg", "0002.jpg"])
        with pytest.raises(EvaluationError, match=r"of 6 of the 6 .* are '0001.jpg', '0002.jpg'"):
            match_names([strange], [protocol], ROOT)

    def test_an_image_twice(self, protocol: Protocol) -> None:
        files = [self.named(protocol, range(6)), self.named(protocol, [5])]
        with pytest.raises(EvaluationError, match=r"cam6/0003/0001\.jpg' more than once"):
            evaluate(match_names(files, [protocol], ROOT), protocol)

    def test_no_names(self, protocol: Protocol) -> None:
        with pytest.raises(EvaluationError, match=r"no names in the caller's arrays; .*np\.savez"):
            match_names([ExternalFeatures(np.eye(2))], [protocol], ROOT)

    def test_other_identities(self, protocol: Protocol) -> None:
        right = self.named(protocol, range(6))
        wrong = ExternalFeatures(
            right.values, np.array([1, 2, 3, 1, 7, 3]), None, right.names, "'f.npz'"
        )
        expected = r"identity 7 for '.*cam6/0002/0001\.jpg' in 'f\.npz'; expected 2"
        with pytest.raises(EvaluationError, match=expected):
            match_names([wrong], [protocol], ROOT)

    def test_lengths(self, protocol: Protocol) -> None:
        files = [self.named(protocol, range(6)), ExternalFeatures(np.eye(2), names=["a", "b"])]
        with pytest.raises(EvaluationError, match="features of dimensions 8 and 2"):
            match_names(files, [protocol], ROOT)
