"""The faults that a check knows: severity, effect on training and evaluation, and fix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from vireid.data.file_kind import CONVERT

__all__ = [
    "COUNTS",
    "DAMAGED",
    "DUPLICATE",
    "EMPTY",
    "FEW",
    "FLAT",
    "FRAMES",
    "LAYOUT",
    "MERGED_NAMES",
    "MISNAMED",
    "NARROW",
    "NEGATIVE",
    "NOT_AN_IMAGE",
    "NOT_READ",
    "ONE_MODALITY_TEST",
    "ONE_MODALITY_TRAIN",
    "ONE_SPLIT",
    "OTHER_FILE",
    "RADIOMETRIC",
    "REPEATED",
    "SEVERITIES",
    "SHARED_BY_IDENTITIES",
    "SHARED_BY_SPLITS",
    "SWAPPED",
    "TINY",
    "TOO_LARGE",
    "UNDEFINED_PIXELS",
    "UNMAPPED",
    "UNREADABLE",
    "UNUSED",
    "WRONG_MODALITY",
    "Fault",
    "Severity",
]

Severity = Literal["error", "warning", "note"]
"""Errors stop or invalidate training or evaluation; warnings and notes do not."""

SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""The most severe first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A kind of fault.

    Attributes:
        name: Its name in JSON reports.
        severity: How severe it is.
        heading: Its heading in reports.
        expected: What should be there instead; empty where each finding says so itself.
        effect: Its effect on training or evaluation.
        fix: How to fix it; empty where each finding says so itself.
    """

    name: str
    severity: Severity
    heading: str
    expected: str = ""
    effect: str
    fix: str = ""


_STOPS = "Training and evaluation stop with an error at such a file."
_COPY_AGAIN = "Copy the files or unpack the archive again"
_PERSON = "an image of one person"

LAYOUT = Fault(
    name="layout",
    severity="error",
    heading="Wrong layout",
    effect="Training or evaluation stops with an error, or does not follow the published split.",
)
ONE_SPLIT = Fault(
    name="one-split",
    severity="warning",
    heading="Usable for training or evaluation only",
    effect="Training or evaluation, as the line above says, refuses to start; the other works.",
)
UNUSED = Fault(
    name="unused-images",
    severity="warning",
    heading="Unused images",
    effect="None: they are used neither in training nor in evaluation.",
)
MERGED_NAMES = Fault(
    name="merged-names",
    severity="warning",
    heading="Names taken as one",
    effect="Each is one identity or one camera in training and evaluation.",
)
NEGATIVE = Fault(
    name="negative-identities",
    severity="warning",
    heading="Negative identities",
    expected="people",
    effect="All images of such a number count as one person, in training and in evaluation.",
    fix="If they show nobody, as -1 in Market-1501, take them out of train, and evaluate with "
    "`vireid evaluate --junk -1` or give them the role junk in a manifest.",
)
COUNTS = Fault(
    name="counts",
    severity="warning",
    heading="Counts differ from the published ones",
    expected="the published counts",
    effect="Results on other images are not comparable with published ones.",
    fix="Unpack the archive again; for a deliberate subset, nothing needs to be done.",
)
EMPTY = Fault(
    name="empty",
    severity="error",
    heading="Empty files",
    expected="images",
    effect=_STOPS,
    fix=f"{_COPY_AGAIN}; usually a disk was full or a copy was interrupted.",
)
NOT_AN_IMAGE = Fault(
    name="not-an-image",
    severity="error",
    heading="Files that are not images",
    expected="images",
    effect=_STOPS,
    fix=f"{_COPY_AGAIN}, unless the lines above say otherwise; a web page in place of an image"
    " usually comes from a server that required a login.",
)
DAMAGED = Fault(
    name="damaged",
    severity="error",
    heading="Damaged, truncated or unsupported images",
    expected="complete images",
    effect=_STOPS,
    fix=f"{_COPY_AGAIN}; usually a disk was full or a copy was interrupted. Otherwise,"
    f" {CONVERT.format('them')}.",
)
UNMAPPED = Fault(
    name="unmapped",
    severity="error",
    heading="Images that the tone mapping cannot map to 8 bits",
    expected="values to which the tone mapping applies",
    effect=_STOPS,
    fix="Give check and train another --tone-mapping; write images without any finite value again.",
)
TOO_LARGE = Fault(
    name="too-large",
    severity="error",
    heading="Images that are too large",
    expected=_PERSON,
    effect=_STOPS,
    fix="Resize them, or crop the persons out of them.",
)
UNREADABLE = Fault(
    name="unreadable",
    severity="error",
    heading="Files that cannot be opened",
    expected="readable files",
    effect=_STOPS,
    fix="Grant read permission (chmod u+r), fix broken links, or copy the files again.",
)
MISNAMED = Fault(
    name="misnamed",
    severity="warning",
    heading="Image format differs from the file extension",
    expected="the format of the extension",
    effect="None in vireid, which reads the format from the content; other programs may fail.",
    fix="Nothing needs to be done for vireid; for other programs, convert the images.",
)
NARROW = Fault(
    name="narrow-range",
    severity="warning",
    heading="Images that use less than a quarter of the range of their values",
    effect="Where each image is stretched by itself, differences between images, such as of"
    " temperature, are lost; where it is not, few grey levels are left.",
    fix="To map all images of a camera alike, give the bounds above, joined by commas, to check and"
    " to train, or to encode and gallery add; else nothing needs to be done.",
)
UNDEFINED_PIXELS = Fault(
    name="undefined-pixels",
    severity="warning",
    heading="Images with undefined pixels",
    expected="finite values",
    effect="NaN and negative infinity are black, infinity is white.",
    fix="Inspect them; usually the camera or its software marks dead pixels so.",
)
RADIOMETRIC = Fault(
    name="radiometric-jpeg",
    severity="note",
    heading="Radiometric JPEG by FLIR",
    expected="temperatures as 16-bit or floating-point TIFF, if they are to be used",
    effect="The 8-bit preview in it is used: a thermal picture as the camera displayed it, whose"
    " range may differ from image to image, often with colours and overlays.",
    fix="To use the temperatures, export them as TIFF with FLIR's software.",
)
METADATA = Fault(
    name="metadata",
    severity="warning",
    heading="Metadata that cannot be read",
    expected="intact metadata (EXIF, ICC, XMP, text)",
    effect="None on the pixels; an image whose orientation is lost is used as it is stored.",
    fix="Inspect whether they are upright, and turn those that are not.",
)
NOT_READ = Fault(
    name="not-read",
    severity="warning",
    heading="Files of kinds that are not read",
    expected="images of formats that are read",
    effect="They are not used in training, evaluation or galleries.",
    fix="Do what the lines above say, or move the files out.",
)
OTHER_FILE = Fault(
    name="other-file",
    severity="warning",
    heading="Other files among the images",
    expected="images only",
    effect="None in vireid, which ignores them; other programs may take them for images.",
    fix="Delete those that file managers such as Finder and Explorer create; notes and tables may"
    " stay.",
)
REPEATED = Fault(
    name="repeated-folder",
    severity="note",
    heading="Links that are not followed",
    expected="each folder once",
    effect="None: the images are used once, under the path of the folder itself.",
    fix="Nothing needs to be done.",
)
TINY = Fault(
    name="tiny",
    severity="warning",
    heading="Tiny images",
    expected=_PERSON,
    effect="So few pixels do not identify anybody; they are upscaled and used like all others.",
    fix="Inspect them, and remove them or crop them again from the full frame.",
)
FRAMES = Fault(
    name="several-frames",
    severity="note",
    heading="Files of several images",
    expected="one image per file",
    effect="Only the first frame or page of each is used.",
    fix="Nothing needs to be done for previews as phones write them; extract the frames of others.",
)
FLAT = Fault(
    name="flat",
    severity="warning",
    heading="Images of a single colour",
    expected=_PERSON,
    effect="They show nothing, but are used like all others and harm training.",
    fix="Inspect them, and copy them again or remove them.",
)
SWAPPED = Fault(
    name="swapped",
    severity="error",
    heading="Cameras that look like the other modality",
    expected="visible images in colour and infrared images in grey",
    effect="Each modality is trained and tested as the other, so that all results are wrong.",
    fix="Check whether folders of visible and infrared cameras were swapped or overwritten, and"
    " unpack the archive again.",
)
WRONG_MODALITY = Fault(
    name="wrong-modality",
    severity="warning",
    heading="Single images that look like the other modality",
    expected="visible images in colour and infrared images in grey",
    effect="Each of them is a wrong example of its modality in training and evaluation.",
    fix="Inspect them, and move those that are in the wrong camera's folder.",
)
SHARED_BY_SPLITS = Fault(
    name="shared-by-splits",
    severity="error",
    heading="The same image in two splits",
    expected="disjoint splits",
    effect="Test images are in the training set, so that results are too high.",
    fix="Keep each in one split only: unpack the archive again, or delete the wrong copy.",
)
SHARED_BY_IDENTITIES = Fault(
    name="shared-by-identities",
    severity="error",
    heading="The same image under two identities",
    expected="one identity per image",
    effect="At least one label is wrong: training uses it, and evaluation counts correct matches as"
    " false.",
    fix="Find out whom it shows, and delete the other copy or unpack the archive again.",
)
DUPLICATE = Fault(
    name="duplicate",
    severity="warning",
    heading="Duplicate images",
    expected="each image once",
    effect="They count more than once in training; in evaluation their copies are trivial matches.",
    fix="Delete all but one, unless the data set is published that way.",
)
ONE_MODALITY_TRAIN = Fault(
    name="one-modality-train",
    severity="warning",
    heading="Training identities of one modality only",
    expected="visible and infrared images of each identity",
    effect="No batch contains them; the other identities are trained as usual.",
    fix="Copy the missing images again if the data set is published with them; otherwise nothing"
    " needs to be done.",
)
ONE_MODALITY_TEST = Fault(
    name="one-modality-test",
    severity="warning",
    heading="Test identities of one modality only",
    expected="visible and infrared images of each identity",
    effect="Their queries have no match: results count them and exclude them from the mean.",
    fix="Copy the missing images again if the data set is published with them; otherwise nothing"
    " needs to be done.",
)
FEW = Fault(
    name="few-images",
    severity="note",
    heading="Training identities with a single image of a modality",
    expected="at least 2, ideally the 8 that a usual batch draws",
    effect="The image is repeated within every batch that draws the identity.",
    fix="Nothing needs to be done; more images would help.",
)
