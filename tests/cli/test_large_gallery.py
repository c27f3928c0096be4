"""A gallery is filled from shards despite any kill: nothing is lost, nothing is added twice."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from vireid.cli import main
from vireid.features import ExtractedBatch
from vireid.features.parquet import write_features
from vireid.gallery import open_gallery
from vireid.gallery._about import read_about
from vireid.types import ImageInfo, IndexedImage, Modality, ModelInfo

MODEL = ModelInfo("synthetic", 8)
ROWS, SHARD = 30, 10


def value_of(number: int) -> np.ndarray:
    value = np.random.default_rng(number).normal(size=MODEL.dimension).astype(np.float32)
    return value / np.linalg.norm(value)


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Three shards of ten synthetic images."""
    folder = tmp_path / "shards"
    folder.mkdir()
    for shard in range(ROWS // SHARD):
        numbers = range(shard * SHARD, (shard + 1) * SHARD)
        batch = ExtractedBatch(
            tuple(
                IndexedImage(
                    ImageInfo(
                        path=Path(f"/{number}.jpg"),
                        modality=modality,
                        sha256=hashlib.sha256(b"%d" % number).hexdigest(),
                    ),
                    value_of(number),
                    b"x",
                )
                for number, modality in zip(numbers, list(Modality) * SHARD, strict=False)
            )
        )
        write_features(folder / f"{shard:08}.parquet", [batch], MODEL)
    plan = {"images": ROWS, "listed": "0", "shard_rows": SHARD, "model": asdict(MODEL)}
    (folder / "shards.json").write_text(json.dumps(plan))
    return folder


KILLING = """
import json, os, signal, sys
import vireid.cli.gallery as verbs
from vireid.cli import main
from vireid.gallery import Gallery
from vireid.types import ImageInfo, ModelInfo

def run(place, moment):
    # In a child process, which is killed around its n-th call.
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        added = os.read(reading, 1000).split()
        while more := os.read(reading, 1000).split():
            added += more
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), sum(map(int, added))
    verbs.EXACT_UP_TO = 5
    add, index, calls = Gallery.add, Gallery.index, []

    def adding(gallery, rows):
        calls.append(rows)
        if moment == f"before-{len(calls)}":
            os.kill(os.getpid(), signal.SIGKILL)
        added = add(gallery, rows)
        os.write(writing, f"{added.new} ".encode())
        if moment == f"after-{len(calls)}":
            os.kill(os.getpid(), signal.SIGKILL)
        return added

    def indexing(gallery):
        if moment == "before-index":
            os.kill(os.getpid(), signal.SIGKILL)
        index(gallery)
        if moment == "after-index":
            os.kill(os.getpid(), signal.SIGKILL)

    Gallery.add, Gallery.index = adding, indexing
    sys.stdout = open(os.devnull, "w")
    os._exit(main(["gallery", "add", place, "--encoded", sys.argv[1]]))

print(json.dumps([[run(f, m), run(f, "")] for m, f in map(str.split, sys.argv[2:], "=" * 99)]))
"""


def test_a_kill_anywhere_loses_nothing_and_repeats_nothing(shards: Path, tmp_path: Path) -> None:
    kept = {"before-1": 0, "before-2": 10, "after-2": 20, "before-index": 30, "after-index": 30}
    words = [f"{moment}={tmp_path / moment}" for moment in kept]
    done = subprocess.run(
        [sys.executable, "-c", KILLING, str(shards), *words],
        capture_output=True,
        text=True,
        check=True,
    )
    for moment, (killed, second) in zip(kept, json.loads(done.stdout), strict=True):
        assert killed == [-signal.SIGKILL, kept[moment]]
        assert second == [0, ROWS - kept[moment]]
        with open_gallery(tmp_path / moment) as gallery:
            rows = {int(Path(row.info.name).stem): row for row in gallery.rows()}
            assert gallery.count() == ROWS
        assert sorted(rows) == list(range(ROWS))
        assert all(np.allclose(row.feature, value_of(n)) for n, row in rows.items())
        # Even if the kill came before the graph was begun.
        assert read_about(tmp_path / moment).graph


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--encoded {shards} --part 4/3", "--part '4/3' is no part; expected I/N"),
        ("--encoded {shards}/00000000.parquet --part 1/2", "selects shards of a folder, but"),
        ("--part 1/2", "selects shards of a folder of features; expected"),
        ("--encoded {shards}/..", "has no shards.json; expected a folder"),
    ],
)
def test_user_errors(
    words: str, expected: str, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = str(tmp_path / "people")
    assert main(["gallery", "add", place, *words.format(shards=shards).split()]) == 2
    assert expected in capsys.readouterr().err
    assert not Path(place).exists()
