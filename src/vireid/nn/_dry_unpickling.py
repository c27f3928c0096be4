"""A script that runs the pickles of a checkpoint with stand-ins, under limits, before torch does.

Reading a pickle may take for ever (the hash of a tuple that holds the same tuple twice, 60 levels
deep), take all memory, or end the process by a signal (the hash of a million nested tuples). In
this process it may: nothing is imported or called but the stand-ins, and nothing is returned.
"""

from __future__ import annotations

import contextlib
import pickle
import resource
import sys
import zipfile
from typing import Any

_BYTES = 2**31
_PICKLES = 5
"""In a file without a ZIP archive: a magic number, a version, the system, the object, and keys."""


_REFUSED = (
    *(ValueError, TypeError, LookupError, AttributeError, EOFError, OSError, StopIteration),
    *(RuntimeError, pickle.UnpicklingError, zipfile.BadZipFile),
)
"""What damaged files raise."""


class _StandIn:
    """Takes the place of every class, function, tensor and dictionary of its own class."""

    def __new__(cls, *_: object) -> _StandIn:
        return super().__new__(cls)

    def __setstate__(self, _: object) -> None:
        pass

    def __setitem__(self, key: object, _: object) -> None:
        hash(key)


class _Unpickler(pickle.Unpickler):
    def find_class(self, *_: str) -> Any:
        return _StandIn

    def persistent_load(self, _: object) -> _StandIn:
        return _StandIn()


def _main(path: str, seconds: int) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (_BYTES, _BYTES))
    with contextlib.ExitStack() as stack:
        stream: Any = stack.enter_context(open(path, "rb"))  # noqa: PTH123
        pickles = _PICKLES
        # What torch refuses by itself is no concern of this script.
        stack.enter_context(contextlib.suppress(*_REFUSED))
        if zipfile.is_zipfile(stream):
            archive = stack.enter_context(zipfile.ZipFile(stream))
            stream = archive.open(next(n for n in archive.namelist() if n.endswith("data.pkl")))
            pickles = 1
        else:
            stream.seek(0)
        for _ in range(pickles):
            _Unpickler(stream).load()


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]))
