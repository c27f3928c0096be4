"""``vireid score``: score features computed by any network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import tyro

from vireid.cli._flags import DEFAULT
from vireid.cli._ranking import ranking_from_flags
from vireid.cli._standardise import AS_EXTRACTED, StandardiseOptions
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
from vireid.evaluation.protocols import sysu_mm01_protocols
from vireid.evaluation.result import CmcKind
from vireid.log import echo
from vireid.types import Features, Modality

__all__ = ["AsGiven", "score"]


@dataclass(frozen=True, kw_only=True)
class AsGiven:
    """How to score query and gallery features as given, without a data set."""

    protocol: ProtocolName = "plain"
    """Protocol whose rules apply to gallery exclusion and CMC; sysu-mm01 and llcm need cameras."""
    cmc: CmcKind | None = None
    """Protocol plain: whether CMC counts images (the default) or identities."""
    query_modality: Literal["visible", "infrared"] | None = None
    """Modality of the queries, to record the direction of the search."""


def data_source(
    *,
    layout: Annotated[LayoutName | None, DEFAULT] = None,
    root: Annotated[Path | None, DEFAULT] = None,
    trial: Annotated[int, DEFAULT] = 1,
    pattern: Annotated[str, DEFAULT] = "",
) -> DataSource | None:
    """Build a data source from the values of flags; None if no flag is used.

    Args:
        layout: The layout of the data set.
        root: Root of the data set; names of images are paths relative to it.
        trial: RegDB: which of the ten splits.
        pattern: Layout folders: pattern of the image paths, or auto.

    Raises:
        ConfigError: The layout or the root is missing.
    """
    if (layout, root, trial, pattern) == (None, None, 1, ""):
        return None
    if layout is None or root is None:
        raise ConfigError(
            f"--layout is {_quoted(layout)} and --root {_quoted(root)}; expected both, to find "
            "images by name, or no option of a data set, to score features as given."
        )
    return DataSource(layout=layout, root=root, trial=trial, pattern=pattern)


def score(
    *,
    query: Path | None = None,
    gallery: Path | None = None,
    given: AsGiven = AsGiven(),
    data: Annotated[DataSource | None, tyro.conf.arg(constructor=data_source)] = None,
    mat: Path | None = None,
    splits: Path | None = None,
    settings: Settings = Settings(),
    ranking: Annotated[Ranking | None, tyro.conf.arg(constructor=ranking_from_flags)] = None,
    standardisation: StandardiseOptions = AS_EXTRACTED,
    augmentation: str = "none",
    out: Path | None = None,
) -> list[Result]:
    """Score features computed by another network; no image is read.

    Pass --query and --gallery alone to score them as given, in one trial; add --layout and --root
    to score the published draws; or pass --mat and --splits for SYSU-MM01 in the official format.
    An .npz file holds features [n, d] and, one entry a row, identities, cameras (integers) and
    names (text) as needed.

    Args:
        query: An .npz file with features of the queries.
        gallery: An .npz file with features of the gallery; with --layout it may be the same file.
        given: Options without a data set.
        data: The data set.
        mat: FOLDER/NAME of the files NAME_cam1.mat to NAME_cam6.mat.
        splits: The folder of test_id.txt (or .mat) and rand_perm_cam.mat.
        settings: The published draws; for custom data and features as given, what is excluded.
        ranking: Similarity and post-processing of the ranking; results name them.
        standardisation: Standardisation of the features by modality and camera; results name it.
        augmentation: Test-time augmentation of the features, as text for the result.
        out: Save the result to this .json file, or the results into this folder.

    Returns:
        One result a protocol.

    Raises:
        ConfigError: Options contradict one another, or do not determine what to score.
        DatasetError: The data set or the split files do not match their published layout.
        EvaluationError: The features are damaged, or do not fit the protocol.
    """
    if mat is not None or splits is not None:
        others = query or gallery or data or given != AsGiven() or settings.rules
        if mat is None or splits is None or others:
            raise ConfigError(
                f"--mat is {_quoted(mat)} and --splits {_quoted(splits)}"
                + (", with other features, data or rules" if others else "")
                + "; expected both and no other option: they define SYSU-MM01 completely."
            )
        protocols, features = _official(mat, splits, settings)
    elif query is None or gallery is None:
        raise ConfigError(
            f"--query is {_quoted(query)} and --gallery {_quoted(gallery)}; expected two .npz "
            "files (with --layout and --root it may be one file), or --mat and --splits."
        )
    elif data is not None:
        if given != AsGiven():
            raise ConfigError(
                "--protocol, --cmc and --query-modality do not go with --layout, whose protocol is "
                "published; remove them, or remove --layout."
            )
        protocols, features = _by_name(query, gallery, data, settings)
    else:
        result = _as_given(query, gallery, given, settings, ranking, standardisation, augmentation)
        return _show([result], out)
    if out is not None and out.suffix == ".json" and len(protocols) > 1:
        raise ConfigError(
            f"--out '{out}' is one file for {len(protocols)} results; expected a folder."
        )
    features = _standardise(replace(features, augmentation=augmentation), standardisation)
    return _show(
        [evaluate(features, protocol, ranking=ranking, about=ABOUT) for protocol in protocols],
        out,
    )


def _official(mat: Path, splits: Path, settings: Settings) -> tuple[tuple[Protocol, ...], Features]:
    test = SysuSplits.read(splits)
    protocols = sysu_mm01_protocols(test, settings)
    # Indoor-search needs no features of cameras 4 and 5.
    cameras = {record.camera for protocol in protocols for record in protocol.records}
    return protocols, read_official(mat, [r for r in test.records if r.camera in cameras])


def _by_name(
    query: Path, gallery: Path, data: DataSource, settings: Settings
) -> tuple[tuple[Protocol, ...], Features]:
    protocols = protocols_for(data.open(), settings)
    files = [ExternalFeatures.load(path) for path in dict.fromkeys((query, gallery))]
    return protocols, match_names(files, protocols, folder_of(data.root))


def _as_given(
    query: Path,
    gallery: Path,
    given: AsGiven,
    settings: Settings,
    ranking: Ranking | None,
    standardisation: StandardiseOptions,
    augmentation: str,
) -> Result:
    if settings.draws:
        raise ConfigError(
            "--search, --shots and --draw choose published draws, which features as given do not "
            "have; remove them, or add --layout and --root."
        )
    if len(settings.gallery_modality) > 1:
        raise ConfigError(
            f"--gallery-modality {' '.join(settings.gallery_modality)} for features as given; "
            "expected one of them, or --layout and --root."
        )
    [gallery_modality] = settings.gallery_modality
    if (
        query == gallery
        and gallery_modality == "other"
        and not (settings.exclude_own_camera or given.protocol == "llcm")
    ):
        raise ConfigError(
            f"--query and --gallery are both '{query}', so every query would find itself; "
            "expected two files, or --exclude-own-camera."
        )
    known = given.query_modality or given.protocol == "sysu-mm01" or gallery_modality == "both"
    if standardisation.standardise and not known:
        raise ConfigError(
            f"--standardise '{standardisation.standardise}' subtracts the mean of each modality, "
            "and that of the queries is unknown; add --query-modality."
        )
    return score_features(
        ExternalFeatures.load(query),
        ExternalFeatures.load(gallery),
        protocol=given.protocol,
        cmc=given.cmc,
        exclude_own_camera=settings.exclude_own_camera,
        junk=settings.junk,
        distractors=settings.distractor,
        query_modality=Modality(given.query_modality) if given.query_modality else None,
        gallery_modality=gallery_modality,
        ranking=ranking,
        augmentation=augmentation,
        standardise=partial(_standardise, options=standardisation),
    )


def _standardise(features: Features, options: StandardiseOptions) -> Features:
    """Features standardised by the statistics that the options name."""
    if not options.standardise:
        return features
    if options.standardise == "test":
        return options.by_test_images(features)
    file = Path(options.standardise)
    unlabelled = ExternalFeatures.load(file).as_unlabelled()
    return options.fit(unlabelled, f"features of '{file.name}'").features(features)


def _show(results: list[Result], out: Path | None) -> list[Result]:
    # Printed first, in case the disk is full, and saved even if the reader stops reading.
    try:
        for result in results:
            echo(result, end="\n\n")
    finally:
        for result in results:
            if out is not None:
                result.save(out if out.suffix == ".json" else result.file_in(out))
    return results


def _quoted(value: object | None) -> str:
    return "not given" if value is None else f"'{value}'"
