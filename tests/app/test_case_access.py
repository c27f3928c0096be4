"""Cases over REST: what is kept of a search, who may read and change it, and what is logged."""

from __future__ import annotations

import csv
import errno
import io
import json
from pathlib import Path
from typing import Any

import pytest
from tests.app.people import BEN, photograph
from tests.app.visitor import OWN, Visitor, images

from vireid.gallery import cases

BEN_ALONE = {"Authorization": f"Bearer {BEN}"}
AS_BEN = OWN | BEN_ALONE


def made(owner: Visitor, name: str = "<b>bag</b>") -> str:
    answer = owner.ask("POST", "/api/cases", json={"name": name}, headers=OWN)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["case"]["id"])


def ask(owner: Visitor, method: str, path: str, headers: dict[str, str] = OWN, **given: Any) -> Any:
    answer = owner.ask(method, path, headers=headers, **given)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_case_from_search_to_erasure(owner: Visitor) -> None:
    id = made(owner)
    night = photograph(3, grey=True, frame=9)
    found = [hit for group in owner.search(night)["groups"] for hit in group]
    best, second, other = (hit["entry"]["id"] for hit in (*found[:2], found[-1]))
    form = {"chosen": [best, second], "rejected": [other]}
    case = ask(owner, "POST", f"/api/cases/{id}/hits", files=images(night), data=form)
    assert [(one["name"], one["entry"]) for one in case["queries"]] == [("me.png", None)]
    assert [
        (hit["entry"]["id"], hit["decision"], hit["by"], hit["score"]) for hit in case["hits"]
    ] == [
        (best, "chosen", "ada", found[0]["score"]),
        (second, "chosen", "ada", found[1]["score"]),
        (other, "rejected", "ada", found[-1]["score"]),
    ]
    # Found by browsing, so without a score; and the query added to the gallery.
    browsed = found[5]["entry"]["id"]
    ask(owner, "POST", f"/api/cases/{id}/hits", data={"chosen": browsed})
    ask(owner, "POST", "/api/entries", files=images(night))
    case = ask(owner, "POST", f"/api/cases/{id}/notes", json={"text": "by the door"})
    assert case["hits"][-1]["score"] is None
    assert case["queries"][0]["entry"]["name"] == "me.png"
    report = owner.ask("POST", f"/api/cases/{id}/report", data={"format": "csv"})
    lines = list(csv.DictReader(io.StringIO(report.content.decode("utf-8-sig"))))
    assert [line["id"] for line in lines] == [best, second, other, browsed]
    assert {line["asked_by"] for line in lines} == {"ada"}
    page = owner.ask("POST", f"/api/cases/{id}/report")
    assert page.headers["content-disposition"] == 'attachment; filename="case.html"'
    assert "&lt;b&gt;bag&lt;/b&gt;" in page.text

    erased = {"ids": [best, case["queries"][0]["id"]], "expected": 2}
    ask(owner, "POST", "/api/delete", json=erased)
    case = ask(owner, "GET", f"/api/cases/{id}")
    assert [hit["entry"]["id"] for hit in case["hits"]] == [second, other, browsed]
    assert (case["queries"], case["case"]["deleted"]) == ([], 2)
    ids = [second, case["notes"][0]["id"]]
    case = ask(owner, "POST", f"/api/cases/{id}/remove", json={"ids": ids})
    assert (len(case["hits"]), case["notes"]) == (2, [])
    assert ask(owner, "DELETE", f"/api/cases/{id}") == {"deleted": 1}
    assert owner.refused("GET", f"/api/cases/{id}")[0] == 404

    events = [event for event in owner.events() if event["action"].startswith("case")]
    assert [event["action"] for event in events if event.get("state") != "begun"] == [
        *("case-new", "case-add", "case-add", "case-note", "case-report", "case-report"),
        *("case-show", "case-remove", "case-delete"),
    ]
    assert all(event["case"] == id for event in events if event.get("state") != "begun")
    # Free text about people stays in the case.
    assert not any(text in json.dumps(events) for text in ("by the door", "bag"))
    assert events[3]["chosen"] == [best, second]


def test_who_may_read_whose(owner: Visitor) -> None:
    id = made(owner)
    entry = owner.get("/api/entries", limit=1)["entries"][0]["id"]
    assert owner.get("/api/cases")["cases"][0]["own"]
    hidden = [
        owner.refused("GET", f"/api/cases/{id}", headers=BEN_ALONE),
        owner.refused("POST", f"/api/cases/{id}/report", headers=BEN_ALONE),
        owner.refused("PATCH", f"/api/cases/{id}", json={"shared": True}, headers=AS_BEN),
        owner.refused("DELETE", f"/api/cases/{id}", headers=AS_BEN),
        owner.refused("POST", f"/api/cases/{id}/notes", json={"text": "x"}, headers=AS_BEN),
        owner.refused("POST", f"/api/cases/{id}/remove", json={"ids": [entry]}, headers=AS_BEN),
        owner.refused("POST", f"/api/cases/{id}/hits", data={"chosen": entry}, headers=AS_BEN),
        owner.refused("GET", "/api/cases/00000000-0000-4000-8000-000000000000"),
    ]
    assert {status for status, _ in hidden} == {404}
    assert ask(owner, "GET", "/api/cases", headers=BEN_ALONE)["cases"] == []
    ask(owner, "PATCH", f"/api/cases/{id}", json={"shared": True, "name": "new"})
    [listed] = ask(owner, "GET", "/api/cases", headers=BEN_ALONE)["cases"]
    assert (listed["name"], listed["own"], listed["opened_by"]) == ("new", False, "ada")
    form = {"rejected": entry}
    shared = ask(owner, "POST", f"/api/cases/{id}/hits", headers=AS_BEN, data=form)
    assert shared["hits"][0]["by"] == "ben"
    for method, given in (("DELETE", {}), ("PATCH", {"json": {"shared": False}})):
        status, said = owner.refused(method, f"/api/cases/{id}", headers=AS_BEN, **given)
        assert (status, "was opened by 'ada'" in said) == (403, True)


def test_what_is_refused(owner: Visitor, ada: Visitor) -> None:
    id = made(owner)
    entry = owner.get("/api/entries", limit=1)["entries"][0]["id"]
    path = f"/api/cases/{id}"
    night = images(photograph(3, grey=True, frame=9))
    for status, said, method, where, given in (
        (422, "X-Vireid", "POST", f"{path}/notes", {"json": {"text": "x"}, "headers": {}}),
        (422, "X-Vireid", "DELETE", path, {"headers": {}}),
        (422, "UUID", "GET", "/api/cases/gallery", {}),
        (422, "expected chosen or rejected", "POST", f"{path}/hits", {"data": {"limit": "1"}}),
        (404, "has no entry", "POST", f"{path}/hits", {"data": {"chosen": id}}),
        (404, "found no", "POST", f"{path}/hits", {"files": night, "data": {"chosen": id}}),
        (404, "has no", "POST", f"{path}/remove", {"json": {"ids": [entry]}}),
        (422, "1 to 200", "POST", "/api/cases", {"json": {"name": "  "}}),
        (422, "text", "POST", f"{path}/notes", {"json": {"text": "x" * 2_001}}),
    ):
        answer = owner.refused(method, where, **{"headers": OWN} | given)
        assert answer[0] == status, (where, answer)
        assert said in answer[1]
    assert ada.refused("POST", "/api/cases", json={"name": "x"}, headers=OWN)[0] == 403
    assert ada.get("/api/cases") == {"cases": [], "damaged": 0}
    assert owner.get("/api/info")["cases"] is True


def test_damaged_cases_and_a_full_disk(owner: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged, whole = made(owner), made(owner, "whole")
    file = Path(owner.gallery.location) / "cases" / f"{damaged}.json"
    file.write_bytes(file.read_bytes()[:-9])
    listed = owner.get("/api/cases")
    assert ([case["id"] for case in listed["cases"]], listed["damaged"]) == ([whole], 1)
    status, said = owner.refused("GET", f"/api/cases/{damaged}")
    assert (status, "restore a copy of it" in said) == (503, True)

    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cases, "write_atomic", full)
    note = {"json": {"text": "x"}, "headers": OWN}
    status, said = owner.refused("POST", f"/api/cases/{whole}/notes", **note)
    assert (status, "free space on its disk" in said) == (507, True)
    assert owner.events()[-1]["state"] == "failed"
    assert owner.get(f"/api/cases/{whole}")["notes"] == []
