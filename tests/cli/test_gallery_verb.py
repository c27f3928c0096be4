"""``vireid gallery``: from a folder of images to answers, and to forgetting them, by the shell."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Self
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import qdrant_edge as edge
from tests.app.people import photograph, write_run
from tests.helpers.models import hide_models
from tests.helpers.trees import save_manifest

from vireid.cli import main
from vireid.cli.entries import parse_duration
from vireid.errors import ConfigError
from vireid.features import FeatureExtractor, load
from vireid.features.parquet import FeatureFile
from vireid.gallery import open_gallery
from vireid.gallery._about import read_about
from vireid.gallery.embedded import EmbeddedStore
from vireid.openset.fitting import calibrate
from vireid.types import Features, ImageInfo, ImageRecord, IndexedImage, Modality

PEOPLE = ("Ada", "Ben", "Cleo", "Dan")
NOON = datetime(2026, 5, 31, 12, tzinfo=UTC)
BERLIN_NOON = NOON.astimezone(ZoneInfo("Europe/Berlin"))

Vireid = Callable[..., str]
"""Runs a command that must succeed, and returns what it printed."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("run") / "r")


@pytest.fixture(scope="module")
def extractor(run: Path) -> FeatureExtractor:
    return load(run)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everybody once in each of two cameras, an hour apart, with a manifest beside."""
    folder = tmp_path_factory.mktemp("images") / "cam 1 é"
    folder.mkdir()
    rows = []
    for person, name in enumerate(PEOPLE):
        for camera in (0, 1):
            path = folder / f"{name} {camera}.png"
            path.write_bytes(photograph(person, camera=camera))
            rows.append(
                {
                    "path": path.name,
                    "camera": ("hall", "street")[camera],
                    "identity": name if person else "",
                    "time": (BERLIN_NOON + timedelta(hours=camera, minutes=5 * person)).isoformat(),
                    "note": "with a Bag" if person == 2 else "",
                }
            )
    save_manifest(folder / "list.csv", rows)
    return folder


@pytest.fixture(scope="module")
def filled(run: Path, images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gallery of these images; tests copy it."""
    place = tmp_path_factory.mktemp("filled") / "people"
    assert main(["gallery", "add", str(place), "--run", str(run), str(images / "list.csv")]) == 0
    return place


@pytest.fixture
def place(filled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(filled, tmp_path / "people é"))


@pytest.fixture
def night(tmp_path: Path) -> Path:
    """Cleo at night."""
    path = tmp_path / "night.png"
    path.write_bytes(photograph(2, camera=1, frame=5, grey=True))
    return path


@pytest.fixture
def vireid(capsys: pytest.CaptureFixture[str]) -> Vireid:
    def command(*words: str | Path) -> str:
        capsys.readouterr()
        assert main([str(word) for word in words]) == 0
        return capsys.readouterr().out

    return command


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Vireid:
    """Runs a command that must end in an error, and returns the sentence."""

    def command(*words: str | Path) -> str:
        capsys.readouterr()
        assert main([str(word) for word in words]) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("vireid: ")
        return error

    return command


def rows_in(place: Path) -> dict[str, IndexedImage]:
    with open_gallery(place) as gallery:
        return {row.info.name: row for row in gallery.rows()}


class TestAdd:
    def test_all_columns_of_a_manifest_are_kept(
        self, filled: Path, images: Path, extractor: FeatureExtractor
    ) -> None:
        rows = rows_in(filled)
        assert sorted(rows) == sorted(path.name for path in images.glob("*.png"))
        row = rows["Cleo 1.png"]
        assert row.info.path == images / "Cleo 1.png"
        assert (row.info.camera, row.info.identity, row.info.note) == (
            "street",
            "Cleo",
            "with a Bag",
        )
        assert row.info.time == NOON + timedelta(hours=1, minutes=10)
        assert row.info.modality is Modality.VISIBLE
        assert row.info.added is not None
        assert abs(datetime.now(UTC) - row.info.added) < timedelta(hours=1)
        assert row.thumbnail[:2] == b"\xff\xd8"
        with open_gallery(filled) as gallery:
            assert gallery.model == extractor.model_info

    def test_again_and_with_more(
        self, place: Path, run: Path, images: Path, vireid: Vireid, tmp_path: Path
    ) -> None:
        before = rows_in(place)
        printed = vireid("gallery", "add", place, "--run", run, images)
        assert f"'{place}' holds 8 entries: 0 new; 8 were already there." in printed
        more = Path(shutil.copytree(images, tmp_path / "more"))
        (more / "Eve.png").write_bytes(photograph(9, grey=True))
        printed = vireid("gallery", "add", place, "--run", run, more)
        assert "holds 9 entries: 1 new; 8 were already there." in printed
        # Those that are known are not described, and nothing is guessed of them.
        assert "of 1 image was detected from the colours: 1 infrared." in printed
        after = rows_in(place)
        assert after.pop("Eve.png").info.modality is Modality.INFRARED
        assert {n: r.info for n, r in after.items()} == {n: r.info for n, r in before.items()}

    def test_bad_images(
        self, run: Path, images: Path, tmp_path: Path, vireid: Vireid, refused: Vireid
    ) -> None:
        (tmp_path / "z.jpg").touch()
        words = [tmp_path / "new", "--run", run, "--batch-size", "3", images, tmp_path / "z.jpg"]
        error = refused("gallery", "add", *words)
        assert "z.jpg' (0 bytes) cannot be read" in error
        assert error.endswith("With --skip-bad, bad images are left out.")
        printed = vireid("gallery", "add", "--skip-bad", *words)
        assert "holds 8 entries: 2 new; 6 were already there" in printed
        assert "1 image was skipped:\n  '" in printed

    @pytest.mark.parametrize(
        ("name", "pattern", "expected"),
        [
            (
                "cam3_20240531T221500_t7_0.png",
                "cam{camera}_{time:%Y%m%dT%H%M%S}_t{tracklet}_{}",
                "7",
            ),
            ("0002_c3s1_000451_03.png", "auto", ""),
        ],
    )
    def test_what_names_say_comes_along(
        self, run: Path, tmp_path: Path, vireid: Vireid, name: str, pattern: str, expected: str
    ) -> None:
        (tmp_path / name).write_bytes(photograph(0))
        words = [tmp_path / name, "--pattern", pattern]
        vireid("gallery", "add", tmp_path / "people", "--run", run, *words)
        vireid("encode", run, *words, "--out", tmp_path / "a.parquet")
        [batch] = FeatureFile(tmp_path / "a.parquet")
        info = rows_in(tmp_path / "people")[name].info
        assert info == replace(batch.images[0].info, guessed=False, added=info.added)
        assert (info.camera, info.tracklet) == ("3", expected)
        assert info.time == (datetime(2024, 5, 31, 22, 15, tzinfo=UTC) if expected else None)
        assert info.identity == ("" if expected else "0002")

    def test_another_networks_gallery_is_refused(
        self, place: Path, images: Path, night: Path, tmp_path: Path, refused: Vireid
    ) -> None:
        other = write_run(tmp_path / "other", palm=False)
        for words in (["add", place, "--run", other, images], ["search", place, "--run", other]):
            error = refused("gallery", *words, *([night] if words[0] == "search" else []))
            assert f"The gallery '{place}' holds features of network" in error
            assert "create another gallery" in error


class TestEdit:
    def test_a_manifest_that_is_added_again(
        self, place: Path, run: Path, images: Path, tmp_path: Path, vireid: Vireid
    ) -> None:
        rows = [
            {"path": str(images / "Ada 0.png"), "camera": "roof", "identity": "", "note": "left"},
            {"path": str(images / "Ben 0.png"), "camera": "hall", "identity": "Ben", "note": ""},
        ]
        manifest = save_manifest(tmp_path / "list.csv", rows)
        before = rows_in(place)
        words = ("gallery", "add", place, "--run", run, manifest)
        assert (
            "1 known image came with another camera, time, identity, tracklet or note; the entries"
            " stay as they were. With --update they take the new values." in vireid(*words)
        )
        assert {n: r.info for n, r in rows_in(place).items()} == {
            n: r.info for n, r in before.items()
        }
        printed = vireid(*words, "--update")
        assert "1 entry got a new camera, time, identity, tracklet or note." in printed
        expected = replace(before["Ada 0.png"].info, camera="roof", note="left")
        after = rows_in(place)
        assert after.pop("Ada 0.png").info == expected
        before.pop("Ada 0.png")
        assert {n: r.info for n, r in after.items()} == {n: r.info for n, r in before.items()}
        assert "came with another" not in vireid(*words)

    def test_without_a_model(
        self, place: Path, images: Path, tmp_path: Path, vireid: Vireid, refused: Vireid
    ) -> None:
        (tmp_path / "x.png").write_bytes(photograph(9))
        rows = [
            {"path": str(images / "Ada 0.png"), "identity": "Ada", "time": "2024-05-31"},
            {"path": "x.png", "identity": "Eve", "time": ""},
        ]
        printed = vireid("gallery", "edit", place, save_manifest(tmp_path / "list.csv", rows))
        assert printed == f"1 entry was changed of 1 in '{place}'; 1 image is not in it.\n"
        info = rows_in(place)["Ada 0.png"].info
        assert (info.identity, info.time) == ("Ada", datetime(2024, 5, 31, tzinfo=UTC))
        words = ("gallery", "edit", place, "--camera", "hall", "--set-camera", "lobby")
        assert "4 entries of" in refused(*words)
        assert vireid(*words, "--yes") == f"4 entries were changed of 4 in '{place}'.\n"
        assert {row.info.camera for row in rows_in(place).values()} == {"lobby", "street"}
        vireid("gallery", "edit", place, "--id", info.id, "--set-time", "", "--set-identity", "")
        info = rows_in(place)["Ada 0.png"].info
        assert (info.identity, info.time, info.camera) == ("", None, "lobby")
        for wrong in (("--camera", "hall"), ("--set-note", "x"), ()):
            assert "expected either images or manifests, or new values" in refused(
                "gallery", "edit", place, *wrong
            )
        error = refused("gallery", "edit", place, "--id", info.id, "--set-time", "noon")
        assert "--set-time is 'noon'; expected ISO 8601" in error


class TestFiles:
    def test_what_was_exported_can_be_added_again(
        self, place: Path, tmp_path: Path, vireid: Vireid
    ) -> None:
        out, again = tmp_path / "all.parquet", tmp_path / "again"
        assert vireid("gallery", "export", place, "--out", out) == (
            f"'{out}' holds 8 entries of '{place}'.\n"
        )
        assert "holds 8 entries: 8 new." in vireid("gallery", "add", again, "--encoded", out)
        before, after = rows_in(place), rows_in(again)
        assert {n: r.info for n, r in after.items()} == {n: r.info for n, r in before.items()}
        for name, row in after.items():
            np.testing.assert_allclose(row.feature, before[name].feature, atol=1e-6)
            assert row.thumbnail == before[name].thumbnail

    def test_an_upload_is_not_taken_for_a_file(
        self, tmp_path: Path, extractor: FeatureExtractor, vireid: Vireid
    ) -> None:
        place, again, out = tmp_path / "a", tmp_path / "b", tmp_path / "a.parquet"
        with open_gallery(place, model=extractor.model_info, create=True) as gallery:
            values = np.eye(16, dtype=np.float32)
            names = ("up.png", "passwd", "..", "")
            entries = [
                ImageInfo(
                    path=Path(name), sha256=f"{n:x}" * 64, modality=Modality.VISIBLE, added=NOON
                )
                for n, name in enumerate(names)
            ]
            gallery.add([IndexedImage(e, v) for e, v in zip(entries, values, strict=False)])
        vireid("gallery", "export", place, "--out", out)
        vireid("gallery", "add", again, "--encoded", out)
        assert {row.info.file for row in rows_in(again).values()} == {None}
        assert set(rows_in(again)) == {"up.png", "passwd", "..", ""}

    def test_a_part_of_a_gallery(self, place: Path, tmp_path: Path, vireid: Vireid) -> None:
        out = tmp_path / "a.parquet"
        vireid("gallery", "export", place, "--out", out, "--camera", "hall", "--identity", "Ben")
        (batch,) = FeatureFile(out)
        assert [image.info.name for image in batch.images] == ["Ben 0.png"]

    def test_copying(self, place: Path, tmp_path: Path, vireid: Vireid, refused: Vireid) -> None:
        target = tmp_path / "copy"
        with open_gallery(place, write=True) as gallery:
            gallery.save_calibration("kept")
        printed = vireid("gallery", "copy", place, target)
        assert printed.startswith(f"'{target}' has 8 entries more, of 8 in '{place}'")
        with open_gallery(target) as gallery:
            assert gallery.calibration == "kept"
        assert rows_in(target).keys() == rows_in(place).keys()
        assert "has 0 entries more" in vireid("gallery", "copy", place, target)
        for same in (place, f"{place}/", place / ".." / place.name):
            assert "would be copied to itself" in refused("gallery", "copy", place, same)
        server = "http://localhost:1/people"
        assert "to itself" in refused("gallery", "copy", server, f"{server}/")

    @pytest.mark.parametrize("verb", ["add", "copy"])
    def test_a_gallery_that_has_become_large_gets_its_graph(
        self,
        place: Path,
        tmp_path: Path,
        vireid: Vireid,
        verb: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        out, target = tmp_path / "all.parquet", tmp_path / "large"
        vireid("gallery", "export", place, "--out", out)
        words = {"add": ("add", target, "--encoded", out), "copy": ("copy", place, target)}
        monkeypatch.setattr("vireid.cli.gallery.EXACT_UP_TO", 8)
        vireid("gallery", *words[verb])
        assert not read_about(target).graph
        shutil.rmtree(target)
        monkeypatch.setattr("vireid.cli.gallery.EXACT_UP_TO", 7)
        vireid("gallery", *words[verb])
        assert read_about(target).graph


def table(printed: str) -> list[dict[str, str]]:
    """The lines of the table that a search prints, by column."""
    lines = [line.strip("| ").split("|") for line in printed.splitlines() if line.startswith("|")]
    head, _, *body = [[cell.strip() for cell in line] for line in lines]
    return [dict(zip(head, line, strict=True)) for line in body]


class TestSearch:
    def test_the_right_person_by_day_for_an_image_at_night(
        self, filled: Path, run: Path, images: Path, night: Path, vireid: Vireid
    ) -> None:
        printed = vireid("gallery", "search", filled, "--run", run, night, "--limit", "5")
        assert printed.startswith(
            "Searched with 'night.png' (infrared, detected from the colours) among 8 entries.\n"
            "No verdict: this gallery is not calibrated.\n"
        )
        lines = table(printed)
        assert [line["rank"] for line in lines] == ["1", "2", "3", "4", "5"]
        assert [line["identity"] for line in lines[:2]] == ["Cleo", "Cleo"]
        assert {line["camera"] for line in lines[:2]} == {"hall", "street"}
        street = next(line for line in lines if line["camera"] == "street")
        assert street["time (UTC)"] == "2026-05-31 13:10:00Z"
        assert street["image"] == str(images / "Cleo 1.png")
        scores = [float(line["score"]) for line in lines]
        assert scores == sorted(scores, reverse=True)

    def test_an_image_does_not_find_itself(
        self, filled: Path, run: Path, images: Path, vireid: Vireid
    ) -> None:
        printed = vireid("gallery", "search", filled, "--run", run, images / "Cleo 1.png")
        assert (
            "among 7 entries.\nExcluded as query images or of their tracklets: 1 entry.\n"
            in printed
        )
        assert "Cleo 1.png" not in {line["image"] for line in table(printed)}

    def test_filters(self, filled: Path, run: Path, night: Path, vireid: Vireid) -> None:
        words = ["--camera", "street", "--identity", "Ben", "--identity", "Dan"]
        times = [
            "--since",
            "2026-05-31T15:10+02:00",
            "--until",
            "2026-06-01",
            "--modality",
            "visible",
        ]
        found = json.loads(
            vireid("gallery", "search", filled, "--run", run, night, "--json", *words, *times)
        )
        assert [hit["name"] for hit in found["hits"]] == ["Dan 1.png"]
        assert found["considered"] == 1

    @pytest.mark.parametrize(
        ("words", "field"),
        [
            (("--camera", "1"), "a camera"),
            (("--identity", "Ada"), "an identity"),
            (("--since", "2026-01-01"), "a time"),
            (("--until", "2026-01-01"), "a time"),
        ],
    )
    def test_a_filter_on_a_field_that_no_entry_has(
        self,
        run: Path,
        night: Path,
        tmp_path: Path,
        vireid: Vireid,
        refused: Vireid,
        words: tuple[str, ...],
        field: str,
    ) -> None:
        vireid("gallery", "add", tmp_path / "bare", "--run", run, night)
        (tmp_path / "query.png").write_bytes(photograph(1))
        command = ("gallery", "search", tmp_path / "bare", "--run", run, tmp_path / "query.png")
        error = refused(*command, *words)
        assert f"No entry of '{tmp_path}/bare' has {field}" in error
        assert f"by the column '{field.split()[1]}' of a manifest" in error

    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            (("--camera", "1"), "No entry has the camera '1'; there are 'hall', 'street'."),
            (
                ("--identity", "Eve"),
                "No entry has the identity 'Eve'; there are 'Ben', 'Cleo', 'Dan'.",
            ),
            (("--modality", "infrared"), "No entry has the modality 'infrared'"),
            (("--note", "hat"), "No note contains 'hat'."),
        ],
    )
    def test_a_filter_on_a_value_that_no_entry_has(
        self,
        filled: Path,
        run: Path,
        night: Path,
        vireid: Vireid,
        words: tuple[str, ...],
        expected: str,
    ) -> None:
        printed = vireid("gallery", "search", filled, "--run", run, night, *words)
        assert expected in printed
        assert printed.endswith("No entries match the filters.\n")

    def test_json(self, filled: Path, run: Path, images: Path, night: Path, vireid: Vireid) -> None:
        found = json.loads(vireid("gallery", "search", filled, "--run", run, night, "--json"))
        assert found["query"][0]["path"] == str(night)
        assert (found["query"][0]["modality"], found["query"][0]["guessed"]) == ("infrared", True)
        assert found["verdict"] is None
        row = rows_in(filled)[found["hits"][0]["name"]]
        first = found["hits"][0]
        assert first["id"] == row.info.id
        assert first["path"] == str(row.info.path)
        assert first["time"] == f"2026-05-31T{row.info.time:%H}:10:00Z"
        assert (first["rank"], first["note"], first["verdict"]) == (1, "with a Bag", None)

    def test_an_image_that_is_in_the_gallery_does_not_find_itself(
        self, filled: Path, run: Path, images: Path, vireid: Vireid
    ) -> None:
        printed = vireid("gallery", "search", filled, "--run", run, images / "Dan 0.png")
        assert "among 7 entries" in printed
        assert Path(table(printed)[0]["image"]).name == "Dan 1.png"

    def test_several_images_are_one_query(
        self, filled: Path, run: Path, tmp_path: Path, vireid: Vireid
    ) -> None:
        for frame in range(3):
            path = tmp_path / "crops" / f"{frame}.png"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(photograph(1, frame=frame + 7, grey=frame > 0))
        printed = vireid("gallery", "search", filled, "--run", run, tmp_path / "crops")
        assert "Searched with 3 images of one person (2 infrared and 1 visible, detected" in printed
        assert [line["identity"] for line in table(printed)[:2]] == ["Ben", "Ben"]
        told = vireid(
            *("gallery", "search", filled, "--run", run, tmp_path / "crops"),
            *("--query-modality", "infrared"),
        )
        assert "3 images of one person (infrared) among" in told

    def test_a_tracklet_is_a_result_and_a_query(
        self, run: Path, tmp_path: Path, vireid: Vireid, refused: Vireid
    ) -> None:
        for person in range(3):
            for frame in range(4):
                grey = frame % 2 == 1
                name = f"{('hall', 'yard')[grey]}_{person}_{frame}.png"
                image = photograph(person, camera=int(grey), frame=frame, grey=grey)
                (tmp_path / name).write_bytes(image)
        place = tmp_path / "people"
        pattern = ("--pattern", "{camera}_{tracklet}_{}.png")
        vireid("gallery", "add", place, "--run", run, *tmp_path.glob("*.png"), *pattern)
        words = ("gallery", "search", place, "--run", run, "--query-tracklet", "1")
        printed = vireid(*words, "--query-camera", "yard")
        assert printed.startswith(
            "Searched with 2 images of one person (infrared) among 6 entries.\n"
            "Left out, being of the query's own modality: 4 entries; --both-modalities searches"
            " them too.\n"
        )
        both = vireid(*words, "--query-camera", "yard", "--both-modalities")
        assert "among 10 entries.\nExcluded as query images or of their tracklets: 2" in both
        lines = table(printed)
        assert (lines[0]["tracklet"], lines[0]["alike"]) == ("1", "+ 1")
        assert len(lines) == 3
        found = json.loads(
            vireid(*words, "--query-camera", "yard", "--modality", "visible", "--json")
        )
        assert found["left_out"] == 0
        assert [group["images"] for group in found["groups"]] == [2, 2, 2]
        assert float(lines[0]["mean"]) == pytest.approx(found["groups"][0]["mean_score"], abs=1e-3)
        assert "is a tracklet of each of the cameras 'hall', 'yard'; expected one" in refused(
            *words
        )
        words = ("gallery", "search", place, "--run", run, "--query-tracklet", "9")
        assert "has no entry. No entry has the tracklet '9'; there are '0', '1'" in refused(*words)

    def test_a_report_is_recorded(
        self, place: Path, run: Path, night: Path, vireid: Vireid, refused: Vireid
    ) -> None:
        out = place.parent / "case.html"
        words = ("gallery", "search", place, "--run", run, night, "--camera", "hall")
        assert f"The report is '{out}'.\n" in vireid(*words, "--report", out)
        assert "2026-05-31 12:10:00Z" in out.read_text()
        log = place.parent / f"{place.name}.audit.jsonl"
        [event] = map(json.loads, log.read_text().splitlines())
        assert (event["action"], event["file"], event["results"]) == ("report", str(out), 4)
        out.unlink()
        error = refused(*words, "--report", out, "--audit", "/dev/full")
        assert "the audit log cannot be written" in error
        assert not out.exists()
        assert "ends in '.pdf'" in refused(*words, "--report", place.parent / "case.pdf")

    def test_a_case_keeps_decisions(
        self, place: Path, run: Path, night: Path, vireid: Vireid, refused: Vireid
    ) -> None:
        assert "has no cases. Open one with" in vireid("gallery", "case", "list", place)
        vireid("gallery", "case", "new", place, "<b>bag</b>")
        words = ("gallery", "search", place, "--run", run, night, "--case", "<b>bag</b>")
        first, second, *_ = table(vireid(*words))
        printed = vireid(*words, "--choose", first["id"], "--reject", second["id"])
        assert "holds 1 query image, 1 chosen, 1 rejected, 0 notes." in printed
        vireid("gallery", "case", "note", place, "<b>bag</b>", "\x1b[31mred")
        show = ("gallery", "case", "show", place, "<b>bag</b>")
        assert "\n\\x1b[31mred\n" in vireid(*show)
        record = json.loads(vireid(*show, "--json"))
        [query], hits = record["queries"], record["hits"]
        assert (query["name"], query["entry"]) == ("night.png", False)
        assert [(hit["id"], hit["decision"]) for hit in hits] == [
            (first["id"], "chosen"),
            (second["id"], "rejected"),
        ]
        assert f"{hits[0]['score']:.3f}" == first["score"]
        out = place.parent / "case.html"
        vireid("gallery", "case", "report", place, "<b>bag</b>", "--out", out)
        assert "&lt;b&gt;bag&lt;/b&gt;" in out.read_text()
        vireid("gallery", "forget", place, "--id", first["id"])
        assert "1 of their images were deleted" in vireid("gallery", "verify", place)
        assert first["id"] not in vireid(*show, "--json")
        assert "--case with them" in refused(*words[:-2], "--choose", first["id"])
        assert "both name" in refused(*words, "--choose", "x", "--reject", "x")
        assert "found no 'x' among its 7 results" in refused(*words, "--choose", "x")
        assert "has no case 'y'" in refused(*words[:-1], "y")
        assert "No id is given" in refused("gallery", "case", "add", place, "<b>bag</b>")
        log = (place.parent / f"{place.name}.audit.jsonl").read_text()
        actions = [json.loads(line)["action"] for line in log.splitlines()]
        assert "case-report" in actions
        assert "bag" not in log
        vireid("gallery", "case", "delete", place, "<b>bag</b>")
        assert "has no case '<b>bag</b>'" in refused(*show)

    def test_frames_of_one_walk_are_one_line(
        self, place: Path, run: Path, night: Path, tmp_path: Path, vireid: Vireid
    ) -> None:
        rows = []
        for frame in range(1, 4):
            (tmp_path / f"{frame}.png").write_bytes(photograph(2, camera=1, frame=frame))
            time = NOON + timedelta(hours=1, minutes=10, seconds=frame)
            rows.append({"path": f"{frame}.png", "camera": "street", "time": time.isoformat()})
        manifest = save_manifest(tmp_path / "walk.csv", rows)
        vireid("gallery", "add", place, "--run", run, manifest)
        words = ["gallery", "search", place, "--run", run, night, "--camera", "street"]
        printed = vireid(*words)
        lines = table(printed)
        assert [line["rank"] for line in lines] == ["1", "2", "3", "4"]
        assert lines[0]["alike"] == "+ 3"
        found = json.loads(vireid(*words, "--json"))
        assert [group["rank"] for group in found["groups"]] == [1, 2, 3, 4]
        assert [hit["rank"] for hit in found["hits"]] == [1, 1, 1, 1, 2, 3, 4]
        vireid(*words, "--report", tmp_path / "found.csv")
        rows_written = csv.DictReader((tmp_path / "found.csv").read_text("utf-8-sig").splitlines())
        assert [row["rank"] for row in rows_written] == list("1111234")
        assert "alike: further images of the tracklet or near-duplicates (--each)." in printed
        each = vireid(*words, "--each")
        assert "alike" not in each
        assert [line["rank"] for line in table(each)] == [str(n) for n in range(1, 8)]

    def test_names_cannot_steer_the_terminal(
        self, place: Path, run: Path, night: Path, tmp_path: Path, vireid: Vireid
    ) -> None:
        name = "\x1b[31mred\x1b[0m | a\nb.png"
        (tmp_path / name).write_bytes(photograph(8))
        vireid("gallery", "add", place, "--run", run, "--camera", "\x1b]0;x", tmp_path / name)
        printed = vireid("gallery", "search", place, "--run", run, night, "--each")
        assert "\x1b" not in printed
        assert len([line for line in printed.splitlines() if line.startswith("|")]) == 2 + 9


class TestForget:
    def test_one_image(
        self, place: Path, run: Path, images: Path, night: Path, vireid: Vireid
    ) -> None:
        image = images / "Cleo 1.png"
        printed = vireid("gallery", "forget", place, "--image", image)
        assert printed.startswith(f"1 entry was deleted; '{place}' holds 7.\n")
        assert re.search(r"1 deleted .*, 0 traces", printed)
        assert image.exists()
        found = vireid("gallery", "search", place, "--run", run, night)
        assert "Cleo 1" not in found
        assert "Cleo 0" in found
        again = vireid("gallery", "forget", place, "--image", image)
        assert again == f"'{place}' has no such entry; no entry was deleted.\n"

    def test_more_than_one_asks_for_yes(self, place: Path, vireid: Vireid, refused: Vireid) -> None:
        words = ["gallery", "forget", place, "--identity", "Ben"]
        error = refused(*words)
        assert f"2 entries of '{place}' would be deleted for good: '" in error
        assert "Ben 0.png'" in error
        assert error.endswith("; add --yes to do so.")
        assert len(rows_in(place)) == 8
        assert "2 entries were deleted" in vireid(*words, "--yes")
        assert not [name for name in rows_in(place) if name.startswith("Ben")]
        error = refused("gallery", "forget", place, "--camera", "hall", "--camera", "street")
        assert "' and 3 more; add --yes to do so." in error

    def test_conditions_hold_together(self, place: Path, images: Path, vireid: Vireid) -> None:
        words = ["gallery", "forget", place, "--image", images / "Dan 0.png", "--yes"]
        printed = vireid(*words, "--image", images / "Ben 0.png", "--identity", "Dan")
        assert "1 entry was deleted" in printed
        assert len(rows_in(place)) == 7
        assert "Dan 0.png" not in rows_in(place)

    def test_never_everything(self, place: Path, refused: Vireid) -> None:
        assert "got no condition" in refused("gallery", "forget", place, "--yes")
        assert len(rows_in(place)) == 8

    def test_a_damaged_entry(
        self, place: Path, vireid: Vireid, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """As the message about it says; the others stay."""
        rows = rows_in(place)
        id = rows["Ben 1.png"].info.id
        with open_gallery(place, write=True) as gallery:
            store = gallery._store
            assert isinstance(store, EmbeddedStore)
            with store._open() as shard:
                shard.update(edge.UpdateOperation.delete_vectors([id], [""]))
                shard.flush()
        assert main(["gallery", "verify", str(place)]) == 2
        assert f"Entry '{id}' of the gallery is damaged" in capsys.readouterr().out
        other = rows["Ada 0.png"].info.id
        words = ["gallery", "forget", place, "--id", id, "--id", other, "--camera", "street"]
        assert "1 entry was deleted" in vireid(*words)
        assert rows_in(place).keys() == rows.keys() - {"Ben 1.png"}
        assert "7 rows read, 0 faults" in vireid("gallery", "verify", place)

    def test_what_is_kept_too_long(self, run: Path, tmp_path: Path, vireid: Vireid) -> None:
        for name in ("old.png", "new.png"):
            (tmp_path / name).write_bytes(photograph(len(name), frame=name == "old.png"))
        before = datetime.now(UTC) - timedelta(days=40)
        rows = [{"path": "old.png", "time": before.isoformat()}, {"path": "new.png", "time": ""}]
        place = tmp_path / "place"
        vireid("gallery", "add", place, "--run", run, save_manifest(tmp_path / "list.csv", rows))
        assert "no entry was deleted" in vireid("gallery", "expire", place, "--older-than", "41d")
        printed = vireid("gallery", "expire", place, "--older-than", "39d")
        assert printed.startswith("1 entry was deleted")
        assert ", 0 traces" in printed
        assert list(rows_in(place)) == ["new.png"]

    def test_entries_of_a_clock_that_was_ahead_are_reported(
        self,
        run: Path,
        images: Path,
        tmp_path: Path,
        vireid: Vireid,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        class Ahead(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> Self:
                return super().now(tz) + timedelta(days=3650)

        place = tmp_path / "place"
        with monkeypatch.context() as patch:
            patch.setattr("vireid.gallery.gallery.datetime", Ahead)
            vireid("gallery", "add", place, "--run", run, images / "Dan 0.png")
        vireid("gallery", "add", place, "--run", run, images / "Dan 1.png")
        assert main(["gallery", "expire", str(place), "--older-than", "1d"]) == 0
        assert "1 entry is dated in the future" in capsys.readouterr().err


class TestVerify:
    def test_a_whole_gallery(self, filled: Path, vireid: Vireid) -> None:
        assert vireid("gallery", "verify", filled).startswith("8 rows read, 0 faults")

    def test_a_damaged_filter_index_is_rebuilt(
        self, place: Path, vireid: Vireid, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Forgetting an identity does not miss the entry that the index has lost."""
        [file] = place.glob("shard/segments/*/payload_index/*identity-map/page_0.dat")
        data = file.read_bytes()
        file.write_bytes(data.replace(b"Ben", b"Bfn", 1))
        assert main(["gallery", "verify", str(place)]) == 2
        assert "The filter index of 'identity' does not match" in capsys.readouterr().out
        vireid("gallery", "verify", place, "--rebuild")
        (file,) = place.glob("shard/segments/*/payload_index/*identity-map/page_0.dat")
        file.write_bytes(file.read_bytes().replace(b"Ben", b"Bfn", 1))
        before = rows_in(place)
        printed = vireid("gallery", "forget", place, "--identity", "Ben", "--yes")
        assert "entries were deleted" in printed
        left = rows_in(place)
        assert left.keys() == {name for name in before if not name.startswith("Ben")}

    def test_images_that_are_gone_are_listed(
        self, place: Path, run: Path, night: Path, vireid: Vireid
    ) -> None:
        vireid("gallery", "add", place, "--run", run, night)
        night.unlink()
        printed = vireid("gallery", "verify", place)
        assert str(night) in printed
        # Searching does not need it.
        vireid("gallery", "info", place)

    def test_an_entry_that_is_still_there(
        self, place: Path, vireid: Vireid, capsys: pytest.CaptureFixture[str]
    ) -> None:
        id = rows_in(place)["Ben 1.png"].info.id
        assert main(["gallery", "verify", str(place), "--gone", id]) == 2
        told = capsys.readouterr()
        assert id in told.out
        assert "is damaged, see above" in told.err
        assert "1 entry was deleted" in vireid("gallery", "forget", place, "--id", id)
        assert "Ben 1.png" not in rows_in(place)
        assert ", 0 traces" in vireid("gallery", "verify", place, "--gone", id)


class TestVerdicts:
    @pytest.fixture
    def calibrated(self, place: Path, extractor: FeatureExtractor) -> Path:
        """Calibrated by forty people whom a network tells apart as well as can be."""
        rng = np.random.default_rng(0)
        people = np.repeat(np.eye(40, 64), 4, axis=0) + rng.normal(0, 0.01, (160, 64))
        values = np.concatenate([people, people]).astype(np.float32)
        values /= np.linalg.norm(values, axis=1, keepdims=True)
        records = tuple(
            ImageRecord(Path(f"{m}{n}"), n // 4, 0, m) for m in Modality for n in range(160)
        )
        learnt = calibrate(
            Features(values, records), fingerprint=extractor.fingerprint, resamples=20
        )
        with open_gallery(place, write=True) as gallery:
            gallery.save_calibration(learnt.to_json())
        return place

    def test_a_search_of_a_calibrated_gallery_has_a_verdict(
        self, calibrated: Path, run: Path, night: Path, tmp_path: Path, vireid: Vireid
    ) -> None:
        words = ["gallery", "search", calibrated, "--run", run]
        printed = vireid(*words, night, "--each")
        assert "\nVerdict: likely match.\n" in printed
        assert table(printed)[0]["verdict"] == "likely the same person"
        found = json.loads(vireid(*words, night, "--json"))
        assert found["verdict"] == "likely match"
        assert found["hits"][0]["verdict"] == "likely the same person"


def test_info(filled: Path, vireid: Vireid) -> None:
    printed = vireid("gallery", "info", filled)
    for part in (str(filled), "dimension 16", "visible 8", "hall 4, street 4", "3 named"):
        assert part in printed


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("search nowhere --run {run} {image}", "'nowhere' is not a gallery"),
        ("info {folder}", "is not a gallery: it has no gallery.json"),
        ("info http://localhost:1/people", "http://localhost:1"),
        ("search {filled} --run {folder} {image}", "is no run folder"),
        ("search {filled} --run {run} {folder}", "is a folder without any image"),
        ("search {filled} --run {run}", "no image is named"),
        ("search {filled} --run {run} {image} --limit 0", "0; expected 1 or more"),
        (
            "search {filled} --run {run} {image} --since noon",
            "--since is 'noon'; expected ISO 8601",
        ),
        (
            "search {filled} --run {run} {image} --since 2024-02-02 --until 2024-02-01",
            "is not before --until '2024-02-01'",
        ),
        ("add new {image}", "No run is given, and the default model"),
        ("add new --run {run}", "no image is named"),
        ("add new --run {run} --encoded a.parquet", "already holds features"),
        ("add new --encoded a.parquet --camera x", "already holds features"),
        ("add new --encoded a.parquet", "'a.parquet' is no file"),
        ("add new --run {run} {image} --shards 0", "0"),
        ("export {filled} --out a.csv", "'a.csv' ends in '.csv'"),
        ("export {filled} --out /proc/a.parquet", "'/proc/a.parquet' cannot be written"),
        ("forget {filled} --image nowhere.png", "--image 'nowhere.png' cannot be read"),
        ("expire {filled} --older-than 30", "'30' is not a valid duration; expected a number and"),
        ("copy nowhere new", "'nowhere' is not a gallery"),
    ],
)
def test_what_the_user_can_fix_is_one_sentence(
    words: str,
    expected: str,
    filled: Path,
    run: Path,
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    refused: Vireid,
) -> None:
    hide_models(monkeypatch)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "image.png").write_bytes((images / "Ada 0.png").read_bytes())
    places = {"filled": filled, "run": run, "folder": "folder", "image": "image.png"}
    error = refused("gallery", *(word.format(**places) for word in words.split()))
    assert expected in error
    assert {path.name for path in tmp_path.iterdir()} == {"folder", "image.png"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30d", timedelta(days=30)),
        ("12h", timedelta(hours=12)),
        ("90m", timedelta(minutes=90)),
        (" 2W ", timedelta(weeks=2)),
        ("0d", timedelta(0)),
    ],
)
def test_lengths_of_time(text: str, expected: timedelta) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "1.5h", "1y", "99999w", "٣d", "1d 2h"])
def test_what_is_no_length_of_time(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a valid duration; expected"):
        parse_duration(text)
