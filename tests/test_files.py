from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from vireid.files import clear_temporaries, held, locked, write_atomic


def test_writes_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "ü file.json"
    assert write_atomic(path, b"one") == path
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert os.listdir(path.parent) == [path.name]  # noqa: PTH208


def test_respects_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        path = write_atomic(tmp_path / "x", b"")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failure_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = write_atomic(tmp_path / "x", b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(*((os, "fsync", full) if step == "fsync" else (Path, "replace", full)))
        with pytest.raises(OSError, match="No space"):
            write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    with pytest.raises(OSError, match="x"):
        write_atomic(tmp_path / "x" / "y", b"")


def test_leftovers_of_a_kill_are_cleared_and_nothing_else(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a" / "x.json", b"kept")
    (tmp_path / ".hidden").write_bytes(b"kept")
    (tmp_path / "a" / ".x.json.12-ab.tmp").write_bytes(b"half")
    assert clear_temporaries(tmp_path) == 1
    assert clear_temporaries(tmp_path) == 0
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == [".hidden", "x.json"]


def test_a_held_folder_is_refused_to_others(tmp_path: Path) -> None:
    with held(tmp_path), pytest.raises(BlockingIOError, match=r"is locked"), held(tmp_path):
        pass
    with held(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_lock_file_that_is_removed_between_opening_and_locking_is_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "lock"
    removed: list[int] = []
    flock = fcntl.flock

    def slow(fd: int, how: int) -> None:
        # Meanwhile the holder ends, and removes the file that this process has just opened.
        if not removed:
            removed.append(file.stat().st_ino)
            file.unlink()
        flock(fd, how)

    monkeypatch.setattr(fcntl, "flock", slow)
    with locked(file):
        assert removed
        assert file.exists()
        with pytest.raises(BlockingIOError, match="is locked"), locked(file):
            pass
    assert list(tmp_path.iterdir()) == []
