"""Adding and forgetting over REST, and what is written down of searches and changes."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.app.people import PEOPLE, copy, photograph
from tests.app.visitor import OWN, Visitor, images, names

from vireid.features import FeatureExtractor
from vireid.gallery import Filters, _space, open_gallery
from vireid.types import id_of


def test_read_only(ada: Visitor) -> None:
    adding = ada.refused("POST", "/api/entries", files=images(photograph(9)), headers=OWN)
    which = {"identity": ["person 1"], "expected": 3}
    forgetting = ada.refused("POST", "/api/delete", json=which, headers=OWN)
    assert all(status == 403 and "read-only" in said for status, said in (adding, forgetting))


def test_changes_need_the_own_header(owner: Visitor) -> None:
    answers = [
        owner.refused("POST", "/api/entries", files=images(photograph(9))),
        owner.refused("POST", "/api/delete", json={"identity": ["person 1"], "expected": 3}),
    ]
    assert all(status == 422 and "X-Vireid" in said for status, said in answers)
    assert owner.gallery.count() == 3 * PEOPLE


def test_adding(owner: Visitor) -> None:
    new, damaged = photograph(9), photograph(8)[:-400]
    files = images(new, photograph(0), b"text", new, damaged, name="../x.jpg")
    told = {"camera": "yard", "identity": "Zoë", "time": "2026-06-01T00:00", "note": "n"}
    answer = owner.ask("POST", "/api/entries", files=files, data=told, headers=OWN)
    assert answer.status_code == 200
    outcomes = answer.json()
    statuses = [one["status"] for one in outcomes]
    assert statuses == ["new", "known", "refused", "known", "refused"]
    assert "it is text that begins with 'text'" in outcomes[2]["detail"]
    assert "cannot be read" in outcomes[4]["detail"]
    entry = outcomes[0]["entry"]
    assert entry["time"] == "2026-06-01T00:00:00Z"
    assert (entry["name"], entry["camera"], entry["identity"]) == ("x.jpg", "yard", "Zoë")
    assert outcomes[1]["entry"]["name"] == "0-hall-0.png"
    assert outcomes[3]["entry"] == entry
    assert owner.get(f"/api/entries/{entry['id']}") == entry
    assert owner.gallery.count() == 3 * PEOPLE + 1
    assert names(owner.search(photograph(9, frame=3), limit=1)) == ["x.jpg"]
    row = owner.gallery.entry(entry["id"])
    assert row is not None
    assert row.info.file is None  # a visitor's name is never one of our paths
    added = [id_of(hashlib.sha256(data).hexdigest()) for data in (new, photograph(0), new, damaged)]
    assert [(event["state"], event["requested"]) for event in owner.events()[:2]] == [
        ("begun", added),
        ("done", added),
    ]
    assert owner.events()[1]["entries"] == [entry["id"]]


def test_editing(owner: Visitor, ada: Visitor) -> None:
    id = id_of(hashlib.sha256(photograph(3)).hexdigest())
    path = f"/api/entries/{id}"
    values = {"camera": "gate", "identity": "", "time": "2026-06-01T02:00+02:00", "note": "n"}
    assert owner.refused("PATCH", path, json=values)[0] == 422  # without the header
    assert ada.refused("PATCH", path, json=values, headers=OWN)[0] == 403  # read-only
    before = owner.get(path)
    answer = owner.ask("PATCH", path, json=values, headers=OWN).json()
    assert answer == owner.get(path) == before | values | {"time": "2026-06-01T00:00:00Z"}
    begun, done = owner.events()[-2:]
    assert (begun["state"], done["state"], done["entry"]) == ("begun", "done", id)
    assert done["values"]["camera"] == "gate"
    assert done["former"] == {name: before[name] for name in values}
    cleared = owner.ask("PATCH", path, json={"time": ""}, headers=OWN).json()
    assert (cleared["time"], cleared["camera"]) == (None, "gate")
    for wrong in ({"time": "noon"}, {"modality": "infrared"}):
        assert owner.refused("PATCH", path, json=wrong, headers=OWN)[0] == 422
    gone = path[:-1] + ("0" if path[-1] != "0" else "1")
    assert owner.refused("PATCH", gone, json=values, headers=OWN)[0] == 404


def test_forgetting(owner: Visitor) -> None:
    id = id_of(hashlib.sha256(photograph(3)).hexdigest())
    gone = [owner.gallery.entry(id)]
    wrong = {"identity": ["person 3"], "expected": 2}
    status, said = owner.refused("POST", "/api/delete", json=wrong, headers=OWN)
    assert (status, "3 entries" in said) == (409, True)
    assert owner.gallery.count() == 3 * PEOPLE
    one = owner.ask("POST", "/api/delete", json={"ids": [id], "expected": 1}, headers=OWN)
    assert one.json() == {"deleted": 1}
    assert owner.refused("GET", f"/api/entries/{id}")[0] == 404
    assert "3-hall-0.png" not in names(owner.search(photograph(3)))
    assert owner.gallery.verify(deleted=[row for row in gone if row]).passed
    rest = {"identity": ["person 3"], "expected": 2}
    assert owner.ask("POST", "/api/delete", json=rest, headers=OWN).json() == {"deleted": 2}
    told = [
        (event["action"], event["state"], event.get("deleted"))
        for event in owner.events()
        if event["action"] == "delete"
    ]
    assert told == [
        ("delete", "begun", None),
        ("delete", "failed", None),
        ("delete", "begun", None),
        ("delete", "done", 1),
        ("delete", "begun", None),
        ("delete", "done", 2),
    ]
    assert owner.events()[-1]["filters"] == {"identity": ["person 3"]}


def test_the_audit_log(owner: Visitor, ada: Visitor) -> None:
    own = [photograph(person, frame=9) for person in (1, 2)]
    ada.search(*own, camera=["hall", "street"], note="bag", limit=4)
    event = ada.events()[-1]
    del event["time"]
    assert event == {
        "user": "ada",
        "action": "search",
        "images": 2,
        "entries": [],
        "filters": {"camera": ["hall", "street"], "note": "bag"},
        "limit": 4,
        "results": 2,
    }
    owner.search(photograph(1))
    [image] = owner.events()[-1]["thumbnails"]
    assert image.startswith("/9j/")  # a JPEG, because here it was asked for


def test_a_list_is_written_down(ada: Visitor) -> None:
    page = ada.get("/api/entries", identity="person 2", offset=1, limit=1)
    assert (page["total"], len(page["entries"])) == (3, 1)
    event = ada.events()[-1]
    del event["time"]
    assert event == {
        "user": "ada",
        "action": "list",
        "filters": {"identity": ["person 2"]},
        "offset": 1,
        "limit": 1,
        "results": 1,
    }


def test_what_cannot_be_written_down_is_neither_answered_nor_done(
    gallery: Path, extractor: FeatureExtractor, tmp_path: Path
) -> None:
    with open_gallery(copy(gallery, tmp_path), model=extractor.model_info, write=True) as opened:
        visitor = Visitor(opened, extractor, Path("/dev/full"))
        which = {"identity": ["person 1"], "expected": 3}
        answers = [
            visitor.refused("POST", "/api/search", files=images(photograph(1))),
            visitor.refused("GET", "/api/entries", params={"identity": "person 1"}),
            visitor.refused("POST", "/api/entries", files=images(photograph(9)), headers=OWN),
            visitor.refused("POST", "/api/delete", json=which, headers=OWN),
        ]
        visitor.handlers.close()
        assert opened.count() == 3 * PEOPLE
        assert opened.count(Filters(identities=("person 1",))) == 3
    for status, said in answers:
        assert (status, "audit log cannot be written" in said) == (503, True)
        assert "score" not in said


def test_a_full_disk_refuses_changes_and_searching_goes_on(
    owner: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_space, "MARGIN", 1 << 60)
    which = {"identity": ["person 1"], "expected": 3}
    answers = [
        owner.refused("POST", "/api/entries", files=images(photograph(9)), headers=OWN),
        owner.refused("POST", "/api/delete", json=which, headers=OWN),
    ]
    assert all(status == 507 and "free space" in said for status, said in answers)
    assert [event["state"] for event in owner.events()] == ["begun", "failed"] * 2
    assert names(owner.search(photograph(1), limit=1))
    assert owner.gallery.count() == 3 * PEOPLE


def test_a_picture_that_two_add_at_once_is_new_to_one(owner: Visitor) -> None:
    data = [photograph(20 + n) for n in range(4)]

    def add(_: int) -> list[str]:
        answer = owner.ask("POST", "/api/entries", files=images(*data), headers=OWN)
        return [one["status"] for one in answer.json()]

    with ThreadPoolExecutor(2) as pool:
        told = list(pool.map(add, range(2)))
    assert sorted(told) == [["known"] * 4, ["new"] * 4]
    assert sum(len(event.get("entries", ())) for event in owner.events()) == 4
