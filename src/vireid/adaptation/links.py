"""What is known of who is together on the images: corrections by a person, and tracklets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vireid.adaptation.clustering import Links
from vireid.data.rows import Columns, read_rows
from vireid.errors import DatasetError, first_few
from vireid.types import ImageRecord, Modality

__all__ = ["read_links"]

_COLUMNS = Columns(required=("first", "second", "same"), optional=())
_ANSWERS = {"yes": True, "no": False, "true": True, "false": False, "1": True, "0": False}


def read_links(
    file: Path | None, records: Sequence[ImageRecord], root: Path
) -> tuple[Links, Links]:
    """Read the corrections.

    Args:
        file: A table with the columns ``first`` and ``second``, paths of images, absolute or
            relative to the folder of the table, and ``same``, yes or no; None: no corrections.
        records: The images, visible ones first.
        root: The data set, for messages.

    Returns:
        The links of the visible and of the infrared images, by their positions within the modality.

    Raises:
        DatasetError: A row names an image that is not adapted to, images of two modalities, or has
            another answer; or two corrections contradict each other.
    """
    if file is None:
        return Links(), Links()
    rows = read_rows(file, _COLUMNS)
    known = {str(record.path.absolute()): i for i, record in enumerate(records)}
    visible = sum(record.modality is Modality.VISIBLE for record in records)
    same: list[tuple[int, int]] = []
    apart: list[tuple[int, int]] = []
    for row in range(len(rows)):
        pair = []
        for name in ("first", "second"):
            text = rows.columns[name].text(row)
            path = str((file.absolute().parent / text).absolute())
            if path not in known:
                raise DatasetError(
                    f"{rows.where(row)} names '{text}', which is not among the images of '{root}';"
                    " expected the path of one of them; fix or remove the row."
                )
            pair.append(known[path])
        answer = rows.columns["same"].text(row).lower()
        if answer not in _ANSWERS:
            raise DatasetError(
                f"{rows.where(row)} has '{answer}' in the column same; expected yes or no; fix the"
                " row."
            )
        if (pair[0] < visible) != (pair[1] < visible):
            raise DatasetError(
                f"{rows.where(row)} links images of two modalities; expected images of one, because"
                " each modality is clustered by itself; remove the row."
            )
        (same if _ANSWERS[answer] else apart).append((pair[0], pair[1]))
    groups = _groups(same)
    of_group = {row: number for number, group in enumerate(groups) for row in group}
    torn = [
        str(records[a].path)
        for a, b in apart
        if a == b or of_group.get(a, -1) == of_group.get(b, -2)
    ]
    if torn:
        raise DatasetError(
            f"'{file}' says of {first_few(torn)} both that it shows the same person as another"
            " image and that it does not; expected one of them; remove the other row."
        )
    return (
        Links([g for g in groups if g[0] < visible], [p for p in apart if p[0] < visible]),
        Links(
            [[row - visible for row in g] for g in groups if g[0] >= visible],
            [(a - visible, b - visible) for a, b in apart if a >= visible],
        ),
    )


def _groups(pairs: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Connected rows, each group in ascending order."""
    group_of: dict[int, set[int]] = {}
    for a, b in pairs:
        joined = group_of.get(a, {a}) | group_of.get(b, {b})
        for row in joined:
            group_of[row] = joined
    return sorted(sorted(group) for group in {id(g): g for g in group_of.values()}.values())
