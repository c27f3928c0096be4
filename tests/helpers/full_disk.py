"""Disks that are really full: small file systems in memory, and a limit on the size of files."""

from __future__ import annotations

import contextlib
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

__all__ = ["files_limited_to", "run_on_small_disk"]

_IN_A_NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]


def run_on_small_disk(script: str, folder: Path, *, size: str) -> list[str]:
    """Run a Python script in a process that sees a small file system at a folder.

    Skips the test where the system lets no user mount one.

    Args:
        script: The script; its argument is the folder.
        folder: An empty folder.
        size: The size of the file system, such as 1m.

    Returns:
        The lines that it prints.
    """
    mount = f"mount -t tmpfs -o size={size} none {folder}"
    if subprocess.run([*_IN_A_NAMESPACE, mount], check=False, capture_output=True).returncode:
        pytest.skip("this system lets no user mount a file system")
    done = subprocess.run(
        [*_IN_A_NAMESPACE, f'{mount} && exec "$0" "$@"', sys.executable, "-c", script, str(folder)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@contextlib.contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """Let no file grow beyond a size, in bytes: writing fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
