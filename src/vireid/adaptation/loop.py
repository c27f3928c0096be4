"""The rounds of an adaptation.

The labels and every random draw of a round are functions of the seed and of the checkpoint before
it, so a run that is stopped anywhere and resumed is bit-equal, on a CPU, to one that is not.
"""

from __future__ import annotations

import copy
import csv
import io
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer
from tqdm import tqdm

from vireid.adaptation.contrast import contrast, update_centres
from vireid.adaptation.heads import resize_heads, successors
from vireid.adaptation.links import known_links
from vireid.adaptation.messages import (
    describe_round,
    lacking_clusters,
    lacking_images,
    warning_of,
)
from vireid.adaptation.monitor import agreement
from vireid.adaptation.projection import Pooled
from vireid.adaptation.rounds import Labels, PlannedBatch, label, share_of_matches
from vireid.data.sampler import BatchIndices
from vireid.distributed.comm import world_size
from vireid.errors import ConfigError, TrainingError, many
from vireid.features import FeatureExtractor, TorchBackend
from vireid.files import Closeable, write_atomic
from vireid.log import log
from vireid.methods import Method
from vireid.runs import Run, RunFolder, checkpoint
from vireid.runs.checkpoint import TrainingState
from vireid.runs.folder import require_readable
from vireid.runs.start import initial_network, load_start, record_data
from vireid.training.batches import TrainingImages, mix_seed
from vireid.training.fabric import open_fabric
from vireid.training.loggers import LoggerName, TrainingLoggers, require_loggers
from vireid.training.optimization import build_optimizer, set_learning_rates
from vireid.types import CrossModalBatch, ImageRecord, Modality

__all__ = ["adapt"]

_MOST_PROJECTED = 4_096
"""Images of a modality from which the principal components are computed."""
_MOST_CALIBRATED = 2_048
"""Images of a modality from which the statistics of batch norms are computed."""


def adapt(
    run: Run,
    out: Path,
    *,
    resume: bool = False,
    keep: int = 2,
    loggers: Sequence[LoggerName] = (),
    progress_bar: bool = True,
    cache: Path | None = None,
) -> Path:
    """Adapt a network to the training images of a data set, whose identities are not used.

    Memory holds the features of all images twice, and the distances of near ones: 3 GB for 100,000
    images and features of 1,536 numbers; the time of clustering is quadratic in their number.

    Args:
        run: The network, its start, its images and the options, with ``adaptation``.
        out: The run folder.
        resume: Continue the run in ``out`` from the last finished round.
        keep: Number of checkpoints to keep.
        loggers: Also write the metrics for these tools, into ``out/tensorboard`` or ``out/wandb``.
        progress_bar: Show bars.
        cache: Folder of the packed image cache; None decodes the images in every round.

    Returns:
        ``out``. Its model is the average of the weights over the steps.

    Raises:
        RunError: If ``out`` is not empty and ``resume`` is false, the run cannot be resumed, or
            another process is training into the folder.
        ConfigError: If the method trains in several phases, or there are several processes.
        TrainingError: If the images make fewer than two clusters of a modality, or a loss is not
            finite.
        ExportError: If the package of a logger is not installed.
    """
    require_loggers(loggers)
    with (
        _Session(run, out, resume=resume, keep=keep, bars=progress_bar, cache=cache) as session,
        TrainingLoggers(loggers, out, session.state.history) as tools,
    ):
        while session.next_round():
            tools.log(session.train())
        session.finish()
    return out


class _LastLabels(nn.Module):
    """The labels of the round before, in the checkpoint.

    Args:
        images: Number of images.
    """

    labels: Tensor

    def __init__(self, images: int) -> None:
        super().__init__()
        self.register_buffer("labels", torch.full((images,), -1))


class _Session(Closeable):
    """An adaptation in progress, with exclusive use of its run folder."""

    def __init__(
        self, run: Run, out: Path, *, resume: bool, keep: int, bars: bool, cache: Path | None
    ) -> None:
        if run.adaptation is None or world_size() > 1:
            raise ConfigError(
                f"'{run.name}' is adapted by {world_size()} processes; expected a run with"
                " adaptation and one process: the labels of a round are found by one."
            )
        self._run, self._options, self._folder = run, run.adaptation, RunFolder(out)
        self._keep, self._bars = keep, bars
        require_readable(run)
        if not resume:
            self._folder.require_new()
        self._data = TrainingImages(run, cache=cache, progress=bars)
        records = self._data.records
        visible = self._data.visible
        counts = {Modality.VISIBLE: visible, Modality.INFRARED: len(records) - visible}
        if problem := lacking_images(counts):
            raise TrainingError(problem)
        if (within := self._options.within) >= (rounds := run.recipe.optimisation.epochs):
            log(
                f"`vireid adapt --within {within}` leaves none of {many(rounds, 'round')}"
                " for phase two, so clusters are not matched across the modalities; raise --rounds"
                " or lower --within."
            )
        self._links = known_links(self._data.layout, records, self._options.links)
        self._fabric = open_fabric(run)
        saved = str(checkpoint.find_newest(self._folder.checkpoints) or "") if resume else ""
        self._held = self._folder.exclusive()
        self._held.__enter__()
        try:
            if saved:
                self._folder.read_data().require_same_training(self._data.layout)
            self._folder.start(run)
            record_data(self._folder, run, self._data.layout)
            self._images = self._data.open_images()
            self._build(saved)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Release the folder and the images."""
        self._data.close()
        self._held.__exit__(None, None, None)

    def _build(self, saved: str) -> None:
        """The network, its average and the optimizer, from a checkpoint where there is one."""
        run = self._run
        self.state = checkpoint.read_state(Path(saved)) if saved else TrainingState()
        classes = self.state.history[-1]["classes"] if saved else 2
        network = initial_network(run, classes=classes, restored=bool(saved))
        _require_one_step(network, run.name)
        if not saved:
            load_start(network, run)
        average = copy.deepcopy(network).requires_grad_(False)
        self._last = _LastLabels(len(self._data.records))
        self._saved = nn.ModuleDict({"network": network, "average": average, "last": self._last})
        self._saved.to(self._fabric.device)
        optimizer = build_optimizer(network, run.recipe.optimisation)
        if saved:
            checkpoint.load(Path(saved), self._saved, optimizer)
            log(f"Resuming '{self._folder.path}' at round {self.state.epoch + 1}.")
        self.network, self.average = network, average
        self.optimizer: Optimizer = optimizer
        self.model, self.wrapped = self._fabric.setup(network, optimizer)
        self.model.mark_forward_method("step_losses")
        if not saved:
            self._calibrate()

    @torch.no_grad()
    def _calibrate(self) -> None:
        """Fit what does not come from a trained network to the images."""
        self._train_mode()
        if self._run.start is None:
            with Pooled(self.network, self._size) as pooled:
                self._pass(_MOST_PROJECTED)
            pooled.project(seed=self._run.seed)
        # The batch norms behind the backbone start with the statistics of these images.
        norms = [
            m
            for m in self.network.modules()
            if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training
        ]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the mean over all batches
        self._pass(_MOST_CALIBRATED)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        self.average.load_state_dict(self.network.state_dict())

    @property
    def _size(self) -> int:
        """Images of a modality in a batch."""
        return self._run.recipe.batch.identities * self._run.recipe.batch.images

    def _pass(self, most: int) -> None:
        """A forward pass of at most so many images of each modality, both in each batch."""
        visible, images = self._data.visible, len(self._data.records)
        rng = np.random.default_rng(self._run.seed)
        size = self._size
        rows = max(size, min(most, max(visible, images - visible)))
        left, right = (np.resize(rng.permutation(n), rows) for n in (visible, images - visible))
        zero = np.zeros(size, dtype=np.int64)
        plan = [
            BatchIndices(left[at : at + size], right[at : at + size], zero)
            for at in range(0, rows - size + 1, size)
        ]
        for batch in self._data.augmented(plan, 0, 0, self._fabric.to_device):
            with self._fabric.autocast():
                self.model.step_losses(batch, self._step)

    def _train_mode(self) -> None:
        """Training mode, but with the batch norms of the backbone as they are."""
        self.model.train()
        for module in self.network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()

    @property
    def _step(self) -> str:
        """The name of the method's only optimizer step."""
        return self.network.phases(1)[0].steps[0].name

    def next_round(self) -> bool:
        """Label the images; False when the adaptation is at its end."""
        epoch, epochs = self.state.epoch, self._run.recipe.optimisation.epochs
        if epoch == epochs or (self.state.history and self.state.history[-1].get("last")):
            return False
        self._began = time.perf_counter()
        options = self._options
        share = share_of_matches(options, epoch, epochs)
        self.labels = label(
            self._extract(),
            options,
            share=share,
            links=self._links,
            seed=mix_seed(self._run.seed, epoch),
        )
        classes, before = self.labels.classes, self._last.labels.cpu().numpy()
        report = self.labels.report
        report["agreement"] = agreement(classes, before)
        if warning := warning_of(report, self.state.history):
            report["warning"] = warning
            log(warning)
        if problem := lacking_clusters(report):
            if not self.state.history:
                raise TrainingError(problem)
            log(f"{problem} The network of the round before is kept.")
            self.state.history[-1]["last"] = True
            return False
        log(describe_round(f"round {epoch + 1}/{epochs}", report))
        history = self.state.history
        agreed = [line["agreement"] for line in (*history[-1:], report)]
        # Settled twice, with all matches in use.
        report["last"] = share == 1 and len(agreed) == 2 and min(agreed) >= options.settled
        self._follow(successors(classes, before, len(self.labels.pairs)))
        self._last.labels.copy_(torch.from_numpy(classes))
        return True

    def _follow(self, carried: NDArray[np.int64]) -> None:
        """Let the classifiers follow the identities."""
        config, seed = self._run.recipe.method, mix_seed(self._run.seed, self.state.epoch, 1)
        for network in (self.network, self.average):
            for parameter in resize_heads(network, config, carried, seed=seed):
                self.optimizer.state.pop(parameter, None)

    def _extract(self) -> Any:
        """The features of all images by the averaged network."""
        # A copy in single precision, whose norms the backend folds.
        backend = TorchBackend(
            copy.deepcopy(self.average).float(),
            device=self._run.device,
            precision=self._run.precision,
        )
        return FeatureExtractor(backend).extract(
            self._data.records, progress=self._bars, stack=self._images
        )

    def train(self) -> dict[str, Any]:
        """Train an epoch on the labels, and write a checkpoint; returns the round's metrics."""
        run, epoch, device = self._run, self.state.epoch, self._fabric.device
        plan = self.labels.plan(run.recipe.batch, seed=run.seed, epoch=epoch)
        centres = [torch.from_numpy(own).to(device) for own in self.labels.centres]
        pairs = torch.from_numpy(self.labels.pairs).to(device)
        self._train_mode()
        began, images = time.perf_counter(), 0
        batches = self._data.augmented([p.indices for p in plan], epoch, 0, self._fabric.to_device)
        with tqdm(
            total=len(plan),
            desc=f"round {epoch + 1}/{run.recipe.optimisation.epochs}",
            unit="step",
            leave=False,
            disable=None if self._bars else True,
        ) as bar:
            for step, (planned, batch) in enumerate(zip(plan, batches, strict=True)):
                set_learning_rates(
                    self.wrapped.param_groups,
                    run.recipe.optimisation,
                    epoch + step / len(plan),
                    epochs=run.recipe.optimisation.epochs,
                )
                torch.manual_seed(mix_seed(run.seed, epoch, step, 2))
                terms, features = self._losses(planned, batch, centres, pairs)
                self._update(terms, batch)
                for column, own in enumerate(features):
                    labels = (batch.visible_labels, batch.infrared_labels)[column]
                    update_centres(
                        centres[column],
                        own,
                        pairs[labels, column],
                        momentum=self._options.momentum,
                    )
                self.state.add_step({f"terms.{name}": t.item() for name, t in terms.items()})
                images += len(batch.visible) + len(batch.infrared)
                bar.update()
        return self._finish_round(images / max(time.perf_counter() - began, 1e-9))

    def _losses(
        self, planned: PlannedBatch, batch: CrossModalBatch, centres: list[Tensor], pairs: Tensor
    ) -> tuple[dict[str, Tensor], tuple[Tensor, Tensor]]:
        """The terms of a batch's loss, and its visible and infrared features.

        Args:
            planned: Whether the images of a class show the same person.
            batch: The images; labels are rows of ``pairs``.
            centres: The centres of the visible and of the infrared clusters.
            pairs: The visible and the infrared cluster of each class.
        """
        with self._fabric.autocast():
            losses = self.model.step_losses(batch, self._step)
        n = len(batch.visible_labels)
        features = losses.features.float()
        own = features[:n], features[n:]
        labels = batch.visible_labels, batch.infrared_labels

        def mean_contrast(*, across: bool) -> Tensor:
            """The mean over both modalities, with the centres of their own or of the other."""
            return torch.stack(
                [
                    contrast(
                        own[m],
                        pairs[labels[m], m ^ across],
                        centres[m ^ across],
                        temperature=self._options.temperature,
                    )
                    for m in range(2)
                ]
            ).mean()

        terms = {"within": mean_contrast(across=False)}
        if planned.matched:
            terms |= {**losses.terms, "across": mean_contrast(across=True)}
        return terms, own

    def _update(self, terms: Mapping[str, Tensor], batch: CrossModalBatch) -> None:
        """One step of the optimizer and of the average."""
        total = torch.stack(list(terms.values())).sum()
        if not torch.isfinite(total):
            raise TrainingError(
                f"The loss is not finite in round {self.state.epoch + 1}; the batch holds"
                f" {len(batch.names)} images: {', '.join(batch.names)}. The last checkpoint is"
                " intact. Adapt again with `vireid adapt --precision 32-true` or a lower --lr."
            )
        self.wrapped.zero_grad()
        self._fabric.backward(total)
        clip = self._run.recipe.optimisation.clip
        if clip > 0:
            self._fabric.clip_gradients(
                self.model, self.wrapped, max_norm=clip, error_if_nonfinite=False
            )
        self.wrapped.step()
        _average(self.average, self.network, keep=self._options.average)

    def _finish_round(self, rate: float) -> dict[str, Any]:
        """Keep the round's report, and write the checkpoint and the metrics."""
        line = self.state.epoch_metrics() | self.labels.report
        line["classes"] = len(self.labels.pairs)
        line["lr"] = max(float(group["lr"]) for group in self.wrapped.param_groups)
        line["seconds"] = round(time.perf_counter() - self._began, 3)
        line["images_per_second"] = round(rate, 1)
        self.state.finish_epoch(line)
        checkpoint.write(
            self._folder.checkpoints, self._saved, self.optimizer, self.state, keep=self._keep
        )
        self._folder.write_metrics(self.state.history)
        return line

    def finish(self) -> None:
        """Write the averaged network, and the clusters that it finds."""
        history, records = self.state.history, self._data.records
        found = label(
            self._extract(),
            self._options,
            share=1.0,
            links=self._links,
            seed=mix_seed(self._run.seed, self.state.epoch),
        )
        found.report["agreement"] = agreement(found.classes, self._last.labels.cpu().numpy())
        log(describe_round("at the end", found.report))
        _write_clusters(self._folder.clusters_file, records, found)
        classes = history[-1]["classes"]
        name = self._folder.write_model(self.average.state_dict(), classes=classes)
        why = "the labels have settled" if history[-1].get("last") else "all rounds are done"
        log(f"Finished: '{self._folder.path}', weights {name}; {why}.")


def _write_clusters(file: Path, records: Sequence[ImageRecord], found: Labels) -> None:
    """Write the cluster of each image, and the rank of its match: 1 for the surest."""
    classes = np.where(found.classes < found.matched, found.classes, -1)
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(["path", "modality", "camera", "cluster", "match"])
    clusters = np.concatenate(found.clusters)
    for record, own, match in zip(records, clusters.tolist(), classes.tolist(), strict=True):
        cluster = "" if own < 0 else own + 1
        rank = "" if match < 0 else match + 1
        rows.writerow([record.path, record.modality, record.camera_name, cluster, rank])
    write_atomic(file, text.getvalue().encode(errors="surrogateescape"))


@torch.no_grad()
def _average(average: nn.Module, network: nn.Module, *, keep: float) -> None:
    """Move the averaged weights and statistics towards the present ones."""
    for mean, value in zip(
        average.state_dict().values(), network.state_dict().values(), strict=True
    ):
        if mean.dtype.is_floating_point:
            mean.lerp_(value, 1 - keep)
        else:
            mean.copy_(value)


def _require_one_step(network: Method, name: str) -> None:
    """Refuse methods that train in several phases or steps, or fit statistics afterwards."""
    phases = network.phases(2)
    if len(phases) > 1 or len(phases[0].steps) > 1 or network.needs_fit:
        raise ConfigError(
            f"'{name}' trains in several phases or steps, which are not defined for labels that"
            " change; expected a method that trains in one, such as dlis-strong-cpu."
        )
