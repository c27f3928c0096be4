"""Training with several processes: what equals training with one, and what does not."""

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

__all__ = [
    "check_distributed",
    "check_parts",
    "equalise_buffers",
    "independent_parts",
    "open_fabric",
]


def open_fabric(run: Run) -> Fabric:
    """The devices that a run trains on, with gradients averaged over all processes.

    Args:
        run: Its device and precision.

    Raises:
        ConfigError: If the device does not exist.
    """
    kind = local_device(run.device).type
    if world_size() == 1:
        return make_fabric(accelerator=kind, devices=1, precision=run.precision)
    # Here because it takes seconds to import and only training needs it.
    from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
    from lightning_fabric.strategies.ddp import DDPStrategy

    local_size = int(os.environ["LOCAL_WORLD_SIZE"])
    return make_fabric(
        accelerator="cuda" if kind == "cuda" else "cpu",
        devices=local_size,
        num_nodes=world_size() // local_size,
        # Synchronised norms have equal buffers; equalise_buffers takes care of others.
        strategy=DDPStrategy(broadcast_buffers=False, gradient_as_bucket_view=True),
        precision=run.precision,
        plugins=[TorchElasticEnvironment()],
    )


def check_distributed(network: Method, name: str) -> None:
    """Refuse methods whose losses have not been shown to be the same with several processes.

    Args:
        network: The method.
        name: The recipe's name.

    Raises:
        ConfigError: If there are several processes and the method is one of them.
    """
    if world_size() > 1 and not network.supports_distributed:
        raise ConfigError(
            f"'{name}' cannot be trained by {world_size()} processes: its networks compete with "
            "one another, and equal results have not been shown for that; expected one process: "
            "leave --devices at 1."
        )


def independent_parts(network: nn.Module, *, sync_batchnorm: bool) -> int:
    """Number of parts of a batch that are normalised or drop activations independently.

    Args:
        network: The network.
        sync_batchnorm: Whether batch norms use the images of all processes.

    Returns:
        1 where the result does not depend on the number of processes; that number otherwise.
    """
    from torchvision.ops import StochasticDepth

    draws = any(
        isinstance(module, nn.modules.dropout._DropoutNd | StochasticDepth) and module.p > 0
        for module in network.modules()
    )
    return world_size() if draws or not sync_batchnorm else 1


def check_parts(saved: int, now: int) -> None:
    """Refuse to resume with another number of processes where the result depends on it.

    Args:
        saved: :func:`independent_parts` of the checkpoint.
        now: The same of these processes.

    Raises:
        RunError: If they differ.
    """
    if saved != now:
        raise RunError(
            f"This run was trained in '{saved}' parts, whose batch norms or dropout see only the "
            f"images of their process, and now there are '{now}' parts, which would change the "
            f"result. Expected the same number: resume with --devices {saved}, and with "
            "--no-sync-batchnorm if the run was started with it."
        )


def equalise_buffers(network: nn.Module) -> None:
    """Copy the main process's running statistics to all processes, in place."""
    if world_size() > 1:
        for buffer in network.buffers():
            dist.broadcast(buffer, 0)
