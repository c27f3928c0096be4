"""``vireid adapt MODEL IMAGES… --out RUN``: adapt a network to unlabelled images."""

from __future__ import annotations

import csv
import io
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from vireid.adaptation import adapt as adapt_run
from vireid.cli._flags import Switch
from vireid.cli._images import print_detected, print_skipped
from vireid.cli._invocation import command_line
from vireid.cli._memory import keep_memory
from vireid.cli.train import OutputOptions
from vireid.data.cache import default_cache
from vireid.data.inspection import inspect_image
from vireid.data.layouts import DataSource, LayoutName
from vireid.data.listing import list_images
from vireid.data.tone_mapping import ToneMapping
from vireid.errors import ConfigError, ImageError, many
from vireid.features.extract import read_image_file
from vireid.files import write_atomic
from vireid.gallery import is_gallery, open_gallery
from vireid.log import echo, log, on_stop
from vireid.methods import catalogue
from vireid.reports.adaptation_page import write_adaptation
from vireid.runs import (
    Adaptation,
    Device,
    Precision,
    Run,
    RunFolder,
    RunOptions,
    resolve_model,
    start_from,
)
from vireid.times import format_time
from vireid.types import ImageInfo, Modality

__all__ = ["adapt", "continue_adaptation"]

DEFAULT_ADAPTATION = Adaptation()
DEFAULT_OUTPUT = OutputOptions()

IMAGENET = "imagenet"
"""Starts from the backbone's ImageNet weights."""


@dataclass(frozen=True, kw_only=True)
class UnlabelledOptions:
    """The unlabelled images."""

    layout: LayoutName | None = None
    """Instead of IMAGES: adapt to the training images of a data set of this layout, at --root; its
    labels are not used."""
    root: Path | None = None
    """With --layout: folder of the data set, or its manifest."""
    trial: int = 1
    """With --layout regdb: number of the split."""
    pattern: str = ""
    """With --layout folders: pattern of the image paths."""
    modality: Literal["visible", "infrared"] | None = None
    """Modality where a manifest gives none; detected from each image by default: infrared if it
    has no colour."""
    camera: str = ""
    """Camera where a manifest gives none."""
    skip_bad: Switch = False
    """Skip and list unreadable images instead of stopping at the first."""
    tone_mapping: str = ""
    """How images of more than 8 bits are mapped to 8, as in `vireid train`; that of MODEL by
    default."""


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """The training of each round."""

    recipe: str = "dlis-strong-cpu"
    """With MODEL imagenet: the recipe whose network and losses are used."""
    rounds: int = 6
    """Largest number of rounds."""
    lr: float = 1e-3
    """Learning rate of the heads."""
    backbone_lr: float = 1e-4
    """Learning rate of the backbone, whose batch norms keep their statistics."""
    identities: int = 8
    """Clusters of a modality in a batch."""
    images: int = 4
    """Images of a cluster in a batch."""
    seed: int = 0
    """Random seed."""
    precision: Precision = "32-true"
    """Arithmetic of the network, as in `vireid train`."""
    device: Device = "auto"
    """Device; auto selects a GPU if there is one."""


def adapt(
    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")],
    images: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE...")],
    /,
    *,
    out: Path,
    data: UnlabelledOptions = UnlabelledOptions(),
    adaptation: Adaptation = DEFAULT_ADAPTATION,
    training: TrainingOptions = TrainingOptions(),
    output: OutputOptions = DEFAULT_OUTPUT,
) -> Path:
    """Adapt a network to unlabelled images of one's own cameras.

    The images need no identities: each round clusters those of each modality, matches the clusters
    across the modalities and trains on the labels found. The result is a run folder. `vireid train
    --resume RUN` continues an interrupted one.

    Args:
        model: Run folder, or the name of a ready-made model, or imagenet.
        images: Images of both modalities, as for `vireid encode`: files, folders, patterns,
            manifests. A gallery, a folder or an address, stands for the images of its entries.
        out: Run folder to create.
        data: The unlabelled images.
        adaptation: Clusters, matches and losses.
        training: The training of each round.
        output: Outputs of the training and the image cache.

    Returns:
        ``out``.
    """
    RunFolder(out).require_writable()
    run = _run(model, training, adaptation, data.tone_mapping)
    if (data.layout is None) == (not images):
        raise ConfigError(
            f"'{len(images)}' images or folders are named, and --layout is '{data.layout}';"
            " expected images or a data set: name folders, or add --layout and --root."
        )
    if data.layout is not None:
        if data.root is None:
            raise ConfigError(
                f"--layout is '{data.layout}' and --root not given; expected both; add --root."
            )
        source = DataSource(
            layout=data.layout, root=data.root.absolute(), trial=data.trial, pattern=data.pattern
        )
    else:
        RunFolder(out).require_new()
        listed = _inspected(images, data, ToneMapping.parse(run.tone_mapping))
        unknown = sum(not info.identity for info in listed)
        if adaptation.measure and unknown:
            log(
                f"--measure needs the identity of every image, and {many(unknown, 'image')} have"
                " none: nothing is measured. Add a column identity to the manifest."
            )
            run = replace(run, adaptation=replace(adaptation, measure=False))
        file = RunFolder(out).images_file
        _write_manifest(file, listed, identities=adaptation.measure and not unknown)
        source = DataSource(layout="manifest", root=file.absolute())
    return _adapt(replace(run, data=source), out, output=output)


def continue_adaptation(out: Path, run: Run, *, output: OutputOptions) -> Path:
    """Continue an interrupted adaptation.

    Args:
        out: Its run folder.
        run: Its configuration.
        output: Outputs of the training and the image cache.
    """
    RunFolder(out).require_writable()
    return _adapt(run, out, resume=True, output=output)


def _adapt(run: Run, out: Path, *, resume: bool = False, output: OutputOptions) -> Path:
    keep_memory()
    again = f"continue with `vireid train --resume {out}`."
    started = RunFolder(out).config_file.exists
    with on_stop(lambda: f"finished rounds are kept: {again}" if started() else ""):
        folder = output.cache or default_cache(run.data.root)
        adapt_run(
            run,
            out,
            resume=resume,
            keep=output.keep,
            loggers=output.log,
            cache=None if output.no_cache else folder,
        )
    page = write_adaptation(RunFolder(out), command=command_line())
    echo(f"The report is {page.resolve()}.")
    if folder.parent == out.absolute():
        # Copies of the images must not stay where nobody expects them.
        shutil.rmtree(folder, ignore_errors=True)
    return out


def _run(model: str, training: TrainingOptions, adaptation: Adaptation, tone_mapping: str) -> Run:
    """The run without its data."""
    if model == IMAGENET:
        known = catalogue()
        if training.recipe not in known:
            raise ConfigError(
                f"--recipe '{training.recipe}' is unknown; expected one of {', '.join(known)}."
            )
        name, recipe, tones = training.recipe, known[training.recipe].recipe, "auto"
    else:
        before = resolve_model(model).read_config()
        name, tones = before.name, before.tone_mapping
        recipe = replace(before.recipe, method=replace(before.recipe.method, weights="none"))
    optimisation = replace(
        recipe.optimisation,
        optimizer="adam",
        lr=training.lr,
        backbone_lr=training.backbone_lr,
        epochs=training.rounds,
        warmup=1.0,
        schedule="step",
        milestones=(),
        clip=20.0,
    )
    recipe = replace(
        recipe,
        batch=replace(recipe.batch, identities=training.identities, images=training.images),
        augmentation=replace(recipe.augmentation, channel=max(recipe.augmentation.channel, 0.5)),
        optimisation=optimisation,
    )
    options = RunOptions(
        data=DataSource(layout="manifest", root=Path()),  # set by the caller
        tone_mapping=tone_mapping or tones,
        precision=training.precision,
        device=training.device,
    )
    run = replace(options.run(name, recipe, seed=training.seed), adaptation=adaptation)
    return run if model == IMAGENET else start_from(run, model, backbone_factor=1.0)


def _inspected(
    sources: Sequence[str], options: UnlabelledOptions, tone_mapping: ToneMapping
) -> list[ImageInfo]:
    """The readable images, each once, with their modalities."""
    found: dict[str, ImageInfo] = {}
    bad, guesses, copies = list[str](), Counter[Modality](), 0
    modality = Modality(options.modality) if options.modality else None
    for info in _listed(sources, modality=modality, camera=options.camera):
        try:
            _, seen = inspect_image(read_image_file(info.path), info, tone_mapping)
        except ImageError as error:
            if not options.skip_bad:
                raise ImageError(f"{error} With --skip-bad, bad images are left out.") from error
            bad.append(str(error))
            continue
        if seen.sha256 in found:
            copies += 1
            continue
        found[seen.sha256] = seen
        if seen.guessed and seen.modality:
            guesses[seen.modality] += 1
    print_detected(guesses)
    print_skipped(bad)
    if copies:
        echo(f"{many(copies, 'image')} with the same bytes as another counted once.")
    return list(found.values())


def _listed(sources: Sequence[str], *, modality: Modality | None, camera: str) -> list[ImageInfo]:
    """The images of the sources, and of the entries of galleries among them."""
    places = [source for source in sources if is_gallery(source)]
    others = [source for source in sources if source not in places]
    found = list_images(others, modality=modality, camera=camera) if others else []
    for place in places:
        with open_gallery(place) as opened:
            entries = opened.rows(features=False, thumbnails=False)
            found += [replace(row.info, camera=row.info.camera or camera) for row in entries]
    return found


def _write_manifest(file: Path, images: Sequence[ImageInfo], *, identities: bool) -> None:
    """Write the list of the images as a data set.

    Args:
        file: The list.
        images: The images.
        identities: Write their identities, to measure by them; without, each image has its own.
    """
    cameras = any(info.camera for info in images)
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(["path", "identity", "modality", "split", "camera", "time", "tracklet"])
    for number, info in enumerate(images):
        identity = info.identity if identities else str(number)
        camera = info.camera or ("unknown" if cameras else "")
        time = format_time(info.time) if info.time else ""
        row = [info.path.absolute(), identity, info.modality, "train", camera, time]
        rows.writerow([*row, info.tracklet])
    write_atomic(file, text.getvalue().encode())
