"""``vireid evaluate RUN``: the scores of a trained network under the published protocols."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro

from vireid.cli._invocation import command_line
from vireid.cli._memory import keep_memory
from vireid.cli._ranking import post_processing
from vireid.distributed.comm import is_main_process
from vireid.distributed.launch import ONE_PROCESS, Processes, launch
from vireid.errors import ConfigError
from vireid.evaluation import (
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
from vireid.reports import write_evaluation
from vireid.reports.translation import translation_records
from vireid.runs import Device, RunFolder
from vireid.types import Features

__all__ = ["evaluate", "extract_for", "score_extractor"]


def evaluate(
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional],
    /,
    *,
    root: Path | None = None,
    settings: Settings = Settings(),
    ranking: Annotated[Ranking | None, tyro.conf.arg(constructor=post_processing)] = None,
    flip: bool = False,
    figures: bool = True,
    out: Path | None = None,
    batch_size: int = 64,
    device: Device | None = None,
    processes: Processes = ONE_PROCESS,
) -> list[Result]:
    """Evaluate runs under the published protocol of their data set.

    Prints a table of the scores and the chance level, and writes RUN/results: one JSON file per
    protocol, figures, and report.html. For several runs on the splits of RegDB it also prints
    their mean.

    Args:
        runs: Finished run folders or exports.
        root: Current folder of the data set, if it was moved since training.
        settings: Protocols.
        ranking: Re-ranking and query expansion; results name them.
        flip: Test-time augmentation: average the features of each image and its mirror image.
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
    return launch(
        partial(
            _evaluate,
            runs,
            root=root,
            settings=settings,
            ranking=ranking,
            flip=flip,
            figures=figures,
            out=out,
            batch_size=batch_size,
            device=device,
        ),
        processes=processes,
        device=device,
        recovery="give the same command again",
    )


def _evaluate(
    runs: Sequence[Path],
    *,
    root: Path | None,
    settings: Settings,
    ranking: Ranking | None,
    flip: bool,
    figures: bool,
    out: Path | None,
    batch_size: int,
    device: Device | None,
) -> list[Result]:
    """What each process does; all but the first only help to encode."""
    found: list[Result] = []
    for run in runs:
        folder = RunFolder(run)
        protocols = protocols_for(folder.read_config().data.at(root).open(), settings)
        keep_memory()
        extractor = load(run, device=device)
        features = extract_for(extractor, protocols, batch_size=batch_size, flip=flip)
        if is_main_process():
            found += _score(folder, extractor, features, protocols, ranking, figures=figures)
    return found + _over_splits(found, out)


def _score(
    folder: RunFolder,
    extractor: FeatureExtractor,
    features: Features,
    protocols: Sequence[Protocol],
    ranking: Ranking | None,
    *,
    figures: bool,
) -> list[Result]:
    """The results of one run, printed, saved and drawn."""
    if not figures:
        results = score_extractor(extractor, features, protocols, ranking=ranking)
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
    results = [result for result, _ in evaluated]
    _save_and_print(results, folder)
    records = {record for protocol in protocols for record in protocol.records}
    page = write_evaluation(
        folder.results,
        evaluated,
        title=f"Evaluation of {folder.path.resolve().name}",
        name=extractor.about["recipe"],
        facts=extractor.about,
        translations=extractor.translate(translation_records(records)),
        command=command_line(),
    )
    print(f"The report is {page.resolve()}.")
    return results


def _save_and_print(results: Sequence[Result], folder: RunFolder) -> None:
    for result in results:
        result.save(folder.results / f"{result.slug}.json")
    for result in results:
        print(result, end="\n\n")


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
    splits: dict[tuple[str, str], list[tuple[int, Result]]] = {}
    for result in results:
        if trial := re.fullmatch(r"(.*RegDB) trial (\d+)", result.protocol):
            splits.setdefault((trial[1], result.direction), []).append((int(trial[2]), result))
    means = []
    for (data, _), of_split in splits.items():
        numbers = sorted(number for number, _ in of_split)
        if len(numbers) < 2 or len(set(numbers)) < len(numbers):
            continue
        trials = ", ".join(map(str, numbers))
        mean = pool([result for _, result in of_split], name=f"{data}, mean over trials {trials}")
        if out is not None:
            mean.save(out / f"{mean.slug}.json")
        print(mean, end="\n\n")
        means.append(mean)
    return means
