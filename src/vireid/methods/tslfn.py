"""TSLFN with hetero-center loss.

Y. Zhu, Z. Yang, L. Wang, S. Zhao, X. Hu, D. Tao: "Hetero-Center Loss for Cross-Modality Person
Re-Identification", Neurocomputing 2020.

The idea: two ResNet-50 streams, six horizontal stripes, cross-entropy and hetero-center loss on
each: DLIS without PALM, whose class this module uses.
"""

from vireid.methods import dlis
from vireid.methods.dlis import DLISConfig, without_palm
from vireid.methods.recipe import Paper, Recipe

__all__ = ["PAPER", "recipe", "strong_recipe"]

PAPER = Paper(
    name="TSLFN + HC",
    authors="Zhu et al.",
    title="Hetero-Center Loss for Cross-Modality Person Re-Identification",
    venue="Neurocomputing",
    year=2020,
)


def recipe() -> Recipe[DLISConfig]:
    """TSLFN as published: the recipe of DLIS with PALM off."""
    return without_palm(dlis.recipe())


def strong_recipe() -> Recipe[DLISConfig]:
    """The strong recipe of DLIS with PALM off, for comparison with PALM."""
    return without_palm(dlis.strong_recipe())
