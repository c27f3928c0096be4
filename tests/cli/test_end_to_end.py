"""Every data set from its folder to its figures, by the shell's words, from awkward paths."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.helpers.trees import (
    write_arrays,
    write_folders,
    write_llcm,
    write_manifest,
    write_regdb,
    write_sysu,
)

from vireid.cli import main
from vireid.evaluation import Result

TINY = [
    *("--backbone", "mobilenet_v2", "--weights", "none", "--shared-from", "layer2", "--dim", "8"),
    *("--stripes", "2", "--size", "64", "32", "--epochs", "1"),
    *("--identities", "2", "--images", "2", "--device", "cpu"),
]


def arrays(root: Path) -> Path:
    tree = write_sysu(root)
    return write_arrays(tree, tree=tree)


def ten_splits(root: Path) -> Path:
    return write_regdb(root, trials=range(1, 11))


def vireid(*words: str | Path) -> None:
    assert main([str(word) for word in words]) == 0


@pytest.mark.parametrize(
    ("layout", "write", "options", "results"),
    [
        ("sysu-mm01", write_sysu, [], {"SYSU-MM01 all-search single-shot"}),
        ("sysu-mm01-npy", arrays, [], {"SYSU-MM01 all-search single-shot"}),
        ("regdb", ten_splits, ["--trial", "2"], {"RegDB trial 2"}),
        ("llcm", write_llcm, [], {"LLCM single-shot"}),
        ("manifest", write_manifest, ["--hold-out"], {"Own data"}),
        (
            "folders",
            write_folders,
            ["--pattern", "{split}/{modality}/cam{camera}/{identity}/{name}.jpg"],
            {"Own data"},
        ),
    ],
)
def test_train_and_evaluate(
    layout: str,
    write: Callable[[Path], Path],
    options: list[str],
    results: set[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = write(tmp_path / "cam 1 Überwachung" / "data cam2 夜")
    out = tmp_path / "runs cam" / "é"
    vireid("train", "dlis", "--layout", layout, "--root", root, *options, "--out", out, *TINY)
    packed = list((tmp_path / "cam 1 Überwachung").rglob(".vireid-cache/64x32*.rgb"))
    assert len(packed) == 1
    vireid("evaluate", out)
    saved = [Result.load(path) for path in (out / "results").glob("*.json")]
    assert {result.protocol for result in saved} == results
    printed = capsys.readouterr().out
    for result in saved:
        assert f"{result.protocol}, {result.direction}\n" in printed
        assert not result.direct_transfer
        assert result.details is not None
        for picture in ("cmc", "rankings", "worst", "similarities"):
            with Image.open(out / "results" / result.slug / f"{picture}.png") as image:
                image.load()
    assert (out / "results" / "report.html").is_file()
    options = [word for word in options if word != "--hold-out"]
    vireid("check", layout, root, *options)


def test_another_method_takes_the_same_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = write_regdb(tmp_path / "RegDB"), tmp_path / "agw"
    words = [
        *("--backbone", "mobilenet_v2", "--weights", "none"),
        *("--size", "64", "32", "--epochs", "2"),
    ]
    batch = ["--identities", "2", "--images", "2", "--device", "cpu"]
    vireid("train", "agw", "--layout", "regdb", "--root", root, "--out", out, *words, *batch)
    before = (out / "model.safetensors").read_bytes()
    assert "kind: agw" in (out / "config.yaml").read_text()
    for path in [out / "model.safetensors", *out.glob("checkpoints/epoch-0002*")]:
        path.unlink()
    vireid("train", "--resume", out)
    assert (out / "model.safetensors").read_bytes() == before
    vireid("evaluate", out)
    assert "recipe agw, backbone mobilenet_v2" in capsys.readouterr().out


def test_settings_treatments_and_comparison(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, first, second = write_sysu(tmp_path / "SYSU", images=11), tmp_path / "a", tmp_path / "b"
    chosen: list[str | Path] = ["--layout", "sysu-mm01", "--root", root]
    selected = ["--hold-out", "--select", "validation"]
    vireid("train", "dlis", *chosen, *selected, "--out", first, *TINY)
    vireid("train", "tslfn", *chosen, "--no-cache", "--seed", "1", "--out", second, *TINY)
    settings = ["--search", "all", "indoor", "--shots", "1", "10", "--draw", "official", "seeded"]
    for run in (first, second):
        vireid("evaluate", run, *settings, "--no-figures")
    names = {path.stem for path in (first / "results").iterdir()}
    assert len(names) == 8
    assert not (first / "results" / "report.html").exists()
    assert all(Result.load(path).details is None for path in (first / "results").iterdir())
    capsys.readouterr()

    vireid("compare", first, second)
    printed = capsys.readouterr().out
    assert printed.count("paired bootstrap") == 8
    assert "recipe: dlis -> tslfn" in printed
    assert "model: best epoch on validation identities -> last epoch" in printed

    vireid("evaluate", first, "--rerank", "k-reciprocal", "--expand", "2", "--flip")
    printed = capsys.readouterr().out
    assert "re-ranking k-reciprocal (k1 20, k2 6, lambda 0.3)" in printed
    assert "query expansion alpha (neighbours 2, power 3)" in printed
    assert "test-time augmentation horizontal flip" in printed
    words = "query expansion, transductive re-ranking, test-time augmentation"
    assert f"result (with {words})" in printed
    assert len(list((first / "results").glob("*.json"))) == 9

    both = (first / "results").glob("*all-search-single-shot*official*.json")
    plain, treated = sorted(both, key=lambda path: len(path.name))
    vireid("compare", plain, treated)
    assert "re-ranking: none -> k-reciprocal" in capsys.readouterr().out
    assert main(["compare", str(first), str(tmp_path)]) == 2
    assert "has no results" in capsys.readouterr().err
    shutil.rmtree(second / "results")
    vireid("evaluate", second, "--search", "indoor", "--no-figures", "--draw", "seeded")
    shutil.copytree(second, tmp_path / "c")
    for path in (tmp_path / "c" / "results").iterdir():
        path.unlink()
    vireid("evaluate", tmp_path / "c", "--no-figures")
    capsys.readouterr()
    assert main(["compare", str(second), str(tmp_path / "c")]) == 2
    assert "no protocol in common" in capsys.readouterr().err


def test_the_mean_over_the_splits_of_regdb(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_regdb(tmp_path / "RegDB")
    runs = []
    for trial in (1, 2):
        runs.append(tmp_path / f"run-{trial}")
        split: list[str | Path] = ["--trial", str(trial), "--out", runs[-1]]
        vireid("train", "dlis", "--layout", "regdb", "--root", root, *split, *TINY)
    vireid("evaluate", runs[0], runs[0], "--no-figures")
    assert "mean over trials" not in capsys.readouterr().out
    vireid("evaluate", *runs, "--no-figures", "--out", tmp_path / "mean")
    assert "RegDB, mean over trials 1, 2, visible to thermal" in capsys.readouterr().out
    files = list((tmp_path / "mean").iterdir())
    assert len(files) == 2
    for path in files:
        mean = Result.load(path)
        (of_first,) = (runs[0] / "results").glob(f"*{mean.direction.replace(' ', '-')}*.json")
        assert len(mean.trials) == 2
        assert mean.trials[0] == Result.load(of_first).trials[0]


def test_check_has_an_exit_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_sysu(tmp_path / "SYSU cam 1")
    sheet, report = tmp_path / "sheet.jpg", tmp_path / "report.json"
    words = ["check", "sysu-mm01", str(root), "--sheet", str(sheet), "--json", str(report)]
    main(words)
    with Image.open(sheet) as image:
        image.load()
    assert json.loads(report.read_text())
    (root / "cam3" / "0003" / "0001.jpg").write_bytes(b"")
    capsys.readouterr()
    assert main(words) == 1
    printed = " ".join(capsys.readouterr().out.split())
    assert "cam3/0003/0001.jpg" in printed
    assert main(["check", "sysu-mm01", str(root), "--threads", "0"]) == 2


def test_a_reader_that_stops_reading_loses_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for side in "qg":
        features = rng.standard_normal((50, 4))
        np.savez(tmp_path / f"{side}.npz", features=features, identities=np.arange(50))
    words = [sys.executable, "-m", "vireid", "score", "--out", "r.json"]
    process = subprocess.Popen(
        [*words, "--query", "q.npz", "--gallery", "g.npz"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 128 + signal.SIGPIPE
    process.stderr.close()
    assert Result.load(tmp_path / "r.json").trials[0].queries == 50
