from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest
from tests.helpers.full_disk import run_on_small_disk

from vireid.files import clear_temporaries, held, locked, require_writable, write_atomic


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


@pytest.mark.parametrize("folder", [False, True])
def test_what_can_be_written_is_accepted_and_nothing_is_left(tmp_path: Path, folder: bool) -> None:
    require_writable(tmp_path / "new" / "a", folder=folder)
    require_writable(tmp_path / "new", folder=folder)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("folder", [False, True])
def test_what_cannot_be_written_is_named(tmp_path: Path, folder: bool) -> None:
    (tmp_path / "file").touch()
    for path in (
        Path("/proc/nowhere/out"),
        tmp_path / "file/out",
        tmp_path / ("a" * 300) / "out",
        tmp_path / "file" if folder else tmp_path,
    ):
        with pytest.raises(OSError, match=r".") as error:
            require_writable(path, folder=folder)
        assert error.value.filename == str(path)
        assert error.value.strerror


FULL = """
import sys
from pathlib import Path
from vireid.files import require_writable, write_atomic

disk = Path(sys.argv[1])
require_writable(disk / "a")
(disk / "kept").write_bytes(b"old")
try:
    (disk / "fill").write_bytes(bytes(1 << 20))
except OSError:
    pass
for write in (lambda: require_writable(disk / "a"), lambda: write_atomic(disk / "kept", b"new")):
    try:
        write()
    except OSError as error:
        print(error.strerror, Path(error.filename).name)
print(sorted(path.name for path in disk.iterdir()), (disk / "kept").read_text())
"""


def test_a_full_disk(tmp_path: Path) -> None:
    assert run_on_small_disk(FULL, tmp_path, size="64k") == [
        "No space left on device a",
        "No space left on device kept",
        "['fill', 'kept'] old",
    ]
