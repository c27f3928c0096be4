"""Translations drawn: which images, which pictures, where."""

from pathlib import Path

import numpy as np
from PIL import Image
from tests.reports import toys
from tests.reports.test_evaluation import score

from vireid.features.extractor import Translation
from vireid.reports import png, write_evaluation
from vireid.reports.translation import translation_figure, translation_records
from vireid.types import ImageRecord, Modality


def record(identity: int, modality: Modality, name: str = "1") -> ImageRecord:
    return ImageRecord(Path(f"{modality}/{identity:03d}/{name}.jpg"), identity, 1, modality)


def translations(pairs: int) -> list[Translation]:
    """Every picture of one grey of its own."""
    found = []
    for i in range(pairs):
        for k, modality in enumerate(Modality):
            greys = (np.full((8, 4, 3), 10 * i + 3 * k + j, np.uint8) for j in range(3))
            found.append(Translation(record(i, modality), *greys))
    return found


def test_one_image_of_each_modality_of_identities_in_even_steps() -> None:
    records = [record(i, m, name) for i in range(8) for m in Modality for name in "213"]
    alone = [record(90, Modality.VISIBLE), record(91, Modality.INFRARED)]
    chosen = translation_records([*records, *alone], count=4)
    assert chosen == [record(i, m) for i in (0, 2, 4, 6) for m in Modality]
    assert chosen == translation_records(reversed([*records, *alone]), count=4)
    assert translation_records(records[:12], count=5) == [
        record(i, m) for i in (0, 1) for m in Modality
    ]
    assert translation_records(alone) == []


def test_each_row_shows_an_image_its_translation_and_the_way_back() -> None:
    figure = translation_figure(translations(3))
    shown = [
        int(np.asarray(image.get_array())[0, 0, 0]) for axes in figure.axes for image in axes.images
    ]
    assert shown == [10 * i + k for i in range(3) for k in range(6)]
    assert [axes.get_title() for axes in figure.axes[:7] if axes.get_title()] == [
        "visible",
        "as infrared",
        "and back",
        "infrared",
        "as visible",
        "and back",
    ]
    assert png(figure) == png(translation_figure(translations(3)))


def test_the_folder_of_an_evaluation_has_them(tmp_path: Path) -> None:
    evaluated = [score(toys.drawn(tmp_path / "drawn", people=2))]
    page = write_evaluation(tmp_path / "with", evaluated, title="t", translations=translations(2))
    with Image.open(page.parent / "translations.png") as image:
        image.load()
        assert image.format == "PNG"
    assert "Translations" in page.read_text(encoding="utf-8")
