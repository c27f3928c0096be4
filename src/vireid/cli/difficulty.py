"""``vireid difficulty TREE``: evaluate non-learned baselines on a SynVI tree."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from vireid.cli.synvi import require_renderer
from vireid.data.layouts import DataSource
from vireid.evaluation import Result, evaluate, protocols_for, table
from vireid.features import FeatureExtractor
from vireid.log import echo
from vireid.methods import DLISConfig, Recipe
from vireid.methods.dlis import without_palm
from vireid.nn import BackboneName
from vireid.runs import Run
from vireid.types import Features

__all__ = ["difficulty"]


def difficulty(
    tree: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    backbone: BackboneName = "resnet18",
    seed: int = 0,
) -> dict[str, list[Result]]:
    """Evaluate non-learned baselines on a SynVI tree.

    The baselines are a colour histogram, a brightness histogram, the exact silhouette, and a
    network with random weights. A baseline far above chance is a shortcut that a trained network
    would learn.

    Args:
        tree: Folder written by `vireid synvi`.
        backbone: Backbone of the network with random weights.
        seed: Seed of the random weights.

    Returns:
        Results by shortcut, one a protocol.
    """
    require_renderer()
    from vireid.synvi.difficulty import colour_histograms, grey_histograms, silhouettes
    from vireid.synvi.generate import read_plan

    form = read_plan(tree).layout
    source = DataSource(layout="manifest" if form == "worlds" else form, root=tree)
    protocols = protocols_for(source.open())
    records = tuple(sorted({record for p in protocols for record in p.records}))
    paths = [record.path for record in records]
    method = DLISConfig(backbone=backbone, weights="none", size=(144, 72))
    run = Run(
        name="untrained",
        recipe=without_palm(Recipe(method=method)),
        data=source,
        seed=seed,
    )
    described = {
        "colour histogram": Features(colour_histograms(paths), records),
        "brightness histogram": Features(grey_histograms(paths), records),
        "exact silhouette": Features(silhouettes(tree, paths), records),
        f"untrained {backbone}": FeatureExtractor.untrained(run, classes=2).extract(records),
    }
    results = {
        name: [evaluate(features, protocol) for protocol in protocols]
        for name, features in described.items()
    }
    for i, protocol in enumerate(protocols):
        echo(f"\n{protocol.name}, {protocol.direction}, on synthetic people\n")
        echo(table({name: found[i] for name, found in results.items()}))
    return results
