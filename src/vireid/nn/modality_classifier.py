"""A classifier of the modality of a feature: cmGAN's discriminator."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["ModalityClassifier"]


class ModalityClassifier(nn.Module):
    """Three linear layers with ReLU in between, from a feature to a logit per modality.

    Source: Dai et al., "Cross-Modality Person Re-Identification with Generative Adversarial
    Training", IJCAI 2018 (cmGAN).

    Args:
        channels: C, the length of a feature.
        hidden: Widths of the two hidden layers.
    """

    def __init__(self, channels: int, *, hidden: tuple[int, int] = (1000, 500)) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(channels, hidden[0]),
            nn.ReLU(),
            nn.Linear(hidden[0], hidden[1]),
            nn.ReLU(),
            nn.Linear(hidden[1], 2),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map features ``[n, C]`` to the logits of visible and infrared, ``[n, 2]``."""
        return self.layers(features)  # type: ignore[no-any-return]
