"""An embedded gallery on a disk that is really full: a small file system in memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from vireid.errors import DiskFullError
from vireid.gallery import _space

IN_A_SMALL_FILE_SYSTEM = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]

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
    mount = f"mount -t tmpfs -o size=200m none {tmp_path}"
    if subprocess.run(
        [*IN_A_SMALL_FILE_SYSTEM, mount], check=False, capture_output=True
    ).returncode:
        pytest.skip("this system lets no user mount a file system")
    script = f'{mount} && exec "$0" "$@"'
    done = subprocess.run(
        [*IN_A_SMALL_FILE_SYSTEM, script, sys.executable, "-c", FULL, str(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    adding, deleting, indexing, search, after = done.stdout.splitlines()
    assert "has 0.0 MB free for you" in adding
    assert "to add 490 images: free space" in adding
    assert "to delete 2 entries" in deleting
    assert "to build the graph" in indexing
    assert search == "10 000003.jpg"
    assert after == "2 1 ()"


def test_quota_counts_as_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quota does not show in the free space; the largest file that a process may write does."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        with pytest.raises(DiskFullError, match="to add an image"):
            _space.require_space(tmp_path, 0, "to add an image")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    _space.require_space(tmp_path, 0, "to add an image")
    assert list(tmp_path.iterdir()) == []
