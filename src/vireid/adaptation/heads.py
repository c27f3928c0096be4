"""Classifiers that follow the identities, which are others in each round."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vireid.methods import Method, MethodConfig
from vireid.runs.start import head_names

__all__ = ["resize_heads", "successors"]


def successors(
    labels: NDArray[np.int64], before: NDArray[np.int64], classes: int
) -> NDArray[np.int64]:
    """The class of the round before that most images of each class had.

    Args:
        labels: The class of each image, int64 ``[n]``, -1: none.
        before: The same of the round before.
        classes: Number of classes.

    Returns:
        int64 ``[classes]``; -1 where most images had none.
    """
    found = np.full(classes, -1)
    for label in range(classes):
        earlier = before[labels == label]
        values, counts = np.unique(earlier, return_counts=True)
        if len(values) and 2 * counts.max() > len(earlier):
            found[label] = values[counts.argmax()]
    return found


def resize_heads(
    network: Method, config: MethodConfig, carried: NDArray[np.int64], *, seed: int
) -> list[nn.Parameter]:
    """Give the classifiers of a network other classes, in place.

    Args:
        network: The network.
        config: Its options.
        carried: For each class the one whose weights it takes over, int64 ``[classes]``; -1: the
            initial weights.
        seed: Seed of the initial weights.

    Returns:
        The parameters with new values.
    """
    names = head_names(config)
    plain = replace(config, weights="none")
    with torch.device("meta"):
        two, three = (plain.build(classes=classes).state_dict() for classes in (2, 3))
    torch.manual_seed(seed)
    initial = plain.build(classes=len(carried)).state_dict()
    old = network.state_dict()
    kept = np.flatnonzero(carried >= 0)
    changed = []
    for name in names:
        axis = [a != b for a, b in zip(two[name].shape, three[name].shape, strict=True)].index(True)
        fresh = initial[name].to(old[name])
        rows = torch.from_numpy(carried[kept]).to(fresh.device)
        into = torch.from_numpy(kept).to(fresh.device)
        fresh.index_copy_(axis, into, old[name].index_select(axis, rows))
        changed += _set(network, name, fresh)
    return changed


def _set(network: nn.Module, name: str, value: Tensor) -> list[nn.Parameter]:
    """Set a tensor of any shape by name; a parameter stays the same object."""
    owner, _, attribute = name.rpartition(".")
    module = network.get_submodule(owner)
    held = getattr(module, attribute)
    if isinstance(held, nn.Parameter):
        held.data, held.grad = value, None
        return [held]
    module.register_buffer(attribute, value)
    return []
