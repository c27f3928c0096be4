"""The recipes by the names that the shell knows them by."""

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
from vireid.methods.recipe import Paper, Recipe

__all__ = ["Entry", "catalogue"]


@dataclass(frozen=True)
class Entry:
    """A recipe as the shell offers it.

    Attributes:
        recipe: The recipe.
        paper: Where its method is from.
        summary: What it is, in one line.
    """

    recipe: Recipe[Any]
    paper: Paper
    summary: str


def catalogue() -> dict[str, Entry]:
    """All recipes by name, by the year of their papers; NAME-cpu is NAME for two cores."""
    return {
        "zero-padding": Entry(
            zero_padding.recipe(),
            zero_padding.PAPER,
            "Deep zero-padding: one network, an input plane a modality, identity loss.",
        ),
        "zero-padding-cpu": Entry(
            zero_padding.cpu_recipe(), zero_padding.PAPER, "zero-padding for two cores."
        ),
        "tone": Entry(
            tone.recipe(),
            tone.PAPER,
            "TONE as published: two streams, a shared embedding, contrastive loss.",
        ),
        "tone-cpu": Entry(tone.cpu_recipe(), tone.PAPER, "tone for two cores."),
        "hcml": Entry(
            hcml.recipe(),
            hcml.PAPER,
            "HCML: TONE, and a metric fitted to its features once it is trained.",
        ),
        "hcml-cpu": Entry(hcml.cpu_recipe(), hcml.PAPER, "hcml for two cores."),
        "bdtr": Entry(
            bdtr.recipe(),
            bdtr.PAPER,
            "BDTR as published: two streams, a shared embedding, top-ranking both ways.",
        ),
        "bdtr-cpu": Entry(bdtr.cpu_recipe(), bdtr.PAPER, "bdtr for two cores."),
        "cmgan": Entry(
            cmgan.recipe(),
            cmgan.PAPER,
            "cmGAN: one network against a discriminator that predicts the modality.",
        ),
        "cmgan-cpu": Entry(cmgan.cpu_recipe(), cmgan.PAPER, "cmgan for two cores."),
        "pcb": Entry(
            pcb.recipe(),
            pcb.PAPER,
            "PCB as published: one network, six stripes, a classifier each.",
        ),
        "pcb-cpu": Entry(pcb.cpu_recipe(), pcb.PAPER, "pcb for two cores."),
        "mgn": Entry(
            mgn.recipe(),
            mgn.PAPER,
            "MGN as reproduced: one trunk, three branches for whole, halves and thirds.",
        ),
        "mgn-cpu": Entry(mgn.cpu_recipe(), mgn.PAPER, "mgn for two cores."),
        "d2rl": Entry(
            d2rl.recipe(),
            d2rl.PAPER,
            "D2RL: images translated into the other modality first, then one four-plane network.",
        ),
        "d2rl-cpu": Entry(d2rl.cpu_recipe(), d2rl.PAPER, "d2rl for two cores."),
        "tslfn": Entry(
            tslfn.recipe(),
            tslfn.PAPER,
            "TSLFN with hetero-center loss: the dlis recipe with PALM off.",
        ),
        "tslfn-cpu": Entry(tslfn.cpu_recipe(), tslfn.PAPER, "tslfn for two cores."),
        "tslfn-strong": Entry(
            tslfn.strong_recipe(), tslfn.PAPER, "The dlis-strong recipe with PALM off."
        ),
        "tslfn-strong-cpu": Entry(
            tslfn.strong_cpu_recipe(), tslfn.PAPER, "tslfn-strong for two cores."
        ),
        "dlis": Entry(
            dlis.recipe(),
            dlis.PAPER,
            "DLIS with PALM, the paper-like recipe (two ResNet-50 streams, SGD, 60 epochs).",
        ),
        "dlis-cpu": Entry(dlis.cpu_recipe(), dlis.PAPER, "dlis for two cores."),
        "dlis-strong": Entry(
            dlis.strong_recipe(),
            dlis.PAPER,
            "DLIS with what later work found: good results in few epochs, on a CPU too.",
        ),
        "dlis-strong-cpu": Entry(
            dlis.strong_cpu_recipe(), dlis.PAPER, "dlis-strong for two cores, as in the demo."
        ),
        "agw": Entry(
            agw.recipe(),
            agw.PAPER,
            "AGW as published: a shared ResNet-50 trunk, non-local blocks, weighted triplets.",
        ),
        "agw-cpu": Entry(agw.cpu_recipe(), agw.PAPER, "agw for two cores."),
        "caj": Entry(
            caj.recipe(),
            caj.PAPER,
            "CAJ as published: AGW with visible images seen a second time without their colours.",
        ),
        "caj-cpu": Entry(caj.cpu_recipe(), caj.PAPER, "caj for two cores."),
    }
