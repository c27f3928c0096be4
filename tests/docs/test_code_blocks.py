"""Every block of README and docs, and every cell of the notebooks, runs on tiny data.

A page's blocks run in order in one folder, in this process. Words such as DIR and RUN stand for
what :func:`world` writes there. A block that cannot run here says so in the line before it:
``<!-- not run: REASON -->``. A Python block that begins with ``# NAME.py`` is saved as that file.
A notebook runs in this process too: starting a kernel takes longer than its cells. Backbones are
shallow, each network is traced once, and figures are not rendered: other tests do.
"""

from __future__ import annotations

import ast
import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from tests.helpers.exports import shallow_resnets, traced_networks_kept
from tests.helpers.figures import figures_not_rendered
from tests.helpers.models import install_model
from tests.helpers.pandas_stand_in import install_pandas
from tests.helpers.trees import write_folders, write_image, write_manifest, write_regdb, write_sysu
from tests.helpers.videos import walking_portrait, write_video

from vireid.cli import main
from vireid.synvi.presets import PRESETS, Preset
from vireid.synvi.video import VIDEO_PRESETS, VideoPreset

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").rglob("*.md")))
NOTEBOOKS = sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").rglob("*.ipynb"))
RUNNABLE = ("sh", "python")

TRAIN = [
    *("--backbone", "resnet18", "--weights", "none", "--size", "64", "32", "--epochs", "1"),
    *("--identities", "2", "--images", "2", "--device", "cpu"),
]
STRIPED = ["--stripes", "2", "--dim", "8", "--shared-from", "layer2"]
"""Options that make a training tiny; of an option given twice, the last one counts."""


class Block(NamedTuple):
    language: str
    code: str
    line: int
    reason: str
    """Why it is not run; empty where it is."""


def blocks(page: str) -> Iterator[Block]:
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    at = 0
    while at < len(lines):
        if lines[at].startswith("```"):
            end = lines.index("```", at + 1)
            said = re.fullmatch(r"<!-- not run: (.+) -->", lines[at - 1]) if at else None
            code = "\n".join(lines[at + 1 : end])
            yield Block(lines[at][3:].strip(), code, at + 1, said[1] if said else "")
            at = end
        at += 1


def runnable(page: str) -> list[Block]:
    return [b for b in blocks(page) if b.language in RUNNABLE and not b.reason]


@pytest.mark.parametrize("page", PAGES)
def test_blocks_are_fenced_and_name_their_language(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    outside = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    assert not re.findall(r"(?:\A|\n)\n {4}\S.*", outside)
    assert {b.language for b in blocks(page)} <= {*RUNNABLE, "text", "csv"}


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with shallow_resnets(), traced_networks_kept(), figures_not_rendered():
        yield


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("trees")
    return {
        "sysu-mm01": write_sysu(folder / "sysu"),
        "regdb": write_regdb(folder / "regdb", trials=range(1, 11)),
        "folders": write_folders(folder / "folders"),
        "manifest": write_manifest(folder / "manifest"),
    }


@pytest.fixture(scope="module")
def trained(trees: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the tiny SYSU-MM01, evaluated."""
    run = tmp_path_factory.mktemp("runs") / "RUN"
    words = ["train", "dlis", "--layout", "sysu-mm01", "--root", str(trees["sysu-mm01"])]
    assert main([*words, *TRAIN, *STRIPED, "--out", str(run)]) == 0
    assert main(["evaluate", str(run), "--no-figures"]) == 0
    return run


@pytest.fixture(scope="module")
def installed(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package of models, in which the run is the default model."""
    with pytest.MonkeyPatch.context() as patch:
        site = install_model(trained, tmp_path_factory.mktemp("site"), patch).parents[1]
    detector = ROOT / "models/src/vireid_models/nanodet"
    shutil.copytree(detector, site / "vireid_models/nanodet")
    return site


@pytest.fixture
def world(
    trees: dict[str, Path],
    trained: Path,
    installed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """The folder a page's blocks run in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(installed)
    for name in ("RUN", "RUN_A", "RUN_B"):
        shutil.copytree(trained, tmp_path / name)
    rng = np.random.default_rng(0)
    for camera, folder in ((1, "day"), (3, "night")):
        (tmp_path / folder).mkdir()
        for number in range(3):
            file = tmp_path / folder / f"{number}.jpg"
            write_image(file, identity=number, camera=camera, grey=camera == 3, rng=rng)
    for name, camera in (("query", 3), ("night", 3), ("day", 1)):
        file = tmp_path / f"{name}.png"
        write_image(file, identity=0, camera=camera, grey=camera == 3, rng=rng)
    for name in ("day", "night"):
        write_video(tmp_path / f"{name}.mp4", walking_portrait(12, grey=name == "night"))
    identities = np.repeat([1, 2, 3], 2)
    for name, cameras in (("q", [3, 6]), ("g", [1, 2])):
        features = rng.normal(size=(6, 8)).astype(np.float32)
        np.savez(f"{name}.npz", features=features, identities=identities, cameras=cameras * 3)
    return tmp_path


@pytest.fixture
def few_people(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let SynVI's presets be of a few people."""
    small = {
        "sysu-mm01": Preset("tiny", train=2, val=1, test=2, images=(1, 1, 2, 1, 1, 2), scale=0.4),
        "regdb": Preset("tiny", train=2, val=0, test=2, images=(2, 2)),
        "worlds": Preset("tiny", 1, 1, 1, (1, 1, 1, 1, 1, 1), scale=0.4, oversampling=1),
    }
    for layout, name in PRESETS:
        monkeypatch.setitem(PRESETS, (layout, name), small[layout])
    monkeypatch.setitem(VIDEO_PRESETS, "demo", VideoPreset("tiny", 2, 1.0, fps=1.0, size=(45, 80)))


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_every_notebook_runs(notebook: str, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_pandas(monkeypatch)
    names: dict[str, object] = {}
    for cell in json.loads((ROOT / notebook).read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
            show("".join(cell["source"]), names)


def show(code: str, names: dict[str, object]) -> None:
    """Run a cell, and display its last expression as Jupyter does."""
    tree = ast.parse(code)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    if last is not None:
        value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)  # type: ignore[attr-defined]
        getattr(value, "_repr_html_", value.__repr__)()


def logical_lines(code: str) -> Iterator[str]:
    for line in code.replace("\\\n", " ").splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            yield line


def run_shell(line: str, trees: dict[str, Path]) -> None:
    words = shlex.split(line, comments=True)
    assert words, line
    assert words.pop(0) in ("vireid", ".venv/bin/vireid"), f"only vireid is run here: {line}"
    layout = next((name for name in trees if name in words), "sysu-mm01")
    places = {"DIR": trees[layout], "DATA": trees[layout], "people.csv": trees["manifest"]}
    words = [str(places.get(word, word)) for word in words]
    words = [found for word in words for found in expanded(word)]
    if words[0] in ("train", "ablate") and not {"--help", "--resume"} & set(words):
        words += TRAIN + (STRIPED if words[1].startswith(("dlis", "tslfn")) else [])
    try:
        status = main(words)
    except SystemExit as left:
        status = int(left.code or 0)
    assert status == 0, line


def expanded(word: str) -> list[str]:
    """File names that a shell would put in the place of a pattern."""
    if "*" in word and not word.startswith("-"):
        return sorted(str(path) for path in Path().glob(word)) or [word]
    return [word]


@pytest.mark.parametrize("page", [page for page in PAGES if runnable(page)])
def test_every_block_runs(page: str, world: Path, few_people: None, trees: dict[str, Path]) -> None:
    names: dict[str, object] = {}
    for block in runnable(page):
        if block.language == "sh":
            for line in logical_lines(block.code):
                run_shell(line, trees)
        else:
            if file := re.match(r"# (\w+\.py)\n", block.code):
                Path(file[1]).write_text(block.code + "\n")
                continue
            code = block.code.replace('Path("DIR")', f"Path({str(trees['regdb'])!r})")
            exec(compile(code, f"{page}:{block.line}", "exec"), names)
