"""``vireid check LAYOUT ROOT``: is a data set laid out as published, and are its images whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from vireid.data.check import CheckReport
from vireid.data.check import check as look_at
from vireid.data.layouts import DataSource, LayoutName

__all__ = ["check"]


def check(
    layout: Annotated[LayoutName, tyro.conf.Positional],
    root: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    trial: int = 1,
    pattern: str = "",
    sheet: Path | None = None,
    json: Path | None = None,
    threads: int | None = None,
) -> CheckReport:
    """Say whether a data set is laid out as published and whether its images are whole.

    Prints counts beside the published ones and everything that is wrong: lists, folders, damaged
    files, images in the wrong place or there twice, identities without a modality.

    Args:
        layout: The data set's published layout.
        root: Where the data set lies.
        trial: RegDB: which of the ten splits; the lists of all ten are read.
        pattern: Layout folders: what the paths of images look like, such as
            '{split}/{modality}/cam{camera}/{identity}/{name}'.
        sheet: Also write a contact sheet of some identities of each split (.jpg or .png).
        json: Also write the report as JSON, with every file that is wrong.
        threads: Threads that decode; one a processor by default, at most 8.

    Returns:
        What was found; its exit_status is 1 if there is an error.
    """
    source = DataSource(layout=layout, root=root, trial=trial, pattern=pattern)
    report = look_at(source, sheet=sheet, threads=threads, progress=True)
    print(report)
    if json:
        report.save(json)
    return report
