"""What PALM does and learns, epoch by epoch, from the checkpoints of a run.

    vireid train RECIPE … --keep 99 --out RUN
    python docs/research/palm_training.py RUN

One line an epoch and modality: of the test images, what
:class:`vireid.nn.PalmStatistics` says; of training batches that are the same in every epoch, the
mean of the gradient that the branch's own weight (gamma, or the batch norm's weights) gets, and
its size. Training itself is not touched.
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path

import torch
from torch import Tensor

from vireid.data.cache import default_cache
from vireid.features import FeatureExtractor, TorchBackend
from vireid.methods import Method
from vireid.nn import PALM, observe_palm
from vireid.runs import RunFolder, checkpoint
from vireid.training.batches import TrainingSet
from vireid.training.loop import build_optimizer
from vireid.types import Modality


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("--every", type=int, default=8, help="take every so-manieth test image")
    parser.add_argument("--batches", type=int, default=8, help="training batches for the gradient")
    given = parser.parse_args()
    run = RunFolder(given.run).read_config()
    records = run.data.open().test()[:: given.every]
    print(
        "| epoch | accuracy | images | entropy | rows alike | change | constant "
        "| cosine of stripes | weight | gradient |"
    )
    print("|--:|--:|---|--:|--:|--:|--:|--:|--:|--:|")
    with TrainingSet(run, cache=default_cache(run.data.root)) as data:
        network = run.recipe.method.build(classes=data.classes)
        optimizer = build_optimizer(network, run.recipe.optimisation)
        for path in sorted((given.run / "checkpoints").glob("epoch-*-step-000000.safetensors")):
            place = checkpoint.load(path, network, optimizer)
            weight, gradient = slope(network, data, given.batches)
            for modality in Modality:
                some = [r for r in records if r.modality is modality]
                # Describing folds the batch norms away for good.
                described = copy.deepcopy(network)
                extractor = FeatureExtractor(
                    TorchBackend(described, device="cpu", precision="32-true")
                )
                with observe_palm(described, stripes=6) as (seen, *_):
                    extractor.extract(some, progress=False)
                print(
                    f"| {place.epoch} | {place.history[-1]['accuracy']:.2f} "
                    f"| {len(some)} {modality} "
                    f"| {seen.entropy:.3f} | {seen.alike:.3f} | {seen.change:.4f} "
                    f"| {seen.constant:.3f} | {seen.cosine_before:.3f} → {seen.cosine_after:.3f} "
                    f"| {weight:+.4f} | {gradient:+.2e} |",
                    flush=True,
                )


def slope(network: Method, data: TrainingSet, batches: int) -> tuple[float, float]:
    """The mean of the branch's weight, and of the loss's gradient with respect to it."""
    [palm, *_] = [m for m in network.modules() if isinstance(m, PALM)]
    weight: Tensor = palm.gamma if palm.norm is None else palm.norm.weight
    kept = {name: value.clone() for name, value in network.state_dict().items()}
    network.train()
    found = []
    for number, batch in enumerate(data.batches(0, 0, lambda tensor: tensor)):
        if number == batches:
            break
        network.zero_grad()
        network.losses(batch).total.backward()
        assert weight.grad is not None
        found.append(weight.grad.mean().item())
    network.zero_grad()
    network.load_state_dict(kept)  # batch norms have seen these batches
    return weight.mean().item(), sum(found) / len(found)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
