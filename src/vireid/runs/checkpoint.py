"""Checkpoints: whole or absent, proven before use, and nothing in them is ever executed.

One safetensors file holds the network (``model.*``), the optimiser's state
(``optimizer.<parameter>.<name>``) and, as metadata, the place in training and a digest of all
tensors. Learning rates are not stored: they are a function of the place.
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
from vireid.nn.weights import fingerprint

__all__ = ["Progress", "load", "newest", "write"]


@dataclass
class Progress:
    """The place in training.

    Attributes:
        epoch: The epoch under way, from 0.
        step: Steps of it that are done.
        sums: Sums over those steps of what the metrics report.
        history: One mapping for each finished epoch.
        parts: Into how many parts, which do not see one another, batches fall; see
            :func:`vireid.training.fabric.separate_parts`.
    """

    epoch: int = 0
    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    parts: int = 1

    @property
    def means(self) -> dict[str, float]:
        """The means of this epoch so far."""
        return {name: total / self.step for name, total in self.sums.items()}

    def add(self, seen: Mapping[str, float]) -> None:
        """Count one step."""
        for name, value in seen.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.step += 1

    def finish_epoch(self, line: dict[str, Any]) -> None:
        """Keep the epoch's metrics and go on to the next one."""
        self.history.append(line)
        self.epoch, self.step, self.sums = self.epoch + 1, 0, {}


def write(
    folder: Path, model: nn.Module, optimizer: Optimizer, progress: Progress, *, keep: int
) -> Path:
    """Save a checkpoint and delete all but the last ``keep``.

    Args:
        folder: ``RUN/checkpoints``.
        model: The network.
        optimizer: Its optimiser.
        progress: The place in training.
        keep: How many stay, at least 1.

    Raises:
        RunError: If the disk refuses (full, read-only); the checkpoints before it are untouched.
    """
    tensors = {f"model.{k}": v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        for name, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{index}.{name}"] = value.detach().cpu().contiguous()
    meta = {"progress": json.dumps(asdict(progress)), "digest": fingerprint(tensors)}
    path = folder / f"epoch-{progress.epoch:04d}-step-{progress.step:06d}.safetensors"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(path, save(tensors, metadata=meta))
    except OSError as error:
        raise RunError(
            f"The checkpoint '{path}' could not be written ({error.strerror}); make room or mend "
            "the permissions and continue with `vireid train --resume RUN`."
        ) from error
    for old in _files(folder)[keep:]:
        old.unlink()
    return path


def newest(folder: Path) -> tuple[Path | None, list[str]]:
    """The newest whole checkpoint, and a sentence for each damaged one that was passed over.

    Returns:
        The file, None if the folder has no checkpoint at all; and the sentences.

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
            f"No checkpoint in '{folder}' is whole ({' '.join(damaged)}); nothing can be resumed. "
            "Delete the folder to start this run again from its beginning."
        )
    return None, damaged


def load(path: Path, model: nn.Module, optimizer: Optimizer) -> Progress:
    """Put a checkpoint back, bit for bit.

    Raises:
        RunError: If the file is damaged or belongs to another network.
    """
    tensors, progress = _read(path)
    state = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise RunError(
            f"The checkpoint '{path}' belongs to another network than this run's config.yaml "
            f"describes ({error})."
        ) from error
    parameters: Sequence[Tensor] = [p for g in optimizer.param_groups for p in g["params"]]
    restored: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if not key.startswith("optimizer."):
            continue
        _, index, name = key.split(".", 2)
        parameter = parameters[int(index)]
        # A moment gets its parameter's memory format, so that the same kernels run as before.
        like = parameter if value.shape == parameter.shape else value
        moment = torch.empty_like(like, dtype=value.dtype).copy_(value)
        restored.setdefault(int(index), {})[name] = moment
    optimizer.load_state_dict(
        {"state": restored, "param_groups": optimizer.state_dict()["param_groups"]}
    )
    return progress


def _files(folder: Path) -> list[Path]:
    """Checkpoints, newest first."""
    return sorted(folder.glob("epoch-*-step-*.safetensors"), reverse=True)


def _read(path: Path) -> tuple[dict[str, Tensor], Progress]:
    try:
        with safe_open(path, framework="pt") as file:
            meta = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise RunError(f"The checkpoint '{path}' is damaged ({error}).") from error
    if "progress" not in meta or meta.get("digest") != fingerprint(tensors):
        raise RunError(f"The checkpoint '{path}' is damaged: its digest does not fit.")
    return tensors, Progress(**json.loads(meta["progress"]))
