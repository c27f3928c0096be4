"""Methods of the field: one paper, one module, its citation on top and its recipe below.

Adding a method is one module with a :class:`MethodConfig` and a :class:`Method`, one name in
:data:`AnyMethod`, and its recipes in :mod:`vireid.commands.train`.
"""

from typing import Annotated, TypeAlias

from pydantic import Field

from vireid.methods import agw, dlis, tslfn
from vireid.methods.agw import AGW, AGWConfig
from vireid.methods.dlis import DLIS, DLISConfig
from vireid.methods.method import Losses, Method, MethodConfig
from vireid.methods.recipe import Batch, Optimisation, Recipe

__all__ = [
    "AGW",
    "DLIS",
    "AGWConfig",
    "AnyMethod",
    "Batch",
    "DLISConfig",
    "Losses",
    "Method",
    "MethodConfig",
    "Optimisation",
    "Recipe",
    "agw",
    "dlis",
    "tslfn",
]

AnyMethod: TypeAlias = Annotated[DLISConfig | AGWConfig, Field(discriminator="kind")]
"""The options of any method; a config.yaml says by ``kind`` whose they are."""
