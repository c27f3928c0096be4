"""Ctrl-C and a full disk end every command in one line, and leave nothing half-written."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.app.people import photograph, write_gallery, write_run
from tests.helpers.stopping import Case, Ended, run_cases
from tests.helpers.trees import write_sysu

from vireid.cli.evaluate import _warn_of_unwritable
from vireid.features import load
from vireid.features.parquet import FeatureFile
from vireid.gallery import open_gallery
from vireid.runs import RunFolder

KEPT = "finished files are kept and none is half-written: run the same command again."
TRAIN = (
    "train dlis --layout sysu-mm01 --root tree --out {out} --backbone mobilenet_v2 --weights none"
    " --size 64 32 --stripes 2 --dim 8 --shared-from layer2 --identities 2 --images 2 --epochs 1"
    " --device cpu --no-cache"
)
STEP = "vireid.methods.dlis:hetero_center_loss"
SCORE = "score --query q.npz --gallery q.npz --exclude-own-camera --protocol plain"
ADAPT = "adapt run images --out adapted"
DETECT = "detect images/0.png --camera hall --out detected"
ABLATE = TRAIN.format(out="grid").replace("train", "ablate", 1)
EXPORT = "gallery export people --out people.parquet"
REPORT = "gallery search people --run run images/0.png --report search.html"
CASE = "gallery case report people bag --out case.html"
CASES = {
    "encode": Case(
        ["encode", "run", "images", "--out", "f.parquet", "--batch-size", "2"],
        "vireid.features.extract:_extract",
        2,
    ),
    "add": Case(
        ["gallery", "add", "new", "--run", "run", "images", "--batch-size", "2"],
        "vireid.gallery.gallery:Gallery.add",
        2,
    ),
    "search": Case(
        ["gallery", "search", "people", "--run", "run", "images/0.png"],
        "vireid.cli.gallery_search:search_gallery",
    ),
    "forget": Case(
        ["gallery", "forget", "copied", "--camera", "hall", "--yes"],
        "vireid.gallery.embedded:EmbeddedStore._rewrite_segments",
    ),
    "evaluate": Case(["evaluate", "run"], "vireid.cli.evaluate:extract_for"),
    "check": Case(["check", "sysu-mm01", "tree"], "vireid.data.check.images:tqdm"),
    "score": Case(SCORE.split(), "vireid.cli.score:score_features"),
    "leaderboard": Case(["leaderboard", "run"], "vireid.cli.leaderboard:read_entries"),
    "methods": Case(["methods"], "vireid.cli.methods:_shipped"),
    "synvi": Case(["synvi", "s"], "vireid.synvi.generate:prepare"),
    "export": Case(
        ["export", "run", "--format", "onnx", "--out", "e"], "vireid.cli.export:images_of_run"
    ),
    "adapt": Case(ADAPT.split(), "vireid.cli.adapt:inspect_image", 2),
    "detect": Case(DETECT.split(), "vireid.cli.detect:load_detector"),
    "ablate": Case(ABLATE.split(), "vireid.training.session:_build"),
    "demo": Case(["demo", "d"], "vireid.synvi.generate:claim"),
    "gallery export": Case(EXPORT.split(), "vireid.cli.gallery:_batches"),
    "report": Case(REPORT.split(), "vireid.cli.gallery_search:search_gallery"),
    "case report": Case(CASE.split(), "vireid.cli.gallery_case:_record"),
    "importing": Case(["check", "sysu-mm01", "tree"], "vireid.cli:import_module"),
    "train": Case(TRAIN.format(out="stopped").split(), STEP, 1),
    "train, twice": Case(TRAIN.format(out="twice").split(), STEP, 1, "interrupt twice"),
    "before training": Case(TRAIN.format(out="early").split(), "vireid.training.session:_build"),
    "full evaluate": Case(["evaluate", "run"], "vireid.cli.evaluate:extract_for", 1, "full"),
    "full score": Case(
        [*SCORE.split(), "--out", "r.json"], "vireid.cli.score:score_features", 1, "full"
    ),
    "full leaderboard": Case(
        ["leaderboard", "r0.json", "--out", "board"],
        "vireid.cli.leaderboard:boards_of",
        1,
        "full",
    ),
    "full check": Case(
        ["check", "sysu-mm01", "tree", "--json", "c.json"],
        "vireid.data.check.images:check_image",
        1,
        "full",
    ),
    "full sheet": Case(
        ["check", "sysu-mm01", "tree", "--sheet", "sheet.png"],
        "vireid.data.check:write_sheet",
        1,
        "full",
    ),
    "full adapt": Case(ADAPT.split(), "vireid.cli.adapt:_inspected", 1, "full"),
    "full detect": Case(DETECT.split(), "vireid.video.people:_claim", 1, "full"),
    "full journal": Case(
        DETECT.replace("detected", "begun").split(), "vireid.video.people:headers", 1, "full"
    ),
    "full ablate": Case(ABLATE.split(), "vireid.training.session:_build", 1, "full"),
    "full demo": Case(["demo", "d"], "vireid.synvi.generate:claim", 1, "full"),
    "full gallery export": Case(EXPORT.split(), "vireid.cli.gallery:_batches", 1, "full"),
    "full report": Case(REPORT.split(), "vireid.cli.gallery_search:write_atomic", 1, "full"),
    "full case report": Case(CASE.split(), "vireid.cli.gallery_case:write_atomic", 1, "full"),
    "full encode": Case(
        ["encode", "run", "images", "--out", "g.parquet"],
        "vireid.features.extract:_extract",
        1,
        "full",
    ),
    "full synvi": Case(["synvi", "s2"], "vireid.cli.synvi:require_renderer", 1, "full"),
    "full train": Case(TRAIN.format(out="full").split(), STEP, 1, "full"),
}


CASES |= {
    f"again {name}": Case(words, "vireid.cli:_app", fault="none")
    for name, words in {
        **{name: CASES[name].words for name in ("encode", "add", "forget")},
        "train": ["train", "--resume", "stopped", "--no-cache"],
    }.items()
}


NOWHERE = "/proc/nowhere/out"
"""A folder that nobody can create."""
CASES |= {
    f"nowhere, {words.partition(' {out}')[0]}": Case(
        words.format(out=NOWHERE).split(),
        work or "vireid.cli:_app",
        fault=("interrupt" if work else "none"),
    )
    for words, work in {
        "gallery export people --out {out}.parquet": "",
        "encode run images --out {out}.parquet": "vireid.cli.encode:_encode",
        "encode run images --shard-rows 2 --out {out}": "vireid.cli.encode:_encode",
        "check sysu-mm01 tree --json {out}.json": "",
        SCORE + " --out {out}.json": "",
        "synvi {out} --layout video": "vireid.synvi.generate:prepare",
        "demo {out}": "vireid.synvi.generate:prepare",
        "adapt run images --out {out}": "vireid.cli.adapt:list_images",
        "adapt run --layout sysu-mm01 --root tree --out {out}": "vireid.cli.adapt:adapt_run",
        "detect images/0.png --camera hall --out {out}": "vireid.cli.detect:load_detector",
        "evaluate run --out {out}": "vireid.cli.evaluate:load",
        "export run --format onnx --out {out}": "vireid.cli.export:images_of_run",
        TRAIN: "vireid.training.session:_build",
        ABLATE.replace("grid", "{out}"): "vireid.cli.ablate:protocols_for",
    }.items()
}
"""Where the result is files only, they are refused before the work, at which Ctrl-C would come."""


@pytest.fixture(scope="module", autouse=True)
def interruptible() -> Iterator[None]:
    """Let Ctrl-C interrupt although a shell that runs the tests in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stopping")
    tree = write_sysu(folder / "tree", images=2)
    run = write_run(folder / "run", root=tree)
    (folder / "images").mkdir()
    for person in range(6):
        (folder / f"images/{person}.png").write_bytes(photograph(person))
    write_gallery(folder / "people", load(run), files=folder / "files")
    shutil.copytree(folder / "people", folder / "copied")
    with open_gallery(folder / "people", write=True) as gallery:
        gallery.cases.create("bag", by="Ada")
    rng = np.random.default_rng(0)
    np.savez(
        folder / "q.npz",
        features=rng.standard_normal((8, 4)),
        identities=np.arange(8) // 2,
        cameras=np.arange(8) % 2,
    )
    return folder


@pytest.fixture(scope="module")
def ended(folder: Path) -> dict[str, Ended]:
    scored = subprocess.run(
        [sys.executable, "-m", "vireid", *SCORE.split(), "--out", "r0.json"],
        cwd=folder,
        capture_output=True,
        check=False,
    )
    assert scored.returncode == 0, scored.stderr.decode()
    return dict(zip(CASES, run_cases(list(CASES.values()), folder), strict=True))


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, case in CASES.items()
        if case.fault.startswith("interrupt") and NOWHERE not in " ".join(case.words)
    ],
)
def test_ctrl_c_ends_in_one_line(ended: dict[str, Ended], name: str) -> None:
    status, _, err = ended[name]
    assert status == 130, err
    assert "Traceback" not in err
    last = err.splitlines()[-1]
    expected = {
        "encode": "interrupted; the features so far are kept; to resume, run the command for",
        "add": "interrupted; 2 new images are in 'new'; run the same command again to continue.",
        "forget": "interrupted; some entries may be left: run the same command again to finish.",
        "synvi": r"interrupted; 0 of [0-9]+ images are rendered; the same command continues.",
        "ablate": "interrupted; run the same `vireid ablate` again to continue the grid in 'grid'.",
        "train": "Stopped; continue with `vireid train --resume stopped`.",
        "train, twice": "interrupted; the checkpoints are kept: continue with",
    }.get(name, f"interrupted; {KEPT}")
    assert re.match("(vireid: )?" + expected, last)
    if not name.startswith("train"):
        assert err.count("interrupted") == 1


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name].fault == "full"])
def test_a_full_disk_ends_in_one_line(ended: dict[str, Ended], name: str) -> None:
    status, _, err = ended[name]
    assert status == 2, err
    assert "Traceback" not in err
    last = err.splitlines()[-1]
    assert re.match(r"vireid: .*'.+' (cannot|could not) be .*\(File too large\); .+\.$", last)
    assert ".tmp" not in last


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("nowhere")])
def test_a_folder_that_cannot_be_created_ends_in_one_line(
    ended: dict[str, Ended], name: str
) -> None:
    status, _, err = ended[name]
    assert status == 2, err
    assert "Traceback" not in err
    last = err.splitlines()[-1]
    assert last.startswith("vireid: ")
    assert f"'{NOWHERE}" in last or f"'{Path(NOWHERE).parent}'" in last
    assert last.endswith(".")


def test_evaluate_warns_of_results_that_cannot_be_saved(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _warn_of_unwritable(Path(NOWHERE))
    assert capsys.readouterr().err == (
        f"WARNING: '{NOWHERE}' cannot be read or written (No such file or directory); check the"
        " path and its disk, or the results will only be printed.\n"
    )


def test_figures_are_printed_before_files_are_written(ended: dict[str, Ended]) -> None:
    for name in ("evaluate", "score", "leaderboard", "check", "sheet", "report"):
        assert len(ended[f"full {name}"].out.splitlines()) > 5


def test_nothing_is_left_half_written(ended: dict[str, Ended], folder: Path) -> None:
    assert not list(folder.rglob(".*.tmp"))
    files = "r.json c.json sheet.png people.parquet search.html case.html s/synvi.json"
    for name in (*files.split(), "board", "run/results", "d/synvi", "adapted", "e", "detected"):
        assert not list(folder.glob(f"{name}/*")), name
        assert not (folder / name).is_file(), name


def test_what_was_kept_is_used_again(ended: dict[str, Ended], folder: Path) -> None:
    again = [one for name, one in ended.items() if name.startswith("again")]
    assert [one.status for one in again] == [0] * 4
    encoded, added, _, _ = (one.out for one in again)
    assert "6 images (2 from an earlier run)" in encoded
    assert FeatureFile(folder / "f.parquet").rows == 6
    assert "holds 6 entries: 4 new; 2 were already there." in added
    with open_gallery(folder / "copied") as gallery:
        assert "hall" not in gallery.count_by("camera")
        assert gallery.verify().passed
    assert RunFolder(folder / "stopped").model_file.exists()


@pytest.mark.parametrize(
    ("redirected", "status", "expected"),
    [
        (
            "{score} >/dev/full",
            2,
            "vireid: standard output cannot be read or written (No space left",
        ),
        (
            "--help >/dev/full",
            2,
            "vireid: standard output cannot be read or written (No space left",
        ),
        ("{score} >&-", 0, ""),
        ("--help | true", 141, ""),
        ("{score} 2>&- >/dev/null", 0, ""),
    ],
)
def test_an_output_that_cannot_be_written(
    folder: Path, redirected: str, status: int, expected: str
) -> None:
    command = f"set -o pipefail; {sys.executable} -m vireid {redirected.format(score=SCORE)}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == status
    assert done.stderr.startswith(expected)
    assert len(done.stderr.splitlines()) == bool(expected)


def test_an_output_in_ascii(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "vireid", "check", "sysu-mm01", "Zoë"],
        cwd=folder,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert r"'Zo\xeb' does not exist" in done.stdout


INTERRUPTED_LOCK = """
import os, signal, threading
from functools import partial
from types import SimpleNamespace
from vireid.cli import _prepare_interrupt

happened = []
condition = threading.Condition(SimpleNamespace(
    acquire=None,
    release=None,
    __enter__=partial(os.kill, os.getpid(), signal.SIGINT),
    __exit__=lambda *_: happened.append("released"),
))
signal.signal(signal.SIGINT, signal.default_int_handler)
_prepare_interrupt()
try:
    with condition:
        happened.append("entered")
        threading.Event().wait(60)
except KeyboardInterrupt:
    print(*happened)
"""


def test_ctrl_c_while_a_lock_is_acquired_waits_until_it_can_be_released() -> None:
    """Otherwise a worker thread waits for that lock for ever, and the command for the thread."""
    # In a process of its own, which a signal that comes late may end.
    words = [sys.executable, "-c", INTERRUPTED_LOCK]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    assert done.stdout == "entered released\n", done.stderr
