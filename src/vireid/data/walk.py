"""All files below folders, each folder once."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from vireid.data.file_kind import describe_left_out, is_image, is_video
from vireid.errors import first_few

__all__ = ["Walk", "split_images", "walk"]


@dataclass(slots=True)
class Walk:
    """The files below some folders.

    Attributes:
        files: Every file, folder by folder as they were given, each sorted.
        repeats: Links, and mounts, that lead to a folder listed already; they are passed over.
        unreadable: Errors of folders that cannot be read; their files are missing.
    """

    files: list[Path] = field(default_factory=list)
    repeats: list[Path] = field(default_factory=list)
    unreadable: list[OSError] = field(default_factory=list)


def walk(folders: Iterable[Path]) -> Walk:
    """List the files below some folders; missing folders are skipped.

    Symbolic links are followed, but no folder is listed twice: first all folders are listed that
    need no link, then those that only links lead to. Hidden folders, such as the packed cache, are
    passed over.

    Args:
        folders: The folders.
    """
    walked = Walk()
    names: list[list[str]] = []
    seen: set[tuple[int, int]] = set()
    todo: list[tuple[str, int]] = []
    links: list[tuple[str, int]] = []
    for at, folder in enumerate(folders):
        names.append([])
        if folder.is_dir():
            todo.append((str(folder), at))
    while todo or links:
        # A heap, because the order in which a file system lists links must not matter.
        here, at = todo.pop() if todo else heapq.heappop(links)
        try:
            status = os.stat(here)  # noqa: PTH116
            if (key := (status.st_dev, status.st_ino)) in seen:
                walked.repeats.append(Path(here))
                continue
            seen.add(key)
            with os.scandir(here) as entries:
                for entry in entries:
                    hidden = entry.name.startswith(".")
                    if entry.is_dir(follow_symlinks=False):
                        if not hidden:
                            todo.append((entry.path, at))
                    elif entry.is_symlink() and os.path.isdir(entry.path):  # noqa: PTH112
                        if not hidden:
                            heapq.heappush(links, (entry.path, at))
                    else:
                        names[at].append(entry.path)
        except OSError as error:
            walked.unreadable.append(error)
    # As paths compare, folder by folder, but quicker.
    for own in names:
        own.sort(key=lambda name: name.replace(os.sep, "\0"))
        walked.files += map(Path, own)
    walked.repeats.sort()
    return walked


def split_images(walked: Walk, *, videos: bool = True) -> tuple[list[Path], str]:
    """Tell images from other files.

    Args:
        walked: The files.
        videos: Whether to say that videos are left out.

    Returns:
        The images, and sentences on what is left out: files, links, and folders that cannot be
        read; empty if there is nothing to say.
    """
    images: list[Path] = []
    others: list[Path] = []
    for file in walked.files:
        if is_image(file):
            images.append(file)
        elif videos or not is_video(file):
            others.append(file)
    sentences = [describe_left_out(others)]
    if walked.repeats:
        sentences.append(
            f"{_are(len(walked.repeats), 'link')} not followed, because the folder is listed"
            f" already: {first_few(walked.repeats)}."
        )
    if walked.unreadable:
        names = first_few(error.filename for error in walked.unreadable)
        sentences.append(
            f"{_are(len(walked.unreadable), 'folder')} left out, because it cannot be read"
            f" ({walked.unreadable[0].strerror}): {names}."
        )
    return images, " ".join(filter(None, sentences))


def _are(number: int, noun: str) -> str:
    return f"{number:,} {noun}{' is' if number == 1 else 's are'}"
