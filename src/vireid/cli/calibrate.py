"""``vireid gallery calibrate GALLERY``: verdicts for the answers of a gallery.

:func:`calibrate` is a sub-command of ``vireid gallery``, which ``cli/gallery.py`` lists.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from vireid.cli._images import load_for_gallery, model_for_gallery
from vireid.data.layouts import DataSource, LayoutName
from vireid.errors import ConfigError, DatasetError, EvaluationError, many
from vireid.evaluation.markdown import markdown_table
from vireid.gallery import open_gallery
from vireid.log import echo
from vireid.openset.calibration import Calibration
from vireid.openset.fitting import DEFAULT_RATES, cross_validate
from vireid.openset.fitting import calibrate as fit
from vireid.openset.statistics import CameraView, ErrorRates, Estimate
from vireid.openset.validation import Validation
from vireid.types import Device, ImageRecord

__all__ = ["calibrate", "format_calibration", "format_validation"]

_GALLERIES = (100, 1_000, 10_000, 100_000)
_SIZES = (10, 50, 100, 200, 500)


def labelled_source(
    *, layout: LayoutName, root: Path, trial: int = 1, pattern: str = ""
) -> DataSource:
    """Build the data source of labelled images from the values of flags.

    Args:
        layout: Layout of the data set.
        root: Folder of the data set; of a manifest, the CSV, TSV or Parquet file.
        trial: RegDB: number of the split, 1 to 10.
        pattern: Layout folders: pattern of the image paths.
    """
    return DataSource(layout=layout, root=root, trial=trial, pattern=pattern)


def calibrate(
    gallery: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="GALLERY")],
    /,
    *,
    run: Path | None = None,
    data: Annotated[DataSource, tyro.conf.arg(constructor=labelled_source)],
    split: Literal["val", "test"] = "val",
    rates: ErrorRates = DEFAULT_RATES,
    batch_size: int = 64,
    device: Device | None = None,
) -> Calibration:
    """Estimate the score thresholds of a gallery's verdicts from labelled images.

    Searches of a calibrated gallery return a verdict. Calibration needs images of at least 30
    people (better 100 or more) that the network was not trained on, from cameras like those of the
    gallery. Camera names shared with the gallery get thresholds per pair of cameras. The images
    are not added to the gallery.

    Also prints the error rates of the verdicts on held-out people.

    Args:
        gallery: A folder, or http(s)://HOST:PORT/COLLECTION of a Qdrant server.
        run: Run folder or name of the gallery's model; may be omitted if it is an installed model.
        data: Labelled images of people that the network was not trained on.
        split: Identities to use: the validation split or the test split.
        rates: Allowed error rates of the verdicts.
        batch_size: Inference batch size.
        device: Device; the one used for training by default.

    Returns:
        The calibration, which is saved in the gallery.
    """
    # Imported here because torch takes seconds, and other gallery commands do without.

    layout = replace(data, hold_out=data.layout == "sysu-mm01" and split == "val").open()
    records = layout.val() if split == "val" else layout.test()
    if not records:
        raise ConfigError(
            f"'{data.root}' has no image of the split {split}; expected images of people whom the "
            "network was not trained on: add --split test, or give the split val to all images of "
            "some people."
        )
    run = model_for_gallery(run, gallery)
    _require_untrained(run, records, f"split {split} of '{data.root}'")
    extractor = load_for_gallery(run, gallery, device=device)
    # Refuses a gallery of another model before minutes of feature extraction.
    open_gallery(gallery, model=extractor.model_info).close()
    features = extractor.extract(records, batch_size=batch_size)
    cameras = layout.camera_names
    found = fit(
        features,
        fingerprint=extractor.fingerprint,
        cameras=cameras,
        rates=rates,
    )
    echo(format_calibration(found), end="\n\n")
    try:
        measured = cross_validate(
            features,
            fingerprint=extractor.fingerprint,
            sizes=_SIZES,
            cameras=cameras,
            rates=rates,
        )
        echo(format_validation(measured))
    except EvaluationError as error:
        echo(f"Not validated on held-out people: half of the people are too few: {error}")
    with open_gallery(gallery, model=extractor.model_info, write=True) as opened:
        opened.save_calibration(found.to_json())
    echo(f"\n'{gallery}' now returns verdicts.")
    return found


def format_calibration(calibration: Calibration) -> str:
    """Format a calibration as text.

    Args:
        calibration: The calibration.
    """
    frames = "\n".join(
        f"- {one.images:.0f} {one.gallery} images of a person count as"
        f" {one.effective.value:.1f} to {one.query} queries"
        for one in calibration.effective_images
    )
    rates = calibration.rates
    exact = sum(bool(found.first.camera) for found in calibration.impostors)
    return f"""\
Estimated from {calibration.people:,} people in {calibration.images:,} images.

LIKELY MATCH: the similarity of a hit is at least this threshold, which rises with the number of
images searched. At most {100 * rates.false_match:g} % of the searches for people who are NOT in
the gallery end in a likely match.

{markdown_table(_likely(calibration), left=2)}

The thresholds are upper ends of 95 % intervals; the point estimates are in brackets. More people
narrow the interval. A star marks extrapolated thresholds. Never: the threshold exceeds 1, so no hit
is a likely match among this many images.

PROBABLY NOT IN THIS GALLERY: all hits are below this similarity. At most {100 * rates.missed:g} %
of the searches for people who ARE in the gallery end in this verdict, if it has at least
{many(rates.own_images, "image")} of them from one camera.

{markdown_table(_non_match(calibration), left=2)}

The tables pool all cameras; {many(exact, "pair")} of cameras had enough people for separate
thresholds. If all searched images are labelled with identities, images of one person count as fewer
independent ones:

{frames}"""


def format_validation(measured: Sequence[Validation]) -> str:
    """Format the error rates of the verdicts on held-out people as text.

    Args:
        measured: One or more validations.
    """
    return f"""\
VALIDATION: thresholds from one half of the {measured[0].people:,} people, searches for the other
half, and vice versa, in labelled galleries without and with the person. In percent, with 95 %
intervals over people; the rest is uncertain. Correct: share of likely matches whose best
hit is the person.

{markdown_table(_checked(measured), left=1)}"""


def _likely(calibration: Calibration) -> list[list[str]]:
    known = {frozenset((found.first, found.second)): found for found in calibration.impostors}
    lines = [
        ["search", "different people compared", *(f"{n:,} images" for n in _GALLERIES)],
    ]
    for one in calibration.effective_images:
        found = known[frozenset((CameraView(one.query), CameraView(one.gallery)))]
        cells = []
        for number in _GALLERIES:
            fmr = calibration.rates.false_match / number
            limit = found.threshold(fmr)
            mark = "*" if fmr < found.observed_fmr else ""
            cells.append(f"{_reached(limit.high)} ({_reached(limit.value)}){mark}")
        people = f"{found.people:,} in {many(found.pairs, 'pair')} of images"
        lines.append([f"{one.query} to {one.gallery}", people, *cells])
    return lines


def _reached(threshold: float) -> str:
    """A threshold; no cosine reaches one above 1."""
    return f"{threshold:.3f}" if threshold <= 1 else "never"


def _non_match(calibration: Calibration) -> list[list[str]]:
    lines = [["search", "people compared with themselves", "similarity"]]
    for one in calibration.genuine:
        if not one.query.camera:
            people = f"{one.people:,} in {many(one.searches, 'search', 'searches')}"
            limit = f"{one.threshold.low:.3f} ({one.threshold.value:.3f})"
            lines.append([f"{one.query} to {one.gallery}", people, limit])
    return lines


def _checked(measured: Sequence[Validation]) -> list[list[str]]:
    lines = [
        [
            "search",
            "people (images)",
            "absent: likely",
            "probably not",
            "present: likely",
            "correct of these",
            "probably not",
        ]
    ]
    for one in measured:
        lines.append(
            [
                f"{one.query} to {one.gallery}",
                f"{one.size:,} ({one.images:,})",
                _percent(one.non_mated.likely),
                _percent(one.non_mated.absent),
                _percent(one.mated.likely),
                _percent(one.mated.correct) if one.mated.likely.value else "-",
                _percent(one.mated.absent),
            ]
        )
    return lines


def _percent(rate: Estimate) -> str:
    return f"{100 * rate.value:.2f} ({100 * rate.low:.2f} to {100 * rate.high:.2f})"


def _require_untrained(run: Path, records: Sequence[ImageRecord], source: str) -> None:
    """Refuse images that the network was trained on, if its data set still exists."""
    from vireid.runs import resolve_model

    try:
        data = resolve_model(run).read_config().data.open()
        trained = {record.path.absolute() for record in data.train()}
    except DatasetError:
        return  # the data set has been moved or deleted
    common = [record.path for record in records if record.path.absolute() in trained]
    if common:
        raise ConfigError(
            f"The network was trained on {len(common):,} of the {len(records):,} images of the "
            f"{source}, such as '{common[0]}', and recognises these "
            "people far better than others; expected people that it has not seen: use another "
            "split or other images, or `vireid train … --hold-out`."
        )
