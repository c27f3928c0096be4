"""What a file seems to be, by its first bytes.

Every command that takes images uses this module: the same files are read everywhere, and all others
are refused in the same words.

Example:
    >>> kind_of(b"%PDF-1.7").one
    'a PDF document'
"""

from __future__ import annotations

import codecs
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from PIL import UnidentifiedImageError

from vireid.errors import first_few

__all__ = [
    "CONVERT",
    "FORMATS",
    "HEAD",
    "IMAGES",
    "PILLOW_FORMATS",
    "RAW",
    "UNRECOGNISED",
    "FileKind",
    "describe_left_out",
    "is_image",
    "is_raw",
    "is_video",
    "kind_of",
    "kinds_left_out",
    "mistaken_for",
    "refusal",
]

HEAD = 1024
"""Number of first bytes by which a kind is recognised."""


@dataclass(frozen=True, slots=True)
class FileKind:
    """A kind of file.

    Attributes:
        one: A file of this kind, such as ``a HEIC image``.
        many: Files of this kind, such as ``HEIC images``.
        fix: How to turn files of this kind into images that are read, with ``{}`` for "it" or
            "them"; empty for images that are read, and for files that nobody takes for images.
        format: The name of an image format that is read; empty for all others.
        endings: The usual file extensions of that format.
    """

    one: str
    many: str
    fix: str = ""
    format: str = ""
    endings: tuple[str, ...] = ()


def _read(name: str, *endings: str) -> FileKind:
    return FileKind(f"a {name} image", f"{name} images", "", name, endings)


def _image(name: str, article: str = "a") -> FileKind:
    return FileKind(f"{article} {name} image", f"{name} images", "convert {} to JPEG or PNG")


def _video(name: str, article: str = "a") -> FileKind:
    return FileKind(f"{article} {name} video", f"{name} videos", _FRAMES)


def _archive(name: str, article: str = "a") -> FileKind:
    return FileKind(f"{article} {name} archive", f"{name} archives", "unpack {} first")


_FRAMES = "run `vireid detect` on {} and pass the manifest that it writes"
_AGAIN = "copy or download {} again"

_JPEG = _read("JPEG", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo")
_PNG = _read("PNG", ".png", ".apng")
_BMP = _read("BMP", ".bmp")
_GIF = _read("GIF", ".gif")
_TIFF = _read("TIFF", ".tif", ".tiff")
_WEBP = _read("WebP", ".webp")
_PPM = _read("PPM", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm")
_JPEG_2000 = _read("JPEG 2000", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx")
_AVIF = FileKind("an AVIF image", "AVIF images", "", "AVIF", (".avif",))
IMAGES = (_JPEG, _PNG, _TIFF, _BMP, _WEBP, _AVIF, _GIF, _PPM, _JPEG_2000)
"""The kinds of images that are read."""

FORMATS = ", ".join(kind.format for kind in IMAGES)
"""Their formats, for messages."""

# Only formats that Pillow decodes itself: it hands others to outside programs (EPS).
PILLOW_FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "PPM", "GIF", "AVIF", "JPEG2000")
"""Pillow's names of the formats that are read."""

UNRECOGNISED = (
    "its header is damaged, or its pixels are of a type that is not read, such as 64-bit floating"
    " point"
)
"""What is known of a file that Pillow cannot identify although its first bytes are an image's."""
CONVERT = (
    "if other programs open {0}, convert {0} to PNG of 8 or 16 bits, or temperatures to 32-bit"
    " floating-point TIFF"
)
"""How to fix such a file if it is not damaged, with ``{0}`` for "it" or "them"."""

_ENDINGS = {ending for kind in IMAGES for ending in kind.endings}

RAW = _image("raw camera")
"""Raw photographs, of which only a preview could be read."""
_HEIC = _image("HEIC")
_MP4 = _video("MP4", "an")
_MOV = _video("QuickTime (MOV)")
_ZIP = _archive("ZIP")
# Files of file managers, and texts that may be empty.
_SYSTEM = {"thumbs.db", "desktop.ini", "icon\r"}
_TEXTS = {".txt", ".log", ".csv", ".json", ".md", ".xml", ".py", ".yaml", ".yml"}
_EMPTY = FileKind("an empty file", "empty files", _AGAIN)
_ZEROS = FileKind(
    "a file of nothing but zero bytes, as after an interrupted download",
    "files of zero bytes only",
    _AGAIN,
)
_PAGE = FileKind(
    "a web page (HTML)",
    "web pages (HTML)",
    "download {} again, logged in if the server asks for it",
)
_UNKNOWN = FileKind("an unknown kind of data", "files of an unknown kind", _AGAIN)
_UNREADABLE = FileKind(
    "a file that cannot be opened",
    "files that cannot be opened",
    "restore {} or grant permission, for example by chmod u+r",
)
_SPECIAL = FileKind("no ordinary file", "pipes, sockets or devices")

# The longest of several that match wins.
_BY_START: Mapping[bytes, FileKind] = {
    b"\xff\xd8\xff": _JPEG,
    b"\x89PNG": _PNG,
    b"GIF8": _GIF,
    b"II*\x00": _TIFF,
    b"MM\x00*": _TIFF,
    b"II+\x00": _TIFF,
    b"MM\x00+": _TIFF,
    b"\x00\x00\x00\x0cjP  ": _JPEG_2000,
    b"\xff\x4f\xff\x51": _JPEG_2000,
    # Images that are not read.
    b"\xff\xd8\xff\xf7": _image("JPEG-LS"),
    b"\xff\x0a": _image("JPEG XL"),
    b"\x00\x00\x00\x0cJXL ": _image("JPEG XL"),
    b"II\xbc\x01": _image("JPEG XR"),
    b"8BPS": _image("Photoshop (PSD)"),
    b"gimp xcf": _image("GIMP (XCF)"),
    b"%!PS": _image("PostScript (EPS)"),
    b"\xc5\xd0\xd3\xc6": _image("PostScript (EPS)"),
    b"II*\x00\x10\x00\x00\x00CR": RAW,
    b"II\x1a\x00\x00\x00HEAP": RAW,
    b"IIU\x00": RAW,
    b"IIRO": RAW,
    b"IIRS": RAW,
    b"MMOR": RAW,
    b"FUJIFILMCCD-RAW": RAW,
    b"FOVb": RAW,
    b"v/1\x01": _image("OpenEXR", "an"),
    b"#?RADIANCE": _image("Radiance (HDR)"),
    b"DDS ": _image("DDS"),
    b"\x00\x00\x01\x00": _image("Windows icon (ICO)"),
    b"icns": _image("macOS icon"),
    b"\x0a\x05\x01": _image("PCX"),
    b"\x01\xda": _image("SGI", "an"),
    b"qoif": _image("QOI"),
    b"SIMPLE  =": _image("FITS"),
    b"P7\n": _image("PAM"),
    b"PF\n": _image("colour PFM"),
    b"FFF\x00": _video("FLIR thermal"),
    # Videos.
    b"\x1aE\xdf\xa3": _video("Matroska (MKV)"),
    b"\x00\x00\x01\xba": _video("MPEG", "an"),
    b"\x00\x00\x01\xb3": _video("MPEG", "an"),
    b"\x00\x00\x00\x01\x67": _video("H.264", "an"),
    b"\x00\x00\x00\x01\x40": _video("H.265", "an"),
    b"0&\xb2u\x8ef\xcf\x11": _video("Windows Media (WMV)"),
    b"FLV\x01": _video("Flash (FLV)"),
    b"OggS": _video("Ogg", "an"),
    b"YUV4MPEG2": _video("raw (Y4M)"),
    b"DHAV": _video("Dahua"),
    b"IMKH": _video("Hikvision"),
    # Documents, archives and data.
    b"%PDF": FileKind("a PDF document", "PDF documents", "export the images in {} as JPEG or PNG"),
    b"PK\x03\x04": _ZIP,
    b"PK\x05\x06": _ZIP,
    b"\x1f\x8b": _archive("gzip"),
    b"Rar!": _archive("RAR"),
    b"7z\xbc\xaf": _archive("7z"),
    b"\xfd7zXZ": _archive("xz", "an"),
    b"BZh": _archive("bzip2"),
    b"(\xb5/\xfd": _archive("Zstandard"),
    b"\x93NUMPY": FileKind("a NumPy array", "data files"),
    b"MATLAB 5.0": FileKind("a MATLAB file", "data files"),
    b"\x89HDF": FileKind("an HDF5 file", "data files"),
    b"PAR1": FileKind("a Parquet file", "data files"),
    b"SQLite format 3": FileKind("an SQLite database", "data files"),
    b"\x00\x05\x16\x07": FileKind("a macOS companion file", "macOS companion files"),
    b"\xd0\xcf\x11\xe0": FileKind("an Office document or Thumbs.db", "documents"),
    b"version https://git-lfs": FileKind(
        "a Git LFS pointer to a file that was not fetched",
        "Git LFS pointers to files that were not fetched",
        "fetch {} with git lfs pull",
    ),
    b"/annex/objects/": FileKind(
        "a git-annex pointer to a file that was not fetched",
        "git-annex pointers to files that were not fetched",
        "fetch {} with git annex get",
    ),
}
_DOCUMENT = FileKind("an office document", "documents")
# Tried first, in this order.
_BY_PATTERN = (
    (rb"\Z", _EMPTY),
    (rb"\x1aE\xdf\xa3.{,60}webm", _video("WebM")),
    (rb"PK\x03\x04.*\[Content_Types\]\.xml", _DOCUMENT),
    (rb"PK\x03\x04.*mimetypeapplication", _DOCUMENT),
    (rb"PK\x03\x04.*\.npy", FileKind("a NumPy archive", "data files")),
    (rb"PK\x03\x04.*data\.pkl", FileKind("a PyTorch checkpoint", "data files")),
    (rb"RIFF.{4}WEBP", _WEBP),
    (rb"RIFF.{4}AVI ", _video("AVI", "an")),
    (rb"\0.{3}(moov|mdat|wide|free|skip)", _MOV),
    # Two letters alone could begin a text.
    (rb"BM.{13}\0\0\0", _BMP),
    (rb"P([1-6]|f)\s(\s|#[^\n]*\n)*\d+\s(\s|#[^\n]*\n)*\d+\s", _PPM),
    (rb".{128}DICM", _image("DICOM")),
    (rb".{257}ustar", _archive("tar")),
    (rb"G.{187}G.{187}G", _video("MPEG transport stream", "an")),
    (rb"\0+\Z", _ZEROS),
    (rb"(?i)[^\0]*<(!doctype )?html", _PAGE),
    (rb"(?i)[^\0]*<svg", _image("SVG", "an")),
)
# Brands of images of any coding.
_GENERIC = {b"mif1", b"msf1", b"miaf", b"1pic"}
_BY_BRAND = {
    b"avif": _AVIF,
    b"avis": _AVIF,
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"), _HEIC),
    b"crx ": RAW,
    b"qt  ": _MOV,
}
_SUBFILE, _PHOTOMETRIC, _DNG_VERSION = 254, 262, 50_706
_SENSOR = {32_803, 34_892}
"""Photometric interpretations: a colour filter array, and linear raw."""
_SHORT = 3
_PATTERNS = [(re.compile(pattern, re.DOTALL), kind) for pattern, kind in _BY_PATTERN]
_STARTS = re.compile(b"|".join(map(re.escape, sorted(_BY_START, key=len, reverse=True))))


def is_image(path: Path) -> bool:
    """Whether a file is read as an image.

    A file with the extension of an image that is read is one, unopened; any other if its first
    bytes say so. Hidden files are none.

    Args:
        path: The file.
    """
    # A leading dot marks the companion files that macOS adds to archives ("._0001.jpg").
    if path.name.startswith("."):
        return False
    return path.suffix.lower() in _ENDINGS or bool(kind_of(path).format)


def is_video(file: Path | bytes) -> bool:
    """Whether the first bytes of a file are those of a video.

    Args:
        file: The file, or its bytes.
    """
    return kind_of(file).fix == _FRAMES


def kind_of(file: Path | bytes) -> FileKind:
    """What the content of a file seems to be.

    Args:
        file: The file, or its bytes: at least the first ``HEAD``. A file that cannot be opened
            is of a kind of its own.
    """
    if isinstance(file, bytes):
        return _kind_of_bytes(file)
    try:
        # Opening a pipe would wait for its other end.
        if not stat.S_ISREG(file.stat().st_mode):
            return _SPECIAL
        with file.open("rb") as opened:
            return _kind_of_bytes(opened.read(HEAD))
    except OSError:
        return _UNREADABLE


def refusal(
    where: str, kind: FileKind, error: Exception | None = None, *, videos: bool = False
) -> str:
    """The message for a file that cannot be read as an image.

    Args:
        where: Its name in quotes, perhaps with its size.
        kind: What it seems to be.
        error: What the decoder says.
        videos: Whether videos are read too.
    """
    if kind.format:
        # Pillow's message for this is the file's name, or an address in memory.
        unknown = error is None or isinstance(error, UnidentifiedImageError)
        convert = f" or {CONVERT.format('it')}," if unknown else ""
        return (
            f"{where} cannot be read: {UNRECOGNISED if unknown else error}; expected a complete"
            f" image ({kind.format}); copy it again,{convert} or leave it out."
        )
    fix = f"{kind.fix.format('it')}, or leave it out" if kind.fix else "leave it out"
    expected = f"an image ({FORMATS}){' or a video' if videos else ''}"
    return f"{where} cannot be read: it is {kind.one}; expected {expected}; {fix}."


def _kind_of_bytes(data: bytes) -> FileKind:
    head = data[:HEAD]
    if head[4:8] == b"ftyp":
        return _of_brands(head)
    kind = next((kind for pattern, kind in _PATTERNS if pattern.match(head)), None)
    if not kind and (start := _STARTS.match(head)):
        kind = _BY_START[start[0]]
    if kind is _TIFF and is_raw(_tags(data)):
        return RAW
    return kind or _of_text(head)


def mistaken_for(expected: str, file: Path) -> str:
    """The message for a file of another format that turns out to be no such file.

    Args:
        expected: What was expected, such as ``a table (CSV or Parquet)``.
        file: The file.

    Returns:
        Empty if nothing is known of what it is.
    """
    kind = kind_of(file)
    if not kind.fix or kind in {_UNKNOWN, _EMPTY, _ZEROS, _ZIP}:
        return ""
    return (
        f"'{file}' cannot be read: it is {kind.one}; expected {expected}; {kind.fix.format('it')}."
    )


def kinds_left_out(paths: Iterable[Path]) -> dict[FileKind, list[Path]]:
    """Group files that are not read as images by what they seem to be.

    Hidden and system files, texts, documents and data are left out: nobody takes them for images.

    Args:
        paths: Files that are not images.
    """
    found: dict[FileKind, list[Path]] = {}
    for path in paths:
        if path.name.startswith(".") or path.name.lower() in _SYSTEM:
            continue
        kind = kind_of(path)
        if kind.fix and not (kind is _EMPTY and path.suffix.lower() in _TEXTS):
            found.setdefault(kind, []).append(path)
    return found


def describe_left_out(paths: Iterable[Path]) -> str:
    """Say what :func:`kinds_left_out` finds, with counts, examples and fixes.

    Args:
        paths: Files that are not images.

    Returns:
        Such as ``3 files are not read: 2 HEIC images (convert them to JPEG or PNG; 'a.heic',
        'b.heic'), a ZIP archive (unpack it first; 'c.zip').``; empty if there is none.
    """
    found = kinds_left_out(paths)
    number = sum(map(len, found.values()))
    if not number:
        return ""
    kinds = (
        f"{kind.one if len(own) == 1 else f'{len(own):,} {kind.many}'}"
        f" ({kind.fix.format('it' if len(own) == 1 else 'them')};"
        f" {first_few(path.name for path in own)})"
        for kind, own in found.items()
    )
    return (
        f"{'1 file is' if number == 1 else f'{number:,} files are'} not read: {', '.join(kinds)}."
    )


def is_raw(tags: Mapping[int, Any]) -> bool:
    """Whether a TIFF is a raw photograph, of which only a preview could be read.

    Args:
        tags: The tags of its first page.
    """
    preview = tags.get(_SUBFILE) == 1
    return preview or _DNG_VERSION in tags or tags.get(_PHOTOMETRIC) in _SENSOR


def _tags(data: bytes) -> dict[int, int]:
    """The tags of a TIFF's first page as far as these bytes hold them, with short values."""
    order: Literal["little", "big"] = "little" if data[:1] == b"I" else "big"

    def number(at: int, size: int) -> int:
        return int.from_bytes(data[at : at + size], order)

    if number(2, 2) != 42:  # BigTIFF, which no camera writes
        return {}
    start = number(4, 4)
    entries = range(start + 2, start + 2 + 12 * number(start, 2), 12)
    return {
        number(at, 2): number(at + 8, 2 if number(at + 2, 2) == _SHORT else 4) for at in entries
    }


def _of_brands(head: bytes) -> FileKind:
    """The kind of an ISO base media file, an image or a video, by its brands."""
    major, *others = (
        head[at : at + 4] for at in (8, *range(16, min(int.from_bytes(head[:4]), HEAD), 4))
    )
    if major in _GENERIC:
        return next((_BY_BRAND[brand] for brand in others if brand in _BY_BRAND), _HEIC)
    return _BY_BRAND.get(major, _MP4)


def _of_text(head: bytes) -> FileKind:
    """The kind of a text, or unknown."""
    encoding = "utf-16" if head[:2] in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE} else "utf-8"
    try:
        # The last character may be cut in two.
        text = codecs.getincrementaldecoder(encoding)().decode(head)
    except UnicodeDecodeError:
        return _UNKNOWN
    words = text.removeprefix("\ufeff").split()
    if not "".join(words).isprintable():
        return _UNKNOWN
    return FileKind(f"text that begins with '{' '.join(words)[:40]}'", "text files")
