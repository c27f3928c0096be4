"""What each form of PALM adds to a training step.

    OMP_NUM_THREADS=1 python docs/research/palm_cost.py

Steps of dlis-strong-cpu (losses, gradients, Adam) on random images, batches of 8 x (4 + 4), 206
identities. All forms take a step in turn, so that what slows the machine slows all of them; printed
is a form's time over that of the same round's step without PALM, as the median over rounds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Mapping
from dataclasses import replace

import torch
from benchmarks.floor import fast_bfloat16

from vireid.cli._memory import keep_memory
from vireid.methods.dlis import strong_cpu_recipe
from vireid.nn import use_fast_convolutions
from vireid.training.loop import build_optimizer
from vireid.types import CrossModalBatch

OFF = "without PALM"
PLAIN = {"palm_position": "none"}
FORMS: Mapping[str, Mapping[str, object]] = {
    OFF: {"palm": "off"},
    "gamma": {"palm_branch": "gamma", **PLAIN},
    "batch norm": {"palm_branch": "batch_norm", **PLAIN},
    "centred, offsets": {},
    "own stripe": {"palm": "stripes", "palm_branch": "batch_norm", **PLAIN},
    "behind layer3": {"palm": "layer3", "palm_branch": "batch_norm", **PLAIN},
    "guide": {"palm_branch": "guide", **PLAIN},
    "guide, offsets, exchange": {"palm_branch": "guide", "palm_exchange": 0.5},
    "own part": {"palm": "whole", "palm_branch": "batch_norm", **PLAIN},
}


def main() -> None:
    """Take the steps."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, nargs=2, default=(96, 48))
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    keep_memory()
    recipe = strong_cpu_recipe()
    torch.manual_seed(0)
    labels = torch.arange(8).repeat_interleave(4)
    visible, infrared = torch.randn(2, 32, 3, *given.size)
    batch = CrossModalBatch(visible, infrared, labels, labels)
    ready = {}
    for name, form in FORMS.items():
        options = {"size": tuple(given.size), "weights": "none", "guard": 0.0, **form}
        network = use_fast_convolutions(
            replace(recipe.method, **options).build(classes=206)
        ).train()
        network = network.to(memory_format=torch.channels_last)
        ready[name] = network, build_optimizer(network, recipe.optimisation)
    times: dict[str, list[float]] = {name: [] for name in FORMS}
    for _ in range(given.rounds + 1):
        for name, (network, optimizer) in ready.items():
            start = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16, enabled=fast_bfloat16()):
                total = network.losses(batch).total
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
            times[name].append(time.perf_counter() - start)
    off = times[OFF][1:]  # the first step of each is warming up
    print(f"{OFF}: {statistics.median(off):.3f} s a step")
    for name, seconds in times.items():
        shares = [100 * (own / plain - 1) for own, plain in zip(seconds[1:], off, strict=True)]
        low, middle, high = statistics.quantiles(shares, n=4)
        print(f"{name:20} {middle:+6.1f} %  (quartiles {low:+.1f} to {high:+.1f})")


if __name__ == "__main__":
    main()
