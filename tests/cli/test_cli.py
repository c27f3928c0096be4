"""The README's commands on the published layouts, and errors that users can fix."""

import inspect
import json
import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch
import torchvision.models as tv
from tests.helpers.trees import write_regdb, write_sysu

from vireid.cli import COMMANDS, main
from vireid.evaluation import Result
from vireid.runs import RunFolder

REGDB = "published-split-all-test-images"
SHORT = ["--size", "96", "48", "--epochs", "1", "--identities", "2", "--images", "2"]


@pytest.fixture(scope="module")
def regdb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A path that contains "cam", a space and letters beyond ASCII."""
    return write_regdb(tmp_path_factory.mktemp("cam 1 Überwachung") / "RegDB")


def test_regdb_from_imagenet_weights_in_a_file(
    regdb: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    weights, out = tmp_path / "mobilenet_v2.pth", tmp_path / "run"
    torch.save(tv.mobilenet_v2().state_dict(), weights)
    words = f"train dlis-strong --layout regdb --trial 2 --backbone mobilenet_v2 --out {out}"
    given = [*words.split(), "--root", str(regdb), "--weights", str(weights), *SHORT]
    assert main(given) == 0
    assert main(["evaluate", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "RegDB trial 2, visible to thermal" in printed
    assert "RegDB trial 2, thermal to visible" in printed
    assert re.search(r"\| chance +\| +25\.00", printed)
    for name in ("visible-to-thermal", "thermal-to-visible"):
        result = Result.load(out / "results" / f"regdb-trial-2-{name}-{REGDB}.json")
        assert result.about["backbone"] == "mobilenet_v2"
        assert len(result.trials) == 1


def test_sysu_in_the_official_protocol(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, out = write_sysu(tmp_path / "sysu"), tmp_path / "run"
    words = "train dlis --layout sysu-mm01 --backbone mobilenet_v2 --weights none"
    given = [*words.split(), "--precision", "bf16-mixed", "--root", str(root), "--out", str(out)]
    assert main([*given, *SHORT]) == 0
    moved = shutil.move(root, tmp_path / "elsewhere")
    assert main(["evaluate", str(out)]) == 2
    assert str(root) in capsys.readouterr().err
    assert main(["evaluate", str(out), "--root", str(moved)]) == 0
    assert "all-search single-shot" in capsys.readouterr().out
    (saved,) = (out / "results").glob("*.json")
    assert len(json.loads(saved.read_text())["trials"]) == 10
    # Resuming takes the folder and the device too, and config.yaml then names the folder.
    model = (out / "model.safetensors").read_bytes()
    (out / "model.safetensors").unlink()
    assert main(["train", "--resume", str(out)]) == 2
    assert f"'{root}' does not exist" in capsys.readouterr().err
    assert main(["train", "--resume", str(out), "--root", str(moved), "--device", "cpu"]) == 0
    assert (out / "model.safetensors").read_bytes() == model
    assert RunFolder(out).read_config().data.root == moved


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("train dlis --layout regdb --root nowhere --out x", ["nowhere' does not exist"]),
        (
            "train dlis --layout regdb --root {regdb} --out x --stripes 50",
            ["'50' stripes", "--size"],
        ),
        ("train dlis --layout regdb --root {regdb} --out x --trial 11", ["11", "10"]),
        (
            "train dlis --layout regdb --root {regdb} --out x --weights none --backbone resnet18 "
            "--identities 99",
            ["99", "--identities"],
        ),
        ("train dlis --layout regdb --root {regdb} --out x --weights a.pth", ["'a.pth'"]),
        (
            "train dlis --layout regdb --root {regdb} --out x --weights {pointer} --backbone "
            "resnet18 --identities 2 --images 2",
            ["it is a Git LFS pointer", "expected weights (a safetensors file", "git lfs pull"],
        ),
        (
            "train dlis --layout regdb --root {regdb} --out x --weights none --device cuda",
            ["--device 'cuda' needs a GPU"],
        ),
        (
            "train dlis-gpu --out x",
            ["'dlis-gpu' is no recipe", "tslfn-strong, dlis, dlis-strong, dlis-transfer,"],
        ),
        ("train --layout regdb --root {regdb}", ["'--layout' is no recipe", "train --resume RUN"]),
        ("train", ["'' is no recipe"]),
        ("evaluate --run nowhere", ["'nowhere' is no run folder"]),
        ("encode --run nowhere {regdb} --out a.parquet", ["'nowhere' is no run folder"]),
        ("export --format onnx --out a --run nowhere", ["'nowhere' is no run folder"]),
        ("train --resume nowhere", ["'nowhere' is no run folder"]),
        ("evaluate nowhere", ["'nowhere' is no run folder"]),
    ],
)
def test_an_error_that_the_user_can_fix_is_one_sentence(
    words: str,
    expected: list[str],
    regdb: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    pointer = regdb.parent / "pointer.pth"
    pointer.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n")
    assert main([word.format(regdb=regdb, pointer=pointer) for word in words.split()]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("vireid: ")
    for part in expected:
        assert part in error
    assert list(tmp_path.iterdir()) == []


def test_the_summary_of_a_command_is_the_first_line_of_its_docstring() -> None:
    for name, summary in COMMANDS.items():
        module = import_module(f"vireid.cli.{name}")
        if not hasattr(module, "app"):
            first = inspect.getdoc(getattr(module, name)).split("\n\n")[0]  # type: ignore[union-attr]
            assert " ".join(first.split()) == summary


@pytest.mark.parametrize(
    ("code", "slow"),
    [
        ("import vireid.cli as c; c.main(['--help'])", ["torch", "matplotlib"]),
        ("import vireid.cli as c; c.main(['check', 'regdb', 'nowhere'])", ["torch", "matplotlib"]),
        ("import vireid.cli as c; c.main(['methods'])", ["torch", "matplotlib"]),
        ("import vireid.cli as c; c.main(['gallery', 'info', 'nowhere'])", ["torch", "matplotlib"]),
        ("import vireid.cli as c; c.main(['score', '--query', 'q.npz'])", ["torch", "matplotlib"]),
        ("import vireid.features", ["torchvision", "torch._dynamo", "lightning_fabric"]),
    ],
)
def test_slow_packages_are_imported_on_demand(code: str, slow: list[str]) -> None:
    ended = f"import atexit, sys; atexit.register(lambda: print(*sys.modules)); {code}"
    done = subprocess.run([sys.executable, "-c", ended], capture_output=True, text=True, check=True)
    assert "vireid" in done.stdout.split()
    assert not set(slow) & set(done.stdout.split())


def test_an_unknown_command_lists_all_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["trian"])
    said = capsys.readouterr()
    for word in ("trian", *COMMANDS):
        assert word in said.out + said.err


def test_help_names_every_choice() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "vireid", "train", "dlis-strong", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    for flag in ("--layout", "--root", "--trial", "--backbone", "--weights", "--size", "--epochs"):
        assert flag in done.stdout
    for flag in ("--out", "--palm", "--shared-from", "--stripes", "--precision", "--seed"):
        assert flag in done.stdout
