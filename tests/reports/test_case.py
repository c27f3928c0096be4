"""The report of a search: its three forms, its timeline, and its line in the audit log."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.gallery.toys import MODEL, changed, row

from vireid.errors import ConfigError
from vireid.gallery import Filters, Hit, open_gallery
from vireid.openset.search import search_gallery
from vireid.openset.statistics import CameraView
from vireid.reports.case import ENDINGS, Case, render_case, timeline_figure
from vireid.types import ImageInfo, Modality

NOON = datetime(2026, 5, 31, 12, tzinfo=UTC)
FORMULA = '=HYPERLINK("x")'


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A search of two tracklets, one of them in a camera whose name is HTML and a formula."""
    rows = [
        changed(
            row(n),
            modality=Modality.VISIBLE,
            camera=("<b>yard</b>", FORMULA)[n // 4],
            tracklet="7",
            time=NOON + timedelta(minutes=n),
            path=Path(f"/secret/{n}.jpg"),
        )
        for n in range(8)
    ]
    query = row(100)
    place = tmp_path_factory.mktemp("case") / "people"
    with open_gallery(place, model=MODEL, create=True) as gallery:
        gallery.add(rows)
        found = search_gallery(
            gallery, query.feature[None], [CameraView.of_image(query.info)], limit=5
        )
        case = Case(
            gallery=gallery,
            name="people",
            user="Ada & Co",
            asked=NOON,
            filters=Filters(since=NOON - timedelta(days=1)),
            queries=[query],
            found=found,
            paths=False,
        )
        return {ending: render_case(case, ending) for ending in ENDINGS}


def test_the_page_holds_everything_and_fetches_nothing(rendered: dict[str, bytes]) -> None:
    page = rendered[".html"].decode()
    for text in ("Ada &amp; Co", MODEL.fingerprint, "&lt;b&gt;yard&lt;/b&gt;", "Timeline", "since"):
        assert text in page
    assert "<b>yard" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert page.count("data:image/jpeg") == 4  # query and results, light and dark
    assert page.count("data:image/png") == 2


def test_tables(rendered: dict[str, bytes]) -> None:
    record = json.loads(rendered[".json"])
    assert (record["asked_by"], record["asked"]) == ("Ada & Co", "2026-05-31T12:00:00Z")
    assert record["filters"] == {"since": "2026-05-30T12:00:00Z"}
    assert [group["images"] for group in record["groups"]] == [4, 4]
    rows = list(csv.DictReader(io.StringIO(rendered[".csv"].decode("utf-8-sig"))))
    assert [row["id"] for row in rows] == [hit["id"] for hit in record["hits"]]
    assert {row["camera"] for row in rows} == {"<b>yard</b>", f"'{FORMULA}"}
    assert all(b"/secret" not in form for form in rendered.values())


def test_another_ending_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"ends in '.pdf'; expected one of .html, .csv, .json"):
        render_case(None, ".pdf")  # type: ignore[arg-type]


def hits(*times: datetime | None, camera: str = "yard", score: float = 0.5) -> Sequence[Hit]:
    infos = (ImageInfo(path=Path("x"), camera=camera, time=time) for time in times)
    return [Hit(info, score) for info in infos]


def test_a_timeline() -> None:
    figure = timeline_figure(
        [
            hits(NOON, NOON + timedelta(minutes=2)),
            hits(NOON + timedelta(hours=1), camera="", score=0.4),
            hits(None, camera="roof"),
        ]
    )
    assert figure is not None
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["yard", "unknown"]
    assert sorted(text.get_text() for text in axes.texts) == ["1", "2"]
    bars = [line for line in axes.lines if line.get_linewidth() == 5]
    days = [line.get_xdata()[1] - line.get_xdata()[0] for line in bars]  # type: ignore[index,operator]
    assert days == pytest.approx([0, 2 / 1440])
    assert timeline_figure([hits(None)]) is None
    assert timeline_figure([]) is None
