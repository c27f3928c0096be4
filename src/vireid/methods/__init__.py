"""Published methods: one module per paper, with its citation, losses and recipe.

A method of your own needs no change here: a package or a file declares its :class:`Entry`, with a
:class:`MethodConfig`, a :class:`Method` and a recipe (docs/plugins.md).
"""

from vireid.methods.catalogue import AnyMethod, Entry, catalogue
from vireid.methods.dlis import DLIS, DLISConfig
from vireid.methods.method import Losses, Method, MethodConfig, OptimizerStep, Phase
from vireid.methods.recipe import Batch, Optimisation, Paper, Recipe, on_cpu

__all__ = [
    "DLIS",
    "AnyMethod",
    "Batch",
    "DLISConfig",
    "Entry",
    "Losses",
    "Method",
    "MethodConfig",
    "Optimisation",
    "OptimizerStep",
    "Paper",
    "Phase",
    "Recipe",
    "catalogue",
    "on_cpu",
]
