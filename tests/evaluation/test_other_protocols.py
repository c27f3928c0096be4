"""LLCM, one's own data, and SYSU-MM01's arrays: who is searched for among whom."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from tests.helpers.trees import (
    save_manifest,
    write_arrays,
    write_folders,
    write_llcm,
    write_manifest,
    write_own,
    write_sysu,
)

from vireid.data.layouts import LLCM, Folders, Manifest, SysuArrays, SysuMM01
from vireid.errors import DatasetError, EvaluationError
from vireid.evaluation import Settings, evaluate, protocols_for, validation
from vireid.types import Features, Modality


@pytest.fixture(scope="module")
def llcm(tmp_path_factory: pytest.TempPathFactory) -> LLCM:
    root = tmp_path_factory.mktemp("tree") / "cam 1 ü" / "LLCM"
    return LLCM(write_llcm(root, test=(3, 6, 11), images=4, unseen={(2, 6), (5, 11)}))


def test_llcm_draws_are_those_of_the_published_code(llcm: LLCM) -> None:
    """Its steps by hand: seed, identities sorted, cameras in order, one choice each."""
    forth, back = protocols_for(llcm)
    assert (forth.direction, back.direction) == ("visible to infrared", "infrared to visible")
    for protocol, folder, cameras in (
        (forth, "test_nir", (1, 2, 4, 5, 6, 7, 8, 9)),
        (back, "test_vis", range(1, 10)),
    ):
        assert protocol.cmc == "identity"
        assert "seeded" in protocol.convention
        assert len(protocol.trials) == 10
        for seed, trial in enumerate(protocol.trials):
            random.seed(seed)
            expected = []
            for identity in ("0003", "0006", "0011"):
                for camera in cameras:
                    images = llcm.root / folder / f"cam{camera}" / identity
                    if images.is_dir():
                        files = sorted(f"{images}/{image.name}" for image in images.iterdir())
                        expected.append(random.choice(files))
            gallery = [protocol.records[i] for i in trial.gallery]
            assert sorted(str(record.path) for record in gallery) == sorted(expected)
            modality = gallery[0].modality.other
            queries = [protocol.records[i] for i in trial.query]
            assert queries == sorted(r for r in llcm.test() if r.modality is modality)


def test_llcm_removes_the_own_identity_in_the_own_camera(llcm: LLCM) -> None:
    for protocol in protocols_for(llcm):
        trial = protocol.trials[3]
        mask = protocol.excluded(trial.query, trial.gallery)
        assert mask is not None
        assert mask.any()
        for i, q in enumerate(trial.query):
            for j, g in enumerate(trial.gallery):
                one, other = protocol.records[q], protocol.records[g]
                same = (one.identity, one.camera) == (other.identity, other.camera)
                assert mask[i, j] == same


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_own_data_is_searched_across_modalities(tmp_path: Path, kind: str) -> None:
    layout = Manifest(write_manifest(tmp_path / "cam 1 ü", kind=kind))
    (protocol,) = protocols_for(layout)
    assert protocol.direction == "infrared to visible"
    assert (protocol.cmc, protocol.excludes_own_camera) == ("image", False)
    (trial,) = protocol.trials
    assert {protocol.records[i] for i in trial.query} == set(layout.query())
    assert {protocol.records[i] for i in trial.gallery} == set(layout.gallery())
    (strict,) = protocols_for(layout, Settings(exclude_own_camera=True))
    assert strict.excludes_own_camera
    held = validation(layout)
    assert set(held.identities.tolist()) == {7}
    assert {held.records[i].modality for i in held.trials[0].query} == {Modality.INFRARED}


def test_own_data_in_folders_both_ways(tmp_path: Path) -> None:
    pattern = "{modality}/cam{camera}/{identity}/{name}.jpg"
    write_own(tmp_path / "é", "{modality}/cam{camera}/{identity}/{split}{name}.jpg")
    protocols = protocols_for(Folders(tmp_path / "é", pattern))
    # Without {split}, all images are searched for and among.
    assert [p.direction for p in protocols] == ["infrared to visible", "visible to infrared"]
    for protocol in protocols:
        values = np.eye(11, dtype=np.float32)[protocol.identities]
        result = evaluate(Features(values, protocol.records), protocol)
        assert result.mean_ap.mean == 1


def test_own_data_of_one_modality(tmp_path: Path) -> None:
    rows = write_own(tmp_path, "{split}/{identity}-{camera}-{modality}-{name}.png")
    rows = [row for row in rows if row["split"] != "gallery"]
    rows = [row | {"split": "test"} if row["split"] == "query" else row for row in rows]
    layout = Manifest(save_manifest(tmp_path / "manifest.csv", rows))
    with pytest.raises(EvaluationError, match="4 queries and 4 gallery images, but no query whose"):
        protocols_for(layout)


def test_arrays_are_tested_on_the_images_beside_them(tmp_path: Path) -> None:
    tree = write_sysu(tmp_path / "SYSU")
    write_arrays(tree, tree=tree)
    (one,), (other,) = protocols_for(SysuArrays(tree)), protocols_for(SysuMM01(tree))
    assert one.records == other.records
    alone = SysuArrays(write_arrays(tmp_path / "alone", tree=tree))
    with pytest.raises(DatasetError, match="training images only"):
        protocols_for(alone)


def test_folders_with_splits(tmp_path: Path) -> None:
    layout = Folders(
        write_folders(tmp_path / "own"), "{split}/{modality}/cam{camera}/{identity}/{name}.jpg"
    )
    (protocol,) = protocols_for(layout)
    assert set(protocol.identities.tolist()) == {3, 10}
