"""``vireid score`` from the shell: three forms of the same features, one result."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tyro
from numpy.typing import NDArray
from scipy.io import savemat
from tests.helpers.trees import copy, write_folders, write_manifest, write_regdb, write_sysu

from vireid.cli import main
from vireid.cli.score import AsGiven, score
from vireid.data.layouts import DataSource, LayoutName, RegDB, SysuMM01
from vireid.errors import ConfigError, EvaluationError
from vireid.evaluation import (
    KReciprocal,
    QueryExpansion,
    Ranking,
    Result,
    Settings,
    evaluate,
    protocols_for,
)
from vireid.types import Features

ABOUT = {"features": "as given by the caller"}


def run(*words: str | Path) -> list[Result]:
    """Run the verb as ``main`` does, which gives its exit status instead."""
    config = (tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff)
    return tyro.cli(score, args=[str(word) for word in words], config=config)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SYSU-MM01 and a RegDB with features of their test images in every form."""
    folder = tmp_path_factory.mktemp("cam 1 ü")
    features = extract_features(write_sysu(folder / "sysu", test=(3, 4, 10)))
    infrared = np.isin(features.cameras, (3, 6))
    write_npz(folder / "q.npz", features, np.flatnonzero(infrared), folder / "sysu")
    write_npz(folder / "g.npz", features, np.flatnonzero(~infrared), folder / "sysu")
    write_npz(folder / "all.npz", features, np.arange(len(infrared)), folder / "sysu")
    for camera in range(1, 7):
        cells = np.empty((10, 1), dtype=object)
        for identity in range(1, 11):
            mask = (features.cameras == camera) & (features.identities == identity)
            cells[identity - 1, 0] = features.values[mask]
        savemat(folder / f"feat_cam{camera}.mat", {"feature": cells})
    regdb = RegDB(write_regdb(folder / "regdb"), trial=2).test()
    values = np.random.default_rng(1).standard_normal((len(regdb), 6)).astype(np.float32)
    write_npz(folder / "r.npz", Features(values, regdb), np.arange(len(regdb)), folder / "regdb")
    return folder


def extract_features(root: Path) -> Features:
    test = SysuMM01(root).test()
    rng = np.random.default_rng(0)
    values = rng.standard_normal((len(test), 6)) * rng.uniform(0.2, 5, (len(test), 1))
    return Features(values.astype(np.float32), test)


def write_npz(path: Path, features: Features, rows: NDArray[np.int64], root: Path) -> None:
    np.savez(
        path,
        features=features.values[rows],
        identities=features.identities[rows],
        cameras=features.cameras[rows],
        names=np.array([str(features.records[i].path.relative_to(root)) for i in rows]),
    )


@pytest.mark.parametrize(
    ("words", "settings", "ranking"),
    [
        ([], Settings(), Ranking()),
        (["--similarity", "euclidean"], Settings(), Ranking(similarity="euclidean")),
        (
            ["--search", "all", "indoor", "--shots", "1", "10", "--draw", "seeded", "official"],
            Settings(search=("all", "indoor"), shots=(1, 10), draw=("seeded", "official")),
            Ranking(),
        ),
        (
            ["--rerank", "k-reciprocal", "--expand", "2"],
            Settings(),
            Ranking(reranking=KReciprocal(), expansion=QueryExpansion(neighbours=2)),
        ),
    ],
)
def test_all_forms_score_as_evaluate_does(
    folder: Path, words: Sequence[str], settings: Settings, ranking: Ranking
) -> None:
    root = folder / "sysu"
    expected = [
        evaluate(extract_features(root), protocol, ranking=ranking, about=ABOUT)
        for protocol in protocols_for(SysuMM01(root), settings)
    ]
    data = ("--layout", "sysu-mm01", "--root", root)
    given = ("--query", folder / "q.npz", "--gallery", folder / "g.npz")
    one_file = ("--query", folder / "all.npz", "--gallery", folder / "all.npz")
    official = ("--mat", folder / "feat", "--splits", root / "exp")
    assert run(*given, *data, *words) == expected
    assert run(*one_file, *data, *words) == expected
    assert run(*official, *words) == expected


def test_indoor_search_needs_no_features_of_the_outdoor_cameras(
    folder: Path, tmp_path: Path
) -> None:
    splits = folder / "sysu" / "exp"
    for camera in (1, 2, 3, 6):
        name = f"feat_cam{camera}.mat"
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    part = run("--mat", tmp_path / "feat", "--splits", splits, "--search", "indoor")
    assert part == run("--mat", folder / "feat", "--splits", splits, "--search", "indoor")
    with pytest.raises(EvaluationError, match=r"feat_cam4\.mat' is not a file"):
        run("--mat", tmp_path / "feat", "--splits", splits)


def test_as_given(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ("--query", folder / "q.npz", "--gallery", folder / "g.npz")
    (result,) = run(*given, "--protocol", "sysu-mm01", "--augmentation", "flip")
    printed = capsys.readouterr().out
    assert printed.startswith("SYSU-MM01, infrared to visible\n")
    assert "query and gallery as given; CMC by identity; 1 trial" in printed
    assert "test-time augmentation flip" in printed
    (trial,) = result.trials
    assert (trial.queries, trial.gallery) == (21, 42)

    (plain,) = run(*given, "--exclude-own-camera", "--cmc", "identity")
    assert (plain.protocol, plain.direction) == ("Own data", "query to gallery")
    assert plain.cmc_kind == "identity"
    (told,) = run(*given, "--query-modality", "infrared")
    assert told.direction == "infrared to visible"
    assert told.cmc_kind == "image"


def test_one_file_as_given_must_leave_out_the_own_camera(folder: Path) -> None:
    twice = ("--query", folder / "all.npz", "--gallery", folder / "all.npz")
    with pytest.raises(ConfigError, match=r"both '.*all\.npz', so every query would find"):
        run(*twice)
    (result,) = run(*twice, "--exclude-own-camera")
    assert result.trials[0].cmc_by_image[0] < 1
    (llcm,) = run(*twice, "--protocol", "llcm")
    assert llcm.protocol == "LLCM"
    assert (llcm.cmc_kind, llcm.mean_ap) == ("identity", result.mean_ap)


def test_split_of_regdb(folder: Path) -> None:
    file = ("--query", folder / "r.npz", "--gallery", folder / "r.npz")
    data = ("--layout", "regdb", "--root", folder / "regdb")
    forth, back = run(*file, *data, "--trial", "2")
    assert (forth.protocol, back.protocol) == ("RegDB trial 2", "RegDB trial 2")
    assert (forth.direction, back.direction) == ("visible to thermal", "thermal to visible")
    with pytest.raises(EvaluationError, match="no features of"):
        run(*file, *data)


@pytest.mark.parametrize("layout", ["manifest", "folders"])
def test_own_data(layout: LayoutName, tmp_path: Path) -> None:
    pattern = "{split}/{modality}/cam{camera}/{identity}/{name}.jpg" if layout == "folders" else ""
    write = write_folders if layout == "folders" else write_manifest
    root = write(tmp_path / "own")
    (protocol,) = protocols_for(DataSource(layout=layout, root=root, pattern=pattern).open())
    values = np.random.default_rng(0).standard_normal((len(protocol.records), 4))
    features = Features(values.astype(np.float32), protocol.records)
    (trial,) = protocol.trials
    q, g = tmp_path / "q.npz", tmp_path / "g.npz"
    write_npz(q, features, trial.query, tmp_path / "own")
    write_npz(g, features, trial.gallery, tmp_path / "own")
    files = ("--query", q, "--gallery", g)
    words = ("--layout", layout, "--root", root, *(("--pattern", pattern) if pattern else ()))
    (named,) = run(*files, *words)
    assert named == evaluate(features, protocol, about=ABOUT)
    (given,) = run(*files, "--query-modality", "infrared")
    assert (given.trials, given.kind) == (named.trials, named.kind)


class TestOut:
    def test_two_data_sets_of_one_layout_are_two_files(self, folder: Path, tmp_path: Path) -> None:
        second, out = copy(folder / "sysu", tmp_path / "second"), tmp_path / "out"
        (second / "exp" / "test_id.txt").write_text("3,4")
        words = ("--query", folder / "all.npz", "--gallery", folder / "all.npz", "--out", out)
        results = [
            *run(*words, "--layout", "sysu-mm01", "--root", folder / "sysu"),
            *run(*words, "--layout", "sysu-mm01", "--root", second),
            *run(*words, "--layout", "sysu-mm01", "--root", second),
        ]
        saved = [Result.load(path) for path in sorted(out.iterdir(), key=lambda p: len(p.name))]
        assert saved == results[:2]

    def test_one_result_is_one_file(self, folder: Path, tmp_path: Path) -> None:
        out = tmp_path / "new" / "result.json"
        (result,) = run("--query", folder / "q.npz", "--gallery", folder / "g.npz", "--out", out)
        assert Result.load(out) == result
        assert list(out.parent.iterdir()) == [out]

    def test_published_draws_are_a_file_or_a_folder(self, folder: Path, tmp_path: Path) -> None:
        official = ("--mat", folder / "feat", "--splits", folder / "sysu" / "exp")
        (single,) = run(*official, "--augmentation", "flip", "--out", tmp_path / "single.json")
        assert Result.load(tmp_path / "single.json") == single
        assert single.test_time_augmentation == "flip"
        both = ("--search", "all", "indoor")
        results = run(*official, *both, "--out", tmp_path / "results")
        saved = sorted((tmp_path / "results").iterdir())
        assert sorted(f"{result.slug}.json" for result in results) == [path.name for path in saved]
        assert len(saved) == 2
        for result in results:
            assert Result.load(tmp_path / "results" / f"{result.slug}.json") == result
        with pytest.raises(ConfigError, match=r"r\.json' is one file for 2 results; expected a fo"):
            run(*official, *both, "--out", tmp_path / "r.json")
        assert not (tmp_path / "r.json").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", "--query is not given and --gallery not given; expected two .npz files"),
        ("--query q.npz", "--query is 'q.npz' and --gallery not given"),
        ("--gallery g.npz --layout regdb --root r", "--query is not given and --gallery 'g.npz'"),
        ("--query q.npz --gallery g.npz --layout regdb", "--layout is 'regdb' and --root not giv"),
        ("--query q.npz --gallery g.npz --root r", "--layout is not given and --root 'r'"),
        ("--query q.npz --gallery g.npz --trial 2", "--layout is not given and --root not given"),
        ("--query q.npz --gallery g.npz --shots 10", "--search, --shots and --draw choose"),
        (
            "--query q.npz --gallery g.npz --layout regdb --root r --protocol regdb",
            "--protocol, --cmc and --query-modality do not go with --layout",
        ),
        ("--mat m", "--mat is 'm' and --splits not given; expected both and no other option"),
        ("--splits s", "--mat is not given and --splits 's'; expected"),
        ("--mat m --splits s --query q.npz", "'s', with other features, data or rules;"),
        ("--mat m --splits s --gallery g.npz", "with other features, data or rules;"),
        ("--mat m --splits s --layout regdb --root r", "with other features, data or rules"),
        ("--mat m --splits s --cmc image", "with other features, data or rules;"),
        ("--mat m --splits s --exclude-own-camera", "with other features, data or rules;"),
        ("--mat m --splits s", "'s' does not exist; expected the split files"),
        ("--query q.npz --gallery g.npz", "'q.npz' is not a file; expected an .npz file"),
        (
            "--query q.npz --gallery g.npz --rerank k-reciprocal --similarity euclidean",
            "--similarity cosine",
        ),
        ("--query q.npz --gallery g.npz --protocol regdb --cmc image", "'q.npz' is not a file"),
    ],
)
def test_what_the_user_can_fix_is_one_sentence(
    words: str,
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["score", *words.split()]) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith("vireid: ")
    assert expected in error
    assert list(tmp_path.iterdir()) == []


def test_in_python_as_from_the_shell(folder: Path) -> None:
    query, gallery, root = folder / "q.npz", folder / "g.npz", folder / "sysu"
    data = DataSource(layout="sysu-mm01", root=root)
    by_name = score(query=query, gallery=gallery, data=data)
    assert by_name == score(mat=folder / "feat", splits=root / "exp")
    (plain,) = score(query=query, gallery=gallery, given=AsGiven(cmc="identity"))
    assert plain.cmc_kind == "identity"


def test_help_names_every_choice(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("--help")
    printed = capsys.readouterr().out
    for flag in ("query", "gallery", "protocol", "similarity", "rerank", "expand", "out"):
        assert f"--{flag} " in printed
    for flag in ("layout", "root", "search", "shots", "draw", "mat", "splits"):
        assert f"--{flag} " in printed
    assert "--exclude-own-camera" in printed
