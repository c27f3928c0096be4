"""The kinds of faults that a check knows: how grave each is, what it does and how to mend it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

__all__ = [
    "COUNTS",
    "DAMAGED",
    "EMPTY",
    "FEW",
    "FLAT",
    "GREY_OR_COLOUR",
    "LAYOUT",
    "LONELY_TEST",
    "LONELY_TRAIN",
    "MISNAMED",
    "NO_IMAGE",
    "ONE_SPLIT",
    "REPEATED",
    "SEVERITIES",
    "SHARED_BY_IDENTITIES",
    "SHARED_BY_SPLITS",
    "STRAY",
    "SURPLUS",
    "SWAPPED",
    "TINY",
    "TOO_LARGE",
    "UNREADABLE",
    "Kind",
    "Severity",
]

Severity = Literal["error", "warning", "note"]
"""Errors stop or falsify training or evaluation; warnings and notes are to be known."""

SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""The gravest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of fault.

    Attributes:
        name: For programs that read the report.
        severity: How grave it is.
        heading: For people.
        expected: What should be there instead; empty where each finding says so itself.
        effect: What it does to training or evaluation.
        mend: What to do about it; empty where each finding says so itself.
    """

    name: str
    severity: Severity
    heading: str
    expected: str = ""
    effect: str
    mend: str = ""


_STOPS = "training and evaluation stop with an error when they come to such a file."
_COPY_AGAIN = "copy the files again or unpack the archive again"
_PERSON = "the picture of one person"

LAYOUT = Kind(
    name="layout",
    severity="error",
    heading="Not laid out as published",
    effect="training or evaluation stops with an error, or does not follow the published split.",
)
ONE_SPLIT = Kind(
    name="one-split",
    severity="warning",
    heading="Good for training or for evaluation only",
    effect="either training or evaluation, as the line above says, refuses to start on it; the"
    " other works.",
)
SURPLUS = Kind(
    name="surplus",
    severity="warning",
    heading="Images that no split uses",
    effect="nothing: they are neither trained nor tested on.",
)
COUNTS = Kind(
    name="counts",
    severity="warning",
    heading="Other counts than published",
    expected="the published counts",
    effect="figures measured on other images cannot be compared with published ones.",
    mend="unpack the archive again; for a part of the data set that you chose yourself, nothing is"
    " to be done.",
)
EMPTY = Kind(
    name="empty",
    severity="error",
    heading="Empty files",
    expected="images",
    effect=_STOPS,
    mend=f"{_COPY_AGAIN}; most often a disk was full or a copy was cut short.",
)
NO_IMAGE = Kind(
    name="no-image",
    severity="error",
    heading="Files that are no images",
    expected="images",
    effect=_STOPS,
    mend=f"{_COPY_AGAIN}; a web page in place of an image is most often the answer of a server that"
    " asked for a login.",
)
DAMAGED = Kind(
    name="damaged",
    severity="error",
    heading="Damaged or cut-off images",
    expected="whole images",
    effect=_STOPS,
    mend=f"{_COPY_AGAIN}; most often a disk was full or a copy was cut short.",
)
TOO_LARGE = Kind(
    name="too-large",
    severity="error",
    heading="Images that are too large",
    expected=_PERSON,
    effect=_STOPS,
    mend="make them smaller, or cut the persons out of them.",
)
UNREADABLE = Kind(
    name="unreadable",
    severity="error",
    heading="Files that cannot be opened",
    expected="files that may be read",
    effect=_STOPS,
    mend="give yourself the right to read them (chmod u+r), mend links that lead nowhere, or copy"
    " the files again.",
)
MISNAMED = Kind(
    name="misnamed",
    severity="warning",
    heading="Another image format than the name says",
    expected="the format that the ending says",
    effect="nothing here, where the content tells the format; programs that go by the name may"
    " fail.",
    mend="nothing need be done for vireid; for other programs, convert the images to the format"
    " that their names say.",
)
STRAY = Kind(
    name="stray",
    severity="warning",
    heading="Other files among the images",
    expected="images only",
    effect="nothing here, where they are passed over; other programs may take them for images.",
    mend="delete them; file managers such as Finder and Explorer leave them behind.",
)
TINY = Kind(
    name="tiny",
    severity="warning",
    heading="Tiny images",
    expected=_PERSON,
    effect="nobody can be recognised on so few pixels; they are enlarged and used like all others.",
    mend="look at them, and take them out of the data set or crop them anew from the full picture.",
)
FLAT = Kind(
    name="flat",
    severity="warning",
    heading="Images of one colour",
    expected=_PERSON,
    effect="nothing can be seen on them; they are used like all others and blur what is learnt.",
    mend="look at them, and copy them again or take them out of the data set.",
)
SWAPPED = Kind(
    name="swapped",
    severity="error",
    heading="Cameras that look like the other modality",
    expected="visible images in colour and infrared images in grey",
    effect="one modality is learnt and tested under the name of the other, so that every figure is"
    " wrong.",
    mend="look whether folders of visible and infrared cameras were exchanged or overwritten, and"
    " unpack the archive again.",
)
GREY_OR_COLOUR = Kind(
    name="grey-or-colour",
    severity="warning",
    heading="Single images that look like the other modality",
    expected="visible images in colour and infrared images in grey",
    effect="each of them teaches that a person looks so in the wrong modality.",
    mend="look at them, and move those that lie in the wrong camera's folder.",
)
SHARED_BY_SPLITS = Kind(
    name="shared-by-splits",
    severity="error",
    heading="The same image in two splits",
    expected="splits without a common image",
    effect="what was trained on is tested on, so that the figures come out too high.",
    mend="keep it in one of the splits only: unpack the archive again, or delete the copy that does"
    " not belong.",
)
SHARED_BY_IDENTITIES = Kind(
    name="shared-by-identities",
    severity="error",
    heading="The same image under two identities",
    expected="one identity an image",
    effect="at least one of the labels is wrong: training learns it, and evaluation counts right"
    " matches as false.",
    mend="look whose image it is, and delete the other copy or unpack the archive again.",
)
REPEATED = Kind(
    name="repeated",
    severity="warning",
    heading="The same image more than once",
    expected="each image once",
    effect="it counts more than once in training; in evaluation it can be found by its copy.",
    mend="delete all but one, unless the data set is published so.",
)
LONELY_TRAIN = Kind(
    name="one-modality-train",
    severity="warning",
    heading="Training identities of one modality only",
    expected="visible and infrared images of each identity",
    effect="they are left out of every batch; the others are trained on as usual.",
    mend="copy the missing images again if the data set is published with them; otherwise nothing"
    " is to be done.",
)
LONELY_TEST = Kind(
    name="one-modality-test",
    severity="warning",
    heading="Test identities of one modality only",
    expected="visible and infrared images of each identity",
    effect="their queries have no match: results count them and leave them out of the mean.",
    mend="copy the missing images again if the data set is published with them; otherwise nothing"
    " is to be done.",
)
FEW = Kind(
    name="few-images",
    severity="note",
    heading="Training identities with a single image of a modality",
    expected="at least 2, and best the 8 that a usual batch draws",
    effect="the image comes several times in every batch that draws the identity.",
    mend="nothing need be done; more images of them would help.",
)
