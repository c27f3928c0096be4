"""Reports of a training in progress: the bar, one line an epoch."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from tqdm import tqdm

from vireid.distributed.comm import is_main_process
from vireid.runs.checkpoint import TrainingState

__all__ = ["TrainingBar", "format_epoch"]


class TrainingBar:
    """The progress bar of a whole training, with loss terms, accuracy, images/s and the time left.

    Args:
        epochs: Number of epochs.
        steps: Steps of an epoch.
        state: The position in training, which may be in the middle of an epoch.
        show: Whether to draw it; time and rate are measured either way.
    """

    def __init__(self, epochs: int, steps: int, state: TrainingState, *, show: bool) -> None:
        self._epochs, self._state = epochs, state
        self._total, self._done = epochs * steps, state.epoch * steps + state.step
        self._began, self._steps = time.perf_counter(), 0
        self._show = show and is_main_process()
        self._bar: tqdm[Any] | None = None
        self.start_epoch()

    def start_epoch(self) -> None:
        """Measure time and rate from now on."""
        self._epoch_began, self._images = time.perf_counter(), 0

    def update(self, means: Mapping[str, float], images: int) -> None:
        """Count a step of ``images`` images."""
        self._images += images
        self._steps += 1
        epoch = f"epoch {self._state.epoch + 1}/{self._epochs}"
        if self._bar is None:
            # Not before the first step: until then there is no estimate of the time left.
            self._bar = tqdm(
                desc=epoch,
                total=self._total,
                initial=self._done,
                leave=False,
                bar_format="{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}{postfix}",
                disable=None if self._show else True,  # None: only on a terminal
            )
        terms = " ".join(
            f"{k.removeprefix('terms.')} {v:.3f}" for k, v in means.items() if "terms." in k
        )
        accuracy = f" accuracy {means['accuracy']:.2f}" if "accuracy" in means else ""
        rate = f"{self.rate:.0f} images/s{self.time_left}"
        self._bar.set_description_str(epoch, refresh=False)
        self._bar.set_postfix_str(f"{terms}{accuracy} {rate}", refresh=False)
        self._bar.update()

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()

    @property
    def seconds(self) -> float:
        """Time since the epoch began."""
        return time.perf_counter() - self._epoch_began

    @property
    def rate(self) -> float:
        """Images a second in this epoch."""
        return self._images / max(self.seconds, 1e-9)

    @property
    def time_left(self) -> str:
        """The estimated time until the end of training, as text; empty once there is none left."""
        left = self._total - self._done - self._steps
        if not left or not self._steps:
            return ""
        seconds = (time.perf_counter() - self._began) / self._steps * left
        return f", {tqdm.format_interval(seconds)} left"


def format_epoch(line: Mapping[str, Any], epochs: int) -> str:
    """A line of ``metrics.jsonl`` as text."""
    parts = [f"epoch {line['epoch']:>3}/{epochs}"]
    parts += [f"{k} {v:.3f}" for k, v in line["terms"].items()]
    parts += [f"{k.replace('_', ' ')} {line[k]:.3f}" for k in line if k.endswith("accuracy")]
    if "cosine_same" in line:
        parts.append(
            f"cosine same/different {line['cosine_same']:.2f}/{line['cosine_different']:.2f}"
        )
    parts += [f"validation {k} {100 * v:.2f}" for k, v in line.get("validation", {}).items()]
    parts.append(f"{line['images_per_second']:.0f} images/s")
    return "  ".join(parts)
