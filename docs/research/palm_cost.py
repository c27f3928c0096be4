"""Cost of each form of PALM in a training step, relative to a step without PALM.

    OMP_NUM_THREADS=1 python -m docs.research.palm_cost

Steps of dlis-strong-cpu (losses, gradients, Adam) on random images, batches of 8 x (4 + 4), 206
identities. All forms take one step per round, so that other load on the machine affects all of
them; the result is a form's time over that of the same round's step without PALM, as the median
over the rounds. (docs/research/palm.md also lists forms that vireid had at commit 53aeea5.)
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Mapping
from dataclasses import replace

import torch
from benchmarks.roofline import fast_bfloat16

from vireid.cli._memory import keep_memory
from vireid.methods import catalogue
from vireid.nn import use_fast_convolutions
from vireid.training.optimization import build_optimizer
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
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, nargs=2, default=(96, 48))
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    keep_memory()
    recipe = catalogue()["dlis-strong-cpu"].recipe
    torch.manual_seed(0)
    labels = torch.arange(8).repeat_interleave(4)
    visible, infrared = torch.randn(2, 32, 3, *args.size)
    batch = CrossModalBatch(visible, infrared, labels, labels)
    prepared = {}
    for name, form in FORMS.items():
        options = {"size": tuple(args.size), "weights": "none", "center_gate": 0.0, **form}
        network = use_fast_convolutions(
            replace(recipe.method, **options).build(classes=206)
        ).train()
        network = network.to(memory_format=torch.channels_last)
        prepared[name] = network, build_optimizer(network, recipe.optimisation)
    times: dict[str, list[float]] = {name: [] for name in FORMS}
    for _ in range(args.rounds + 1):
        for name, (network, optimizer) in prepared.items():
            start = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16, enabled=fast_bfloat16()):
                total = network.losses(batch).total
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
            times[name].append(time.perf_counter() - start)
    off = times[OFF][1:]  # the first step of each form is a warm-up
    print(f"{OFF}: {statistics.median(off):.3f} s per step")
    for name, seconds in times.items():
        shares = [100 * (own / base - 1) for own, base in zip(seconds[1:], off, strict=True)]
        low, middle, high = statistics.quantiles(shares, n=4)
        print(f"{name:20} {middle:+6.1f} %  (quartiles {low:+.1f} to {high:+.1f})")


if __name__ == "__main__":
    main()
