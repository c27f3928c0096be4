"""anny writes its cache in place; that must survive a kill and two processes at once."""

import multiprocessing
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from vireid.synvi.body import build_cached

SIZE = 2_000_000


class Builder:
    """Builds as anny does: reads the file if it is there, otherwise writes it in place."""

    def __init__(self, cache: Path) -> None:
        self.file = cache / "v1" / "model.safetensors"
        self.built = 0

    def __call__(self) -> float:
        if not self.file.exists():
            self.built += 1
            self.file.parent.mkdir(exist_ok=True)
            save_file({"x": np.arange(SIZE, dtype=np.float32)}, self.file)
        return float(load_file(self.file)["x"].sum())


def test_what_a_kill_left_is_built_anew(tmp_path: Path) -> None:
    build = Builder(tmp_path)
    whole = build_cached(build, tmp_path)
    data = build.file.read_bytes()
    for left in (data[:-1], data[: len(data) // 2], data[:4], b""):
        build.file.write_bytes(left)
        assert build_cached(build, tmp_path) == whole
        assert build.file.read_bytes() == data
    assert build.built == 5
    assert build_cached(build, tmp_path) == whole
    assert build.built == 5


class Slow(Builder):
    """Leaves half a file to be seen for a while."""

    def __call__(self) -> float:
        if not self.file.exists():
            self.file.parent.mkdir(exist_ok=True)
            self.file.write_bytes(b"half")
            time.sleep(0.5)  # the window that another process must not look into
            save_file({"x": np.ones(8, dtype=np.float32)}, self.file)
        return float(load_file(self.file)["x"].sum())


def _build(cache: Path) -> float:
    return build_cached(Slow(cache), cache)


def test_two_processes_at_once(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        assert pool.map(_build, [tmp_path] * 3, chunksize=1) == [8.0] * 3
