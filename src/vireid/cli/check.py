"""``vireid check LAYOUT ROOT``: check the layout of a data set and its images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from vireid.data import check as checking
from vireid.data.layouts import DataSource, LayoutName
from vireid.data.tone_mapping import ToneMapping
from vireid.log import echo

__all__ = ["check"]


def check(
    layout: Annotated[LayoutName, tyro.conf.Positional],
    root: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    trial: int = 1,
    pattern: str = "",
    tone_mapping: str = "auto",
    sheet: Path | None = None,
    json: Path | None = None,
    threads: int | None = None,
) -> checking.CheckReport:
    """Check the layout of a data set and the integrity of its images.

    Compares all counts with the published ones and reports faulty lists and folders, damaged,
    misplaced and duplicate images, and identities without images of one modality. LAYOUT and ROOT
    may be given as --layout and --root, as for `vireid train`.

    Args:
        layout: Layout of the data set.
        root: Folder of the data set; of a manifest, the CSV, TSV or Parquet file.
        trial: RegDB: number of the split, 1 to 10; the lists of all ten are checked.
        pattern: Layout folders: pattern of the image paths, such as
            '{split}/{modality}/cam{camera}/{identity}/{name}'.
        tone_mapping: How images of more than 8 bits are mapped to 8: auto (by each file), full,
            percentile:1:99, bounds:LOW:HIGH, celsius:LOW:HIGH, or bounds per camera, such as
            bounds:yard=29000:31000,gate=28500:30500.
        sheet: Also write a contact sheet of some identities of each split (.jpg or .png).
        json: Also write the report as JSON, with every faulty file.
        threads: Number of decoding threads; by default one per processor, at most 8.

    Returns:
        The report; its exit_status is 1 if there is an error.
    """
    source = DataSource(layout=layout, root=root, trial=trial, pattern=pattern)
    report = checking.check(
        source,
        tone_mapping=ToneMapping.parse(tone_mapping),
        sheet=sheet,
        threads=threads,
        progress=True,
        show=echo,
    )
    if json:
        report.save(json)
    return report
