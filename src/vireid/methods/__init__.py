"""Published methods: one module per paper, with its citation, losses and recipe.

To add a method, write a module with a :class:`MethodConfig`, a :class:`Method` and a recipe, and
list the recipe in :func:`catalogue`.
"""

from typing import TYPE_CHECKING, Annotated, TypeAlias, Union

from pydantic import Field

from vireid.methods.catalogue import Entry, catalogue
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

if TYPE_CHECKING:
    AnyMethod: TypeAlias = MethodConfig
else:
    AnyMethod = Annotated[
        Union[tuple({type(entry.recipe.method): None for entry in catalogue().values()})],  # noqa: UP007
        Field(discriminator="kind"),
    ]
"""The options of any method in the catalogue; ``kind`` in config.yaml says of which."""
