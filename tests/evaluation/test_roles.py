"""Junk and distractors, and the exclusion of the query's own camera, against loops by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tyro
from numpy.typing import NDArray
from tests.helpers.trees import save_manifest, write_folders, write_regdb

from vireid.cli.score import score
from vireid.data.check import check
from vireid.data.layouts import DataSource, Folders, Layout, Manifest, RegDB
from vireid.errors import ConfigError, DatasetError, EvaluationError
from vireid.evaluation import (
    ExternalFeatures,
    Protocol,
    Settings,
    evaluate,
    protocols_for,
    score_features,
)
from vireid.evaluation.scoring import data_fingerprint
from vireid.types import Features, ImageRecord, Modality, Role

ROLES: dict[int, Role] = {-1: "junk", 0: "distractor"}


def side(seed: int, rows: int, *, first_camera: int = 1) -> ExternalFeatures:
    rng = np.random.default_rng(seed)
    people = rng.integers(-1, 5, rows)
    centres = np.random.default_rng(9).standard_normal((6, 8))
    return ExternalFeatures(
        centres[people] + rng.standard_normal((rows, 8)),
        identities=people,
        cameras=rng.integers(first_camera, first_camera + 3, rows),
    )


def by_hand(
    query: ExternalFeatures, gallery: ExternalFeatures, *, own_camera: bool = False
) -> tuple[list[float], list[float], float, int]:
    """CMC by image and by identity, mAP and unmatched queries by loops in float64.

    Market-1501's rule: identity -1 is ignored, 0 remains in the gallery and never matches. A
    negative camera is unknown.
    """
    found = []
    for f in (query, gallery):
        assert f.identities is not None
        cameras = np.zeros(len(f.values)) if f.cameras is None else f.cameras
        found.append((f.values.astype(np.float64), f.identities, cameras))
    (asked, who, by), (shown, people, cameras) = found
    images, persons, precisions, unmatched = [], [], [], 0
    for i in range(len(asked)):
        if who[i] == -1:
            continue
        ranked = []
        for j in range(len(shown)):
            if people[j] == -1:
                continue
            same = people[j] == who[i]
            if own_camera and same and by[i] == cameras[j] >= 0:
                continue
            cosine = asked[i] @ shown[j] / np.sqrt((asked[i] ** 2).sum() * (shown[j] ** 2).sum())
            # Nobody knows who the distractors are: each is somebody else.
            person = f"distractor {j}" if people[j] == 0 else str(people[j])
            ranked.append((float(cosine), person, bool(same and who[i] != 0)))
        ranked.sort(reverse=True)
        hits = [rank for rank, (_, _, match) in enumerate(ranked, 1) if match]
        if not hits:
            unmatched += 1
            continue
        images.append(hits[0])
        persons.append(len({person for _, person, _ in ranked[: hits[0]]}))
        precisions.append(sum(n / rank for n, rank in enumerate(hits, 1)) / len(hits))
    curves = [[float(np.mean(np.array(f) <= r)) for r in range(1, 9)] for f in (images, persons)]
    return curves[0], curves[1], float(np.mean(precisions)), unmatched


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("own_camera", [False, True])
def test_market_rule_against_loops(seed: int, *, own_camera: bool) -> None:
    query, gallery = side(seed, 30), side(seed + 100, 60)
    result = score_features(
        query, gallery, junk=[-1], distractors=["0"], exclude_own_camera=own_camera
    )
    images, persons, mean_ap, unmatched = by_hand(query, gallery, own_camera=own_camera)
    (trial,) = result.trials
    assert list(trial.cmc_by_image[:8]) == pytest.approx(images)
    assert list(trial.cmc_by_identity[:8]) == pytest.approx(persons)
    assert trial.mean_ap == pytest.approx(mean_ap, abs=1e-12)
    assert trial.unmatched == unmatched
    people = np.concatenate([columns(query)[0], columns(gallery)[0]])
    assert (result.junk, result.distractors) == ((people == -1).sum(), (people == 0).sum())
    assert f"{result.junk} junk images left out, {result.distractors} distractors" in str(result)
    assert (
        trial.mean_ap != score_features(query, gallery, exclude_own_camera=own_camera).mean_ap.mean
    )


def test_counts_and_warning(capsys: pytest.CaptureFixture[str]) -> None:
    query, gallery = side(0, 30), side(1, 60)
    people = np.concatenate([columns(query)[0], columns(gallery)[0]])
    count = {n: int((people == n).sum()) for n in ROLES}
    score_features(query, gallery, junk=[-1], distractors=[0, 77])
    text = capsys.readouterr().err
    assert f"--junk -1: {count[-1]} images are ignored." in text
    assert f"--distractor 0: {count[0]} images are kept in the gallery" in text
    assert "--distractor 77: 0 images" in text
    assert "negative identity" not in text
    score_features(query, gallery)
    text = capsys.readouterr().err
    assert f"{count[-1]} images have the negative identity '-1' and count as people" in text
    assert "--junk -1" in text


def test_command_line(tmp_path: Path) -> None:
    for name, features in (("q", side(0, 30)), ("g", side(1, 60))):
        np.savez(
            tmp_path / f"{name}.npz", features=features.values, identities=columns(features)[0]
        )
    files = ["--query", f"{tmp_path}/q.npz", "--gallery", f"{tmp_path}/g.npz"]
    config = (tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff)
    (result,) = tyro.cli(score, args=[*files, "--junk", "-1", "--distractor", "0"], config=config)
    assert result.mean_ap.mean == pytest.approx(by_hand(side(0, 30), side(1, 60))[2], abs=1e-12)
    with pytest.raises(ConfigError, match="both have the identity '0'"):
        tyro.cli(score, args=[*files, "--junk", "0", "--distractor", "0000"], config=config)


ROWS: list[tuple[str, int, str]] = [
    *(("infrared", who, f"q{who}{n}") for who in (-1, 0, 1, 2) for n in range(2)),
    *(("visible", who, f"g{who}{n}") for who in (-1, -1, 0, 0, 0, 1, 2, 3) for n in range(3)),
]


def own(tmp_path: Path, form: str) -> tuple[Layout, Settings]:
    """The same images as folders with Market-1501's names, and as manifests."""
    flags = Settings(junk=("-1",), distractor=("0",))
    root = tmp_path / form
    rows = []
    for number, (modality, who, name) in enumerate(dict.fromkeys(ROWS)):
        file = f"{modality}/{'-1' if who < 0 else f'{who:04d}'}_{number:02d}{name}.png"
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
        row: dict[str, object] = {"path": file, "modality": modality, "split": "test"}
        rows.append(row | {"identity": who, "role": ""})
        if form == "role":
            rows[-1] |= {"role": ROLES.get(who, ""), "identity": "" if who < 1 else who}
        elif form == "names":
            rows[-1]["identity"] = who if who < 1 else f"Dora {who}"
    if form == "folders":
        return Folders(root, "{modality}/{identity}_{name}.png"), flags
    save_manifest(root / "manifest.csv", rows)
    return Manifest(root), Settings() if form == "role" else flags


def extracted(layout: Layout) -> Features:
    """A feature for each image, by its name."""
    records = layout.test()
    rows = [np.random.default_rng(list(r.path.name.encode())).standard_normal(8) for r in records]
    return Features(np.array(rows, np.float32), records)


@pytest.mark.parametrize("form", ["folders", "manifest", "names", "role"])
def test_own_data(form: str, tmp_path: Path) -> None:
    layout, settings = own(tmp_path, form)
    features = extracted(layout)
    truth = np.array([int(r.path.name.split("_")[0]) for r in features.records])
    infrared = np.array([r.modality is Modality.INFRARED for r in features.records])
    query, gallery = (
        ExternalFeatures(features.values[rows], truth[rows]) for rows in (infrared, ~infrared)
    )
    forth, _ = (evaluate(features, protocol) for protocol in protocols_for(layout, settings))
    images, persons, mean_ap, unmatched = by_hand(query, gallery)
    (trial,) = forth.trials
    assert (list(trial.cmc_by_image[:8]), list(trial.cmc_by_identity[:8])) == (images, persons)
    assert trial.mean_ap == pytest.approx(mean_ap, abs=1e-12)
    assert trial.unmatched == unmatched
    assert forth.convention == "query and gallery as given, junk ignored, distractors kept"
    plain = evaluate(features, protocols_for(layout)[0])
    assert (forth.slug == plain.slug) == (form == "role")
    assert (forth.junk, forth.distractors) == ((truth == -1).sum(), (truth == 0).sum())


def test_a_role_needs_no_identity_but_another_split_than_train(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    row = {"path": "a.png", "identity": "", "modality": "ir", "split": "train", "role": "Junk"}
    save_manifest(tmp_path / "manifest.csv", [row])
    with pytest.raises(DatasetError, match="the role 'Junk' in the split 'train'"):
        Manifest(tmp_path).train()
    save_manifest(tmp_path / "manifest.csv", [row | {"identity": 1, "role": "clutter"}])
    with pytest.raises(DatasetError, match="'clutter'; expected person, junk, distractor"):
        Manifest(tmp_path).train()


def test_fingerprint_sees_roles() -> None:
    person = ImageRecord(Path("/d/a.png"), 3, 1, Modality.VISIBLE)
    query = ImageRecord(Path("/d/q.png"), 3, 2, Modality.INFRARED)
    found = set()
    for role in ("person", "junk", "distractor"):
        other = replace(person, path=Path("/d/b.png"), role=role)
        protocol = Protocol.of(
            [([query], [person, other])], name="", direction="", convention="", cmc="image"
        )
        found.add(data_fingerprint(protocol))
    assert len(found) == 3


def test_published_protocols_take_no_rules_of_own_data(tmp_path: Path) -> None:
    layout = RegDB(write_regdb(tmp_path / "regdb"), trial=1)
    for settings, flag in (
        (Settings(junk=("-1",)), "--junk"),
        (Settings(exclude_own_camera=True), "--exclude-own-camera"),
    ):
        with pytest.raises(ConfigError, match=f"{flag} applies to own data, but '.*' has the lay"):
            protocols_for(layout, settings)


class TestOwnCamera:
    def test_no_camera_is_known(self, tmp_path: Path) -> None:
        root = write_folders(
            tmp_path / "own", pattern="{split}/{modality}/{identity}/{camera}{name}.jpg"
        )
        layout = Folders(root, "{split}/{modality}/{identity}/{name}.jpg")
        with pytest.raises(EvaluationError, match=r"camera of each of the .* is unknown; give it"):
            protocols_for(layout, Settings(exclude_own_camera=True))
        assert protocols_for(layout)

    @pytest.mark.parametrize("first", [-1, 0, 1])
    def test_unknown_cameras_exclude_nothing(
        self, first: int, capsys: pytest.CaptureFixture[str]
    ) -> None:
        query, gallery = (side(s, n, first_camera=first) for s, n in ((3, 30), (4, 60)))
        query, gallery = (replace(f, identities=np.abs(columns(f)[0])) for f in (query, gallery))
        result = score_features(query, gallery, exclude_own_camera=True)
        query, gallery = (replace(f, identities=columns(f)[0] + 1) for f in (query, gallery))
        expected = by_hand(query, gallery, own_camera=True)
        assert result.mean_ap.mean == pytest.approx(expected[2], abs=1e-12)
        text = capsys.readouterr().err
        unknown = int((columns(query)[1] < 0).sum())
        said = f"The camera of {unknown} of 30 queries is unknown" in text
        assert said == (first == -1)

    def test_one_side_without_cameras(self) -> None:
        query, gallery = side(0, 12), side(1, 12)
        gallery = replace(gallery, cameras=np.full(12, -1))
        with pytest.raises(EvaluationError, match="each of the 12 gallery images is unknown"):
            score_features(query, gallery, exclude_own_camera=True)

    def test_every_match_excluded(self) -> None:
        people = np.arange(1, 13)
        query, gallery = (replace(side(s, 12), identities=people, cameras=people) for s in range(2))
        with pytest.raises(EvaluationError, match=r"none of the 12 .* protocol does not exclude"):
            score_features(query, gallery, exclude_own_camera=True)


def columns(features: ExternalFeatures) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    assert features.identities is not None
    assert features.cameras is not None
    return features.identities, features.cameras


def test_check_warns_of_negative_identities_without_a_role(tmp_path: Path) -> None:
    root = write_folders(tmp_path / "own")
    for split in ("query", "gallery"):
        for folder in (root / split).rglob("10"):
            folder.rename(folder.with_name("-1"))
    pattern = "{split}/{modality}/cam{camera}/{identity}/{name}.jpg"
    report = check(DataSource(layout="folders", root=root, pattern=pattern))
    (finding,) = (f for f in report.findings if f.fault.name == "negative-identities")
    assert "1 identity of the test split with a negative number: '-1' (6 images)" in str(report)
    assert "--junk -1" in finding.fault.fix
    rows: list[dict[str, object]] = [
        {
            "path": str(record.path),
            "identity": record.identity,
            "modality": record.modality.value,
            "split": "test",
            "role": "junk" if record.identity < 0 else "",
        }
        for record in Folders(root, pattern).test()
    ]
    save_manifest(tmp_path / "manifest.csv", rows)
    report = check(DataSource(layout="manifest", root=tmp_path))
    assert "negative number" not in str(report)
