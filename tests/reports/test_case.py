"""The reports of searches and cases: their three forms and their timeline."""

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
from vireid.gallery.cases import CaseHit, CaseQuery
from vireid.openset.search import search_gallery
from vireid.openset.statistics import CameraView
from vireid.reports import case as reports
from vireid.reports.case import (
    ENDINGS,
    Search,
    case_report,
    render_report,
    search_report,
    timeline_figure,
)
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
        search = Search(
            gallery=gallery,
            name="people",
            user="Ada & Co",
            asked=NOON,
            filters=Filters(since=NOON - timedelta(days=1)),
            queries=[query],
            found=found,
            paths=False,
        )
        report = search_report(search)
        return {ending: render_report(report, ending) for ending in ENDINGS}


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
        render_report(None, ".pdf")  # type: ignore[arg-type]


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


def test_the_report_of_a_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chosen hits with pictures up to the limit, rejected ones without, an upload without any."""
    monkeypatch.setattr(reports, "MOST_SHOWN", 2)
    rows = [
        changed(row(n), camera=f"<i>{n // 2}</i>", tracklet="7" if n < 2 else "", time=NOON)
        for n in range(6)
    ]
    ids = [one.info.id for one in rows]
    with open_gallery(tmp_path / "people", model=MODEL, create=True) as gallery:
        gallery.add(rows)
        case = gallery.cases.create("<b>bag</b>", by="ada")
        scores = {0: 0.5, 1: 0.75, 2: None, 3: 0.25}
        case = gallery.cases.add(
            case.id,
            [CaseHit(id=ids[n], by=FORMULA, score=score) for n, score in scores.items()]
            + [CaseHit(id=ids[4], by="ben", decision="rejected", verdict="uncertain")],
            [CaseQuery(id=ids[5], by="ada"), CaseQuery(id=row(9).info.id, name="up.png", by="ada")],
        )
        case = gallery.cases.note(case.id, "line\n<b>two</b>", by="ben")
        gallery.delete(Filters(ids=(ids[3],)))
        case = gallery.cases.get(case.id)
        report = case_report(case, gallery, name="people", user="cleo", asked=NOON, paths=False)
        page, table, record = (render_report(report, ending) for ending in ENDINGS)
        empty = case_report(
            gallery.cases.create("empty", by="ada"), gallery, name="people", user="x", asked=NOON
        )
        assert b"Case &#x27;empty&#x27;" in render_report(empty, ".html")
        assert render_report(empty, ".csv").count(b"\n") == 1
    text = page.decode()
    assert "<b>bag" not in text
    assert "<i>" not in text
    for part in ("&lt;b&gt;bag", "line\n&lt;b&gt;two", "Deleted from the gallery"):
        assert part in text
    assert [[hit.info.id for hit in group] for group in report.groups] == [
        [ids[1], ids[0]],
        [ids[2]],
    ]
    assert [(table.title, len(table.rows)) for table in report.tables] == [
        ("Chosen", 2),
        ("Rejected", 1),
    ]
    found = json.loads(record)
    assert (found["asked_by"], found["network"], found["deleted"]) == (
        "cleo",
        MODEL.fingerprint,
        1,
    )
    assert [hit["id"] for hit in found["hits"]] == [ids[0], ids[1], ids[2], ids[4]]
    lines = list(csv.DictReader(io.StringIO(table.decode("utf-8-sig"))))
    assert [(line["decision"], line["score"], line["decided_by"]) for line in lines] == [
        ("chosen", "0.5", f"'{FORMULA}"),
        ("chosen", "0.75", f"'{FORMULA}"),
        ("chosen", "", f"'{FORMULA}"),
        ("rejected", "", "ben"),
    ]
    assert {line["query"] for line in lines} == {f"{rows[5].info.name}; up.png"}
    assert ids[3].encode() not in page + table + record
    assert b"/images" not in page + table + record


def test_reports_bound_their_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "MOST_SHOWN", 3)
    drawn: list[str] = []

    def thumbnail(id: str) -> bytes:
        drawn.append(id)
        return b""

    groups = [[Hit(changed(row(n), time=NOON).info, 0.5)] for n in range(5)]
    lines = [reports._line(n, group) for n, group in enumerate(groups)]
    report = reports.Report(
        title="t",
        heading="Search",
        facts={},
        remark="",
        queries=(),
        explanation="",
        groups=groups,
        thumbnail=thumbnail,
        tables=reports._tables("Results", lines),
        model={},
        record={},
        rows=(),
        columns=("a",),
    )
    page = render_report(report, ".html").decode()
    assert len(drawn) == 3
    assert page.count("of the first 3 results") == 4  # the timeline, and the sheet twice
    assert page.count('<th scope="row">') == 5
