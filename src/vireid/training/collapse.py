"""The collapse watch: says plainly when training drifts to features that tell nobody apart.

The hetero-center loss is least where every embedding is the same, or where an identity's images
scatter so that their mean is near nought. When it wins over the cross-entropy early on, the
identity loss stays near ln(classes) and the ranking is chance. DLIS guards against it (see
``DLISConfig.center_gate``); the watch sees what comes through, in any method.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

__all__ = ["collapse", "cosines"]

# A classifier that has learnt anything is below this share of ln(classes) after a few epochs.
_KNOWS_NOTHING = 0.93
# Different people whose mean cosine is above this are one point to any ranking.
_ONE_POINT = 0.9
_PATIENCE = 3
# Before so many steps even a sound network may know nothing.
_STEPS = 100


def cosines(features: Tensor, labels: Tensor, n_visible: int) -> tuple[Tensor, Tensor]:
    """Mean cosine across the modalities, of the same identity and of different ones.

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


def collapse(history: Sequence[Mapping[str, Any]], *, classes: int, steps: int) -> str:
    """Judge the last epochs.

    Args:
        history: The metrics of the epochs so far.
        classes: Number of training identities.
        steps: Steps an epoch.

    Returns:
        A warning that says what was seen and what to change, or an empty string.
    """
    if len(history) * steps < _STEPS:
        return ""
    last = history[-1]
    if "identity_loss" not in last:
        return ""
    seen = []
    nothing = math.log(classes)
    history = [h for h in history if "identity_loss" in h]
    stuck = [h["identity_loss"] > _KNOWS_NOTHING * nothing for h in history[-_PATIENCE:]]
    if len(stuck) == _PATIENCE and all(stuck):
        seen.append(
            f"the identity loss is {last['identity_loss']:.2f} after {len(history)} epochs, and a "
            f"classifier that knows nothing has ln({classes}) = {nothing:.2f}"
        )
        first = history[0]["terms"].get("center", 0.0)
        now = last["terms"].get("center", 0.0)
        if now < 0.7 * first:
            seen.append(f"meanwhile the center term fell from {first:.3f} to {now:.3f}")
    if last["cosine_different"] > _ONE_POINT:
        seen.append(
            "features of different identities have a mean cosine of "
            f"{last['cosine_different']:.2f} (1 means that all are the same)"
        )
    if not seen:
        return ""
    return (
        f"COLLAPSE WATCH, epoch {last['epoch']}: {'; '.join(seen)}. This network will rank near "
        "chance. If the center or triplet term outweighs the identity loss, use --center-gate 0.5, "
        "--center-reduction mean or a smaller --center; otherwise train longer, or with another "
        "--lr."
    )
