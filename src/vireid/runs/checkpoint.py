"""Checkpoints: written atomically, verified before use, and never executed.

One safetensors file holds the network (``model.*``), the optimizer's state
(``optimizer.<parameter>.<name>``) and, as metadata, the training state and a digest of all tensors.
Learning rates are not stored: they follow from the position in training.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.optim import Optimizer

from vireid.errors import RunError
from vireid.files import write_atomic
from vireid.log import log
from vireid.nn.weights import fingerprint

__all__ = ["TrainingState", "load", "newest", "read_state", "write"]


@dataclass
class TrainingState:
    """The position in training, and the metrics so far.

    Attributes:
        epoch: The current epoch, from 0.
        step: Steps of it that are done.
        sums: Sums of the metrics over those steps.
        history: The metrics of each finished epoch.
        parts: Number of independent parts of a batch; see
            :func:`vireid.training.fabric.independent_parts`.
    """

    epoch: int = 0
    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    parts: int = 1

    @property
    def means(self) -> dict[str, float]:
        """The metrics' means over the current epoch so far."""
        return {name: total / self.step for name, total in self.sums.items()}

    def add_step(self, metrics: Mapping[str, float]) -> None:
        """Count one step."""
        for name, value in metrics.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.step += 1

    def epoch_metrics(self) -> dict[str, Any]:
        """The metrics of the current epoch as a line of ``metrics.jsonl``."""
        means = self.means
        terms = {k.removeprefix("terms."): v for k, v in means.items() if "terms." in k}
        others = {k: v for k, v in means.items() if "terms." not in k}
        return {"epoch": self.epoch + 1, "terms": terms, **others}

    def finish_epoch(self, metrics: dict[str, Any]) -> None:
        """Keep the epoch's metrics and move on to the next epoch."""
        self.history.append(metrics)
        self.epoch, self.step, self.sums = self.epoch + 1, 0, {}


def write(
    folder: Path, model: nn.Module, optimizer: Optimizer, state: TrainingState, *, keep: int
) -> Path:
    """Save a checkpoint and delete all but the last ``keep``.

    Args:
        folder: ``RUN/checkpoints``.
        model: The network.
        optimizer: Its optimizer.
        state: The position in training.
        keep: Number of checkpoints to keep, at least 1.

    Raises:
        RunError: If the file cannot be written; earlier checkpoints are untouched.
    """
    tensors = {f"model.{k}": v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    for index, moments in optimizer.state_dict()["state"].items():
        for name, value in moments.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{index}.{name}"] = value.detach().cpu().contiguous()
    meta = {"state": json.dumps(asdict(state)), "digest": fingerprint(tensors)}
    path = folder / f"epoch-{state.epoch:04d}-step-{state.step:06d}.safetensors"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(path, save(tensors, metadata=meta))
    except OSError as error:
        raise RunError(
            f"The checkpoint '{path}' could not be written ({error.strerror}); make room or fix "
            "the permissions, and continue with `vireid train --resume RUN`."
        ) from error
    for old in _files(folder)[keep:]:
        old.unlink()
    return path


def find_newest(folder: Path) -> Path | None:
    """The newest intact checkpoint, or None; each newer one that is damaged is logged.

    Raises:
        RunError: If there are checkpoints and all of them are damaged.
    """
    path, damaged = newest(folder)
    for warning in damaged:
        log(warning)
    return path


def newest(folder: Path) -> tuple[Path | None, list[str]]:
    """The newest intact checkpoint, and a warning for each newer one that is damaged.

    Returns:
        The file, None if the folder has no checkpoint at all; and the warnings.

    Raises:
        RunError: If there are checkpoints and all of them are damaged.
    """
    damaged: list[str] = []
    for path in _files(folder):
        try:
            _read(path)
        except RunError as error:
            damaged.append(str(error))
        else:
            return path, damaged
    if damaged:
        raise RunError(
            f"No checkpoint in '{folder}' is intact ({' '.join(damaged)}), so the run cannot be "
            "resumed; delete the folder to start it over."
        )
    return None, damaged


def read_state(path: Path) -> TrainingState:
    """The position in training of a checkpoint.

    Raises:
        RunError: If the file is damaged.
    """
    return _read(path)[1]


def load(path: Path, model: nn.Module, optimizer: Optimizer) -> TrainingState:
    """Restore a checkpoint, bit for bit.

    Raises:
        RunError: If the file is damaged or its network is another one.
    """
    tensors, state = _read(path)
    weights = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise RunError(
            f"The checkpoint '{path}' belongs to another network than the one in this run's "
            f"config.yaml ({error}); undo the change of config.yaml, or train into a new folder."
        ) from error
    parameters: Sequence[Tensor] = [p for g in optimizer.param_groups for p in g["params"]]
    restored: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if not key.startswith("optimizer."):
            continue
        _, index, name = key.split(".", 2)
        parameter = parameters[int(index)]
        # A moment gets its parameter's memory format, so that the same kernels run.
        like = parameter if value.shape == parameter.shape else value
        moment = torch.empty_like(like, dtype=value.dtype).copy_(value)
        restored.setdefault(int(index), {})[name] = moment
    optimizer.load_state_dict(
        {"state": restored, "param_groups": optimizer.state_dict()["param_groups"]}
    )
    return state


def _files(folder: Path) -> list[Path]:
    """Checkpoints, newest first."""
    return sorted(folder.glob("epoch-*-step-*.safetensors"), reverse=True)


def _read(path: Path) -> tuple[dict[str, Tensor], TrainingState]:
    try:
        with safe_open(path, framework="pt") as file:
            meta = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise RunError(f"The checkpoint '{path}' is damaged ({error}).") from error
    if "state" not in meta or meta.get("digest") != fingerprint(tensors):
        raise RunError(f"The checkpoint '{path}' is damaged: its digest does not match.")
    try:
        return tensors, TrainingState(**json.loads(meta["state"]))
    except (ValueError, TypeError, RecursionError) as error:
        raise RunError(f"The checkpoint '{path}' is damaged ({error}).") from error
