"""``vireid evaluate RUN``: the scores of a trained network under the published protocols.

A network is scored on the test images of the data set that it was trained on, or with --layout on
another one: direct transfer. Which of both a result is, the contents of the images decide.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from numpy.typing import NDArray

from vireid.cli._flags import Switch
from vireid.cli._invocation import command_line
from vireid.cli._memory import keep_memory
from vireid.cli._ranking import post_processing
from vireid.cli._standardise import AS_EXTRACTED, StandardiseOptions
from vireid.data.layouts import DataSource, Layout, LayoutName
from vireid.data.listing import list_images
from vireid.data.provenance import Relation, content_fingerprint, dataset_name
from vireid.distributed.comm import is_main_process
from vireid.distributed.launch import ONE_PROCESS, Processes, launch
from vireid.errors import ConfigError, DatasetError, describe_os_error
from vireid.evaluation import (
    KReciprocal,
    Protocol,
    Ranking,
    Result,
    Settings,
    evaluate_with_search,
    pool,
    protocols_for,
)
from vireid.evaluation import evaluate as score
from vireid.features import FeatureExtractor, load
from vireid.files import require_writable
from vireid.log import echo, log
from vireid.reports import write_evaluation
from vireid.reports.translation import translation_records
from vireid.runs import Device, RunFolder, resolve_model
from vireid.standardisation import Standardisation
from vireid.types import Features, ImageRecord, Modality

__all__ = ["evaluate", "extract_for", "score_extractor"]


@dataclass(frozen=True, kw_only=True)
class Target:
    """The data set to evaluate on; by default the one that each network was trained on."""

    root: Path | None = None
    """Folder of the data set, or its manifest; without --layout the current folder of the data set
    of the training, if it was moved."""
    layout: LayoutName | None = None
    """Evaluate on a data set of this layout, at --root: direct transfer, if the network was trained
    on another one."""
    trial: tuple[int, ...] = ()
    """With --layout regdb: numbers of the splits, 1 by default."""
    pattern: str = ""
    """With --layout folders: pattern of the image paths."""

    def sources(self, own: DataSource) -> list[DataSource]:
        """What to evaluate a network on.

        Args:
            own: The data set that it was trained on.

        Raises:
            ConfigError: --layout has no --root, or another option no --layout.
        """
        if self.layout is None:
            if self.trial or self.pattern:
                raise ConfigError(
                    f"{'--trial' if self.trial else '--pattern'} belongs to another data set "
                    "than that of the training; expected it with --layout and --root only: add "
                    "them, or remove it."
                )
            return [own.at(self.root)]
        if self.root is None:
            raise ConfigError(
                f"--layout is '{self.layout}' and --root not given; expected both, to evaluate on "
                "another data set than that of the training: add --root, or remove --layout."
            )
        if self.trial and self.layout != "regdb":
            raise ConfigError(
                f"--trial does not apply to --layout {self.layout}; expected it with --layout "
                "regdb only; remove it."
            )
        source = DataSource(layout=self.layout, root=self.root, pattern=self.pattern)
        return [replace(source, trial=trial) for trial in self.trial or (1,)]


def evaluate(
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional],
    /,
    *,
    target: Target = Target(),
    settings: Settings = Settings(),
    ranking: Annotated[Ranking | None, tyro.conf.arg(constructor=post_processing)] = None,
    alone: Switch = False,
    flip: bool = False,
    standardisation: StandardiseOptions = AS_EXTRACTED,
    figures: bool = True,
    out: Path | None = None,
    batch_size: int = 64,
    device: Device | None = None,
    processes: Processes = ONE_PROCESS,
) -> list[Result]:
    """Evaluate runs under the published protocol of their data set, or of another.

    With --layout and --root the data set may be any: a network that was trained on another one is
    evaluated in direct transfer. Results say so, and share no table with those of networks trained
    on the data set.

    Prints a table of the scores and the chance level, and writes RUN/results (of an installed model
    ./NAME-results): one JSON file per protocol, figures, and report.html. For several runs on the
    splits of RegDB it also prints their mean.

    Args:
        runs: Finished run folders, exports or names of installed models.
        target: The data set.
        settings: Protocols.
        ranking: Re-ranking and query expansion; results name them.
        alone: With --rerank k-reciprocal: re-rank each query without the other queries, with the
            training images of its modality, unlabelled, in their place.
        flip: Test-time augmentation: average the features of each image and its mirror image.
        standardisation: Standardisation of the features by modality and camera; results name it.
        figures: Write figures and report.html, and save the details they show; keeps the full
            similarity matrix of a trial in memory.
        out: Folder for the mean over the splits of RegDB.
        batch_size: Inference batch size.
        device: Device; the one used for training by default.
        processes: Processes that share the feature extraction; the results do not depend on them.

    Returns:
        One result a run and protocol, then the means over splits.
    """
    if not runs:
        raise ConfigError("vireid evaluate got no run; expected one or more run folders")
    if alone and not (ranking and isinstance(ranking.reranking, KReciprocal)):
        raise ConfigError(
            "--alone is given without --rerank k-reciprocal; expected both; add it, or remove"
            " --alone."
        )
    if out is not None:
        require_writable(out, folder=True)
    return launch(
        partial(
            _evaluate,
            runs,
            target=target,
            settings=settings,
            ranking=ranking,
            alone=alone,
            flip=flip,
            standardisation=standardisation,
            figures=figures,
            out=out,
            batch_size=batch_size,
            device=device,
        ),
        processes=processes,
        device=device,
        recovery="run the same command again",
    )


def _evaluate(
    runs: Sequence[Path],
    *,
    target: Target,
    settings: Settings,
    ranking: Ranking | None,
    alone: bool,
    flip: bool,
    standardisation: StandardiseOptions,
    figures: bool,
    out: Path | None,
    batch_size: int,
    device: Device | None,
) -> list[Result]:
    """What each process does; all but the first only help to encode."""
    found: list[Result] = []
    for run in runs:
        folder = resolve_model(run)
        if folder.installed and target.root is None:
            raise ConfigError(
                f"'{folder.installed}' is an installed model, whose training data is not installed;"
                " expected a data set to evaluate it on: add --layout and --root."
            )
        _warn_of_unwritable(folder.results)
        layouts = [source.open() for source in target.sources(folder.read_config().data)]
        protocols = [protocols_for(layout, settings) for layout in layouts]
        tested = [Tested.on(layout, folder) for layout in layouts]
        keep_memory()
        extractor = load(folder.path, device=device)
        for layout, on, wanted in zip(layouts, tested, protocols, strict=True):
            extractor.about["trained on"] = on.trained_on
            extract = partial(extractor.extract, batch_size=batch_size, flip=flip)
            features = extract_for(extractor, wanted, batch_size=batch_size, flip=flip)
            bank = extract(_training_images(layout, "--alone"), distributed=True) if alone else None
            if standardisation.standardise and (
                statistics := _statistics(extract, features, layout, standardisation)
            ):
                own, transductive = statistics
                features = own.features(features, transductive=transductive)
                bank = own.features(bank) if bank else None
            how = replace(ranking, bank=_by_modality(bank)) if ranking and bank else ranking
            if is_main_process():
                found += _score(folder, extractor, features, wanted, how, on, figures=figures)
    return found + _over_splits(found, out)


def _warn_of_unwritable(results: Path) -> None:
    """Say before the work that results will be printed only."""
    try:
        require_writable(results, folder=True)
    except OSError as error:
        log(f"WARNING: {describe_os_error(error, '')}, or the results will only be printed.")


@dataclass(frozen=True, kw_only=True)
class Tested:
    """The data set of an evaluation, in its relation to the network's training.

    Attributes:
        name: Name of its folder or file.
        trained_on: What the network was trained on.
        relation: The relation.
        fingerprint: Fingerprint of its images' contents.
    """

    name: str
    trained_on: str
    relation: Relation
    fingerprint: str

    @property
    def subfolder(self) -> str:
        """The folder of the report in that of the results; empty for the network's own images."""
        kind = "direct-transfer" if self.relation == "other data set" else "other-images"
        return "" if self.relation == "own" else f"{kind}-{self.fingerprint[:8]}"

    @classmethod
    def on(cls, layout: Layout, folder: RunFolder) -> Tested:
        """Compare a data set with the one that a run was trained on, and print a difference.

        Raises:
            DatasetError: The network was trained on some of its test images.
        """
        data = folder.read_data()
        fingerprint = content_fingerprint(layout.test())
        relation, trained_on = data.relation(layout, fingerprint=fingerprint), data.trained_on
        if relation == "other data set":
            if data.name == dataset_name(layout):
                trained_on += f" of other images ({data.test_fingerprint[:8]})"
            log(
                f"'{layout.root}' is not the data set that '{folder.name}' was trained on "
                f"({trained_on}): its results are direct transfer."
            )
        elif relation == "other images":
            log(
                f"'{layout.root}' has other test images than the data set that '{folder.name}' was "
                f"trained on ({data.trained_on}), but it is not another data set."
            )
        name = layout.root.resolve().name
        return cls(name=name, trained_on=trained_on, relation=relation, fingerprint=fingerprint)

    def mark(self, result: Result) -> Result:
        """The result with its relation, and with a fingerprint of contents where names may lie."""
        if self.relation == "own":
            return result
        both = f"{result.data_fingerprint} {self.fingerprint}"
        return replace(
            result,
            direct_transfer=self.relation == "other data set",
            data=self.name,
            data_fingerprint=hashlib.sha256(both.encode()).hexdigest(),
        )


def _score(
    folder: RunFolder,
    extractor: FeatureExtractor,
    features: Features,
    protocols: Sequence[Protocol],
    ranking: Ranking | None,
    on: Tested,
    *,
    figures: bool,
) -> list[Result]:
    """The results of one run on one data set, printed, saved and drawn."""
    if not figures:
        scored = score_extractor(extractor, features, protocols, ranking=ranking)
        results = [on.mark(result) for result in scored]
        _save_and_print(results, folder)
        return results
    evaluated = [
        evaluate_with_search(
            features,
            protocol,
            ranking=ranking,
            fingerprint=extractor.fingerprint,
            about=extractor.about,
        )
        for protocol in protocols
    ]
    evaluated = [(on.mark(result), search) for result, search in evaluated]
    results = [result for result, _ in evaluated]
    _save_and_print(results, folder)
    records = {record for protocol in protocols for record in protocol.records}
    other = f", {on.name}" if on.subfolder else ""
    page = write_evaluation(
        folder.results / on.subfolder,
        evaluated,
        title=f"Evaluation of {folder.path.resolve().name}{other}",
        name=extractor.about["recipe"],
        facts=extractor.about,
        translations=extractor.translate(translation_records(records)),
        command=command_line(),
    )
    echo(f"The report is {page.resolve()}.")
    return results


def _save_and_print(results: Sequence[Result], folder: RunFolder) -> None:
    # Printed first, in case the disk is full, and saved even if the reader stops reading.
    try:
        for result in results:
            echo(result, end="\n\n")
    finally:
        for result in results:
            result.save(result.file_in(folder.results))


def extract_for(
    extractor: FeatureExtractor,
    protocols: Sequence[Protocol],
    *,
    batch_size: int = 64,
    flip: bool = False,
) -> Features:
    """Features of every image that some protocols need, with one forward pass an image.

    Several processes share the images, and all of them get all features.

    Args:
        extractor: The network.
        protocols: The protocols.
        batch_size: Inference batch size.
        flip: Test-time augmentation by the mirror image.
    """
    records = sorted({record for protocol in protocols for record in protocol.records})
    return extractor.extract(records, batch_size=batch_size, flip=flip, distributed=True)


def _training_images(layout: Layout, flag: str) -> tuple[ImageRecord, ...]:
    """The training images of a data set, for a flag that needs them."""
    training = layout.train()
    if not training:
        raise ConfigError(
            f"{flag} uses training images, and '{layout.root}' has none; expected a data set with"
            " some; leave it out, or name a folder of unlabelled images with --standardise."
        )
    return training


def _by_modality(features: Features) -> dict[Modality, NDArray[np.float32]]:
    """The rows of each modality."""
    own = np.array([record.modality for record in features.records])
    return {modality: features.values[own == modality] for modality in Modality}


def _statistics(
    extract: Callable[..., Features],
    features: Features,
    layout: Layout,
    options: StandardiseOptions,
) -> tuple[Standardisation, int] | None:
    """The statistics of the images that are named, and how many of these are test images.

    None in processes that score nothing.
    """
    if options.standardise == "test":
        return options.fit(features, "test images"), len(features.records)
    if options.standardise == "train":
        training = _training_images(layout, "--standardise train")
        return options.fit(extract(training, distributed=True), "training images"), 0
    if not is_main_process():
        return None
    try:
        listed = list_images(options.standardise)
    except DatasetError as error:
        raise DatasetError(f"{error} --standardise also takes train and test.") from error
    unlabelled = extract(listed)
    known = {record.path.resolve() for record in unlabelled.records}
    own = sum(record.path.resolve() in known for record in features.records)
    return options.fit(unlabelled, f"images of '{Path(options.standardise).name}'"), own


def score_extractor(
    extractor: FeatureExtractor,
    features: Features,
    protocols: Sequence[Protocol],
    *,
    ranking: Ranking | None = None,
) -> list[Result]:
    """Score a network under several protocols.

    Args:
        extractor: The network.
        features: Its features of at least the protocols' images.
        protocols: The protocols.
        ranking: How galleries are ranked.

    Returns:
        One result a protocol, in their order.
    """
    return [
        score(
            features,
            protocol,
            ranking=ranking,
            fingerprint=extractor.fingerprint,
            about=extractor.about,
        )
        for protocol in protocols
    ]


def _over_splits(results: Sequence[Result], out: Path | None) -> list[Result]:
    """Mean over the splits of RegDB, a result a direction, where there are several, once each."""
    splits: dict[tuple[str, ...], list[tuple[int, Result]]] = {}
    for result in results:
        if trial := re.fullmatch(r"(.*RegDB) trial (\d+)(.*)", result.protocol):
            # In direct transfer one network is evaluated on several splits.
            network = result.weights_fingerprint if result.direct_transfer else ""
            data = trial[1] + trial[3]
            of_split = splits.setdefault((data, result.direction, network), [])
            of_split.append((int(trial[2]), result))
    means = []
    for (data, *_), of_split in splits.items():
        numbers = sorted(number for number, _ in of_split)
        if len(numbers) < 2 or len(set(numbers)) < len(numbers):
            continue
        trials = ", ".join(map(str, numbers))
        mean = pool([result for _, result in of_split], name=f"{data}, mean over trials {trials}")
        echo(mean, end="\n\n")
        if out is not None:
            mean.save(out / f"{mean.slug}.json")
        means.append(mean)
    return means
