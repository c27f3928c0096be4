"""The recipes by the names that ``vireid train`` takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import PlainSerializer, PlainValidator, SerializationInfo, TypeAdapter
from pydantic_core import PydanticCustomError

from vireid.methods import (
    agw,
    bdtr,
    caj,
    cmgan,
    d2rl,
    deen,
    dlis,
    hcml,
    mgn,
    mmn,
    pcb,
    tone,
    tslfn,
    zero_padding,
)
from vireid.methods.method import MethodConfig
from vireid.methods.recipe import Paper, Recipe, on_cpu
from vireid.plugins import Origin, loaded, origin, plugins

__all__ = ["AnyMethod", "Entry", "catalogue", "origin_of"]


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
    """All recipes by name: built-in ones by year of publication, then those of plugins.

    NAME-cpu is NAME for two CPU cores (:func:`~vireid.methods.recipe.on_cpu`).

    Raises:
        PluginError: A plugin's file cannot be imported, or declares no method.
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
        "dlis-transfer": Entry(
            dlis.transfer_recipe(),
            dlis.PAPER,
            "DLIS for other cameras and people than the training's: for SynVI worlds.",
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
        "mmn": Entry(
            mmn.recipe(),
            mmn.PAPER,
            "MMN as its code: images of a middle modality, generated from both; four stripes.",
        ),
        "deen": Entry(
            deen.recipe(),
            deen.PAPER,
            "DEEN: two more embeddings of each image, generated behind layer3.",
        ),
    }
    recipes = {}
    for name, entry in (published | _of_plugins(published)).items():
        recipes[name] = entry
        recipes[f"{name}-cpu"] = Entry(
            on_cpu(entry.recipe), entry.paper, f"{name} for two CPU cores."
        )
    # Its batches and rates are those for ImageNet's features everywhere.
    transfer = dlis.transfer_recipe()
    recipes["dlis-transfer-cpu"] = replace(
        recipes["dlis-transfer-cpu"], recipe=replace(transfer, method=transfer.method.on_cpu())
    )
    return recipes


def origin_of(run: str, config: MethodConfig) -> Origin | None:
    """The plugin that a method comes from; None for a built-in one.

    Args:
        run: The recipe's name, which decides where a plugin has several of one method.
        config: The options of the method.
    """
    known = catalogue()
    names = [name for name in plugins("methods") if name in known]
    names.sort(key=lambda name: name != run.removesuffix("-cpu"))
    own = (name for name in names if type(known[name].recipe.method) is type(config))
    name = next(own, None)
    return origin("methods", name) if name else None


def _of_plugins(published: Mapping[str, Entry]) -> dict[str, Entry]:
    kinds = {
        type(entry.recipe.method).kind: type(entry.recipe.method) for entry in published.values()
    }

    def check(name: str, entry: object) -> str:
        if not isinstance(entry, Entry):
            return f"is a '{type(entry).__name__}'; expected a vireid.methods.Entry"
        if name in published or name.endswith("-cpu"):
            return (
                "has the name of a built-in recipe"
                if name in published
                else "ends in -cpu, which names the recipe for two CPU cores"
            ) + "; expected another name"
        config = type(entry.recipe.method)
        kind = vars(config).get("kind")
        if not isinstance(kind, str) or kinds.setdefault(kind, config) is not config:
            return (
                f"has the options {config.__name__} without a kind of their own; add a line such as"
                f' `kind: ClassVar[str] = "{name}"` to the class, with a name that no other has'
            )
        try:
            on_cpu(entry.recipe)
        except Exception as error:  # a plugin's code raises anything
            return f"has no recipe for two CPU cores: on_cpu raises {type(error).__name__}: {error}"
        return ""

    return loaded("methods", check)


def _read_method(given: object) -> MethodConfig:
    """The options of a method, from its fields in config.yaml."""
    if isinstance(given, MethodConfig):
        return given
    if not isinstance(given, dict):
        raise PydanticCustomError("method", "Input should be the options of a method")
    options = dict(given)
    kind = options.pop("kind", None)
    known = {m.kind: type(m) for m in (entry.recipe.method for entry in catalogue().values())}
    if kind not in known:
        raise PydanticCustomError(
            "method",
            "the kind '{kind}' is unknown; expected one of {known}",
            {"kind": str(kind), "known": ", ".join(known)},
        )
    config: MethodConfig = TypeAdapter(known[kind]).validate_python(options)
    return config


def _write_method(config: MethodConfig, info: SerializationInfo) -> dict[str, Any]:
    """The fields of config.yaml."""
    mode: Literal["json", "python"] = "json" if info.mode_is_json() else "python"
    plain = TypeAdapter(type(config)).dump_python(config, mode=mode, warnings=False)
    return {"kind": config.kind, **plain}


AnyMethod = Annotated[MethodConfig, PlainValidator(_read_method), PlainSerializer(_write_method)]
"""The options of any method in the catalogue; ``kind`` in config.yaml says of which."""
