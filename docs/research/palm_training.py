"""Statistics of PALM and the gradient of its branch, epoch by epoch, from a run's checkpoints.

    vireid train RECIPE … --keep 99 --out RUN
    python -m docs.research.palm_training RUN

Prints one row per epoch and modality: :class:`palm_statistics.PalmStatistics` over test images;
the mean of the branch's weight (gamma, or the BatchNorm's weights); and the mean of its gradient
over training batches that are the same in every epoch. The run itself is not changed.
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path

import torch
from docs.research.palm_statistics import observe_palm
from torch import Tensor

from vireid.data.cache import default_cache
from vireid.features import FeatureExtractor, TorchBackend
from vireid.methods import Method
from vireid.nn import PALM
from vireid.runs import RunFolder, checkpoint
from vireid.training.batches import TrainingSet
from vireid.training.optimization import build_optimizer
from vireid.types import Modality


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("--every", type=int, default=8, help="use every Nth test image")
    parser.add_argument(
        "--batches", type=int, default=8, help="number of training batches for the gradient"
    )
    args = parser.parse_args()
    run = RunFolder(args.run).read_config()
    records = run.data.open().test()[:: args.every]
    print(
        "| epoch | accuracy | images | entropy | rows alike | change | constant "
        "| cosine of stripes | weight | gradient |"
    )
    print("|--:|--:|---|--:|--:|--:|--:|--:|--:|--:|")
    with TrainingSet(run, cache=default_cache(run.data.root)) as data:
        network = run.recipe.method.build(classes=data.classes)
        optimizer = build_optimizer(network, run.recipe.optimisation)
        for path in sorted((args.run / "checkpoints").glob("epoch-*-step-000000.safetensors")):
            place = checkpoint.load(path, network, optimizer)
            weight, gradient = slope(network, data, args.batches)
            for modality in Modality:
                some = [r for r in records if r.modality is modality]
                # Extraction folds the batch norms into the convolutions, in place.
                folded = copy.deepcopy(network)
                extractor = FeatureExtractor(
                    TorchBackend(folded, device="cpu", precision="32-true")
                )
                with observe_palm(folded, stripes=6) as (seen, *_):
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
