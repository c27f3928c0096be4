"""``vireid gallery save-search`` and ``vireid watch``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.app.people import calibrate, photograph, write_gallery, write_run
from tests.helpers.signals import tell_this_process_to_stop

from vireid.cli import main
from vireid.features import load
from vireid.gallery import open_gallery
from vireid.watching.state import State

Refused = Callable[..., str]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("run") / "r")


@pytest.fixture
def place(run: Path, tmp_path: Path) -> Path:
    return write_gallery(tmp_path / "people", load(run))


@pytest.fixture
def query(tmp_path: Path) -> Path:
    path = tmp_path / "night.png"
    path.write_bytes(photograph(2, camera=1, frame=5, grey=True))
    return path


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    def command(*words: str | Path) -> str:
        capsys.readouterr()
        assert main([str(word) for word in words]) == 2
        return capsys.readouterr().err.splitlines()[-1]

    return command


def events(place: Path) -> list[dict[str, Any]]:
    log = place.with_name(f"{place.name}.audit.jsonl")
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_a_search_is_saved_used_and_deleted(
    place: Path,
    run: Path,
    query: Path,
    tmp_path: Path,
    refused: Refused,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save = ["gallery", "save-search", str(place), "cleo", str(query), "--run", str(run)]
    assert "needs a calibration, which" in refused(*save)
    assert "The threshold 7 is out of range" in refused(*save, "--threshold", "7")
    calibrate(place)
    assert main(save) == 0
    assert "an arrival that is likely the same person." in capsys.readouterr().out
    assert main(["gallery", "info", str(place)]) == 0
    assert re.search("saved +cleo", capsys.readouterr().out)

    folder = tmp_path / "in"
    folder.mkdir()
    for person in (0, 2):
        (folder / f"{person}.png").write_bytes(photograph(person, camera=1, frame=7))
    finish = State.finish_adding

    def finish_and_stop(state: State, ids: Any, **named: Any) -> int:
        dropped = finish(state, ids, **named)
        tell_this_process_to_stop()
        return dropped

    monkeypatch.setattr(State, "finish_adding", finish_and_stop)
    watch = ["watch", str(folder), "--gallery", str(place), "--run", str(run), "--camera", "hall"]
    assert main([*watch, "--interval", "0.01"]) == 0
    said = capsys.readouterr()
    assert f"Watching {folder} (stop with Ctrl-C). Images are crops of one person each;" in said.out
    assert "Saved searches: cleo." in said.out
    assert f"2 entries were added to '{place}'." in said.out
    assert "The watch has ended; the same command goes on." in said.out
    assert "Without --webhook matches are printed and logged only." in said.err
    assert "The saved search 'cleo' matches '2.png' of camera 'hall': score 0.9" in said.err
    assert "likely the same person." in said.err
    [alert] = [event for event in events(place) if event["action"] == "alert"]
    assert (alert["search"], alert["reason"]) == ("cleo", "likely the same person")

    assert "has no saved search 'nobody'; expected one of: cleo." in refused(
        "gallery", "save-search", place, "nobody", "--delete"
    )
    assert main(["gallery", "save-search", str(place), "cleo", "--delete"]) == 0
    with open_gallery(place) as gallery:
        assert gallery.searches == ()
    actions = [event["action"] for event in events(place)]
    assert [action for action in actions if action != "alert"] == [
        "save-search",
        "delete-search",
        "delete-search",
    ]


def test_a_search_goes_with_its_query(
    place: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save = ["gallery", "save-search", str(place), "one", "--run", str(run), "--threshold", "0.9"]
    image = tmp_path / "known.png"
    image.write_bytes(photograph(0, grey=True))
    assert main([*save, str(image)]) == 0
    add = ["gallery", "add", str(place), str(image), "--run", str(run)]
    assert main(add) == 0
    capsys.readouterr()
    assert main(["gallery", "forget", str(place), "--image", str(image)]) == 0
    assert "The saved search 'one' was deleted, as so are its images." in capsys.readouterr().err
    with open_gallery(place) as gallery:
        assert gallery.searches == ()


def test_what_cannot_be_watched(place: Path, tmp_path: Path, refused: Refused) -> None:
    watch = ["watch", "--gallery", str(place)]
    file = tmp_path / "a.png"
    file.touch()
    assert f"'{file}' is no folder; expected folders" in refused(*watch, file)
    said = refused(*watch, "rtsp://user:word@host/cam")
    assert "'rtsp://***@host/cam' has no camera; expected --camera" in said
    assert "--interval is 0; expected seconds" in refused(*watch, tmp_path, "--interval", "0")
    assert "'3' is not a valid duration" in refused(*watch, tmp_path, "--keep", "3")
    webhook = ["--webhook", "http://127.0.0.1/"]
    assert "VIREID_WEBHOOK_SECRET has 0 characters" in refused(*watch, tmp_path, *webhook)
