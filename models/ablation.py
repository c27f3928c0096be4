"""``python models/ablation.py WORK [ROWS...]``: what each part of `synvi-lite0`'s recipe brings.

A smaller training than that of `build.sh`: 800 people in 32 worlds at 96x48, 1,920 steps of 60
images. Each row leaves out one part, and is evaluated on people, cameras and forms that no row was
trained on. The table is printed at the end; what is finished is kept, so a second call continues,
and calls for different rows may run beside each other.
"""

from __future__ import annotations

import csv
import fcntl
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Annotated
from unittest.mock import patch

import numpy as np
import tyro

from vireid.evaluation import Result
from vireid.evaluation.markdown import markdown_table
from vireid.files import write_atomic
from vireid.log import echo
from vireid.synvi import generate, presets
from vireid.synvi.outfit import COLOURFUL
from vireid.synvi.worlds import BANDS

EPOCHS = 6
WORLDS = replace(
    presets.PRESETS["worlds", "pretrain"], name="ablation", train=800, val=25, test=150
)
FEW_TESTS = replace(WORLDS, val=0, test=25)  # a tree that is only trained on


@dataclass(frozen=True, slots=True)
class Row:
    """One training.

    Attributes:
        recipe: Name of the recipe.
        options: Options of `vireid train` beside those of all rows.
        tree: Worlds that it is trained on.
        bands: Bands of the images that it is trained on.
        epochs: Number of epochs; without thermal images an epoch has fewer steps.
        seed: Seed of the training.
        size: Input size.
    """

    recipe: str = "dlis-transfer-cpu"
    options: tuple[str, ...] = ()
    tree: str = "worlds"
    bands: tuple[str, ...] = ("visible", "near-infrared", "thermal")
    epochs: int = EPOCHS
    seed: int = 0
    size: tuple[int, int] = (96, 48)


_FROZEN = ("--feature", "pooled", "--frozen", "layer4", "--frozen-norms")
ROWS = {
    "imagenet": Row(options=_FROZEN, epochs=1),
    **{f"transfer-{seed}": Row(seed=seed) for seed in range(3)},
    "clothing": Row(tree="clothing"),
    "cameras": Row(tree="cameras"),
    "no-thermal": Row(bands=("visible", "near-infrared"), epochs=9),
    "other-recipe": Row("dlis-strong-cpu"),
    **{
        f"demo-{seed}": Row("dlis-strong-cpu", tree="demo", epochs=10, seed=seed, size=(144, 72))
        for seed in range(3)
    },
}
"""The trainings: `clothing` without the muted colours of the street, `cameras` with the same six
cameras in every world, `other-recipe` with that of `make demo`, `demo` also with its people."""

TESTS = ("near-infrared", "thermal", "regdb", "sysu-mm01")


@contextmanager
def _variant(tree: str) -> Iterator[None]:
    """While it lasts, worlds are planned without one part; in this process only."""
    draw = presets.Plan.rng

    def same_cameras(plan: presets.Plan, *key: int) -> np.random.Generator:
        return draw(plan, key[0], key[1] % len(BANDS)) if key[0] == 7 else draw(plan, *key)

    with ExitStack() as stack:
        if tree == "clothing":
            stack.enter_context(patch.object(presets, "STREET", COLOURFUL))
        elif tree == "cameras":
            stack.enter_context(patch.object(presets.Plan, "rng", same_cameras))
        yield


def _render(work: Path, tree: str) -> Path:
    """The images of a tree, rendered unless another call has done it."""
    out = work / tree
    work.mkdir(parents=True, exist_ok=True)
    with (work / f".{tree}.lock").open("w") as lock, _variant(tree):
        fcntl.flock(lock, fcntl.LOCK_EX)
        match tree:
            case "regdb":
                generate.render(out, layout="regdb", preset="standard", seed=1, workers=1)
            case "demo" | "sysu-mm01":
                seed = int(tree != "demo")  # others than those of the row `demo`
                generate.render(out, layout="sysu-mm01", preset="demo", seed=seed, workers=1)
            case _:
                preset = WORLDS if tree == "worlds" else FEW_TESTS
                generate.render(out, layout="worlds", preset=preset, seed=0, workers=1)
    return out


def _select(tree: Path, bands: tuple[str, ...], split: str) -> Path:
    """A manifest of the images of some bands and one split (``train`` with its ``val``)."""
    file = tree / f"{split}-{'-'.join(bands)}.csv"
    splits = ("train", "val") if split == "train" else (split,)
    with (tree / "manifest.csv").open(newline="") as source:
        rows = [
            row for row in csv.DictReader(source) if row["band"] in bands and row["split"] in splits
        ]
    lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)]
    write_atomic(file, ("\n".join(lines) + "\n").encode())
    return file


def _vireid(*arguments: str | int | Path) -> None:
    subprocess.run([sys.executable, "-m", "vireid", *map(str, arguments)], check=True)


def _train(work: Path, name: str) -> Path:
    row, run = ROWS[name], work / "runs" / name
    if (run / "model.safetensors").is_file():
        return run
    if (run / "checkpoints").is_dir():
        _vireid("train", "--resume", run)
        return run
    root, layout = _render(work, row.tree), "sysu-mm01"
    if row.tree != "demo":
        root, layout = _select(root, row.bands, "train"), "manifest"
    _vireid(
        *("train", row.recipe, "--layout", layout, "--root", root, "--out", run),
        *("--seed", row.seed, "--epochs", row.epochs, "--size", *row.size),
        *("--precision", "bf16-mixed", *row.options),
    )
    return run


def _evaluate(work: Path, run: Path) -> dict[str, str]:
    """Rank-1 / mAP in percent by test data, the mean over both directions."""
    scores = run / "scores.json"
    if not scores.is_file():
        found = {}
        shutil.rmtree(run / "results", ignore_errors=True)  # of an interrupted call
        for test in TESTS:
            if test in BANDS:
                root = _select(_render(work, "worlds"), ("visible", test), "test")
            else:
                root = _render(work, test)
            layout = "manifest" if test in BANDS else test
            before = set(run.glob("results/*.json"))
            _vireid("evaluate", run, "--layout", layout, "--root", root, "--no-figures")
            results = [Result.load(file) for file in set(run.glob("results/*.json")) - before]
            rank_1 = fmean(100 * result.cmc(1).mean for result in results)
            mean_ap = fmean(100 * result.mean_ap.mean for result in results)
            found[test] = f"{rank_1:.1f} / {mean_ap:.1f}"
        write_atomic(scores, json.dumps(found).encode())
    return dict(json.loads(scores.read_text()))


def ablation(
    work: Annotated[Path, tyro.conf.Positional],
    rows: Annotated[tuple[str, ...], tyro.conf.Positional] = (),
    /,
) -> None:
    """Train and evaluate the rows, and print a table.

    Args:
        work: Folder of the images and runs.
        rows: Names of the rows; all of them by default.
    """
    names = rows or tuple(ROWS)
    scores = {name: _evaluate(work, _train(work, name)) for name in names}
    lines = [["row", *scores[names[0]]], *([name, *scores[name].values()] for name in names)]
    echo(markdown_table(lines, left=1))


if __name__ == "__main__":
    tyro.cli(ablation)
