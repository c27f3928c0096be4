"""Exporting in tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from torch import Tensor
from torchvision.models.resnet import BasicBlock, ResNet

from vireid.export import writing
from vireid.export.graph import NetworkPath, network_graph
from vireid.nn import backbone
from vireid.nn.weights import fingerprint
from vireid.optional_packages import package


class _Block(BasicBlock):  # type: ignore[misc]
    """The first half of a block: a convolution, a batch norm and ReLU."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        del self.conv2, self.bn2
        self.downsample = None

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.bn1(self.conv1(x)))  # type: ignore[no-any-return]


@contextmanager
def shallow_resnets(block: type[BasicBlock] = _Block) -> Iterator[None]:
    """Let every ResNet have one block per stage: it is traced, quantised and saved sooner.

    Args:
        block: By default one convolution without a residual connection.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backbone, "_of_torchvision", lambda name: ResNet(block, [1, 1, 1, 1]))
        yield


@contextmanager
def traced_networks_kept() -> Iterator[None]:
    """Let exports trace each network once, which is what takes them longest."""
    kept: dict[tuple[str, str], bytes] = {}

    def once(path: NetworkPath, size: tuple[int, int], *, name: str) -> Any:
        key = (fingerprint(path.state_dict()), path.modality)
        if key not in kept:
            kept[key] = network_graph(path, size, name=name).SerializeToString()
        return package("onnx").load_from_string(kept[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, "network_graph", once)
        yield
