"""``vireid check``: what is printed and written, and the exit status that goes with it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.helpers.trees import write_folders, write_regdb

from vireid.cli import main
from vireid.cli.check import check


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_regdb(tmp_path / "RegDB", images=2, trials=range(1, 11))


def test_a_whole_tree(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = check(
        "regdb", root, trial=2, sheet=tmp_path / "sheet.jpg", json=tmp_path / "report.json"
    )
    assert report.exit_status == 0
    out = capsys.readouterr().out
    assert out == f"{report}\n"
    assert out.startswith(f"Layout regdb, trial 2 at '{root}': 32 images.\n")
    assert json.loads((tmp_path / "report.json").read_text())["errors"] == 0
    assert (tmp_path / "sheet.jpg").stat().st_size > 0


def test_a_fault(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "Thermal/3/male_back_t_00000_3.bmp").write_bytes(b"")
    assert check("regdb", root, threads=1).exit_status == 1
    assert "'Thermal/3/male_back_t_00000_3.bmp'" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["RegDB"]


def test_folders_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pattern = "{split}/{modality}/cam{camera}/{identity}/{name}.jpg"
    root = write_folders(tmp_path / "own", pattern)
    assert check("folders", root, pattern=pattern).findings == ()
    assert "No faults" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ["--layout", "regdb", "--root", "{root}"],
        ["--root={root}", "--layout=regdb", "--trial", "1"],
        ["regdb", "--root", "{root}", "--threads", "1"],
        ["--threads", "1", "--layout", "regdb", "{root}"],
        ["{root}", "--layout", "regdb"],
    ],
)
def test_layout_and_root_as_flags(
    root: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", *(word.format(root=root) for word in words)]) == 0
    assert capsys.readouterr().out.startswith(f"Layout regdb, trial 1 at '{root}': 32 ")


def test_data_to_test_on_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pattern = "{split}/{modality}/{identity}/{camera}{name}.jpg"
    root = write_folders(tmp_path / "own", pattern)
    for split in ("train", "val"):
        shutil.rmtree(root / split)
    report = check("folders", root, pattern="{split}/{modality}/{identity}/{}")
    first, second, _, table = capsys.readouterr().out.splitlines()[:4]
    assert first == f"Layout folders at '{root}': 12 images."
    assert second.startswith("Not counted, for the reasons below: train")
    assert table.startswith("split  modality")
    (finding,) = report.findings
    assert finding.fault.name == "one-split"
    assert "has 0 images of the split train" in finding.what


@pytest.mark.parametrize("arguments", [["--help"], ["regdb", "{root}"]])
def test_torch_is_not_imported(root: Path, arguments: list[str]) -> None:
    words = ["check", *(argument.format(root=root) for argument in arguments)]
    code = (
        "import atexit, sys, vireid.cli as c;"
        "atexit.register(lambda: print(*sys.modules, file=sys.stderr));"
        f"sys.exit(c.main({words!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = set(done.stderr.split())
    assert "vireid.data.check" in imported
    assert not imported & {"torch", "matplotlib", "pandas"}
