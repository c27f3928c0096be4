"""Detection of training that collapses to features that do not separate identities.

The hetero-center loss is minimal where all embeddings are equal, or where an identity's images
scatter so that their mean is near zero. When it outweighs the cross-entropy early on, the identity
loss stays near ln(classes) and the ranking is at chance. DLIS has a gate against it (see
``DLISConfig.center_gate``); the warning covers every method.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from vireid.errors import many

__all__ = ["collapse_warning", "mean_cosines"]

# A classifier that learns is below this share of ln(classes) after a few epochs.
_STUCK = 0.93
# Above this mean cosine of different identities, no ranking separates them.
_COLLAPSED = 0.9
_PATIENCE = 3
# Before this many steps even a sound network may be at chance.
_MIN_STEPS = 100


def mean_cosines(features: Tensor, labels: Tensor, n_visible: int) -> tuple[Tensor, Tensor]:
    """Mean cosine between the modalities, of the same identity and of different ones.

    Args:
        features: Unit rows, ``[n, d]``, visible first.
        labels: ``[n]``.
        n_visible: Number of visible rows.

    Returns:
        Two scalars in [-1, 1].
    """
    similarity = features[:n_visible] @ features[n_visible:].T
    same = labels[:n_visible, None] == labels[None, n_visible:]
    return similarity[same].mean(), similarity[~same].mean()


def collapse_warning(history: Sequence[Mapping[str, Any]], *, classes: int, steps: int) -> str:
    """Look for a collapse in the last epochs.

    Args:
        history: The metrics of the epochs so far.
        classes: Number of training identities.
        steps: Steps an epoch.

    Returns:
        A warning with what was observed and what to change, or an empty string.
    """
    if len(history) * steps < _MIN_STEPS:
        return ""
    last = history[-1]
    if "identity_loss" not in last:
        return ""
    seen = []
    chance = math.log(classes)
    history = [h for h in history if "identity_loss" in h]
    stuck = [h["identity_loss"] > _STUCK * chance for h in history[-_PATIENCE:]]
    if len(stuck) == _PATIENCE and all(stuck):
        seen.append(
            f"the identity loss is {last['identity_loss']:.2f} after"
            f" {many(len(history), 'epoch')}, and "
            f"that of an untrained classifier is ln({classes}) = {chance:.2f}"
        )
        first = history[0]["terms"].get("center", 0.0)
        now = last["terms"].get("center", 0.0)
        if now < 0.7 * first:
            seen.append(f"meanwhile the center term fell from {first:.3f} to {now:.3f}")
    if last["cosine_different"] > _COLLAPSED:
        seen.append(
            "features of different identities have a mean cosine of "
            f"{last['cosine_different']:.2f} (1 means that all are equal)"
        )
    if not seen:
        return ""
    # Only some methods have a center term, and the options to limit it.
    limit = "a larger --center-gate, --center-reduction mean, " if "center" in last["terms"] else ""
    return (
        f"Collapse in epoch {last['epoch']}: {'; '.join(seen)}. This network will rank near "
        f"chance. Train again with `vireid train RECIPE` and {limit}more --epochs or another --lr."
    )
