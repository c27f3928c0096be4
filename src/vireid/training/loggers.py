"""Loggers of other tools: TensorBoard, and Weights & Biases."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import yaml

from vireid.errors import RunError
from vireid.files import Closeable
from vireid.log import log
from vireid.optional_packages import package, require_packages
from vireid.runs import RunFolder

__all__ = ["LoggerName", "TrainingLoggers", "require_loggers"]

LoggerName = Literal["tensorboard", "wandb"]


class _Logger(Protocol):
    """One tool."""

    def __init__(self, out: Path) -> None:
        """Open what it writes for a run folder."""

    def log(self, scalars: Mapping[str, float], epoch: int) -> None:
        """Write one epoch."""

    def close(self) -> None:
        """Write what is left."""


class TrainingLoggers(Closeable):
    """Writes the metrics of each epoch for other tools, each into a folder of the run folder.

    Args:
        names: The tools.
        out: The run folder, with its configuration.
        history: Metrics of the epochs before, where the run is resumed.

    Raises:
        RunError: If Weights & Biases does not start.
        ExportError: If a package is not installed.
    """

    def __init__(
        self, names: Sequence[LoggerName], out: Path, history: Sequence[Mapping[str, Any]]
    ) -> None:
        self._open: list[_Logger] = []
        for name in dict.fromkeys(names):
            logger = _LOGGERS[name](out)
            self._open.append(logger)
            # Event files continue; Weights & Biases starts anew, because only its server could
            # continue a run.
            for line in history if name == "wandb" else ():
                logger.log(_scalars(line), line["epoch"])

    def log(self, line: Mapping[str, Any]) -> None:
        """Write one epoch: a line of ``metrics.jsonl``."""
        for logger in self._open:
            logger.log(_scalars(line), line["epoch"])

    def close(self) -> None:
        """Write what is left."""
        while self._open:
            self._open.pop().close()


def require_loggers(names: Sequence[LoggerName]) -> None:
    """Fail before the training if a package is missing.

    Args:
        names: The tools.

    Raises:
        ExportError: If a package is not installed.
    """
    for name in names:
        require_packages(name, purpose=f"--log {name}", extra=name)


def _scalars(line: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of an epoch by name."""
    return {
        **{f"loss/{key}": value for key, value in line["terms"].items()},
        **{k: v for k, v in line.items() if type(v) in (int, float) and k != "epoch"},
        **{f"validation/{key}": value for key, value in line.get("validation", {}).items()},
    }


class _TensorBoard:
    def __init__(self, out: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(out / "tensorboard"))

    def log(self, scalars: Mapping[str, float], epoch: int) -> None:
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class _WeightsAndBiases:
    """A run of Weights & Biases on this machine, or on its server with WANDB_MODE=online."""

    def __init__(self, out: Path) -> None:
        # Its reports of errors are messages to its vendor.
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        wandb = package("wandb", extra="wandb")
        mode = os.environ.get("WANDB_MODE", "offline")
        try:
            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", "vireid"),
                name=os.environ.get("WANDB_NAME", out.name),
                dir=out,
                config=yaml.safe_load(RunFolder(out).config_file.read_text()),
                mode=mode,
                settings=wandb.Settings(silent=True, console="off"),
            )
        except (wandb.Error, ValueError) as error:
            raise RunError(
                f"Weights & Biases does not start with WANDB_MODE '{mode}': {error}; expected "
                "'offline' (the default), 'online' after `wandb login`, or 'disabled'."
            ) from error
        if mode == "offline":
            log(
                f"Weights & Biases: writing to '{out / 'wandb'}' without a connection; "
                f"`wandb sync {self._run.dir.removesuffix('/files')}` uploads it."
            )

    def log(self, scalars: Mapping[str, float], epoch: int) -> None:
        self._run.log(dict(scalars), step=epoch)

    def close(self) -> None:
        self._run.finish()


_LOGGERS: dict[LoggerName, type[_Logger]] = {
    "tensorboard": _TensorBoard,
    "wandb": _WeightsAndBiases,
}
