"""Commands in processes of their own that are stopped, or run out of disk, at a chosen call.

Run as a script it forks one process for each case, so that torch is imported once.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, NamedTuple

import vireid.cli.evaluate
import vireid.cli.gallery
import vireid.cli.train

__all__ = ["Case", "Ended", "run_cases"]


class Case(NamedTuple):
    """A command, and what happens to it.

    Attributes:
        words: The arguments of ``vireid``.
        call: The function at whose call it happens, ``MODULE:NAME`` or ``MODULE:CLASS.NAME``.
        number: At which of its calls, from 1.
        fault: ``interrupt``: SIGINT, as by Ctrl-C, once or twice; ``full``: no file can be written
            any more; ``none``: nothing.
    """

    words: Sequence[str]
    call: str
    number: int = 1
    fault: Literal["interrupt", "interrupt twice", "full", "none"] = "interrupt"


class Ended(NamedTuple):
    """How a command ended: its exit status (negative: killed by this signal) and its output."""

    status: int
    out: str
    err: str


def run_cases(cases: Sequence[Case], folder: Path) -> list[Ended]:
    """Run each case in a process of its own.

    Args:
        cases: The cases.
        folder: The working directory.
    """
    done = subprocess.run(
        [sys.executable, __file__],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return [Ended(*one) for one in json.loads(done.stdout)]


def _run(case: Case) -> Ended:
    """Fork a process for a case, send it the signal at the call, and collect what it prints."""
    pipes = {name: os.pipe() for name in ("out", "err", "reached", "gate")}
    child = os.fork()
    if child == 0:
        os.dup2(pipes["out"][1], 1)
        os.dup2(pipes["err"][1], 2)
        for name, unused in (("out", 0), ("err", 0), ("reached", 0), ("gate", 1)):
            os.close(pipes[name][unused])
        for name in ("out", "err"):
            os.close(pipes[name][1])
        status = 1
        try:
            _prepare(case, pipes["reached"][1], pipes["gate"][0])
            status = vireid.cli.main(case.words)
        except SystemExit as left:
            status = int(left.code or 0)
        except BaseException:
            traceback.print_exc()
        finally:
            # The interpreter's own end takes a second of CPU.
            sys.stdout.flush()
            os._exit(status)
    for name in ("out", "err", "reached"):
        os.close(pipes[name][1])
    os.close(pipes["gate"][0])
    printed: dict[str, str] = {}
    readers = [
        threading.Thread(target=lambda name=name: printed.update({name: _read(pipes[name][0])}))
        for name in ("out", "err")
    ]
    for reader in readers:
        reader.start()
    while os.read(pipes["reached"][0], 1):
        os.kill(child, signal.SIGINT)
        os.write(pipes["gate"][1], b".")  # the call goes on
    os.close(pipes["gate"][1])
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    for reader in readers:
        reader.join()
    os.close(pipes["reached"][0])
    return Ended(status, printed["out"], printed["err"])


def _read(pipe: int) -> str:
    with os.fdopen(pipe, encoding="utf-8") as file:
        return file.read()


def _prepare(case: Case, reached: int, gate: int) -> None:
    """Let the call wait, at its number, until the signal was sent."""
    module, _, path = case.call.partition(":")
    *owners, name = path.split(".")
    owner: Any = import_module(module)
    for part in owners:
        owner = getattr(owner, part)
    original = getattr(owner, name)
    calls = 0

    def wrapped(*args: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == case.number:
            if case.fault == "full":
                resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
            for _ in range({"interrupt": 1, "interrupt twice": 2}.get(case.fault, 0)):
                os.write(reached, b".")
                os.read(gate, 1)
        return original(*args, **named)

    setattr(owner, name, wrapped)


if __name__ == "__main__":
    json.dump([_run(Case(*case)) for case in json.load(sys.stdin)], sys.stdout)
