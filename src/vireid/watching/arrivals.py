"""New files in folders, by polling.

File system events (inotify, by the library ``watchfiles``, for example) do not come from network
shares, where many cameras and recorders put their files, and do not say when a file is complete; so
folders are listed at an interval, and a file is complete when two listings see it unchanged.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from vireid.data.file_kind import describe_left_out, is_image, is_video
from vireid.data.walk import walk
from vireid.errors import many
from vireid.log import log, printable
from vireid.watching.state import FileVersion, Kind, State

__all__ = ["FolderScanner"]


class FolderScanner:
    """Finds the files that are new and complete.

    Args:
        folders: The folders, absolute, searched recursively.
        state: Knows the files that were taken up.
        without: Folders in them that are passed over, absolute.
        scenes: Whether images show scenes instead of one person each.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        state: State,
        *,
        without: Sequence[Path] = (),
        scenes: bool = False,
    ) -> None:
        self._folders, self._state = folders, state
        self._without = tuple(f"{folder}/" for folder in without)
        self._image: Kind = "scene" if scenes else "crop"
        self._known = state.versions()
        self._growing: dict[Path, FileVersion] = {}
        self._unreadable: set[str] = set()
        self._unnamed: set[str] = set()

    def scan(self) -> int:
        """List the folders once, and take up what is complete.

        Returns:
            How many images and videos were taken up.
        """
        walked = walk(self._folders)
        missing = [str(folder) for folder in self._folders if not folder.is_dir()]
        unreadable = {*missing, *(str(error.filename) for error in walked.unreadable)}
        for name in sorted(unreadable - self._unreadable):
            log(printable(f"'{name}' cannot be read now; it is tried again."))
        self._unreadable = unreadable
        seen: dict[Path, FileVersion] = {}
        complete: list[tuple[Path, FileVersion, Kind | Literal["other"]]] = []
        unnamed: list[Path] = []
        for file in walked.files:
            if file.name.startswith(".") or str(file).startswith(self._without):
                continue
            try:
                status = os.stat(file)  # noqa: PTH116
            except OSError:  # it was removed meanwhile
                continue
            version = (status.st_size, status.st_mtime_ns)
            if not stat.S_ISREG(status.st_mode) or self._known.get(str(file)) == version:
                continue
            if not _is_utf8(file):
                unnamed.append(file)
            elif self._growing.get(file) != version:
                seen[file] = version
            elif is_image(file):
                complete.append((file, version, self._image))
            else:
                complete.append((file, version, "video" if is_video(file) else "other"))
        self._growing = seen
        if new := [file for file in unnamed if str(file) not in self._unnamed]:
            log(
                f"{many(len(new), 'file is', 'files are')} passed over, such as"
                f" '{printable(str(new[0]))}', as the name is not UTF-8; rename"
                f" {'it' if len(new) == 1 else 'them'}."
            )
            self._unnamed.update(map(str, new))
        if complete:
            self._state.take_up(complete)
            self._known |= {str(file): version for file, version, _ in complete}
            if remark := describe_left_out(file for file, _, kind in complete if kind == "other"):
                log(printable(remark))
        return sum(kind != "other" for *_, kind in complete)


def _is_utf8(file: Path) -> bool:
    """Whether a gallery can hold the path."""
    try:
        str(file).encode()
    except UnicodeEncodeError:
        return False
    return True
