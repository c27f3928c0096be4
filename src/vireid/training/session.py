"""Everything around the training algorithm: the run folder, resuming, stopping and reporting."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from vireid.data.sampler import BatchShard
from vireid.distributed.comm import (
    any_rank,
    broadcast,
    check_same_on_all_ranks,
    is_main_process,
    rank,
    world_size,
)
from vireid.distributed.signals import catch_stop
from vireid.distributed.sync_norm import convert_sync_batchnorm
from vireid.errors import ConfigError, RunError
from vireid.files import Closeable
from vireid.log import log
from vireid.methods import Method
from vireid.runs import Run, RunFolder, checkpoint
from vireid.runs.checkpoint import TrainingState
from vireid.runs.folder import require_readable
from vireid.runs.start import initial_network, load_start, record_data
from vireid.training.batches import TrainingSet, mix_seed
from vireid.training.collapse import collapse_warning
from vireid.training.fabric import (
    check_distributed,
    check_parts,
    equalise_buffers,
    independent_parts,
    open_fabric,
)
from vireid.training.loggers import LoggerName, TrainingLoggers, require_loggers
from vireid.training.optimization import build_optimizer
from vireid.training.progress import TrainingBar, format_epoch
from vireid.types import CrossModalBatch, Modality

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.wrappers import _FabricModule, _FabricOptimizer

__all__ = ["RunSession", "Validate"]

Validate = Callable[[Method], Mapping[str, float]]
"""Scores a network in training on identities that are held out; the scores hold ``mAP``."""


class RunSession(Closeable):
    """A training in progress, with exclusive use of its run folder.

    Only the main process writes. The arguments are those of :func:`vireid.training.fit`.

    Attributes:
        data: The training images.
        network: The network.
        fabric: The devices and the precision.
        model: The network as Fabric wraps it.
        optimizer: The optimizer as Fabric wraps it.
        state: The position in training, and the metrics so far.
    """

    data: TrainingSet
    network: Method
    fabric: Fabric
    model: _FabricModule
    optimizer: _FabricOptimizer
    state: TrainingState

    def __init__(
        self,
        run: Run,
        out: Path,
        *,
        resume: bool,
        keep: int,
        loggers: Sequence[LoggerName],
        progress_bar: bool,
        cache: Path | None,
        validate: Validate | None,
        sync_batchnorm: bool,
    ) -> None:
        self._run, self._folder, self._keep, self._validate = run, RunFolder(out), keep, validate
        require_loggers(loggers)
        broadcast(lambda: _check(self._folder, run, resume=resume, validate=validate))
        self.fabric = open_fabric(run)
        self.fabric.launch()
        shard = BatchShard(rank(), world_size())
        with contextlib.ExitStack() as stack:
            self.data = stack.enter_context(
                TrainingSet(run, cache=cache, shard=shard, progress=progress_bar)
            )
            if self.data.report:
                log(self.data.report)
            _check_processes(run, self.data, sync_batchnorm=sync_batchnorm)
            saved = broadcast(lambda: _newest(self._folder)) if resume else None
            if saved and self._folder.data_file.exists():
                broadcast(lambda: self._folder.read_data().require_same_training(self.data.layout))
            self.network, optimizer, self.state = _build(
                run, saved, self.data.classes, sync_batchnorm=sync_batchnorm
            )
            broadcast(lambda: stack.enter_context(self._folder.exclusive()))
            self._loggers: TrainingLoggers | None = None
            if is_main_process():
                self._folder.start(run)
                record_data(self._folder, run, self.data.layout)
                self._loggers = stack.enter_context(
                    TrainingLoggers(loggers, out, self.state.history)
                )
            if saved:
                position = f"epoch {self.state.epoch + 1}, step {self.state.step + 1}"
                log(f"Resuming '{out}' at {position}.")
            self.model, self.optimizer = self.fabric.setup(self.network, optimizer)
            self.model.mark_forward_method("step_losses")
            self.model.train()
            self.data.open_images()  # builds the cache before training is timed
            # From here on there is something to save.
            self._stop = stack.enter_context(catch_stop(_announce))
            self._bar = TrainingBar(
                run.recipe.optimisation.epochs, self.data.steps, self.state, show=progress_bar
            )
            stack.callback(self._bar.close)
            self._stack = stack.pop_all()

    def close(self) -> None:
        """Remove the bar, and release the folder, the images and the signals."""
        self._stack.close()

    def epochs(self) -> Iterator[int]:
        """The epochs that are left; after each, the metrics and a checkpoint are written.

        Raises:
            SystemExit: With status 143 after SIGTERM or 130 after Ctrl-C, unless the last epoch is
                finished.
        """
        total = self._run.recipe.optimisation.epochs
        while self.state.epoch < total:
            self._bar.start_epoch()
            yield self.state.epoch
            if self.state.step == self.data.steps:
                self._finish_epoch()
            if is_main_process():
                checkpoint.write(
                    self._folder.checkpoints,
                    self.network,
                    self.optimizer.optimizer,
                    self.state,
                    keep=self._keep,
                )
                self._folder.write_metrics(self.state.history)
            if any_rank(self._stop.requested) and self.state.epoch < total:
                path = self._folder.path
                self._exit(f"Stopped; continue with `vireid train --resume {path}`.")

    def batches(self) -> Iterator[CrossModalBatch]:
        """The batches of the current epoch that are left, up to a request to stop."""
        seed, epoch = self._run.seed, self.state.epoch
        for batch in self.data.batches(epoch, self.state.step, self.fabric.to_device):
            # The network's own draws (dropout) are for this process's images alone.
            torch.manual_seed(mix_seed(seed, epoch, self.state.step, rank()))
            yield batch
            images = len(batch.visible_labels) + len(batch.infrared_labels)
            self._bar.update(self.state.means, images)
            # All processes leave after the same step, whichever of them receives the signal.
            if any_rank(self._stop.requested):
                break

    def finish(self) -> None:
        """Write the model: that of the last epoch, or of the best one in validation.

        Raises:
            SystemExit: With status 143 after SIGTERM or 130 after Ctrl-C: whoever trains several
                runs must not start the next one.
        """
        if is_main_process():
            log(self._write_model())
        if self._stop.requested:
            self._exit("Stopped; the run is finished.")

    def _exit(self, message: str) -> None:
        """End the process with the status of the signal."""
        log(message)
        raise SystemExit(self._stop.status)

    def _finish_epoch(self) -> None:
        """Validate, keep the best network, and report the epoch's metrics."""
        line = self.state.epoch_metrics()
        line["lr"] = max(float(group["lr"]) for group in self.optimizer.param_groups)
        line["seconds"] = round(self._bar.seconds, 3)
        line["images_per_second"] = round(self._bar.rate, 1)
        if self._validate is not None:
            equalise_buffers(self.network)
            line["validation"] = dict(self._validate(self.network))
            if self._run.select == "validation" and is_main_process():
                self._keep_best(line)
        self.state.finish_epoch(line)
        if warning := collapse_warning(
            self.state.history, classes=self.data.classes, steps=self.data.steps
        ):
            line["warning"] = warning
            log(warning)
        log(format_epoch(line, self._run.recipe.optimisation.epochs) + self._bar.time_left)
        if self._loggers is not None:
            self._loggers.log(line)

    def _keep_best(self, line: Mapping[str, Any]) -> None:
        """Write the network if it is better in validation than that of every epoch before."""
        mean_ap: float = line["validation"]["mAP"]
        if all(mean_ap > before["validation"]["mAP"] for before in self.state.history):
            state = self.network.state_dict()
            self._folder.write_model(state, classes=self.data.classes, best=True)

    def _write_model(self) -> str:
        """Write the model; returns a message that identifies it."""
        chosen = ""
        if self._run.select == "validation":
            self.network.load_state_dict(self._folder.read_model(best=True)[0])
            history = self.state.history
            best = max(history, key=lambda line: line["validation"]["mAP"])  # first of equals
            mean_ap = 100 * best["validation"]["mAP"]
            chosen = f", of epoch {best['epoch']} by validation mAP {mean_ap:.2f}"
        if self.network.needs_fit:
            self._fit_statistics()
        name = self._folder.write_model(self.network.state_dict(), classes=self.data.classes)
        return f"Finished: '{self._folder.path}', weights {name}{chosen}."

    @torch.no_grad()
    def _fit_statistics(self) -> None:
        """Let the method fit its statistics to the features of all training images."""
        self.network.eval()
        found: list[tuple[Tensor, Tensor]] = []
        for modality in (Modality.VISIBLE, Modality.INFRARED):
            rows, labels = [], []
            for images, own in self.data.plain(modality, self.fabric.to_device):
                with self.fabric.autocast():
                    rows.append(self.network.extract_features(images, modality).float())
                labels.append(own)
            found.append((torch.cat(rows), torch.cat(labels)))
        (visible, visible_labels), (infrared, infrared_labels) = found
        self.network.fit(visible, infrared, visible_labels, infrared_labels)


def _build(
    run: Run, saved: str | None, classes: int, *, sync_batchnorm: bool
) -> tuple[Method, Optimizer, TrainingState]:
    """The network, its optimizer and the state, restored from a checkpoint where there is one."""
    network = initial_network(run, classes=classes, restored=bool(saved))
    check_distributed(network, run.name)
    if not saved:
        load_start(network, run)
    if sync_batchnorm and world_size() > 1:
        convert_sync_batchnorm(network)
    if run.compile:
        # Each child in place: parameters keep their names, and losses stay uncompiled.
        for child in network.children():
            child.compile()
    optimizer = build_optimizer(network, run.recipe.optimisation)
    parts = independent_parts(network, sync_batchnorm=sync_batchnorm)
    if not saved:
        return network, optimizer, TrainingState(parts=parts)
    state = checkpoint.load(Path(saved), network, optimizer)
    check_parts(state.parts, parts)
    return network, optimizer, state


def _check(folder: RunFolder, run: Run, *, resume: bool, validate: Validate | None) -> None:
    """Refuse to resume another run, to overwrite one, and to select without validation."""
    if run.select == "validation" and validate is None:
        raise ConfigError(
            "select='validation' needs the argument validate=; expected a function that scores the "
            "network on held-out identities: vireid.cli.train.train_run passes one."
        )
    require_readable(run)
    if resume and _anywhere(replace(folder.read_config(), device=run.device)) != _anywhere(run):
        raise RunError(
            f"The run '{folder.path}' was made with other options than these; a resumed run "
            f"takes all of them from its config.yaml: `vireid train --resume {folder.path}`."
        )
    if not resume:
        folder.require_new()


def _anywhere(run: Run) -> Run:
    """The run, wherever its data set is."""
    return replace(run, data=run.data.at(Path()))


def _check_processes(run: Run, data: TrainingSet, *, sync_batchnorm: bool) -> None:
    """Refuse processes whose options or images differ."""
    check_same_on_all_ranks(
        "options",
        f"{_anywhere(run)} {sync_batchnorm}",
        fix="start all of them with the same command",
    )
    check_same_on_all_ranks(
        "training images",
        data.listing,
        fix=f"let '{run.data.root}' hold the same files on every machine",
    )


def _newest(folder: RunFolder) -> str | None:
    """The newest intact checkpoint; None where there is no checkpoint yet."""
    path = checkpoint.find_newest(folder.checkpoints)
    return str(path) if path else None


def _announce() -> None:
    """Say that a signal was received; a step may take long."""
    # RuntimeError: the signal came while something was being printed.
    with contextlib.suppress(RuntimeError):
        log("Stopping after this step; Ctrl-C again quits without saving it.")
