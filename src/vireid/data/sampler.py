"""Cross-modal P x K sampling: P identities a batch, K images of each in either modality.

Identities are drawn without replacement until all have been drawn, then reshuffled; so are the
images of each identity. An epoch has ``max(visible, infrared) // (P * K)`` batches, the
convention of TSLFN (Zhu et al., Hetero-Center Loss for Cross-Modality Person Re-Identification,
Neurocomputing 2020): 695 on SYSU-MM01 and 64 on RegDB with 4 identities x 8 images.

Example:
    >>> sampler = CrossModalSampler(
    ...     np.array([0, 0, 1, 1]), np.array([0, 1, 1]), identities=2, images=2, seed=0
    ... )
    >>> [batch.labels.tolist() for batch in sampler.epoch(0)]
    [[0, 0, 1, 1]]
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vireid.errors import ConfigError
from vireid.types import ImageRecord

__all__ = [
    "WHOLE_BATCH",
    "BatchIndices",
    "BatchShard",
    "CrossModalSampler",
    "SamplerReport",
    "class_indices",
]


def class_indices(records: Iterable[ImageRecord]) -> dict[int, int]:
    """Number the identities of the records from 0, in ascending order of identity."""
    identities = sorted({record.identity for record in records})
    return {identity: index for index, identity in enumerate(identities)}


@dataclass(frozen=True, slots=True)
class BatchShard:
    """The shard of each batch that one process works on: whole identities, equally many in each.

    Attributes:
        rank: The process, from 0.
        world_size: Number of processes that share the batch.
    """

    rank: int = 0
    world_size: int = 1

    def rows(self, count: int) -> slice:
        """Its rows of ``count``, which are split into equal shards by rank."""
        share = count // self.world_size
        return slice(self.rank * share, (self.rank + 1) * share)


WHOLE_BATCH = BatchShard()
"""All of each batch: the shard of the only process."""


@dataclass(frozen=True, slots=True, eq=False)
class BatchIndices:
    """Which images make one batch; row for row the same identity in both modalities.

    Attributes:
        visible: Positions in the list of visible images, int64 ``[P * K]``.
        infrared: Positions in the list of infrared images, int64 ``[P * K]``.
        labels: Class index of each row, int64 ``[P * K]``: K equal rows an identity, P identities.
    """

    visible: NDArray[np.int64]
    infrared: NDArray[np.int64]
    labels: NDArray[np.int64]

    def shard(self, shard: BatchShard) -> BatchIndices:
        """The images of one process.

        Args:
            shard: Its shard; the number of processes divides P.
        """
        rows = shard.rows(len(self.labels))
        return BatchIndices(self.visible[rows], self.infrared[rows], self.labels[rows])


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerReport:
    """What the sampler makes of the labels; as text, a sentence on what is unusual, or ``''``.

    Attributes:
        classes: How many identities are sampled: those with images of both modalities.
        batches: Batches an epoch.
        images: K, the images of an identity and modality in a batch.
        visible_only: Identities left out because they have no infrared image.
        infrared_only: Identities left out because they have no visible image.
        short_visible: Sampled identities with fewer than K visible images.
        short_infrared: Sampled identities with fewer than K infrared images.
    """

    classes: int
    batches: int
    images: int
    visible_only: tuple[int, ...]
    infrared_only: tuple[int, ...]
    short_visible: tuple[int, ...]
    short_infrared: tuple[int, ...]

    @property
    def left_out(self) -> tuple[int, ...]:
        """All identities left out, in ascending order."""
        return tuple(sorted(self.visible_only + self.infrared_only))

    def __str__(self) -> str:
        parts = []
        if self.left_out:
            parts.append(
                f"{len(self.left_out)} of {self.classes + len(self.left_out)} identities are left"
                f" out because they have images of one modality only"
                f" ({len(self.visible_only)} visible, {len(self.infrared_only)} infrared)"
            )
        short = set(self.short_visible) | set(self.short_infrared)
        if short:
            parts.append(
                f"{len(short)} of {self.classes} identities have fewer than {self.images} images of"
                f" a modality ({len(self.short_visible)} visible, {len(self.short_infrared)}"
                " infrared), whose images repeat within a batch"
            )
        return "; ".join(parts) + "." if parts else ""


class _Queue:
    """Values drawn without replacement, reshuffled when all have been drawn."""

    def __init__(self, values: NDArray[np.int64], rng: np.random.Generator) -> None:
        self._values = values
        self._rng = rng
        self._waiting = values[:0]

    def draw(self, count: int) -> NDArray[np.int64]:
        """Draw values: all different, or evenly if ``count`` exceeds their number."""
        rounds, rest = divmod(count, len(self._values))
        drawn = [self._rng.permutation(self._values) for _ in range(rounds)]
        head, self._waiting = self._waiting[:rest], self._waiting[rest:]
        drawn.append(head)
        if len(head) < rest:
            fresh = self._rng.permutation(self._values)
            # Every value still appears once in the new round, those just drawn later.
            tail = fresh[~np.isin(fresh, head)][: rest - len(head)]
            self._waiting = fresh[~np.isin(fresh, tail)]
            drawn.append(tail)
        return np.concatenate(drawn)


class CrossModalSampler:
    """Batches of P identities x K visible and K infrared images.

    Identities with images of one modality only are left out; an identity with fewer than K images
    of a modality repeats them evenly. Both are in :attr:`report`.

    Args:
        visible_labels: Class index of each visible image, int ``[n_v]``.
        infrared_labels: Class index of each infrared image, int ``[n_t]``.
        identities: P, the identities in a batch.
        images: K, the images of an identity and modality in a batch.
        seed: Seed of the draws, at least 0.

    Attributes:
        report: What is sampled and what is not.

    Raises:
        ConfigError: If a number is out of range, or there are fewer than P identities with images
            of both modalities.
    """

    def __init__(
        self,
        visible_labels: NDArray[np.integer],
        infrared_labels: NDArray[np.integer],
        *,
        identities: int,
        images: int,
        seed: int,
    ) -> None:
        for flag, value, least in (
            ("--identities", identities, 1),
            ("--images", images, 1),
            ("--seed", seed, 0),
        ):
            if value < least:
                raise ConfigError(f"{flag} {value} is out of range; expected at least {least}.")
        visible, infrared = _by_class(visible_labels), _by_class(infrared_labels)
        classes = sorted(visible.keys() & infrared.keys())
        if len(classes) < identities:
            raise ConfigError(
                f"`vireid train --identities {identities}` needs more than the {len(classes)}"
                " identities that have images of both modalities; expected at most that many; lower"
                " --identities."
            )
        self._visible = {c: visible[c] for c in classes}
        self._infrared = {c: infrared[c] for c in classes}
        self._identities, self._images, self._seed = identities, images, seed
        total = max(sum(map(len, own.values())) for own in (self._visible, self._infrared))
        self.report = SamplerReport(
            classes=len(classes),
            batches=max(1, total // (identities * images)),
            images=images,
            visible_only=tuple(sorted(visible.keys() - infrared.keys())),
            infrared_only=tuple(sorted(infrared.keys() - visible.keys())),
            short_visible=tuple(c for c in classes if len(visible[c]) < images),
            short_infrared=tuple(c for c in classes if len(infrared[c]) < images),
        )

    def epoch(self, epoch: int) -> list[BatchIndices]:
        """Return the batches of one epoch; the same for the same seed and epoch, always.

        Args:
            epoch: The epoch's number, at least 0.

        Raises:
            ConfigError: If ``epoch`` is negative.
        """
        if epoch < 0:
            raise ConfigError(f"epoch {epoch} is out of range; expected at least 0.")
        rng = np.random.default_rng([self._seed, epoch])
        classes = _Queue(np.array(list(self._visible), dtype=np.int64), rng)
        visible = {c: _Queue(own, rng) for c, own in self._visible.items()}
        infrared = {c: _Queue(own, rng) for c, own in self._infrared.items()}
        batches = []
        for _ in range(self.report.batches):
            chosen = classes.draw(self._identities)
            batches.append(
                BatchIndices(
                    visible=np.concatenate([visible[int(c)].draw(self._images) for c in chosen]),
                    infrared=np.concatenate([infrared[int(c)].draw(self._images) for c in chosen]),
                    labels=np.repeat(chosen, self._images),
                )
            )
        return batches


def _by_class(labels: NDArray[np.integer]) -> dict[int, NDArray[np.int64]]:
    """Positions of each class, in ascending order of class."""
    order = np.argsort(labels, kind="stable").astype(np.int64)
    classes, starts = np.unique(labels[order], return_index=True)
    return (
        dict(zip(classes.tolist(), np.split(order, starts[1:]), strict=True)) if len(order) else {}
    )
