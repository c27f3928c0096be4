"""A grid from the command line: planned, killed, resumed bit-equal, and summarised."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.helpers.full_disk import files_limited_to
from tests.helpers.signals import tell_this_process_to_stop
from tests.helpers.trees import write_regdb

from vireid.cli import main
from vireid.evaluation import Result
from vireid.files import write_atomic
from vireid.losses import hetero_center_loss

RUNS = ["base,seed=3", "stripes=1,seed=3", "base,seed=4", "stripes=1,seed=4"]
TINY = [
    *("--backbone", "mobilenet_v2", "--weights", "none", "--shared-from", "layer2", "--dim", "8"),
    *("--stripes", "2", "--size", "64", "32", "--identities", "2", "--images", "2"),
    *("--epochs", "2", "--device", "cpu"),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_regdb(tmp_path_factory.mktemp("data cam 1") / "RegDB")


def words(data: Path, out: Path, *more: str, seeds: str = "3 4") -> list[str]:
    source = ["--layout", "regdb", "--root", str(data), "--out", str(out)]
    varied = ["--vary", "stripes=1,2", "--seeds", *seeds.split()]
    return ["ablate", "dlis", *source, *TINY, *varied, *more]


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The uninterrupted grid."""
    out = tmp_path_factory.mktemp("grids") / "whole"
    assert main(words(data, out)) == 0
    return out


def bits(grid: Path) -> dict[str, bytes]:
    """Models and results, by their paths in the grid."""
    files = [*grid.glob("*/model.safetensors"), *grid.glob("*/results/*.json")]
    return {str(file.relative_to(grid)): file.read_bytes() for file in files}


def without_minutes(grid: Path) -> str:
    """The table without the times."""
    return re.sub(r" +[\d.]+ \|$", "", (grid / "ablation.md").read_text(), flags=re.MULTILINE)


def copy(whole: Path, out: Path) -> Path:
    """Copy a finished grid without its checkpoints."""
    return shutil.copytree(whole, out, ignore=shutil.ignore_patterns("checkpoints"))


def test_a_grid_has_its_runs_and_one_table_for_each_protocol(
    whole: Path, data: Path, tmp_path: Path
) -> None:
    assert sorted(path.name for path in whole.iterdir()) == sorted([*RUNS, "ablation.md"])
    assert len(bits(whole)) == len(RUNS) * 3
    text = (whole / "ablation.md").read_text()
    assert (
        "# Ablation of dlis\n\nThe base run is dlis with backbone=mobilenet_v2, size=64 32" in text
    )
    assert "not finished" not in text

    # So small a network ranks at random: give each run its own score.
    out, mean_ap = copy(whole, tmp_path / "grid"), {}
    for place, run in enumerate(RUNS):
        for path in (out / run / "results").iterdir():
            result = Result.load(path)
            score = mean_ap[run, result.direction] = 0.3 + 0.1 * place**2 / len(result.direction)
            replace(result, trials=(replace(result.trials[0], mean_ap=score),)).save(path)
    assert main(words(data, out)) == 0
    _, *sections = (out / "ablation.md").read_text().split("\n## ")
    directions = [section.splitlines()[0].split(", ")[1] for section in sections]
    assert directions == ["visible to thermal", "thermal to visible"]
    for section, direction in zip(sections, directions, strict=True):
        base3, varied3, base4, varied4 = (100 * mean_ap[run, direction] for run in RUNS)
        differences = (varied3 - base3, varied4 - base4)
        mean, deviation = sum(differences) / 2, abs(differences[0] - differences[1]) / 2**0.5
        (line,) = [line for line in section.splitlines() if line.startswith("| stripes=1")]
        assert f" {mean:+.2f} ± {deviation:.2f} (2) |" in line
        assert f" {(varied3 + varied4) / 2:.2f} ± {abs(varied3 - varied4) / 2**0.5:.2f} |" in line


def test_a_finished_grid_is_not_changed(
    whole: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.glob("*/**/*") if path.is_file()}
    table = (whole / "ablation.md").read_text()
    assert main(words(data, whole)) == 0
    printed = capsys.readouterr().out
    assert "4 runs in" in printed
    assert "4 of them finished: dlis in 2 variants, each with 2 seeds" in printed
    assert table in printed
    assert (whole / "ablation.md").read_text() == table
    assert before == {p: p.stat().st_mtime_ns for p in whole.glob("*/**/*") if p.is_file()}


def test_a_stopped_and_killed_grid_ends_bit_equal(
    whole: Path,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, given = tmp_path / "grid", words(data, tmp_path / "grid", seeds="3")
    # As if an earlier call was killed while it wrote the first config.yaml.
    (out / RUNS[0]).mkdir(parents=True)
    (out / RUNS[0] / ".config.yaml.17-ab.tmp").write_text("half")
    steps = 0

    def stop_at_third(*args: Any, **kwargs: Any) -> torch.Tensor:
        nonlocal steps
        steps += 1
        if steps == 3:
            tell_this_process_to_stop()
        return hetero_center_loss(*args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr("vireid.methods.dlis.hetero_center_loss", stop_at_third)
        with pytest.raises(SystemExit) as left:
            main(given)
    assert left.value.code == 128 + signal.SIGTERM
    assert "run the same `vireid ablate` again" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == [RUNS[0]]

    process = subprocess.Popen(
        [sys.executable, "-m", "vireid", *given],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + 120
    while not any((out / RUNS[1]).glob("checkpoints/epoch-0001*")):
        assert process.poll() is None
        assert time.monotonic() < end
    process.kill()
    process.wait()
    assert not (out / RUNS[1] / "model.safetensors").exists()
    assert f"1 of 2 runs are not finished: '{RUNS[1]}'" in (out / "ablation.md").read_text()

    assert main(given) == 0
    head, first, second, *_ = capsys.readouterr().out.splitlines()
    assert head.endswith("1 of them finished: dlis in 2 variants, each with 1 seed")
    assert re.fullmatch(rf"  {RUNS[0]} .* parameters  finished", first)
    assert re.fullmatch(rf"  {RUNS[1]} .* parameters  [01] of 2 epochs trained", second)
    assert bits(out) == {name: same for name, same in bits(whole).items() if "seed=3" in name}


def test_a_result_that_does_not_match_is_replaced(
    whole: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = copy(whole, tmp_path / "grid")
    first, *_ = sorted((out / RUNS[0] / "results").iterdir())
    first.unlink()
    shutil.rmtree(out / RUNS[1] / "results")
    # A result of other weights, and one with other evaluation options.
    for path in (out / RUNS[2] / "results").iterdir():
        shutil.copy(out / RUNS[3] / "results" / path.name, path)
    assert main(["evaluate", str(out / RUNS[3]), "--no-figures", "--flip"]) == 0
    for path in (out / RUNS[3] / "results").iterdir():
        if "horizontal" not in path.read_text():
            path.unlink()
    assert main(words(data, out)) == 0
    assert capsys.readouterr().out.count("trained, to be evaluated") == 4
    assert bits(whole).items() <= bits(out).items()
    assert without_minutes(out) == without_minutes(whole)


def test_a_foreign_folder_stops_everything(
    whole: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "grid"
    shutil.copytree(whole / RUNS[0], out / RUNS[1])
    assert main(words(data, out)) == 2
    error = capsys.readouterr().err
    assert f"'{out / RUNS[1]}' is another run, with stripes '2' and not '1'" in error
    assert [path.name for path in out.iterdir()] == [RUNS[1]]


def test_a_dry_run_writes_nothing(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--vary", "center=0", "--grid", "--dry-run"]
    assert main(words(data, tmp_path / "grid", *more)) == 0
    _, *lines = capsys.readouterr().out.splitlines()
    variants = ["base", "center=0", "stripes=1", "stripes=1,center=0"]
    assert [line.split()[0] for line in lines] == [
        f"{variant},seed={seed}" for seed in (3, 4) for variant in variants
    ]
    assert {line.split("  ")[-1] for line in lines} == {"to be trained"}
    assert list(tmp_path.iterdir()) == []


def test_the_table_is_printed_before_it_is_written(
    whole: Path,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = copy(whole, tmp_path / "grid")
    before = (out / "ablation.md").read_bytes()

    def write(table: Path, text: bytes) -> Path:
        with files_limited_to(0):
            return write_atomic(table, text)

    monkeypatch.setattr("vireid.cli.ablate.write_atomic", write)
    assert main(words(data, out)) == 2
    printed = capsys.readouterr()
    assert printed.out.count("| stripes=1") == 2
    assert printed.err.splitlines()[-1] == (
        f"vireid: '{out / 'ablation.md'}' cannot be read or written (File too large); allow larger"
        " files (ulimit -f) and run the same command again."
    )
    assert (out / "ablation.md").read_bytes() == before


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["--vary", "stripes=x"], "--vary stripes: 'x' does not fit; expected a valid integer."),
        (["--vary", "stripes=9"], "'9' stripes do not fit a map of 4 rows"),
        (["--preset", "stripes"], "'6' stripes do not fit a map of 4 rows"),
        (["--vary", "identities=99"], "99"),
        (["--trial", "11"], "11"),
    ],
)
def test_errors_are_reported_before_anything_is_trained(
    more: list[str],
    expected: str,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(words(data, tmp_path / "grid", *more)) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("vireid: ")
    assert expected in error
    assert list(tmp_path.iterdir()) == []


def test_the_other_runs_are_trained_after_one_fails(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "grid"
    rates = ["--epochs", "2", "--vary", "backbone-lr=1e18", "--seeds", "0"]
    source = ["--layout", "regdb", "--root", str(data), "--out", str(out)]
    given = ["ablate", "dlis", *source, *TINY, *rates]
    assert main(given) == 2
    printed = capsys.readouterr()
    assert "1 of 2 runs have no result" in printed.err.splitlines()[-1]
    assert "'backbone-lr=1e%2B18,seed=0'" in printed.err.splitlines()[-1]
    assert "1 of 2 runs are not finished" in printed.out
    assert "| base" in printed.out
    assert "variation over seeds is unknown" in printed.out
