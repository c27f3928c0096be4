"""The demo from rendering to the report, on few people."""

import re
from pathlib import Path

import pytest

from vireid.cli.demo import run_demo
from vireid.data.listing import list_images
from vireid.synvi import Preset
from vireid.types import Modality

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
    assert f"vireid gallery add people --run {out}/runs/dlis {out}/people.csv" in first
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
    # A second call finds all done and says the same.
    assert run().split("\n\nThe report")[0] == first.split("\n\nThe report")[0]
