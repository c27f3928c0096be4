"""The recipes by the names that ``vireid train`` takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vireid.methods import (
    agw,
    bdtr,
    caj,
    cmgan,
    d2rl,
    dlis,
    hcml,
    mgn,
    pcb,
    tone,
    tslfn,
    zero_padding,
)
from vireid.methods.recipe import Paper, Recipe, on_cpu

__all__ = ["Entry", "catalogue"]


@dataclass(frozen=True)
class Entry:
    """A recipe of the catalogue.

    Attributes:
        recipe: The recipe.
        paper: The publication of its method.
        summary: One line.
    """

    recipe: Recipe[Any]
    paper: Paper
    summary: str


def catalogue() -> dict[str, Entry]:
    """All recipes by name, ordered by the year of publication.

    NAME-cpu is NAME for two CPU cores (:func:`~vireid.methods.recipe.on_cpu`).
    """
    published = {
        "zero-padding": Entry(
            zero_padding.recipe(),
            zero_padding.PAPER,
            "Deep zero-padding: one network, an input channel for each modality, identity loss.",
        ),
        "tone": Entry(
            tone.recipe(),
            tone.PAPER,
            "TONE as published: two streams, a shared embedding, contrastive loss.",
        ),
        "hcml": Entry(
            hcml.recipe(),
            hcml.PAPER,
            "HCML: TONE, and a metric fitted to its features after training.",
        ),
        "bdtr": Entry(
            bdtr.recipe(),
            bdtr.PAPER,
            "BDTR as published: two streams, a shared embedding, bi-directional top-ranking loss.",
        ),
        "cmgan": Entry(
            cmgan.recipe(),
            cmgan.PAPER,
            "cmGAN: one network against a discriminator that predicts the modality.",
        ),
        "pcb": Entry(
            pcb.recipe(),
            pcb.PAPER,
            "PCB as published: one network, six stripes, a classifier for each.",
        ),
        "mgn": Entry(
            mgn.recipe(),
            mgn.PAPER,
            "MGN as reproduced: one trunk, three branches for whole, halves and thirds.",
        ),
        "d2rl": Entry(
            d2rl.recipe(),
            d2rl.PAPER,
            "D2RL: translates images into the other modality, then one network on four channels.",
        ),
        "tslfn": Entry(
            tslfn.recipe(),
            tslfn.PAPER,
            "TSLFN with hetero-center loss: the dlis recipe with PALM off.",
        ),
        "tslfn-strong": Entry(
            tslfn.strong_recipe(), tslfn.PAPER, "The dlis-strong recipe with PALM off."
        ),
        "dlis": Entry(
            dlis.recipe(),
            dlis.PAPER,
            "DLIS with PALM, the paper-like recipe (two ResNet-50 streams, SGD, 60 epochs).",
        ),
        "dlis-strong": Entry(
            dlis.strong_recipe(),
            dlis.PAPER,
            "DLIS with improvements of later work: good results in few epochs, on a CPU too.",
        ),
        "agw": Entry(
            agw.recipe(),
            agw.PAPER,
            "AGW as published: a shared ResNet-50 trunk, non-local blocks, weighted triplet loss.",
        ),
        "caj": Entry(
            caj.recipe(),
            caj.PAPER,
            "CAJ as published: AGW with each visible image also as one of its colour channels.",
        ),
    }
    recipes = {}
    for name, entry in published.items():
        recipes[name] = entry
        recipes[f"{name}-cpu"] = Entry(
            on_cpu(entry.recipe), entry.paper, f"{name} for two CPU cores."
        )
    return recipes
