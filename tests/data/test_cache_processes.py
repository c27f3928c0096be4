"""Kills and crowds: a packed cache is the old one or the new one, and built once.

The other processes start fast, because they are forked from one that has imported torch.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import signal
import sys
import threading
from collections.abc import Sequence
from itertools import count
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import FrameType
from typing import NoReturn

import torch
from PIL import Image
from tests.helpers.packed import (
    WHOLE,
    change,
    data_file,
    decode,
    files,
    index_file,
    is_good,
    pack,
    record,
    write_bmp,
)

from vireid.data import images
from vireid.data.cache import default_cache
from vireid.data.images import read_image
from vireid.data.tone_mapping import AUTO, ToneMapping
from vireid.types import ImageRecord

TIMEOUT = 60.0  # seconds after which another process counts as stuck
TOUCHES_THE_DISK = {"open", "mkdir", "pwrite", "write", "replace", "unlink"}


def test_killed_at_any_moment(records: list[ImageRecord], root: Path) -> None:
    process, end = spawn(kill_everywhere, records, root)
    moments = answer(end)
    process.join(TIMEOUT)
    assert isinstance(moments, int), moments
    assert moments > 20


def test_a_killed_build_leaves_nothing(
    records: list[ImageRecord], root: Path, decoded: list[str]
) -> None:
    process, end = spawn(build, records, root, 7)
    assert answer(end) == "at image 7"
    assert not index_file(root).exists()
    process.kill()
    process.join(TIMEOUT)
    assert process.exitcode == -signal.SIGKILL
    (default_cache(root) / ".12x6.json.gz.1-a.tmp").write_bytes(b"half")
    (default_cache(root) / "12x6-0a0b0c0d.rgb").write_bytes(b"half")
    pack(records, root).close()
    assert len(decoded) == 8
    assert files(root) == WHOLE
    assert is_good(records, root)


def test_of_two_at_once_one_builds(records: list[ImageRecord], root: Path) -> None:
    first, to_first = spawn(build, records, root, 3)
    assert answer(to_first) == "at image 3"
    begun = data_file(root)
    second, to_second = spawn(build, records, root, -1)
    waits = answer(to_second)
    assert isinstance(waits, str)
    assert waits.startswith(f"Waiting for another process that packs images into '{root}/")
    assert not to_second.poll()
    to_first.send("go on")
    assert answer(to_first) == 8
    assert answer(to_second) == 0
    for process in (first, second):
        process.join(TIMEOUT)
        assert process.exitcode == 0
    assert data_file(root) == begun
    assert files(root) == WHOLE
    assert is_good(records, root)


def spawn(
    work: object, records: Sequence[ImageRecord], root: Path, *more: int
) -> tuple[ForkServerProcess, Connection]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["vireid.data.cache"])
    here, there = context.Pipe()
    process = context.Process(target=work, args=(records, root, there, *more), daemon=True)  # type: ignore[arg-type]
    process.start()
    there.close()
    return process, here


def answer(end: Connection) -> object:
    assert end.poll(TIMEOUT), "the other process is stuck"
    return end.recv()


def build(records: Sequence[ImageRecord], root: Path, end: Connection, stop_at: int) -> None:
    """Build the cache, stop before an image until told to go on, and tell how many were decoded."""
    numbers = count()

    def stopping(path: Path, tone_mapping: ToneMapping = AUTO) -> Image.Image:
        number = next(numbers)
        if number == stop_at:
            end.send(f"at image {number}")
            end.recv()
        return read_image(path, tone_mapping)

    class Teller:
        def write(self, text: str) -> None:
            if text.strip():
                end.send(text)

    images.read_image = stopping
    with contextlib.redirect_stderr(Teller()):  # type: ignore[type-var]
        pack(records, root).close()
    end.send(next(numbers))


def kill_everywhere(records: Sequence[ImageRecord], root: Path, end: Connection) -> None:
    """Kill a rebuild before everything that it does to the disk, and look at what is left.

    The cache holds six of the eight images, one of which has changed.
    """
    folder, saved = default_cache(root), root / "saved"
    decoded = count()

    def counting(path: Path, tone_mapping: ToneMapping = AUTO) -> Image.Image:
        next(decoded)
        return read_image(path, tone_mapping)

    os.fsync = lambda fd: None  # a power cut needs it, a kill does not, and it is slow
    pack(records[:6], root).close()
    change(records[1].path, seed=100)
    shutil.copytree(folder, saved)
    expected = decode(records)
    write_bmp(root / "other.bmp", 0)
    others = [record(root / "other.bmp")]
    images.read_image = counting
    try:
        for moment in count():
            pid = os.fork()
            if pid == 0:
                rebuild_until(moment, records, root)
            status = os.waitpid(pid, 0)[1]
            if os.WIFEXITED(status):
                assert os.waitstatus_to_exitcode(status) == 0
                end.send(moment)
                return
            before = next(decoded)
            with pack(records, root) as packed:
                assert torch.equal(packed.fetch(range(8)), expected), f"pixels at {moment}"
            assert next(decoded) - before - 1 <= 3, f"the old cache was lost at {moment}"
            pack(others, root).close()  # whoever builds next clears away what the kill left
            assert files(root) == WHOLE, f"left-overs at {moment}"
            shutil.rmtree(folder)
            shutil.copytree(saved, folder)
    except Exception as error:
        end.send(repr(error))


def rebuild_until(moment: int, records: Sequence[ImageRecord], root: Path) -> NoReturn:
    seen = count()

    def look(_frame: FrameType, event: str, function: object) -> None:
        touches = event == "c_call" and getattr(function, "__name__", "") in TOUCHES_THE_DISK
        if touches and next(seen) == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    threading.setprofile(look)
    sys.setprofile(look)
    try:
        pack(records, root).close()
    except BaseException:
        os._exit(1)
    os._exit(0)
