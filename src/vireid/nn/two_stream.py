"""Two streams, one per modality, with an optional shared trunk.

visible  ── stem_v ── layer1_v ─┐
                                ├─ layer2 ── layer3 ── layer4     (shared_from = layer2)
infrared ── stem_t ── layer1_t ─┘
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from itertools import groupby
from typing import Self

import torch
from torch import Tensor, nn

from vireid.nn.backbone import STAGES, StageName

__all__ = ["PerModality", "TwoStream"]


class PerModality(nn.Module):
    """One module for both modalities, or one for each.

    Both modalities are in one tensor, visible images first: a shared module gets them as one batch
    (with common batch norm statistics), separate modules get only theirs.

    Args:
        visible: The module for visible images, or for both.
        infrared: The module for infrared images; None: ``visible`` is shared.
    """

    shared: nn.Module
    visible: nn.Module
    infrared: nn.Module

    def __init__(self, visible: nn.Module, infrared: nn.Module | None = None) -> None:
        super().__init__()
        if infrared is None:
            self.shared = visible
        else:
            self.visible, self.infrared = visible, infrared
        self.separate = infrared is not None

    def forward(self, x: Tensor, n_visible: int) -> Tensor:
        """Map ``[n_v + n_t, …]`` to ``[n_v + n_t, …]``; the first ``n_visible`` are visible."""
        if not self.separate:
            return self.shared(x)  # type: ignore[no-any-return]
        parts = [
            module(part)
            for module, part in ((self.visible, x[:n_visible]), (self.infrared, x[n_visible:]))
            if part.shape[0]
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts)


class TwoStream(nn.Module):
    """A backbone for two modalities with optional modules between its stages.

    Args:
        stages: The five stages of one backbone; the infrared stream starts as a copy.
        shared_from: First stage of the shared trunk; None: no shared trunk.
        after: Modules to apply behind a stage.
        frozen: Last stage that is not trained, with all stages before it; None: all are.
        frozen_norms: Whether all batch norms keep their weights and statistics.
    """

    def __init__(
        self,
        stages: Mapping[StageName, nn.Module],
        *,
        shared_from: StageName | None = None,
        after: Mapping[StageName, PerModality] | None = None,
        frozen: StageName | None = None,
        frozen_norms: bool = False,
    ) -> None:
        super().__init__()
        still = list(stages.values())[: 0 if frozen is None else STAGES.index(frozen) + 1]
        for module in stages.values():
            norms = [m for m in module.modules() if frozen_norms and isinstance(m, nn.BatchNorm2d)]
            for part in norms if module not in still else [module]:
                part.requires_grad_(False)
        after = after or {}
        first_shared = len(STAGES) if shared_from is None else STAGES.index(shared_from)
        self.parts = nn.ModuleDict()
        # Consecutive stages of one kind form one part: the tensor is split and joined less often.
        position = {stage: i for i, stage in enumerate(STAGES)}
        breaks = {stage: sum(position[s] < position[stage] for s in after) for stage in STAGES}
        for (shared, _), group in groupby(
            STAGES, key=lambda s: (position[s] >= first_shared, breaks[s])
        ):
            names = list(group)
            chunk = nn.Sequential()
            for stage in names:
                chunk.add_module(stage, stages[stage])
            twin = None if shared else copy.deepcopy(chunk)
            self.parts["_".join((names[0], names[-1]))] = PerModality(chunk, twin)
            if names[-1] in after:
                self.parts[f"after_{names[-1]}"] = after[names[-1]]

    def train(self, mode: bool = True) -> Self:
        """Set the mode; batch norms whose weights are frozen stay in that of inference."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d) and not module.weight.requires_grad:
                module.eval()
        return self

    def forward(self, x: Tensor, n_visible: int) -> Tensor:
        """Map images ``[n_v + n_t, 3, H, W]``, visible first, to a map ``[n_v + n_t, C, h, w]``."""
        for part in self.parts.values():
            x = part(x, n_visible)
        return x
