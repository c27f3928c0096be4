"""The page of an adapted run: its rounds, and what it takes for one person."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from vireid.data.images import read_image
from vireid.data.sheet import Cell, contact_sheet
from vireid.data.tone_mapping import ToneMapping
from vireid.reports.report import EmbeddedFigure, FigureSection, write_report
from vireid.reports.training_curves import training_figure
from vireid.runs import RunFolder
from vireid.types import Modality

__all__ = ["write_adaptation"]

_MOST_ROWS = 40
_EACH = 5
_CELL = (72, 144)


def write_adaptation(folder: RunFolder, *, command: str = "") -> Path:
    """Write ``adaptation.html`` into the folder of an adapted run.

    Each row of the sheet shows images of a visible cluster and of the infrared one that is matched
    with it; the rows are evenly spaced from the surest match to the least sure.

    Args:
        folder: The finished run.
        command: The command that wrote the page; none if empty.

    Returns:
        The page.

    Raises:
        RunError: The run is not finished, or damaged.
        ImageError: An image cannot be read.
        OSError: The folder cannot be written to.
    """
    run, history = folder.read_config(), folder.read_metrics()
    with folder.clusters_file.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    last = history[-1]
    facts = {
        "start": str(run.start or "ImageNet"),
        "data": folder.read_data().trained_on,
        "rounds": f"{len(history)} of at most {run.recipe.optimisation.epochs}",
        "adaptation": str(run.adaptation),
        **{f"{m} images": str(sum(row["modality"] == m for row in rows)) for m in Modality},
        **{f"{m} clusters": str(last[f"{m}_clusters"]) for m in Modality},
    }
    curves = EmbeddedFigure.of(
        training_figure({"adaptation": [_numbers(line) for line in history]}),
        alt="Clusters, matches, agreement and loss terms by round",
        caption="By round. Agreement: normalised mutual information with the labels of the round"
        " before. Mutual: share of the clusters that are mutual nearest ones across the modalities;"
        " by chance: the same between centres whose principal coordinates have random signs.",
    )
    sections = [FigureSection("Rounds", "", (curves,))]
    if sheet := _sheet(rows, ToneMapping.parse(run.tone_mapping)):
        picture = EmbeddedFigure(
            sheet,
            sheet,
            alt="Images of matched clusters, visible on the left and infrared on the right",
            caption="Each row: one visible cluster and the infrared one matched with it.",
            wide=True,
        )
        text = (
            "What the network takes for one person, from the surest match to the least sure. Write"
            " down what is wrong within a modality as rows first,second,same of a CSV file, and"
            " adapt again with `vireid adapt --links FILE`. clusters.csv lists all images."
        )
        sections.append(FigureSection("Clusters", text, (picture,)))
    notes = [line["warning"] for line in history if "warning" in line]
    return write_report(
        folder.path / "adaptation.html",
        title=f"Adaptation {folder.path.resolve().name}",
        facts=facts,
        results={},
        figures=sections,
        notes=list(dict.fromkeys(notes)),
        command=command,
    )


def _numbers(line: dict[str, object]) -> dict[str, object]:
    """What is drawn: not the numbers that are for warnings."""
    left_out = ("last", "classes", "separation", "_neighbourhood", "_wrong_side")
    return {name: value for name, value in line.items() if not name.endswith(left_out)}


def _sheet(rows: Sequence[dict[str, str]], tone_mapping: ToneMapping) -> bytes:
    """The contact sheet as JPEG; empty if nothing is matched."""
    found: dict[int, dict[str, list[dict[str, str]]]] = {}
    for row in rows:
        if row["match"]:
            by_modality = found.setdefault(int(row["match"]), {m: [] for m in Modality})
            by_modality[row["modality"]].append(row)
    ranks = sorted(found)
    chosen = ranks[:: max(1, -(-len(ranks) // _MOST_ROWS))]
    lines: list[list[Cell | None]] = []
    for rank in chosen:
        cells: list[Cell | None] = []
        for modality in Modality:
            own = found[rank][modality]
            picked = own[:: max(1, -(-len(own) // _EACH))][:_EACH]
            for row in picked:
                path, camera = Path(row["path"]), row["camera"]
                image = read_image(path, tone_mapping.of(camera))
                cells.append(Cell(image, camera or path.parent.name))
            cells += [None] * (_EACH - len(picked) + (modality is Modality.VISIBLE))
        lines.append(cells)
    if not lines:
        return b""
    buffer = io.BytesIO()
    contact_sheet(lines, cell=_CELL).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
