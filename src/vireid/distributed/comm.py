"""Communication between the processes that share a task.

They form one group of torch.distributed, over gloo on CPUs, and also over nccl on GPUs. A process
outside any group is the main and only one, and nothing here costs it anything. Collective functions
must be called by all processes, in the same order.

Messages are tensors and JSON: nothing is unpickled.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor

from vireid.errors import ConfigError, ProcessError, VireidError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = [
    "ProcessInfo",
    "all_gather_rows",
    "any_rank",
    "broadcast",
    "check_same_on_all_ranks",
    "is_main_process",
    "local_device",
    "make_fabric",
    "process_group",
    "process_info_from_environment",
    "rank",
    "synchronize",
    "world_size",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessInfo:
    """The rank of this process among those that share its task.

    Attributes:
        rank: Its number, from 0.
        world_size: Number of processes.
        local_rank: Its number on its machine, from 0; on GPUs the index of its GPU.
        local_size: Number of processes on its machine, the same on each.
        address: Host name of rank 0.
        port: Port at which rank 0 listens.
    """

    rank: int
    world_size: int
    local_rank: int
    local_size: int
    address: str
    port: int


def process_info_from_environment() -> ProcessInfo | None:
    """What torchrun or Slurm's srun set for this process; None if neither started several.

    Raises:
        ConfigError: If Slurm started different numbers of processes on the machines.
    """
    env = os.environ
    if {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"} <= env.keys():
        size = int(env["WORLD_SIZE"])
        info = ProcessInfo(
            rank=int(env["RANK"]),
            world_size=size,
            local_rank=int(env["LOCAL_RANK"]),
            local_size=int(env.get("LOCAL_WORLD_SIZE", size)),
            address=env["MASTER_ADDR"],
            port=int(env["MASTER_PORT"]),
        )
    elif "SLURM_STEP_NUM_TASKS" in env:
        # A batch script that starts vireid without srun has SLURM_NTASKS, but no step.
        info = ProcessInfo(
            rank=int(env["SLURM_PROCID"]),
            world_size=int(env["SLURM_STEP_NUM_TASKS"]),
            local_rank=int(env["SLURM_LOCALID"]),
            local_size=_tasks_a_node(env["SLURM_STEP_TASKS_PER_NODE"]),
            address=env.get("MASTER_ADDR") or _first_node(env["SLURM_STEP_NODELIST"]),
            port=int(env.get("MASTER_PORT") or 15_000 + int(env["SLURM_JOB_ID"]) % 20_000),
        )
    else:
        return None
    return info if info.world_size > 1 else None


def _tasks_a_node(words: str) -> int:
    """The number in Slurm's ``4`` or ``4(x2)``; ``4,2`` is refused."""
    if found := re.fullmatch(r"(\d+)(\(x\d+\))?", words):
        return int(found[1])
    raise ConfigError(
        f"Slurm started '{words}' processes on the machines; expected the same number on each: use "
        "`srun --nodes N --ntasks-per-node M` instead of `srun --ntasks`."
    )


def _first_node(names: str) -> str:
    """The first of Slurm's ``gpu[03-05,9],login1``: ``gpu03``."""
    found = re.match(r"([^,\[]+)(?:\[(\w+))?", names)
    assert found is not None, names
    return found[1] + (found[2] or "")


@contextlib.contextmanager
def process_group(
    info: ProcessInfo, *, device: str = "auto", timeout: float = 600.0
) -> Iterator[None]:
    """Join the group of processes within a block.

    Args:
        info: The rank of this process.
        device: Where tensors will be: cpu, cuda, or auto (on GPUs where there are any).
        timeout: Seconds that a process waits for the others before it gives up.

    Raises:
        ConfigError: If the machine has fewer GPUs than processes.
        ProcessError: If another process was lost or does not answer in time.
    """
    on_gpu = device != "cpu" and torch.cuda.is_available()
    if on_gpu and torch.cuda.device_count() < info.local_size:
        raise ConfigError(
            f"{info.local_size} processes share a machine with {torch.cuda.device_count()} GPUs; "
            "expected one GPU for each process; start fewer processes, or run on --device "
            "cpu."
        )
    if on_gpu:
        torch.cuda.set_device(info.local_rank)
    # Fabric reads these; torchrun sets them itself.
    os.environ.update(
        RANK=str(info.rank),
        WORLD_SIZE=str(info.world_size),
        LOCAL_RANK=str(info.local_rank),
        LOCAL_WORLD_SIZE=str(info.local_size),
        MASTER_ADDR=info.address,
        MASTER_PORT=str(info.port),
    )
    if info.local_size == info.world_size:
        # The name of a single machine may not resolve to an address that gloo can listen on.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    with _name_lost_processes(info):
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if on_gpu else "gloo",
            rank=info.rank,
            world_size=info.world_size,
            timeout=timedelta(seconds=timeout),
        )
        try:
            yield
        except SystemExit:
            dist.destroy_process_group()
            raise
        # Not after an error: the others may be gone, and it would wait for them.
        dist.destroy_process_group()


@contextlib.contextmanager
def _name_lost_processes(info: ProcessInfo) -> Iterator[None]:
    """Turn the errors of collective operations into one short message."""
    try:
        yield
    except RuntimeError as error:
        words = str(error)
        if not isinstance(error, dist.DistError) and not re.search("gloo|nccl", words, re.I):
            raise
        raise ProcessError(
            f"Process {info.rank} of {info.world_size} lost the connection to the others "
            f"({words.splitlines()[0][:300]}); expected all processes to run until the end: check "
            "the messages of the others; if one was only slow, raise --timeout."
        ) from error


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main_process() -> bool:
    """Whether this process writes the files and the messages: rank 0."""
    return rank() == 0


def local_device(device: str) -> torch.device:
    """The device of this process.

    Args:
        device: auto (a GPU where there is one), cpu or cuda.

    Raises:
        ConfigError: If a GPU is requested and there is none.
    """
    if device == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    if device == "cuda":
        raise ConfigError(
            "--device 'cuda' needs a GPU that torch can use, and there is none here; use auto or "
            "cpu, or install a build of torch for this machine's GPU and its driver."
        )
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return found or torch.device("cpu")


def make_fabric(**options: Any) -> Fabric:
    """Fabric without its informational messages; its warnings stay.

    Args:
        options: The arguments of ``Fabric``.
    """
    # Here because it is slow to import, and most users of this module do not need it.
    from lightning_fabric import Fabric

    # It sets the level itself when it is imported.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    return Fabric(**options)


def synchronize() -> None:
    """Wait for all processes."""
    any_rank(False)


def any_rank(flag: bool) -> bool:
    """Whether ``flag`` is true in any process."""
    if world_size() == 1:
        return flag
    value = torch.tensor(int(flag))
    dist.all_reduce(value, dist.ReduceOp.MAX)
    return bool(value)


def broadcast(make: Callable[[], Any], *, source: int = 0) -> Any:
    """Send what one process makes to all; its error is raised in all.

    Args:
        make: Called in that process only; returns what JSON can hold.
        source: The rank of that process.

    Raises:
        VireidError: The one that ``make`` raised.
    """
    if world_size() == 1:
        return make()
    message = b""
    failed: VireidError | None = None
    if rank() == source:
        try:
            message = json.dumps({"made": make()}).encode()
        except VireidError as error:
            failed = error
            message = json.dumps({"failed": str(error)}).encode()
    length = torch.tensor(len(message))
    dist.broadcast(length, source)
    buffer = torch.empty(int(length), dtype=torch.uint8)
    if message:
        buffer.copy_(torch.frombuffer(bytearray(message), dtype=torch.uint8))
    dist.broadcast(buffer, source)
    if failed is not None:
        raise failed
    received = json.loads(buffer.numpy().tobytes())
    if "failed" in received:
        raise VireidError(received["failed"])
    return received["made"]


def check_same_on_all_ranks(what: str, value: str, *, fix: str) -> None:
    """Stop if a value is not the same in all processes.

    Args:
        what: Name of the value, for the message.
        value: The value in this process.
        fix: How the user can make it the same, as a clause.

    Raises:
        ProcessError: If two processes have different values.
    """
    if world_size() == 1:
        return
    digest = hashlib.sha256(value.encode(errors="surrogateescape")).digest()
    own = torch.frombuffer(bytearray(digest), dtype=torch.uint8)
    held = [torch.empty_like(own) for _ in range(world_size())]
    dist.all_gather(held, own)
    names = [row.numpy().tobytes().hex()[:12] for row in held]
    if len(set(names)) > 1:
        other = next(r for r, name in enumerate(names) if name != names[0])
        raise ProcessError(
            f"Process {other} does not have the same {what} as process 0 (checksums "
            f"'{names[other]}' and '{names[0]}'); expected the same in all {len(names)}; {fix}."
        )


def all_gather_rows(own: Tensor, lengths: Sequence[int]) -> list[Tensor]:
    """Gather the rows of every process in all of them, bit for bit.

    Args:
        own: This process's rows, ``[lengths[rank], d]``, on the CPU.
        lengths: Number of rows of every process.

    Returns:
        ``[n_r, d]`` of each process r.
    """
    if world_size() == 1:
        return [own]
    # One broadcast each, because their lengths differ: nothing is padded.
    held = [own if r == rank() else own.new_empty(n, own.shape[1]) for r, n in enumerate(lengths)]
    for r, rows in enumerate(held):
        if len(rows):
            dist.broadcast(rows, r)
    return held
