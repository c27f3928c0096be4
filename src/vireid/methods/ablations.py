"""Ablation presets of DLIS: the choices of its reconstruction, with alternatives.

Entries are arguments of ``vireid ablate --vary``. Values that the recipe has already are not run
again, so that the lists fit every recipe of DLIS.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from vireid.errors import ConfigError
from vireid.methods.dlis import DLISConfig
from vireid.methods.method import MethodConfig

__all__ = ["DLIS_ABLATIONS", "Part", "preset"]

Part = Literal["palm", "center", "stripes", "sharing", "embedding"]

DLIS_ABLATIONS: Mapping[Part, tuple[str, ...]] = {
    # Off; behind layer3; within each stripe; one a modality; scaled logits; how the sum is scaled;
    # logits that depend on positions.
    "palm": (
        "palm=off,layer3,layer4,stripes",
        "palm-shared=yes,no",
        "palm-scaled=yes,no",
        "palm-branch=gamma,batch_norm,centred",
        "palm-position=none,relative",
    ),
    # Off; other lambdas; sum or mean over the identities of a batch.
    "center": ("center=0,0.1,0.5,1", "center-reduction=sum,mean"),
    "stripes": ("stripes=1,2,3,6,9",),
    "sharing": ("shared-from=None,stem,layer1,layer2,layer3,layer4",),
    "embedding": ("dim=128,256,512",),
}
"""Arguments of ``--vary`` by part of DLIS."""


def preset(part: Part | Literal["all"], method: MethodConfig) -> tuple[str, ...]:
    """The arguments of ``--vary`` for the ablation of a part of DLIS.

    Args:
        part: The part, or all of them.
        method: The options of the method.

    Raises:
        ConfigError: If the method is not DLIS with PALM.
    """
    if not isinstance(method, DLISConfig) or method.palm == "off":
        raise ConfigError(
            f"--preset '{part}' is for recipes of DLIS with PALM; expected dlis, dlis-cpu, "
            "dlis-strong or dlis-strong-cpu. For other recipes use --vary, such as "
            "--vary lr=0.01,0.003."
        )
    parts = DLIS_ABLATIONS.values() if part == "all" else [DLIS_ABLATIONS[part]]
    return tuple(words for varied in parts for words in varied)
