"""Kinds of files by their first bytes, and the walk through folders."""

from __future__ import annotations

import io
import os
import shutil
import struct
from itertools import permutations
from pathlib import Path

import pytest
from PIL import Image
from tests.helpers.messages import refused
from tests.helpers.trees import write_folders, write_sysu

from vireid.data.bit_depth import REMARKS
from vireid.data.check.content import file_findings
from vireid.data.check.images import check_images
from vireid.data.file_kind import IMAGES, PILLOW_FORMATS, describe_left_out, is_image, kind_of
from vireid.data.images import FIRST_FRAME, decode_image, read_image
from vireid.data.layouts import DataSource, Folders, SysuMM01
from vireid.data.listing import list_images
from vireid.data.walk import walk
from vireid.errors import EvaluationError
from vireid.evaluation.external import ExternalFeatures


def encoded(kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (24, 48), (200, 30, 90)).save(file, kind, **options)
    return file.getvalue()


def tiff_of(*tags: tuple[int, int, int]) -> bytes:
    """The header and the first directory of a TIFF: tags with type and value."""
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)


OTHERS = {
    "a HEIC image": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    "a HEIC image ": b"\0\0\0\x14ftypmif1\0\0\0\0heic",
    "a HEIC image  ": b"\0\0\0\x10ftypmif1\0\0\0\0",
    "an MP4 video ": b"\0\0\0\x1cftypisom\0\0\2\0isommif1heic",
    "an MP4 video": b"\0\0\0\x18ftypisom\0\0\x02\0isommp41",
    "a QuickTime (MOV) video": b"\0\0\0\x14ftypqt  \0\0\x02\0qt  ",
    "a QuickTime (MOV) video ": b"\0\0\0\x08wide\0\0\x10\0mdat",
    "an AVI video": b"RIFF\x10\0\0\0AVI LIST",
    "a Matroska (MKV) video": b"\x1aE\xdf\xa3\xa3\x42\x82\x88matroska",
    "a WebM video": b"\x1aE\xdf\xa3\x9f\x42\x82\x84webm",
    "a JPEG XL image": b"\xff\x0a\xff",
    "a JPEG XL image ": b"\0\0\0\x0cJXL \r\n\x87\n",
    "a Photoshop (PSD) image": b"8BPS\0\1",
    "a PostScript (EPS) image": b"%!PS-Adobe-3.0 EPSF-3.0\n",
    "an SVG image": b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>",
    "a raw camera image": tiff_of((256, 4, 100), (50_706, 1, 0x0401)),
    "a raw camera image ": tiff_of((254, 4, 1), (256, 4, 160)),
    "a raw camera image  ": tiff_of((262, 3, 32_803)),
    "a raw camera image   ": b"II*\0\x10\0\0\0CR\2\0",
    "a Git LFS pointer to a file that was not fetched": b"version https://git-lfs.github.com/spec",
    "a web page (HTML)": b"\n<!DOCTYPE html><html><svg></svg>",
    "a ZIP archive": b"PK\x03\x04\x14\0\0\0\x08\0photo.jpg",
    "an office document": b"PK\x03\x04\x14\0\0\0\x08\0[Content_Types].xml",
    "a tar archive": b"a.jpg".ljust(257, b"\0") + b"ustar\0",
    "a RAR archive": b"Rar!\x1a\7\1\0",
    "a 7z archive": b"7z\xbc\xaf'\x1c",
    "a NumPy array": b"\x93NUMPY\1\0",
    "a macOS companion file": b"\0\5\x16\7\0\2\0\0",
    "an empty file": b"",
    "a file of nothing but zero bytes, as after an interrupted download": bytes(5_000),
    "text that begins with 'BM25 ranks documents'": b"BM25  ranks\ndocuments",
    "text that begins with 'P1 was late'": b"P1 was late",
    "text that begins with 'The wide street'": b"The wide street",
    "an unknown kind of data": b"\1\2\3\xff",
}


@pytest.mark.parametrize("words", OTHERS)
def test_a_file_that_is_not_read_is_named(words: str, tmp_path: Path) -> None:
    kind = kind_of(OTHERS[words])
    assert (kind.one, kind.format) == (words.strip(), "")
    # Under the extension of an image it is refused in the same words; under another, left out.
    (tmp_path / "a.jpg").write_bytes(OTHERS[words])
    (tmp_path / "a.xyz").write_bytes(OTHERS[words])
    assert f"cannot be read: it is {kind.one}; expected an image (JPEG, PNG" in refused(
        lambda: read_image(tmp_path / "a.jpg")
    )
    assert f"cannot be read: it is {kind.one}; expected" in refused(
        lambda: decode_image(OTHERS[words], name="a.jpg")
    )
    assert is_image(tmp_path / "a.jpg")
    assert not is_image(tmp_path / "a.xyz")
    remark = describe_left_out([tmp_path / "a.xyz"])
    assert remark == (kind.fix and f"1 file is not read: {kind.one} ({_fix(kind.fix)}; 'a.xyz').")


def _fix(fix: str) -> str:
    return fix.format("it")


@pytest.mark.parametrize("brands", ["avifmif1miaf", "mif1avifmiaf", "avismsf1"])
def test_avif_by_its_brands(brands: str) -> None:
    major, others = brands[:4].encode(), brands[4:].encode()
    size = (16 + len(others)).to_bytes(4)
    assert kind_of(size + b"ftyp" + major + bytes(4) + others).format == "AVIF"


@pytest.mark.parametrize("kind", PILLOW_FORMATS)
@pytest.mark.parametrize("name", ["a", "a.0001", "a.txt", "a.heic"])
def test_an_image_is_taken_by_its_content(kind: str, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(encoded(kind))
    assert [image.path.name for image in list_images([str(tmp_path)])] == [name]
    assert [image.path.name for image in list_images([f"{tmp_path}/*"])] == [name]
    assert kind_of(tmp_path / name).format.replace(" ", "").upper() == kind
    assert read_image(tmp_path / name).size == (24, 48)


def test_known_endings_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = sorted({f"a{ending}" for kind in IMAGES for ending in kind.endings})
    for name in names:
        (tmp_path / name).touch()
    monkeypatch.setattr("vireid.data.file_kind.kind_of", None)
    assert [image.path.name for image in list_images([str(tmp_path)])] == names


def test_what_is_left_out_of_a_folder_is_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "deeper").mkdir()
    for name, words in {
        "a.heic": "a HEIC image",
        "deeper/b.HEIC": "a HEIC image",
        "c.mp4": "an MP4 video",
        "notes.txt": "text that begins with 'P1 was late'",
        "table.npy": "a NumPy array",
        ".hidden": "an unknown kind of data",
        "Thumbs.db": "an unknown kind of data",
        "log.txt": "an empty file",
    }.items():
        (tmp_path / name).write_bytes(OTHERS[words])
    os.mkfifo(tmp_path / "pipe")  # opening it would never return
    said = (
        "3 files are not read: 2 HEIC images (convert them to JPEG or PNG; 'a.heic', 'b.HEIC'),"
        " an MP4 video (run `vireid detect` on it and pass the manifest that it writes;"
        " 'c.mp4')."
    )
    assert refused(lambda: list_images([str(tmp_path)])).endswith(f"check its name. {said}")
    (tmp_path / "d.png").write_bytes(encoded("PNG"))
    assert capsys.readouterr().err == ""
    assert len(list_images([str(tmp_path)])) == 1
    assert capsys.readouterr().err == f"'{tmp_path}': {said}\n"


@pytest.mark.parametrize(
    "address", ["rtsp://camera.example/1", "http://a.example/b.jpg", "s3://bucket/people"]
)
def test_an_address_is_no_file(address: str) -> None:
    message = refused(lambda: list_images([address]))
    assert message.startswith(f"'{address}' is the address of a stream or a server; expected files")
    assert "`vireid detect`" in message


def test_the_password_of_a_camera_is_not_repeated() -> None:
    message = refused(lambda: list_images(["rtsp://ada:secret@camera.example/1"]))
    assert "'rtsp://***@camera.example/1'" in message
    assert "secret" not in message


class TestWalk:
    @pytest.fixture
    def linked(self, tmp_path: Path) -> Path:
        """Three folders of one image each, with links to one another."""
        root = tmp_path / "linked"
        cameras = [root / name for name in ("cam1", "cam2", "cam3")]
        for number, camera in enumerate(cameras):
            camera.mkdir(parents=True)
            (camera / f"{number}.png").write_bytes(encoded("PNG"))
        for camera, other in permutations(cameras, 2):
            (camera / f"0 see {other.name}").symlink_to(other, target_is_directory=True)
        return root

    def test_folders_that_link_to_one_another(
        self, linked: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        own = [linked / "cam1/0.png", linked / "cam2/1.png", linked / "cam3/2.png"]
        for source in (str(linked), f"{linked}/**/*.png", f"{linked}/**"):
            assert [image.path for image in list_images([source])] == own
            assert "6 links are not followed, because the folder is" in capsys.readouterr().err
        walked = walk([linked / "cam1", linked / "cam2", linked / "cam3"])
        assert (walked.files, len(walked.repeats)) == (own, 6)
        walked = walk([linked / "cam2"])
        assert {path.resolve() for path in walked.files} == set(own)

    def test_a_folder_that_only_links_lead_to_is_listed_once(self, tmp_path: Path) -> None:
        away = tmp_path / "away/deep"
        away.mkdir(parents=True)
        (away / "x.png").write_bytes(encoded("PNG"))
        (tmp_path / "root/b").mkdir(parents=True)
        (tmp_path / "root/b/y.png").write_bytes(encoded("PNG"))
        (tmp_path / "root/link").symlink_to(away.parent)
        (tmp_path / "root/again").symlink_to(away.parent)
        walked = walk([tmp_path / "root"])
        names = [path.relative_to(tmp_path).as_posix() for path in walked.files]
        assert names == ["root/again/deep/x.png", "root/b/y.png"]
        assert walked.repeats == [tmp_path / "root/link"]
        layout = Folders(tmp_path / "root", "{modality}/{identity}/{name}")
        assert layout.walk() == walked

    def test_the_order_is_that_of_paths(self, tmp_path: Path) -> None:
        for name in ("a/b.png", "a.png", "a-b/c.png", "a/b/c.png", "B.png"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            if not (tmp_path / name).exists():
                (tmp_path / name).touch()
        files = walk([tmp_path]).files
        assert files == sorted(files)
        assert len(files) == 5

    def test_hidden_folders_are_passed_over(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Such as the packed cache, which training leaves in the folder of the data set."""
        for name in ("a.png", ".vireid-cache/96x48-0.rgb", ".thumbnails/b.png"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            Image.new("L", (8, 16)).save(tmp_path / name, "PNG")
        (tmp_path / ".link").symlink_to(tmp_path / ".thumbnails")
        assert [image.path.name for image in list_images(tmp_path)] == ["a.png"]
        assert [image.path.name for image in list_images(tmp_path / ".thumbnails")] == ["b.png"]
        assert capsys.readouterr().err == ""

    def test_a_folder_that_cannot_be_read_is_said(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "lost").mkdir()
        (tmp_path / "a.png").touch()
        scandir = os.scandir

        def deny(folder: str) -> object:
            if folder.endswith("lost"):
                raise PermissionError(13, "Permission denied", folder)
            return scandir(folder)

        monkeypatch.setattr(os, "scandir", deny)
        assert len(list_images([str(tmp_path)])) == 1
        said = capsys.readouterr().err
        assert "1 folder is left out, because it cannot be read (Permission denied)" in said
        assert f"'{tmp_path}/lost'" in said


@pytest.mark.parametrize("name", ["list.csv", "list.parquet"])
@pytest.mark.parametrize(
    ("words", "fix"),
    [
        ("a Git LFS pointer to a file that was not fetched", "fetch it with git lfs pull"),
        ("a web page (HTML)", "download it again"),
        ("an MP4 video", "run `vireid detect` on it"),
    ],
)
def test_a_table_that_is_none(name: str, words: str, fix: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(OTHERS[words])
    message = refused(lambda: list_images([str(tmp_path / name)]))
    assert f"cannot be read: it is {words}; expected a table (CSV or Parquet); {fix}" in message


def test_features_that_are_none(tmp_path: Path) -> None:
    file = tmp_path / "query.npz"
    file.write_bytes(b"version https://git-lfs.github.com/spec/v1")
    with pytest.raises(EvaluationError, match=r"it is a Git LFS pointer .*expected an \.npz file"):
        ExternalFeatures.load(file)


def test_training_on_folders_says_what_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_folders(tmp_path / "own")
    (root / "train/visible/cam1/1/a.heic").write_bytes(OTHERS["a HEIC image"])
    source = DataSource(
        layout="folders", root=root, pattern="{split}/{modality}/cam{camera}/{identity}/{name}.jpg"
    )
    layout = source.open()
    layout.train()
    layout.test()
    said = "1 file is not read: a HEIC image (convert it to JPEG or PNG; 'a.heic')."
    assert capsys.readouterr().err == f"'{root}': {said}\n"


def test_sysu_says_that_it_counts_jpg_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_sysu(tmp_path / "SYSU")
    shutil.copy(root / "cam1/0001/0001.jpg", root / "cam1/0001/0009.jpeg")
    SysuMM01(root).train()
    said = capsys.readouterr().err
    assert "1 image of the train identities of" in said
    assert "0009.jpeg'" in said


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "PNG", "WEBP", "MPO"])
def test_of_several_frames_the_first_is_used(kind: str, tmp_path: Path) -> None:
    first, second = (Image.new("RGB", (24, 48), colour) for colour in ("white", "black"))
    first.putpixel((0, 0), (200, 0, 0))
    path = tmp_path / f"a.{'jpg' if kind == 'MPO' else kind}"
    first.save(path, kind, save_all=True, append_images=[second])
    image = read_image(path)
    assert image.getpixel((12, 24)) == (255, 255, 255)
    assert image.info[REMARKS] == (FIRST_FRAME,)
    seen = check_images([path], threads=1)
    assert [f.fault.name for f in file_findings(seen, root=tmp_path) if "frames" in f.what] == [
        "several-frames"
    ]
    first.save(path, "JPEG" if kind == "MPO" else kind)
    assert REMARKS not in read_image(path).info


def test_damage_behind_the_first_frame_does_not_matter(tmp_path: Path) -> None:
    file = io.BytesIO()
    first, second = (Image.new("RGB", (24, 48), colour) for colour in ("white", "black"))
    first.save(file, "GIF", save_all=True, append_images=[second])
    data = file.getvalue()
    header = struct.pack("<cHHHH", b",", 0, 0, 24, 48)
    assert data.count(header) == 2
    (tmp_path / "a.gif").write_bytes(data[: data.rindex(header) + len(header) + 1])
    assert read_image(tmp_path / "a.gif").getpixel((12, 24)) == (255, 255, 255)
