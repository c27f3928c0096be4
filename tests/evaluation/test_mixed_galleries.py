"""Galleries of both modalities, and of the query's own, against float64 loops."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.helpers.trees import save_manifest, write_llcm, write_manifest, write_regdb, write_sysu

from vireid.data.layouts import LLCM, Manifest, RegDB, SysuMM01
from vireid.errors import ConfigError, EvaluationError
from vireid.evaluation import (
    ExternalFeatures,
    KReciprocal,
    Protocol,
    Ranking,
    Result,
    Settings,
    evaluate,
    protocols_for,
    score_features,
)
from vireid.evaluation.protocols import GalleryModality
from vireid.types import Features, ImageRecord, Modality


@pytest.fixture(scope="module")
def sysu(tmp_path_factory: pytest.TempPathFactory) -> SysuMM01:
    root = tmp_path_factory.mktemp("tree") / "SYSU-MM01"
    return SysuMM01(write_sysu(root, train=[1], val=[7], test=[2, 3, 4], unseen={(1, 3), (6, 4)}))


def features_of(protocol: Protocol, seed: int = 0) -> Features:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((len(protocol.records), 5)).astype(np.float32)
    # As networks do: images of one modality are similar.
    shift = [[3.0 if r.modality is Modality.INFRARED else 0.0] for r in protocol.records]
    return Features(values + np.array(shift, dtype=np.float32), protocol.records)


def cosine(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))


def by_hand(
    protocol: Protocol, features: Features, *, same_room: bool, standardise: bool
) -> tuple[float, float, float]:
    """R-1, mAP and mINP, query by query and image by image."""
    values = features.values.astype(np.float64).tolist()
    records = protocol.records
    per_trial = []
    for trial in protocol.trials:
        gallery = trial.gallery.tolist()
        pairs: dict[tuple[Modality, Modality], list[float]] = {}
        for i in gallery:
            for j in gallery:
                if i != j:
                    key = (records[i].modality, records[j].modality)
                    pairs.setdefault(key, []).append(cosine(values[i], values[j]))
        scale = {}
        for key, found in pairs.items():
            mean = sum(found) / len(found)
            scale[key] = (mean, math.sqrt(sum((x - mean) ** 2 for x in found) / len(found)))
        scores = []
        for q in trial.query.tolist():
            own = records[q]
            ranked = []
            for g in gallery:
                other = records[g]
                if (own.identity, own.camera) == (other.identity, other.camera):
                    continue
                if same_room and {own.camera, other.camera} == {2, 3}:
                    continue
                s = cosine(values[q], values[g])
                if standardise:
                    mean, deviation = scale[own.modality, other.modality]
                    s = (s - mean) / deviation
                ranked.append((-s, other.identity == own.identity))
            hits = [rank for rank, (_, hit) in enumerate(sorted(ranked), 1) if hit]
            if hits:
                ap = sum(n / rank for n, rank in enumerate(hits, 1)) / len(hits)
                scores.append((float(hits[0] == 1), ap, len(hits) / hits[-1]))
        per_trial.append([sum(column) / len(scores) for column in zip(*scores, strict=True)])
    r1, mean_ap, mean_inp = (sum(c) / len(per_trial) for c in zip(*per_trial, strict=True))
    return r1, mean_ap, mean_inp


def figures(result: Result) -> tuple[float, float, float]:
    return result.cmc(1).mean, result.mean_ap.mean, result.mean_inp.mean


@pytest.mark.parametrize(
    ("gallery", "words"), [("own", "same modality"), ("both", "mixed gallery")]
)
def test_sysu_equals_loops(sysu: SysuMM01, gallery: GalleryModality, words: str) -> None:
    protocols = protocols_for(sysu, Settings(gallery_modality=(gallery,)))
    assert [p.direction for p in protocols] == [
        f"{m} to {'both' if gallery == 'both' else m}" for m in ("infrared", "visible")
    ]
    for protocol in protocols:
        assert protocol.name == f"SYSU-MM01 all-search single-shot, {words}"
        assert protocol.convention.endswith(", own camera excluded")
        cells = [
            [(r.identity, r.camera) for r in (protocol.records[i] for i in trial.gallery)]
            for trial in protocol.trials
        ]
        cameras = {camera for _, camera in cells[0]}
        infrared = protocol.direction.startswith("infrared")
        assert cameras == (
            {1, 2, 3, 4, 5, 6} if gallery == "both" else {3, 6} if infrared else {1, 2, 4, 5}
        )
        assert all(len(set(one)) == len(one) and set(one) == set(cells[0]) for one in cells)
        features = features_of(protocol)
        for standardise in (False, True) if gallery == "both" else (False,):
            result = evaluate(features, protocol, ranking=Ranking(standardise_pairs=standardise))
            expected = by_hand(
                protocol, features, same_room=gallery == "both", standardise=standardise
            )
            assert figures(result) == pytest.approx(expected, abs=1e-9)


def test_standardised_scores_make_the_other_modality_findable(sysu: SysuMM01) -> None:
    protocol, _ = protocols_for(sysu, Settings(gallery_modality=("both",)))
    features = features_of(protocol)
    plain = evaluate(features, protocol)
    fair = evaluate(features, protocol, ranking=Ranking(standardise_pairs=True))
    assert plain.similarity == "cosine"
    assert fair.similarity == "cosine, standardised by pair of modalities"
    assert plain.slug != fair.slug
    assert figures(plain) != figures(fair)


def test_results_are_never_mixed_with_ordinary_ones(sysu: SysuMM01) -> None:
    settings = Settings(gallery_modality=("other", "own", "both"), search=("indoor",))
    protocols = protocols_for(sysu, settings)
    results = [evaluate(features_of(p), p) for p in protocols]
    assert len(results) == 5
    assert len({r.kind[:2] for r in results}) == 5
    assert len({r.slug for r in results}) == 5
    assert results[0].protocol == "SYSU-MM01 indoor-search single-shot"
    (ordinary,) = protocols_for(sysu, Settings(search=("indoor",)))
    assert evaluate(features_of(ordinary), ordinary).data_fingerprint == results[0].data_fingerprint


def test_llcm_equals_loops(tmp_path: Path) -> None:
    """Visible and infrared cameras have the same numbers, and the draws are those of each side."""
    llcm = LLCM(write_llcm(tmp_path / "LLCM", test=(3, 6), images=3))
    for gallery in ("own", "both"):
        for protocol in protocols_for(llcm, Settings(gallery_modality=(gallery,))):
            features = features_of(protocol)
            found = figures(evaluate(features, protocol))
            expected = by_hand(protocol, features, same_room=False, standardise=False)
            assert found == pytest.approx(expected, abs=1e-9)
    forth, back = protocols_for(llcm)
    mixed, _ = protocols_for(llcm, Settings(gallery_modality=("both",)))

    def drawn(protocol: Protocol, trial: int) -> set[Path]:
        return {protocol.records[i].path for i in protocol.trials[trial].gallery}

    for trial in range(10):
        assert drawn(mixed, trial) == drawn(forth, trial) | drawn(back, trial)


def test_regdb_has_mixed_galleries_only(tmp_path: Path) -> None:
    regdb = RegDB(write_regdb(tmp_path / "RegDB"))
    protocols = protocols_for(regdb, Settings(gallery_modality=("both",)))
    assert [p.name for p in protocols] == ["RegDB trial 1, mixed gallery"] * 2
    assert [p.direction for p in protocols] == ["visible to both", "thermal to both"]
    for protocol in protocols:
        features = features_of(protocol)
        expected = by_hand(protocol, features, same_room=False, standardise=False)
        assert figures(evaluate(features, protocol)) == pytest.approx(expected, abs=1e-9)
    with pytest.raises(ConfigError, match="each modality has one camera"):
        protocols_for(regdb, Settings(gallery_modality=("own",)))


def test_own_data_and_its_errors(tmp_path: Path) -> None:
    one_way = Manifest(write_manifest(tmp_path / "queries and gallery"))
    with pytest.raises(EvaluationError, match=r"its modality; expected, for example, .*infrared g"):
        protocols_for(one_way, Settings(gallery_modality=("own",)))
    rows = [
        {"path": f"{n}.png", "identity": n % 2, "camera": 1 + n % 4 // 2, "split": "test"}
        | {"modality": "visible" if n < 8 else "infrared"}
        for n in range(16)
    ]
    for row in rows:
        (tmp_path / str(row["path"])).touch()
    layout = Manifest(save_manifest(tmp_path / "manifest.csv", rows))
    for gallery in ("own", "both"):
        found = protocols_for(layout, Settings(gallery_modality=(gallery,)))
        assert len(found) == 2
        assert all("own camera excluded" in p.convention for p in found)
        for protocol in found:
            features = features_of(protocol)
            expected = by_hand(protocol, features, same_room=False, standardise=False)
            assert figures(evaluate(features, protocol)) == pytest.approx(expected, abs=1e-9)
    with pytest.raises(ConfigError, match="--gallery-modality has no value"):
        Settings(gallery_modality=())
    with pytest.raises(ConfigError, match="--standardise-pairs is given with"):
        Ranking(standardise_pairs=True, reranking=KReciprocal())


def test_standardisation_needs_two_modalities(sysu: SysuMM01) -> None:
    (ordinary,) = protocols_for(sysu)
    with pytest.raises(
        EvaluationError, match=r"the gallery has one modality.*gallery-modality both"
    ):
        evaluate(features_of(ordinary), ordinary, ranking=Ranking(standardise_pairs=True))


def test_pairs_without_a_query_are_not_measured() -> None:
    """One visible image has no pair of its modality, which only visible queries need."""
    modalities = ["visible"] + ["infrared"] * 4
    records = [
        ImageRecord(Path(f"{i}.png"), i % 2, i + 1, Modality(m)) for i, m in enumerate(modalities)
    ]
    queries = [ImageRecord(Path("q.png"), 0, 9, Modality.INFRARED)]
    protocol = Protocol.of([(queries, records)], name="", direction="", convention="", cmc="image")
    how = Ranking(standardise_pairs=True)
    assert evaluate(features_of(protocol), protocol, ranking=how).mean_ap.mean > 0
    visible = [replace(queries[0], modality=Modality.VISIBLE)]
    protocol = Protocol.of([(visible, records)], name="", direction="", convention="", cmc="image")
    with pytest.raises(EvaluationError, match="0 pairs of gallery images have no deviation"):
        evaluate(features_of(protocol), protocol, ranking=how)


def test_an_image_is_never_in_its_own_list() -> None:
    """Its camera may be unknown, and it may be query and gallery image."""
    rng = random.Random(0)
    records = [
        ImageRecord(Path(f"{i}.png"), i // 3, 0 if i % 3 else 1 + i % 2, Modality.VISIBLE)
        for i in range(9)
    ]
    shown = records[:6]
    protocol = Protocol.of(
        [(records, shown)],
        name="Own data",
        direction="visible to visible",
        convention="",
        cmc="image",
        excludes_own_camera=True,
    )
    mask = protocol.excluded(np.arange(9), np.arange(6))
    assert mask is not None
    assert [bool(mask[i, i]) for i in range(6)] == [True] * 6
    assert not mask[1, 2]
    features = Features(
        np.array([[rng.gauss(0, 1) for _ in range(3)] for _ in records], dtype=np.float32),
        protocol.records,
    )
    result = evaluate(features, protocol)
    # One of the two other images of the same identity, of five left in the list.
    assert result.chance.mean_ap < 1
    assert result.trials[0].chance.cmc[0] == pytest.approx(2 / 5)


def test_features_as_given() -> None:
    rng = np.random.default_rng(0)

    def given(count: int, modalities: list[str] | None) -> ExternalFeatures:
        return ExternalFeatures(
            rng.standard_normal((count, 4)),
            np.arange(count) % 3,
            1 + np.arange(count) % 2,
            modalities=modalities,
        )

    query, gallery = given(6, ["visible", "infrared"] * 3), given(8, ["nir", "rgb"] * 4)
    result = score_features(query, gallery, gallery_modality="both")
    assert result.protocol == "Own data, mixed gallery"
    assert result.direction == "visible and infrared to both"
    assert "own camera excluded" in result.convention
    own = score_features(query, gallery, gallery_modality="own", query_modality=Modality.INFRARED)
    assert (own.protocol, own.direction) == ("Own data, same modality", "infrared to infrared")
    with pytest.raises(ConfigError, match="add --query-modality"):
        score_features(query, gallery, gallery_modality="own")
    with pytest.raises(ConfigError, match="use --protocol plain"):
        score_features(query, gallery, gallery_modality="both", protocol="llcm")
    with pytest.raises(EvaluationError, match="expected an array 'modalities'"):
        score_features(query, replace(gallery, modalities=None), gallery_modality="both")
