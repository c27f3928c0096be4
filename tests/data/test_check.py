"""The check of a data set: counts, single images, the report and its forms."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.io import loadmat
from tests.helpers.trees import (
    copy,
    save_manifest,
    write_arrays,
    write_manifest,
    write_own,
    write_regdb,
    write_sysu,
)

from vireid.data.check import check
from vireid.data.check.content import COLOUR_FROM, content_findings
from vireid.data.check.faults import DAMAGED, NOT_AN_IMAGE
from vireid.data.check.images import CheckedImage, check_image, check_images
from vireid.data.file_kind import IMAGES
from vireid.data.inspection import GREY_BELOW
from vireid.data.layouts import DataSource, RegDB, SysuMM01, Tally
from vireid.data.layouts.sysu_mm01 import CAMERAS
from vireid.data.sheet import Cell, contact_sheet
from vireid.errors import ConfigError
from vireid.synvi.layouts import CARD
from vireid.types import ImageRecord, Modality

OFFICIAL = Path(__file__).parents[3] / "shared" / "protocol" / "sysu_mm01"


@pytest.fixture(scope="module")
def sysu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sysu(tmp_path_factory.mktemp("x") / "SYSU", train=(1, 5), val=(8,), images=2)


class TestCounts:
    def test_beside_the_published_ones(self, sysu: Path) -> None:
        report = check(DataSource(layout="sysu-mm01", root=sysu))
        text = str(report)
        assert "identities  published  images  published" in text
        row = ["train", "visible", "all", "3", "395", "30", "22,258", "<-", "differs"]
        assert row in [line.split() for line in text.splitlines()]
        assert "16 rows in the table above" in text
        assert "(3 identities with 30 images instead of 395 identities with 22,258 images)" in text
        assert [finding.fault.name for finding in report.findings] == ["counts"]
        assert report.exit_status == 0
        assert text.endswith("0 errors, 1 warning.")

    def test_each_row_counted_by_hand(self, sysu: Path) -> None:
        report = check(DataSource(layout="sysu-mm01", root=sysu, hold_out=True))
        by_hand = {}
        for split, identities in (("train", (1, 5)), ("val", (8,)), ("test", (3, 10))):
            for camera, modality in CAMERAS.items():
                images = [
                    path for i in identities for path in (sysu / f"cam{camera}/{i:04d}").iterdir()
                ]
                by_hand[split, modality, camera] = (len(identities), len(images))
        found = [count.found for count in report.counts]
        assert {
            (t.split, t.modality, t.camera): (t.identities, t.images)
            for t in found
            if t.camera is not None
        } == by_hand
        for whole in (tally for tally in found if tally.camera is None):
            parts = [
                images
                for (split, modality, _), (_, images) in by_hand.items()
                if (split, modality) == (whole.split, whole.modality)
            ]
            assert whole.images == sum(parts)
        assert [t.split for t in found] == ["train"] * 8 + ["val"] * 8 + ["test"] * 8

    def test_of_synthetic_people_none_are_published(self, sysu: Path, tmp_path: Path) -> None:
        root = copy(sysu, tmp_path / "SynVI")
        (root / CARD).write_text("{}")
        report = check(DataSource(layout="sysu-mm01", root=root))
        assert "Synthetic people (SynVI): the published counts do not apply." in str(report)
        assert "published  " not in str(report)
        assert report.findings == ()

    def test_a_single_camera_has_no_row_of_its_own(self, tmp_path: Path) -> None:
        root = write_regdb(tmp_path / "RegDB", images=1, trials=range(1, 11))
        report = check(DataSource(layout="regdb", root=root, trial=3))
        assert [(c.found.split, c.found.camera, c.found.images) for c in report.counts] == [
            ("train", None, 4),
            ("train", None, 4),
            ("test", None, 4),
            ("test", None, 4),
        ]
        assert "Layout regdb, trial 3 at" in str(report)

    def test_a_camera_without_an_image_has_a_row(self, sysu: Path, tmp_path: Path) -> None:
        root = copy(sysu, tmp_path / "SYSU")
        for folder in (root / "cam6").iterdir():
            shutil.rmtree(folder)
        report = check(DataSource(layout="sysu-mm01", root=root))
        rows = {(c.found.split, c.found.camera): c for c in report.counts}
        assert rows["train", 6].found == Tally("train", Modality.INFRARED, 6, 0, 0)
        assert rows["train", 6].differs

    @pytest.mark.skipif(not OFFICIAL.is_dir(), reason=f"no official files in {OFFICIAL}")
    def test_the_published_figures_of_sysu_follow_from_the_official_files(
        self, tmp_path: Path
    ) -> None:
        table = loadmat(OFFICIAL / "rand_perm_cam.mat")["rand_perm_cam"]
        images = {
            (camera, identity): cell.shape[1]
            for camera in CAMERAS
            for identity, cell in enumerate(table[camera - 1, 0][:, 0], 1)
            if cell.size
        }
        lists = {
            split: {int(i) for i in (OFFICIAL / f"{split}_id.txt").read_text().split(",")}
            for split in ("train", "val", "test")
        }
        for name in ("exp", *(f"cam{camera}" for camera in CAMERAS)):
            (tmp_path / name).mkdir()
        for hold_out, train in ((False, lists["train"] | lists["val"]), (True, lists["train"])):
            splits = {"train": train, "test": lists["test"]}
            if hold_out:
                splits["val"] = lists["val"]
            published = SysuMM01(tmp_path, hold_out=hold_out).published()
            assert {t.split for t in published} == set(splits)
            for row in published:
                cameras = [c for c, m in CAMERAS.items() if m is row.modality]
                own = {
                    seen: number
                    for seen, number in images.items()
                    if seen[1] in splits[row.split]
                    and (seen[0] == row.camera if row.camera else seen[0] in cameras)
                }
                assert row.images == sum(own.values())
                assert row.identities == len({identity for _, identity in own})

    def test_the_published_figures_of_regdb(self, tmp_path: Path) -> None:
        published = RegDB(write_regdb(tmp_path / "RegDB", images=1)).published()
        whole = [tally for tally in published if tally.camera is None]
        assert sum(tally.images or 0 for tally in whole) == 8_240
        assert sum(t.identities or 0 for t in whole if t.modality is Modality.VISIBLE) == 412


class TestCustomData:
    def test_a_manifest_in_order(self, tmp_path: Path) -> None:
        report = check(DataSource(layout="manifest", root=write_manifest(tmp_path / "own")))
        assert report.findings == ()
        assert [count.published for count in report.counts] == [None] * len(report.counts)
        assert {count.found.split for count in report.counts} == {"train", "val", "test"}

    def test_identities_and_cameras_have_the_names_of_the_manifest(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The numbers of the names would name other people: 1 sorts before 10 before 2."""
        people: dict[object, str] = {1: "Dora", 2: "2", 3: "10", 5: "Ben", 7: "1", 10: "Ada"}
        cameras: dict[object, str] = {1: "gate", 2: "yard", 4: "2"}
        rows = [
            {**row, "identity": people[row["identity"]], "camera": cameras[row["camera"]]}
            for row in write_own(tmp_path, "{identity}-{camera}.png", images=1)
        ]
        shutil.copy(tmp_path / "1-1.png", tmp_path / "5-2.png")  # Dora among Ben's
        shutil.copy(tmp_path / "1-2.png", tmp_path / "1-4.png")  # in colour at night
        rows = [row for row in rows if row["path"] != "10-4.png"]  # Ada never at night
        manifest = save_manifest(tmp_path / "list.csv", rows)
        captions: list[list[str]] = []

        def draw(rows: list[str | list[Cell]], *, cell: tuple[int, int]) -> Image.Image:
            captions.extend(
                [row] if isinstance(row, str) else [cell.caption for cell in row] for row in rows
            )
            return contact_sheet(rows, cell=cell)

        monkeypatch.setattr("vireid.data.check.sheet.contact_sheet", draw)
        source = DataSource(layout="manifest", root=manifest)
        report = check(source, sheet=tmp_path / "sheet.png")
        assert "'1-1.png' = '5-2.png' (identities Ben and Dora)" in str(report)
        assert "infrared images of camera 2 is in colour" in str(report)
        assert "'Ada' (no infrared image)" in str(report)
        assert {count.camera for count in report.counts} == {"all", "gate", "yard"}
        assert captions[3:6] == [
            ["train, identity Ben: visible, infrared below"],
            ["Ben, cam gate", "Ben, cam yard"],
            ["Ben, cam 2"],
        ]

    def test_paths_are_relative_to_the_manifest(self, tmp_path: Path) -> None:
        manifest = write_manifest(tmp_path / "own")
        broken = sorted(manifest.parent.rglob("*.png"))[0]
        broken.write_bytes(b"")
        report = check(DataSource(layout="manifest", root=manifest))
        assert f"'{broken.relative_to(manifest.parent)}'" in str(report)

    def test_data_to_train_on_alone_is_no_error(self, tmp_path: Path) -> None:
        tree = write_sysu(tmp_path / "SYSU", train=(1, 5), val=(8,), images=1)
        root = write_arrays(tmp_path / "arrays", tree=tree, size=(12, 24))
        report = check(DataSource(layout="sysu-mm01-npy", root=root))
        assert [finding.fault.name for finding in report.findings] == ["one-split", "counts"]
        assert "arrays of training images only" in str(report)
        assert report.exit_status == 0

    def test_copies_in_arrays_are_named_by_their_rows(self, tmp_path: Path) -> None:
        tree = write_sysu(tmp_path / "SYSU", train=(1, 5), val=(8,), images=1)
        root = write_arrays(tmp_path / "arrays", tree=tree, size=(12, 24))
        pixels = np.load(root / "train_ir_resized_img.npy", allow_pickle=False)
        pixels[3] = pixels[0]
        np.save(root / "train_ir_resized_img.npy", pixels)
        report = check(DataSource(layout="sysu-mm01-npy", root=root))
        (copies,) = (f for f in report.findings if f.fault.name == "shared-by-identities")
        assert copies.places[0].names == (
            "train_ir_resized_img.npy/000000",
            "train_ir_resized_img.npy/000003",
        )


def noisy(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (48, 24, 3), dtype=np.uint8)


class TestCheckedImage:
    def test_the_facts_against_loops(self, tmp_path: Path) -> None:
        pixels = noisy()
        Image.fromarray(pixels).save(tmp_path / "a.png")
        seen = check_image(tmp_path / "a.png")
        total = 0.0
        for row in pixels.tolist():
            for red, green, blue in row:
                total += max(red, green, blue) - min(red, green, blue)
        assert seen.chroma == pytest.approx(total / (48 * 24))
        assert (seen.size, seen.flat, seen.fault) == ((24, 48), False, None)
        assert seen.kind is not None
        assert seen.kind.format == "PNG"

    def test_the_digest_is_of_pixels_not_of_bytes(self, tmp_path: Path) -> None:
        for name in ("a.png", "a.bmp", "a.tif", "a.ppm"):
            Image.fromarray(noisy()).save(tmp_path / name)
        Image.fromarray(noisy()[:, :, :1].repeat(3, axis=2)).save(tmp_path / "grey3.png")
        Image.fromarray(noisy()[:, :, 0]).save(tmp_path / "grey1.png")
        Image.fromarray(noisy().reshape(24, 48, 3)).save(tmp_path / "turned.png")
        digests = {path.name: check_image(path).digest for path in tmp_path.iterdir()}
        assert digests["a.png"] == digests["a.bmp"] == digests["a.tif"] == digests["a.ppm"]
        assert digests["grey3.png"] == digests["grey1.png"]
        assert len(set(digests.values())) == 3

    def test_one_other_level_is_another_digest(self, tmp_path: Path) -> None:
        pixels = noisy()
        Image.fromarray(pixels).save(tmp_path / "a.png")
        pixels[7, 7, 1] ^= 1
        Image.fromarray(pixels).save(tmp_path / "b.png")
        assert check_image(tmp_path / "a.png").digest != check_image(tmp_path / "b.png").digest

    @given(
        quality=st.integers(30, 100),
        subsampling=st.sampled_from([0, 1, 2]),
        level=st.integers(0, 255),
        noise=st.integers(0, 60),
        seed=st.integers(0, 9),
    )
    def test_a_grey_image_is_grey_after_jpeg(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        quality: int,
        subsampling: int,
        level: int,
        noise: int,
        seed: int,
    ) -> None:
        rng = np.random.default_rng(seed)
        grey = np.clip(level + rng.integers(-noise, noise + 1, (48, 24, 1)), 0, 255)
        path = tmp_path_factory.mktemp("grey") / "a.jpg"
        Image.fromarray(grey.repeat(3, axis=2).astype(np.uint8)).save(
            path, quality=quality, subsampling=subsampling
        )
        assert check_image(path).chroma < GREY_BELOW

    @pytest.mark.parametrize("name", sorted(e for kind in IMAGES for e in kind.endings))
    def test_every_ending_has_its_format(self, name: str, tmp_path: Path) -> None:
        path = tmp_path / f"a{name}"
        image = Image.fromarray(noisy())
        (image.convert("1") if name == ".pbm" else image).save(path)
        kind = check_image(path).kind
        assert kind is not None
        assert name in kind.endings

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"  <HTML><body>", "a web page (HTML)"),
            (b"%PDF-1.7", "a PDF document"),
            (b"\x1f\x8b\x08", "a gzip archive"),
            (b"version https://git-lfs.github.com/spec/v1\noid", "a Git LFS pointer"),
            (b"\x00\x00\x00\x18ftypheic", "a HEIC image"),
            (bytes(9000), "zero bytes"),
            (b"Bitte anmelden: " + "ü".encode() * 300, "text that begins with 'Bitte"),
            (b"\x01\x02\x03\xff", "an unknown kind of data"),
        ],
    )
    def test_what_a_file_is_that_is_no_image(
        self, content: bytes, words: str, tmp_path: Path
    ) -> None:
        path = tmp_path / "a.jpg"
        path.write_bytes(content)
        seen = check_image(path)
        assert seen.fault is NOT_AN_IMAGE
        assert words in seen.reason

    def test_a_header_alone_is_damaged(self, tmp_path: Path) -> None:
        (tmp_path / "a.jpg").write_bytes(b"GIF8" + bytes(90))
        seen = check_image(tmp_path / "a.jpg")
        assert seen.fault is DAMAGED
        assert seen.reason.startswith("its header is damaged, or its pixels are of a type")

    def test_a_row_that_an_array_does_not_have(self, tmp_path: Path) -> None:
        np.save(tmp_path / "a.npy", noisy()[None])
        assert check_image(tmp_path / "a.npy" / "0").chroma > COLOUR_FROM
        seen = check_image(tmp_path / "a.npy" / "1")
        assert seen.fault is DAMAGED
        assert "has no row '1'" in seen.reason

    @pytest.mark.parametrize("threads", [1, 4])
    def test_many_in_order(self, threads: int, tmp_path: Path) -> None:
        paths = [tmp_path / f"{i}.png" for i in range(12)]
        for i, path in enumerate(paths):
            Image.fromarray(noisy(i)).save(path)
        seen = check_images(paths, threads=threads)
        assert list(seen) == paths
        assert [seen[path] for path in paths] == [check_image(path) for path in paths]

    def test_zero_threads(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="--threads 0 is out of range"):
            check_images([], threads=0)


def coloured(chromas: list[float], modality: Modality) -> list[str]:
    """The kinds of findings on images of one camera with these chromas."""
    paths = [Path(f"{i}.jpg") for i in range(len(chromas))]
    records = [ImageRecord(path, i, 4, modality) for i, path in enumerate(paths)]
    others = [
        ImageRecord(Path(f"x{r.identity}{n}"), r.identity, 9, modality.other)
        for r in records
        for n in range(2)
    ]
    fit = {Modality.VISIBLE: COLOUR_FROM, Modality.INFRARED: 0.0}[modality.other]
    images = {
        path: CheckedImage(chroma=chromas[i], digest=bytes([i])) for i, path in enumerate(paths)
    }
    images |= {r.path: CheckedImage(chroma=fit, digest=str(r.path).encode()) for r in others}
    found = content_findings({"test": [*records, *others]}, images, root=Path())
    return [finding.fault.name for finding in found]


@pytest.mark.parametrize(
    ("chromas", "modality", "kinds"),
    [
        ([GREY_BELOW, 20, 40, 7], Modality.VISIBLE, []),
        ([COLOUR_FROM - 0.01, 0, 3, 0], Modality.INFRARED, []),
        ([0.9, 20, 0.9, 20], Modality.VISIBLE, ["wrong-modality"]),
        ([8, 0, 8, 0], Modality.INFRARED, ["wrong-modality"]),
        ([0.9, 20, 0.9, 0], Modality.VISIBLE, ["swapped"]),
        ([8, 0, 8, 9], Modality.INFRARED, ["swapped"]),
    ],
)
def test_more_than_half_of_a_camera_make_it_swapped(
    chromas: list[float], modality: Modality, kinds: list[str]
) -> None:
    assert coloured(chromas, modality) == kinds


class TestReport:
    @pytest.fixture
    def broken(self, sysu: Path, tmp_path: Path) -> Path:
        root = copy(sysu, tmp_path / "SYSU")
        (root / CARD).write_text("{}")
        for path in sorted((root / "cam5").glob("*/*.jpg"))[:5]:
            path.write_bytes(b"")
        return root

    def test_the_first_few_are_shown_and_all_are_saved(self, broken: Path, tmp_path: Path) -> None:
        report = check(DataSource(layout="sysu-mm01", root=broken))
        text = str(report)
        assert "'cam5/0001/0003.jpg' and 2 more; expected images." in text
        assert "cam5/0003/0002.jpg" not in text
        saved = json.loads(report.save(tmp_path / "new" / "report.json").read_text())
        (finding,) = saved["findings"]
        assert [place["names"] for place in finding["places"]] == [
            [f"cam5/{identity}/{number}.jpg"]
            for identity, number in (
                ("0001", "0001"),
                ("0001", "0002"),
                ("0001", "0003"),
                ("0003", "0001"),
                ("0003", "0002"),
            )
        ]
        assert (finding["name"], finding["severity"], saved["errors"]) == ("empty", "error", 1)
        assert saved["counts"][0]["found"] == {
            "split": "train",
            "modality": "visible",
            "camera": None,
            "identities": 3,
            "images": 30,
        }

    def test_every_sentence_on_what_was_checked_has_its_line(self, tmp_path: Path) -> None:
        root = write_regdb(tmp_path / "line\rbreak", trials=(1,))
        (root / "synvi.json").write_text("{}")
        first, second = str(check(DataSource(layout="regdb", root=root))).splitlines()[:2]
        assert "line\\rbreak'" in first
        assert second.startswith("Synthetic people")

    def test_findings_of_a_kind_beyond_the_first_are_counted(self, tmp_path: Path) -> None:
        root = write_regdb(tmp_path / "RegDB", images=1, trials=range(1, 11))
        for trial in range(1, 6):
            (root / f"idx/test_thermal_{trial}.txt").write_text("")
        text = str(check(DataSource(layout="regdb", root=root)))
        assert text.count("lists 0 images") == 3
        assert "and 2 more; --json FILE writes all of them." in text
        assert "5 errors" in text

    def test_errors_come_before_warnings(self, broken: Path) -> None:
        shutil.copy(broken / "cam1/0001/0001.jpg", broken / "cam1/0001/0002.jpg")
        text = str(check(DataSource(layout="sysu-mm01", root=broken)))
        assert text.index("ERROR: ") < text.index("WARNING: ")
        assert text.endswith("1 error, 1 warning.")

    def test_names_that_are_no_utf8(self, sysu: Path, tmp_path: Path) -> None:
        root = copy(sysu, tmp_path / "SYSU")
        name = os.fsdecode(b"caf\xe9.jpg")
        (root / "cam5/0001" / name).write_bytes(b"")
        report = check(DataSource(layout="sysu-mm01", root=root))
        assert "'cam5/0001/caf\\udce9.jpg'" in str(report)
        assert str(report).encode("utf-8")
        assert "caf\\udce9" in report.save(tmp_path / "report.json").read_text()


class TestSheet:
    @pytest.mark.parametrize(("ending", "kind"), [(".jpg", "JPEG"), (".PNG", "PNG")])
    def test_visible_above_infrared(
        self, sysu: Path, tmp_path: Path, ending: str, kind: str
    ) -> None:
        path = tmp_path / "new" / f"sheet{ending}"
        check(DataSource(layout="sysu-mm01", root=sysu), sheet=path)
        with Image.open(path) as sheet:
            assert sheet.format == kind
            pixels = np.asarray(sheet.convert("RGB")).astype(int)
        # A heading of 30, then a row of 168 + 20 pixels in colour, then one in grey.
        colour, grey = pixels[60:180, 10:80], pixels[250:370, 10:80]
        assert np.ptp(colour, axis=2).mean() > COLOUR_FROM
        assert np.ptp(grey, axis=2).mean() < GREY_BELOW
        # Three identities to train on and two to test on.
        assert len(pixels) == 4 + 5 * (30 + 2 * 188)

    def test_damaged_images_are_left_out(self, sysu: Path, tmp_path: Path) -> None:
        root = copy(sysu, tmp_path / "SYSU")
        for path in (root / "cam3").glob("*/*.jpg"):
            path.write_bytes(b"")
        check(DataSource(layout="sysu-mm01", root=root), sheet=tmp_path / "sheet.png")
        with Image.open(tmp_path / "sheet.png") as sheet:
            assert sheet.height == 4 + 5 * (30 + 2 * 188)

    def test_without_a_split_it_says_so(self, sysu: Path, tmp_path: Path) -> None:
        root = copy(sysu, tmp_path / "SYSU")
        (root / "exp/train_id.txt").write_text("x")
        (root / "exp/test_id.txt").write_text("x")
        check(DataSource(layout="sysu-mm01", root=root), sheet=tmp_path / "sheet.png")
        with Image.open(tmp_path / "sheet.png") as sheet:
            assert sheet.height == 34

    def test_another_ending_is_refused_before_any_work(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"'sheet\.gif' has no image extension"):
            check(DataSource(layout="regdb", root=tmp_path), sheet=Path("sheet.gif"))


def test_options_that_contradict_the_layout_are_no_finding(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--hold-out"):
        check(DataSource(layout="regdb", root=tmp_path, hold_out=True))
