"""Training by several processes: what of it is the same as by one, and what is not."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import torch.distributed as dist
from torch import nn

from vireid.distributed.comm import local_device, make_fabric, world_size
from vireid.errors import ConfigError, RunError
from vireid.methods import Method
from vireid.runs import Run

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["check_distributed", "check_parts", "equalise_buffers", "open_fabric", "separate_parts"]


def open_fabric(run: Run) -> Fabric:
    """The devices that a run trains on, with the gradients averaged over all processes.

    Args:
        run: Its device and precision.

    Raises:
        ConfigError: If there is no such device.
    """
    kind = local_device(run.device).type
    if world_size() == 1:
        return make_fabric(accelerator=kind, devices=1, precision=run.precision)
    # Here and not above: describing needs none of it, and it takes seconds to import.
    from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
    from lightning_fabric.strategies.ddp import DDPStrategy

    local_size = int(os.environ["LOCAL_WORLD_SIZE"])
    return make_fabric(
        accelerator="cuda" if kind == "cuda" else "cpu",
        devices=local_size,
        num_nodes=world_size() // local_size,
        # Synchronised norms have equal buffers; others are made equal where it matters.
        strategy=DDPStrategy(broadcast_buffers=False, gradient_as_bucket_view=True),
        precision=run.precision,
        plugins=[TorchElasticEnvironment()],
    )


def check_distributed(network: Method, name: str) -> None:
    """Refuse methods whose losses have not been proven to be the same by several processes.

    Args:
        network: The method.
        name: The recipe's name.

    Raises:
        ConfigError: If it is one of them, and there are several processes.
    """
    if world_size() > 1 and not network.supports_distributed:
        raise ConfigError(
            f"'{name}' cannot be trained by {world_size()} processes: its networks compete with "
            "one another, which is not proven to give the same result; expected one process: "
            "leave --devices at 1."
        )


def separate_parts(network: nn.Module, *, sync_batchnorm: bool) -> int:
    """Into how many parts a batch falls whose outcome depends on how many they are.

    Args:
        network: What is trained.
        sync_batchnorm: Whether its batch norms see the images of all processes.

    Returns:
        1 where any number of processes computes the same; otherwise the number of processes.
    """
    from torchvision.ops import StochasticDepth

    draws = any(
        isinstance(module, nn.modules.dropout._DropoutNd | StochasticDepth) and module.p > 0
        for module in network.modules()
    )
    return world_size() if draws or not sync_batchnorm else 1


def check_parts(saved: int, now: int) -> None:
    """Refuse to resume a run whose outcome depends on the number of processes by another number.

    Args:
        saved: What :func:`separate_parts` said when the checkpoint was made.
        now: What it says now.

    Raises:
        RunError: If they differ.
    """
    if saved != now:
        raise RunError(
            f"This run was trained in '{saved}' parts, with batch norms or dropout that see the "
            f"images of one process only, and now there are '{now}': it would go on as another "
            f"run. Expected the same number: resume it with --devices {saved}, and with "
            "--no-sync-batchnorm if it was begun so."
        )


def equalise_buffers(network: nn.Module) -> None:
    """Give all processes the first one's running statistics.

    Args:
        network: It is changed.
    """
    if world_size() > 1:
        for buffer in network.buffers():
            dist.broadcast(buffer, 0)
