"""The initial network of a run, which may be the trained network of another run."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import torch

from vireid.data.layouts import Layout
from vireid.data.provenance import Provenance
from vireid.errors import ConfigError, RunError, WeightsError, first_few
from vireid.log import log
from vireid.methods import Method, MethodConfig
from vireid.nn import use_fast_convolutions
from vireid.nn.weights import load_exactly
from vireid.runs.config import Run, Start
from vireid.runs.folder import RunFolder
from vireid.runs.names import flat
from vireid.runs.resolve import resolve_model

__all__ = [
    "BACKBONE_FACTOR",
    "head_names",
    "initial_network",
    "load_start",
    "record_data",
    "start_from",
]

BACKBONE_FACTOR = 0.1
"""Default factor on the backbone's learning rate of a recipe that starts from a trained network."""


def start_from(run: Run, model: str | Path, *, backbone_factor: float = BACKBONE_FACTOR) -> Run:
    """The same run, but starting from a trained network instead of the backbone's weights.

    Args:
        run: The run; its network must be that of the model.
        model: What :func:`~vireid.runs.resolve_model` takes.
        backbone_factor: Factor on the learning rate of the backbone.

    Raises:
        ConfigError: If the run has a weights file too, or the factor is not positive.
        RunError: If there is no such model, or its training is not finished.
    """
    recipe = run.recipe
    if isinstance(recipe.method.weights, Path):
        raise ConfigError(
            f"The weights '{recipe.method.weights}' and the start '{model}' exclude each other; "
            "leave out --weights or --start."
        )
    if not backbone_factor > 0:
        raise ConfigError(
            f"The factor '{backbone_factor}' on the backbone's learning rate is not possible; "
            f"expected a positive number such as {BACKBONE_FACTOR} (--backbone-factor)."
        )
    folder = resolve_model(model)
    # An installed model is found by its name on any machine.
    found = Path(folder.installed) if folder.installed else folder.path.absolute()
    start = Start(model=found, fingerprint=folder.read_model()[2])
    method = replace(recipe.method, weights="none")
    rate = recipe.optimisation.backbone_lr * backbone_factor
    optimisation = replace(recipe.optimisation, backbone_lr=rate)
    return replace(
        run, start=start, recipe=replace(recipe, method=method, optimisation=optimisation)
    )


def initial_network(run: Run, *, classes: int, restored: bool) -> Method:
    """The network of a run before its first step, without the weights of its start.

    Args:
        run: The run, whose seed draws the weights.
        classes: Number of identities.
        restored: Whether a checkpoint will replace the weights, whose file may be gone.
    """
    torch.manual_seed(run.seed)
    method = run.recipe.method
    network = (replace(method, weights="none") if restored else method).build(classes=classes)
    network = use_fast_convolutions(network).to(memory_format=torch.channels_last)
    # Before the tensors of a start or a checkpoint are loaded.
    return network.double() if run.precision == "64-true" else network


def record_data(folder: RunFolder, run: Run, layout: Layout) -> None:
    """Write what a run is trained on, unless the folder says so already.

    Args:
        folder: The run folder.
        run: The run.
        layout: Its data set.
    """
    if folder.data_file.exists():
        return
    start = resolve_model(run.start.model).read_data() if run.start else None
    labelled = run.adaptation is None
    folder.write_data(Provenance.of(layout, start=start, labelled=labelled))


def load_start(network: Method, run: Run) -> None:
    """Load the trained network that a run starts from, and log what is not loaded.

    Tensors whose shape depends on the number of identities (classifiers) keep their initial values,
    because the identities are others.

    Args:
        network: The initial network of the run.
        run: The run; nothing happens unless it has a ``start``.

    Raises:
        RunError: If the model is missing or has other weights than the run's ``config.yaml`` says,
            or its network is another one.
    """
    if run.start is None:
        return
    folder = resolve_model(run.start.model)
    state, _, fingerprint = folder.read_model()
    if fingerprint != run.start.fingerprint:
        raise RunError(
            f"The run '{folder.name}' has the weights '{fingerprint}'; expected '"
            f"{run.start.fingerprint}', which this run started from. Restore them, or train into a "
            "new folder."
        )
    heads = head_names(run.recipe.method)
    differences = _differences(folder.read_config().recipe.method, run.recipe.method)
    advice = (
        f"its options differ from this recipe's: {differences}. Use the recipe and the options of "
        "its config.yaml"
    )
    try:
        load_exactly(network, state, source=f"'{folder.name}'", advice=advice, ignore=heads)
    except WeightsError as error:
        raise RunError(str(error)) from error
    rate = run.recipe.optimisation.backbone_lr
    log(
        f"Starting from '{folder.name}' ({fingerprint}); made anew for other identities: "
        f"{first_few(heads)}; backbone learning rate {rate:g}."
        + (f" Options that differ from that run's: {differences}." if differences else "")
    )


def head_names(config: MethodConfig) -> tuple[str, ...]:
    """Names of the tensors whose shape depends on the number of identities."""
    with torch.device("meta"):
        plain = replace(config, weights="none")
        two, three = (plain.build(classes=classes).state_dict() for classes in (2, 3))
    return tuple(name for name in two if two[name].shape != three[name].shape)


def _differences(theirs: MethodConfig, own: MethodConfig) -> str:
    """Options of a network that differ from those of another, in words."""
    if theirs.kind != own.kind:
        return f"the method is {theirs.kind} there, {own.kind} here"
    there, here = (flat(asdict(config)) for config in (theirs, own))
    return ", ".join(
        f"{name} {there.get(name, 'absent')} there, {here.get(name, 'absent')} here"
        for name in sorted({*there, *here} - {"weights"})
        if there.get(name) != here.get(name)
    )
