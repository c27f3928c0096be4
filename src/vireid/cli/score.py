"""``vireid score``: the scores of features that one's own network computed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from vireid.cli.evaluate import PostProcessing
from vireid.data.layouts import DataSource, LayoutName, folder_of
from vireid.errors import ConfigError
from vireid.evaluation import Protocol, Ranking, Result, Settings, evaluate, protocols_for
from vireid.evaluation.external import (
    ABOUT,
    ExternalFeatures,
    ProtocolName,
    match_names,
    score_features,
)
from vireid.evaluation.official import SysuSplits, read_official
from vireid.evaluation.protocols import sysu_mm01_chosen
from vireid.evaluation.result import CmcKind
from vireid.evaluation.similarity import Similarity
from vireid.types import Features, Modality

__all__ = ["AsGiven", "DataSet", "score"]


@dataclass(frozen=True, kw_only=True)
class AsGiven:
    """How query and gallery are scored as they are, without a data set."""

    protocol: ProtocolName = "plain"
    """Protocol whose rules apply to gallery exclusion and CMC; sysu-mm01 and llcm need cameras."""
    cmc: CmcKind | None = None
    """Protocol plain: whether CMC counts images (the default) or identities."""
    query_modality: Literal["visible", "infrared"] | None = None
    """Modality of the queries, to record the direction of the search."""


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """The data set whose published draws are made; features are found by name."""

    layout: LayoutName | None = None
    """Layout of the data set."""
    root: Path | None = None
    """Folder of the data set; the names of the features are image paths relative to it."""
    trial: int = 1
    """RegDB: number of the split, 1 to 10."""
    pattern: str = ""
    """Layout folders: pattern of the image paths."""

    def source(self) -> DataSource | None:
        """The data set, if one is given.

        Raises:
            ConfigError: Only a part of it is given.
        """
        if self == DataSet():
            return None
        if self.layout is None or self.root is None:
            raise ConfigError(
                f"--layout is {_told(self.layout)} and --root {_told(self.root)}; expected both, "
                "to find images by name, or no option of a data set, to score features as given."
            )
        return DataSource(
            layout=self.layout, root=self.root, trial=self.trial, pattern=self.pattern
        )


def score(
    *,
    query: Path | None = None,
    gallery: Path | None = None,
    given: AsGiven = AsGiven(),
    data: DataSet = DataSet(),
    mat: Path | None = None,
    splits: Path | None = None,
    settings: Settings = Settings(),
    similarity: Similarity = "cosine",
    treatment: PostProcessing = PostProcessing(),
    augmentation: str = "none",
    out: Path | None = None,
) -> list[Result]:
    """Score features computed by another network; no image is read.

    Three forms of input: --query and --gallery alone, scored in one trial; --query and --gallery
    with --layout and --root, scored with the published draws; or --mat and --splits, the official
    files of SYSU-MM01. An .npz file holds features [n, d] and, per row, identities and cameras
    (integers) and names (text) as needed.

    Args:
        query: An .npz file with the features of the queries.
        gallery: An .npz file with the features of the gallery; with --layout, --query and --gallery
            may be the same file.
        given: Rules for features without a data set.
        data: The data set.
        mat: FOLDER/NAME of the files NAME_cam1.mat to NAME_cam6.mat.
        splits: The folder of test_id.txt (or .mat) and rand_perm_cam.mat.
        settings: Protocols.
        similarity: cosine, or euclidean as in the official demo of SYSU-MM01.
        treatment: Re-ranking and query expansion.
        augmentation: Test-time augmentation that the features were made with, to record it.
        out: Save the result to this .json file, or the results to this folder.

    Returns:
        One result a protocol.

    Raises:
        ConfigError: Options that contradict one another or leave open what to score.
        DatasetError: The data set or the split files are not as published.
        EvaluationError: The features are damaged, or do not fit the protocol.
    """
    ranking = replace(treatment.ranking(), similarity=similarity)
    source = data.source()
    if mat is not None or splits is not None:
        others = query or gallery or source or given != AsGiven() or settings.exclude_own_camera
        if mat is None or splits is None or others:
            raise ConfigError(
                f"--mat is {_told(mat)} and --splits {_told(splits)}"
                + (", with other features, data or rules beside them" if others else "")
                + "; expected both and nothing else, for they tell all of SYSU-MM01."
            )
        protocols, features = _official(mat, splits, settings)
    elif query is None or gallery is None:
        raise ConfigError(
            f"--query is {_told(query)} and --gallery {_told(gallery)}; expected two .npz files "
            "(with --layout and --root the same one will do), or --mat and --splits."
        )
    elif source is not None:
        if given != AsGiven():
            raise ConfigError(
                "--protocol, --cmc and --query-modality do not go with --layout, whose protocol is "
                "published; leave out the ones or the other."
            )
        protocols, features = _by_name(query, gallery, source, settings)
    else:
        result = _as_given(query, gallery, given, settings, ranking, augmentation)
        return _show([result], out)
    if out is not None and out.suffix == ".json" and len(protocols) > 1:
        raise ConfigError(
            f"--out '{out}' is one file for {len(protocols)} results; expected a folder."
        )
    features = replace(features, augmentation=augmentation)
    return _show(
        [evaluate(features, protocol, ranking=ranking, about=ABOUT) for protocol in protocols],
        out,
    )


def _official(mat: Path, splits: Path, settings: Settings) -> tuple[tuple[Protocol, ...], Features]:
    test = SysuSplits.read(splits)
    protocols = sysu_mm01_chosen(test, settings)
    # Indoor-search needs no features of cameras 4 and 5.
    cameras = {record.camera for protocol in protocols for record in protocol.records}
    return protocols, read_official(mat, [r for r in test.records if r.camera in cameras])


def _by_name(
    query: Path, gallery: Path, source: DataSource, settings: Settings
) -> tuple[tuple[Protocol, ...], Features]:
    protocols = protocols_for(source.open(), settings)
    files = [ExternalFeatures.load(path) for path in dict.fromkeys((query, gallery))]
    return protocols, match_names(files, protocols, folder_of(source.root))


def _as_given(
    query: Path,
    gallery: Path,
    given: AsGiven,
    settings: Settings,
    ranking: Ranking,
    augmentation: str,
) -> Result:
    if replace(settings, exclude_own_camera=False) != Settings():
        raise ConfigError(
            "--search, --shots and --draw choose published draws, and features as given are not "
            "drawn from; leave them out, or add --layout and --root."
        )
    if query == gallery and not (settings.exclude_own_camera or given.protocol == "llcm"):
        raise ConfigError(
            f"--query and --gallery are both '{query}', so that every query would find itself; "
            "expected two files, or --exclude-own-camera."
        )
    return score_features(
        ExternalFeatures.load(query),
        ExternalFeatures.load(gallery),
        protocol=given.protocol,
        cmc=given.cmc,
        exclude_own_camera=settings.exclude_own_camera,
        query_modality=Modality(given.query_modality) if given.query_modality else None,
        ranking=ranking,
        augmentation=augmentation,
    )


def _show(results: list[Result], out: Path | None) -> list[Result]:
    for result in results:
        if out is not None:
            result.save(out if out.suffix == ".json" else out / f"{result.slug}.json")
    for result in results:
        print(result, end="\n\n")
    return results


def _told(value: object | None) -> str:
    return "not given" if value is None else f"'{value}'"
