"""The demo from rendering to the report, on few people."""

import re
from pathlib import Path

import pytest

from vireid.commands.demo import run_demo
from vireid.data.synvi import Preset

TINY = Preset("tiny", train=8, val=2, test=4, images=(1, 1, 2, 1, 1, 2), scale=0.4)


def test_from_nothing_to_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "demo"

    def run() -> str:
        report = run_demo(out, preset=TINY, epochs=1, seed=0, device="cpu")
        assert report == out / "report.html"
        return capsys.readouterr().out

    first = run()
    rows = re.findall(r"^\| (\w[\w ]*?) +\|", first, flags=re.MULTILINE)
    assert rows == ["DLIS", "TSLFN", "DLIS untrained", "chance"]
    assert str(out / "report.html") in first
    assert "vireid train dlis-strong" in first
    page = (out / "report.html").read_text()
    for heading in ("Results", "Ranking lists of DLIS", "Where PALM looks", "Training"):
        assert f"<h2>{heading}</h2>" in page
    assert "say nothing about accuracy on real people" in page
    assert page.count("<img") == 4
    # A second call finds all done and says the same.
    assert run().split("\n\nThe report")[0] == first.split("\n\nThe report")[0]
