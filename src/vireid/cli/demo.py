"""``vireid demo``: from nothing to a report, on synthetic people."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import torch
import tyro

from vireid.cli.evaluate import extract_for, score_extractor
from vireid.cli.synvi import require_renderer
from vireid.cli.train import train_run
from vireid.data.layouts import DataSource, SysuMM01
from vireid.evaluation import Protocol, Result, protocols_for, search, table
from vireid.features import FeatureExtractor, load
from vireid.files import write_atomic
from vireid.log import log
from vireid.methods import DLISConfig, Recipe, dlis, tslfn
from vireid.reports import (
    AttentionPanel,
    FigureSection,
    Picture,
    Step,
    attention_figure,
    cmc_figure,
    ranking_figure,
    ranking_lists,
    training_figure,
    write_report,
)
from vireid.runs import Device, Precision, Run, RunFolder
from vireid.types import Features, ImageRecord, Modality

if TYPE_CHECKING:
    from vireid.synvi.presets import Preset, PresetName

__all__ = ["demo", "run_demo"]

_OPENING = datetime(2026, 6, 1, 7, tzinfo=UTC)
"""When the first of the synthetic people passes a camera of the day."""


def demo(
    out: Annotated[Path, tyro.conf.Positional] = Path("demo"),
    /,
    *,
    epochs: int = 16,
    seed: int = 0,
    device: Device = "auto",
) -> Path:
    """Render synthetic people, train DLIS and TSLFN on them, evaluate, and write a report.

    Needs no data and no download. Run the same command again to continue after an interruption.

    Args:
        out: Output folder of the data, the runs and the report.
        epochs: Number of training epochs of each network.
        seed: Seed of the people and of the networks.
        device: auto takes a GPU when there is one.

    Returns:
        The report, an HTML page that stands alone.
    """
    return run_demo(out, preset="demo", epochs=epochs, seed=seed, device=device)


def run_demo(
    out: Path, *, preset: PresetName | Preset, epochs: int, seed: int, device: Device
) -> Path:
    """The demo on any amount of synthetic people; see :func:`demo`."""
    require_renderer()
    from vireid import synvi

    began = time.perf_counter()
    data = out / "synvi"
    log("\n1/4  Rendering synthetic people")
    rendered = synvi.render(data, layout="sysu-mm01", preset=preset, seed=seed)
    synvi.render(out / "crowd", layout="sysu-mm01", preset=preset, seed=seed + 1000)
    _write_manifest(out / "people.csv", {"": data, "crowd ": out / "crowd"})
    layout = SysuMM01(data)
    runs = {
        "DLIS": _run("dlis-strong-cpu", dlis.strong_cpu_recipe(), data, epochs, seed, device),
        "TSLFN": _run("tslfn-strong-cpu", tslfn.strong_cpu_recipe(), data, epochs, seed, device),
    }
    encoders: dict[str, FeatureExtractor] = {}
    for stage, (name, run) in enumerate(runs.items(), start=2):
        log(f"\n{stage}/4  Training {name} ({run.recipe.method.backbone}, {epochs} epochs)")
        encoders[name] = load(_trained(run, out / "runs" / name.lower()))
    log("\n4/4  Evaluating")
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
    steps = _next_steps(out)
    report = write_report(
        out / "report.html",
        title="vireid demo: DLIS with PALM on synthetic people",
        facts={
            "data": f"SynVI, preset {rendered.preset}, seed {seed}: {rendered.identities} "
            f"synthetic identities, {rendered.images} images, the six cameras of SYSU-MM01",
            "training": f"{classes} identities, {epochs} epochs, recipe dlis-strong-cpu; "
            "TSLFN is the same with PALM off",
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
        next_steps=steps,
    )
    print(f"{protocols[0].name}, {protocols[0].direction}, on synthetic people, one run each\n")
    print(table(shown))
    minutes = (time.perf_counter() - began) / 60
    print(f"\nThe report is {report.resolve()} ({minutes:.1f} minutes).")
    for step in steps:
        print(f"{step.text}:\n  {step.command}")
    return report


def _write_manifest(file: Path, trees: Mapping[str, Path]) -> None:
    """List all images of some trees, to be searched; times are made up, as the people are.

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
                    (_OPENING + passed).isoformat(),
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
            (Picture.of(cmc_figure(results), alt="CMC curves of the networks and of chance"),),
        ),
        FigureSection(
            "Ranking lists of DLIS",
            "An infrared query on the left and its ten most similar visible images. Queries are "
            "a fair mix: the best, the median and the worst by average precision.",
            (
                Picture.of(
                    ranking_figure(lists),
                    alt="Six infrared queries, each with its ten nearest visible images",
                    wide=True,
                ),
            ),
        ),
        FigureSection(
            "Where PALM looks",
            "For five positions of the feature map (the dots), the weights with which they gather "
            "from all others, over one synthetic person in both modalities. Beneath: how many "
            "times the uniform weight the largest is.",
            (
                Picture.of(
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
                Picture.of(
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


def _next_steps(out: Path) -> list[Step]:
    dlis_run = out / "runs" / "dlis"
    query = next(r for r in SysuMM01(out / "synvi").test() if r.modality is Modality.INFRARED)
    return [
        Step(
            "Make a gallery of these people and a crowd of others",
            f"vireid gallery add people --run {dlis_run} {out / 'people.csv'}",
        ),
        Step(
            "Search it by an infrared image for visible ones",
            f"vireid gallery search people --run {dlis_run} {query.path} --modality visible",
        ),
        Step("Search it from a page", f"vireid serve people --run {dlis_run}"),
        Step(
            "Train on your own copy of RegDB or SYSU-MM01, with ImageNet weights",
            "vireid train dlis-strong --layout regdb --root DIR --trial 1 "
            "--backbone mobilenet_v2 --size 144 72 --epochs 10 --out runs/regdb",
        ),
        Step("Evaluate it under the published protocol", "vireid evaluate runs/regdb"),
        Step("Evaluate this demo's network again", f"vireid evaluate {dlis_run}"),
    ]


def _precision(device: Device) -> Precision:
    """bfloat16 where the processor multiplies it natively; elsewhere it would be slower."""
    if device != "cpu" and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
    return "bf16-mixed" if torch.cpu._is_avx512_bf16_supported() else "32-true"


def _device_name(device: Device) -> str:
    if device != "cpu" and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"CPU, {torch.get_num_threads()} threads"
