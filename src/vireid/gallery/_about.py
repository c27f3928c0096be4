"""What an embedded gallery knows of itself: the file ``gallery.json``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from vireid.errors import GalleryError, first_few
from vireid.files import write_atomic
from vireid.types import ModelInfo

__all__ = ["About", "about_file", "check_folder", "read_about", "write_about"]

OWN_FILES = {"shard", "writer.lock", "writer.json", "shard.lock", "queue.lock"}
"""What may lie in the folder before gallery.json does."""


@dataclass(frozen=True, kw_only=True)
class About:
    """What ``gallery.json`` holds.

    Attributes:
        model: The network of the features.
        notes: Texts by name, such as the calibration.
        graph: Whether sealed segments have a graph.
        rows: At least so many rows are there; brought up to date when a writer lets go of the
            segments, and before rows are removed.
    """

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
        GalleryError: It cannot be read, or it is not one that vireid wrote.
    """
    path = about_file(folder)
    try:
        return _ABOUT.validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise GalleryError(
            f"'{path}' cannot be read: {error}. Put back a copy of it, or make the gallery anew "
            "with `vireid gallery add`."
        ) from error


def write_about(folder: Path, about: About) -> None:
    """Write ``gallery.json`` in one step.

    Raises:
        GalleryError: The disk is full, or the folder cannot be written to.
    """
    try:
        write_atomic(about_file(folder), _ABOUT.dump_json(about, indent=2))
    except OSError as error:
        raise GalleryError(
            f"'{about_file(folder)}' cannot be written ({error.strerror}); make room, or mend "
            "the rights of its folder, and try again."
        ) from error


def check_folder(folder: Path, *, may_make: bool) -> None:
    """Refuse to open what is not there, and to make a gallery among other files.

    Raises:
        GalleryError: There is no gallery, and none is to be made, or the folder holds other files.
    """
    if about_file(folder).exists():
        return
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    foreign = [name for name in names if name not in OWN_FILES and not name.startswith(".")]
    if not may_make or foreign or folder.is_file():
        held = f"; it holds {first_few(foreign)}" if foreign else ""
        raise GalleryError(
            f"'{folder}' is no gallery: it has no gallery.json{held}; expected a folder that "
            "`vireid gallery add` made, or for a new gallery a folder that is empty or is not "
            "there yet."
        )
