"""Methods of the field: one paper, one module, its citation on top and its recipe below."""

from vireid.methods.dlis import DLIS, DLISConfig, dlis, dlis_strong
from vireid.methods.method import Losses, Method
from vireid.methods.recipe import Batch, Optimisation, Recipe
from vireid.methods.tslfn import tslfn, tslfn_strong

__all__ = [
    "DLIS",
    "Batch",
    "DLISConfig",
    "Losses",
    "Method",
    "Optimisation",
    "Recipe",
    "dlis",
    "dlis_strong",
    "tslfn",
    "tslfn_strong",
]
