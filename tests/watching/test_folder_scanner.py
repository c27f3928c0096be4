"""Folders are listed: what is complete is taken up once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.app.people import photograph
from tests.helpers.videos import walk, write_video

from vireid.watching.arrivals import FolderScanner
from vireid.watching.state import State


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with State(tmp_path / "state.sqlite") as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    return folder


def test_a_file_is_taken_up_when_it_stays_unchanged(folder: Path, state: State) -> None:
    scanner = FolderScanner([folder], state)
    data = photograph(0)
    (folder / "a.png").write_bytes(data[:100])
    assert scanner.scan() == 0
    (folder / "a.png").write_bytes(data)
    assert scanner.scan() == 0
    assert scanner.scan() == 1
    assert state.crops(9) == [folder / "a.png"]
    assert scanner.scan() == 0
    # Another file of this name is another arrival, also for the next watch.
    (folder / "a.png").write_bytes(photograph(1))
    os.utime(folder / "a.png", (1, 1))
    again = FolderScanner([folder], state)
    assert [again.scan() for _ in range(3)] == [0, 1, 0]


def test_kinds_of_files(folder: Path, state: State, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "own").mkdir()
    for name in ("b.png", ".hidden.png", "own/c.png"):
        (folder / name).write_bytes(photograph(0))
    write_video(folder / "a.mp4", walk(4)).rename(folder / "recording.part1")
    (folder / "notes.txt").write_text("seen at noon")
    (folder / "d.zip").write_bytes(b"PK\x03\x04" + bytes(40))
    scanner = FolderScanner([folder], state, without=[folder / "own"], scenes=True)
    assert [scanner.scan() for _ in range(3)] == [0, 2, 0]
    assert capsys.readouterr().err.count("1 file is not read: a ZIP archive") == 1
    jobs = []
    while job := state.next_job("day", 500):
        jobs.append((job.kind, [file.name for file in job.files], job.folder))
        assert state.next_job("later", 500) == job
        state.finish_job(job)
    assert jobs == [("scene", ["b.png"], "day/1"), ("video", ["recording.part1"], "day/2")]


def test_a_folder_that_goes_and_comes_back_brings_nothing_new(
    folder: Path, state: State, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "a.png").write_bytes(photograph(0))
    scanner = FolderScanner([folder], state)
    assert [scanner.scan() for _ in range(2)] == [0, 1]
    folder.rename(folder.with_name("away"))
    assert [scanner.scan() for _ in range(2)] == [0, 0]
    assert capsys.readouterr().err.count(f"'{folder}' cannot be read now") == 1
    folder.with_name("away").rename(folder)
    assert [scanner.scan() for _ in range(2)] == [0, 0]


def test_a_name_that_no_gallery_can_hold(
    folder: Path, state: State, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "a.png").write_bytes(photograph(0))
    for name in (b"caf\xe9.png", b"caf\xe9.txt"):
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(photograph(1))
    scanner = FolderScanner([folder], state)
    assert [scanner.scan() for _ in range(3)] == [0, 1, 0]
    said = capsys.readouterr().err
    assert said.count("2 files are passed over, such as ") == 1
    assert r"caf\udce9.png', as the name is not UTF-8; rename them." in said


def test_new_jobs_get_no_folder_that_is_there(state: State) -> None:
    folders = []
    for name in ("a.mp4", "b.mp4"):
        state.take_up([(Path(name), (1, 1), "video")])
        job = state.next_job("2026-05-31", 500)
        assert job
        folders.append(job.folder)
        state.restart([("gallery", name)])
    assert len(set(folders)) == 2
