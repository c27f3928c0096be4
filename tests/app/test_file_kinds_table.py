"""Every kind of file through every door: `check`, `encode`, `gallery add` and REST.

A file is taken everywhere or refused everywhere, in the same words.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.app.visitor import OWN, Visitor
from tests.data.test_file_kind import OTHERS

from vireid.app.limits import MAX_IMAGES
from vireid.cli import main
from vireid.data.check import check
from vireid.data.layouts import DataSource
from vireid.features.parquet import FeatureFile

# Pillow warns before it gives up on some damaged headers.
pytestmark = pytest.mark.filterwarnings("ignore:Corrupt EXIF data", "ignore:Truncated File Read")

SIZE = (24, 48)


def picture(mode: str, seed: int) -> Image.Image:
    """A noisy image of a mode; no two have equal pixels."""
    rng = np.random.default_rng(seed)
    if mode in {"I;16", "I", "F"}:
        kind = {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
        return Image.fromarray(rng.integers(29_000, 31_000, SIZE[::-1]).astype(kind))
    return Image.fromarray(rng.integers(0, 256, (*SIZE[::-1], 3)).astype(np.uint8)).convert(mode)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def deep_png(channels: int, seed: int) -> bytes:
    """A PNG of 16 bits per channel in colour, which Pillow does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    width, height = SIZE
    values = np.random.default_rng(seed).integers(0, 65_536, (height, width * channels))
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    colour = {2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


MODES = {
    "JPEG": ("L", "RGB", "CMYK"),
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"),
    "BMP": ("1", "L", "P", "RGB", "RGBA"),
    "GIF": ("L", "P"),
    "WEBP": ("L", "RGB", "RGBA"),
    "AVIF": ("L", "RGB", "RGBA"),
    "PPM": ("1", "L", "RGB", "I;16", "F"),
    "JPEG2000": ("L", "LA", "RGB", "RGBA", "I;16"),
}
TAKEN = {
    f"{kind} {mode}": encoded(picture(mode, seed), kind)
    for seed, (kind, mode) in enumerate((k, m) for k, modes in MODES.items() for m in modes)
}
TAKEN |= {
    f"{kind} of two frames": encoded(
        picture("RGB", n), kind, save_all=True, append_images=[picture("RGB", 101)]
    )
    for n, kind in enumerate(("MPO", "PNG", "TIFF", "GIF", "WEBP", "AVIF"), 110)
}
TAKEN |= {
    f"TIFF {name}": encoded(picture("RGB", n), "TIFF", compression=name)
    for n, name in enumerate(("tiff_lzw", "tiff_adobe_deflate", "packbits"), 120)
}
TAKEN |= {
    "TIFF big": encoded(picture("RGB", 130), "TIFF", big_tiff=True),
    "JPEG progressive": encoded(picture("RGB", 131), "JPEG", progressive=True),
    "PNG 16-bit LA": deep_png(2, 132),
    "PNG 16-bit RGB": deep_png(3, 133),
    "PNG 16-bit RGBA": deep_png(4, 134),
}
# Metadata: a rotation, and EXIF blocks that are damaged.
_TURNED = Image.Exif()
_TURNED[0x0112] = 6
for _seed, _kind in enumerate(("JPEG", "PNG", "WEBP", "AVIF", "TIFF"), 140):
    TAKEN[f"{_kind} rotated"] = encoded(picture("RGB", _seed), _kind, exif=_TURNED)
for _seed, _kind in enumerate(("JPEG", "PNG", "WEBP"), 150):
    TAKEN[f"{_kind} with damaged EXIF"] = encoded(
        picture("RGB", _seed), _kind, exif=b"Exif\0\0II*\0\xff\xff\xff\x7f"
    )

# Taken from folders, but costly to decode: refused as uploads.
COSTLY = {
    "PPM as text": b"P3 4 9 255\n" + b"9 80 7 200 1 33 " * 18,
    "TIFF zstd": encoded(picture("RGB", 160), "TIFF", compression="zstd"),
    "TIFF jpeg": encoded(picture("RGB", 161), "TIFF", compression="jpeg"),
    "TIFF group4": encoded(picture("1", 162), "TIFF", compression="group4"),
}

# Damaged files, and what each refusal says.
REFUSED = {
    f"other {n}": (data, f"it is {words.strip()}") for n, (words, data) in enumerate(OTHERS.items())
}
for _seed, (_kind, _modes) in enumerate(MODES.items(), 170):
    _data = encoded(picture("RGB" if _kind != "GIF" else "P", _seed), _kind)
    REFUSED[f"{_kind} cut in half"] = (_data[: len(_data) // 2], "expected a complete image")
    REFUSED[f"{_kind} of a header"] = (_data[:18], "expected a complete image")


def reason(message: str) -> str:
    """What a message says behind the name of the file."""
    found = re.search(r"cannot be read: (.*?); ", message)
    assert found, message
    return found[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All files, named as JPEGs whatever they are."""
    root = tmp_path_factory.mktemp("table") / "visible/1"
    root.mkdir(parents=True)
    for name, data in {**TAKEN, **COSTLY, **{n: d for n, (d, _) in REFUSED.items()}}.items():
        (root / f"{name}.jpg").write_bytes(data)
    return root


@pytest.fixture(scope="module")
def skipped(run: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What `encode` says of the files that it skips; it takes all others."""
    out = tmp_path_factory.mktemp("encoded") / "a.parquet"
    with pytest.MonkeyPatch.context() as patch:
        printed = io.StringIO()
        patch.setattr("sys.stdout", printed)
        assert main(["encode", str(run), str(folder), "--out", str(out), "--skip-bad"]) == 0
    messages = re.findall(r"^  ('.*/(.*)\.jpg'.*)$", printed.getvalue(), re.MULTILINE)
    taken = {image.info.path.stem for batch in FeatureFile(out) for image in batch.images}
    assert taken == {*TAKEN, *COSTLY}
    return {name: message for message, name in messages}


def test_encode_refuses_in_the_right_words(skipped: dict[str, str]) -> None:
    assert set(skipped) == set(REFUSED)
    for name, (_, words) in REFUSED.items():
        assert words in skipped[name]


def test_gallery_add_is_like_encode(
    run: Path,
    folder: Path,
    skipped: dict[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["gallery", "add", str(tmp_path / "g"), str(folder), "--run", str(run), "--skip-bad"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert f"holds {len(TAKEN) + len(COSTLY)} entries: {len(TAKEN) + len(COSTLY)} new." in printed
    for message in skipped.values():
        assert message in printed


def test_check_is_like_encode(folder: Path, skipped: dict[str, str]) -> None:
    root = folder.parent.parent
    source = DataSource(layout="folders", root=root, pattern="{modality}/{identity}/{name}.jpg")
    report = check(source, threads=1)
    faults = {
        Path(name).stem: place.detail
        for finding in report.findings
        if finding.fault.name in {"not-an-image", "damaged", "empty"}
        for place in finding.places
        for name in place.names
    }
    assert set(faults) == set(skipped)
    for name, detail in faults.items():
        # Empty files are reported as such.
        assert (detail or "an empty file") in reason(skipped[name])


def test_rest_is_like_encode(owner: Visitor, skipped: dict[str, str]) -> None:
    data = {**TAKEN, **COSTLY, **{name: data for name, (data, _) in REFUSED.items()}}
    outcomes: dict[str, str] = {}
    for at in range(0, len(data), MAX_IMAGES):
        part = list(data)[at : at + MAX_IMAGES]
        files = [("images", (f"{name}.jpg", data[name])) for name in part]
        answer = owner.ask("POST", "/api/entries", files=files, headers=OWN).json()
        outcomes |= {name: one["detail"] or "" for name, one in zip(part, answer, strict=True)}
    assert {name for name, detail in outcomes.items() if not detail} == set(TAKEN)
    for name, detail in outcomes.items():
        if name in COSTLY:
            assert "uses an unusual compression" in detail
        elif detail:
            assert reason(detail) == reason(skipped[name])


def test_a_folder_without_extensions_holds_the_same_images(
    run: Path,
    folder: Path,
    skipped: dict[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for path in folder.iterdir():
        (bare / path.stem).write_bytes(path.read_bytes())
    out = tmp_path / "a.parquet"
    assert main(["encode", str(run), str(bare), "--out", str(out), "--skip-bad"]) == 0
    taken = {image.info.path.name for batch in FeatureFile(out) for image in batch.images}
    assert taken == {*TAKEN, *COSTLY}
    said = capsys.readouterr().err
    for words in (
        "4 raw camera images (convert them",
        "3 HEIC images",
        "2 MP4 videos",
        "unpack it",
    ):
        assert words in said
