"""``--devices N``: a verb done by several processes on this machine, or by those of a launcher.

    vireid train … --devices 2            this process watches over two that do the work
    torchrun --nproc-per-node 2 -m vireid train …      torchrun starts and watches them
    srun --ntasks-per-node 2 vireid train …            Slurm does

The one that watches takes no part in the work, so that it outlives whichever of them dies.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, NoReturn, TypeVar

import torch

from vireid.distributed.comm import (
    ProcessInfo,
    process_group,
    process_info_from_environment,
    world_size,
)
from vireid.distributed.waiting import wait_passively
from vireid.errors import ConfigError, ProcessError, VireidError

__all__ = ["ONE_PROCESS", "Processes", "launch"]

DoneT = TypeVar("DoneT")

# Once one process is gone, the others find it out by themselves, or are ended after so long.
_GRACE_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class Processes:
    """How many processes share the work; what comes out does not depend on it."""

    devices: int = 1
    """Number of processes on this machine, each with its own GPU or its share of the cores. Not
    needed under torchrun and Slurm, which set it."""
    timeout: float = 600.0
    """Seconds that a process waits for the others before it fails."""

    def __post_init__(self) -> None:
        if self.devices < 1 or self.timeout <= 0:
            raise ConfigError(
                f"--devices {self.devices} or --timeout {self.timeout} is out of range; expected "
                "at least 1 process, and more than 0 seconds."
            )


ONE_PROCESS = Processes()
"""One process."""


def launch(
    verb: Callable[[], DoneT],
    *,
    processes: Processes,
    device: str | None = None,
    again: str,
) -> DoneT:
    """Do a verb in as many processes as are asked for.

    Args:
        verb: A function of a module with its arguments (by functools.partial), called in each
            process, within :func:`vireid.distributed.comm.joined` if there are several.
        processes: How many, unless torchrun or Slurm started several.
        device: auto, cpu or cuda.
        again: How to go on after a process was lost, for the message.

    Returns:
        What ``verb`` returns in the first process; it is pickled on its way, and holds no tensors
        (which would go with that process).

    Raises:
        ConfigError: If a launcher's number of processes is not the one asked for.
        ProcessError: If one of the processes is gone.
        SystemExit: If the processes left with a status.
        VireidError: What ``verb`` raises.
    """
    if world_size() > 1:
        return verb()  # one verb calls another: the processes are together already
    place = process_info_from_environment()
    if place is not None:
        if processes.devices not in (1, place.local_size):
            raise ConfigError(
                f"--devices {processes.devices} is not what the launcher started, which is "
                f"{place.local_size} processes a machine; expected the same number: leave "
                "--devices out."
            )
        with process_group(place, device=device or "auto", timeout=processes.timeout):
            return verb()
    if processes.devices == 1:
        return verb()
    crew = _Launcher(verb, processes, device or "auto")
    crew.watch()
    return crew.outcome(again)  # type: ignore[no-any-return]


class _Launcher:
    """The processes that do one verb, and the watch over them."""

    def __init__(
        self,
        verb: Callable[[], Any],
        processes: Processes,
        device: str,
    ) -> None:
        self._size = processes.devices
        self._stopped = False
        self._ends: dict[int, Connection] = {}
        self._said: dict[int, Any] = {}
        self._codes: dict[int, int] = {}
        self._crew: list[SpawnProcess] = []
        wait_passively()  # for the processes, which inherit the environment
        context = multiprocessing.get_context("spawn")
        port = _free_port()
        for rank in range(self._size):
            place = ProcessInfo(
                rank=rank,
                size=self._size,
                local_rank=rank,
                local_size=self._size,
                address="127.0.0.1",
                port=port,
            )
            self._ends[rank], theirs = context.Pipe(duplex=False)
            arguments = (place, device, processes.timeout, verb, theirs)
            process = context.Process(target=_work, args=arguments, name=f"vireid-{rank}")
            process.start()
            # Only the process may hold this end, so that its death closes it.
            theirs.close()
            self._crew.append(process)

    def watch(self) -> None:
        """Wait until all are gone; once one has failed, the others have some time left."""
        try:
            with self._passing_sigterm():
                deadline: float | None = None
                while len(self._codes) < self._size and not _is_past(deadline):
                    self._look(deadline)
                    if deadline is None and any(self._codes.values()):
                        deadline = time.monotonic() + _GRACE_SECONDS
        finally:
            for process in self._crew:
                process.kill()
                process.join()

    def _look(self, deadline: float | None) -> None:
        """Wait for one of them to say something or to go."""
        living = {r: p for r, p in enumerate(self._crew) if r not in self._codes}
        ready = wait(
            [*self._ends.values(), *(p.sentinel for p in living.values())],
            None if deadline is None else max(0.0, deadline - time.monotonic()),
        )
        for rank, end in list(self._ends.items()):
            if end in ready:
                with contextlib.suppress(EOFError):
                    self._said[rank] = end.recv()
                end.close()
                del self._ends[rank]
        for rank, process in living.items():
            if process.sentinel in ready and rank not in self._ends:
                process.join()
                self._codes[rank] = process.exitcode or 0

    @contextlib.contextmanager
    def _passing_sigterm(self) -> Iterator[None]:
        """Tell all of them when this process is told to stop."""

        def pass_on(number: int, _: object) -> None:
            self._stopped = True
            for process in self._crew:
                process.terminate()

        if threading.current_thread() is not threading.main_thread():
            # Only the main thread may install a handler; elsewhere the caller owns the process.
            yield
            return
        before = signal.signal(signal.SIGTERM, pass_on)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    def outcome(self, again: str) -> Any:
        """What the first of them brought, or the reason why there is nothing.

        Args:
            again: How to go on, for the message.
        """
        if not any(self._codes.values()) and len(self._codes) == self._size:
            return self._said[0]
        errors = [self._said[r] for r in sorted(self._said) if self._codes.get(r)]
        # That a process has lost another one is no reason, but what follows from one.
        errors.sort(key=lambda error: isinstance(error, ProcessError))
        if errors and not isinstance(errors[0], ProcessError):
            raise errors[0]
        if self._stopped or 128 + signal.SIGTERM in self._codes.values():
            raise SystemExit(128 + signal.SIGTERM)
        for rank, code in self._codes.items():
            if code and rank not in self._said:
                raise ProcessError(
                    f"Process {rank} of {self._size} {_fate(code)}, and the others with it; "
                    f"expected all to go on until the end: {again}."
                )
        raise errors[0]


def _is_past(deadline: float | None) -> bool:
    return deadline is not None and time.monotonic() >= deadline


def _fate(code: int) -> str:
    """What became of a process with an exit code that is not 0."""
    if code > 0:
        return f"ended with status {code}"
    fate = f"was ended by {signal.Signals(-code).name}"
    if code == -signal.SIGKILL:
        fate += " (which is also how the system ends what takes too much memory)"
    return fate


def _work(
    place: ProcessInfo,
    device: str,
    timeout: float,
    verb: Callable[[], Any],
    end: Connection,
) -> None:
    """Be one of the processes: do the verb, and tell the watch what came of it."""
    # Ctrl-C reaches the watch too, which ends all.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, torch.get_num_threads() // place.local_size))
    try:
        with process_group(place, device=device, timeout=timeout):
            made = verb()
    except VireidError as error:
        _leave(end, error, status=2)
    _leave(end, made if place.rank == 0 else None, status=0)


def _leave(end: Connection, said: Any, *, status: int) -> NoReturn:
    """Tell the watch what came of it, and end."""
    end.send(said)
    end.close()
    sys.stdout.flush()
    sys.stderr.flush()
    # What is left of the connections to others may not end by itself where these are gone, and
    # must not make a failure of work that is done.
    os._exit(status)


def _leave_with_parent() -> None:
    """Stop as by SIGTERM when the watch is gone."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
