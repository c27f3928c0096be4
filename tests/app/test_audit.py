"""The audit log: whole lines, on the disk, without images unless asked."""

from __future__ import annotations

import base64
import json
import os
import resource
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest

from vireid.app.audit import Audit
from vireid.errors import AuditError, ConfigError
from vireid.log import printable


def read(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_a_line_an_event(tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    audit = Audit(file)
    told = {"filters": {"camera": ["höf\n"]}, "results": 3}
    audit.write("ada", "search", told, thumbnails=[b"jpeg"])
    [event] = read(file)
    assert datetime.fromisoformat(str(event.pop("time"))).tzinfo is not None
    assert event == {"user": "ada", "action": "search", **told}
    assert file.stat().st_mode & 0o777 == 0o600
    audit.close()

    audit = Audit(file, images=True)
    audit.write("bob", "search", {}, thumbnails=[b"jpeg"])
    audit.close()
    assert [event["user"] for event in read(file)] == ["ada", "bob"]
    assert read(file)[1]["thumbnails"] == [base64.b64encode(b"jpeg").decode()]


def test_lines_of_many_threads_stay_whole(tmp_path: Path) -> None:
    first, second = Audit(tmp_path / "log"), Audit(tmp_path / "log")
    with ThreadPoolExecutor(8) as pool:
        for number in range(200):
            pool.submit([first, second][number % 2].write, "ada", "search", {"n": [number] * 300})
    assert sorted(str(event["n"]) for event in read(tmp_path / "log")) == sorted(
        str([number] * 300) for number in range(200)
    )
    first.close()
    second.close()


@pytest.mark.parametrize("room", [1, 60, 5_000])
def test_part_of_a_line_is_removed(tmp_path: Path, room: int) -> None:
    """The disk fills within a line: a limit on the file's size stands for it."""
    file = tmp_path / "log.jsonl"
    audit = Audit(file)
    audit.write("ada", "search", {"n": 1})
    whole = file.read_bytes()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + room, before[1]))
    try:
        with pytest.raises(AuditError, match="bytes were written"):
            audit.write("ada", "search", {"n": "2" * 10_000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert file.read_bytes() == whole
    audit.write("ada", "search", {"n": 3})
    assert [event["n"] for event in read(file)] == [1, 3]
    audit.close()


@pytest.mark.parametrize("append_only", [False, True])
def test_part_of_a_line_of_a_killed_process_never_joins_the_next(
    tmp_path: Path, append_only: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    if append_only:  # chattr +a, which needs root
        monkeypatch.setattr(os, "ftruncate", refuse)
    file = tmp_path / "log.jsonl"
    file.write_text('{"n": 1}\n{"n": "' + "2" * 10_000)
    audit = Audit(file)
    audit.write("ada", "search", {"n": 3})
    audit.close()
    lines = file.read_text().splitlines()
    assert json.loads(lines[-1])["n"] == 3
    assert len(lines) == 2 + append_only


def test_control_characters_are_escaped(tmp_path: Path) -> None:
    """C1 and bidirectional ones too, which JSON would contain as they are."""
    name = "a\x1b[2J\x9b2J\u202egpj.\u2066\ud800\U000e0041é\u2028"
    audit = Audit(tmp_path / "log.jsonl")
    audit.write("ada", "add", {"name": name})
    audit.close()
    text = (tmp_path / "log.jsonl").read_text(encoding="utf-8")
    assert "é" in text
    assert text.removesuffix("\n") == printable(text.removesuffix("\n"))
    assert json.loads(text)["name"] == name


def test_what_cannot_be_written_down_is_an_error() -> None:
    audit = Audit(Path("/dev/full"))
    with pytest.raises(AuditError, match="No space left"):
        audit.write("ada", "search", {})
    audit.close()


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--audit"):
        Audit(tmp_path / "none" / "log")
