"""Forms of PALM on the maps of a backbone that stands still.

    python docs/research/palm_on_fixed_maps.py DATA OUT --run RUN --seeds 0 1 2

DATA is SynVI as SYSU-MM01, RUN a finished run of tslfn-strong-cpu (DLIS without PALM); without it
the backbone is as ImageNet left it. Its last maps of DATA are computed once, a few images of each
training person, and brought to their first principal components. On them PALM and the stripes'
heads learn from the start: with each form of PALM and without it, with DLIS's own losses, and seed
by seed from the same heads and the same batches. So it is compared what PALM does to the stripes,
not how a backbone adapts to it. OUT/results.jsonl gets a line a run; called again, what is missing
is done.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vireid.data.images import ImageStack
from vireid.data.layouts import DataSource
from vireid.data.sampler import CrossModalSampler, class_indices
from vireid.data.transforms import normalise
from vireid.encoder import load
from vireid.evaluation import Protocol, evaluate, protocols_for
from vireid.methods import Optimisation
from vireid.methods.dlis import DLIS, DLISConfig, strong_cpu_recipe
from vireid.methods.method import Method
from vireid.nn import PALM, StripeHeads, StripePool, observe_palm
from vireid.nn.two_stream import PerModality, TwoStream
from vireid.training.batches import mix_seed
from vireid.training.loop import build_optimizer
from vireid.training.schedule import rate_factor
from vireid.types import CrossModalBatch, Descriptors, ImageRecord, Modality

RECIPE = strong_cpu_recipe()
CALM: Mapping[str, Any] = {"palm_scaled": True, "palm_lr": "backbone"}
FORMS: Mapping[str, Mapping[str, Any]] = {
    "off": {"palm": "off"},
    "gamma, unscaled, heads' rate": {
        "palm_branch": "gamma",
        "palm_scaled": False,
        "palm_lr": "heads",
    },
    "gamma": {"palm_branch": "gamma"},
    "batch_norm": {"palm_branch": "batch_norm"},
    "batch_norm, relative": {"palm_branch": "batch_norm", "palm_position": "relative"},
    "centred": {"palm_branch": "centred"},
    "own stripe": {"palm": "stripes", "palm_branch": "batch_norm"},
    "guide": {"palm_branch": "guide"},
    "guide, relative": {"palm_branch": "guide", "palm_position": "relative"},
    "guide, relative, exchange": {
        "palm_branch": "guide",
        "palm_position": "relative",
        "palm_exchange": 0.5,
    },
}
OPTIMISATION = Optimisation(
    optimizer="adam", lr=3e-3, backbone_lr=1e-3, epochs=10, warmup=0.5, schedule="cosine", clip=20.0
)
CHANNELS, IDENTITIES, IMAGES = 256, 8, 4

Records = Sequence[ImageRecord]


class OnMaps(DLIS):
    """DLIS whose images are maps already.

    Args:
        config: Its options.
        classes: Number of training identities.
    """

    def __init__(self, config: DLISConfig, *, classes: int) -> None:
        Method.__init__(self)
        self.config, self.size = config, config.size
        self.pool = StripePool(config.stripes)
        self.heads = StripeHeads(
            CHANNELS,
            stripes=config.stripes,
            dim=config.dim,
            classes=classes,
            bias=config.embedding_bias,
        )
        palm = nn.Identity() if config.palm == "off" else self._palm(CHANNELS)
        self.streams = cast(TwoStream, PerModality(palm))


def chosen(records: Records, count: int) -> list[ImageRecord]:
    """Some images of each person and modality, visible ones first."""
    own: dict[tuple[Modality, int], list[ImageRecord]] = defaultdict(list)
    for record in sorted(records):
        own[record.modality, record.identity].append(record)
    found = [r for of in own.values() for r in random.Random(0).sample(of, min(count, len(of)))]
    return sorted(found, key=lambda r: (r.modality is not Modality.VISIBLE, r))


@torch.inference_mode()
def last_maps(network: DLIS, records: Records) -> Tensor:
    """Maps of images, float16 ``[n, C, h, w]``; visible images come first."""
    found = []
    with ImageStack(records, size=network.size) as stack:
        for modality in Modality:
            own = [i for i, r in enumerate(records) if r.modality is modality]
            for start in range(0, len(own), 64):
                images = normalise(
                    stack.fetch(own[start : start + 64]), memory_format=torch.channels_last
                )
                cut = len(images) if modality is Modality.VISIBLE else 0
                found.append(network.streams(images, cut).half())
    return torch.cat(found)


def components(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and first principal axes of all positions of maps, scaled to a mean square of 1."""
    rows = maps.float().movedim(1, -1).flatten(0, -2)
    mean = rows.mean(0)
    covariance = (rows - mean).T @ (rows - mean) / len(rows)
    values, axes = torch.linalg.eigh(covariance)
    return mean, axes[:, -CHANNELS:] / values[-CHANNELS:].mean().sqrt()


def reduced(maps: Tensor, mean: Tensor, axes: Tensor) -> Tensor:
    """Maps brought to their principal components, float32 ``[n, CHANNELS, h, w]``."""
    return ((maps.float().movedim(1, -1) - mean) @ axes).movedim(-1, 1).contiguous()


def batches(
    records: Records, maps: Tensor, *, seed: int, epoch: int
) -> Iterator[tuple[float, CrossModalBatch]]:
    """An epoch of maps in place of images, each with the place in training, in epochs."""
    classes = class_indices(records)
    labels = np.array([classes[r.identity] for r in records])
    first = sum(r.modality is Modality.VISIBLE for r in records)
    sampler = CrossModalSampler(
        labels[:first], labels[first:], identities=IDENTITIES, images=IMAGES, seed=seed
    )
    plan = sampler.epoch(epoch)
    for step, indices in enumerate(plan):
        draw = np.random.default_rng([seed, epoch, step])
        torch.manual_seed(mix_seed(seed, epoch, step))
        sides = []
        for rows in (indices.visible, indices.infrared + first):
            drawn = maps[torch.from_numpy(rows)]
            mirrored = torch.from_numpy(draw.random(len(rows)) < 0.5)[:, None, None, None]
            sides.append(torch.where(mirrored, drawn.flip(-1), drawn))
        known = torch.from_numpy(indices.labels)
        yield epoch + step / len(plan), CrossModalBatch(sides[0], sides[1], known, known)


def describe(network: OnMaps, records: Records, maps: Tensor) -> Descriptors:
    """Descriptors of maps, those of visible images first."""
    first = sum(r.modality is Modality.VISIBLE for r in records)
    with torch.inference_mode():
        rows = [
            network.describe(part, modality)
            for side, modality in (
                (maps[:first], Modality.VISIBLE),
                (maps[first:], Modality.INFRARED),
            )
            for part in torch.split(side, 128)
        ]
    return Descriptors(values=torch.cat(rows).numpy(), records=tuple(records))


def train(
    form: Mapping[str, Any],
    seed: int,
    *,
    size: tuple[int, int],
    records: Mapping[str, Records],
    maps: Mapping[str, Tensor],
    protocols: Sequence[Protocol],
) -> dict[str, Any]:
    """Train heads and PALM; returns accuracy and statistics by epoch, and the scores."""
    config = replace(RECIPE.method, **{**CALM, "size": size, **form})
    torch.manual_seed(seed)
    network = OnMaps(config, classes=len(class_indices(records["train"]))).train()
    optimizer = build_optimizer(network, OPTIMISATION)
    palms = [m for m in network.modules() if isinstance(m, PALM)]
    line: dict[str, Any] = {"accuracy": [], "gamma_gradient": [], "palm": []}
    for epoch in range(OPTIMISATION.epochs):
        named, slopes = [], []
        for place, batch in batches(records["train"], maps["train"], seed=seed, epoch=epoch):
            for group in optimizer.param_groups:
                group["lr"] = group["base_lr"] * rate_factor(OPTIMISATION, place)
            losses = network.losses(batch)
            optimizer.zero_grad()
            losses.total.backward()
            slopes += [float(cast(Tensor, p.gamma.grad)) for p in palms if p.norm is None]
            nn.utils.clip_grad_norm_(network.parameters(), OPTIMISATION.clip)
            optimizer.step()
            named.append(float(cast(Tensor, losses.accuracy)))
        line["accuracy"].append(round(float(np.mean(named)), 4))
        line["gamma_gradient"].append(round(float(np.mean(slopes)), 4) if slopes else None)
        network.eval()
        with torch.inference_mode(), observe_palm(network) as seen:
            network.streams(maps["test"][::8], 0)
        line["palm"].append(str(seen[0]) if seen else "")
        network.train()
    line["gamma"] = [round(float(p.gamma.detach()), 4) for p in palms if p.norm is None]
    described = describe(network.eval(), records["test"], maps["test"])
    for protocol in protocols:
        result = evaluate(described, protocol)
        line[protocol.direction] = [100 * result.cmc(1).mean, 100 * result.mean_ap.mean]
    return line


def both_ways(layout_protocol: Protocol) -> tuple[Protocol, Protocol]:
    """The first draw of SYSU-MM01's protocol, and the same images with the roles swapped."""
    trial = layout_protocol.trials[0]
    infrared = [layout_protocol.records[i] for i in trial.query]
    visible = [layout_protocol.records[i] for i in trial.gallery]
    return tuple(  # type: ignore[return-value]
        Protocol.of(
            [(query, gallery)],
            name="SynVI as SYSU-MM01, first official draw",
            direction=direction,
            convention="first row of exp/rand_perm_cam.mat",
            cmc="identity",
            excluded_cameras=excluded,
        )
        for query, gallery, direction, excluded in (
            (infrared, visible, "infrared to visible", ((3, 2),)),
            (visible, infrared, "visible to infrared", ((2, 3),)),
        )
    )


def main() -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--size", type=int, nargs=2, default=(96, 48))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--forms", nargs="+", default=list(FORMS))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    layout = DataSource(layout="sysu-mm01", root=given.data).open()
    protocols = both_ways(protocols_for(layout)[0])
    searched = sorted(protocols[0].records, key=lambda r: (r.modality is not Modality.VISIBLE, r))
    records = {"train": chosen(layout.train(), IMAGES), "test": searched}
    if given.run is None:
        base = replace(RECIPE.method, palm="off").build(classes=2).eval()
    else:
        base = cast(DLIS, load(given.run).network)
    base.size = (given.size[0], given.size[1])
    file = given.out / "maps.safetensors"
    if not file.exists():
        whole = {name: last_maps(base, of) for name, of in records.items()}
        mean, axes = components(whole["train"])
        save_file({name: reduced(of, mean, axes) for name, of in whole.items()}, file)
    maps = load_file(file)
    lines = given.out / "results.jsonl"
    found = (
        [json.loads(text) for text in lines.read_text().split("\n")[:-1]] if lines.exists() else []
    )
    done = {(line["form"], line["seed"]) for line in found}
    for seed in given.seeds:
        for form in given.forms:
            if (form, seed) in done:
                continue
            scores = train(
                FORMS[form], seed, size=base.size, records=records, maps=maps, protocols=protocols
            )
            text = json.dumps({"form": form, "seed": seed, **scores})
            with lines.open("a") as opened:
                opened.write(text + "\n")
            print(text, flush=True)


if __name__ == "__main__":
    main()
