"""What each form of PALM adds to a training step.

    python docs/research/palm_cost.py --repeats 4

Steps of dlis-strong-cpu (losses, gradients, Adam) on random images, batches of 8 x (4 + 4), 310
identities, one thread. All forms take a step in turn, so that whatever slows the machine slows all
of them; what is printed is a form's CPU time over that round's without PALM, median over rounds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace

import torch
from palm_on_fixed_maps import CALM, FORMS

from vireid.methods.dlis import strong_cpu_recipe
from vireid.training.loop import build_optimizer
from vireid.types import CrossModalBatch


def main() -> None:
    """Take the steps."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, nargs=2, default=(144, 72))
    parser.add_argument("--repeats", type=int, default=4)
    given = parser.parse_args()
    height, width = given.size
    recipe = strong_cpu_recipe()
    costly = ("off", "gamma", "batch_norm", "guide", "guide, relative, exchange")
    forms = {
        **{name: FORMS[name] for name in costly},  # the others cost what one of these does
        "batch_norm behind layer3": {"palm": "layer3", "palm_branch": "batch_norm"},
    }
    torch.set_num_threads(1)
    torch.manual_seed(0)
    labels = torch.arange(8).repeat_interleave(4)
    images = torch.randn(2, 32, 3, height, width)
    visible, infrared = (side.to(memory_format=torch.channels_last) for side in images)
    batch = CrossModalBatch(visible, infrared, labels, labels)
    ready = {}
    for name, form in forms.items():
        options = {**CALM, "size": (height, width), "weights": "none", "guard": 0.0, **form}
        network = replace(recipe.method, **options).build(classes=310).train()
        network = network.to(memory_format=torch.channels_last)
        ready[name] = network, build_optimizer(network, recipe.optimisation)
    times: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(given.repeats + 1):
        for name, (network, optimizer) in ready.items():
            start = time.process_time()
            optimizer.zero_grad()
            network.losses(batch).total.backward()
            optimizer.step()
            times[name].append(time.process_time() - start)
        print(*(f"{seconds[-1]:.3f}" for seconds in times.values()), flush=True)
    off = times["off"][1:]  # the first step of each is warming up
    print(f"without PALM: {statistics.median(off):.3f} s")
    for name, seconds in times.items():
        shares = [100 * (own / plain - 1) for own, plain in zip(seconds[1:], off, strict=True)]
        low, middle, high = statistics.quantiles(shares, n=4)
        print(f"{name:28} {middle:+6.1f} %  (quartiles {low:+.1f} to {high:+.1f})")


if __name__ == "__main__":
    main()
