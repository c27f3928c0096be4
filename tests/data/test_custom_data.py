"""One's own data by a manifest: what is read, and how every planted fault is named."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from tests.helpers.messages import only, refused, sentence
from tests.helpers.trees import copy, counted, save_manifest, write_manifest

from vireid.data.layouts import DataSource, Layout, Manifest
from vireid.data.layouts._custom import tabulate
from vireid.data.rows import Column
from vireid.data.rows import Rows as Table
from vireid.errors import ConfigError
from vireid.types import ImageRecord, Modality

Rows = list[dict[str, object]]


@pytest.fixture(scope="module", params=["csv", "parquet"])
def manifest(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("x") / "cam3 Bilder für 行人"
    return write_manifest(root, kind=request.param)


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    """Six images of two persons; a test saves its manifest next to them."""
    found: Rows = []
    for identity, split in ((4, "train"), (9, "test")):
        for camera, modality in ((1, "visible"), (2, "visible"), (3, "infrared")):
            path = f"p{identity}/c{camera}.png"
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).touch()
            found.append(
                {
                    "path": path,
                    "identity": identity,
                    "camera": camera,
                    "modality": modality,
                    "split": split,
                }
            )
    return found


@pytest.fixture(params=["csv", "parquet"])
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Rows], Manifest]:
    return lambda rows: Manifest(save_manifest(tmp_path / f"list.{request.param}", rows))


def keys(records: tuple[ImageRecord, ...]) -> list[tuple[int, int, Modality]]:
    return [(r.identity, r.camera, r.modality) for r in records]


class TestManifest:
    def test_by_name(self, manifest: Path) -> None:
        layout: Layout = DataSource(layout="manifest", root=manifest).open()
        assert (layout, layout.name, layout.root) == (Manifest(manifest), "manifest", manifest)
        assert layout.published() == ()
        assert layout.problems() == ()

    def test_who_is_where(self, manifest: Path) -> None:
        layout = Manifest(manifest)
        visible, infrared = Modality.VISIBLE, Modality.INFRARED
        assert keys(layout.train()) == [
            (identity, camera, infrared if camera == 4 else visible)
            for camera in (1, 2, 4)
            for identity in (1, 2, 5)
            for _ in range(2)
        ]
        assert (
            keys(layout.val())
            == [(7, 1, visible)] * 2 + [(7, 2, visible)] * 2 + [(7, 4, infrared)] * 2
        )
        assert set(keys(layout.query())) == {(3, 4, infrared), (10, 4, infrared)}
        assert set(keys(layout.gallery())) == {(i, c, visible) for i in (3, 10) for c in (1, 2)}
        assert sorted(layout.test()) == sorted(layout.query() + layout.gallery())
        assert list(layout.identity_names) == [1, 2, 3, 5, 7, 10]
        for record in layout.train() + layout.val() + layout.test():
            _, _, identity, camera = record.path.relative_to(manifest.parent).parts
            assert record.path.is_file()
            assert camera.startswith(f"camera {record.camera}, {record.modality}, ")
            assert int(identity) == record.identity

    def test_a_folder_stands_for_its_manifest(self, manifest: Path) -> None:
        assert Manifest(manifest.parent).file == manifest
        assert Manifest(manifest.parent).train() == Manifest(manifest).train()

    def test_counts(self, manifest: Path) -> None:
        layout = Manifest(manifest)
        assert counted(layout.train()) == (3, 12, 6)
        assert counted(layout.val()) == (1, 4, 2)
        assert counted(layout.query()) == (2, 0, 4)
        assert counted(layout.gallery()) == (2, 8, 0)

    def test_files_are_all_beside_the_images(self, manifest: Path, tmp_path: Path) -> None:
        root = copy(manifest.parent, tmp_path / "own")
        (root / "pictures/train/1/Thumbs.db").touch()
        (root / "pictures/elsewhere.png").touch()
        files = list(Manifest(root).walk().files)
        assert files == sorted(p for p in root.glob("pictures/*/*/*"))
        assert root / "pictures/train/1/Thumbs.db" in files

    def test_the_manifest_is_no_file_beside_the_images(
        self, rows: Rows, saved: Callable[[Rows], Manifest], tmp_path: Path
    ) -> None:
        (tmp_path / "here.png").touch()
        layout = saved([*rows, {**rows[0], "path": "here.png"}])
        assert layout.file.parent == tmp_path
        assert [path.name for path in layout.walk().files if path.parent == tmp_path] == [
            "here.png"
        ]

    def test_the_order_does_not_follow_the_rows(
        self, rows: Rows, saved: Callable[[Rows], Manifest], tmp_path: Path
    ) -> None:
        # Equal camera, identity and name: only the folder is left to tell them apart.
        folders = ("a", "a/b", "a-b", "b")
        for folder in folders:
            (tmp_path / folder).mkdir()
            (tmp_path / folder / "c1.png").touch()
            rows.append({**rows[0], "path": f"{folder}/c1.png"})
        forth = saved(rows).train()
        assert saved(rows[::-1]).train() == forth
        first = [r.path for r in forth][:5]
        assert first == sorted(first)
        assert {path.parent for path in first[:4]} == {tmp_path / folder for folder in folders}

    def test_test_is_query_and_gallery(self, rows: Rows, saved: Callable[[Rows], Manifest]) -> None:
        layout = saved(rows)
        assert layout.query() == layout.gallery() == layout.test()
        assert len(layout.test()) == 3

    def test_val_is_always_kept_out_of_training(
        self, rows: Rows, saved: Callable[[Rows], Manifest]
    ) -> None:
        layout = saved([{**row, "split": "val"} if row["camera"] == 2 else row for row in rows])
        assert keys(layout.val()) == [(4, 2, Modality.VISIBLE), (9, 2, Modality.VISIBLE)]
        assert [r.camera for r in layout.train()] == [1, 3]
        source = DataSource(layout="manifest", root=layout.root, hold_out=True)
        assert source.open().train() == layout.train()

    def test_hold_out_needs_rows_of_val(
        self, rows: Rows, saved: Callable[[Rows], Manifest]
    ) -> None:
        source = DataSource(layout="manifest", root=saved(rows).root, hold_out=True)
        with pytest.raises(ConfigError, match="--hold-out` needs images of the split val"):
            source.open()

    @pytest.mark.parametrize(
        ("word", "modality"),
        [
            *((word, Modality.VISIBLE) for word in ("visible", "vis", "RGB", "Visible", " vis ")),
            *((w, Modality.INFRARED) for w in ("infrared", "ir", "NIR", "Thermal", "IR")),
        ],
    )
    def test_words_for_a_modality(
        self, rows: Rows, saved: Callable[[Rows], Manifest], word: str, modality: Modality
    ) -> None:
        rows[3]["modality"] = word
        rows[3]["split"] = "QUERY"
        assert [r.modality for r in saved(rows).query() if r.camera == 1] == [modality]

    def test_cameras_may_be_left_out(self, rows: Rows, saved: Callable[[Rows], Manifest]) -> None:
        for layout in (
            saved([{**row, "camera": ""} for row in rows]),
            saved([{k: v for k, v in row.items() if k != "camera"} for row in rows]),
        ):
            assert {r.camera for r in layout.test()} == {0}
            assert layout.camera_names == {}

    def test_names_are_numbered_in_sorted_order(
        self, rows: Rows, saved: Callable[[Rows], Manifest]
    ) -> None:
        people = {4: "Zoë", 9: "Anna"}
        places = {1: "yard", 2: "gate", 3: "12"}
        layout = saved(
            [
                {
                    **row,
                    "identity": people[int(str(row["identity"]))],
                    "camera": places[int(str(row["camera"]))],
                }
                for row in rows
            ]
        )
        assert layout.identity_names == {1: "Anna", 2: "Zoë"}
        assert layout.camera_names == {1: "12", 2: "gate", 3: "yard"}
        assert [(r.identity, r.camera) for r in layout.train()] == [(2, 1), (2, 2), (2, 3)]

    @pytest.mark.parametrize(
        ("first", "second", "numbers"),
        [
            ("0007", "12", {7: "0007", 12: "12"}),
            ("-1", "0", {-1: "-1", 0: "0"}),
            ("7", "seven", {1: "7", 2: "seven"}),
            ("9" * 19, "8", {1: "8", 2: "9" * 19}),
            ("1.5", "2", {1: "1.5", 2: "2"}),
            ("²", "2", {1: "2", 2: "²"}),
        ],
    )
    def test_whole_numbers_are_kept(
        self,
        rows: Rows,
        saved: Callable[[Rows], Manifest],
        first: str,
        second: str,
        numbers: dict[int, str],
    ) -> None:
        words = {4: first, 9: second}
        layout = saved([{**row, "identity": words[int(str(row["identity"]))]} for row in rows])
        assert layout.identity_names == numbers
        assert {layout.identity_names[r.identity] for r in layout.train()} == {first}
        assert {layout.identity_names[r.identity] for r in layout.test()} == {second}

    def test_a_number_is_one_name_however_it_is_written(
        self,
        rows: Rows,
        saved: Callable[[Rows], Manifest],
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        for row, name in zip(rows, ["0001", "1", "01", *["Dora"] * 3], strict=True):
            row["identity"] = name
        layout = saved(rows)
        assert {r.identity_name for r in layout.train()} == {"0001"}
        assert {r.identity_name for r in layout.test()} == {"Dora"}
        said = f"'{layout.root}' writes 1 identity in several ways, each taken as one:"
        assert capsys.readouterr().err.count(said) == 1
        assert f"{said} '0001 = 01 = 1'; expected" in only(saved(rows).problems())

    def test_a_camera_may_have_the_number_0(
        self, rows: Rows, saved: Callable[[Rows], Manifest]
    ) -> None:
        layout = saved([{**row, "camera": int(str(row["camera"])) - 1} for row in rows])
        assert [(r.camera, r.camera_name) for r in layout.train()] == [(1, "0"), (2, "1"), (3, "2")]

    def test_times(self, rows: Rows, saved: Callable[[Rows], Manifest]) -> None:
        words = ["2024-05-31T22:15:00Z", "2024-05-31 22:15", "2024-05-31"]
        layout = saved(
            [{**row, "time": word} for row, word in zip(rows, [*words, "", "", ""], strict=True)]
        )
        assert [r.time for r in layout.train()] == [
            datetime(2024, 5, 31, 22, 15, tzinfo=UTC),
            datetime(2024, 5, 31, 22, 15, tzinfo=UTC),
            datetime(2024, 5, 31, tzinfo=UTC),
        ]
        assert {r.time for r in layout.test()} == {None}

    def test_an_identity_is_one_however_it_was_typed(
        self, rows: Rows, saved: Callable[[Rows], Manifest]
    ) -> None:
        names = [unicodedata.normalize(form, "Zoë") for form in ("NFC", "NFD", "NFC")]
        layout = saved(
            [
                {**row, "identity": name}
                for row, name in zip(rows, [*names, "Ada", "Ada", "Ada"], strict=True)
            ]
        )
        assert len({r.identity for r in layout.train()}) == 1

    def test_paths_of_any_form(
        self, rows: Rows, saved: Callable[[Rows], Manifest], tmp_path: Path
    ) -> None:
        rows[0]["path"] = str(tmp_path / "p4/c1.png")
        rows[1]["path"] = "./p4//c2.png"
        layout = saved(rows)
        assert [r.path for r in layout.train()] == [tmp_path / f"p4/c{n}.png" for n in (1, 2, 3)]
        assert layout.problems() == ()

    def test_rows_of_one_image_that_agree(
        self, rows: Rows, saved: Callable[[Rows], Manifest]
    ) -> None:
        doubled = [*rows, rows[0], {**rows[3], "split": "query", "modality": "rgb"}]
        assert saved(doubled).problems() == ()
        assert saved(doubled).train() == saved(rows).train()
        parted = [*rows[:3], *({**r, "split": s} for r in rows[3:] for s in ("query", "gallery"))]
        assert saved(parted).query() == saved(parted).gallery() == saved(rows).test()


class TestCSV:
    def save(self, rows: Rows, tmp_path: Path, change: Callable[[str], str | bytes]) -> Manifest:
        file = save_manifest(tmp_path / "list.csv", rows)
        changed = change(file.read_bytes().decode())
        file.write_bytes(changed if isinstance(changed, bytes) else changed.encode())
        return Manifest(file)

    @pytest.mark.parametrize(
        "change",
        [
            lambda text: "\ufeff" + text,
            lambda text: text.replace("\r\n", "\n"),
            lambda text: text.replace("\r\n", "\r"),
            lambda text: text.replace("path,identity", " Path , IDENTITY"),
            lambda text: text.replace("\r\n", "\r\n\r\n") + "\r\n,,,,\r\n",
            lambda text: text.replace("\r\n", "\r\n , ,\t\r\n"),
            lambda text: text.replace("p4/c1.png", '"p4/c1.png"').replace(",4,", ", 4 ,"),
            lambda text: "\r\n".join(f"{line},x,é" for line in text.splitlines()),
            lambda text: "\r\n".join(f'{line},"x\r\n,\ry"' for line in text.splitlines()),
            lambda text: text.replace("split", "split,note,note,", 1),
            lambda text: text.replace("train\r\n", "train,, ,\r\n"),
            lambda text: text.replace(",", ";"),
            lambda text: text.replace(",", "\t"),
            lambda text: text.replace(",", "|"),
            lambda text: "sep=;\r\n" + text.replace(",", ";"),
            lambda text: "SEP=\t\n" + text.replace(",", "\t"),
            lambda text: '"sep=^"\n' + text.replace(",", "^"),
            lambda text: text.replace(",", ";").replace("\r\n", ";a,b,c,d,e\r\n"),
            lambda text: text.encode("utf-16"),
            lambda text: b"\xfe\xff" + text.replace(",", "\t").encode("utf-16-be"),
            lambda text: text.encode("utf-16-le"),
            lambda text: text.encode("utf-32"),
            lambda text: text + text,
            lambda text: "\ufeff" + text + "\ufeff" + text,
        ],
        ids=[
            "BOM",
            "LF",
            "CR",
            "spaces and capitals in the header",
            "blank rows",
            "rows of spaces",
            "quotes and spaces",
            "more columns",
            "cells of several lines",
            "short rows",
            "long rows of nothing",
            "semicolons",
            "tabs",
            "bars",
            "sep=;",
            "SEP=tab",
            "quoted sep",
            "cells of commas, between semicolons",
            "UTF-16",
            "UTF-16 big-endian",
            "UTF-16 without BOM",
            "UTF-32",
            "header repeated",
            "header and BOM repeated",
        ],
    )
    def test_as_editors_leave_it(
        self, rows: Rows, tmp_path: Path, change: Callable[[str], str | bytes]
    ) -> None:
        expected = Manifest(save_manifest(tmp_path / "expected.csv", rows))
        layout = self.save(rows, tmp_path, change)
        assert (layout.train(), layout.test()) == (expected.train(), expected.test())

    @pytest.mark.parametrize("separator", [",", ";"])
    def test_windows_1252(
        self,
        rows: Rows,
        tmp_path: Path,
        separator: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        rows = [{**row, "camera": f"Süd – {row['camera']} €"} for row in rows]
        layout = self.save(
            rows, tmp_path, lambda text: text.replace(",", separator).encode("cp1252")
        )
        assert {r.camera_name for r in layout.train()} == {f"Süd – {n} €" for n in (1, 2, 3)}
        layout = Manifest(layout.root)
        assert layout.test()
        said = f"'{layout.root}' is not in UTF-8; it is read as Windows-1252 (cp1252)."
        assert capsys.readouterr().err.splitlines() == [said]

    @pytest.mark.parametrize(
        ("change", "where"),
        [
            (lambda text: "sep=,\n\n" + text, "line 8"),
            (lambda text: text.replace("split", 'split,"a\n\nb"', 1), "line 8"),
            (lambda text: text.replace("\r\n", "\r"), "line 6"),
            (lambda text: text.replace("\r\n", "\r\n,,\r\n"), "line 11"),
            (lambda text: text.encode("utf-16"), "line 6"),
        ],
    )
    def test_lines_in_messages_are_those_of_an_editor(
        self, rows: Rows, tmp_path: Path, change: Callable[[str], str | bytes], where: str
    ) -> None:
        rows[4]["modality"] = "depth"
        layout = self.save(rows, tmp_path, change)
        assert f"'{layout.root}' {where} has the modality 'depth'" in only(layout.problems())

    def test_a_row_of_a_path_alone_is_one_fault(self, rows: Rows, tmp_path: Path) -> None:
        layout = self.save(
            rows, tmp_path, lambda text: text.replace("p4/c2.png,4,2,visible,train", "p4/c2.png")
        )
        assert (
            f"'{layout.root}' line 3 has no identity and no modality and no split and no camera;"
            in only(layout.problems())
        )

    def test_columns_in_any_order(self, rows: Rows, tmp_path: Path) -> None:
        expected = Manifest(save_manifest(tmp_path / "expected.csv", rows))
        turned = save_manifest(
            tmp_path / "list.csv", [dict(reversed(list(row.items()))) for row in rows]
        )
        assert Manifest(turned).train() == expected.train()

    def test_a_row_of_another_length(self, rows: Rows, tmp_path: Path) -> None:
        layout = self.save(rows, tmp_path, lambda text: text.replace("p4/c2.png", "p4/c,2.png"))
        message = only(layout.problems())
        assert f"'{layout.root}' line 3 has 6 cells; expected 5" in message
        assert "put cells that hold a ',' into quotes." in message
        assert refused(layout.train) == message

    @pytest.mark.parametrize(
        ("data", "error"),
        [
            (b"\xff\xfep\x00a\x00", "has no column"),
            (b"path\xe9,", "has no column 'path', 'identity', 'modality' and 1 more"),
            (b'path,identity,modality,split\na,1,ir,test\n"b', "cannot be read (line 3: "),
            (b'path,identity,modality,split\na,"1"x,ir,test\n', "cannot be read (line 2: "),
            (b"PK\x03\x04\x14\x00\x08", "is not text in UTF-8, UTF-16 or Windows-1252"),
            (b"\xff\xd8\xff\xe0\x00\x10JFIF", "is not text in UTF-8, UTF-16 or Windows-1252"),
            ("path\n行人".encode("gbk") + b"\x81", "is not text in UTF-8, UTF-16 or Windows-1252"),
            (b"\xff\xfep\x00a", "cannot be read ("),
            ("path\nZoë\n".encode() + b"Zo\xeb", "UTF-16 or Windows-1252, or not throughout)"),
        ],
    )
    def test_something_else(self, tmp_path: Path, data: bytes, error: str) -> None:
        file = tmp_path / "list.csv"
        file.write_bytes(data)
        message = only(Manifest(file).problems())
        assert f"'{file}' " in message
        assert error in message
        assert refused(Manifest(file).test) == message

    def test_an_empty_file(self, tmp_path: Path) -> None:
        (tmp_path / "list.csv").touch()
        assert "in its header ''" in only(Manifest(tmp_path / "list.csv").problems())


class TestParquet:
    def test_columns_of_any_type(self, rows: Rows, tmp_path: Path) -> None:
        expected = Manifest(save_manifest(tmp_path / "expected.csv", rows))
        cells = {name: [row[name] for row in rows] for name in rows[0]}
        moment = datetime(2024, 5, 31, 22, 15, 0, 123_456, tzinfo=UTC)
        table = pa.table(
            {
                "split": pa.array(cells["split"]).dictionary_encode(),
                "path": pa.array(cells["path"], pa.large_string()),
                "identity": pa.array(cells["identity"], pa.uint16()),
                # What pandas makes of whole numbers as soon as one is missing.
                "camera": pa.array(cells["camera"], pa.float64()),
                "modality": cells["modality"],
                "boxes": [[1, 2]] * 6,
                "time": pa.array([moment, None] * 3).cast(pa.timestamp("ns", tz="UTC")),
            }
        )
        parquet.write_table(table, tmp_path / "list.parquet")
        layout = Manifest(tmp_path / "list.parquet")
        assert layout.train() == expected.train()
        assert layout.test() == expected.test()
        assert [r.time for r in layout.train()] == [moment, None, moment]

    @pytest.mark.parametrize("nothing", [None, float("nan")])
    def test_gaps_in_numbers_are_empty_cells(
        self, rows: Rows, tmp_path: Path, nothing: float | None
    ) -> None:
        cells = {name: [row[name] for row in rows] for name in rows[0]}
        cells["identity"][2] = nothing
        cells["identity"] = [None if n is None else float(str(n)) for n in cells["identity"]]
        parquet.write_table(pa.table(cells), tmp_path / "list.parquet")
        message = only(Manifest(tmp_path / "list.parquet").problems())
        assert "list.parquet' row 3 has no identity" in message

    @pytest.mark.parametrize(
        "damage",
        [lambda data: b"", lambda data: data[:-9], lambda data: data.replace(b"PAR1", b"PAR0")],
    )
    def test_a_damaged_file(
        self, rows: Rows, tmp_path: Path, damage: Callable[[bytes], bytes]
    ) -> None:
        file = save_manifest(tmp_path / "list.parquet", rows)
        file.write_bytes(damage(file.read_bytes()))
        message = only(Manifest(file).problems())
        assert f"'{file}' cannot be read" in message
        assert refused(Manifest(file).train) == message

    def test_numbers_as_pandas_writes_them_beside_gaps(self, rows: Rows, tmp_path: Path) -> None:
        expected = Manifest(save_manifest(tmp_path / "expected.csv", rows))
        texts = [{**row, "identity": f"{row['identity']}.0", "role": "nan"} for row in rows]
        for kind in ("csv", "tsv", "parquet"):
            file = save_manifest(tmp_path / f"list.{kind}", texts)
            if kind == "tsv":
                file.write_text(file.read_text().replace(",", "\t"))
            layout = Manifest(file)
            assert layout.train() == expected.train()
            assert layout.identity_names == {4: "4", 9: "9"}

    def test_cells_for_no_value(
        self, rows: Rows, saved: Callable[[Rows], Manifest], capsys: pytest.CaptureFixture[str]
    ) -> None:
        for row, nothing in zip(rows, ["nan", "NULL", "N/A", "None", "NaN", ""], strict=True):
            row |= {"camera": nothing, "time": "NaT"}
        layout = saved(rows)
        assert {(r.camera_name, r.time) for r in (*layout.train(), *layout.test())} == {("", None)}
        said = f"'{layout.root}' has 'N/A', 'NULL', 'NaN' and 2 more in its column 'camera', read"
        assert said in capsys.readouterr().err
        for row in rows:
            row["identity"] = f"p{row['identity']}"
        rows[4]["identity"] = "nan"
        assert "has no identity; expected one for every image" in only(saved(rows).problems())

    def test_a_column_of_lists(self, rows: Rows, tmp_path: Path) -> None:
        file = save_manifest(tmp_path / "list.parquet", [{**r, "identity": [1]} for r in rows])
        assert "cannot be read" in only(Manifest(file).problems())


class TestManifestFaults:
    """Each fault alone is the one problem there is, and whatever it forbids says it."""

    def test_no_file(self, tmp_path: Path) -> None:
        assert "nowhere.csv' does not exist" in refused(lambda: Manifest(tmp_path / "nowhere.csv"))
        assert "holds neither; expected a manifest (.csv, .tsv, .parquet), or a folder with" in (
            refused(lambda: Manifest(tmp_path))
        )
        (tmp_path / "list.xlsx").touch()
        assert "has another ending; expected a manifest (.csv," in refused(
            lambda: Manifest(tmp_path / "list.xlsx")
        )

    def test_two_manifests(self, tmp_path: Path) -> None:
        for name in ("manifest.csv", "manifest.parquet"):
            (tmp_path / name).touch()
        assert "holds manifest.csv and manifest.parquet" in refused(lambda: Manifest(tmp_path))
        assert Manifest(tmp_path / "manifest.csv").file == tmp_path / "manifest.csv"

    @pytest.mark.parametrize("column", ["path", "identity", "modality", "split"])
    def test_a_missing_column(
        self, rows: Rows, saved: Callable[[Rows], Manifest], column: str
    ) -> None:
        layout = saved([{k: v for k, v in row.items() if k != column} for row in rows])
        message = only(layout.problems())
        header = ",".join(name for name in rows[0] if name != column)
        assert f"'{layout.root}' has no column '{column}' in its header '{header}'" in message
        assert refused(layout.test) == message

    def test_a_column_twice(self, rows: Rows, saved: Callable[[Rows], Manifest]) -> None:
        layout = saved([{**row, "Camera": 3} for row in rows])
        assert "has 'camera' twice in its header" in only(layout.problems())

    def test_no_rows(self, rows: Rows, tmp_path: Path) -> None:
        file = save_manifest(tmp_path / "list.csv", rows)
        file.write_text(file.read_text().splitlines()[0] + "\n")
        message = only(Manifest(file).problems())
        assert f"'{file}' has 0 rows below its header" in message
        assert refused(Manifest(file).train) == message

    @pytest.mark.parametrize("column", ["path", "identity", "camera", "modality", "split"])
    def test_an_empty_cell(
        self, rows: Rows, saved: Callable[[Rows], Manifest], column: str
    ) -> None:
        rows = [{name: str(cell) for name, cell in row.items()} for row in rows]
        rows[2][column] = " "
        layout = saved(rows)
        message = only(layout.problems())
        where = "line 4" if layout.root.suffix == ".csv" else "row 3"
        assert f"'{layout.root}' {where} has no {column}; expected one for every image" in message
        for action in (layout.train, layout.val, layout.test, layout.query, layout.gallery):
            assert refused(action) == message

    @pytest.mark.parametrize(
        ("column", "word", "expected"),
        [
            ("modality", "depth", "visible, vis, rgb, infrared, ir, nir, thermal;"),
            ("split", "validation", "train, val, query, gallery, test;"),
            ("time", "yesterday", "ISO 8601"),
        ],
    )
    def test_an_unknown_word(
        self,
        rows: Rows,
        saved: Callable[[Rows], Manifest],
        column: str,
        word: str,
        expected: str,
    ) -> None:
        rows = [{"time": "2024-05-31", **row} for row in rows]
        rows[4][column] = rows[5][column] = word
        layout = saved(rows)
        message = only(layout.problems())
        where = "line 6" if layout.root.suffix == ".csv" else "row 5"
        assert f"'{layout.root}' {where} has the {column} '{word}'; expected {expected}" in message
        assert message.endswith("(the first of 2 such images).")
        assert refused(layout.train) == message

    @pytest.mark.parametrize(
        "other",
        [
            {"identity": 9},
            {"camera": 2},
            {"modality": "ir"},
            {"split": "val"},
            {"split": "gallery"},
            {"time": "2024-05-31"},
        ],
    )
    def test_rows_of_one_image_that_contradict_one_another(
        self, rows: Rows, saved: Callable[[Rows], Manifest], other: dict[str, object]
    ) -> None:
        layout = saved([{"time": "", **row} for row in [*rows, {**rows[0], **other}]])
        message = only(layout.problems())
        lines = ("line 8", "line 2") if layout.root.suffix == ".csv" else ("row 7", "row 1")
        assert f"'{layout.root}' {lines[0]} annotates 'p4/c1.png' as '" in message
        assert f", but '{layout.root}' {lines[1]} as '4, 1, vis" in message
        assert refused(layout.train) == message

    def test_files_that_are_not_there(
        self, rows: Rows, saved: Callable[[Rows], Manifest], tmp_path: Path
    ) -> None:
        for name in ("p4/c1.png", "p4/c2.png", "p4/c3.png"):
            (tmp_path / name).unlink()
        rows[1]["path"] = "p4\\c2.png"
        layout = saved(rows)
        message = only(layout.problems())
        assert f"3 files listed in '{layout.root}' cannot be found: " in message
        assert f"'{tmp_path / 'p4' / 'c1.png'}'" in message
        assert "with '/' between folders" in message
        assert refused(layout.train) == message
        assert len(layout.test()) == 3

    def test_images_in_no_row(
        self, rows: Rows, saved: Callable[[Rows], Manifest], tmp_path: Path
    ) -> None:
        for name in ("new.JPG", "notes.txt", "._c1.png"):
            (tmp_path / "p4" / name).touch()
        layout = saved(rows)
        message = only(layout.problems())
        assert f"'{layout.file}' has no row for 1 image next to those that it lists: " in message
        assert f"'{tmp_path / 'p4' / 'new.JPG'}'; expected" in message
        assert len(layout.train()) == 3

    @pytest.mark.parametrize("split", ["val", "query", "gallery"])
    def test_a_training_identity_that_is_tested(
        self, rows: Rows, saved: Callable[[Rows], Manifest], split: str
    ) -> None:
        rows[1]["split"] = split
        layout = saved(rows)
        message = only(layout.problems())
        assert f"has the identities '4' in train and in {split}" in message
        assert layout.train()

    def test_empty_splits(self, rows: Rows, saved: Callable[[Rows], Manifest]) -> None:
        layout = saved([{**row, "split": "val"} for row in rows])
        assert "has 0 images of the split train; expected some" in refused(layout.train)
        assert "has 0 images of the split query or test;" in refused(layout.query)
        assert "has 0 images of the split gallery or test;" in refused(layout.gallery)
        assert "has 0 images of the split query or gallery or test;" in refused(layout.test)
        assert layout.problems() == ()

    def test_training_of_one_modality(self, rows: Rows, saved: Callable[[Rows], Manifest]) -> None:
        layout = saved([*rows[:2], *rows[3:]])
        assert "has 0 infrared images among its 2" in refused(layout.train)

    def test_all_at_once(
        self, rows: Rows, saved: Callable[[Rows], Manifest], tmp_path: Path
    ) -> None:
        (tmp_path / "p9/c3.png").unlink()
        rows[0]["modality"] = "depth"
        rows[1]["split"] = "boxes"
        rows[3]["split"] = "train"
        problems = [sentence(problem) for problem in saved(rows).problems()]
        assert len(problems) == 5
        for problem, fault in zip(
            problems,
            ("'depth'", "'boxes'", "c3.png'", "and in query", "and in gallery"),
            strict=True,
        ):
            assert fault in problem


NAMES = st.sampled_from(["a", "b", "7", "07", "ab", "é", "-7"])
NUMBERS = st.integers(-9, 99).map(str)


def lists(names: st.SearchStrategy[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(names, min_size=8, max_size=8)


@settings(deadline=None, max_examples=60)
@given(lists(NAMES) | lists(NUMBERS), lists(NAMES) | lists(NUMBERS) | st.just([""] * 8))
def test_numbers_tell_names_apart(people: list[str], places: list[str]) -> None:
    """Equal names have equal numbers, different names different ones; numbers are kept.

    Camera 0 means unknown, so cameras whose numbers begin below 1 are numbered from 1.
    """
    said = list(zip(people, places, strict=True))
    cells = {
        "path": [f"{number:02d}.png" for number in range(len(said))],
        "identity": people,
        "camera": places,
        "modality": ["ir"] * len(said),
        "split": ["train"] * len(said),
        "time": [""] * len(said),
        "role": [""] * len(said),
    }
    columns = {name: Column.of(texts) for name, texts in cells.items()}
    table = tabulate(
        Table(columns, "row {}".format), root=Path("x"), folder=Path("x"), fix="fix it"
    )
    assert table.faults == ()
    records = sorted(map(table.record, table.images_of("train")), key=lambda r: r.path)
    for record, (who, camera) in zip(records, said, strict=True):
        assert value(record.identity_name) == value(table.identities[record.identity]) == value(who)
        assert value(record.camera_name) == value(camera)
        assert bool(record.camera) == bool(camera)
    for names, numbers in ((0, table.identities), (1, table.cameras)):
        told = {row[names] for row in said} - {""}
        assert {value(name) for name in numbers.values()} == {value(name) for name in told}
        if all(isinstance(value(name), int) and (names == 0 or int(name) > 0) for name in told):
            assert all(number == int(name) for number, name in numbers.items())
        else:
            assert sorted(numbers) == list(range(1, len(numbers) + 1))
    assert len(table.merged) == sum(
        len(told) > len({value(name) for name in told})
        for told in ({row[names] for row in said} for names in (0, 1))
    )


def value(name: str) -> int | str:
    return int(name) if re.fullmatch("-?[0-9]+", name) else name
