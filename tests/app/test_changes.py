"""Adding and forgetting over REST, and what is written down of searches and changes."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tests.app.people import PEOPLE, photograph
from tests.app.visitor import OWN, Visitor, images, names

from vireid.commands.entries import model_of
from vireid.encoder import Encoder
from vireid.gallery import id_of, open_gallery


def test_read_only(ada: Visitor) -> None:
    adding = ada.refused("POST", "/api/entries", files=images(photograph(9)), headers=OWN)
    which = {"identity": ["person 1"], "expected": 3}
    forgetting = ada.refused("POST", "/api/forget", json=which, headers=OWN)
    assert all(status == 403 and "read-only" in said for status, said in (adding, forgetting))


def test_changes_need_the_own_header(owner: Visitor) -> None:
    answers = [
        owner.refused("POST", "/api/entries", files=images(photograph(9))),
        owner.refused("POST", "/api/forget", json={"identity": ["person 1"], "expected": 3}),
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
    assert "is not a picture" in outcomes[2]["detail"]
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
    assert row.entry.path is None  # a visitor's name is never one of our paths
    assert owner.events()[0]["entries"] == [entry["id"]]


def test_forgetting(owner: Visitor) -> None:
    id = id_of(hashlib.sha256(photograph(3)).hexdigest())
    gone = [owner.gallery.entry(id)]
    wrong = {"identity": ["person 3"], "expected": 2}
    status, said = owner.refused("POST", "/api/forget", json=wrong, headers=OWN)
    assert (status, "3 entries" in said) == (409, True)
    assert owner.gallery.count() == 3 * PEOPLE
    one = owner.ask("POST", "/api/forget", json={"ids": [id], "expected": 1}, headers=OWN)
    assert one.json() == {"forgotten": 1}
    assert owner.refused("GET", f"/api/entries/{id}")[0] == 404
    assert "3-hall-0.png" not in names(owner.search(photograph(3)))
    assert owner.gallery.verify(gone=[row for row in gone if row]).whole
    rest = {"identity": ["person 3"], "expected": 2}
    assert owner.ask("POST", "/api/forget", json=rest, headers=OWN).json() == {"forgotten": 2}
    assert [(event["action"], event["forgotten"]) for event in owner.events()[-1:]] == [
        ("forget", 2)
    ]


def test_the_audit_log(owner: Visitor, ada: Visitor) -> None:
    ada.search(photograph(1), photograph(2), camera=["hall", "street"], note="bag", limit=4)
    event = ada.events()[-1]
    del event["time"]
    assert event == {
        "who": "ada",
        "action": "search",
        "images": 2,
        "entries": [],
        "filters": {"camera": ["hall", "street"], "note": "bag"},
        "limit": 4,
        "results": 3,
    }
    owner.search(photograph(1))
    [picture] = owner.events()[-1]["pictures"]
    assert picture.startswith("/9j/")  # a JPEG, because here it was asked for


def test_what_cannot_be_written_down_is_not_answered(made: Path, encoder: Encoder) -> None:
    with open_gallery(made, model=model_of(encoder)) as gallery:
        visitor = Visitor(gallery, encoder, Path("/dev/full"), read_only=True)
        status, said = visitor.refused("POST", "/api/search", files=images(photograph(1)))
        visitor.desk.close()
    assert status == 503
    assert "audit log cannot be written" in said
    assert "score" not in said
