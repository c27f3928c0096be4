"""Several processes on one task: which one this is, and what they tell one another.

They are one group of torch.distributed, over gloo on CPUs and besides over nccl on GPUs. A process
that is in no group is the first and only one, and nothing here then costs anything. Every function
that has the processes tell one another something must be called by all of them, in the same order.

What they tell is tensors and JSON: nothing is unpickled.
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
    """The place of this process among those that work on its task.

    Attributes:
        rank: Its number, from 0.
        size: How many they are.
        local_rank: Its number on its machine, from 0; on GPUs the number of its GPU.
        local_size: How many they are on its machine, the same on each.
        address: Name of the machine of rank 0.
        port: Where rank 0 waits for the others.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    address: str
    port: int


def process_info_from_environment() -> ProcessInfo | None:
    """The place that torchrun or Slurm's srun gave to this process; None where neither did.

    Raises:
        ConfigError: If Slurm was asked for different numbers of processes on the machines.
    """
    given = os.environ
    if {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"} <= given.keys():
        size = int(given["WORLD_SIZE"])
        place = ProcessInfo(
            rank=int(given["RANK"]),
            size=size,
            local_rank=int(given["LOCAL_RANK"]),
            local_size=int(given.get("LOCAL_WORLD_SIZE", size)),
            address=given["MASTER_ADDR"],
            port=int(given["MASTER_PORT"]),
        )
    elif "SLURM_STEP_NUM_TASKS" in given:
        # A batch script that starts vireid without srun has SLURM_NTASKS, but no step.
        place = ProcessInfo(
            rank=int(given["SLURM_PROCID"]),
            size=int(given["SLURM_STEP_NUM_TASKS"]),
            local_rank=int(given["SLURM_LOCALID"]),
            local_size=_tasks_a_node(given["SLURM_STEP_TASKS_PER_NODE"]),
            address=given.get("MASTER_ADDR") or _first_node(given["SLURM_STEP_NODELIST"]),
            port=int(given.get("MASTER_PORT") or 15_000 + int(given["SLURM_JOB_ID"]) % 20_000),
        )
    else:
        return None
    return place if place.size > 1 else None


def _tasks_a_node(words: str) -> int:
    """The number in Slurm's ``4`` or ``4(x2)``; ``4,2`` is refused."""
    if found := re.fullmatch(r"(\d+)(\(x\d+\))?", words):
        return int(found[1])
    raise ConfigError(
        f"Slurm started '{words}' processes on the machines; expected as many on each: ask for "
        "--nodes and --ntasks-per-node, and not for --ntasks."
    )


def _first_node(names: str) -> str:
    """The first of Slurm's ``gpu[03-05,9],login1``: ``gpu03``."""
    found = re.match(r"([^,\[]+)(?:\[(\w+))?", names)
    assert found is not None, names
    return found[1] + (found[2] or "")


@contextlib.contextmanager
def process_group(
    place: ProcessInfo, *, device: str = "auto", timeout: float = 600.0
) -> Iterator[None]:
    """Be one of several processes within a block.

    Args:
        place: Which one.
        device: Whether tensors will be on GPUs: cpu, cuda, or auto where there are any.
        timeout: Seconds after which a process that waits for the others gives them up.

    Raises:
        ConfigError: If the machine has fewer GPUs than processes.
        ProcessError: If another process is gone, or does not answer in time.
    """
    on_gpu = device != "cpu" and torch.cuda.is_available()
    if on_gpu and torch.cuda.device_count() < place.local_size:
        raise ConfigError(
            f"{place.local_size} processes are on a machine of {torch.cuda.device_count()} GPUs; "
            "expected a GPU for each; lower --devices, or run on --device cpu."
        )
    if on_gpu:
        torch.cuda.set_device(place.local_rank)
    # What Fabric reads; under torchrun it is there already.
    os.environ.update(
        RANK=str(place.rank),
        WORLD_SIZE=str(place.size),
        LOCAL_RANK=str(place.local_rank),
        LOCAL_WORLD_SIZE=str(place.local_size),
        MASTER_ADDR=place.address,
        MASTER_PORT=str(place.port),
    )
    if place.local_size == place.size:
        # Of one machine, whose name may resolve to nothing that gloo can listen on.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    with _naming_lost(place):
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if on_gpu else "gloo",
            rank=place.rank,
            world_size=place.size,
            timeout=timedelta(seconds=timeout),
        )
        try:
            yield
        except SystemExit:
            dist.destroy_process_group()
            raise
        # After an error the others may be gone, and there is nobody to take leave of.
        dist.destroy_process_group()


@contextlib.contextmanager
def _naming_lost(place: ProcessInfo) -> Iterator[None]:
    """Say plainly that another process is gone, where a collective operation says it at length."""
    try:
        yield
    except RuntimeError as error:
        words = str(error)
        if not isinstance(error, dist.DistError) and not re.search("gloo|nccl", words, re.I):
            raise
        raise ProcessError(
            f"Process {place.rank} of {place.size} has lost the others ("
            f"{words.splitlines()[0][:300]}); expected all to go on until the end: look for what "
            "they say; where one was only slow, raise --timeout."
        ) from error


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """How many processes work together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main_process() -> bool:
    """Whether this process is the one that writes files and speaks to people."""
    return rank() == 0


def local_device(device: str) -> torch.device:
    """The device that this process computes on.

    Args:
        device: auto (a GPU where there is one), cpu or cuda.

    Raises:
        ConfigError: If a GPU is asked for and there is none.
    """
    if device == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    if device == "cuda":
        raise ConfigError(
            "--device 'cuda' needs a GPU that torch can use, and it sees none here; expected auto "
            "or cpu, or a build of torch for this machine's GPU and its driver."
        )
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return found or torch.device("cpu")


def make_fabric(**options: Any) -> Fabric:
    """Fabric, without its messages about what it was asked for anyway; its warnings stay.

    Args:
        options: What ``Fabric`` takes.
    """
    # Not above: vireid.nn and all else that asks which process this is does without it.
    from lightning_fabric import Fabric

    # It sets the level itself where it is imported.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    return Fabric(**options)


def synchronize() -> None:
    """Wait until all processes are here."""
    any_rank(False)


def any_rank(flag: bool) -> bool:
    """Whether ``flag`` is true in any process."""
    if world_size() == 1:
        return flag
    told = torch.tensor(int(flag))
    dist.all_reduce(told, dist.ReduceOp.MAX)
    return bool(told)


def broadcast(make: Callable[[], Any], *, by: int = 0) -> Any:
    """What one process makes, in all of them; an error of its is an error in all.

    Args:
        make: Called in that process only; returns what JSON can hold.
        by: Which process, the first one by default.

    Raises:
        VireidError: The one that ``make`` raised.
    """
    if world_size() == 1:
        return make()
    told = b""
    failed: VireidError | None = None
    if rank() == by:
        try:
            told = json.dumps({"made": make()}).encode()
        except VireidError as error:
            failed = error
            told = json.dumps({"failed": str(error)}).encode()
    length = torch.tensor(len(told))
    dist.broadcast(length, by)
    held = torch.empty(int(length), dtype=torch.uint8)
    if told:
        held.copy_(torch.frombuffer(bytearray(told), dtype=torch.uint8))
    dist.broadcast(held, by)
    if failed is not None:
        raise failed
    heard = json.loads(held.numpy().tobytes())
    if "failed" in heard:
        raise VireidError(heard["failed"])
    return heard["made"]


def check_same_on_all_ranks(what: str, value: str, *, fix: str) -> None:
    """Refuse to go on where the processes do not hold the same.

    Args:
        what: What it is, for the message.
        value: What this process holds.
        fix: How the user can make it the same, as a clause.

    Raises:
        ProcessError: If two processes hold different values.
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
            f"Process {other} does not have the same {what} as process 0 ('{names[other]}' and "
            f"'{names[0]}'); expected all {len(names)} to have the same; {fix}."
        )


def all_gather_rows(own: Tensor, lengths: Sequence[int]) -> list[Tensor]:
    """The rows of every process, in all of them, bit for bit.

    Args:
        own: This process's rows, ``[lengths[rank], d]``, on the CPU.
        lengths: Number of rows of every process.

    Returns:
        ``[n_r, d]`` of each process r.
    """
    if world_size() == 1:
        return [own]
    # One after the other, since they are of different lengths: nothing is padded.
    held = [own if r == rank() else own.new_empty(n, own.shape[1]) for r, n in enumerate(lengths)]
    for r, rows in enumerate(held):
        if len(rows):
            dist.broadcast(rows, r)
    return held
