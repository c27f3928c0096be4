"""Methods of the field: one paper, one module, its citation on top and its recipe below."""

from vireid.methods import dlis, tslfn
from vireid.methods.dlis import DLIS, DLISConfig
from vireid.methods.method import Losses, Method
from vireid.methods.recipe import Batch, Optimisation, Recipe

__all__ = [
    "DLIS",
    "Batch",
    "DLISConfig",
    "Losses",
    "Method",
    "Optimisation",
    "Recipe",
    "dlis",
    "tslfn",
]
