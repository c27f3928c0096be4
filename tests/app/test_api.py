"""The REST interface in process: what is answered, and what is refused."""

from __future__ import annotations

import hashlib
import io
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.app.people import NOON, PEOPLE, calibrate, photograph
from tests.app.test_uploads import HTML, SVG, png_that_says
from tests.app.visitor import OWN, Visitor, images, names
from torch import Tensor

from vireid.app.uploads import KINDS
from vireid.cli.entries import entry_filters
from vireid.errors import ConfigError
from vireid.features import FeatureExtractor
from vireid.gallery import open_gallery
from vireid.types import ImageRecord, Modality, id_of

JSON = {"Content-Type": "application/json"}


def test_info(ada: Visitor, extractor: FeatureExtractor) -> None:
    info = ada.get("/api/info")
    assert (info["gallery"], info["entries"], info["user"]) == ("people", 3 * PEOPLE, "ada")
    assert info["cameras"] == {"hall": PEOPLE, "street": 2 * PEOPLE}
    assert info["identities"] == PEOPLE - 1
    assert (info["attention"], info["calibrated"], info["read_only"]) == (True, False, True)
    assert info["fingerprint"] == extractor.fingerprint
    assert info["limits"] == {
        "megabytes": 1.0,
        "megapixels": 25.0,
        "video_seconds": 60.0,
        "images": 8,
        "kinds": sorted(KINDS.values()),
        "crop_ratio": 1.5,
        "crop_height": 1024,
    }


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
def test_an_infrared_picture_finds_its_person(ada: Visitor, kind: str) -> None:
    answer = ada.search(photograph(3, grey=True, frame=9, kind=kind))
    assert answer["query"] == [{"name": "me.png", "modality": "infrared", "detected": True}]
    assert [name[0] for name in names(answer)][:3] == ["3", "3", "3"]
    assert (answer["considered"], len(names(answer))) == (3 * PEOPLE, 3 * PEOPLE)
    assert answer["verdict"] is None
    assert "not calibrated" in answer["remark"]
    found = [one for group in answer["groups"] for one in group]
    # Results are numbered, not their images.
    ranks = [{one["rank"] for one in group} for group in answer["groups"]]
    assert ranks == [{rank} for rank in range(1, 2 * PEOPLE + 1)]
    for scores in (
        [group[0]["score"] for group in answer["groups"]],
        *([one["score"] for one in group] for group in answer["groups"]),
    ):
        assert scores == sorted(scores, reverse=True)
    assert all(one["verdict"] is None for one in found)


def test_verdicts(made: Path, extractor: FeatureExtractor, tmp_path: Path) -> None:
    calibrated = Path(shutil.copytree(made, tmp_path / "people"))
    calibrate(calibrated)
    with open_gallery(calibrated, model=extractor.model_info, write=True) as gallery:
        visitor = Visitor(gallery, extractor, tmp_path / "log")
        assert visitor.get("/api/info")["calibrated"]
        answer = visitor.search(photograph(3, grey=True, frame=9))
        assert (answer["verdict"], answer["remark"]) == ("likely match", "")
        for found in (one for group in answer["groups"] for one in group):
            theirs = found["entry"]["identity"] == "person 3"
            assert (found["verdict"] == "likely the same person") == theirs
        several = visitor.search(photograph(3, grey=True), photograph(3))
        assert several["verdict"] is None
        assert "one image" in several["remark"]
        gallery.save_calibration("{}")
        status, said = visitor.refused("POST", "/api/search", files=images(photograph(3)))
        assert (status, "calibration is damaged" in said) == (503, True)
        visitor.handlers.close()


def test_the_modality_can_be_given(ada: Visitor) -> None:
    answer = ada.search(photograph(3, grey=True), query_modality="visible")
    assert answer["query"] == [{"name": "me.png", "modality": "visible", "detected": False}]


def test_frames_of_one_walk_stand_together(ada: Visitor) -> None:
    groups = ada.search(photograph(2, grey=True))["groups"]
    together = [sorted(one["entry"]["name"] for one in group) for group in groups]
    assert ["2-street-0.png", "2-street-1.png"] in together
    assert ["2-hall-0.png"] in together
    assert len(groups) == 2 * PEOPLE


def test_an_entry_as_query_does_not_find_itself(ada: Visitor) -> None:
    own = hashlib.sha256(photograph(4)).hexdigest()
    answer = ada.search(entry=id_of(own), limit=2)
    assert answer["query"] == [{"name": "4-hall-0.png", "modality": "visible", "detected": False}]
    assert sorted(names(answer)) == ["4-street-0.png", "4-street-1.png"]
    assert answer["considered"] == 3 * PEOPLE - 1


def test_a_picture_that_is_in_the_gallery_does_not_find_itself(ada: Visitor) -> None:
    answer = ada.search(photograph(4), limit=2)
    assert sorted(names(answer)) == ["4-street-0.png", "4-street-1.png"]
    assert (answer["considered"], answer["left_out"]) == (3 * PEOPLE - 1, 1)
    assert ada.search(photograph(4, frame=9))["left_out"] == 0


def test_several_pictures_are_one_query(ada: Visitor) -> None:
    entry = id_of(hashlib.sha256(photograph(5)).hexdigest())
    answer = ada.search(photograph(5, frame=8), photograph(5, frame=9), entry=entry)
    assert len(answer["query"]) == 3
    assert [name[0] for name in names(answer)][:2] == ["5", "5"]
    first, second = (ada.search(photograph(one)) for one in (1, 2))
    both = ada.search(photograph(1), photograph(2))
    top = {name[0] for name in names(both)[:6]}
    assert {"1", "2"} <= top
    assert names(both) not in (names(first), names(second))


def test_filters(ada: Visitor) -> None:
    query = photograph(1, grey=True)
    for form, expected in (
        ({"camera": "hall"}, {f"{person}-hall-0.png" for person in range(PEOPLE)}),
        (
            {"identity": ["person 2", "person 3"], "camera": "hall"},
            {"2-hall-0.png", "3-hall-0.png"},
        ),
        ({"identity": "", "camera": "hall"}, None),
        ({"note": "BAG", "camera": "hall"}, {"2-hall-0.png"}),
        ({"modality": "infrared"}, set()),
        (
            {"since": NOON.isoformat(), "until": "2026-05-31T12:30:01"},
            {"0-hall-0.png", "0-street-0.png"},
        ),
        ({"since": "2026-05-31T19:15:00+02:00"}, {"5-street-0.png", "5-street-1.png"}),
    ):
        found = set(names(ada.search(query, **form)))
        listed = {one["name"] for one in ada.get("/api/entries", **form)["entries"]}
        assert found == listed
        assert expected is None or found == expected
    assert len(names(ada.search(query, since="", until="", note=""))) == 3 * PEOPLE
    answer = ada.search(query, camera="hall", limit=2)
    assert (len(names(answer)), answer["considered"]) == (2, PEOPLE)


@pytest.mark.parametrize(
    "text", ["2026", "20260605", "1780617600.5", "0001-01-01T00:00+14:00", "9999-12-31T23:59-12:00"]
)
def test_a_time_that_the_command_line_refuses_is_refused(ada: Visitor, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        entry_filters(since=text)
    expected = str(caught.value).removeprefix("--since is ").removesuffix(".")
    for answer in (
        ada.ask("GET", "/api/entries", params={"since": text}),
        ada.ask("POST", "/api/search", data={"since": text}, files=images(photograph(0))),
        ada.ask(
            "POST", "/api/entries", data={"time": text}, files=images(photograph(0)), headers=OWN
        ),
    ):
        assert answer.status_code == 422
        assert expected in answer.json()["detail"]


def test_pages_of_entries(ada: Visitor) -> None:
    whole = ada.get("/api/entries")
    assert whole["total"] == 3 * PEOPLE
    ids = [one["id"] for one in whole["entries"]]
    assert ids == sorted(ids)
    parts = [ada.get("/api/entries", offset=at, limit=7)["entries"] for at in (0, 7, 14, 21)]
    assert [one for part in parts for one in part] == whole["entries"]
    assert ada.get("/api/entries", limit=0) == {"total": 3 * PEOPLE, "entries": []}
    assert ada.get(f"/api/entries/{ids[0]}") == whole["entries"][0]


def test_pictures_of_an_entry(ada: Visitor, gallery: Path) -> None:
    data = photograph(0)
    id = id_of(hashlib.sha256(data).hexdigest())
    small = ada.ask("GET", f"/api/entries/{id}/thumbnail")
    assert small.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(small.content)).size == (48, 96)
    whole = ada.ask("GET", f"/api/entries/{id}/image")
    assert (whole.headers["content-type"], whole.headers["x-vireid-source"]) == (
        "image/png",
        "file",
    )
    assert whole.content == data
    # Another file in its place, even the same person's, is never shown.
    file = gallery.parent / "files" / "0-hall-0.png"
    for change in (lambda: file.write_bytes(photograph(0, frame=5)), file.unlink, file.mkdir):
        change()
        changed = ada.ask("GET", f"/api/entries/{id}/image")
        assert (changed.content, changed.headers["x-vireid-source"]) == (small.content, "thumbnail")
    file.rmdir()
    file.write_bytes(data)


def test_attention(ada: Visitor, gallery: Path, extractor: FeatureExtractor) -> None:
    found = id_of(hashlib.sha256(photograph(3)).hexdigest())
    file = gallery.parent / "files" / "3-hall-0.png"
    [expected] = extractor.attention([ImageRecord(file, 1, 1, Modality.VISIBLE)])
    query = photograph(1, grey=True)
    answer = ada.ask(
        "POST", "/api/attention", files={"image": ("q", query)}, data={"result": found}
    ).json()
    assert {side: answer[side]["source"] for side in answer} == {
        "query": "upload",
        "result": "file",
    }
    assert (answer["result"]["height"], answer["result"]["width"]) == expected.grid
    assert np.allclose(answer["result"]["weights"], expected.weights, atol=1e-5)
    assert np.allclose(np.sum(answer["query"]["weights"], axis=1), 1, atol=1e-4)
    data = file.read_bytes()
    file.unlink()
    answer = ada.ask("POST", "/api/attention", data={"entry": found, "result": found}).json()
    file.write_bytes(data)
    assert {answer[side]["source"] for side in answer} == {"thumbnail"}


def test_what_is_no_picture(ada: Visitor) -> None:
    before = ada.events()
    for data, status, said in (
        (b"just text", 415, "'me.jpg' cannot be read: it is text that begins with 'just"),
        (SVG, 415, "it is an SVG image; expected an image (JPEG"),
        (HTML, 415, "it is a web page (HTML)"),
        (b"", 415, "it is an empty file"),
        (png_that_says(6_000, 6_000), 413, "6000 x 6000 pixels; expected at most 25 million"),
        (png_that_says(1, 3_000_000), 413, "and at most 16,384 in width and height"),
        (photograph(1)[:-400], 422, "cannot be read"),
        (b"x" * 1_100_000, 413, "expected at most 1 MB"),
    ):
        found = ada.refused("POST", "/api/search", files=images(data, name="me.jpg"))
        assert found[0] == status
        assert said in found[1]
    assert ada.events() == before


def test_images_are_decoded_while_the_model_is_busy(
    ada: Visitor, extractor: FeatureExtractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = extractor.backend.extract_features
    busy, finish = threading.Event(), threading.Event()

    def blocked(pixels: Tensor, modality: Modality) -> Tensor:
        busy.set()
        assert finish.wait(20)
        return forward(pixels, modality)

    monkeypatch.setattr(extractor.backend, "extract_features", blocked)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(ada.search, photograph(1))
        assert busy.wait(20)
        damaged = images(photograph(1)[:-400], name="me.jpg")
        status, said = ada.refused("POST", "/api/search", files=damaged)
        assert (status, "cannot be read" in said) == (422, True)
        finish.set()
        assert names(first.result())


def test_names_are_text_only(ada: Visitor) -> None:
    for name in ("../../../etc/passwd", "a\0b.png", "<script>alert(1)</script>.png", "é" * 300):
        files = images(photograph(1), name=name)
        answer = ada.ask("POST", "/api/search", files=files)
        assert answer.status_code == 200
        shown = answer.json()["query"][0]["name"]
        assert "/" not in shown
        assert len(shown) <= 120


def test_requests_that_make_no_sense(ada: Visitor) -> None:
    none = "00000000-0000-0000-0000-000000000000"
    image = images(photograph(1))
    cases: tuple[tuple[tuple[str, str, dict[str, Any]], int, str], ...] = (
        (("GET", f"/api/entries/{none}", {}), 404, "no entry"),
        (("GET", f"/api/entries/{none}/thumbnail", {}), 404, "no entry"),
        (("GET", "/api/entries/../../etc/passwd", {}), 404, "Not Found"),
        (("GET", "/api/entries/%2e%2e%2f%00", {}), 404, "Not Found"),
        (("GET", "/api/entries/..", {}), 404, "Not Found"),
        (("GET", "/api/entries/a%00", {}), 422, "id: "),
        (("GET", "/page/%2e%2e/api.py", {}), 404, "Not Found"),
        (("GET", "/page/..%2fapi.py", {}), 404, "Not Found"),
        (("GET", "/api/entries/", {}), 404, "Not Found"),
        (("PUT", "/api/info", {}), 405, "Not Allowed"),
        (("GET", "/api/entries", {"params": {"camra": "hall"}}), 422, "camra: Extra inputs"),
        (("GET", "/api/entries", {"params": {"limit": 1000}}), 422, "limit: "),
        (("GET", "/api/entries", {"params": {"since": "0001-01-01T00:00+14:00"}}), 422, "since: "),
        (
            ("POST", "/api/search", {"data": {"camera": "hall"}}),
            422,
            "expected 1 to 8 query images",
        ),
        (("POST", "/api/search", {"files": image * 9}), 422, "images: "),
        (("POST", "/api/search", {"files": image, "data": {"limit": "many"}}), 422, "limit: "),
        (("POST", "/api/search", {"data": {"entry": none}}), 404, "no entry"),
        (("POST", "/api/attention", {"data": {"result": none}}), 422, "expected one query"),
        (("POST", "/api/attention", {"data": {"result": none, "entry": none}}), 404, "no entry"),
        (("POST", "/api/delete", {"content": "{", "headers": OWN}), 422, "valid dictionary"),
        (("POST", "/api/delete", {"content": "{", "headers": OWN | JSON}), 422, "JSON"),
        (
            ("POST", "/api/delete", {"json": {"expected": 1}, "headers": OWN}),
            422,
            "never deleted",
        ),
        (
            (
                "POST",
                "/api/delete",
                {
                    "content": '{"\\ud800": "\\ud800", "identity": ["\\ud800"], "expected": 1}',
                    "headers": OWN | JSON,
                },
            ),
            422,
            "unicode",
        ),
    )
    for (method, path, rest), status, said in cases:
        found = ada.refused(method, path, **rest)
        assert found[0] == status, (path, found)
        assert said in found[1]


def test_the_page(ada: Visitor) -> None:
    page = ada.ask("GET", "/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "http" not in page.text.replace("http-equiv", "")  # nothing from elsewhere
    assert "style=" not in page.text
    for path in ("app.js", "app.css", "icon.svg"):
        assert f"page/{path}" in page.text
        assert ada.ask("GET", f"/page/{path}").status_code == 200
    assert ada.ask("GET", "/health").json() == {"status": "ok"}


def test_a_report(ada: Visitor) -> None:
    data = {"format": "json", "camera": "hall", "limit": 2}
    answer = ada.ask("POST", "/api/report", files=images(photograph(3, grey=True)), data=data)
    assert answer.headers["content-disposition"] == 'attachment; filename="search.json"'
    found = answer.json()
    expected = ada.search(photograph(3, grey=True), camera="hall", limit=2)
    hits = [hit["entry"]["id"] for group in expected["groups"] for hit in group]
    assert [hit["id"] for hit in found["hits"]] == hits
    assert (found["asked_by"], found["filters"]) == ("ada", {"camera": ["hall"]})
    assert "path" not in found["hits"][0]
    event = next(e for e in ada.events()[::-1] if e["action"] == "report")
    assert (event["user"], event["format"], event["filters"]) == (
        "ada",
        "json",
        {"camera": ["hall"]},
    )


def test_the_newest_first(ada: Visitor) -> None:
    every = ada.get("/api/entries", limit=200)["entries"]
    newest = sorted(every, key=lambda e: e["id"])
    newest.sort(key=lambda e: e["time"] or "", reverse=True)
    found = ada.get("/api/entries", limit=4, offset=1, order="newest")["entries"]
    assert [e["time"] for e in found] == [e["time"] for e in newest[1:5]]


def test_the_docs_are_served_from_here(ada: Visitor) -> None:
    page = ada.ask("GET", "/api/docs").text
    assert "PATCH /api/entries/{id}" in page
    assert 'href="#SearchResponse"' in page
    assert "<script" not in page
    assert "://" not in page
