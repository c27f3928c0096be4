"""An embedded gallery on a disk that is really full: a small file system in memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.helpers.full_disk import files_limited_to, run_on_small_disk

from vireid.errors import DiskFullError
from vireid.gallery import _space

FULL = """
import sys
from pathlib import Path
from tests.gallery.toys import MODEL, row, unit
from vireid.errors import DiskFullError
from vireid.gallery import Filters, open_gallery

disk = Path(sys.argv[1])
with open_gallery(disk / "people", model=MODEL, create=True) as gallery:
    gallery.add([row(number) for number in range(10)])
    with (disk / "recording").open("wb", buffering=0) as other:
        try:
            while True:
                other.write(bytes(1 << 12))
        except OSError:
            other.truncate(other.tell() - (39 << 10))
    person = Filters(identities=("0001",))
    for change in (
        lambda: gallery.add([row(number) for number in range(10, 500)]),
        lambda: gallery.delete(person),
        gallery.index,
    ):
        try:
            change()
        except DiskFullError as error:
            print(error)
    print(gallery.count(), gallery.search(unit(3)[None], limit=1)[0][0].info.name)
    (disk / "recording").unlink()
    print(gallery.delete(person), gallery.add([row(10)]).new, gallery.verify().faults)
"""


def test_full_disk_refuses_changes_and_searching_goes_on(tmp_path: Path) -> None:
    """The engine writes through mapped files, so without space it would die by SIGBUS."""
    adding, deleting, indexing, search, after = run_on_small_disk(FULL, tmp_path, size="200m")
    assert "has 0.0 MB free for you" in adding
    assert "to add 490 images: free space" in adding
    assert "to delete 2 entries" in deleting
    assert "to build the graph" in indexing
    assert search == "10 000003.jpg"
    assert after == "2 1 ()"


def test_quota_counts_as_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quota does not show in the free space; the largest file that a process may write does."""
    with (
        files_limited_to(1 << 20),
        pytest.raises(DiskFullError, match="to add an image"),
    ):
        _space.require_space(tmp_path, 0, "to add an image")
    _space.require_space(tmp_path, 0, "to add an image")
    assert list(tmp_path.iterdir()) == []
