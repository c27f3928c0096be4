"""What training tells a person: the bar, a line an epoch, TensorBoard."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from vireid.distributed.comm import is_main_process
from vireid.errors import RunError

__all__ = ["EpochBar", "TensorBoard", "format_epoch"]


class EpochBar:
    """The progress bar of one epoch, with loss terms, accuracy and images/s.

    Args:
        epoch: From 0.
        epochs: How many there are.
        steps: Steps of this epoch.
        done: How many of them were done before.
        show: Whether to draw it; the rate is measured either way.
    """

    def __init__(self, epoch: int, epochs: int, steps: int, *, done: int, show: bool) -> None:
        self._started, self._images = time.perf_counter(), 0
        self._bar = tqdm(
            total=steps,
            initial=done,
            desc=f"epoch {epoch + 1}/{epochs}",
            leave=False,
            disable=None if show and is_main_process() else True,  # None: only on a terminal
        )

    def update(self, means: Mapping[str, float], images: int) -> None:
        """Count a step of ``images`` images."""
        self._images += images
        terms = " ".join(
            f"{k.removeprefix('terms.')} {v:.3f}" for k, v in means.items() if "terms." in k
        )
        self._bar.update()
        accuracy = f" accuracy {means['accuracy']:.2f}" if "accuracy" in means else ""
        self._bar.set_postfix_str(f"{terms}{accuracy} {self.rate:.0f} images/s")

    def close(self) -> None:
        """Take the bar away."""
        self._bar.close()

    @property
    def seconds(self) -> float:
        """Time since the bar was made."""
        return time.perf_counter() - self._started

    @property
    def rate(self) -> float:
        """Images a second."""
        return self._images / max(self.seconds, 1e-9)


def format_epoch(line: Mapping[str, Any], epochs: int) -> str:
    """One line a person reads for one line of ``metrics.jsonl``."""
    parts = [f"epoch {line['epoch']:>3}/{epochs}"]
    parts += [f"{k} {v:.3f}" for k, v in line["terms"].items()]
    parts += [f"{k.replace('_', ' ')} {line[k]:.3f}" for k in line if k.endswith("accuracy")]
    if "cosine_same" in line:
        parts.append(
            f"cosine same/different {line['cosine_same']:.2f}/{line['cosine_different']:.2f}"
        )
    parts.append(f"{line['images_per_second']:.0f} images/s")
    parts += [f"validation {k} {100 * v:.2f}" for k, v in line.get("validation", {}).items()]
    return "  ".join(parts)


class TensorBoard:
    """Writes the metrics for TensorBoard.

    Args:
        folder: Where its event files go.

    Raises:
        RunError: If the package is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise RunError(
                "--tensorboard needs the package tensorboard; install it with `pip install "
                "'vireid[tensorboard]'`, or leave the flag out: metrics.jsonl is always written."
            ) from error
        self._writer = SummaryWriter(str(folder))

    def log(self, line: Mapping[str, Any]) -> None:
        """Write one epoch."""
        for key, value in line["terms"].items():
            self._writer.add_scalar(f"loss/{key}", value, line["epoch"])
        for key, value in line.items():
            if isinstance(value, float):
                self._writer.add_scalar(key, value, line["epoch"])
        for key, value in line.get("validation", {}).items():
            self._writer.add_scalar(f"validation/{key}", value, line["epoch"])
        self._writer.flush()
