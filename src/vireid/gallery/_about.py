"""The metadata of an embedded gallery: the file ``gallery.json``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter
from pydantic_core import from_json

from vireid.errors import GalleryError, first_few, fix_of
from vireid.files import write_atomic
from vireid.types import ModelInfo

__all__ = [
    "VERSION",
    "About",
    "about_file",
    "check_folder",
    "check_version",
    "read_about",
    "write_about",
]

VERSION = 2
"""The version of the format of galleries, in folders and on servers."""

OWN_FILES = {"shard", "writer.lock", "writer.json", "shard.lock", "queue.lock"}
"""Files that may be in the folder before gallery.json is."""


@dataclass(frozen=True, kw_only=True)
class About:
    """The content of ``gallery.json``.

    Attributes:
        version: The version of the gallery's format.
        model: The network of the features.
        notes: Texts by name, such as the calibration.
        graph: Whether sealed segments have a graph.
        rows: Lower bound of the number of rows; updated when a writer closes the segments and
            before rows are deleted.
    """

    version: int = VERSION
    model: ModelInfo
    notes: dict[str, str] = field(default_factory=dict)
    graph: bool = False
    rows: int = 0


_ABOUT = TypeAdapter(About)


def about_file(folder: Path) -> Path:
    """The file whose presence makes a folder a gallery."""
    return folder / "gallery.json"


def read_about(folder: Path) -> About:
    """Read ``gallery.json``.

    Raises:
        GalleryError: It cannot be read, vireid did not write it, or it is of another version.
    """
    path = about_file(folder)
    try:
        content = from_json(path.read_bytes())
        check_version(content.get("version", VERSION), str(folder))
        return _ABOUT.validate_python(content)
    except (OSError, ValueError, AttributeError) as error:
        raise GalleryError(
            f"'{path}' cannot be read: {error}; expected what vireid wrote: "
            + fix_of(
                error,
                "restore a copy of it, or create the gallery again with `vireid gallery add`",
            )
            + "."
        ) from error


def check_version(version: object, location: str) -> None:
    """Refuse a gallery of another version of the format.

    Args:
        version: Its version.
        location: Its folder or address, for the message.

    Raises:
        GalleryError: This version of vireid cannot read it.
    """
    if version != VERSION:
        raise GalleryError(
            f"The gallery '{location}' has the format version {version!r}; this vireid reads"
            f" version {VERSION}: use the vireid that wrote it, or create the gallery again."
        )


def write_about(folder: Path, about: About) -> None:
    """Write ``gallery.json`` atomically.

    Raises:
        GalleryError: The disk is full, or the folder cannot be written to.
    """
    try:
        write_atomic(about_file(folder), _ABOUT.dump_json(about, indent=2))
    except OSError as error:
        raise GalleryError(
            f"'{about_file(folder)}' cannot be written ({error.strerror}); "
            + fix_of(error, "fix the permissions of its folder")
            + ", and try again."
        ) from error


def check_folder(folder: Path, *, may_create: bool) -> None:
    """Refuse a folder that is not a gallery, unless an empty one may become one.

    Raises:
        GalleryError: There is no gallery and none may be created, or the folder has other files.
    """
    if about_file(folder).exists():
        return
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    foreign = [name for name in names if name not in OWN_FILES and not name.startswith(".")]
    if not may_create or foreign or folder.is_file():
        held = f"; it holds {first_few(foreign)}" if foreign else ""
        raise GalleryError(
            f"'{folder}' is not a gallery: it has no gallery.json{held}; expected a folder that "
            "`vireid gallery add` created, or for a new gallery an empty or missing folder."
        )
