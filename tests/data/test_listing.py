"""Files, folders, patterns and manifests become one list, each image once, or a clear sentence."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet
from tests.helpers.messages import refused
from tests.helpers.trees import save_manifest, write_manifest

from vireid.data.layouts import Manifest
from vireid.data.layouts.pattern import PathPattern
from vireid.data.listing import list_images
from vireid.errors import ConfigError
from vireid.types import ImageInfo, Modality


def touch(root: Path, *names: str) -> list[Path]:
    """Files with names of images; a listing opens none."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return [root / name for name in names]


def paths(*sources: str | Path) -> list[Path]:
    found = list_images([str(source) for source in sources])
    assert found == [ImageInfo(path=image.path) for image in found]
    return [image.path for image in found]


class TestFiles:
    def test_a_folder_is_searched_recursively_in_order(self, tmp_path: Path) -> None:
        wanted = touch(tmp_path, "B.JPG", "a/c.webp", "a/é 夜.png", "b.bmp")
        touch(tmp_path, "a/notes.txt", "a/._c.jpg", "list.csv", "c.jpg.part")
        assert paths(tmp_path) == sorted(wanted)

    def test_sources_keep_their_order_and_duplicates_are_listed_once(self, tmp_path: Path) -> None:
        one, two, three = touch(tmp_path, "a/1.jpg", "a/2.jpg", "b/3.jpg")
        (tmp_path / "link.jpg").symlink_to(two)
        detour = tmp_path / "b/../a/1.jpg"
        assert paths(three, tmp_path / "link.jpg", tmp_path / "a", detour) == [
            three,
            tmp_path / "link.jpg",
            one,
        ]

    def test_a_named_file_is_listed_whatever_its_extension(self, tmp_path: Path) -> None:
        (file,) = touch(tmp_path, "frame.0001")
        assert paths(file) == [file]

    def test_patterns(self, tmp_path: Path) -> None:
        touch(tmp_path, "a/1.jpg", "a/b/2.jpg", "a/b/3.txt", "c/4.png")
        (tmp_path / "a/folder.jpg").mkdir()
        a = tmp_path / "a"
        assert paths(tmp_path / "a/*") == [a / "1.jpg"]
        assert paths(tmp_path / "**/*.jpg") == [a / "1.jpg", a / "b/2.jpg"]
        assert paths(tmp_path / "?/[0-9].*") == [a / "1.jpg", tmp_path / "c/4.png"]

    def test_the_name_of_an_existing_file_is_no_pattern(self, tmp_path: Path) -> None:
        wanted, folder, _ = touch(tmp_path, "a[1].jpg", "b[1]/x.jpg", "a1.jpg")
        assert paths(wanted) == [wanted]
        assert paths(folder.parent) == [folder]

    def test_broken_and_circular_links(self, tmp_path: Path) -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "a/again").symlink_to(tmp_path)
        lost = tmp_path / "a/lost.jpg"
        lost.symlink_to(tmp_path / "nowhere.jpg")
        # Reading the image reports the broken link.
        assert paths(tmp_path) == [lost]
        assert paths(lost) == [lost]

    def test_a_name_that_is_not_utf8(self, tmp_path: Path) -> None:
        name = os.fsdecode(b"caf\xe9.jpg")
        touch(tmp_path, name)
        assert paths(tmp_path) == [tmp_path / name]

    @pytest.mark.parametrize(
        ("name", "problem"),
        [
            ("nowhere", "does not exist"),
            ("nowhere.csv", "does not exist"),
            ("empty", "is a folder without any image in it or below"),
            ("*.png", "is a pattern that no image matches"),
            ("pipe.jpg", "is no ordinary file"),
            ("nul\0.jpg", "does not exist"),
        ],
    )
    def test_a_source_without_an_image(self, tmp_path: Path, name: str, problem: str) -> None:
        touch(tmp_path, "empty/notes.txt")
        os.mkfifo(tmp_path / "pipe.jpg")
        source = f"{tmp_path}/{name}"
        assert refused(lambda: list_images([source])).startswith(f"'{source}' {problem}; expected")

    def test_no_source_at_all(self) -> None:
        assert refused(lambda: list_images([""])).startswith("'' is empty; expected")
        with pytest.raises(ConfigError, match="no image is named; expected image files, folders"):
            list_images([])

    def test_modality_and_camera_given_for_all_images(self, tmp_path: Path) -> None:
        (file,) = touch(tmp_path, "a.jpg")
        assert list_images([str(file)], modality=Modality.INFRARED, camera="yard") == [
            ImageInfo(path=file, modality=Modality.INFRARED, camera="yard")
        ]


_COLUMNS = ("path", "modality", "camera", "identity", "time", "tracklet", "note")

ROWS: list[dict[str, Any]] = [
    {
        "path": "day/a.jpg",
        "modality": "RGB",
        "camera": "entrance",
        "identity": "",
        "time": "2024-05-31T12:00:00+02:00",
        "tracklet": "7",
        "note": "two bags, red",
    },
    {
        "path": "night/b.png",
        "modality": "thermal",
        "camera": "",
        "identity": "Ada",
        "time": "2024-05-31 23:10:00.5",
        "tracklet": "",
        "note": "",
    },
    {**dict.fromkeys(_COLUMNS, ""), "path": "c.png", "camera": "7"},
]


class TestManifests:
    @pytest.mark.parametrize("kind", ["csv", "parquet"])
    def test_every_column_is_read(self, tmp_path: Path, kind: str) -> None:
        file = save_manifest(tmp_path / f"list.{kind}", ROWS)
        summer = timezone(timedelta(hours=2))
        assert list_images([str(file)], modality=Modality.VISIBLE, camera="roof") == [
            ImageInfo(
                path=tmp_path / "day/a.jpg",
                modality=Modality.VISIBLE,
                camera="entrance",
                time=datetime(2024, 5, 31, 12, tzinfo=summer),
                tracklet="7",
                note="two bags, red",
            ),
            ImageInfo(
                path=tmp_path / "night/b.png",
                modality=Modality.INFRARED,
                camera="roof",
                identity="Ada",
                time=datetime(2024, 5, 31, 23, 10, 0, 500_000, tzinfo=UTC),
            ),
            ImageInfo(path=tmp_path / "c.png", modality=Modality.VISIBLE, camera="7"),
        ]

    def test_a_path_alone_is_enough_and_other_columns_are_ignored(self, tmp_path: Path) -> None:
        away = tmp_path / "away/x.jpg"
        (tmp_path / "list.csv").write_text(f"box,Path\n1,y.jpg\n2,{away}\n")
        assert paths(tmp_path / "list.csv") == [tmp_path / "y.jpg", away]

    def test_columns_of_other_types(self, tmp_path: Path) -> None:
        moment = datetime(2024, 5, 31, 22, 15, 0, 123_456, tzinfo=UTC)
        table = pa.table(
            {
                "path": ["a.jpg", "b.jpg"],
                "camera": pa.array([1.0, None]),
                "time": pa.array([moment, None], pa.timestamp("us", tz="UTC")),
                "feature": [[1.0], [0.5]],
            }
        )
        parquet.write_table(table, tmp_path / "list.parquet")
        assert list_images([str(tmp_path / "list.parquet")]) == [
            ImageInfo(path=tmp_path / "a.jpg", camera="1", time=moment),
            ImageInfo(path=tmp_path / "b.jpg"),
        ]

    @pytest.mark.parametrize("kind", ["csv", "parquet"])
    def test_a_training_manifest_is_a_manifest(self, tmp_path: Path, kind: str) -> None:
        file = write_manifest(tmp_path, kind=kind)
        layout = Manifest(file)
        records = {r.path: r for r in (*layout.train(), *layout.val(), *layout.test())}
        found = list_images([str(file)])
        assert [(i.path, i.identity, i.camera, i.modality) for i in found] == [
            (r.path, str(r.identity), str(r.camera), r.modality)
            for r in (records[image.path] for image in found)
        ]
        assert len(found) == len(records)

    def test_a_folder_and_a_manifest_of_the_same_files(self, tmp_path: Path) -> None:
        files = touch(tmp_path, "c.png", "day/a.jpg", "night/b.png", "z.png")
        file = save_manifest(tmp_path / "list.csv", ROWS)
        listed = {image.path: image for image in list_images([str(file)])}
        assert list_images([str(tmp_path), str(file)]) == [
            listed.get(path, ImageInfo(path=path)) for path in files
        ]

    def test_a_contradiction(self, tmp_path: Path) -> None:
        touch(tmp_path, "day/a.jpg")
        one = save_manifest(tmp_path / "one.csv", ROWS)
        other = save_manifest(tmp_path / "two.csv", [{**ROWS[0], "camera": "exit"}])
        message = refused(lambda: list_images([str(one), str(other)]))
        assert (
            f"'{tmp_path}/day/a.jpg' is listed twice, with the camera 'entrance', 'exit'" in message
        )
        assert len(list_images([str(one), str(one)])) == 3

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            ({"path": ""}, "line 3 has no path"),
            ({"modality": "grey"}, "line 3 has the modality 'grey'; expected visible, vis, rgb"),
            ({"time": "yesterday"}, "line 3 has the time 'yesterday'; expected ISO 8601"),
            ({"time": "20240531"}, "line 3 has the time '20240531'; expected ISO 8601"),
            ({"time": "0001-01-01T00:00+14:00"}, "line 3 has the time '0001-01-01T00:00+14:00'"),
        ],
    )
    def test_a_wrong_cell(self, tmp_path: Path, change: dict[str, str], expected: str) -> None:
        rows = [ROWS[0], {**ROWS[1], **change}, {**ROWS[2], "path": "d.png", **change}]
        file = save_manifest(tmp_path / "list.csv", rows)
        message = refused(lambda: list_images([str(file)]))
        assert f"'{file}' {expected}" in message
        assert message.endswith("fix the row (the first of 2 such errors).")

    def test_an_invalid_manifest(self, tmp_path: Path) -> None:
        for text, expected in (
            ("image\na.jpg\n", "has no column 'path'"),
            ("path\n", "has 0 rows below its header"),
            ("path,path\na,b\n", "has 'path' twice"),
        ):
            (tmp_path / "list.csv").write_text(text)
            assert expected in refused(lambda: list_images([str(tmp_path / "list.csv")]))


class TestPatterns:
    def test_the_end_of_a_path_gives_what_the_manifest_does_not(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        name = "cam3_20240531T221500_t7_0.jpg"
        nested, plain, other, listed = touch(
            tmp_path, f"a/b/{name}", name, "a/other.jpg", f"list/{name}"
        )
        row = {"path": name, "camera": "yard", "identity": "Ada"}
        manifest = save_manifest(tmp_path / "list/list.csv", [row])
        pattern = PathPattern("cam{camera}_{time:%Y%m%dT%H%M%S}_t{tracklet}_{any}.jpg")
        sources = [tmp_path / "a", plain, manifest]
        found = list_images(sources, camera="roof", pattern=pattern)
        time = datetime(2024, 5, 31, 22, 15, tzinfo=UTC)
        read = ImageInfo(path=nested, camera="3", time=time, tracklet="7")
        assert found == [
            read,
            ImageInfo(path=other, camera="roof"),
            replace(read, path=plain),
            replace(read, path=listed, camera="yard", identity="Ada"),
        ]
        assert (
            "matches 3 of 4 images and gives their camera, time (UTC unless it has an offset),"
            f" tracklet; the others get nothing from it: '{other}'.\n"
        ) in capsys.readouterr().err

    def test_two_stars_start_at_the_folder_that_is_named(self, tmp_path: Path) -> None:
        (file,) = touch(tmp_path, "people/hall/2024/06/1.jpg")
        for source in (tmp_path / "people", tmp_path / "people/**/*.jpg"):
            [image] = list_images([source], pattern=PathPattern("{camera}/**/{}.jpg"))
            assert (image.path, image.camera) == (file, "hall")

    @pytest.mark.parametrize(
        ("pattern", "expected"),
        [
            ("{modality}_{}", "/x_2024.jpg' has the modality 'x'; expected visible"),
            ("{any}_{time}.jpg", "/x_2024.jpg' has the time '2024'; expected ISO 8601"),
            ("cam{camera}_{}", "None of 1 image matches the pattern 'cam{camera}_{}': "),
        ],
    )
    def test_a_pattern_that_does_not_fit(self, tmp_path: Path, pattern: str, expected: str) -> None:
        touch(tmp_path, "x_2024.jpg")
        assert expected in refused(lambda: list_images([tmp_path], pattern=PathPattern(pattern)))
