"""The demo from rendering to the report, on few people."""

import re
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.full_disk import files_limited_to

from vireid.cli.demo import _command, run_demo
from vireid.data.listing import list_images
from vireid.reports import write_report
from vireid.synvi import Preset
from vireid.types import Modality

TINY = Preset("tiny", train=8, val=2, test=4, images=(1, 1, 2, 1, 1, 2), scale=0.4)


def write_on_full_disk(*args: Any, **named: Any) -> Path:
    with files_limited_to(0):
        return write_report(*args, **named)


def test_from_nothing_to_a_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "demo"
    # As `make demo` runs it: the environment's folder is not on the PATH.
    program = tmp_path / ".venv" / "bin" / "vireid"
    program.parent.mkdir(parents=True)
    program.touch()
    monkeypatch.setattr("vireid.cli.demo.PROGRAM", program)
    monkeypatch.chdir(tmp_path)

    def run(*, compare: bool = False) -> tuple[str, str]:
        report = run_demo(
            Path("demo"), preset=TINY, crowd=TINY, compare=compare, epochs=1, seed=0, device="cpu"
        )
        assert report.resolve() == out / "report.html"
        return capsys.readouterr()

    first, log = run()
    rows = re.findall(r"^\| (\w[\w ]*?) +\|", first, flags=re.MULTILINE)
    assert rows == ["DLIS", "DLIS untrained", "chance"]
    assert re.findall(r"^\d/\d  \w+", log, flags=re.MULTILINE) == [
        "1/4  Rendering", "2/4  Rendering", "3/4  Training", "4/4  Evaluating",
    ]  # fmt: skip
    assert str(out / "report.html") in first
    for command in (
        "train dlis-strong",
        "gallery add people --run demo/runs/dlis demo/people.csv",
        "demo demo --compare --epochs 1\n",
    ):
        assert f"\n  .venv/bin/vireid {command}" in first
    listed = list_images([str(out / "people.csv")])
    files = set(out.rglob("cam?/*/*.jpg"))
    assert {image.path for image in listed} == files
    assert {image.identity.startswith("crowd ") for image in listed} == {True, False}
    for image in listed:
        assert image.time is not None
        by_day = 7 <= image.time.hour < 19
        assert by_day == (image.modality is Modality.VISIBLE) == (image.camera in "1245")
    page = (out / "report.html").read_text()
    for heading in ("Results", "Ranking lists of DLIS", "Where PALM looks", "Training"):
        assert f"<h2>{heading}</h2>" in page
    assert "say nothing about accuracy on real people" in page
    assert page.count("<img") == 4
    # A second call finds all done and prints the same, also if the report cannot be written then.
    with monkeypatch.context() as patch:
        patch.setattr("vireid.cli.demo.write_report", write_on_full_disk)
        with pytest.raises(OSError, match="File too large"):
            run()
    assert capsys.readouterr().out == first.split("\nThe report")[0]
    assert (out / "report.html").read_text() == page
    compared, _ = run(compare=True)
    rows = re.findall(r"^\| (\w[\w ]*?) +\|", compared, flags=re.MULTILINE)
    assert rows == ["DLIS", "TSLFN", "DLIS untrained", "chance"]
    assert "--compare" not in compared


def test_commands_are_short_where_the_program_is_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "with space" / "vireid"
    program.parent.mkdir()
    program.touch(mode=0o755)
    monkeypatch.setattr("vireid.cli.demo.PROGRAM", program)
    monkeypatch.setenv("PATH", str(program.parent))
    assert _command("serve", "my people") == "vireid serve 'my people'"
    monkeypatch.setenv("PATH", "")
    assert _command("serve", "people") == f"'{program}' serve people"
