"""One round: the labels that a network gives to unlabelled images, and the batches of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vireid.adaptation.clustering import Links, centres_of, cluster
from vireid.adaptation.matching import Matches, csls, match, mutual_shares
from vireid.adaptation.monitor import describe_clusters, measure, wrong_sides
from vireid.data.sampler import BatchIndices, CrossModalSampler
from vireid.methods import Batch
from vireid.runs import Adaptation
from vireid.standardisation import Standardisation
from vireid.types import Features, Modality

__all__ = ["Labels", "PlannedBatch", "label", "share_of_matches"]


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """The labels of a round.

    Attributes:
        clusters: The cluster of each visible and of each infrared image, int64, -1: in none.
        matches: The matched clusters that are trained on.
        pairs: A visible and an infrared cluster for each class, int64 ``[classes, 2]``: first the
            matches, then the other clusters at random, so that each cluster is in a pair.
        centres: The unit centres of the clusters of both modalities, not standardised.
        report: What is known of them by name.
    """

    clusters: tuple[NDArray[np.int64], NDArray[np.int64]]
    matches: Matches
    pairs: NDArray[np.int64]
    centres: tuple[NDArray[np.float32], NDArray[np.float32]]
    report: dict[str, Any]

    @property
    def matched(self) -> int:
        """How many classes are matches."""
        return len(self.matches.visible)

    @property
    def classes(self) -> NDArray[np.int64]:
        """The class of each image, visible ones first, int64 ``[n]``; -1: none.

        A cluster that is in several pairs counts for the first.
        """
        found = []
        for column, own in enumerate(self.clusters):
            of_cluster = np.full(own.max(initial=-1) + 2, -1)  # the last one is that of -1
            of_cluster[self.pairs[::-1, column]] = np.arange(len(self.pairs))[::-1]
            found.append(of_cluster[own])
        return np.concatenate(found)

    def plan(self, batch: Batch, *, seed: int, epoch: int) -> list[PlannedBatch]:
        """The batches of an epoch.

        Args:
            batch: P and K.
            seed: Seed of the draws.
            epoch: The epoch.

        Returns:
            Batches of matches and batches of other pairs, mixed evenly; labels are classes.
        """
        kinds = []
        for matched, rows in ((True, slice(self.matched)), (False, slice(self.matched, None))):
            pairs = self.pairs[rows]
            if len(pairs) < 2:
                continue
            drawn = _batches(self.clusters, pairs, batch, seed=seed, epoch=epoch)
            first = 0 if matched else self.matched
            kinds.append(
                [
                    PlannedBatch(
                        BatchIndices(found.visible, found.infrared, found.labels + first), matched
                    )
                    for found in drawn
                ]
            )
        ordered = [
            ((position + 0.5) / len(batches), kind, found)
            for kind, batches in enumerate(kinds)
            for position, found in enumerate(batches)
        ]
        return [found for *_, found in sorted(ordered, key=lambda entry: entry[:2])]


class PlannedBatch(NamedTuple):
    """A batch, and whether its visible and infrared images of a class show the same person."""

    indices: BatchIndices
    matched: bool


def label(
    features: Features,
    options: Adaptation,
    *,
    share: float,
    links: tuple[Links, Links],
    seed: int,
) -> Labels:
    """Cluster the images of each modality, and match the clusters.

    Args:
        features: The features of all images, visible ones first, with their records.
        options: How.
        share: Share of the possible matches to train on; 0: none.
        links: What is known of the visible and of the infrared images.
        seed: Seed of the pairs that are no matches.

    Raises:
        EvaluationError: A feature equals the mean of all, or is not finite.
    """
    modalities = [record.modality for record in features.records]
    cameras = [record.camera_name for record in features.records]
    statistics = Standardisation.fit(
        features.values, modalities, cameras, source="unlabelled images"
    )
    values = statistics.apply(features.values, modalities, cameras)
    visible = sum(modality is Modality.VISIBLE for modality in modalities)
    own = values[:visible], values[visible:]
    clusters = tuple(
        cluster(rows, options, links=known) for rows, known in zip(own, links, strict=True)
    )
    of_visible, of_infrared = clusters
    centres = centres_of(own[0], of_visible), centres_of(own[1], of_infrared)
    everything = match(csls(*centres))
    matches = (
        everything.first(share)
        if share and len(everything.visible)
        else Matches(everything.visible[:0], everything.infrared[:0])
    )
    report: dict[str, Any] = {}
    for modality, rows, found in zip(Modality, own, clusters, strict=True):
        report |= describe_clusters(rows, found, modality)
        report[f"{modality}_neighbourhood"] = min(1.0, options.k1 / len(rows))
    report |= wrong_sides(features.values, visible)
    report |= mutual_shares(*centres, seed=seed)
    report["matched"] = len(matches.visible)
    if options.measure:
        identities = features.identities
        known = identities[:visible], identities[visible:]
        report |= measure(clusters, known, matches if share else everything)
    raw = features.values[:visible], features.values[visible:]
    return Labels(
        clusters=(of_visible, of_infrared),
        matches=matches,
        pairs=_pairs(matches, of_visible, of_infrared, seed=seed),
        centres=(centres_of(raw[0], of_visible), centres_of(raw[1], of_infrared)),
        report=report,
    )


def share_of_matches(options: Adaptation, epoch: int, epochs: int) -> float:
    """The share of the possible matches that a round trains on.

    Args:
        options: How it rises.
        epoch: The round, from 0.
        epochs: The number of rounds.
    """
    if epoch < options.within:
        return 0.0
    rising = max(1.0, (epochs - options.within) / 2)
    return min(1.0, options.matched + (1 - options.matched) * (epoch - options.within) / rising)


def _pairs(
    matches: Matches,
    visible: NDArray[np.int64],
    infrared: NDArray[np.int64],
    *,
    seed: int,
) -> NDArray[np.int64]:
    """The matches, then all other clusters in random pairs; the fewer ones repeat."""
    rng = np.random.default_rng(seed)
    others = []
    for labels, taken in ((visible, matches.visible), (infrared, matches.infrared)):
        count = labels.max(initial=-1) + 1
        left = np.setdiff1d(np.arange(count), taken)
        others.append(rng.permutation(left if len(left) else np.arange(count)))
    rest = max(
        len(np.setdiff1d(np.arange(v.max(initial=-1) + 1), t))
        for v, t in ((visible, matches.visible), (infrared, matches.infrared))
    )
    free = np.stack([np.resize(found, rest) for found in others], axis=1)
    known = np.stack([matches.visible, matches.infrared], axis=1)
    return np.concatenate([known, free]).astype(np.int64)


def _batches(
    clusters: Sequence[NDArray[np.int64]],
    pairs: NDArray[np.int64],
    batch: Batch,
    *,
    seed: int,
    epoch: int,
) -> list[BatchIndices]:
    """Batches of pairs of clusters; the labels are positions in ``pairs``."""
    rows, labels = [], []
    for column, own in enumerate(clusters):
        order = np.argsort(own, kind="stable")
        starts = np.searchsorted(own[order], pairs[:, column])
        ends = np.searchsorted(own[order], pairs[:, column], side="right")
        rows.append(np.concatenate([order[a:b] for a, b in zip(starts, ends, strict=True)]))
        labels.append(np.repeat(np.arange(len(pairs)), ends - starts))
    sampler = CrossModalSampler(
        labels[0],
        labels[1],
        identities=min(batch.identities, len(pairs)),
        images=batch.images,
        seed=seed,
    )
    return [
        BatchIndices(rows[0][found.visible], rows[1][found.infrared], found.labels)
        for found in sampler.epoch(epoch)
    ]
