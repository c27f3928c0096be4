"""The audit log: whole lines, on the disk, without images unless asked."""

from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest

from vireid.app.audit import Audit
from vireid.errors import AuditError, ConfigError


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


def test_what_cannot_be_written_down_is_an_error() -> None:
    audit = Audit(Path("/dev/full"))
    with pytest.raises(AuditError, match="No space left"):
        audit.write("ada", "search", {})
    audit.close()


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--audit"):
        Audit(tmp_path / "none" / "log")
