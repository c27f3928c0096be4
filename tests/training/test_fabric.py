"""Two processes compute what one computes: norms, losses and gradients, in float64."""

import copy
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from vireid.data.sampler import BatchShard
from vireid.distributed.comm import (
    all_gather_rows,
    any_rank,
    broadcast,
    check_same_on_all_ranks,
    rank,
    world_size,
)
from vireid.distributed.launch import Processes, launch
from vireid.distributed.sync_norm import convert_sync_batchnorm
from vireid.errors import ConfigError, RunError, VireidError
from vireid.methods import Method, catalogue
from vireid.training.fabric import check_distributed, check_parts, independent_parts
from vireid.types import CrossModalBatch

METHODS = ("agw", "bdtr", "dlis-strong", "hcml", "mgn", "pcb", "tone", "zero-padding-cpu")
SMALLER: dict[str, dict[str, Any]] = {
    "dlis-strong": {"stripes": 2, "center_reduction": "sum"},
    "pcb": {"stripes": 2, "dropout": 0.0},
    "mgn": {"size": (96, 48)},
}
CLASSES, IDENTITIES, IMAGES = 5, 4, 2
NORMS = {
    "one number a channel": (nn.BatchNorm1d(3), (8, 3)),
    "maps": (nn.BatchNorm2d(3), (4, 3, 5, 2)),
    "without weights": (nn.BatchNorm1d(3, affine=False), (8, 3)),
    "a mean over all batches": (nn.BatchNorm2d(3, momentum=None), (4, 3, 2, 2)),
}


def build(name: str) -> Method:
    torch.manual_seed(3)
    config = catalogue()[name].recipe.method
    own = {
        "backbone": "efficientnet_lite0",
        "weights": "none",
        "size": (64, 32),
        **SMALLER.get(name, {}),
    }
    network: Method = replace(config, **own).build(classes=CLASSES)
    # Classifiers initialised near zero would hide the gradients that pass through them.
    for parameter in network.parameters():
        if parameter.abs().max() < 1e-1:
            nn.init.normal_(parameter, std=0.1)
    return network.double()


def batch_of(network: Method, shard: BatchShard) -> CrossModalBatch:
    """A shard of the images, and the labels of all."""
    count = IDENTITIES * IMAGES
    random = torch.Generator().manual_seed(5)
    images = torch.randn(2, count, 3, *network.size, generator=random, dtype=torch.float64)
    labels = torch.tensor([4, 0, 3, 1]).repeat_interleave(IMAGES)
    rows = shard.rows(count)
    return CrossModalBatch(images[0, rows], images[1, rows], labels, labels)


def projected(gradients: dict[str, Tensor]) -> dict[str, float]:
    """One number for each gradient, a random projection of all its elements."""
    random = torch.Generator().manual_seed(7)
    return {
        name: float((g * torch.randn(g.shape, generator=random, dtype=g.dtype)).sum())
        for name, g in gradients.items()
    }


def learn(network: Method) -> dict[str, dict[str, float]]:
    """Losses, gradients and running statistics after one batch."""
    convert_sync_batchnorm(network)
    losses = network.train().losses(batch_of(network, BatchShard(rank(), world_size())))
    losses.total.backward()
    gradients = {n: p.grad for n, p in network.named_parameters() if p.grad is not None}
    if world_size() > 1:
        for gradient in gradients.values():
            # As DistributedDataParallel does.
            dist.all_reduce(gradient)
            gradient.div_(world_size())
    assert losses.accuracy is not None
    assert losses.features is not None
    seen = {
        "total": losses.total,
        "accuracy": losses.accuracy,
        "features": losses.features.double().sum(),
    }
    return {
        "losses": _floats({**losses.terms, **seen}),
        "gradients": projected(gradients),
        "buffers": projected({n: b.double() for n, b in network.named_buffers()}),
    }


def _floats(seen: dict[str, Tensor]) -> dict[str, float]:
    return {name: float(value.detach()) for name, value in seen.items()}


def normalise(norm: nn.Module, shape: tuple[int, ...]) -> list[Tensor]:
    """Two batches through a norm: outputs, gradients of the inputs, weights and statistics."""
    layer = nn.Sequential(copy.deepcopy(norm)).double()
    torch.manual_seed(11)
    if next(layer.parameters(), None) is not None:
        nn.init.normal_(layer[0].weight)  # type: ignore[arg-type]
    convert_sync_batchnorm(layer)
    found: list[Tensor] = []
    for _ in range(2):
        x = 3 + torch.randn(shape, dtype=torch.float64)
        weights = torch.randn(shape, dtype=torch.float64)
        rows = BatchShard(rank(), world_size()).rows(shape[0])
        own = x[rows].clone().requires_grad_()
        y = layer(own)
        (y.square() * weights[rows]).sum().backward()
        assert own.grad is not None
        for local in (y.detach(), own.grad):
            flat = local.flatten(1)
            found.append(torch.cat(all_gather_rows(flat, [len(flat)] * world_size())))
    for parameter in layer.parameters():
        assert parameter.grad is not None
        if world_size() > 1:
            dist.all_reduce(parameter.grad)
        found.append(parameter.grad)
    layer.eval()
    found += [layer(x).detach(), *(b.double() for b in layer.buffers())]
    return found


def refused(act: Callable[[], object]) -> str:
    try:
        act()
    except VireidError as error:
        return str(error)
    return ""


def fail() -> None:
    raise ConfigError("Not so.")


def talk() -> dict[str, Any]:
    """Communication between the processes, and its errors."""
    lengths = [3, 0]
    own = torch.full((lengths[rank()], 2), float(rank() + 1))
    return {
        "shared": broadcast(rank, source=1),
        "failed": refused(lambda: broadcast(fail)),
        "any": [any_rank(rank() == 1), any_rank(False)],
        "rows": [rows.tolist() for rows in all_gather_rows(own, lengths)],
        "equal": refused(lambda: check_same_on_all_ranks("hats", "grey", fix="buy some")),
        "unequal": refused(
            lambda: check_same_on_all_ranks("hats", f"{rank()} grey", fix="buy some")
        ),
        "waiting": os.environ.get("OMP_WAIT_POLICY"),
        "adversary": refused(lambda: check_distributed(build("cmgan"), "cmgan")),
    }


def work() -> dict[str, Any]:
    """Everything that is compared, in one launch."""
    return {
        "talk": talk(),
        # Tensors are passed as open files, which close with the process.
        "norms": {name: [t.numpy() for t in normalise(*c)] for name, c in NORMS.items()},
        "methods": {name: learn(build(name)) for name in METHODS},
    }


@pytest.fixture(scope="module")
def by_two() -> dict[str, Any]:
    return launch(work, processes=Processes(devices=2), device="cpu", recovery="look")


def test_communication_and_the_refusal_of_differences(by_two: dict[str, Any]) -> None:
    said = by_two["talk"]
    assert said["shared"] == 1
    assert said["failed"] == "Not so."
    assert said["any"] == [True, False]
    assert said["rows"] == [[[1.0, 1.0]] * 3, []]
    assert said["equal"] == ""
    assert "Process 1 does not have the same hats as process 0" in said["unequal"]
    assert said["unequal"].endswith("buy some.")
    assert said["waiting"] == os.environ.get("OMP_WAIT_POLICY", "PASSIVE")
    assert said["adversary"].startswith("'cmgan' cannot be trained by 2 processes")


def test_resuming_needs_the_same_number_of_processes_where_the_result_depends_on_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("vireid.training.fabric.world_size", lambda: 2)
    plain = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.0))
    assert independent_parts(plain, sync_batchnorm=True) == 1
    assert independent_parts(plain, sync_batchnorm=False) == 2
    assert independent_parts(nn.Dropout(0.1), sync_batchnorm=True) == 2
    check_parts(2, 2)
    with pytest.raises(RunError, match=r"'2' parts.*now there are '1'.*--devices 2"):
        check_parts(2, 1)


@pytest.mark.parametrize("case", NORMS)
def test_norms_use_the_images_of_all_processes(case: str, by_two: dict[str, Any]) -> None:
    for alone, shared in zip(normalise(*NORMS[case]), by_two["norms"][case], strict=True):
        np.testing.assert_allclose(shared, alone.numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", METHODS)
def test_losses_and_gradients_equal_those_of_one_process(name: str, by_two: dict[str, Any]) -> None:
    alone, shared = learn(build(name)), by_two["methods"][name]
    for kind, values in alone.items():
        assert shared[kind] == pytest.approx(values, rel=1e-8, abs=1e-9), kind
        assert values
