"""``python models/pack.py RUN NAME``: make an installable model of a finished run.

Writes `src/vireid_models/NAME`: the weights in half precision (tensors of one dimension, such as
those of batch norms, in single precision), without identity classifiers and without any path of
this machine, and a model card. Figures are those of result files, which must be of these weights:
pack the run, evaluate NAME, and pack it again with ``--results NAME-results/*.json``.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from string import Template
from typing import Annotated, Any

import torch
import tyro
from torch import Tensor

from vireid.errors import ConfigError, EvaluationError, RunError, VireidError
from vireid.evaluation import Result
from vireid.evaluation.markdown import markdown_table
from vireid.features import TorchBackend, load
from vireid.features.extractor import about_run, trained_network
from vireid.files import write_atomic
from vireid.log import echo
from vireid.methods import MethodConfig
from vireid.methods.catalogue import origin_of
from vireid.models import DESCRIPTION, Description, Figure
from vireid.plugins import origin
from vireid.runs import Run, RunFolder, resolve_model
from vireid.runs.start import head_names
from vireid.types import Modality

__all__ = ["interpolated", "pack"]

HERE = Path(__file__).parent
MAX_MEGABYTES = 25.0
"""Maximum size of all models together."""
MIN_COSINE = 0.999
"""Minimum cosine of a feature in half precision and in single precision."""


def pack(
    run: Annotated[Path, tyro.conf.Positional],
    name: Annotated[str, tyro.conf.Positional],
    /,
    *,
    out: Path = HERE / "src" / "vireid_models",
    summary: str = "",
    interpolate: float = 1.0,
    results: tuple[Path, ...] = (),
) -> Path:
    """Make an installable model of a finished run.

    Args:
        run: Finished run folder.
        name: Name of the model.
        out: Folder of the models.
        summary: One line for `vireid models`; by default names the training data.
        interpolate: Share of the trained weights where the start is ImageNet's; below 1, these
            weights are interpolated linearly (WiSE-FT, Wortsman et al., "Robust fine-tuning of
            zero-shot models", CVPR 2022).
        results: Result files of `vireid evaluate NAME`, for the figures.

    Returns:
        The folder of the model.
    """
    folder = resolve_model(run)
    config, data = folder.read_config(), folder.read_data()
    method = config.recipe.method
    if found := origin_of(config.name, method) or origin("layouts", config.data.layout):
        raise ConfigError(
            f"'{folder.path}' needs the plugin {found}; expected a run of vireid's own methods and"
            " layouts, because an installed model is loaded without plugins."
        )
    network = trained_network(folder, config)
    if not 0 <= interpolate <= 1:
        raise ConfigError(f"--interpolate is {interpolate:g}; expected 0 (ImageNet) to 1 (trained)")
    if interpolate < 1:
        network.load_state_dict(interpolated(network.state_dict(), config, interpolate))
    stored = _for_storage(network.state_dict(), method)
    packed = RunFolder(out / name)
    packed.path.mkdir(parents=True, exist_ok=True)
    # An installed model runs on any machine: in float32, on a GPU if there is one.
    neutral = _without_paths(config, name)
    neutral = replace(neutral, device="auto", precision="32-true", compile=False)
    packed.write_config(neutral, comment=f"the training of the model {name}, see MODEL_CARD.md")
    packed.write_data(data)
    fingerprint = packed.write_model(stored, classes=2)
    cosine = _smallest_cosine(TorchBackend(network, device="cpu"), packed.path)
    if not cosine >= MIN_COSINE:
        raise RunError(
            f"'{packed.path}' is not the network of '{folder.path}': the cosine of their features"
            f" is {cosine:.4f}; expected {MIN_COSINE:g} or more; this method cannot be packed."
        )
    about = Description(
        task="re-identification",
        summary=summary or f"Trained on {data.trained_on}",
        licence="Apache-2.0",
        size=method.size,
        fingerprint=fingerprint,
        figures=tuple(_figure(Result.load(file), file, fingerprint) for file in results),
    )
    write_atomic(packed.path / DESCRIPTION, about.to_json())
    training = {**about_run(replace(neutral, precision=config.precision)), "data": data.trained_on}
    card = _card(name, about, training, interpolate)
    write_atomic(packed.path / "MODEL_CARD.md", card.encode())
    total = sum(file.stat().st_size for file in out.rglob("*") if file.is_file()) / 1e6
    echo(
        f"'{packed.path}': weights {fingerprint}, {len(about.figures)} figures, cosine to the run's"
        f" features at least {cosine:.6f}; all models together {total:.1f} MB."
    )
    if total > MAX_MEGABYTES:
        raise ConfigError(
            f"'{out}' holds {total:.1f} MB; expected at most {MAX_MEGABYTES:g}; remove a model."
        )
    return packed.path


def interpolated(state: Mapping[str, Tensor], run: Run, share: float) -> dict[str, Tensor]:
    """Trained weights, interpolated with ImageNet's where the training started from those.

    Args:
        state: The trained tensors.
        run: The run; it, or the first of the runs that it was started from, starts from ImageNet's
            weights.
        share: Weight of the trained tensors, 0 to 1.

    Raises:
        ConfigError: The training did not start from ImageNet's weights.
    """
    first = run
    while first.start:
        first = resolve_model(first.start.model).read_config()
    weights = first.recipe.method.weights
    if weights != "imagenet":
        raise ConfigError(
            f"The training started from '{weights}'; expected --weights imagenet, to interpolate"
            " with: remove --interpolate."
        )
    method = replace(run.recipe.method, weights=weights)
    initial = []
    for seed, config in ((0, method), (1, method), (0, replace(method, weights="none"))):
        torch.manual_seed(seed)
        initial.append(config.build(classes=2).state_dict())
    start, other, plain = initial
    # ImageNet's are the tensors that depend on no seed and differ from those of no weights.
    known = {
        key
        for key, tensor in start.items()
        if tensor.is_floating_point()
        and torch.equal(tensor, other[key])
        and not torch.equal(tensor, plain[key])
    }
    return {
        key: torch.lerp(start[key], tensor, share) if key in known else tensor
        for key, tensor in state.items()
    }


def _without_paths(run: Run, name: str) -> Run:
    """The configuration with names instead of paths of this machine."""
    method, start = run.recipe.method, run.start
    if isinstance(method.weights, Path):
        method = replace(method, weights=Path(method.weights.name))
    return replace(
        run,
        # A folder that hardly exists, so that no other data is taken for that of the training.
        data=run.data.at(Path(f"data-of-{name}") / run.data.root.name),
        start=start and replace(start, model=Path(start.model.name)),
        recipe=replace(run.recipe, method=method),
    )


def _for_storage(state: Mapping[str, Tensor], method: MethodConfig) -> dict[str, Tensor]:
    """The tensors in half precision, with classifiers of two classes and zeros.

    Raises:
        RunError: A value does not fit half precision.
    """
    with torch.device("meta"):
        shapes = replace(method, weights="none").build(classes=2).state_dict()
    heads = head_names(method)
    stored = {}
    for key, tensor in state.items():
        if key in heads:
            stored[key] = torch.zeros(shapes[key].shape)
        elif tensor.is_floating_point() and tensor.dim() > 1:
            stored[key] = tensor.half()
        else:
            stored[key] = tensor
        if not stored[key].isfinite().all():
            raise RunError(f"'{key}' has values beyond those of half precision; train again.")
    return stored


def _smallest_cosine(run: TorchBackend, packed: Path) -> float:
    """The smallest cosine of the features of a few random images, in both modalities."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(8, 3, 8, 4, generator=generator)
    images = torch.nn.functional.interpolate(coarse, run.size, mode="bilinear").mul(255).byte()
    model = load(packed, device="cpu").backend
    return min(
        float((run.extract_features(images, m) * model.extract_features(images, m)).sum(1).min())
        for m in Modality
    )


def _figure(result: Result, file: Path, fingerprint: str) -> Figure:
    """The figure of a result.

    Raises:
        EvaluationError: It is of other weights.
    """
    if result.weights_fingerprint != fingerprint:
        raise EvaluationError(
            f"'{file}' is of the weights '{result.weights_fingerprint}'; expected '{fingerprint}':"
            " evaluate the packed model, and pack the same run with the same options."
        )
    data = [f"images of {result.data}"] if result.data else []
    return Figure(
        on=", ".join([result.title, result.convention.split("(")[0].strip(), *data]),
        scores={k: round(100 * result.scores[k].mean, 1) for k in ("R-1", "mAP")},
        chance={
            "R-1": round(100 * result.chance.cmc[0], 1),
            "mAP": round(100 * result.chance.mean_ap, 1),
        },
    )


def _card(name: str, about: Description, training: Mapping[str, str], share: float) -> str:
    rows = [["data, protocol, direction", "R-1", "mAP", "chance R-1", "chance mAP"]]
    for figure in about.figures:
        values = [*figure.scores.values(), *figure.chance.values()]
        rows.append([figure.on, *(f"{value:.1f}" for value in values)])
    return Template((HERE / "card.md").read_text(encoding="utf-8")).substitute(
        name=name,
        summary=about.summary,
        licence=about.licence,
        fingerprint=about.fingerprint,
        input="x".join(map(str, about.size)),
        training="\n".join(f"- {key}: {value}" for key, value in training.items()),
        interpolation=f"{100 * share:.0f} % trained, {100 - 100 * share:.0f} % ImageNet"
        if share < 1
        else "none",
        figures=markdown_table(rows, left=1) if about.figures else "No figures yet.",
    )


def main(words: list[str] | None = None) -> Any:
    """The command."""
    try:
        return tyro.cli(pack, args=words, prog="pack.py")
    except VireidError as error:
        sys.exit(f"pack.py: {error}")


if __name__ == "__main__":
    main()
