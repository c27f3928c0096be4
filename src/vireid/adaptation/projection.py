"""Initial embeddings of a network whose heads are untrained, from unlabelled images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vireid.nn import StripeHeads

__all__ = ["Pooled", "project"]


class Pooled:
    """Collects what the heads of a network get, while it is in use as a context manager.

    Args:
        network: The network.
        size: Images in each part of a batch that is of one modality.
    """

    def __init__(self, network: nn.Module, size: int) -> None:
        self._size = size
        self._heads = [m for m in network.modules() if isinstance(m, StripeHeads)]
        self._seen: dict[StripeHeads, list[Tensor]] = {heads: [] for heads in self._heads}

    def __enter__(self) -> Pooled:
        self._hooks = [heads.register_forward_pre_hook(self._keep) for heads in self._heads]
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _keep(self, heads: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(heads, StripeHeads)
        pooled = inputs[0].detach().float()
        parts = pooled.view(-1, self._size, *pooled.shape[1:])
        self._seen[heads].append((parts - parts.mean(dim=1, keepdim=True)).flatten(0, 1))

    def project(self, *, seed: int) -> None:
        """Let the heads project on the principal components of what they got; see :func:`project`.

        Args:
            seed: Seed of the rotations.
        """
        for heads, seen in self._seen.items():
            if seen:
                project(heads, torch.cat(seen), seed=seed)


@torch.no_grad()
def project(heads: StripeHeads, pooled: Tensor, *, seed: int) -> None:
    """Set the embeddings of stripes to the principal components, in a random rotation.

    A random projection, which heads start as, blurs the distances of features. The rotation gives
    all dimensions about equal variance, so that the batch norm behind does not whiten.

    Args:
        heads: The heads, changed in place, unless their embedding is as long as a stripe.
        pooled: What they get, centred, ``[n, p, C]``.
        seed: Seed of the rotation.
    """
    embeddings, channels, dim = heads.weight.shape
    if dim >= channels:
        return
    generator = torch.Generator().manual_seed(seed)
    rows = pooled.transpose(0, 1).reshape(embeddings, -1, channels)
    for weight, own in zip(heads.weight, rows, strict=True):
        _, components = torch.linalg.eigh(own.T @ own / len(own))
        rotation, _ = torch.linalg.qr(torch.randn(dim, dim, generator=generator))
        # As large as the random weights, so that a learning rate changes them as much.
        scale = (2 * channels / dim) ** 0.5
        weight.copy_(scale * components[:, -dim:] @ rotation.to(components))
