"""``vireid evaluate`` on another data set than that of the training, and what reads its results."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.helpers.trees import (
    copy,
    write_folders,
    write_llcm,
    write_manifest,
    write_regdb,
    write_sysu,
)

from vireid.cli import main
from vireid.cli.evaluate import Target
from vireid.cli.leaderboard import read_entries
from vireid.data.layouts import DataSource
from vireid.data.provenance import Provenance
from vireid.errors import ConfigError
from vireid.evaluation import Result
from vireid.methods import Recipe
from vireid.methods.dlis import DLISConfig
from vireid.reports.leaderboard import leaderboard
from vireid.runs import Run, RunFolder

PATTERN = "{split}/{modality}/cam{camera}/{identity}/{name}.jpg"
TRAINED_ON = "direct transfer, trained on own data mine"


def write_run(out: Path, data: DataSource, *, seed: int = 0) -> Path:
    """A run folder as after a training, with the network of its beginning."""
    method = DLISConfig(
        backbone="mobilenet_v2",
        weights="none",
        size=(64, 32),
        stripes=2,
        dim=8,
        shared_from="layer2",
    )
    folder = RunFolder(out)
    folder.start(Run(name="dlis", recipe=Recipe(method=method), data=data, device="cpu", seed=seed))
    folder.write_data(Provenance.of(data.open()))
    torch.manual_seed(seed)
    folder.write_model(method.build(classes=3).state_dict(), classes=3)
    return out


@pytest.fixture
def run(tmp_path: Path) -> Path:
    mine = write_folders(tmp_path / "mine")
    return write_run(tmp_path / "run", DataSource(layout="folders", root=mine, pattern=PATTERN))


def vireid(*words: str | Path) -> None:
    assert main([str(word) for word in words]) == 0


def saved(run: Path) -> dict[str, Result]:
    return {path.stem: Result.load(path) for path in (run / "results").glob("*.json")}


@pytest.mark.parametrize(
    ("layout", "write", "options"),
    [
        ("sysu-mm01", write_sysu, []),
        ("regdb", write_regdb, ["--trial", "2"]),
        ("llcm", write_llcm, []),
        ("manifest", write_manifest, []),
        ("folders", write_folders, ["--pattern", PATTERN]),
    ],
)
def test_every_layout(
    layout: str,
    write: Callable[..., Path],
    options: list[str],
    run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = write(tmp_path / "theirs", seed=5)
    vireid("evaluate", run, "--layout", layout, "--root", root, *options, "--no-figures")
    printed = capsys.readouterr()
    assert f"'{root}' is not the data set that '{run}' was trained on (own data" in printed.err
    results = saved(run)
    for name, result in results.items():
        assert result.direct_transfer
        assert result.about["trained on"] == "own data mine"
        assert f"{result.protocol}, {result.direction}, direct transfer\n" in printed.out
        assert name == result.slug
        data = f"{result.data}-{result.data_fingerprint[:8]}".replace(".", "-")
        assert name.endswith(f"direct-transfer-{data}")
    assert printed.out.count(TRAINED_ON) == len(results) > 0


def test_own_data_is_not_direct_transfer_wherever_it_lies(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vireid("evaluate", run, "--no-figures")
    before = {file: file.read_bytes() for file in (run / "results").iterdir()}
    moved = copy(tmp_path / "mine", tmp_path / "elsewhere")
    shutil.rmtree(tmp_path / "mine")
    vireid("evaluate", run, "--root", moved, "--no-figures")
    words = ("--layout", "folders", "--root", moved, "--pattern", PATTERN)
    vireid("evaluate", run, *words, "--no-figures")
    assert {file: file.read_bytes() for file in (run / "results").iterdir()} == before
    captured = capsys.readouterr()
    assert "direct transfer" not in captured.out + captured.err
    assert captured.out.count("trained on own data mine") == 3


def test_root_of_another_data_set_of_the_same_layout(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its files and people have the same names; nothing is overwritten."""
    vireid("evaluate", run, "--no-figures")
    roots = [
        write_folders(tmp_path / place / "mine", seed=seed) for seed, place in enumerate("ab", 1)
    ]
    for root in roots:
        vireid("evaluate", run, "--root", root, "--no-figures")
    results = saved(run)
    assert len(results) == 3
    assert sorted(result.direct_transfer for result in results.values()) == [False, True, True]
    assert len({result.data_fingerprint for result in results.values()}) == 3
    own = RunFolder(run).read_data().test_fingerprint[:8]
    assert {result.about["trained on"] for result in results.values()} == {
        "own data mine",
        f"own data mine of other images ({own})",
    }
    # The data set at its own place is replaced by another.
    shutil.rmtree(tmp_path / "mine")
    shutil.move(roots[0], tmp_path / "mine")
    vireid("evaluate", run, "--no-figures")
    assert saved(run) == results
    assert capsys.readouterr().err.count("its results are direct transfer") == 3


def test_new_test_images_of_the_data_set(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vireid("evaluate", run, "--no-figures")
    image = tmp_path / "mine/gallery/visible/cam1/3/é0.jpg"
    image.rename(image.with_name("new.jpg"))
    vireid("evaluate", run, "--no-figures")
    results = saved(run)
    assert len(results) == 2
    assert not any(result.direct_transfer for result in results.values())
    assert "has other test images than the data set that" in capsys.readouterr().err


def test_one_network_on_several_splits_of_regdb(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_regdb(tmp_path / "RegDB", seed=3)
    words = ("--layout", "regdb", "--root", root, "--trial", "1", "2", "--out", tmp_path / "mean")
    vireid("evaluate", run, *words, "--no-figures")
    assert len(saved(run)) == 4
    assert "RegDB, mean over trials 1, 2, visible to thermal, direct transfer" in (
        capsys.readouterr().out
    )
    means = [Result.load(path) for path in (tmp_path / "mean").iterdir()]
    assert [len(mean.trials) for mean in means] == [2, 2]
    assert all(mean.direct_transfer and mean.about["trained on"] for mean in means)


def test_results_are_compared_among_themselves_only(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A network that was trained on the data set, and two that were not."""
    source = DataSource(layout="regdb", root=write_regdb(tmp_path / "RegDB", seed=3))
    words = ("--layout", "regdb", "--root", source.root, "--no-figures")
    native = write_run(tmp_path / "native", source)
    other = DataSource(layout="manifest", root=write_manifest(tmp_path / "other", seed=8))
    second = write_run(tmp_path / "second", other, seed=1)
    vireid("evaluate", run, second, native, *words)
    vireid("evaluate", second, "--no-figures")
    assert not any(result.direct_transfer for result in saved(native).values())
    capsys.readouterr()

    vireid("compare", run, second)
    printed = capsys.readouterr().out
    assert printed.count("direct transfer, published split") == 2
    assert "trained on: own data mine -> own data manifest.csv" in printed
    assert main(["compare", str(run), str(native)]) == 2
    assert "no protocol in common" in capsys.readouterr().err
    mine, theirs = (next((r / "results").glob("*thermal-to-vis*")) for r in (run, native))
    assert main(["compare", str(mine), str(theirs)]) == 2
    assert "both direct transfer" in capsys.readouterr().err

    boards = leaderboard(read_entries([run, second, native]))
    assert len(boards) == 5
    for board in boards:
        kinds = {entry.result.direct_transfer for row in board.rows for entry in row.entries}
        assert len(kinds) == 1
        assert ("direct transfer" in board.title) == (kinds == {True})
    vireid("leaderboard", run, second, native)
    printed = capsys.readouterr().out
    assert printed.count("## RegDB trial 1, thermal to visible, direct transfer\n") == 1
    assert printed.count("## RegDB trial 1, thermal to visible\n") == 1
    assert "Rows differ in trained on: own data " in printed


def test_report_and_figures(run: Path, tmp_path: Path) -> None:
    root = write_regdb(tmp_path / "RegDB", seed=3)
    vireid("evaluate", run, "--layout", "regdb", "--root", root)
    assert not (run / "results" / "report.html").exists()
    (page,) = (run / "results").glob("direct-transfer-*/report.html")
    text = page.read_text(encoding="utf-8")
    assert "<h3>RegDB trial 1, visible to thermal, direct transfer</h3>" in text
    assert TRAINED_ON in text
    for result in saved(run).values():
        assert (page.parent / result.slug / "cmc.png").is_file()


def test_a_run_does_not_say_what_it_was_trained_on(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for content in (None, json.dumps({"name": "x"})):
        (run / "data.json").unlink()
        if content:
            (run / "data.json").write_text(content)
        assert main(["evaluate", str(run)]) == 2
        assert "unknown what" in capsys.readouterr().err
        (run / "data.json").touch()


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (Target(layout="llcm"), "--layout is 'llcm' and --root not given"),
        (Target(root=Path("x"), pattern="y"), "--pattern belongs to another data set"),
        (Target(trial=(2,)), "--trial belongs to another data set"),
        (Target(root=Path("x"), layout="llcm", trial=(1,)), "--trial does not apply to"),
    ],
)
def test_options_that_do_not_fit(target: Target, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        target.sources(DataSource(layout="regdb", root=Path("z"), trial=3))


def test_splits_of_the_training_are_kept() -> None:
    own = DataSource(layout="regdb", root=Path("z"), trial=3)
    assert Target(root=Path("x")).sources(own) == [own.at(Path("x"))]
