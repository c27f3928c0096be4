"""``vireid demo``: from nothing to a report, on synthetic people."""

from __future__ import annotations

import csv
import io
import shlex
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import torch
import tyro

from vireid.cli._invocation import command_line
from vireid.cli.evaluate import extract_for, score_extractor
from vireid.cli.synvi import require_renderer
from vireid.cli.train import train_run
from vireid.data.layouts import DataSource, SysuMM01
from vireid.errors import many
from vireid.evaluation import Protocol, Result, protocols_for, search, table
from vireid.features import FeatureExtractor, load
from vireid.files import write_atomic
from vireid.log import echo, log
from vireid.methods import DLISConfig, Recipe, dlis, on_cpu, tslfn
from vireid.reports import (
    AttentionPanel,
    EmbeddedFigure,
    FigureSection,
    Step,
    attention_figure,
    cmc_figure,
    ranking_figure,
    ranking_lists,
    training_figure,
    write_report,
)
from vireid.runs import Device, Precision, Run, RunFolder
from vireid.times import format_time
from vireid.types import Features, ImageRecord, Modality

if TYPE_CHECKING:
    from vireid.synvi.presets import Preset, PresetName

__all__ = ["EPOCHS", "PROGRAM", "demo", "run_demo"]

EPOCHS = 10
"""Fewer than the recipe's 16: the whole demo takes at most ten minutes on two cores without
bfloat16."""

PROGRAM = Path(sys.executable).parent / "vireid"
"""The program of this environment, whether its folder is on the PATH or not."""

_OPENING = datetime(2026, 6, 1, 7, tzinfo=UTC)
"""When the first of the synthetic people passes a camera of the day."""


def demo(
    out: Annotated[Path, tyro.conf.Positional] = Path("demo"),
    /,
    *,
    compare: bool = False,
    epochs: int = EPOCHS,
    seed: int = 0,
    device: Device = "auto",
) -> Path:
    """Render synthetic people, train DLIS on them, evaluate it, and write a report.

    Needs no data and no download. Takes 5 to 10 minutes on two cores, with --compare 9 to 16. Run
    the same command again to continue after an interruption.

    Args:
        out: Output folder of the data, the runs and the report.
        compare: Also train TSLFN, which is DLIS without PALM, and compare the two.
        epochs: Number of training epochs of each network.
        seed: Seed of the people and of the networks.
        device: auto takes a GPU when there is one.

    Returns:
        The report, an HTML page that stands alone.
    """
    return run_demo(out, preset="demo", compare=compare, epochs=epochs, seed=seed, device=device)


def run_demo(
    out: Path,
    *,
    preset: PresetName | Preset,
    crowd: Preset | None = None,
    compare: bool = False,
    epochs: int,
    seed: int,
    device: Device,
) -> Path:
    """The demo on any number of synthetic people; see :func:`demo`.

    Args:
        out: As of `demo`.
        preset: The people to train on and to evaluate on.
        crowd: The people who are only added to the gallery; ``CROWD`` by default.
        compare: As of `demo`.
        epochs: As of `demo`.
        seed: As of `demo`.
        device: As of `demo`.
    """
    require_renderer()
    from vireid import synvi
    from vireid.synvi.presets import CROWD

    began = time.perf_counter()
    data = out / "synvi"
    recipes = {"DLIS": ("dlis-strong-cpu", on_cpu(dlis.strong_recipe()))}
    if compare:
        recipes["TSLFN"] = ("tslfn-strong-cpu", on_cpu(tslfn.strong_recipe()))
    runs = {name: _run(*recipe, data, epochs, seed, device) for name, recipe in recipes.items()}
    steps = 3 + len(runs)
    log(f"\n1/{steps}  Rendering synthetic people to train and evaluate on")
    rendered = synvi.render(data, layout="sysu-mm01", preset=preset, seed=seed)
    log(f"\n2/{steps}  Rendering a crowd of other people for the gallery")
    synvi.render(out / "crowd", layout="sysu-mm01", preset=crowd or CROWD, seed=seed + 1000)
    _write_manifest(out / "people.csv", {"": data, "crowd ": out / "crowd"})
    layout = SysuMM01(data)
    encoders: dict[str, FeatureExtractor] = {}
    for step, (name, run) in enumerate(runs.items(), start=3):
        backbone = run.recipe.method.backbone
        log(f"\n{step}/{steps}  Training {name} ({backbone}, {many(epochs, 'epoch')})")
        encoders[name] = load(_trained(run, out / "runs" / name.lower()))
    log(f"\n{steps}/{steps}  Evaluating")
    first = runs["DLIS"]
    classes = len({record.identity for record in layout.train()})
    encoders["DLIS untrained"] = FeatureExtractor.untrained(first, classes=classes)
    protocols = protocols_for(layout)
    described = {name: extract_for(extractor, protocols) for name, extractor in encoders.items()}
    results = {
        name: score_extractor(extractor, described[name], protocols)
        for name, extractor in encoders.items()
    }
    shown = {name: found[0] for name, found in results.items()}
    echo(f"{protocols[0].name}, {protocols[0].direction}, on synthetic people, one run each\n")
    echo(table(shown))
    next_steps = _next_steps(out, compare=compare, epochs=epochs, seed=seed)
    report = write_report(
        out / "report.html",
        title="vireid demo: DLIS with PALM on synthetic people",
        facts={
            "data": f"SynVI, preset {rendered.preset}, seed {seed}: {rendered.identities} "
            f"synthetic identities, {rendered.images} images, the six cameras of SYSU-MM01",
            "training": f"{classes} identities, {many(epochs, 'epoch')}, recipe dlis-strong-cpu"
            + ("; TSLFN is the same with PALM off" if compare else ""),
            "backbone": f"{first.recipe.method.backbone}, from ImageNet weights",
            "input": "x".join(map(str, first.recipe.method.size)) + " pixels (height x width)",
            "seed": f"{seed}, one run each",
            "device": _device_name(device),
            "precision": first.precision,
        },
        results=results,
        figures=_figures(
            encoders["DLIS"],
            described["DLIS"],
            shown,
            protocols[0],
            {name: RunFolder(out / "runs" / name.lower()).read_metrics() for name in runs},
        ),
        notes=[
            "These people are synthetic and so are these numbers: they show that the software "
            "works, and say nothing about accuracy on real people.",
            "One run each: differences of a few points between two networks are noise.",
        ],
        next_steps=next_steps,
        command=command_line(),
    )
    minutes = (time.perf_counter() - began) / 60
    echo(f"\nThe report is {report.resolve()} ({minutes:.1f} minutes).")
    for following in next_steps:
        echo(f"{following.text}:\n  {following.command}")
    return report


def _write_manifest(file: Path, trees: Mapping[str, Path]) -> None:
    """List all images of some trees, to be searched; times are synthetic, as the people are.

    Args:
        file: The manifest to write.
        trees: Folders in the form of SYSU-MM01, by what the names of their people begin with.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "identity", "camera", "modality", "time"])
    for prefix, tree in trees.items():
        layout = SysuMM01(tree)
        for record in sorted([*layout.train(), *layout.test()]):
            # A person passes every few minutes, by night past the infrared cameras.
            hours = 0 if record.modality is Modality.VISIBLE else 15
            passed = timedelta(hours=hours, minutes=3 * record.identity + record.camera)
            writer.writerow(
                [
                    record.path.relative_to(file.parent),
                    f"{prefix}{record.identity}",
                    record.camera,
                    record.modality,
                    format_time(_OPENING + passed),
                ]
            )
    write_atomic(file, text.getvalue().encode())


def _run(
    name: str, recipe: Recipe[DLISConfig], root: Path, epochs: int, seed: int, device: Device
) -> Run:
    """A recipe on the demo's data."""
    return Run(
        name=name,
        recipe=replace(recipe, optimisation=replace(recipe.optimisation, epochs=epochs)),
        data=DataSource(layout="sysu-mm01", root=root),
        seed=seed,
        precision=_precision(device),
        device=device,
    )


def _trained(run: Run, folder: Path) -> Path:
    """Train, or go on with what an earlier call began."""
    resume = RunFolder(folder).config_file.exists()
    return train_run(run, folder, resume=resume)


def _figures(
    extractor: FeatureExtractor,
    features: Features,
    results: Mapping[str, Result],
    protocol: Protocol,
    histories: Mapping[str, Sequence[Mapping[str, object]]],
) -> list[FigureSection]:
    lists = ranking_lists(search(features, protocol))
    infrared = lists[0].query
    visible = next(r for r in protocol.records if _shows(r, infrared.identity))
    return [
        FigureSection(
            "Cumulative matching characteristic",
            "How often the right person is among the first r.",
            (
                EmbeddedFigure.of(
                    cmc_figure(results), alt="CMC curves of the networks and of chance"
                ),
            ),
        ),
        FigureSection(
            "Ranking lists of DLIS",
            "An infrared query on the left and its ten most similar visible images. Queries are "
            "a fair mix: the best, the median and the worst by average precision.",
            (
                EmbeddedFigure.of(
                    ranking_figure(lists),
                    alt="Six infrared queries, each with its ten nearest visible images",
                    wide=True,
                ),
            ),
        ),
        FigureSection(
            "Where PALM looks",
            "For five positions of the feature map (the dots), the weights with which they gather "
            "from all others, over one synthetic person in both modalities. Below each: "
            "peak attention relative to uniform.",
            (
                EmbeddedFigure.of(
                    attention_figure(_panels(extractor, [visible, infrared])),
                    alt="Attention maps of five positions over a visible and an infrared image",
                    wide=True,
                ),
            ),
        ),
        FigureSection(
            "Training",
            "Means over each epoch.",
            (
                EmbeddedFigure.of(
                    training_figure(histories), alt="Loss terms and accuracy by epoch", wide=True
                ),
            ),
        ),
    ]


def _shows(record: ImageRecord, identity: int) -> bool:
    return record.identity == identity and record.modality is Modality.VISIBLE


def _panels(extractor: FeatureExtractor, records: Sequence[ImageRecord]) -> list[AttentionPanel]:
    return [
        AttentionPanel.of(found, name=f"{found.record.modality}, camera {found.record.camera}")
        for found in extractor.attention(records)
    ]


def _next_steps(out: Path, *, compare: bool, epochs: int, seed: int) -> list[Step]:
    dlis_run = str(out / "runs" / "dlis")
    query = next(r for r in SysuMM01(out / "synvi").test() if r.modality is Modality.INFRARED)
    steps = [
        Step(
            "Build a gallery of these people and the crowd",
            _command("gallery", "add", "people", "--run", dlis_run, str(out / "people.csv")),
        ),
        Step(
            "Search it with an infrared image for visible ones",
            _command("gallery", "search", "people", "--run", dlis_run, str(query.path))
            + " --modality visible",
        ),
        Step("Search it on a web page", _command("serve", "people", "--run", dlis_run)),
        Step(
            "Train on your own copy of RegDB (its folder in place of DIR), with ImageNet weights",
            f"{_command('train')} dlis-strong --layout regdb --root DIR --trial 1 "
            "--backbone mobilenet_v2 --size 144 72 --epochs 10 --out runs/regdb",
        ),
        Step(
            "Evaluate it under the published protocol",
            _command("evaluate", "runs/regdb"),
        ),
        Step("Evaluate this demo's network again", _command("evaluate", dlis_run)),
    ]
    if not compare:
        flags = [] if epochs == EPOCHS else ["--epochs", str(epochs)]
        flags += ["--seed", str(seed)] if seed else []
        steps.append(
            Step(
                "Train DLIS without PALM (TSLFN) too, and compare the two",
                _command("demo", str(out), "--compare", *flags),
            )
        )
    return steps


def _command(*words: str) -> str:
    """A command of vireid as it can be typed here, whether its folder is on the PATH or not."""
    found = shutil.which("vireid")
    program = "vireid"
    if PROGRAM.is_file() and (found is None or not PROGRAM.samefile(found)):
        here = Path.cwd()
        program = str(PROGRAM.relative_to(here) if PROGRAM.is_relative_to(here) else PROGRAM)
    return shlex.join([program, *words])


def _precision(device: Device) -> Precision:
    """bfloat16 where the processor multiplies it natively; elsewhere it would be slower."""
    if device != "cpu" and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
    return "bf16-mixed" if torch.cpu._is_avx512_bf16_supported() else "32-true"


def _device_name(device: Device) -> str:
    if device != "cpu" and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"CPU, {many(torch.get_num_threads(), 'thread')}"
