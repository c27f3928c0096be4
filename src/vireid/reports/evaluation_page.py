"""The results folder of an evaluation: figures as files, and one page with all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from vireid.data.tone_mapping import ToneMapping
from vireid.evaluation.analysis import Search
from vireid.evaluation.result import Result
from vireid.features.extractor import Translation
from vireid.files import write_atomic
from vireid.reports.cmc import cmc_figure
from vireid.reports.details import (
    camera_pair_figure,
    details_of,
    first_trial,
    remark,
    similarity_figure,
)
from vireid.reports.ranking_lists import ranking_figure, ranking_lists
from vireid.reports.report import EmbeddedFigure, FigureSection, Table, write_report
from vireid.reports.translation import translation_figure

__all__ = ["write_evaluation"]

_PHOTOGRAPHS = ("rankings", "worst")
_NONE = ("none", "", "")


def write_evaluation(
    folder: Path,
    evaluated: Sequence[tuple[Result, Search]],
    *,
    title: str,
    name: str = "network",
    facts: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
    translations: Sequence[Translation] = (),
    command: str = "",
) -> Path:
    """Draw results, and write ``report.html`` and one folder of figures per result.

    The figures are ``cmc.png``, ``similarities.png``, ``rankings.png``, ``worst.png`` and, for
    several pairs of cameras, ``cameras.png``; translations are ``translations.png`` in the folder
    of the page. Everything is drawn before anything is written, and each file is written
    atomically.

    Args:
        folder: The results folder.
        evaluated: Results with details, each with the search of its first trial.
        title: Title of the page.
        name: Name of the network in tables and legends.
        facts: What was run.
        notes: What readers must know to judge the numbers.
        translations: Images translated to the other modality, if the network translates.
        command: The command that wrote the page; none if empty.

    Returns:
        The page.

    Raises:
        EvaluationError: A result has no details, or two are of the same protocol and ranking.
        ImageError: An image of a ranking list cannot be read.
        OSError: The folder cannot be written to.
    """
    results = [result for result, _ in evaluated]
    drawn = {
        subfolder: (result, _draw(result, found, name))
        for subfolder, (result, found) in zip(_folders(results), evaluated, strict=True)
    }
    figures = [_section(result, pictures) for result, pictures in drawn.values()]
    translated = _translated(translations) if translations else None
    if translated is not None:
        figures.append(FigureSection("Translations", "", (translated.as_jpeg(),)))
    page = write_report(
        folder / "report.html",
        title=title,
        facts=facts or {},
        results={name: results},
        figures=figures,
        notes=notes,
        command=command,
    )
    if translated is not None:
        write_atomic(folder / "translations.png", translated.data)
    for subfolder, (_, pictures) in drawn.items():
        for file, picture in pictures.items():
            write_atomic(folder / subfolder / f"{file}.png", picture.data)
    return page


def _folders(results: Sequence[Result]) -> list[str]:
    """A unique folder name per result; equal slugs are numbered."""
    names: list[str] = []
    for result in results:
        name, number = result.slug, 1
        while name in names:
            number += 1
            name = f"{result.slug}-{number}"
        names.append(name)
    return names


def _draw(result: Result, found: Search, name: str) -> dict[str, EmbeddedFigure]:
    """The figures by file name."""
    what, how = result.heading, ToneMapping.named_in(result.about)
    cameras = {}
    if len(details_of(result).camera_pairs) > 1:
        cameras["cameras"] = EmbeddedFigure.of(
            camera_pair_figure(result),
            alt=f"mAP and Rank-1 of every pair of cameras, {what}",
            caption="Each gallery camera searched separately, with fewer images than in the table.",
        )
    return {
        "cmc": EmbeddedFigure.of(
            cmc_figure({result.labelled(name): result}),
            alt=f"CMC curve of {name} and of chance, {what}",
            caption="Share of queries with a correct match within rank r.",
        ),
        "similarities": EmbeddedFigure.of(
            similarity_figure(result),
            alt=f"Similarities of pairs of the same person and of different people, {what}",
            caption="Similarities of queries and the images in their lists. At the equal error "
            "rate, as large a share of same-person pairs is below the line as of different-person "
            "pairs above it.",
        ),
        **cameras,
        "rankings": EmbeddedFigure.of(
            ranking_figure(ranking_lists(found), tone_mapping=how),
            alt=f"Best, median and worst queries, each with its nearest gallery images, {what}",
            caption="A balanced sample of queries: a third each of the best, median and worst by "
            "average precision.",
            wide=True,
        ),
        "worst": EmbeddedFigure.of(
            ranking_figure(ranking_lists(found, choose="worst"), tone_mapping=how),
            alt=f"The worst queries, each with its nearest gallery images, {what}",
            caption="The worst queries, one per person.",
            wide=True,
        ),
    }


def _section(result: Result, pictures: Mapping[str, EmbeddedFigure]) -> FigureSection:
    trial = first_trial(result)
    tables = [_worst_table(result)]
    if "cameras" in pictures:
        tables.insert(0, _camera_table(result))
    return FigureSection(
        title=result.title,
        text=f"{result.convention}."
        + (f" Everything except the CMC is of the {trial}." if trial else ""),
        pictures=tuple(
            picture.as_jpeg() if file in _PHOTOGRAPHS else picture
            for file, picture in pictures.items()
        ),
        tables=tuple(tables),
    )


def _translated(translations: Sequence[Translation]) -> EmbeddedFigure:
    return EmbeddedFigure.of(
        translation_figure(translations),
        alt="Images, their translations to the other modality, and those translated back",
        caption="Each image, its translation to the other modality, and that translated back.",
        wide=True,
    )


def _camera_table(result: Result) -> Table:
    rows = []
    for pair in details_of(result).camera_pairs:
        rows.append(
            (
                f"camera {pair.query_camera}",
                f"camera {pair.gallery_camera}",
                f"{pair.queries:,}",
                f"{pair.gallery:,}",
                _percent(pair.rank1),
                _percent(pair.mean_ap),
                remark(pair),
            )
        )
    head = ("query", "gallery", "queries with a match", "gallery images", "R-1, %", "mAP, %", "")
    return Table("Scores by camera", head, tuple(rows))


def _worst_table(result: Result) -> Table:
    rows = []
    for query in details_of(result).worst:
        wrong = query.nearest_wrong
        nearest = (wrong.name, wrong.identity, f"{wrong.similarity:.3f}") if wrong else _NONE
        rows.append(
            (
                query.name,
                query.identity,
                query.camera,
                _percent(query.average_precision),
                f"{query.first_match:,}",
                *nearest,
            )
        )
    asked = ("query", "identity", "camera", "AP, %", "first match at rank")
    answered = ("nearest wrong image", "its identity", "its similarity")
    return Table("Worst queries", (*asked, *answered), tuple(rows))


def _percent(score: float | None) -> str:
    return "" if score is None else f"{100 * score:.2f}"
