"""DLIS written as published code is: the reference of the speed benchmarks.

Two networks run one after the other, eagerly, in float32 on NCHW tensors. The attention matrix is
built explicitly. Every stripe has separate layers, in a loop, and the losses loop over stripes and
identities. PIL decodes and resizes images in the main thread in every step, and torchvision
augments them one by one. The optimiser loops over the parameters.

The layers are those of torch and torchvision, and nothing is computed twice. With the weights of a
:class:`~vireid.methods.DLIS` it has the losses and features of that network.

Example:
    >>> from vireid.methods import DLISConfig
    >>> config = DLISConfig(backbone="resnet18", weights="none", size=(64, 32), stripes=2)
    >>> reference = ReferenceDLIS(config.build(classes=4)).eval()
    >>> reference.extract_features(torch.zeros(1, 3, 64, 32), Modality.VISIBLE).shape
    torch.Size([1, 1024])
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD
from torchvision import transforms

from vireid.data.images import resized
from vireid.data.transforms import IMAGENET_MEAN, IMAGENET_STD
from vireid.errors import ConfigError
from vireid.methods.dlis import DLIS, DLISConfig
from vireid.nn import PALM, StripeHeads
from vireid.nn.two_stream import PerModality
from vireid.types import ImageRecord, Modality

__all__ = ["ReferenceDLIS", "load_images", "reference_optimizer"]

_PAD = 10


class ReferencePALM(nn.Module):
    """Position attention with an explicit attention matrix.

    Args:
        palm: The module to copy the weights of.
    """

    def __init__(self, palm: PALM) -> None:
        super().__init__()
        self.query = copy.deepcopy(palm.query)
        self.key = copy.deepcopy(palm.key)
        self.value = copy.deepcopy(palm.value)
        self.gamma = nn.Parameter(palm.gamma.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[n, C, h, w]`` to ``[n, C, h, w]``."""
        n, channels, height, width = x.shape
        query = self.query(x).view(n, -1, height * width).permute(0, 2, 1)
        key = self.key(x).view(n, -1, height * width)
        attention = torch.softmax(torch.bmm(query, key), dim=-1)
        value = self.value(x).view(n, -1, height * width)
        attended = torch.bmm(value, attention.permute(0, 2, 1))
        return self.gamma * attended.view(n, channels, height, width) + x


class ReferenceStripe(nn.Module):
    """Embedding and classifier of one stripe.

    Args:
        heads: The module to copy the weights of.
        number: Index of the stripe, from 0.
    """

    def __init__(self, heads: StripeHeads, number: int) -> None:
        super().__init__()
        channels, dim = heads.weight.shape[1:]
        own = slice(number * dim, (number + 1) * dim)
        self.linear = nn.Linear(channels, dim)
        self.norm = nn.BatchNorm1d(dim)
        self.classifier = nn.Linear(dim, heads.classifier_weight.shape[2])
        self.to(heads.weight.dtype)
        with torch.no_grad():
            self.linear.weight.copy_(heads.weight[number].T)
            self.linear.bias.copy_(heads.bias[number, 0])
            self.classifier.weight.copy_(heads.classifier_weight[number].T)
            self.classifier.bias.copy_(heads.classifier_bias[number, 0])
            for name, value in self.norm.state_dict().items():
                given = heads.norm.state_dict()[name]
                value.copy_(given[own] if given.ndim else given)

    def forward(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``[n, C]`` to embeddings ``[n, d]`` and logits ``[n, classes]``."""
        embedding = self.norm(self.linear(pooled))
        return embedding, self.classifier(F.leaky_relu(embedding, 0.1))


class ReferenceDLIS(nn.Module):
    """The paper-like DLIS.

    Args:
        network: The network to copy the options and weights of.

    Raises:
        ConfigError: If its options are not those of the recipe dlis.
    """

    def __init__(self, network: DLIS) -> None:
        super().__init__()
        self.config = network.config
        _check(self.config)
        streams, palms = network.streams.parts["stem_layer4"], network.streams.parts["after_layer4"]
        assert isinstance(streams, PerModality)
        assert isinstance(palms, PerModality)
        assert isinstance(palms.shared, PALM)
        self.visible = copy.deepcopy(streams.visible)
        self.infrared = copy.deepcopy(streams.infrared)
        self.palm = ReferencePALM(palms.shared)
        self.stripes = nn.ModuleList(
            ReferenceStripe(network.heads, number) for number in range(self.config.stripes)
        )
        self.to(memory_format=torch.contiguous_format)

    def losses(
        self, visible: Tensor, infrared: Tensor, visible_labels: Tensor, infrared_labels: Tensor
    ) -> dict[str, Tensor]:
        """Weighted cross-entropy and hetero-center loss, each summed over the stripes.

        Args:
            visible: ``[n_v, 3, H, W]``, normalised.
            infrared: ``[n_t, 3, H, W]``, normalised.
            visible_labels: Class indices, int64 ``[n_v]``.
            infrared_labels: Class indices, int64 ``[n_t]``.
        """
        maps = torch.cat([self.visible(visible), self.infrared(infrared)])
        labels = torch.cat([visible_labels, infrared_labels])
        identity, center = [], []
        for embedding, logits in self._stripes(maps):
            identity.append(F.cross_entropy(logits, labels))
            own = F.normalize(embedding)
            distances = []
            for label in sorted(set(visible_labels.tolist())):
                visible_center = own[: len(visible)][visible_labels == label].mean(0)
                infrared_center = own[len(visible) :][infrared_labels == label].mean(0)
                distances.append((visible_center - infrared_center).pow(2).sum())
            center.append(torch.stack(distances).sum())
        mean = torch.stack(identity).mean().item()
        uniform = math.log(logits.shape[1])
        gate = min(1.0, max(0.0, (uniform - mean) / (self.config.center_gate * uniform)))
        return {
            "identity": torch.stack(identity).sum(),
            "center": self.config.center * gate * torch.stack(center).sum(),
        }

    def extract_features(self, images: Tensor, modality: Modality) -> Tensor:
        """Features, ``[n, 3, H, W]`` to unit rows ``[n, p·d]``."""
        stream = self.visible if modality is Modality.VISIBLE else self.infrared
        embeddings = [F.normalize(embedding) for embedding, _ in self._stripes(stream(images))]
        return F.normalize(torch.cat(embeddings, dim=1))

    def _stripes(self, maps: Tensor) -> list[tuple[Tensor, Tensor]]:
        attended = self.palm(maps)
        height, count = attended.shape[2], len(self.stripes)
        found = []
        for number, stripe in enumerate(self.stripes):
            rows = attended[:, :, number * height // count : -(-(number + 1) * height // count)]
            found.append(stripe(rows.mean(dim=(2, 3))))
        return found


def reference_optimizer(
    network: ReferenceDLIS, *, lr: float, backbone_lr: float, decay: float
) -> SGD:
    """SGD with Nesterov momentum, parameter by parameter.

    Args:
        network: The network to train.
        lr: Learning rate of the heads and PALM.
        backbone_lr: Learning rate of the backbones.
        decay: Weight decay.
    """
    backbone = [*network.visible.parameters(), *network.infrared.parameters()]
    heads = [*network.palm.parameters(), *network.stripes.parameters()]
    return SGD(
        [{"params": backbone, "lr": backbone_lr}, {"params": heads, "lr": lr}],
        momentum=0.9,
        nesterov=True,
        weight_decay=decay,
        foreach=False,
    )


def load_images(records: Sequence[ImageRecord], size: tuple[int, int], *, training: bool) -> Tensor:
    """Decode, resize, augment and normalise images, one after the other.

    Args:
        records: The images.
        size: Height and width, in pixels.
        training: Whether to pad, crop and flip at random.

    Returns:
        float32 ``[n, 3, H, W]``.
    """
    augment = transforms.Compose(
        [
            *(
                [
                    transforms.Pad(_PAD),
                    transforms.RandomCrop(size),
                    transforms.RandomHorizontalFlip(),
                ]
                if training
                else []
            ),
            transforms.ToTensor(),
            transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )
    images = []
    for record in records:
        with Image.open(record.path) as image:
            # Not torchvision's Resize: there the order of Pillow's two passes, and so the rounding
            # of a pixel, depends on the version, and the two sides would not be comparable.
            images.append(augment(Image.fromarray(resized(image.convert("RGB"), size))))
    return torch.stack(images)


def _check(config: DLISConfig) -> None:
    supported = DLISConfig(
        backbone=config.backbone,
        weights=config.weights,
        size=config.size,
        stripes=config.stripes,
        dim=config.dim,
        center=config.center,
        center_gate=config.center_gate,
    )
    if config != supported or not config.center_gate or not config.center:
        raise ConfigError(
            f"The reference has DLIS in its paper-like form only; got '{config}'. Leave the "
            "options of the recipe dlis as they are."
        )
