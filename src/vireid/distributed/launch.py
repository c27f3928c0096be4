"""``--devices N``: one command run by several processes of this machine, or by a launcher's.

    vireid train … --devices 2            this process supervises two workers
    torchrun --nproc-per-node 2 -m vireid train …      torchrun starts and supervises them
    srun --ntasks-per-node 2 vireid train …            Slurm does

The supervising process does none of the work, so that it outlives any worker that dies.
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
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, NoReturn, TypeVar

import torch
from tqdm import tqdm

from vireid.distributed.comm import (
    ProcessInfo,
    process_group,
    process_info_from_environment,
    world_size,
)
from vireid.distributed.signals import StopRequest, catch_stop
from vireid.distributed.waiting import wait_passively
from vireid.errors import ConfigError, ProcessError, VireidError

__all__ = ["ONE_PROCESS", "Processes", "launch"]

ResultT = TypeVar("ResultT")

# After one process has failed, the others may notice by themselves; then they are killed.
_GRACE_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class Processes:
    """Number of processes that share the work; the result does not depend on it."""

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
    task: Callable[[], ResultT],
    *,
    processes: Processes,
    device: str | None = None,
    recovery: str,
) -> ResultT:
    """Run a task in as many processes as requested.

    Args:
        task: A module's function with its arguments (by functools.partial); with several processes
            it is called in each, within :func:`vireid.distributed.comm.process_group`.
        processes: How many, unless torchrun or Slurm started several.
        device: auto, cpu or cuda.
        recovery: What the user does after a process was lost, for the message.

    Returns:
        The result of the main process. It is pickled, and must hold no tensors, whose memory is
        freed with that process.

    Raises:
        ConfigError: If a launcher's number of processes is not the one asked for.
        ProcessError: If a process was lost.
        SystemExit: If the processes exited with a status.
        VireidError: Any that ``task`` raises.
    """
    if world_size() > 1:
        return task()  # one command calls another: the processes exist already
    info = process_info_from_environment()
    if info is not None:
        if processes.devices not in (1, info.local_size):
            raise ConfigError(
                f"--devices {processes.devices} is not the number of processes that the launcher "
                f"started on each machine, which is {info.local_size}; expected the same number: "
                "leave --devices out."
            )
        with process_group(info, device=device or "auto", timeout=processes.timeout):
            return task()
    if processes.devices == 1:
        return task()
    launcher = _Launcher(task, processes, device or "auto")
    launcher.supervise()
    return launcher.result(recovery)  # type: ignore[no-any-return]


class _Launcher:
    """Starts the worker processes of a task and supervises them."""

    def __init__(self, task: Callable[[], Any], processes: Processes, device: str) -> None:
        self._size = processes.devices
        self._stop = StopRequest()
        self._connections: dict[int, Connection] = {}
        self._results: dict[int, Any] = {}
        self._exit_codes: dict[int, int] = {}
        self._workers: list[SpawnProcess] = []
        wait_passively()  # for the workers, which inherit the environment
        context = multiprocessing.get_context("spawn")
        port = _free_port()
        for rank in range(self._size):
            info = ProcessInfo(
                rank=rank,
                world_size=self._size,
                local_rank=rank,
                local_size=self._size,
                address="127.0.0.1",
                port=port,
            )
            self._connections[rank], sender = context.Pipe(duplex=False)
            arguments = (info, device, processes.timeout, task, sender)
            worker = context.Process(target=_work, args=arguments, name=f"vireid-{rank}")
            worker.start()
            # Only the worker may hold this end, so that its death closes it.
            sender.close()
            self._workers.append(worker)

    def supervise(self) -> None:
        """Wait until all workers have ended, or the grace period after a failure is over."""
        try:
            with catch_stop(self._terminate) as self._stop:
                deadline: float | None = None
                while len(self._exit_codes) < self._size and not _is_past(deadline):
                    self._poll(deadline)
                    if deadline is None and any(self._exit_codes.values()):
                        deadline = time.monotonic() + _GRACE_SECONDS
        finally:
            for worker in self._workers:
                worker.kill()
                worker.join()

    def _poll(self, deadline: float | None) -> None:
        """Wait until a worker sends its result or ends."""
        running = {r: w for r, w in enumerate(self._workers) if r not in self._exit_codes}
        ready = wait(
            [*self._connections.values(), *(worker.sentinel for worker in running.values())],
            None if deadline is None else max(0.0, deadline - time.monotonic()),
        )
        for rank, connection in list(self._connections.items()):
            if connection in ready:
                with contextlib.suppress(EOFError):
                    self._results[rank] = connection.recv()
                connection.close()
                del self._connections[rank]
        for rank, worker in running.items():
            if worker.sentinel in ready and rank not in self._connections:
                worker.join()
                self._exit_codes[rank] = worker.exitcode or 0

    def _terminate(self) -> None:
        for worker in self._workers:
            worker.terminate()

    def result(self, recovery: str) -> Any:
        """The result of the main process.

        Args:
            recovery: What the user does after a process was lost, for the message.

        Raises:
            ProcessError: If a process was lost.
            KeyboardInterrupt: After Ctrl-C, unless the workers saved their state.
            SystemExit: If the workers saved their state, or after SIGTERM.
            VireidError: The one that ended a worker.
        """
        if not any(self._exit_codes.values()) and len(self._exit_codes) == self._size:
            return self._results[0]
        errors = [self._results[r] for r in sorted(self._results) if self._exit_codes.get(r)]
        # That a process has lost another one is a consequence, and not the cause.
        errors.sort(key=lambda error: isinstance(error, ProcessError))
        if errors and not isinstance(errors[0], ProcessError):
            raise errors[0]
        saved = 128 + signal.SIGTERM in self._exit_codes.values()
        if self._stop.signal is signal.SIGINT and not saved:
            raise KeyboardInterrupt(f"{recovery}.")
        if saved or self._stop.requested:
            raise SystemExit(self._stop.status)
        for rank, code in self._exit_codes.items():
            if code and rank not in self._results:
                raise ProcessError(
                    f"Process {rank} of {self._size} {_reason(code)}, and the others were stopped; "
                    f"expected all processes to run until the end: {recovery}."
                )
        raise errors[0]


def _is_past(deadline: float | None) -> bool:
    return deadline is not None and time.monotonic() >= deadline


def _reason(code: int) -> str:
    """Why a process with an exit code other than 0 ended."""
    if code > 0:
        return f"exited with status {code}"
    reason = f"was killed by {signal.Signals(-code).name}"
    if code == -signal.SIGKILL:
        reason += " (which the system also uses when memory runs out)"
    return reason


def _work(
    info: ProcessInfo,
    device: str,
    timeout: float,
    task: Callable[[], Any],
    connection: Connection,
) -> None:
    """Run the task in a worker, and send its result or error."""
    # Ctrl-C reaches the supervising process too, which sends SIGTERM to all workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    # The one that tqdm creates for its bars contains a semaphore of the system, which _exit leaves
    # behind and Python warns of.
    tqdm.set_lock(threading.RLock())
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, torch.get_num_threads() // info.local_size))
    try:
        with process_group(info, device=device, timeout=timeout):
            result = task()
    except VireidError as error:
        _exit(connection, error, status=2)
    _exit(connection, result if info.rank == 0 else None, status=0)


def _exit(connection: Connection, result: Any, *, status: int) -> NoReturn:
    """Send the result and end the process."""
    connection.send(result)
    connection.close()
    sys.stdout.flush()
    sys.stderr.flush()
    # Closing the connections to other workers may hang where these are gone, and must not turn
    # finished work into a failure.
    os._exit(status)


def _stop_with_parent() -> None:
    """Send this process SIGTERM when the supervising one has ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _free_port() -> int:
    """An unused port of this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
