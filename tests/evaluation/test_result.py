from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.helpers.pandas_stand_in import install_pandas

from vireid.errors import EvaluationError, ExportError
from vireid.evaluation import (
    Chance,
    Protocol,
    Ranking,
    Result,
    Trial,
    TrialScore,
    evaluate,
    scoring,
    similarity,
    table,
)
from vireid.evaluation.bootstrap import ByIdentity
from vireid.evaluation.scoring import data_fingerprint
from vireid.evaluation.similarity import match_rows, similarities
from vireid.types import Features, ImageRecord, Modality


def toy(people: int = 6, trials: int = 3, cmc: str = "identity") -> Protocol:
    records = tuple(
        ImageRecord(
            Path(f"/data/{modality}/{identity}/{n}.jpg"),
            identity,
            3 if modality is Modality.INFRARED else 1 + n % 2,
            modality,
        )
        for modality in (Modality.INFRARED, Modality.VISIBLE)
        for identity in range(people)
        for n in range(4)
    )
    rng = np.random.default_rng(1)
    query = np.arange(4 * people)
    gallery = np.arange(4 * people, 8 * people)
    return Protocol(
        name="Toy",
        direction="infrared to visible",
        convention="seeded draw",
        cmc="image" if cmc == "image" else "identity",
        records=records,
        trials=tuple(
            Trial(query, np.sort(rng.choice(gallery, 3 * people, replace=False)))
            for _ in range(trials)
        ),
        excluded_cameras=((3, 2),),
    )


def extract_features(protocol: Protocol, noise: float = 1.0, seed: int = 0) -> Features:
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((10, 16))
    values = np.stack([centres[r.identity] for r in protocol.records])
    values = values + noise * rng.standard_normal(values.shape)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    return Features(values.astype(np.float32), protocol.records)


def chosen(features: Features, rows: list[int]) -> Features:
    return Features(features.values[rows], tuple(features.records[i] for i in rows))


def test_json_round_trip(tmp_path: Path) -> None:
    protocol = toy()
    result = evaluate(
        extract_features(protocol),
        protocol,
        fingerprint="ab" * 32,
        about={"backbone": "resnet18 — ü"},
    )
    assert Result.from_json(result.to_json()) == result
    assert Result.load(result.save(tmp_path / "new folder" / "result.json")) == result
    assert [p.name for p in (tmp_path / "new folder").iterdir()] == ["result.json"]
    stored = json.loads(result.to_json())
    assert stored["summary"]["mAP"]["mean"] == round(100 * result.mean_ap.mean, 2)
    assert stored["reranking"] == stored["test_time_augmentation"] == "none"
    assert len(stored["trials"][0]["cmc_by_identity"]) == 50
    assert set(stored["versions"]) >= {"vireid", "numpy", "python"}


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", "{}", '{"format": 4, "summary": {}, "trials": [{}]}']
)
def test_not_a_result(text: str, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="not a result"):
        Result.from_json(text)
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(EvaluationError, match=r"r\.json"):
        Result.load(tmp_path / "r.json")


def test_result_of_another_format() -> None:
    protocol = toy()
    text = evaluate(extract_features(protocol), protocol).to_json()
    # Until format 3, cameras in details were numbers.
    old = text.replace('"format": 4', '"format": 3').replace('"details": null', '"details": 1')
    with pytest.raises(EvaluationError, match="of format 3; expected format 4: evaluate the run"):
        Result.from_json(old)


def test_a_file_is_replaced_by_results_on_the_same_images_only(tmp_path: Path) -> None:
    protocol = toy()
    one = evaluate(extract_features(protocol), protocol)
    usual = one.save(one.file_in(tmp_path))
    assert usual.name == f"{one.slug}.json"
    other = replace(one, data_fingerprint="f" * 64)
    second = other.save(other.file_in(tmp_path))
    assert second.name == f"{one.slug}-ffffffff.json"
    assert (one.file_in(tmp_path), other.file_in(tmp_path)) == (usual, second)
    usual.write_text('{"format": 3, "summary": {}}')
    assert other.file_in(tmp_path) == usual


def test_one_line_names_the_first_wrong_field() -> None:
    protocol = toy()
    text = evaluate(extract_features(protocol), protocol).to_json()
    wrong = text.replace('"details": null', '"details": 1').replace('"junk": 0', '"junk": "x"')
    with pytest.raises(EvaluationError, match="of vireid: 'junk': Input should be") as caught:
        Result.from_json(wrong)
    assert "\n" not in str(caught.value)


def test_order_of_features_does_not_change_a_byte() -> None:
    protocol = toy()
    features = extract_features(protocol)
    rng = np.random.default_rng(4)
    shuffled = chosen(features, rng.permutation(len(protocol.records)).tolist())
    assert evaluate(features, protocol).to_json() == evaluate(shuffled, protocol).to_json()


def test_more_images_than_needed_are_ignored() -> None:
    protocol = toy()
    features = extract_features(protocol)
    extra = ImageRecord(Path("/elsewhere/0.jpg"), 99, 1, Modality.VISIBLE)
    more = Features(
        np.concatenate([np.full((1, 16), np.nan, dtype=np.float32), features.values]),
        (extra, *features.records),
    )
    assert evaluate(more, protocol).to_json() == evaluate(features, protocol).to_json()


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    protocol = toy()
    whole = evaluate(extract_features(protocol), protocol).to_json()
    monkeypatch.setattr(scoring, "_BLOCK_CELLS", 100)
    monkeypatch.setattr(similarity, "_TILE", 5)
    assert evaluate(extract_features(protocol), protocol).to_json() == whole


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_feature_is_named(bad: float) -> None:
    protocol = toy()
    features = extract_features(protocol)
    features.values[7, 3] = bad
    with pytest.raises(EvaluationError, match=str(protocol.records[7].path)):
        evaluate(features, protocol)


def test_a_zero_feature_is_named() -> None:
    protocol = toy()
    features = extract_features(protocol)
    features.values[9:] = 0
    with pytest.raises(EvaluationError, match=r"all zero") as caught:
        evaluate(features, protocol)
    assert str(protocol.records[9].path) in str(caught.value)
    assert "and 36 more" in str(caught.value)


def test_missing_and_repeated_images_are_named() -> None:
    protocol = toy()
    features = extract_features(protocol)
    with pytest.raises(EvaluationError, match=r"no feature for '/data/infrared/0/0\.jpg'"):
        evaluate(chosen(features, list(range(1, 48))), protocol)
    with pytest.raises(EvaluationError, match=r"'/data/infrared/0/2\.jpg' more than once"):
        evaluate(chosen(features, [*range(48), 2]), protocol)


def test_rows_and_records_disagree() -> None:
    protocol = toy()
    features = Features(np.ones((3, 4), dtype=np.float32), protocol.records)
    with pytest.raises(EvaluationError, match=r"shape \(3, 4\) for 48 images"):
        match_rows(features, protocol.records)


def test_empty_side_and_no_match() -> None:
    protocol = toy()
    nobody = np.array([], dtype=np.int64)

    def with_trial(trial: Trial) -> Protocol:
        return replace(protocol, trials=(trial,), excluded_cameras=())

    with pytest.raises(EvaluationError, match="0 gallery images"):
        evaluate(extract_features(protocol), with_trial(Trial(np.arange(3), nobody)))
    with pytest.raises(EvaluationError, match="none of the 4 queries"):
        evaluate(extract_features(protocol), with_trial(Trial(np.arange(4), np.arange(40, 48))))


def test_equal_features_tie_exactly() -> None:
    rng = np.random.default_rng(2)
    one = rng.standard_normal((1, 3072)).astype(np.float32)
    similarity = similarities(np.repeat(one, 37, axis=0), np.repeat(one, 301, axis=0))
    assert len(np.unique(similarity)) == 1


def test_collapsed_model_is_called_so() -> None:
    protocol = toy()
    values = np.ones((48, 8), dtype=np.float32)
    result = evaluate(Features(values, protocol.records), protocol)
    assert result.cmc(1).mean == 0
    assert result.at_chance
    assert "!! AT CHANCE LEVEL" in str(result)
    assert result.to_json().count("AT CHANCE LEVEL") == 1


def test_prints_the_table_of_the_field() -> None:
    protocol = toy()
    result = evaluate(
        extract_features(protocol, noise=0.3),
        protocol,
        fingerprint="c0ffee" * 10,
        about={"seed": "0"},
    )
    text = str(result)
    for part in (
        "Toy, infrared to visible",
        "seeded draw; CMC by identity; 3 trials",
        "cosine similarity; query expansion none; re-ranking none; test-time augmentation none",
        "24 queries, 18 gallery images, 16-d features, weights c0ffeec0ffee",
        "CMC by image: R-1 ",
        "95 % interval over identities (bootstrap): R-1 ",
        "seed 0",
        " R-1 ",
        " R-20 ",
        " mAP ",
        " mINP ",
        "± ",
        "chance",
    ):
        assert part in text
    assert "AT CHANCE" not in text
    assert "times that of a random ranking" in text


def test_deviation_is_over_trials() -> None:
    result = evaluate(extract_features(toy(), noise=2), toy())
    scores = [t.mean_ap for t in result.trials]
    assert result.mean_ap.mean == pytest.approx(np.mean(scores))
    assert result.mean_ap.std == pytest.approx(np.std(scores, ddof=1))
    assert len(set(scores)) > 1
    one = toy(trials=1)
    assert "±" not in str(evaluate(extract_features(one), one))


def test_several_methods_side_by_side() -> None:
    protocol = toy()
    results = {
        "DLIS": evaluate(extract_features(protocol, 0.5), protocol),
        "untrained | network": evaluate(extract_features(protocol, 9), protocol),
    }
    lines = table(results).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert [line.split("|")[1].strip() for line in lines[2:4]] == ["DLIS", "untrained \\"]
    assert lines[-1].startswith("| chance")
    with pytest.raises(EvaluationError, match="different protocols"):
        table({**results, "other": evaluate(extract_features(protocol), toy(cmc="image"))})
    with pytest.raises(EvaluationError, match="at least one"):
        table({})


def test_data_fingerprint_sees_labels_and_trials_but_not_the_root() -> None:
    protocol = toy()

    def moved(record: ImageRecord) -> ImageRecord:
        path = Path("/mnt") / record.path.relative_to("/data")
        return ImageRecord(path, record.identity, record.camera, record.modality)

    def with_records(records: tuple[ImageRecord, ...]) -> Protocol:
        return replace(protocol, records=records)

    same = with_records(tuple(map(moved, protocol.records)))
    assert data_fingerprint(same) == data_fingerprint(protocol)
    first = protocol.records[0]
    other = ImageRecord(first.path, first.identity + 1, first.camera, first.modality)
    assert data_fingerprint(with_records((other, *protocol.records[1:]))) != data_fingerprint(same)
    assert data_fingerprint(toy(trials=2)) != data_fingerprint(protocol)


def test_short_curves_saturate() -> None:
    chance = Chance((0.1, 0.2), 0.1, 0.1)
    people = ByIdentity((7,), (4,), (2,), (2.0,), (2.0,))
    score = TrialScore(4, 2, 0, (0.5, 1.0), (0.5, 1.0), 0.5, 0.5, chance, people)
    result = Result("P", "d", "c", "image", (score,), 8)
    assert result.cmc(20).mean == 1.0
    assert result.curve == (0.5, 1.0)
    assert "100.00" in str(result)
    assert result.interval("mAP") is None
    assert "interval" not in str(result)


def test_both_kinds_of_cmc_are_kept() -> None:
    protocol = toy()
    by_identity = evaluate(extract_features(protocol, noise=3), protocol)
    by_image = evaluate(extract_features(protocol, noise=3), toy(cmc="image"))
    for rank in (1, 5, 10, 20):
        assert by_identity.cmc(rank, "image") == by_image.cmc(rank)
        assert by_image.cmc(rank, "identity") == by_identity.cmc(rank)
        assert by_identity.cmc(rank).mean >= by_image.cmc(rank).mean
    assert by_identity.cmc(1) == by_image.cmc(1)
    assert by_identity.cmc(5) != by_image.cmc(5)


def test_euclidean_similarity_is_of_the_rows_as_they_are() -> None:
    rng = np.random.default_rng(0)
    query, gallery = rng.standard_normal((3, 5)), 4 * rng.standard_normal((7, 5))
    found = similarities(query, gallery, similarity="euclidean")
    for i in range(3):
        for j in range(7):
            distance = sum((query[i] - gallery[j]) ** 2) ** 0.5
            assert found[i, j] == pytest.approx(-distance, rel=1e-6)
    protocol = toy()
    lengths = rng.uniform(0.1, 9, size=(48, 1)).astype(np.float32)
    stretched = Features(extract_features(protocol).values * lengths, protocol.records)
    plain = evaluate(extract_features(protocol), protocol)
    assert evaluate(stretched, protocol).trials == plain.trials
    raw = evaluate(stretched, protocol, ranking=Ranking(similarity="euclidean"))
    assert raw.trials != plain.trials
    assert raw.similarity == "euclidean"
    assert "euclidean similarity" in str(raw)
    # A feature of zeros has a place, though no direction.
    stretched.values[0] = 0
    evaluate(stretched, protocol, ranking=Ranking(similarity="euclidean"))


def test_a_frame_has_a_row_per_trial_and_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    result = evaluate(extract_features(toy()), toy())
    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(ExportError, match=r"pip install 'vireid\[pandas\]'"):
            result.to_frame()
    install_pandas(monkeypatch)
    frame: Any = result.to_frame()
    assert list(frame.rows) == ["trial 1", "trial 2", "trial 3", "chance"]
    assert [row["mAP"] for row in frame.rows.values()] == [
        *(trial.mean_ap for trial in result.trials),
        result.chance.mean_ap,
    ]
    assert frame.rows["trial 2"]["R-5"] == result.trials[1].cmc_by_identity[4]
    assert (frame.attrs["protocol"], frame.attrs["direction"]) == ("Toy", "infrared to visible")


def test_a_notebook_shows_scores_chance_and_conditions() -> None:
    result = replace(evaluate(extract_features(toy()), toy()), protocol="<b>Toy & co")
    shown = result._repr_html_()
    assert "&lt;b&gt;Toy &amp; co" in shown
    for cell in [*result.cells(), *result.chance_cells()]:
        assert f"<td>{cell}</td>" in shown
    assert result.versus_chance in shown
